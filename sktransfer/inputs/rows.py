"""Rows of text as ragged token ids.

A long text is several overlapping windows; several columns are one window, cut to fit.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs.tokens import Tokenizer, content_ids

WindowRole = Literal["part", "reading", "text"]

# A tokenizer's transient objects are some hundred times larger than the ids that are kept.
_CHUNK_TEXTS = 4096
_CHUNK_CHARACTERS = 4_000_000


@dataclass(frozen=True, eq=False)
class ScoredUnits:
    """Parts of rows that have features and scores of their own: choices, words, tokens.

    Attributes
    ----------
    counts : ndarray of int64, shape (n_windows,)
        Units of each window; those of a window follow those of the window before.
    source : ndarray of int64, shape (n_units, n)
        What each unit is in its row, in the terms of its form.
    position : ndarray of int64, shape (n_units,), or None
        Token of the window whose state is the unit's; None where a window, pooled, is one unit.
    """

    counts: NDArray[np.int64]
    source: NDArray[np.int64]
    position: NDArray[np.int64] | None = None

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """First unit of each window, and the number of all, shape (n_windows + 1,)."""
        return _offsets(self.counts)

    def of_windows(self, windows: NDArray[Any]) -> NDArray[np.int64]:
        """Numbers of the units of `windows`, in the order of these."""
        return join_ranges(self.start[:-1][windows], self.counts[windows])

    def take(self, windows: NDArray[Any]) -> "ScoredUnits":
        """Units of the given windows, in the given order."""
        units = self.of_windows(windows)
        position = None if self.position is None else self.position[units]
        return ScoredUnits(self.counts[windows], self.source[units], position)


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """Token ids of rows, each row one or more windows.

    Attributes
    ----------
    windows : list of ndarray of int32
        Token ids of each window, special tokens included.
    pool_start, pool_stop : ndarray of int32, shape (n_windows,)
        Content positions ``[pool_start, pool_stop)`` of a window count in pooling, so that a token
        in the overlap of two windows counts once. The first ``n_prefix`` and last ``n_suffix``
        positions of every window, its special tokens, count besides.
    row_start : ndarray of int64, shape (n_rows + 1,)
        The windows of row ``i`` are ``row_start[i]:row_start[i + 1]``, at least one.
    n_truncated : int
        Number of rows cut to ``max_length`` when the texts were encoded.
    n_prefix, n_suffix : int
        Number of special tokens at the two ends of every window.
    segment_start : ndarray of int32, shape (n_windows,), or None
        Position of the first token behind the first column and its separator; None for rows of
        one text.
    window_role : {"part", "reading", "text"}
        What the windows of a row are: parts of its text, readings of all its texts, which are
        averaged, or one each for its two texts, which are compared.
    units : ScoredUnits or None
        Where the parts of a row are scored; None where a row is scored as a whole.
    """

    windows: list[NDArray[np.int32]]
    pool_start: NDArray[np.int32]
    pool_stop: NDArray[np.int32]
    row_start: NDArray[np.int64]
    n_truncated: int = 0
    n_prefix: int = 0
    n_suffix: int = 0
    segment_start: NDArray[np.int32] | None = None
    window_role: WindowRole = "part"
    units: ScoredUnits | None = None

    def __len__(self) -> int:
        return len(self.row_start) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each window, shape (n_windows,)."""
        return np.fromiter(map(len, self.windows), dtype=np.int64, count=len(self.windows))

    @cached_property
    def row_lengths(self) -> NDArray[np.int64]:
        """Tokens of all windows of each row, shape (n_rows,)."""
        return np.add.reduceat(self.lengths, self.row_start[:-1])

    @cached_property
    def n_units(self) -> NDArray[np.int64]:
        """Features and scores that each row gets, shape (n_rows,)."""
        if self.units is None:
            return np.ones(len(self), dtype=np.int64)
        return np.diff(self.units.start[self.row_start])

    @property
    def unit_start(self) -> NDArray[np.int64]:
        """First unit of each row, and the number of all, shape (n_rows + 1,)."""
        return _offsets(self.n_units)

    def take(self, rows: NDArray[np.intp]) -> "EncodedRows":
        """Return the given rows, in the given order; the ids are shared, not copied."""
        counts = np.diff(self.row_start)[rows]
        ids = join_ranges(self.row_start[:-1][rows], counts)
        return EncodedRows(
            windows=[self.windows[i] for i in ids.tolist()],
            pool_start=self.pool_start[ids],
            pool_stop=self.pool_stop[ids],
            row_start=_offsets(counts),
            n_truncated=self.n_truncated,
            n_prefix=self.n_prefix,
            n_suffix=self.n_suffix,
            segment_start=None if self.segment_start is None else self.segment_start[ids],
            window_role=self.window_role,
            units=None if self.units is None else self.units.take(ids),
        )


def encode_rows(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    max_length: int,
    long_texts: Literal["window", "truncate"],
) -> EncodedRows:
    """Tokenize texts into windows of at most ``max_length`` tokens.

    Parameters
    ----------
    texts : sequence of str
        One text a row; a text that occurs several times is tokenized once.
    tokenizer : Tokenizer
        Gives the content ids and the special tokens of a window.
    max_length : int
        Most tokens of one window, special tokens included.
    long_texts : {"window", "truncate"}
        A longer text becomes several evenly spaced windows of equal length that overlap by at
        least an eighth of a window, or keeps only its first tokens.

    Returns
    -------
    EncodedRows
        The rows in the order of ``texts``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import encode_rows
    >>> class Letters:
    ...     pad_id, prefix, suffix = 0, (1,), (2,)
    ...
    ...     def encode(self, texts):
    ...         return [np.array([ord(c) for c in t], dtype=np.int32) for t in texts]
    >>> rows = encode_rows(["ab", "abcdefg"], Letters(), max_length=6, long_texts="window")
    >>> [window.tolist() for window in rows.windows]
    [[1, 97, 98, 2], [1, 97, 98, 99, 100, 2], [1, 100, 101, 102, 103, 2]]
    """
    first, inverse = distinct(texts)
    rows, truncated = window_texts(
        [texts[i] for i in first],
        tokenizer,
        partial(content_ids, tokenizer),
        max_length=max_length,
        long_texts=long_texts,
    )
    rows = replace(rows, n_truncated=int(np.count_nonzero(truncated[inverse])))
    return rows if len(first) == len(texts) else rows.take(inverse)


def window_texts(
    texts: list[str],
    tokenizer: Tokenizer,
    encode: Callable[[list[str]], list[NDArray[np.int32]]],
    *,
    max_length: int,
    long_texts: Literal["window", "truncate"],
) -> tuple[EncodedRows, NDArray[np.bool_]]:
    """Windows of distinct texts, and which of the texts were cut.

    Parameters
    ----------
    texts : list of str
        Distinct texts.
    tokenizer : Tokenizer
        Gives the special tokens of a window.
    encode : callable
        Gives the content ids of some of the texts; it gets all of them, in order, in chunks.
    max_length : int
        Most tokens of one window, special tokens included.
    long_texts : {"window", "truncate"}
        What becomes of longer texts, as in `encode_rows`.

    Returns
    -------
    rows : EncodedRows
        One row per text.
    truncated : ndarray of bool, shape (n_texts,)
        Whether a text lost tokens.
    """
    n_special = len(tokenizer.prefix) + len(tokenizer.suffix)
    if max_length <= n_special:
        raise ValueError(
            f"max_length={max_length} leaves no room for text beside the encoder's {n_special} "
            f"special tokens; use at least {n_special + 1}."
        )
    windows: list[NDArray[np.int32]] = []
    parts = [_empty_part()]
    for chunk in _chunks(texts):
        chunk_windows, part = _cut_windows(encode(chunk), tokenizer, max_length, long_texts)
        windows += chunk_windows
        parts.append(part)
    pool_start, pool_stop, counts, truncated = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    rows = EncodedRows(
        windows=windows,
        pool_start=pool_start,
        pool_stop=pool_stop,
        row_start=_offsets(counts),
        n_prefix=len(tokenizer.prefix),
        n_suffix=len(tokenizer.suffix),
    )
    return rows, truncated


def distinct(keys: Sequence[Hashable]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Position of the first copy of each distinct key, and for each key which one it is."""
    number: dict[Hashable, int] = {}
    inverse = np.fromiter((number.setdefault(key, len(number)) for key in keys), np.intp, len(keys))
    first = np.full(len(number), len(keys), dtype=np.intp)
    np.minimum.at(first, inverse, np.arange(len(keys)))
    return first, inverse


def join_ranges(starts: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.int64]:
    """Concatenate the integer ranges ``[start, start + count)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs.rows import join_ranges
    >>> join_ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    offsets = _offsets(counts)
    return np.repeat(np.asarray(starts, dtype=np.int64) - offsets[:-1], counts) + np.arange(
        offsets[-1]
    )


def _offsets(counts: NDArray[Any]) -> NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _chunks(texts: list[str]) -> Iterator[list[str]]:
    start, characters = 0, 0
    for stop, text in enumerate(texts):
        if stop > start and (
            stop - start == _CHUNK_TEXTS or characters + len(text) > _CHUNK_CHARACTERS
        ):
            yield texts[start:stop]
            start, characters = stop, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]


# Pool starts, pool stops, windows per text, whether it was cut.
_Part = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]


def _empty_part() -> _Part:
    return (
        np.empty(0, dtype=np.int32),
        np.empty(0, dtype=np.int32),
        np.empty(0, dtype=np.int64),
        np.empty(0, dtype=np.bool_),
    )


def _cut_windows(
    contents: list[NDArray[np.int32]],
    tokenizer: Tokenizer,
    max_length: int,
    long_texts: Literal["window", "truncate"],
) -> tuple[list[NDArray[np.int32]], _Part]:
    """Cut the content ids of a chunk of texts into windows, all texts at once."""
    prefix = np.asarray(tokenizer.prefix, dtype=np.int32)
    suffix = np.asarray(tokenizer.suffix, dtype=np.int32)
    if not len(prefix) and not len(suffix):  # a window must hold a token
        pad = np.array([tokenizer.pad_id], dtype=np.int32)
        contents = [ids if len(ids) else pad for ids in contents]
    body = max_length - len(prefix) - len(suffix)
    lengths = np.fromiter(map(len, contents), dtype=np.int64, count=len(contents))
    truncated = np.zeros(len(contents), dtype=np.bool_)
    kept = lengths
    if long_texts == "truncate":
        truncated, kept = lengths > body, np.minimum(lengths, body)
    counts, start, stop, pool_start, pool_stop = _window_bounds(kept, body)

    flat = np.concatenate(contents, dtype=np.int32, casting="same_kind")
    source = np.repeat(_offsets(lengths)[:-1], counts) + start
    window_offsets = _offsets(stop - start + len(prefix) + len(suffix))
    begin, end = window_offsets[:-1], window_offsets[1:]
    ids = np.empty(window_offsets[-1], dtype=np.int32)
    ids[begin[:, None] + np.arange(len(prefix))] = prefix
    ids[end[:, None] - len(suffix) + np.arange(len(suffix))] = suffix
    ids[join_ranges(begin + len(prefix), stop - start)] = flat[join_ranges(source, stop - start)]

    windows = [ids[first:last] for first, last in zip(begin.tolist(), end.tolist(), strict=True)]
    shift = len(prefix) - start
    return windows, (
        (pool_start + shift).astype(np.int32),
        (pool_stop + shift).astype(np.int32),
        counts,
        truncated,
    )


def _window_bounds(
    lengths: NDArray[np.int64], body: int | NDArray[np.int64]
) -> tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]
]:
    """Place windows of at most ``body`` tokens (one number, or one per text) over texts.

    Returns the windows per text and, for each window in the positions of its text, start, stop and
    the bounds of the tokens that it pools.
    """
    # The fewest windows that cover a text, then as short as the overlap allows: a text that is
    # one token too long costs two half windows, not two whole ones.
    overlap = np.minimum(-(-body // 8), body - 1)
    counts = 1 + -(-np.maximum(lengths - body, 0) // (body - overlap))
    width = -(-(lengths + (counts - 1) * overlap) // counts)

    first = _offsets(counts)[:-1]
    index = np.arange(counts.sum()) - np.repeat(first, counts)
    width, slack, gaps = (
        np.repeat(values, counts) for values in (width, lengths - width, np.maximum(counts - 1, 1))
    )
    start = index * slack // gaps
    stop = start + width
    pool_start, pool_stop = start.copy(), stop.copy()
    inner = np.flatnonzero(index > 0)
    middle = (start[inner] + stop[inner - 1]) // 2
    pool_start[inner] = middle
    pool_stop[inner - 1] = middle
    return counts, start, stop, pool_start, pool_stop
