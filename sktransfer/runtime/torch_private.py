"""PyTorch's private names: the only module that uses them.

Each can go when PyTorch has a public one: a mode that sees every operator, and the operators that
synchronize; attention with a bias of any stride; copies of many tensors at once, which its own
optimizers use; the backward pass of softmax; a query of the CPU's instructions; products by
weights prepacked for oneDNN, which PyTorch's compiler uses.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "INDEXING",
    "MOVING",
    "SYNCHRONIZING",
    "TorchDispatchMode",
    "copy_all",
    "cpu_has_amx",
    "cpu_has_avx512_bf16",
    "efficient_attention",
    "prepack",
    "prepacked_product",
    "softmax_backward",
]

_aten = torch.ops.aten
# Operators that make the host wait; the last two only with masks, or between devices.
SYNCHRONIZING = frozenset(
    [
        *(_aten._local_scalar_dense, _aten.equal, _aten.nonzero, _aten.masked_select),
        *(_aten.masked_scatter, _aten._unique2),
    ]
)
INDEXING = frozenset([_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_])
MOVING = frozenset([_aten._to_copy, _aten.copy_])

copy_all: Callable[[list[Tensor], list[Tensor]], None] = torch._foreach_copy_
efficient_attention: Callable[..., Any] = _aten._scaled_dot_product_efficient_attention
softmax_backward: Callable[..., Tensor] = torch._softmax_backward_data


def cpu_has_amx() -> bool:
    """Whether the CPU has Intel's matrix extensions."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def cpu_has_avx512_bf16() -> bool:
    """Whether the CPU has the AVX-512 instructions for bfloat16."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def _prepacking() -> Callable[[Tensor], Tensor] | None:
    is_known = platform.machine().lower() in ("x86_64", "amd64")
    if not (is_known and torch.backends.mkldnn.is_available()):
        return None
    reorder = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
    if reorder is None or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return None
    return lambda weight: reorder(weight, _USUAL_ROWS)


# The layout is chosen for this many rows; any number can be multiplied.
_USUAL_ROWS = 16
prepack = _prepacking()


def prepacked_product(rows: Tensor, prepacked: Tensor, bias: Tensor | None) -> Tensor:
    """Linear layer of `rows` with a weight that `prepack` gave."""
    return torch.ops.mkldnn._linear_pointwise(rows, prepacked, bias, "none", [], "")  # type: ignore[no-any-return]
