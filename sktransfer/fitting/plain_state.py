"""Fitted objects as JSON and arrays, and back, without pickle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer.encoders import SentenceSettings
from sktransfer.fitting.lexical import LexicalChannel
from sktransfer.fitting.tfidf import LexicalColumns, LexicalVectorizer
from sktransfer.tasks import (
    AnswerTask,
    ChoiceTask,
    ClassificationTask,
    LinearWeights,
    MultilabelTask,
    RegressionTask,
    TaggingTask,
)

Arrays = dict[str, NDArray[Any]]

# The only classes that are built from a file.
_CLASSES: dict[str, type] = {
    one.__name__: one
    for one in (
        *(AnswerTask, ChoiceTask, ClassificationTask, MultilabelTask, RegressionTask, TaggingTask),
        *(LexicalChannel, LexicalColumns, LexicalVectorizer, LinearWeights, SentenceSettings),
    )
}
_NUMBERS = "biuf"


def to_plain(value: Any, arrays: Arrays, name: str) -> Any:
    """`value` as JSON; arrays of numbers are added to `arrays`, under keys that begin with `name`.

    Raises
    ------
    TypeError
        If a value has no such form.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.generic):
        return {"scalar": to_plain(np.asarray(value)[None], arrays, name)}
    if isinstance(value, np.ndarray):
        return _plain_array(value, arrays, name)
    if type(value).__name__ in _CLASSES:
        state = value._asdict() if isinstance(value, LinearWeights) else _state(value)
        return {"class": type(value).__name__, "state": to_plain(state, arrays, name)["dict"]}
    if isinstance(value, dict):
        parts = {key: f"{name}.{key}" if isinstance(key, str) else name for key in value}
        items = [
            [to_plain(key, arrays, name), to_plain(part, arrays, parts[key])]
            for key, part in value.items()
        ]
        return {"dict": items}
    if isinstance(value, (list, tuple)):
        parts_of = [to_plain(part, arrays, f"{name}.{i}") for i, part in enumerate(value)]
        return {"tuple": parts_of} if isinstance(value, tuple) else parts_of
    raise TypeError(f"{name} cannot be saved: a {type(value).__name__} has no form in JSON.")


def from_plain(document: Any, arrays: Arrays) -> Any:
    """The value that `to_plain` wrote."""
    if isinstance(document, list):
        return [from_plain(part, arrays) for part in document]
    if not isinstance(document, dict):
        return document
    if "class" in document:
        return _object(document, arrays)
    ((kind, content),) = document.items() if len(document) == 1 else (("array", document),)
    if kind == "float":
        return float(str(content))
    if kind == "scalar":
        return from_plain(content, arrays)[0]
    if kind == "dict":
        return {from_plain(key, arrays): from_plain(part, arrays) for key, part in content}
    if kind == "tuple":
        return tuple(from_plain(part, arrays) for part in content)
    return _array(content, arrays)


def _state(value: Any) -> dict[str, Any]:
    return {key: part for key, part in vars(value).items() if key != "_index"}


def _object(document: dict[str, Any], arrays: Arrays) -> Any:
    kind = _CLASSES.get(document["class"])
    if kind is None:
        raise ValueError(f"there is no {document['class']!r} in this version of sktransfer")
    state = from_plain({"dict": document["state"]}, arrays)
    if kind is LinearWeights:
        return LinearWeights(**state)
    value: Any = object.__new__(kind)
    vars(value).update(state)
    return value


def _plain_array(value: NDArray[Any], arrays: Arrays, name: str) -> dict[str, Any]:
    if value.dtype.kind in _NUMBERS:
        key = name
        while key in arrays:
            key += "_"
        arrays[key] = np.ascontiguousarray(value)
        return {"array": key, "shape": list(value.shape)}
    if value.dtype.kind not in "UO":
        raise TypeError(f"{name} cannot be saved: an array of {value.dtype} has no form in JSON.")
    items = [to_plain(part, arrays, f"{name}.{i}") for i, part in enumerate(value.ravel().tolist())]
    return {"items": items, "dtype": value.dtype.str, "shape": list(value.shape)}


def _array(document: dict[str, Any], arrays: Arrays) -> NDArray[Any]:
    if "array" in document:
        return arrays[document["array"]].reshape(document["shape"])
    items = [from_plain(part, arrays) for part in document["items"]]
    dtype = np.dtype(document["dtype"])
    if dtype.kind not in "UO":
        raise ValueError(f"an array of texts or objects has the type {dtype}")
    value: NDArray[Any] = np.empty(len(items), dtype=dtype)
    value[:] = items
    return value.reshape(document["shape"])
