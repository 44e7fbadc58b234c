"""The linear probe: the head as the solution of a convex problem on fixed features."""

from __future__ import annotations

from functools import partial

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from sktransfer.fitting.context import FitContext
from sktransfer.inputs import distinct, join_ranges
from sktransfer.runtime import cache, one_blas_thread, place_key
from sktransfer.tasks import LinearWeights
from sktransfer.training import EncodedDataset, pooled_features

# There are many more words and tokens than rows; this many are enough for a probe.
_MAX_UNITS = 50_000


def solve_head(context: FitContext, data: EncodedDataset, *, C: float) -> None:
    """Solve for the head on the encoder's present features, and set its weights.

    Solutions on an encoder that is as it was loaded are cached.
    """
    model = context.model
    solve = partial(_solution, context, data, C)
    if model.pretrained is None or not model.pretrained.is_whole:
        found = solve()
    else:
        shape = (model.pooling, model.n_layers, model.n_skipped, context.input_key)
        place = place_key(context.device, context.dtype)
        # With the folder: what is cached in the process only has yet to be written there.
        pretrained = (model.pretrained.key, model.pretrained.folder)
        key = ("head", *pretrained, shape, place, data.content, joblib.hash(context.task), C)
        found = cache.remembered(key, solve, lambda solution: solution.coef.nbytes)
    model.head.set_weights(torch.from_numpy(found.coef), torch.from_numpy(found.intercept))


def _solution(context: FitContext, data: EncodedDataset, C: float) -> LinearWeights:
    members, weights = data.merge_copies(data.weights)
    if data.encoded.units is not None:
        kept = _evenly_spaced(data.encoded.n_units[members])
        members, weights = members[kept], weights[kept]
    first, inverse = distinct([data.texts[i] for i in members])
    rows = data.encoded.take(members[first])
    features = pooled_features(
        context.model, rows, data.pad_id, device=context.device, dtype=context.dtype
    )
    units = join_ranges(rows.unit_start[:-1][inverse], rows.n_units[inverse])
    # To doubles last: with many rows, each copy counts.
    inputs = context.model.head.normalize(features)[torch.from_numpy(units)].double().numpy()
    # Apple's GPUs have no doubles.
    device = context.device if context.device.type == "cuda" else None
    with one_blas_thread():
        return context.task.solve(inputs, data.targets[members], weights, C=C, device=device)


def _evenly_spaced(n_units: NDArray[np.int64]) -> NDArray[np.intp]:
    """Positions of all rows, or of evenly spaced ones if they have too many units together."""
    share = max(1.0, n_units.sum() / _MAX_UNITS)
    return np.unique(np.arange(0, len(n_units), share).astype(np.intp))
