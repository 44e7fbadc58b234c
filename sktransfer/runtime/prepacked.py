"""Linear layers for float32 passes on a CPU, their weights prepacked in oneDNN's layout.

On few rows a product takes 0.5 to 0.8 of the time of PyTorch's own, on many 0.85 to 1. A row's
product is the same to the last bit whatever rows are beside it and however many threads there are;
that of PyTorch's own is not. Passes are best cut to `MOST_ROWS` tokens: products of more are no
faster.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from sktransfer.runtime.torch_private import prepack, prepacked_product

MOST_ROWS = 512
_LEAST_STEP, _LARGEST_STEP = 4, 16


def filled_rows(n_rows: int) -> int:
    """Number of rows to which products of `n_rows` are filled up: one of few.

    oneDNN compiles code for each number of rows, and keeps it: half a megabyte per weight.

    Examples
    --------
    >>> from sktransfer.runtime.prepacked import filled_rows
    >>> [filled_rows(n_rows) for n_rows in (1, 16, 130, 257, 512)]
    [4, 16, 144, 272, 512]
    """
    eighth = 1 << max(0, (n_rows - 1).bit_length() - 4)
    step = min(max(eighth, _LEAST_STEP), _LARGEST_STEP)
    return -(-n_rows // step) * step


def filled_up(rows: Tensor) -> Tensor:
    """`rows` (n_rows, size), with rows of zeros up to the number of `filled_rows`."""
    n_missing = filled_rows(len(rows)) - len(rows)
    return functional.pad(rows, (0, 0, 0, n_missing)) if n_missing else rows


class PrepackedLinear(nn.Linear):
    """A linear layer that multiplies by a prepacked copy of its weight.

    Parameters
    ----------
    layer : nn.Linear
        The layer whose parameters it shares.
    prepacked : Tensor
        Its weight as `prepack` gives it.
    """

    def __init__(self, layer: nn.Linear, prepacked: Tensor) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = nn.Parameter(layer.weight.data, requires_grad=False)
        bias: Tensor | None = layer.bias
        self.register_parameter(
            "bias", None if bias is None else nn.Parameter(bias.data, requires_grad=False)
        )
        self.prepacked = prepacked

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, PyTorch's name
        if input.dtype is not torch.float32 or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        n_rows = input.numel() // self.in_features
        if n_rows == filled_rows(n_rows):
            return prepacked_product(input, self.prepacked, self.bias)
        rows = filled_up(input.reshape(n_rows, -1))
        product = prepacked_product(rows, self.prepacked, self.bias)
        return product[:n_rows].view(*input.shape[:-1], -1)


def prepackable_layers(blocks: Iterable[nn.Module]) -> list[nn.Linear]:
    """Linear layers within `blocks` that can be prepacked on this processor."""
    if prepack is None or not torch.backends.mkldnn.enabled:  # type: ignore[truthy-bool]
        return []
    parts = dict.fromkeys(part for block in blocks for part in block.modules())
    return [part for part in parts if _is_plain(part)]


def is_prepacked(module: nn.Module) -> bool:
    """Whether any layer of `module` multiplies by a prepacked weight."""
    return any(isinstance(part, PrepackedLinear) for part in module.modules())


def rounds_alike(blocks: Iterable[nn.Module]) -> bool:
    """Whether all matrices in `blocks` are prepacked or tables, so that rows are independent."""
    parts = [part for block in blocks for part in block.modules()]
    known = [part.weight for part in parts if isinstance(part, (nn.Embedding, PrepackedLinear))]
    matrices = {
        id(weight) for part in parts for weight in part.parameters(recurse=False) if weight.ndim > 1
    }
    has_some = any(isinstance(part, PrepackedLinear) for part in parts)
    return has_some and matrices <= {id(weight) for weight in known}


def _is_plain(part: nn.Module) -> TypeGuard[nn.Linear]:
    # Subclasses and hooks may do something else.
    is_hooked = bool(part._forward_hooks or part._forward_pre_hooks)
    return type(part) is nn.Linear and part.weight.dtype is torch.float32 and not is_hooked
