"""Checkpoints of the Hugging Face hub: the local cache and downloads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from sktransfer.encoders.checkpoint_files import TOKENIZER_FILES, WEIGHTS_FILE, WEIGHTS_INDEX
from sktransfer.encoders.saving import ESTIMATOR_FILES
from sktransfer.encoders.sentence_settings import SETTINGS_PATTERNS

TIMEOUT_SECONDS = 10.0


class HubError(Exception):
    """Reason why a checkpoint could not be loaded from the hub, as part of a sentence."""


def cached_folder(repo_id: str, revision: str = "") -> Path | None:
    """Folder of a checkpoint in the cache, without asking the network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repo_id, "config.json", revision=revision or None)
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if has_weights(folder) else None


def cached_checkpoints() -> dict[str, str]:
    """Repositories in the cache that hold a checkpoint, and the folder of each."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, ValueError):  # there is none, or a file in its place
        return {}
    found: dict[str, str] = {}
    for repo in sorted(repos, key=lambda repo: repo.repo_id):
        if repo.repo_type != "model":
            continue
        current = cached_folder(repo.repo_id)
        if current is not None:
            found[repo.repo_id] = str(current)
            continue
        for revision in sorted(repo.revisions, key=lambda revision: revision.commit_hash):
            folder = revision.snapshot_path
            if (folder / "config.json").is_file() and has_weights(folder):
                found[f"{repo.repo_id}@{revision.commit_hash}"] = str(folder)
    return found


def has_weights(folder: Path) -> bool:
    return (folder / WEIGHTS_FILE).is_file() or (folder / WEIGHTS_INDEX).is_file()


def download(repo_id: str, revision: str = "") -> Path:
    """Fetch configuration, safetensors weights and tokenizer into the cache.

    Parameters
    ----------
    repo_id : str
        Such as "answerdotai/ModernBERT-base".
    revision : str, default=""
        Commit, tag or branch; an empty one is the main branch.

    Returns
    -------
    Path
        The folder of the checkpoint.
    """
    return _download(repo_id, revision, _wanted)


def download_estimator(repo_id: str, revision: str = "") -> Path:
    """Fetch a saved estimator into the cache; the folder of it."""
    return _download(repo_id, revision, _estimator_files)


def upload(
    folder: Path, repo_id: str, *, private: bool | None, token: str | None, message: str
) -> str:
    """Upload the files of a folder to a repository of the hub; the URL of the commit."""
    from huggingface_hub import HfApi

    with _explained():
        api = HfApi(token=token)
        created = api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=created.repo_id, folder_path=folder, commit_message=message
        )
    return str(commit.commit_url)


def _download(repo_id: str, revision: str, wanted: Callable[[list[str]], list[str]]) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    with _explained():
        # One short question first: the downloads of the hub's client retry for minutes.
        info = HfApi().model_info(repo_id, revision=revision or None, timeout=TIMEOUT_SECONDS)
        names = [sibling.rfilename for sibling in info.siblings or []]
        folder = snapshot_download(
            repo_id,
            revision=revision or None,
            allow_patterns=wanted(names),
            etag_timeout=TIMEOUT_SECONDS,
        )
    return Path(folder)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn errors of the hub's client into a `HubError`."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # The client's own base of connection errors: httpx, or what took its place.
    http_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except HFValidationError as error:
        raise HubError("the hub does not allow this name") from error
    except (OSError, http_error) as error:
        raise HubError(_reason(error)) from error


def _estimator_files(names: list[str]) -> list[str]:
    if ESTIMATOR_FILES[0] not in names:
        raise HubError(f"its repository has no {ESTIMATOR_FILES[0]}")
    # The digests cover all of them.
    return [name for name in names if not name.startswith(".")]


def _wanted(names: list[str]) -> list[str]:
    present = set(names)
    if WEIGHTS_FILE in present:
        weights = [WEIGHTS_FILE]
    elif WEIGHTS_INDEX in present:
        shards = [name for name in names if name.endswith(".safetensors") and "/" not in name]
        weights = [WEIGHTS_INDEX, *shards]
    else:
        raise HubError("its repository has no safetensors weights, and others can run code")
    return [
        "config.json",
        *weights,
        *(name for name in TOKENIZER_FILES if name in present),
        *(name for name in names if any(fnmatch(name, one) for one in SETTINGS_PATTERNS)),
    ]


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, OfflineModeIsEnabled):
        return "the environment forbids the hub (HF_HUB_OFFLINE)"
    if isinstance(error, GatedRepoError):
        return "its owner asks for consent: accept the terms on its page and run `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no public model of that name"
    if isinstance(error, RevisionNotFoundError):
        return "the hub has the model, but not that revision"
    if isinstance(error, os.error) and error.errno == 28:
        return "the disk is full"
    return f"the hub cannot be reached ({type(error).__name__})"
