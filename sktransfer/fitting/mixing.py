"""Weight averaging: pretrained and fine-tuned weights mixed after a training."""

from __future__ import annotations

import torch
from torch import Tensor

from sktransfer.fitting.context import FitContext
from sktransfer.nn import TransferModel
from sktransfer.tasks import ClassificationTask

_FEW_ROWS = 40
_SHARE_OF_FEW, _SHARE_OF_MANY = 0.5, 0.75


def mixing_coefficient(context: FitContext) -> float:
    """Share of the fine-tuned weights in the average with those before the training.

    A fine-tune memorizes some of its rows, the more so the fewer there are. How two texts in one
    sequence relate is hardly in the pretrained features, so that these do best with the fine-tuned
    weights.
    """
    chosen = context.parameters.mixing_coefficient
    if chosen != "auto":
        return 1.0 if chosen is None else chosen
    if not (context.reads_single_texts and is_first_fit_of_classes(context)):
        return 1.0
    return _SHARE_OF_FEW if _has_few_rows(context) else _SHARE_OF_MANY


def is_first_fit_of_classes(context: FitContext) -> bool:
    """Whether all rows are learned from at once, one class each, as in the default recipe."""
    job, parameters = context.job, context.parameters
    return (
        job.warm_start is None
        and not job.is_partial
        and isinstance(context.task, ClassificationTask)
        and parameters.head_init == "probe"
        and not parameters.early_stopping
    )


def refit_c(context: FitContext, coefficient: float) -> float:
    """Inverse regularization strength of the head on averaged weights.

    On few rows it lies between that of the probe and that of fine-tuned features, as the weights
    do.
    """
    C = context.task.refit_c
    if _has_few_rows(context):
        C = max(C, C**coefficient * context.parameters.C ** (1 - coefficient))
    return float(C)


def _has_few_rows(context: FitContext) -> bool:
    return len(context.rows) <= _FEW_ROWS


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
