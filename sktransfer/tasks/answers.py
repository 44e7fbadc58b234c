"""An answer that stands in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.inputs import EncodedRows
from sktransfer.tasks.protocol import LinearWeights
from sktransfer.tasks.ragged import scores_by_row, solve_row_loss

# Longer answers are rare, and most that are longer join the beginning of one with the end of
# another.
_MOST_TOKENS = 30


class AnswerTask:
    """First and last token of an answer, each one of all units of the row.

    The first unit of a row stands for "no answer". The units of all windows of a row share one
    normalization, so that their scores can be compared (Clark and Gardner 2018,
    arXiv:1710.10723).

    Parameters
    ----------
    may_abstain : bool
        Whether "no answer" is a prediction: whether there are rows to learn it from.
    """

    refit_c = 1.0
    n_outputs = 2

    def __init__(self, *, may_abstain: bool) -> None:
        self.may_abstain = may_abstain

    def check(self, y: NDArray[np.int64], *, name: str = "y") -> None:
        """Any characters are a target: whether they are there is a matter of the row."""

    def encode(self, y: NDArray[np.int64], rows: EncodedRows) -> Tensor:
        """Flags of each unit (n_rows, most_units): 1 first, 2 last, 3 both, 0 neither, -1 none.

        Parameters
        ----------
        y : ndarray of int64, shape (n_rows, 2)
            Characters ``[start, stop)`` of the answers; (-1, -1) for no answer.
        rows : EncodedRows
            Rows with the characters of their units.
        """
        assert rows.units is not None
        n_units, starts = rows.n_units, rows.unit_start
        null, bottom = starts[:-1], starts[1:] - 1
        unit = np.arange(starts[-1])
        answer = np.repeat(y, n_units, axis=0)
        reaches = rows.units.source[:, 1] > answer[:, 0]
        begins = rows.units.source[:, 0] < answer[:, 1]
        first = np.minimum.reduceat(np.where(reaches, unit, len(unit)), null)
        last = np.maximum.reduceat(np.where(begins, unit, -1), null)
        # An answer of characters that belong to no token is the token beside them.
        first = np.minimum(first, bottom)
        last = np.maximum(first, last)
        is_missing = y[:, 1] < 0
        first, last = np.where(is_missing, null, first), np.where(is_missing, null, last)
        flags = np.full((len(rows), n_units.max(initial=1)), -1, dtype=np.int8)
        flags[np.arange(flags.shape[1]) < n_units[:, None]] = 0
        row = np.arange(len(rows))
        flags[row, first - null] += 1
        flags[row, last - null] += 2
        return torch.from_numpy(flags)

    def decode(self, scores: Sequence[NDArray[np.float32]]) -> NDArray[np.int64]:
        """First and last unit (n_rows, 2) of the best answer of each row, counted in the row.

        Parameters
        ----------
        scores : sequence of ndarray of shape (n_units, 2)
            Scores of each row's units. No answer is (0, 0), as is that of a row without tokens.
        """
        return np.array([self._best_pair(row) for row in scores], dtype=np.int64).reshape(-1, 2)

    def _best_pair(self, scores: NDArray[np.float32]) -> tuple[int, int]:
        first, last = scores[1:].T
        if not len(first):
            return 0, 0
        ends = np.append(last, np.full(_MOST_TOKENS - 1, -np.inf, dtype=last.dtype))
        pairs = first[:, None] + sliding_window_view(ends, _MOST_TOKENS)
        best = int(pairs.argmax())
        if self.may_abstain and scores[0].sum() > pairs.flat[best]:
            return 0, 0
        start, more = divmod(best, _MOST_TOKENS)
        return 1 + start, 1 + start + more

    def loss(self, scores: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each row, the mean of that of the first and of the last token."""
        log_probabilities = scores_by_row(scores, targets).log_softmax(dim=1)
        places = _places(targets).unsqueeze(1)
        return -log_probabilities.gather(1, places).squeeze(1).mean(dim=1)

    def solve(
        self,
        features: Any,
        targets: Tensor,
        weights: NDArray[np.float64],
        *,
        C: float,
        device: torch.device | None = None,
    ) -> LinearWeights:
        """Linear scores of least regularized loss: a logistic regression over a row's units."""
        return solve_row_loss(self.loss, features, targets, weights, n_outputs=self.n_outputs, C=C)

    def score(self, scores: NDArray[np.float32], targets: Tensor) -> float:
        """Share of the rows whose best first and best last token are both right."""
        best = scores_by_row(torch.from_numpy(scores), targets).argmax(dim=1)
        return float((best == _places(targets)).all(dim=1).double().mean())


def _places(targets: Tensor) -> Tensor:
    """Units (n_rows, 2) of the first and the last token, counted in the row."""
    flags = targets.clamp(min=0).unsqueeze(2)
    bits = torch.tensor([1, 2], dtype=flags.dtype, device=flags.device)
    return (flags & bits).argmax(dim=1)
