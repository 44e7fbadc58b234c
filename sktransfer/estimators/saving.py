"""Fitted estimators in folders: JSON, safetensors and tokenizer files, no pickle."""

from __future__ import annotations

import json
import os
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sktransfer.encoders import (
    ESTIMATOR_FILES,
    SAVED_MARK,
    EncoderHandle,
    resolve_encoder,
)
from sktransfer.fitting.plain_state import Arrays, to_plain
from sktransfer.fitting.saving import saved_network, write_arrays
from sktransfer.runtime import find_stack_level

FORMAT = 2
DOCUMENT, ARRAYS, _CARD = ESTIMATOR_FILES
SAVED_ENCODER = {"encoder": "saved"}
# The only estimators that are built from a file, and their modules.
ESTIMATORS = {
    "LanguageModel": "language_model",
    "TransferAnswerExtractor": "answer_extractor",
    "TransferChoiceClassifier": "choice_classifier",
    "TransferTextClassifier": "classifier",
    "TransferTextRegressor": "regressor",
    "TransferTextVectorizer": "vectorizer",
    "TransferTokenClassifier": "token_classifier",
}
# What the network is made of; the rest of the fitted attributes are numbers and texts.
NETWORK = ("model_", "tokenizer_")


def write_estimator(
    estimator: Any, folder: Path, weights: Literal["auto", "full"], dtype: str
) -> None:
    """Write a fitted `estimator` to `folder`, as a whole."""
    if not type(estimator).__module__.startswith("sktransfer."):
        raise TypeError(
            f"A {type(estimator).__name__} cannot be saved, because `sktransfer.load` would not "
            "know its class; pickle it instead."
        )
    arrays: Arrays = {}
    base = named_encoder(estimator.encoder) if weights == "auto" else None
    given = estimator.get_params(deep=False)
    parameters = {name: _parameter(value) for name, value in given.items() if _has_form(value)}
    if lost := sorted(given.keys() - parameters.keys()):
        warnings.warn(
            f"{', '.join(lost)} cannot be written to a file: the loaded estimator will have the "
            "default.",
            UserWarning,
            stacklevel=find_stack_level(),
        )
    fitted = {
        name: to_plain(value, arrays, name)
        for name, value in vars(estimator).items()
        if is_fitted(name)
    }
    network = saved_network(
        estimator.model_, estimator.tokenizer_, base, estimator._sentence_settings(), folder, dtype
    )
    with network as (new, described, tensors):
        document = {
            SAVED_MARK: {},
            "format": FORMAT,
            "estimator": type(estimator).__name__,
            "versions": versions(),
            "parameters": parameters,
            "fitted": fitted,
            "network": described,
        }
        write_arrays(new / ARRAYS, arrays, tensors)
        text = json.dumps(document, indent=1, allow_nan=False)
        (new / DOCUMENT).write_text(text + "\n", "utf-8")
        (new / _CARD).write_text(_card(estimator, described), "utf-8")


def named_encoder(encoder: Any) -> EncoderHandle | None:
    """Handle of an encoder that other machines find by its name."""
    if not isinstance(encoder, str) or Path(encoder).expanduser().exists():
        return None
    try:
        return resolve_encoder(encoder)
    except ValueError:
        return None


def _parameter(value: Any) -> Any:
    """A parameter as JSON."""
    if isinstance(value, EncoderHandle):
        return SAVED_ENCODER
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):  # of a grid, say
        value = value.item()
    return to_plain(value, {}, "parameter")


def _has_form(value: Any) -> bool:
    """Whether a parameter has a form in JSON; others, such as a random generator, do not."""
    if isinstance(value, (EncoderHandle, os.PathLike)):
        return True
    if isinstance(value, np.ndarray):
        return False
    try:
        to_plain(value, {}, "parameter")
    except TypeError:
        return False
    return True


def is_fitted(name: str) -> bool:
    """Whether an attribute is part of the fitted state, or of what `set_output` chose."""
    is_public = name.endswith("_") and not name.startswith("_")
    return (is_public and name not in NETWORK) or name == "_sklearn_output_config"


def versions() -> dict[str, str]:
    names = ("sktransfer", "torch", "transformers", "tokenizers", "scikit-learn", "numpy")
    return {name: metadata.version(name) for name in names}


def warn_of_versions(saved: dict[str, str]) -> None:
    """Warn if the packages that predictions depend on have other versions than when saved."""
    here = versions()
    others = [
        f"{name} {saved[name]} (here {here[name]})"
        for name in ("sktransfer", "torch", "transformers")
        if name in saved and saved[name].split(".")[:2] != here[name].split(".")[:2]
    ]
    if others:
        warnings.warn(
            f"The estimator was saved with {', '.join(others)}: predictions may differ by "
            "rounding, and parameters that are new here have their defaults.",
            UserWarning,
            stacklevel=find_stack_level(),
        )


def _card(estimator: Any, network: dict[str, Any]) -> str:
    """A model card that the Hugging Face hub reads."""
    task = {"ClassificationTask": "- text-classification\n"}.get(type(estimator.task_).__name__, "")
    version = metadata.version("sktransfer")
    reference = network["encoder"]
    base = "its own weights, in this folder" if reference is None else f"`{reference['name']}`"
    classes = getattr(estimator, "classes_", None)
    labels = ""
    if classes is not None and np.ndim(classes) == 1:
        shown = ", ".join(f"`{label}`" for label in classes[:20])
        labels = f"- Labels ({len(classes)}): {shown}{', …' if len(classes) > 20 else ''}\n"
    return f"""---
library_name: sktransfer
tags:
- sktransfer
{task}---

# {type(estimator).__name__}

A fitted estimator of [sktransfer](https://pypi.org/project/sktransfer/) {version}:

```python
import sktransfer

estimator = sktransfer.load("this folder")
```

- Encoder: `{estimator.encoder_name_}`, {base}
{labels}- Epochs: {estimator.n_iter_}

What it was trained on, what it is for and how well it does is for its author to add.
"""
