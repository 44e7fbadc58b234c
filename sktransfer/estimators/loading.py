"""Load the estimators that their method `save` wrote."""

from __future__ import annotations

import json
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from sktransfer.encoders import (
    EncoderHandle,
    HubError,
    check_seal,
    download_estimator,
    resolve_encoder,
)
from sktransfer.estimators.saving import (
    ARRAYS,
    DOCUMENT,
    ESTIMATORS,
    FORMAT,
    SAVED_ENCODER,
    is_fitted,
    warn_of_versions,
)
from sktransfer.fitting.plain_state import from_plain
from sktransfer.fitting.saving import MissingEncoderError, read_arrays, read_network
from sktransfer.fitting.served_files import DOCUMENT_FILE
from sktransfer.runtime import usual_numerics

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@usual_numerics()
def load(folder: str | os.PathLike[str], *, revision: str | None = None) -> Any:
    """Load an estimator that its method `save` wrote, or `push_to_hub` uploaded.

    Nothing in the folder can run code.

    Parameters
    ----------
    folder : str or path-like
        What `save` was given, or a repository of the Hugging Face hub such as ``"owner/name"``.
    revision : str, default=None
        Commit, tag or branch of a repository; None is the main branch.

    Returns
    -------
    estimator
        The fitted estimator, on the CPU.

    Raises
    ------
    ValueError
        If there is no such folder or repository, or if it is damaged, was written by a newer
        version or by something else, or refers to pretrained weights that are not on this machine
        and cannot be downloaded.

    Warns
    -----
    UserWarning
        If sktransfer, PyTorch or transformers have another version than when the folder was
        written.

    Examples
    --------
    >>> import sktransfer
    >>> classifier.save("my-classifier")  # doctest: +SKIP
    >>> sktransfer.load("my-classifier").predict(["a text"])  # doctest: +SKIP
    """
    folder = _local(folder, revision)
    document = _read_document(folder)
    name = document.get("estimator")
    if name not in ESTIMATORS:
        raise ValueError(f"folder={str(folder)!r} holds a {name!r}, which is unknown here.")
    kind = getattr(import_module(f"sktransfer.estimators.{ESTIMATORS[name]}"), name)
    try:
        warn_of_versions(document["versions"])
        arrays, tensors = read_arrays(folder / ARRAYS)
        model, tokenizer = read_network(document["network"], tensors, folder)
        fitted = {name: from_plain(value, arrays) for name, value in document["fitted"].items()}
        if others := [name for name in fitted if not is_fitted(name)]:
            raise ValueError(f"{others[0]!r} is not a fitted attribute")
    except MissingEncoderError as error:
        raise ValueError(f"folder={str(folder)!r} cannot be loaded: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, AttributeError) as error:
        raise ValueError(f"folder={str(folder)!r} is damaged: {error}") from error
    parameters = document["parameters"]
    if parameters.get("encoder") == SAVED_ENCODER:
        parameters = {**parameters, "encoder": resolve_encoder(folder)}
    estimator = kind(**{name: _restored(value) for name, value in parameters.items()})
    model.encoder.set_chunk_length(estimator.max_length)
    vars(estimator).update(fitted | {"model_": model, "tokenizer_": tokenizer})
    return estimator


def _local(folder: str | os.PathLike[str], revision: str | None) -> Path:
    """`folder`, or that of a downloaded repository."""
    path = Path(folder).expanduser()
    is_repository = isinstance(folder, str) and _REPOSITORY.fullmatch(folder) and not path.exists()
    if not is_repository:
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} is for repositories, and {folder} is a folder."
            )
        return path
    try:
        return download_estimator(str(folder), revision or "")
    except HubError as error:
        raise ValueError(
            f"folder={folder!r} is not a folder, and as a repository of the Hugging Face hub it "
            f"cannot be loaded: {error}."
        ) from error


def _read_document(folder: Path) -> dict[str, Any]:
    path = folder / DOCUMENT
    if not path.is_file() and (folder / DOCUMENT_FILE).is_file():
        raise ValueError(
            f"folder={str(folder)!r} was written by export: sktransfer.serving.load reads it."
        )
    if not path.is_file():
        raise ValueError(f"folder={str(folder)!r} holds no saved estimator: {DOCUMENT} is missing.")
    try:
        document = json.loads(path.read_text("utf-8"))
        version = document["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error!r}") from error
    if version != FORMAT:
        raise ValueError(
            f"folder={str(folder)!r} has format {version!r}, and this version of sktransfer reads "
            f"format {FORMAT}: load it with the version that saved it."
        )
    check_seal(folder, is_needed=True)
    return dict(document)


def _restored(value: Any) -> Any:
    return value if isinstance(value, EncoderHandle) else from_plain(value, {})
