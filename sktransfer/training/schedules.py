"""Learning-rate schedules."""

from __future__ import annotations

import math

SCHEDULES = ("linear", "slanted_triangular", "cosine", "constant")

# Ratio of the largest to the smallest rate in ULMFiT's slanted triangle.
_SLANT_RATIO = 32


def schedule_factor(schedule: str, step: int, n_steps: int, warmup_fraction: float) -> float:
    """Factor on the learning rate at optimizer step `step` of `n_steps` (from 0).

    Every schedule rises linearly over the first ``warmup_fraction`` of the steps.
    ``"slanted_triangular"`` then falls to 1/32 of the peak, from which it also starts (Howard
    and Ruder 2018, section 3.2), ``"linear"`` and ``"cosine"`` fall to zero, ``"constant"``
    stays.
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


def _slanted(proportion: float) -> float:
    return (1.0 + proportion * (_SLANT_RATIO - 1)) / _SLANT_RATIO
