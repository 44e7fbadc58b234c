"""How the two texts of a row are read: by a cross-encoder or by a bi-encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from scipy.special import log_softmax

from sktransfer.fitting.context import FitContext, FitJob, load_context
from sktransfer.fitting.epochs import report
from sktransfer.fitting.probe import Probe
from sktransfer.runtime import device_memory, isolated_seed
from sktransfer.tasks import ClassificationTask, RegressionTask

# A cross-encoder has to learn to read two texts in one sequence, which takes more rows than these.
_FEW_PAIRS = 1000

PairEncoder = Literal["cross", "bi"]


def with_pair_encoder(job: FitJob) -> FitJob:
    """`job` with a choice in the place of ``pair_encoder="auto"``.

    Encoders of single texts know how alike two texts are, but have not learned to read two in one
    sequence. Where there are few pairs to learn it from, or no layer is trained, the linear probes
    of both are cross-validated. The cross-encoder's is better if the texts are parts of one, such
    as its title and its body.
    """
    parameters = job.parameters
    if parameters.pair_encoder is None:
        return job
    if job.warm_start is not None:
        chosen: PairEncoder = "bi" if job.warm_start.model.is_bi_encoder else "cross"
    elif parameters.pair_encoder != "auto":
        chosen = parameters.pair_encoder
    else:
        chosen = _chosen(job)
    return replace(job, parameters=replace(parameters, pair_encoder=chosen))


def _chosen(job: FitJob) -> PairEncoder:
    is_pair = job.row_format.n_columns(job.rows.texts) == 2
    if (
        not is_pair
        or job.is_partial
        or not isinstance(job.task, ClassificationTask | RegressionTask)
    ):
        return "cross"
    cross = _probed(job, "cross")
    is_trained = cross.plan.n_epochs and cross.parameters.trains(cross.model.encoder)
    if is_trained and len(job.rows) > _FEW_PAIRS:
        return "cross"
    losses = {"cross": _loss(cross), "bi": _loss(_probed(job, "bi"))}
    chosen: PairEncoder = "bi" if losses["bi"] < losses["cross"] else "cross"
    found = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    report(
        job.parameters.verbose,
        f"pair encoder: {chosen} (cross-validated loss of the linear probe: {found})",
    )
    return chosen


def _probed(job: FitJob, pair_encoder: PairEncoder) -> FitContext:
    """Context of a probe on the rows; of many, evenly spaced ones are enough to choose."""
    n_rows = len(job.rows)
    spaced = np.linspace(0, n_rows - 1, min(n_rows, _FEW_PAIRS)).astype(np.intp)
    job = replace(job, rows=job.rows.take(spaced), validation=None)
    parameters = replace(job.parameters, pair_encoder=pair_encoder, adapt_epochs=0, verbose=0)
    # What is drawn here is not drawn by the fit.
    with isolated_seed(job.seed, torch.device("cpu")):
        return load_context(replace(job, parameters=parameters))


def _loss(context: FitContext) -> float:
    """Cross-validated log loss of the probe, for numbers the mean squared error."""
    probe = Probe(context, context.encode_rows())

    def measure() -> float:
        scores, targets, weights = probe.cross_validated_scores(context.parameters.C)
        if not weights.any():
            return np.inf
        if isinstance(context.task, ClassificationTask):
            losses = -log_softmax(scores, axis=1)[np.arange(len(scores)), targets]
        else:
            losses = np.square(scores - targets).mean(axis=1)
        return float(np.average(losses, weights=weights))

    with device_memory.holding(context.model, context.device):
        return probe.remembered("pair loss", context.parameters.C, measure)
