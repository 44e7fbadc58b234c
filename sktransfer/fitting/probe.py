"""The linear probe: the head as the solution of a convex problem on fixed features."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property, partial
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.fitting.context import FitContext
from sktransfer.inputs import distinct, join_ranges
from sktransfer.runtime import cache, one_blas_thread, place_key, progress_bar
from sktransfer.tasks import LinearWeights
from sktransfer.training import EncodedDataset, pooled_features

# There are many more words and tokens than rows; this many are enough for a probe.
_MAX_UNITS = 50_000
_N_FOLDS = 5
# The scores of one fold of more rows are enough.
_MANY_ROWS = 10_000


class Probe:
    """Linear models on the present features of the training rows.

    What is solved on an encoder that is as it was loaded is cached.

    Parameters
    ----------
    context : FitContext
        The model and its task.
    data : EncodedDataset
        Training rows.
    """

    def __init__(self, context: FitContext, data: EncodedDataset) -> None:
        self._context, self._data = context, data

    def solve_head(self, C: float, *, temperature: float = 1.0) -> None:
        """Solve for the head, and set its weights; its scores are divided by `temperature`."""
        key = self.key("head", C)
        solve = partial(self._solution, C)
        if key is None:
            found = solve()
        else:
            found = cache.remembered(key, solve, lambda solution: solution.coef.nbytes)
        found = found.scaled(1 / temperature)
        head = self._context.model.head
        head.set_weights(torch.from_numpy(found.coef), torch.from_numpy(found.intercept))
        for weights in head.parameters():
            self._context.group.take_first(weights.data)

    def cross_validated_scores(
        self, C: float
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float64]]:
        """Scores of rows by linear models that have not seen them, their targets and weights.

        Without the rows of classes that have but one. Of more than 10,000 rows, a fifth is scored.
        """
        inputs, targets, weights = self._problem
        is_number = targets.is_floating_point()
        codes = np.zeros(len(targets), dtype=np.int64) if is_number else targets.numpy()
        folds = _folds(codes)
        scores = np.empty((len(codes), self._context.task.n_outputs), dtype=np.float32)
        n_scored = folds.max() + 1 if len(codes) <= _MANY_ROWS else 1
        for fold in range(n_scored):
            seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            model = self._solve(inputs[seen], targets[seen], weights[seen], C)
            scores[unseen] = model.scores(inputs[unseen])
        scored = np.flatnonzero((folds >= 0) & (folds < n_scored))
        return scores[scored], targets.numpy()[scored], weights[scored]

    def remembered(self, what: str, C: float, measure: Callable[[], float]) -> float:
        """What `measure` gives of the rows: once, and the same in all processes."""
        key = self.key(what, C)
        found = measure() if key is None else cache.remembered(key, measure, lambda _: 8)
        shared = torch.tensor(found, dtype=torch.float64, device="cpu")
        self._context.group.take_first(shared)
        return float(shared)

    def key(self, what: str, C: float) -> Hashable | None:
        """Key in the cache for `what` is known of the rows; None if there cannot be one."""
        context, model = self._context, self._context.model
        if model.pretrained is None or not model.pretrained.is_whole:
            return None
        if not context.group.is_single:
            return None  # one process must not wait for another that knows the solution
        shape = (model.pooling, model.n_layers, model.n_skipped, context.input_key)
        place = place_key(context.device, context.dtype)
        # With the folder: what is cached in the process only has yet to be written there.
        pretrained = (model.pretrained.key, model.pretrained.folder)
        task = joblib.hash(context.task)
        return (what, *pretrained, shape, place, self._data.content, task, C)

    @cached_property
    def _problem(self) -> tuple[NDArray[np.float64], Tensor, NDArray[np.float64]]:
        """Features, targets and weights of the distinct rows."""
        data, context = self._data, self._context
        members, weights = data.merge_copies(data.weights)
        if data.encoded.units is not None:
            kept = _evenly_spaced(data.encoded.n_units[members])
            members, weights = members[kept], weights[kept]
        first, inverse = distinct([data.texts[i] for i in members])
        rows = data.encoded.take(members[first])
        with progress_bar("reading texts", shown=context.parameters.verbose > 0) as watch:
            features = pooled_features(
                context.model,
                rows,
                data.pad_id,
                device=context.device,
                dtype=context.dtype,
                watch=watch,
                group=context.group,
            )
        units = join_ranges(rows.unit_start[:-1][inverse], rows.n_units[inverse])
        # To doubles last: with many rows, each copy counts.
        inputs = context.model.head.normalize(features)[torch.from_numpy(units)].double().numpy()
        return inputs, data.targets[members], weights

    def _solution(self, C: float) -> LinearWeights:
        return self._solve(*self._problem, C)

    def _solve(
        self,
        inputs: NDArray[np.float64],
        targets: Tensor,
        weights: NDArray[np.float64],
        C: float,
    ) -> LinearWeights:
        # Apple's GPUs have no doubles.
        device = self._context.device if self._context.device.type == "cuda" else None
        with one_blas_thread():
            return self._context.task.solve(inputs, targets, weights, C=C, device=device)


def _folds(codes: NDArray[np.int64]) -> NDArray[np.intp]:
    """Fold of each row, so that each class is spread over the folds; -1 for its only row.

    scikit-learn's StratifiedKFold would warn of classes with fewer rows than folds.
    """
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    folds = np.empty(len(codes), dtype=np.intp)
    folds[order] = (np.arange(len(codes)) - starts) % _N_FOLDS
    folds[np.bincount(codes)[codes] == 1] = -1
    return folds


def _evenly_spaced(n_units: NDArray[np.int64]) -> NDArray[np.intp]:
    """Positions of all rows, or of evenly spaced ones if they have too many units together."""
    share = max(1.0, n_units.sum() / _MAX_UNITS)
    return np.unique(np.arange(0, len(n_units), share).astype(np.intp))
