"""The fitted state of estimators as texts and arrays, for pickle, skops and other formats."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np

from sktransfer.encoders import EncoderHandle
from sktransfer.estimators.saving import (
    ESTIMATORS,
    FORMAT,
    NETWORK,
    is_fitted,
    named_encoder,
    versions,
    warn_of_versions,
)
from sktransfer.fitting.plain_state import Arrays, from_plain, to_plain
from sktransfer.fitting.saving import (
    MissingEncoderError,
    network_files,
    network_from_files,
)
from sktransfer.nn import PretrainedState

_KEY = "_fitted_state"


def plain_state(estimator: Any, state: dict[str, Any]) -> dict[str, Any]:
    """`state` of an `estimator` with what is fitted as JSON and arrays.

    Weights that are those of the `encoder` are left out if other machines know it by its name, or
    if it is a handle, which is in the state itself. What has no such form stays as it is: an
    encoder without files, say, or labels of a class of its own.
    """
    if "model_" not in state:
        return state
    arrays: Arrays = {}
    base = estimator.encoder
    if not isinstance(base, EncoderHandle):
        base = named_encoder(base)
    fitted = {name: value for name, value in state.items() if is_fitted(name)}
    try:
        plain = {name: to_plain(value, arrays, name) for name, value in fitted.items()}
        network, weights, files = network_files(
            state["model_"], state["tokenizer_"], base, estimator._sentence_settings()
        )
    except (TypeError, ValueError):
        return state
    pretrained = state["model_"].pretrained
    document = {
        "format": FORMAT,
        "versions": versions(),
        "fitted": plain,
        "network": network,
        "pretrained": None if pretrained is None else vars(pretrained),
    }
    others = {
        name: value for name, value in state.items() if name not in fitted and name not in NETWORK
    }
    return others | {
        _KEY: {
            "document": json.dumps(document, allow_nan=False),
            "arrays": arrays | weights,
            "files": {name: np.frombuffer(content, np.uint8) for name, content in files.items()},
        }
    }


def skops_trusted_types() -> list[str]:
    """Types that a file of skops with estimators of this package holds.

    Fitted and unfitted estimators become Python's own types and NumPy arrays: besides the classes
    of the estimators, skops has nothing to trust, and loading runs no code of the file. An
    `encoder` that is a handle rather than a name or a folder has no such form.

    Returns
    -------
    list of str
        Names for the parameter `trusted` of `skops.io.load` and `skops_trusted_types` of
        `mlflow.sklearn.log_model`.

    Examples
    --------
    >>> import sktransfer
    >>> sktransfer.skops_trusted_types()[0]
    'sktransfer.estimators.language_model.LanguageModel'
    """
    return [f"sktransfer.estimators.{module}.{name}" for name, module in ESTIMATORS.items()]


def restored_state(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an estimator that `plain_state` gave; new parameters have their defaults.

    Raises
    ------
    ValueError
        If the state is of a newer version, or the encoder that it refers to is not there.
    """
    parameters = inspect.signature(kind).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
    state = defaults | state
    if _KEY not in state:
        return state
    saved = state.pop(_KEY)
    document = json.loads(saved["document"])
    if document["format"] != FORMAT:
        raise ValueError(
            f"The {kind.__name__} was pickled in format {document['format']!r}, and this version "
            f"of sktransfer reads format {FORMAT}: load it with the version that pickled it."
        )
    warn_of_versions(document["versions"])
    arrays: Arrays = saved["arrays"]
    files = {name: content.tobytes() for name, content in saved["files"].items()}
    known = state["encoder"] if isinstance(state["encoder"], EncoderHandle) else None
    try:
        model, tokenizer = network_from_files(document["network"], arrays, files, known)
    except MissingEncoderError as error:
        raise ValueError(f"The {kind.__name__} cannot be loaded: {error}") from error
    fitted = {name: from_plain(value, arrays) for name, value in document["fitted"].items()}
    pretrained = document["pretrained"]
    model.pretrained = None if pretrained is None else PretrainedState(**pretrained)
    model.encoder.set_chunk_length(state["max_length"])
    return state | fitted | {"model_": model, "tokenizer_": tokenizer}
