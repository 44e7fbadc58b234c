"""Temperature scaling: how confident a fine-tuned classifier is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from sktransfer.fitting.context import FitContext
from sktransfer.fitting.mixing import is_first_fit_of_classes
from sktransfer.fitting.probe import Probe

_PROBE_BOUNDS = 0.25, 5.0
_OVERCONFIDENCE = 1.25


def score_temperature(context: FitContext, probe: Probe) -> float:
    """Temperature that the scores of a fine-tuned classifier are divided by (Guo et al., 2017).

    Fine-tuned features have seen the labels of all rows, so that their scores of these rows say
    nothing of it. Those of the probe can be cross-validated, and where it is overconfident, a
    fine-tune is. It is so by another quarter; and as few rows give no more than an estimate of the
    probe's temperature, the square root of that is taken. Of several texts in one sequence the
    probe learns little: an estimate below 1 is noise.
    """
    parameters = context.parameters
    if not (context.plan.n_epochs and parameters.head_refit and is_first_fit_of_classes(context)):
        return 1.0

    def estimate() -> float:
        scores, targets, weights = probe.cross_validated_scores(parameters.C)
        return _best_temperature(scores, targets, weights) if weights.any() else 1.0

    of_probe = probe.remembered("temperature", parameters.C, estimate)
    if not context.reads_single_texts:
        of_probe = max(of_probe, 1.0)
    return float(_OVERCONFIDENCE * np.sqrt(of_probe))


def _best_temperature(
    scores: NDArray[np.float32], codes: NDArray[np.int64], weights: NDArray[np.float64]
) -> float:
    """Temperature, within bounds, with the least log loss."""
    rows = np.arange(len(codes))

    def log_loss(log_temperature: float) -> float:
        logs = log_softmax(scores.astype(np.float64) / np.exp(log_temperature), axis=1)
        return -float(np.average(logs[rows, codes], weights=weights))

    found = minimize_scalar(log_loss, bounds=np.log(_PROBE_BOUNDS), method="bounded")
    return float(np.exp(found.x))
