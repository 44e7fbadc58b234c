"""Linear layers for float32 passes on a CPU, their weights packed as oneDNN multiplies them.

On few rows a product takes 0.5 to 0.8 of PyTorch's time, on many 0.85 to 0.95. A row's product is
the same to the bit whatever rows are beside it and however many threads there are, which PyTorch's
own is not.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sktransfer.runtime.torch_private import pack_weight, packed_product


class PackedLinear(nn.Linear):
    """A linear layer whose weight is there in packed form, too.

    Parameters
    ----------
    layer : nn.Linear
        The layer whose parameters it shares.
    packed : Tensor
        Its weight as `pack_weight` gives it.
    """

    def __init__(self, layer: nn.Linear, packed: Tensor) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = nn.Parameter(layer.weight.data, requires_grad=False)
        bias: Tensor | None = layer.bias
        self.register_parameter(
            "bias", None if bias is None else nn.Parameter(bias.data, requires_grad=False)
        )
        self.packed = packed

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, PyTorch's name
        if input.dtype is not torch.float32 or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        return packed_product(input, self.packed, self.bias)


def packable_layers(blocks: Iterable[nn.Module]) -> list[nn.Linear]:
    """Linear layers within `blocks` that this processor can pack."""
    if pack_weight is None or not torch.backends.mkldnn.enabled:  # type: ignore[truthy-bool]
        return []
    parts = dict.fromkeys(part for block in blocks for part in block.modules())
    # Subclasses may do something else; what refers to the weight alone is left as it is.
    return [
        part for part in parts if type(part) is nn.Linear and part.weight.dtype is torch.float32
    ]


def rounds_alike(blocks: Iterable[nn.Module]) -> bool:
    """Whether all matrices in `blocks` are packed or tables, so that other rows do not matter."""
    parts = [part for block in blocks for part in block.modules()]
    known = [part.weight for part in parts if isinstance(part, (nn.Embedding, PackedLinear))]
    matrices = {
        id(weight) for part in parts for weight in part.parameters(recurse=False) if weight.ndim > 1
    }
    is_packed = any(isinstance(part, PackedLinear) for part in parts)
    return is_packed and matrices <= {id(weight) for weight in known}
