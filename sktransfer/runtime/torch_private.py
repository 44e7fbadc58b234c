"""PyTorch's private names: the only module that uses them.

Each can go when PyTorch has a public one: a mode that sees every operator, attention with a bias
of any stride, and a query of the CPU's instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["TorchDispatchMode", "cpu_multiplies_bfloat16", "efficient_attention"]

efficient_attention: Callable[..., Any] = torch.ops.aten._scaled_dot_product_efficient_attention


def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for products in bfloat16."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, lambda: False)()) for probe in probes)
