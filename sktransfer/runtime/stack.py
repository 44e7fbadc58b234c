"""The stack level of warnings."""

from __future__ import annotations

import inspect
from types import FrameType


def find_stack_level() -> int:
    """Stack level of the first caller outside of this package and scikit-learn, for a warning."""
    frame: FrameType | None = inspect.currentframe()
    level = 0
    while frame is not None and _is_inside(frame):
        frame = frame.f_back
        level += 1
    return max(level, 1)


def _is_inside(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in ("sktransfer", "sklearn")
