"""Fitted models on disk: JSON, safetensors and tokenizer files, no pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from sktransfer.encoders import (
    ESTIMATOR_FILE,
    EncoderHandle,
    check_seal,
    resolve_encoder,
    saved_encoder,
)

_FORMAT = 1


def write_estimator(
    folder: Path, estimator: Any, encoder: EncoderHandle, fitted: dict[str, Any]
) -> None:
    """Write the parameters of `estimator`, some fitted attributes, and its encoder to `folder`.

    A parameter that JSON has no form for (a random generator, an encoder's handle) is left out
    and has its default, or the saved encoder, when read.
    """
    parameters = {name: _plain(value) for name, value in estimator.get_params(deep=False).items()}
    document = {
        "format": _FORMAT,
        "estimator": type(estimator).__name__,
        "parameters": {name: value for name, value in parameters.items() if _is_plain(value)},
        "fitted": fitted,
    }
    modules = encoder.load_shared(lm_head=True)
    with saved_encoder(*modules, encoder.settings, folder) as new:
        (new / ESTIMATOR_FILE).write_text(json.dumps(document, indent=1), "utf-8")


def read_estimator(
    folder: Path, estimator: str
) -> tuple[dict[str, Any], dict[str, Any], EncoderHandle]:
    """Parameters, fitted attributes and encoder that `write_estimator` wrote."""
    file = folder / ESTIMATOR_FILE
    if not file.is_file():
        raise ValueError(
            f"folder={str(folder)!r} holds no saved estimator: {ESTIMATOR_FILE} is missing."
        )
    check_seal(folder, is_needed=True)
    document = json.loads(file.read_text("utf-8"))
    if document["format"] != _FORMAT or document["estimator"] != estimator:
        raise ValueError(
            f"folder={str(folder)!r} holds a {document['estimator']} of format "
            f"{document['format']}, not a {estimator} of format {_FORMAT}."
        )
    return document["parameters"], document["fitted"], resolve_encoder(folder)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):  # of a grid, say
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))
