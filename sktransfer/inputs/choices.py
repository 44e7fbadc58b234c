"""Rows of multiple choice: a context and its choices, each read together with the context."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np

from sktransfer.inputs.columns import encode_columns, split_columns
from sktransfer.inputs.rows import EncodedRows, ScoredUnits
from sktransfer.inputs.texts import Row, check_texts, is_missing, to_list
from sktransfer.inputs.tokens import Tokenizer

ChoiceRow = tuple[str | None, ...]

_ONE_COLUMN = "one column, but multiple choice needs a column of contexts and one for each choice."


@dataclass(frozen=True)
class ChoiceFormat:
    """A context and choices, some of which may be missing; each choice is a unit.

    Examples
    --------
    >>> from sktransfer.inputs import ChoiceFormat
    >>> ChoiceFormat().check(
    ...     [["It rained.", "It is wet.", "It is dry."], ["He ate.", "He is full."]]
    ... )
    [('It rained.', 'It is wet.', 'It is dry.'), ('He ate.', 'He is full.', None)]
    """

    reads_whole: ClassVar[bool] = True
    cut_message: ClassVar[str] = (
        "{n} choices with their contexts are longer than max_length={max_length} tokens and were "
        "cut."
    )

    def check(self, X: Any, *, name: str = "X") -> list[ChoiceRow]:
        """Tuples of the context and its choices, None for a missing one.

        Raises
        ------
        ValueError, TypeError
            As `check_texts`; and if `X` has no column for choices, or a row no choice.
        """
        if isinstance(X, Iterator):
            X = list(X)
        columns = split_columns(_filled_up(X, name), name)
        if columns is None:
            check_texts(X, name=name)
            raise ValueError(f"{name} has {_ONE_COLUMN}")
        checked: list[list[Any]] = [check_texts(columns[0], name=f"{name}, column 0 (the context)")]
        checked += [
            _check_choices(column, f"{name}, column {number}")
            for number, column in enumerate(columns[1:], start=1)
        ]
        rows: list[ChoiceRow] = list(zip(*checked, strict=True))
        for number, row in enumerate(rows):
            if all(text is None for text in row[1:]):
                raise ValueError(
                    f"Row {number} of {name} has no choice: all columns after the context are "
                    "missing. Drop the row or give it a choice."
                )
        return rows

    def n_columns(self, rows: Sequence[Row]) -> int:
        """1 and the number of choices."""
        return len(rows[0])

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int) -> EncodedRows:
        """One window per pair of context and choice; long pairs are truncated.

        `ScoredUnits.source` has the number of the choice, from 0.
        """
        present = np.array([[text is not None for text in row[1:]] for row in rows])
        pairs = cast(
            list[tuple[str, str]],
            [(row[0], text) for row in rows for text in row[1:] if text is not None],
        )
        encoded = encode_columns(pairs, tokenizer, max_length=max_length)
        return replace(
            encoded,
            row_start=np.append(0, np.cumsum(present.sum(axis=1))),
            units=ScoredUnits(
                counts=np.ones(len(pairs), dtype=np.int64), source=np.argwhere(present)[:, 1:]
            ),
        )


def _filled_up(X: Any, name: str) -> Any:
    """Lists of texts padded to one length; any other `X` unchanged."""
    if not isinstance(X, (list, tuple)) or not X or not isinstance(X[0], (list, tuple, np.ndarray)):
        return X
    for number, row in enumerate(X):
        if not isinstance(row, (list, tuple, np.ndarray)):
            raise ValueError(
                f"Row {number} of {name} is of type {type(row).__name__}, but each row must be a "
                "list of a context and its choices, as row 0 is."
            )
    longest = max(map(len, X))
    if longest < 2:
        raise ValueError(f"{name} has {_ONE_COLUMN}")
    return [[*row, *[None] * (longest - len(row))] for row in X]


def _check_choices(column: Any, name: str) -> list[str | None]:
    texts = to_list(column, name)
    missing = [is_missing(text) for text in texts]
    filled = ["" if gone else text for text, gone in zip(texts, missing, strict=True)]
    checked = check_texts(filled, name=name)
    return [None if gone else text for text, gone in zip(checked, missing, strict=True)]
