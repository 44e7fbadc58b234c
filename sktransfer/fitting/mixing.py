"""Weight averaging: pretrained and fine-tuned weights mixed after a training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sktransfer.fitting.context import FitContext
from sktransfer.fitting.probe import Probe
from sktransfer.nn import TransferModel
from sktransfer.tasks import ClassificationTask

# With more rows than these, fine-tuned weights need no caution.
_FEW_ROWS = 1000
# The coefficient falls from 1 to its least value as the relative loss of the probe rises between
# these bounds.
_EASY, _HARD = 0.8, 1.0
_LEAST = 0.5


def mixing_coefficient(context: FitContext, probe: Probe) -> float:
    """Share of the fine-tuned weights in the average with those before the training.

    Where a linear model on the pretrained features tells the classes of held-out rows apart only
    poorly, a fine-tune on few rows mostly memorizes them, and half of its way is better.
    """
    chosen = context.parameters.mixing_coefficient
    if chosen != "auto":
        return 1.0 if chosen is None else chosen
    job = context.job
    is_few = len(context.rows) <= _FEW_ROWS and job.validation is None
    is_first = job.warm_start is None and not job.is_partial
    is_probed = context.parameters.head_init == "probe"
    if not (is_few and is_first and is_probed and isinstance(context.task, ClassificationTask)):
        return 1.0
    loss = probe.relative_loss(context.parameters.C)
    return float(np.interp(loss, [_EASY, _HARD], [1.0, _LEAST]))


def present_weights(model: TransferModel) -> dict[str, Tensor]:
    """Weights of `model`, which a training replaces and does not write to."""
    return {name: parameter.data for name, parameter in model.named_parameters()}


@torch.no_grad()
def mix_weights(model: TransferModel, before: dict[str, Tensor], coefficient: float) -> None:
    """Replace the weights of `model` by their average with those `before` (WiSE-FT)."""
    if coefficient == 1:
        return
    for name, parameter in model.named_parameters():
        # Frozen weights are shared.
        if parameter.data_ptr() != before[name].data_ptr():
            parameter.lerp_(before[name], 1 - coefficient)
