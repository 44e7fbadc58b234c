"""Parallel token streams for models that carry a state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

_RUNS_PER_LANE = 16
_LONGEST_RUN = 65_536


@dataclass(frozen=True, eq=False)
class StreamBlock:
    """The next tokens of all streams.

    Attributes
    ----------
    token_ids : ndarray of int64, shape (n_streams, n_tokens)
        Each stream goes on where it stopped in the block before; 0 where it has ended.
    targets : ndarray of int64, shape (n_streams, n_tokens)
        The token after each, or -1 where the stream has none.
    """

    token_ids: NDArray[np.int64]
    targets: NDArray[np.int64]


def token_streams(
    texts: Iterable[NDArray[np.integer]],
    *,
    prefix: tuple[int, ...],
    suffix: tuple[int, ...],
    n_streams: int,
    length: int,
    run_tokens: int,
    reverse: bool = False,
) -> Iterator[StreamBlock]:
    """Deal a stream of texts to streams that are read side by side, block by block.

    Each stream reads runs of consecutive texts and, at the end of a run, takes the next one of the
    stream. Every token of every text is a target once, except for the first token of each stream.
    No more is held in memory than a run and a block for each stream.

    Parameters
    ----------
    texts : iterable of ndarray of int
        Token ids of each text, without special tokens.
    prefix, suffix : tuple of int
        Special tokens before and after each text.
    n_streams : int
        Number of streams; fewer if there are fewer runs.
    length : int
        Tokens of a stream in a block. The last blocks may be shorter: none is longer than the
        stream with the most targets left.
    run_tokens : int
        Tokens of a run, special ones included. A run ends with the text that makes it this long;
        a text of more tokens is a run of its own.
    reverse : bool, default=False
        Whether the tokens of each text, special ones included, come from last to first. The
        order of the texts stays.

    Returns
    -------
    iterator of StreamBlock
        Blocks with at least one target each.

    Raises
    ------
    ValueError
        If `n_streams`, `length` or `run_tokens` is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.language.streams import token_streams
    >>> texts = [np.array(ids) for ids in ([5, 6, 7], [8, 9], [3])]
    >>> for block in token_streams(
    ...     texts, prefix=(), suffix=(1,), n_streams=2, length=3, run_tokens=4
    ... ):
    ...     print(block.token_ids.tolist(), block.targets.tolist())
    [[5, 6, 7], [8, 9, 1]] [[6, 7, 1], [9, 1, 3]]
    [[0], [3]] [[-1], [1]]
    """
    for name, value in (("n_streams", n_streams), ("length", length), ("run_tokens", run_tokens)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1.")
    return _blocks(_runs(texts, prefix, suffix, run_tokens, reverse), n_streams, length)


def balanced_run(n_tokens: int, n_streams: int) -> int:
    """Tokens of a run with which all streams end at about the same time.

    A stream may be ahead of another by one run. A sixteenth of a stream is short enough for that,
    and 65536 tokens are enough for a model to forget where a run began.

    Parameters
    ----------
    n_tokens : int
        Tokens of all texts, special ones included; an estimate will do.
    n_streams : int
        Number of streams.

    Returns
    -------
    int
        At least 1, at most 65536.

    Examples
    --------
    >>> from sktransfer.language.streams import balanced_run
    >>> balanced_run(2_048_000, 32)
    4000
    """
    return min(max(-(-n_tokens // (n_streams * _RUNS_PER_LANE)), 1), _LONGEST_RUN)


class _Stream:
    """Tokens of a stream from the next input on."""

    def __init__(self, run: NDArray[np.int32]) -> None:
        self.tokens = run

    def take(self, run: NDArray[np.int32]) -> None:
        self.tokens = np.concatenate([self.tokens, run])

    def drop(self, n_tokens: int) -> None:
        """Forget inputs that were read; the last token stays, so that a new run can follow it."""
        self.tokens = self.tokens[min(n_tokens, len(self.tokens) - 1) :]


def _blocks(
    runs: Iterator[NDArray[np.int32]], n_streams: int, length: int
) -> Iterator[StreamBlock]:
    open_streams = [_Stream(run) for run in islice(runs, n_streams)]
    while open_streams:
        _fill(open_streams, runs, length)
        width = min(length, max(len(stream.tokens) for stream in open_streams) - 1)
        if not width:
            return
        token_ids = np.zeros((len(open_streams), width), dtype=np.int64)
        targets = np.full((len(open_streams), width), -1, dtype=np.int64)
        for row, stream in enumerate(open_streams):
            n_targets = min(width, len(stream.tokens) - 1)
            token_ids[row, :n_targets] = stream.tokens[:n_targets]
            targets[row, :n_targets] = stream.tokens[1 : n_targets + 1]
            stream.drop(width)
        yield StreamBlock(token_ids, targets)


def _fill(open_streams: list[_Stream], runs: Iterator[NDArray[np.int32]], length: int) -> None:
    """Give runs to the streams that are too short for a block, the shortest first."""
    while (
        len((shortest := min(open_streams, key=lambda stream: len(stream.tokens))).tokens) <= length
    ):
        run = next(runs, None)
        if run is None:
            return
        shortest.take(run)


def _runs(
    texts: Iterable[NDArray[np.integer]],
    prefix: tuple[int, ...],
    suffix: tuple[int, ...],
    run_tokens: int,
    reverse: bool,
) -> Iterator[NDArray[np.int32]]:
    step = -1 if reverse else 1
    before, after = np.array(prefix, np.int32)[::step], np.array(suffix, np.int32)[::step]
    if reverse:
        before, after = after, before
    parts: list[NDArray[np.integer]] = []
    n_tokens = 0
    for ids in texts:
        text_tokens = len(before) + len(ids) + len(after)
        if n_tokens and text_tokens > run_tokens:
            yield np.concatenate(parts, dtype=np.int32, casting="same_kind")
            parts, n_tokens = [], 0
        parts += [before, ids[::step], after]
        n_tokens += text_tokens
        if n_tokens >= run_tokens:
            yield np.concatenate(parts, dtype=np.int32, casting="same_kind")
            parts, n_tokens = [], 0
    if n_tokens:
        yield np.concatenate(parts, dtype=np.int32, casting="same_kind")
