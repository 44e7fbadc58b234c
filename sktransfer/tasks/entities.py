"""Entities in tags of the BIO scheme, and how well they were found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import eq
from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_bio(tags: Iterable[Any]) -> bool:
    """Whether all tags are "O" or start with "B-" or "I-", and not all are "O"."""
    others = [tag for tag in tags if tag != "O"]
    return bool(others) and all(
        isinstance(tag, str) and tag.startswith(("B-", "I-")) for tag in others
    )


def find_entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Type, start and stop of the entities of a row.

    As in the script of the CoNLL shared tasks, an "I-" that continues nothing starts an entity.

    Examples
    --------
    >>> from sktransfer.tasks.entities import find_entities
    >>> sorted(find_entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"]))
    [('LOC', 3, 4), ('LOC', 4, 5), ('PER', 0, 2)]
    """
    found = set()
    kind: str | None = None
    start = 0
    for place, tag in enumerate([*tags, "O"]):
        if kind is not None and tag != f"I-{kind}":
            found.add((kind, start, place))
            kind = None
        if kind is None and tag != "O":
            kind, start = tag[2:], place
    return found


def entity_f1(
    true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], weights: NDArray[np.float64]
) -> float:
    """Micro-averaged F1 of entities, right in type and bounds; 0 where there are none at all."""
    correct, total = 0.0, 0.0
    for true_tags, predicted_tags, weight in zip(true, predicted, weights.tolist(), strict=True):
        wanted, found = find_entities(true_tags), find_entities(predicted_tags)
        correct += weight * len(wanted & found)
        total += weight * (len(wanted) + len(found))
    return 2 * correct / total if total else 0.0


def tag_score(
    true: Sequence[Sequence[Any]],
    predicted: Sequence[Sequence[Any]],
    weights: NDArray[np.float64],
    classes: Iterable[Any],
) -> float:
    """Entity F1 where the tags of `true` and `classes` are in the BIO scheme, else accuracy."""
    if is_bio({*classes, *(tag for tags in true for tag in tags)}):
        return entity_f1(true, predicted, weights)
    lengths = [len(tags) for tags in true]
    n_right = [sum(map(eq, *pair)) for pair in zip(true, predicted, strict=True)]
    return float(np.average(n_right, weights=weights) / np.average(lengths, weights=weights))
