"""Rows of words: checked with their tags, encoded with one token for each word."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs.rows import (
    EncodedRows,
    ScoredUnits,
    distinct,
    join_ranges,
    window_texts,
)
from sktransfer.inputs.texts import Row, check_texts, is_missing, to_list
from sktransfer.inputs.tokens import Tokenizer


@dataclass(frozen=True)
class WordFormat:
    """A list of words per row, such as a sentence; each word is scored."""

    reads_whole: ClassVar[bool] = True
    cut_message: ClassVar[str] = ""  # nothing is cut: long rows are read in windows

    def check(self, X: Any, *, name: str = "X") -> Sequence[Row]:
        """Tuples of words."""
        return check_words(X, name=name)

    def n_columns(self, rows: Sequence[Row]) -> int:
        """1: words are not columns, as rows differ in their number."""
        return 1

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int) -> EncodedRows:
        """Windows of the joined words; each word is a unit."""
        words = cast(Sequence[tuple[str, ...]], rows)
        return encode_words(words, tokenizer, max_length=max_length)


def check_words(X: Any, *, name: str = "X") -> list[tuple[str, ...]]:
    """Rows of words, or an error that names row and word.

    Parameters
    ----------
    X : array-like of shape (n_rows,)
        Lists, tuples or arrays of `str`, in a list, a NumPy array, a pandas or polars Series or
        a pyarrow list array; or a two-dimensional array where rows have equally many words.
    name : str, default="X"
        What error messages call `X`.

    Returns
    -------
    list of tuple of str
        Empty where a row has no words.

    Raises
    ------
    ValueError, TypeError
        If `X` is not a list of lists, or a word is not a `str`.

    Examples
    --------
    >>> from sktransfer.inputs import check_words
    >>> check_words([["EU", "rejects", "call"], ("Peter",)])
    [('EU', 'rejects', 'call'), ('Peter',)]
    """
    rows = _listed_rows(X, name, "words")
    return [
        tuple(check_texts(words, name=f"row {row} of {name}", item="Word")) if len(words) else ()
        for row, words in enumerate(rows)
    ]


def check_tags(y: Any, *, name: str = "y") -> NDArray[Any]:
    """Rows of tags, or an error that names row and tag.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Lists of tags, in the containers of `check_words`; all tags `str`, or all `int`.
    name : str, default="y"
        What error messages call `y`.

    Returns
    -------
    ndarray of object, shape (n_rows,)
        A tuple of tags per row, empty where a row has none.

    Raises
    ------
    ValueError, TypeError
        If `y` is not a list of lists, or a tag is missing or of another type than the first.

    Examples
    --------
    >>> from sktransfer.inputs import check_tags
    >>> check_tags([["B-ORG", "O", "O"], ["B-PER"]])
    array([('B-ORG', 'O', 'O'), ('B-PER',)], dtype=object)
    """
    rows = _listed_rows(y, name, "tags")
    checked = np.empty(len(rows), dtype=object)
    first = next((tag for tags in rows for tag in tags), None)
    kind: type[str] | type[int] = int if isinstance(first, (int, np.integer)) else str
    for row, tags in enumerate(rows):
        if set(map(type, tags)) - {kind}:
            tags = [
                _plain_tag(tag, kind, first, f"Tag {place} of row {row} of {name}")
                for place, tag in enumerate(tags)
            ]
        checked[row] = tuple(tags)
    return checked


def check_tags_of_words(rows: Sequence[Row], y: NDArray[Any], *, name: str = "y") -> None:
    """Raise a `ValueError` that names the first row with more or fewer tags than words."""
    for row, (words, tags) in enumerate(zip(rows, y, strict=True)):
        if len(words) != len(tags):
            raise ValueError(
                f"Row {row} has {len(words)} words, but {len(tags)} tags in {name}; give each word "
                "one tag."
            )


def _plain_tag(tag: Any, kind: type[str] | type[int], first: Any, place: str) -> str | int:
    if is_missing(tag):
        raise ValueError(f'{place} is missing ({tag}); give the word a tag, for example "O".')
    if isinstance(tag, np.generic):
        tag = tag.item()
    if not isinstance(tag, kind):
        raise TypeError(
            f"{place} is {tag!r} of type {type(tag).__name__}, but tags must be all str, or all "
            f"int, and the first is {first!r}; convert all of them with str()."
        )
    return str.__str__(tag) if isinstance(tag, str) else int(tag)


def _listed_rows(values: Any, name: str, items: str) -> list[list[Any]]:
    """Lists, one per row."""
    if isinstance(values, np.ndarray) and values.ndim in (1, 2):
        rows: list[Any] = values.tolist()
        if values.ndim == 2 and values.shape[1] == 1 and isinstance(rows[0][0], (list, tuple)):
            rows = [row[0] for row in rows]  # what a frame of one column becomes
    else:
        rows = to_list(values, name)
    if not rows:
        raise ValueError(
            f"Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is required by {name}."
        )
    for row, listed in enumerate(rows):
        if isinstance(listed, np.ndarray) and listed.ndim == 1:
            rows[row] = listed = listed.tolist()
        if not isinstance(listed, (list, tuple)):
            hint = "; split it into words first" if isinstance(listed, str) else ""
            error = ValueError if isinstance(listed, str) or is_missing(listed) else TypeError
            raise error(
                f"Row {row} of {name} is of type {type(listed).__name__}, but each row must be a "
                f"list of {items}{hint}."
            )
    return rows


def encode_words(
    rows: Sequence[tuple[str, ...]], tokenizer: Tokenizer, *, max_length: int
) -> EncodedRows:
    """Tokenize rows of words into windows, with the first token of each word as its unit.

    A word without tokens of its own, such as one of control characters only, has the token
    before it.

    Parameters
    ----------
    rows : sequence of tuple of str
        Words; a row that occurs several times is tokenized once.
    tokenizer : Tokenizer
        Gives the content ids with their characters, and the special tokens of a window.
    max_length : int
        Most tokens of one window, special tokens included.

    Returns
    -------
    EncodedRows
        With `units`, whose `source` is the number of the word in its row.
    """
    first, inverse = distinct(rows)
    kept = [rows[i] for i in first]
    tokens: list[NDArray[np.int64]] = []

    def encode(chunk: list[str]) -> list[NDArray[np.int32]]:
        contents, spans = tokenizer.encode_spans(chunk)
        for row_spans in spans:
            tokens.append(_word_tokens(kept[len(tokens)], row_spans))
        return contents

    texts = [" ".join(words) for words in kept]
    encoded, _ = window_texts(texts, tokenizer, encode, max_length=max_length, long_texts="window")
    encoded = replace(encoded, units=_units(tokens, encoded))
    return encoded if len(first) == len(rows) else encoded.take(inverse)


def _word_tokens(words: tuple[str, ...], spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """First token of each word, or the one before the word, which is -1 where there is none."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    stop = np.cumsum(lengths + 1) - 1
    start = stop - lengths
    token = np.searchsorted(np.maximum.accumulate(spans[:, 1]), start, side="right")
    # The first token that ends behind the start of a word may lie behind all of the word.
    token_start = np.append(spans[:, 0], np.iinfo(np.int64).max)
    return np.where(token_start[token] < stop, token, token - 1)


def _units(tokens: list[NDArray[np.int64]], rows: EncodedRows) -> ScoredUnits:
    """Units in the windows that own the tokens, which are counted within their rows."""
    counts = np.fromiter(map(len, tokens), np.int64, len(tokens))
    token = np.concatenate(tokens)
    owned = np.append(0, np.cumsum(rows.pool_stop - rows.pool_start, dtype=np.int64))
    first_window = np.repeat(rows.row_start[:-1], counts)
    place = owned[first_window] + token
    window = np.searchsorted(owned, place, side="right") - 1
    position = rows.pool_start[window] + place - owned[window]
    # Before all content there is the first token of the row, a special one if there are any.
    is_before = token < 0
    window = np.where(is_before, first_window, window)
    return ScoredUnits(
        counts=np.bincount(window, minlength=len(rows.windows)),
        source=join_ranges(np.zeros_like(counts), counts)[:, None],
        position=np.where(is_before, 0, position),
    )
