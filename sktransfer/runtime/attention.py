"""Attention: the arguments that PyTorch's takes, a kernel for GPUs, and sequences of windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sktransfer.runtime.torch_private import efficient_attention

# The kernel reads biases in blocks of this many values.
_ALIGNMENT = 8


@dataclass(frozen=True)
class AttentionCall:
    """Arguments of `torch.nn.functional.scaled_dot_product_attention`."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether each query head has its own keys and values, and no bias is trained."""
        shapes = (self.query.shape[:2], self.key.shape[:2], self.value.shape[:2])
        # A position bias may be trained, too.
        is_trained = self.attn_mask is not None and self.attn_mask.requires_grad
        is_alike = shapes[0] == shapes[1] == shapes[2]
        return self.query.ndim == 4 and is_alike and not (self.enable_gqa or is_trained)

    def autocast(self) -> AttentionCall:
        """The same in the precision of autocast, in which PyTorch's own computes, too.

        Rotary positions may leave query, key and value in different ones.
        """
        kind = self.query.device.type
        if not torch.is_autocast_enabled(kind):
            return self
        dtype = torch.get_autocast_dtype(kind)
        query, key, value = (part.to(dtype) for part in (self.query, self.key, self.value))
        return replace(self, query=query, key=key, value=value)

    def by_pytorch(self) -> Tensor:
        """What PyTorch's own function gives."""
        return functional.scaled_dot_product_attention(**vars(self))


class _AttentionMode(TorchFunctionMode, ABC):
    """Replaces PyTorch's attention in the block, in this thread alone."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.scaled_dot_product_attention:
            return self._attend(AttentionCall(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))

    @abstractmethod
    def _attend(self, call: AttentionCall) -> Tensor:
        """What the call gives."""


class MaskedAttentionError(Exception):
    """A layer attends with a mask over a packed sequence."""


class PackedAttention(_AttentionMode):
    """Attention within each window of a packed sequence in the block, in this thread alone.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Number of windows and tokens per window of each group of windows, in the order in which
        they lie in the sequence.

    Raises
    ------
    MaskedAttentionError
        If a layer attends with a mask, which is as wide as the sequence.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self._shapes = shapes

    def _attend(self, call: AttentionCall) -> Tensor:
        if call.attn_mask is not None:
            raise MaskedAttentionError
        groups = zip(*map(self._groups, (call.query, call.key, call.value)), strict=True)
        attended = [
            replace(call, query=query, key=key, value=value).by_pytorch().transpose(1, 2)
            for query, key, value in groups
        ]
        return torch.cat([part.flatten(0, 1) for part in attended]).transpose(0, 1).unsqueeze(0)

    def _groups(self, heads: Tensor) -> list[Tensor]:
        """Heads (n_windows, n_heads, n_tokens, head_size) of each group."""
        sizes = [n_windows * n_tokens for n_windows, n_tokens in self._shapes]
        parts = heads[0].split(sizes, dim=1)
        return [
            part.unflatten(1, shape).transpose(0, 1)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]


class Unpadding(_AttentionMode):
    """The tokens of padded windows in one sequence, so that linear layers and norms skip padding.

    In the block, in this thread alone, attention is restricted to each window: queries, keys and
    values are padded for it. Unpadding is described for ModernBERT (Warner et al. 2024,
    arXiv:2412.13663, section 2.1.2), which has an attention kernel for such sequences.

    Parameters
    ----------
    attention_mask : Tensor of shape (n_windows, n_tokens)
        1 at a token, 0 at padding.
    multiple : int, default=1
        The sequence is filled up to a multiple of it with tokens that belong to no window.

    Raises
    ------
    MaskedAttentionError
        If a layer attends with a mask, which is as wide as the sequence.
    """

    def __init__(self, attention_mask: Tensor, multiple: int = 1) -> None:
        super().__init__()
        self._is_token = attention_mask.bool()
        self._places = self._is_token.flatten().nonzero()[:, 0]
        self._n_filler = -len(self._places) % multiple
        self._mask = None if self._is_token.all() else self._is_token[:, None, None]

    def sequence(self, values: Tensor) -> Tensor:
        """Lay `values` (n_windows, n_tokens, ...) side by side: (1, n_tokens_in_all, ...)."""
        tokens = values.flatten(0, 1).index_select(0, self._places)
        return self.filled_up(tokens)

    def filled_up(self, tokens: Tensor) -> Tensor:
        """Sequence (1, n_tokens_in_all, ...) of the tokens of all windows, filled up."""
        if self._n_filler:
            tokens = torch.cat([tokens, tokens.new_zeros(self._n_filler, *tokens.shape[1:])])
        return tokens[None]

    def windows(self, sequence: Tensor) -> Tensor:
        """Padded windows (n_windows, n_tokens, ...) of a sequence, zero at padding."""
        tokens = sequence[0, : len(self._places)]
        places = tokens.new_zeros(self._is_token.numel(), *tokens.shape[1:])
        placed: Tensor = places.index_copy(0, self._places, tokens)
        return placed.view(*self._is_token.shape, *tokens.shape[1:])

    def positions(self) -> Tensor:
        """Position of each token of the sequence within its window."""
        n_windows, n_tokens = self._is_token.shape
        positions = torch.arange(n_tokens, device=self._places.device)
        return self.sequence(positions.expand(n_windows, n_tokens))

    def _attend(self, call: AttentionCall) -> Tensor:
        if call.attn_mask is not None:
            raise MaskedAttentionError
        query, key, value = (
            self.windows(part.transpose(1, 2)).transpose(1, 2)
            for part in (call.query, call.key, call.value)
        )
        # Padding follows the tokens, and causal attention does not see it.
        mask = None if call.is_causal else self._mask
        padded = replace(call, query=query, key=key, value=value, attn_mask=mask).by_pytorch()
        return self.sequence(padded.transpose(1, 2)).transpose(1, 2)


class EfficientAttention(_AttentionMode):
    """Attends by PyTorch's memory-efficient kernel in the block, in this thread alone.

    In half precision PyTorch chooses cuDNN's on recent GPUs, which spends a fifth of a second on a
    plan for each new shape, more than all steps of that shape take. Causal attention, whose
    batches are of one shape, is left as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._mask: Tensor | None = None
        self._bias: Tensor | None = None

    def _attend(self, call: AttentionCall) -> Tensor:
        mask, n_keys = call.attn_mask, call.key.shape[-2]
        is_aligned = mask is None or n_keys % _ALIGNMENT == 0
        if not (call.is_plain and call.query.is_cuda and is_aligned) or call.is_causal:
            return call.by_pytorch()
        call = call.autocast()
        query = call.query
        bias = None if mask is None else self._bias_of(mask, query.dtype)
        attended: Tensor = efficient_attention(
            query,
            call.key,
            call.value,
            None if bias is None else bias.expand(*query.shape[:3], n_keys),
            torch.is_grad_enabled() and query.requires_grad,
            call.dropout_p,
            scale=call.scale,
        )[0]
        return attended

    def _bias_of(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """What is added to the scores; all layers have the mask in common."""
        if self._bias is None or self._mask is not mask:
            self._mask, self._bias = mask, mask
            if mask.dtype is torch.bool:
                zeros = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
                self._bias = zeros.masked_fill_(~mask, -torch.inf)
            self._bias = self._bias.to(dtype)
        return self._bias
