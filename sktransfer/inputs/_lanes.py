"""A stream of tokens in lanes that are read side by side, for models that carry a state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

_RUNS_PER_LANE = 16
_LONGEST_RUN = 65_536


@dataclass(frozen=True, eq=False)
class LaneBlock:
    """The next tokens of all lanes.

    Attributes
    ----------
    token_ids : ndarray of int64, shape (n_lanes, n_tokens)
        Each lane goes on where it stopped in the block before; 0 where it has ended.
    targets : ndarray of int64, shape (n_lanes, n_tokens)
        The token after each, or -1 where the lane has none.
    """

    token_ids: NDArray[np.int64]
    targets: NDArray[np.int64]


def lanes(
    texts: Iterable[NDArray[np.integer]],
    *,
    prefix: tuple[int, ...],
    suffix: tuple[int, ...],
    n_lanes: int,
    length: int,
    run_tokens: int,
    reverse: bool = False,
) -> Iterator[LaneBlock]:
    """Deal a stream of texts to lanes that are read side by side, block by block.

    Each lane reads runs of consecutive texts and, at the end of a run, takes the next one of the
    stream. Every token of every text is a target once, except for the first token of each lane.
    No more is held in memory than a run and a block for each lane.

    Parameters
    ----------
    texts : iterable of ndarray of int
        Token ids of each text, without special tokens.
    prefix, suffix : tuple of int
        Special tokens before and after each text.
    n_lanes : int
        Number of lanes; fewer if there are fewer runs.
    length : int
        Tokens of a lane in a block. The last blocks may be shorter: none is longer than the lane
        with the most targets left.
    run_tokens : int
        Tokens of a run, special ones included. A run ends with the text that makes it this long;
        a text of more tokens is a run of its own.
    reverse : bool, default=False
        Whether the tokens of each text, special ones included, come from last to first. The
        order of the texts stays.

    Returns
    -------
    iterator of LaneBlock
        Blocks with at least one target each.

    Raises
    ------
    ValueError
        If `n_lanes`, `length` or `run_tokens` is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import lanes
    >>> texts = [np.array(ids) for ids in ([5, 6, 7], [8, 9], [3])]
    >>> for block in lanes(texts, prefix=(), suffix=(1,), n_lanes=2, length=3, run_tokens=4):
    ...     print(block.token_ids.tolist(), block.targets.tolist())
    [[5, 6, 7], [8, 9, 1]] [[6, 7, 1], [9, 1, 3]]
    [[0], [3]] [[-1], [1]]
    """
    for name, value in (("n_lanes", n_lanes), ("length", length), ("run_tokens", run_tokens)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1.")
    return _blocks(_runs(texts, prefix, suffix, run_tokens, reverse), n_lanes, length)


def balanced_run(n_tokens: int, n_lanes: int) -> int:
    """Tokens of a run with which all lanes end at about the same time.

    A lane may be ahead of another by one run. A sixteenth of a lane is short enough for that, and
    65536 tokens are enough for a model to forget where a run began.

    Parameters
    ----------
    n_tokens : int
        Tokens of all texts, special ones included; an estimate will do.
    n_lanes : int
        Number of lanes.

    Returns
    -------
    int
        At least 1, at most 65536.

    Examples
    --------
    >>> from sktransfer.inputs import balanced_run
    >>> balanced_run(2_048_000, 32)
    4000
    """
    return min(max(-(-n_tokens // (n_lanes * _RUNS_PER_LANE)), 1), _LONGEST_RUN)


class _Lane:
    """Tokens of a lane from the next input on."""

    def __init__(self, run: NDArray[np.int32]) -> None:
        self.tokens = run

    def take(self, run: NDArray[np.int32]) -> None:
        self.tokens = np.concatenate([self.tokens, run])

    def drop(self, n_tokens: int) -> None:
        """Forget inputs that were read; the last token stays, so that a new run can follow it."""
        self.tokens = self.tokens[min(n_tokens, len(self.tokens) - 1) :]


def _blocks(runs: Iterator[NDArray[np.int32]], n_lanes: int, length: int) -> Iterator[LaneBlock]:
    open_lanes = [_Lane(run) for run in islice(runs, n_lanes)]
    while open_lanes:
        _fill(open_lanes, runs, length)
        width = min(length, max(len(lane.tokens) for lane in open_lanes) - 1)
        if not width:
            return
        token_ids = np.zeros((len(open_lanes), width), dtype=np.int64)
        targets = np.full((len(open_lanes), width), -1, dtype=np.int64)
        for row, lane in enumerate(open_lanes):
            n_targets = min(width, len(lane.tokens) - 1)
            token_ids[row, :n_targets] = lane.tokens[:n_targets]
            targets[row, :n_targets] = lane.tokens[1 : n_targets + 1]
            lane.drop(width)
        yield LaneBlock(token_ids, targets)


def _fill(open_lanes: list[_Lane], runs: Iterator[NDArray[np.int32]], length: int) -> None:
    """Give runs to the lanes that are too short for a block, the shortest first."""
    while len((shortest := min(open_lanes, key=lambda lane: len(lane.tokens))).tokens) <= length:
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
