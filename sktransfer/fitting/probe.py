"""The linear models of a fit: the head on fixed features, and the lexical channel."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property, partial

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.fitting.data import FitContext, LexicalChannel, TextRows, merge_copies
from sktransfer.fitting.tfidf import LexicalColumns
from sktransfer.inputs import EncodedRows, distinct, join_ranges
from sktransfer.runtime import cache, one_blas_thread, place_key
from sktransfer.tasks import LinearWeights
from sktransfer.training import pooled_features

_LEXICAL_C = 10.0
_LEXICAL_FEATURES = 50_000
# Words and tokens are many more than rows: for the start that a probe is, these are enough.
_MOST_UNITS_SOLVED = 50_000


@dataclass(frozen=True)
class Problem:
    """Training rows, their token ids and encoded targets, and weights with all factors."""

    rows: TextRows
    encoded: EncodedRows
    targets: Tensor
    weights: NDArray[np.float64]

    @cached_property
    def content(self) -> str:
        """Hash of texts, targets and weights."""
        targets = self.targets.numpy()
        sha = hashlib.sha256(repr([*self.rows.texts]).encode(errors="surrogatepass"))
        sha.update(repr((targets.shape, targets.dtype)).encode())
        for array in (targets, self.rows.weights, self.weights):
            sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()


def solve_head(session: FitContext, problem: Problem, form: Hashable, *, C: float) -> None:
    """Put the solution of the convex problem on the encoder's present features into the head.

    `form` names what shapes the features of a text besides the model. Of an encoder that is as it
    was loaded, solutions are found again.
    """
    model = session.model
    solve = partial(_solution, session, problem, C)
    if model.pretrained is None or not model.pretrained.is_whole:
        found = solve()
    else:
        shape = (model.pooling, model.n_layers, model.n_skipped, form)
        place = place_key(session.device, session.dtype)
        # With a folder of its own: what is found in the process only is yet to be written there.
        pretrained = (model.pretrained.key, model.pretrained.folder)
        key = ("head", *pretrained, shape, place, problem.content, joblib.hash(session.task), C)
        found = cache.remembered(key, solve, lambda solution: solution.coef.nbytes)
    model.head.set_weights(torch.from_numpy(found.coef), torch.from_numpy(found.intercept))


def _solution(session: FitContext, problem: Problem, C: float) -> LinearWeights:
    encoded = problem.encoded
    members, weights = merge_copies(problem.rows.texts, problem.targets, problem.weights)
    if encoded.units is not None:
        kept = _some_rows(encoded.n_units[members])
        members, weights = members[kept], weights[kept]
    first, inverse = distinct([problem.rows.texts[i] for i in members])
    rows = encoded.take(members[first])
    features = pooled_features(
        session.model,
        rows,
        session.tokenizer.pad_id,
        device=session.device,
        dtype=session.dtype,
    )
    units = join_ranges(rows.unit_start[:-1][inverse], rows.n_units[inverse])
    # As doubles last: of many rows, each copy counts.
    inputs = session.model.head.normalise(features)[torch.from_numpy(units)].double().numpy()
    # Apple's GPUs have no doubles.
    device = session.device if session.device.type == "cuda" else None
    with one_blas_thread():
        return session.task.solve(inputs, problem.targets[members], weights, C=C, device=device)


def _some_rows(n_units: NDArray[np.int64]) -> NDArray[np.intp]:
    """Positions of all rows, or of evenly spaced ones where they have too many units together."""
    share = max(1.0, n_units.sum() / _MOST_UNITS_SOLVED)
    return np.unique(np.arange(0, len(n_units), share).astype(np.intp))


def fit_lexical(session: FitContext, problem: Problem) -> LexicalChannel | None:
    """Linear model on the TF-IDF of the rows; None where no text has a word."""
    # In a tuple, for a channel that is None is kept, too.
    (found,) = cache.remembered(
        ("lexical", problem.content, joblib.hash(session.task)),
        lambda: (_new_lexical(session, problem),),
        lambda found: 0 if found[0] is None else found[0].n_bytes,
    )
    return found


def _new_lexical(session: FitContext, problem: Problem) -> LexicalChannel | None:
    vectorizer = LexicalColumns(max_features=_LEXICAL_FEATURES)
    texts = problem.rows.texts
    both = np.column_stack([problem.rows.weights, problem.weights])
    members, both = merge_copies(texts, problem.targets, both)
    columns = vectorizer.fit_transform([texts[i] for i in members], both[:, 0])
    if not columns.shape[1]:
        return None
    targets = problem.targets[members]
    with one_blas_thread():
        weights = session.task.solve(columns, targets, both[:, 1], C=_LEXICAL_C)
    return LexicalChannel(vectorizer, weights)
