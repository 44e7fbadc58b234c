"""Compute with PyTorch's default settings, whatever the caller's are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# Process-wide settings that change the results of matrix products. They belong to the caller and
# are never changed here; they are part of cache keys.
_SWITCHES = (
    "mkldnn.enabled",
    "mkldnn.matmul.fp32_precision",
    "cuda.matmul.fp32_precision",
    "fp32_precision",
)
_FACTORIES = frozenset(
    [
        *(torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones),
        *(torch.rand, torch.randn, torch.tensor, torch.zeros),
    ]
)


@contextlib.contextmanager
def usual_numerics() -> Iterator[None]:
    """Compute in float32 on the CPU, with gradients and without autocast, for the block.

    A caller may be inside `torch.autocast`, `torch.no_grad` or `torch.inference_mode`, or have set
    another default dtype or device. What holds for the thread is set for the block; a default of
    the process is left as it is, and worked around.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_dtype() is not torch.float32:
            stack.enter_context(_Float32())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def place_key(device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    """Where and how something is computed, to be a part of its key.

    Besides device and precision these are the settings of the process that move results.
    """
    return (device.type, str(dtype), *map(_setting, _SWITCHES))


def _setting(name: str) -> str:
    try:
        return str(attrgetter(name)(torch.backends))
    except (AttributeError, RuntimeError):  # an older version, or a mix of old and new settings
        return "unknown"


class _Float32(TorchFunctionMode):
    """Lets new tensors of the default dtype be float32, in the present thread only."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # An array or a tensor that is copied keeps its dtype.
        is_copy = bool(args) and hasattr(args[0], "dtype")
        is_default = (kwargs or {}).get("dtype") is None and func in _FACTORIES and not is_copy
        if is_default and result.dtype is torch.get_default_dtype():
            return result.to(torch.float32)
        return result
