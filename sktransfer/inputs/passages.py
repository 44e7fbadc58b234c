"""Rows of a question and a context, whose tokens are scored one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs.columns import check_columns
from sktransfer.inputs.rows import (
    EncodedRows,
    ScoredUnits,
    _chunks,
    _offsets,
    _window_bounds,
    distinct,
    join_ranges,
)
from sktransfer.inputs.texts import Row
from sktransfer.inputs.tokens import Tokenizer, content_ids


@dataclass(frozen=True)
class PassageFormat:
    """A question and the context in which its answer stands."""

    reads_whole: ClassVar[bool] = True
    cut_message: ClassVar[str] = (
        "{n} questions fill more than half of max_length={max_length} tokens and were cut."
    )

    def check(self, X: Any, *, name: str = "X") -> Sequence[Row]:
        """Pairs of texts."""
        rows = check_columns(X, name=name)
        n_columns = 1 if isinstance(rows[0], str) else len(rows[0])
        if n_columns != 2:
            raise ValueError(
                f"{name} has {n_columns} column{'s' * (n_columns > 1)}, but a row is a question "
                "and a context: pass two columns of texts, or a list of pairs."
            )
        return rows

    def n_columns(self, rows: Sequence[Row]) -> int:
        """Question and context."""
        return 2

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int) -> EncodedRows:
        """Windows of the context, each behind the question."""
        return encode_passages(
            cast(Sequence[tuple[str, str]], rows), tokenizer, max_length=max_length
        )


def encode_passages(
    rows: Sequence[tuple[str, str]], tokenizer: Tokenizer, *, max_length: int
) -> EncodedRows:
    """Tokenize questions and contexts into windows that overlap over the context.

    Parameters
    ----------
    rows : sequence of tuple of str
        Question and context of each row.
    tokenizer : Tokenizer
        Gives the ids, their characters and the special tokens.
    max_length : int
        Most tokens of a window, special tokens included. A question is cut to half of it.

    Returns
    -------
    EncodedRows
        The first unit of a row, the first token of its first window, stands for "no answer"; the
        others are the tokens of the context in reading order, each in one window. Their `source`
        is the characters ``[start, stop)`` of a token, without the spaces ahead of it; (-1, -1)
        for no answer. Tokens of nothing but spaces are not units.

    Raises
    ------
    ValueError
        If `max_length` has no room for a token of question and context.
    """
    prefix, separator, suffix = (
        np.asarray(ids, dtype=np.int32)
        for ids in (tokenizer.prefix, tokenizer.separator, tokenizer.suffix)
    )
    n_special = len(prefix) + len(separator) + len(suffix)
    room = max_length - n_special
    if room < 2:
        raise ValueError(
            f"max_length={max_length} leaves no room for question and context beside {n_special} "
            f"special tokens; use at least {n_special + 2}."
        )
    first, asked = distinct([question for question, _ in rows])
    questions = content_ids(tokenizer, [rows[i][0] for i in first])
    if not n_special:  # a window must hold a token
        pad = np.array([tokenizer.pad_id], dtype=np.int32)
        questions = [ids if len(ids) else pad for ids in questions]
    is_cut = np.array([len(ids) > room // 2 for ids in questions])
    heads = [np.concatenate([prefix, ids[: room // 2], separator]) for ids in questions]
    head_lengths = np.array([len(head) for head in heads], dtype=np.int64)[asked]

    first, read = distinct([context for _, context in rows])
    contexts, spans = _encode_contexts([rows[i][1] for i in first], tokenizer)
    lengths = np.array([len(ids) for ids in contexts], dtype=np.int64)
    counts, start, stop, pool_start, pool_stop = _window_bounds(
        lengths[read], max_length - len(suffix) - head_lengths
    )
    row_start = _offsets(counts)
    row = np.repeat(np.arange(len(rows)), counts)
    pieces = zip(
        asked[row].tolist(), read[row].tolist(), start.tolist(), stop.tolist(), strict=True
    )
    shift = head_lengths[row] - start
    owned = pool_stop - pool_start
    return EncodedRows(
        windows=[np.concatenate([heads[q], contexts[c][i:j], suffix]) for q, c, i, j in pieces],
        pool_start=(pool_start + shift).astype(np.int32),
        pool_stop=(pool_stop + shift).astype(np.int32),
        row_start=row_start,
        n_truncated=int(np.count_nonzero(is_cut[asked])),
        n_prefix=len(prefix),
        n_suffix=len(suffix),
        segment_start=head_lengths[row].astype(np.int32),
        units=_passage_units(
            source=np.concatenate(spans)[
                join_ranges(_offsets(lengths)[read[row]] + pool_start, owned)
            ],
            position=join_ranges(pool_start + shift, owned),
            owned=owned,
            first_windows=row_start[:-1],
        ),
    )


def _encode_contexts(
    texts: list[str], tokenizer: Tokenizer
) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int64]]]:
    """Ids of each context, and the characters of each token without the spaces ahead of it."""
    contents: list[NDArray[np.int32]] = []
    spans: list[NDArray[np.int64]] = []
    for chunk in _chunks(texts):
        ids, places = tokenizer.encode_spans(chunk)
        contents += ids
        for text, pairs in zip(chunk, places, strict=True):
            # Byte-level tokens begin with the space between two words.
            bare = [(j - len(text[i:j].lstrip()), j) for i, j in pairs.tolist()]
            spans.append(np.array(bare, dtype=np.int64).reshape(-1, 2))
    return contents, spans


def _passage_units(
    source: NDArray[np.int64],
    position: NDArray[np.int64],
    owned: NDArray[np.int64],
    first_windows: NDArray[np.int64],
) -> ScoredUnits:
    """Units of the tokens that windows own, and one for no answer ahead of each row's."""
    is_visible = source[:, 0] < source[:, 1]
    window = np.repeat(np.arange(len(owned)), owned)
    counts = np.bincount(window[is_visible], minlength=len(owned))
    ahead = _offsets(counts)[first_windows]
    counts[first_windows] += 1
    return ScoredUnits(
        counts=counts,
        source=np.insert(source[is_visible], ahead, -1, axis=0),
        position=np.insert(position[is_visible], ahead, 0),
    )
