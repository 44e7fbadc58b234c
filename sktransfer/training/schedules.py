"""Learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sktransfer.training.parameters import TrainingPlan

SCHEDULES = ("adaptive", "linear", "slanted_triangular", "cosine", "constant")

# Ratio of the largest to the smallest rate in ULMFiT's slanted triangle.
_SLANT_RATIO = 32
# The loss has stopped falling when an epoch adds at most this share of the fall until then.
_LEAST_PROGRESS = 0.01


def schedule_factor(schedule: str, step: int, n_steps: int, warmup_fraction: float) -> float:
    """Factor on the learning rate at optimizer step `step` of `n_steps` (from 0).

    Every schedule rises linearly over the first ``warmup_fraction`` of the steps.
    ``"slanted_triangular"`` then falls to 1/32 of the peak, from which it also starts (Howard
    and Ruder 2018, section 3.2), ``"linear"``, ``"adaptive"`` and ``"cosine"`` fall to zero,
    ``"constant"`` stays.
    """
    warmup_steps = math.ceil(warmup_fraction * n_steps)
    if step < warmup_steps:
        rise = (step + 1) / warmup_steps
        return _slanted(rise) if schedule == "slanted_triangular" else rise
    # The number of steps of streamed texts is an estimate, which a run may exceed.
    remaining = max(0.0, 1.0 - (step - warmup_steps) / max(1, n_steps - warmup_steps))
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1.0 - math.cos(math.pi * remaining))
    return _slanted(remaining) if schedule == "slanted_triangular" else remaining


class LearningRate:
    """Factor on the learning rate of each step of a training, and the epochs that it takes.

    Parameters
    ----------
    plan : TrainingPlan
        Schedule, warmup and most epochs.
    steps_per_epoch : int
        Optimizer steps of an epoch.
    """

    def __init__(self, plan: TrainingPlan, steps_per_epoch: int) -> None:
        self.n_epochs = plan.n_epochs
        self._plan, self._steps_per_epoch = plan, steps_per_epoch
        self._turn: int | None = None

    def watch(self, loss_curve: Sequence[float]) -> None:
        """End an adaptive training early if the mean losses of its epochs say so.

        It then takes twice the epochs after which the loss had stopped falling, and the rate falls
        linearly to zero from where it is.
        """
        if self._plan.schedule != "adaptive" or self._plan.gradual_unfreezing:
            return
        turn = stopped_falling(loss_curve)
        if turn is not None and 2 * turn < self._plan.n_epochs:
            self._turn, self.n_epochs = turn, 2 * turn

    def factor(self, step: int) -> float:
        """Factor at optimizer step `step`, from 0."""
        if self._turn is None:
            return self._planned(step)
        turn = self._turn * self._steps_per_epoch
        # The number of steps of streamed texts is an estimate, which a run may exceed.
        return self._planned(turn) * max(0, 2 * turn - step) / turn

    def _planned(self, step: int) -> float:
        n_steps = self._plan.n_epochs * self._steps_per_epoch
        return schedule_factor(self._plan.schedule, step, n_steps, self._plan.warmup_fraction)


def stopped_falling(loss_curve: Sequence[float]) -> int | None:
    """Number of epochs after which the loss had stopped falling, or None if it still falls.

    It has when an epoch lowers it by at most a hundredth of what all epochs until then have.

    Parameters
    ----------
    loss_curve : sequence of float
        Mean loss of each epoch until now.

    Returns
    -------
    int or None
        Once there is one, longer curves with the same beginning have the same.

    Examples
    --------
    >>> from sktransfer.training import stopped_falling
    >>> stopped_falling([1.0, 0.5, 0.3])
    >>> stopped_falling([1.0, 0.5, 0.3, 0.299])
    4
    """
    for n_done in range(2, len(loss_curve) + 1):
        *before, present = loss_curve[:n_done]
        if min(before) - present <= _LEAST_PROGRESS * (before[0] - min(*before, present)):
            return n_done
    return None


def _slanted(proportion: float) -> float:
    return (1.0 + proportion * (_SLANT_RATIO - 1)) / _SLANT_RATIO
