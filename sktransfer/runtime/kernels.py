"""Dropout and attention for training on a CPU, several times as fast as PyTorch's own there.

Two epochs on 64 reviews of 256 tokens take 14 s instead of 25 s. They can go when PyTorch's
attention with dropout keeps no score matrices on a CPU, and its backward pass in bfloat16 takes no
longer than in float32. `set_cpu_kernels` turns them off; a test compares both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sktransfer.runtime.attention import AttentionCall
from sktransfer.runtime.torch_private import softmax_backward

_LEVELS = 2**16
# A megabyte of float32.
_SCORES_AT_ONCE = 2**18
_LOWEST = -(2**63)

_is_enabled = True


def set_cpu_kernels(enabled: bool) -> bool:
    """Turn this package's own dropout and attention for training on a CPU on or off.

    They are on until they are turned off, for this process. PyTorch's draw other random numbers
    from the same seed, so that fits end in other weights of the same quality.

    Parameters
    ----------
    enabled : bool
        False trains with PyTorch's own.

    Returns
    -------
    bool
        Whether they were on before.

    Examples
    --------
    >>> from sktransfer.runtime import set_cpu_kernels
    >>> before = set_cpu_kernels(False)
    >>> set_cpu_kernels(before)
    False
    """
    global _is_enabled
    if not isinstance(enabled, bool):
        raise TypeError(f"enabled must be a bool, got {type(enabled).__name__}.")
    before, _is_enabled = _is_enabled, enabled
    return before


def cpu_kernels_enabled() -> bool:
    """Whether training on a CPU uses this package's own dropout and attention."""
    return _is_enabled


class CPUTraining(TorchFunctionMode):
    """Replaces dropout and attention in the block, in this thread alone.

    PyTorch draws a random number for each value, where a fourth of one is enough, and its
    attention with dropout keeps several values for each pair of tokens; the one without has a
    backward pass in bfloat16 that takes many times as long as the forward pass.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        function = _REPLACED.get(func, func)
        return function(*args, **(kwargs or {}))


def _dropout(
    input: Tensor,  # noqa: A002, PyTorch's name
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    if not training or inplace or not 0 < p < 1 or input.device.type != "cpu":
        return functional.dropout(input, p, training, inplace)
    dropped: Tensor = _Dropout.apply(input, p)  # type: ignore[no-untyped-call]
    return dropped


def _attention(*args: Any, **kwargs: Any) -> Tensor:
    call = AttentionCall(*args, **kwargs)
    is_trained = torch.is_grad_enabled() and call.query.requires_grad
    is_plain = call.is_plain and call.query.device.type == "cpu"
    is_plain = is_plain and call.key.shape == call.value.shape
    if not (is_trained or call.dropout_p) or not is_plain:
        return call.by_pytorch()
    call = call.autocast()
    query, key, value = call.query, call.key, call.value
    scale = 1 / math.sqrt(query.shape[-1]) if call.scale is None else call.scale
    bias = _bias(query, key, call.attn_mask, call.is_causal)
    attended: Tensor = _Attention.apply(query, key, value, bias, call.dropout_p, scale)  # type: ignore[no-untyped-call]
    return attended


def _bias(query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor | None:
    """What is added to the scores; finite, so that a token that sees none does no harm."""
    if is_causal:
        shape = (query.shape[-2], key.shape[-2])
        mask = torch.ones(shape, dtype=torch.bool).tril()
    if mask is None:
        return None
    least = torch.finfo(torch.float32).min / 2
    if mask.dtype is not torch.bool:
        return mask.float().clamp_min(least)
    return torch.zeros(mask.shape).masked_fill_(~mask, least)


def _draw(shape: torch.Size, p: float) -> tuple[Tensor, float]:
    """Which values stay, each with a probability of 1 - p, and the factor that makes up for it.

    Four values share a random number of 64 bits: p is rounded to a multiple of 2^-16.
    """
    n_dropped = min(max(round(p * _LEVELS), 1), _LEVELS - 1)
    size = math.prod(shape)
    bits = torch.empty(-(-size // 4), dtype=torch.int64).random_(_LOWEST, None).view(torch.int16)
    keep = (bits[:size] >= n_dropped - _LEVELS // 2).view(shape)
    return keep, _LEVELS / (_LEVELS - n_dropped)


def _kept(values: Tensor, keep: Tensor, factor: float) -> Tensor:
    # Forward and backward, dropout is the same product.
    return torch.ops.aten.native_dropout_backward(values, keep, factor)  # type: ignore[no-any-return]


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, p: float) -> Tensor:
        keep, ctx.factor = _draw(values.shape, p)
        ctx.save_for_backward(keep)
        return _kept(values, keep, ctx.factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return _kept(gradient, keep, ctx.factor), None


class _Attention(torch.autograd.Function):
    """Softmax attention of (n_windows, n_heads, n_tokens, head_size), products in their dtype.

    Goes through some windows at a time, whose scores stay in the processor's caches. Where there
    are more of them, the backward pass computes the weights of each once more: kept for it is one
    byte for each pair of tokens (Dao et al. 2022, arXiv:2205.14135, keeps none).
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        p: float,
        scale: float,
    ) -> Tensor:
        query, key, value = (query * scale).contiguous(), key.contiguous(), value.contiguous()
        attended, ctx.parts, weights = _like(query), [], None
        for windows in _parts(query, key):
            weights = _weights(query, key, bias, windows)
            keep, ctx.factor = _draw(weights.shape, p) if p else (None, 1.0)
            seen = weights if keep is None else weights * keep
            attended[windows] = torch.matmul(seen.to(value.dtype), value[windows])
            ctx.parts.append((windows, keep))
        ctx.scale = scale
        ctx.weights = weights if len(ctx.parts) == 1 else None
        ctx.save_for_backward(query, key, value, bias)
        return attended.mul_(ctx.factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, bias = ctx.saved_tensors
        gradient = (gradient * ctx.factor).contiguous()
        of_query, of_key, of_value = _like(query), _like(key), _like(value)
        for windows, keep in ctx.parts:
            weights = ctx.weights
            if weights is None:
                weights = _weights(query, key, bias, windows)
            of_weights = _precise(torch.matmul(gradient[windows], value[windows].transpose(-1, -2)))
            seen = weights
            if keep is not None:
                of_weights *= keep
                seen = weights * keep
            seen = seen.to(value.dtype)
            of_value[windows] = torch.matmul(seen.transpose(-1, -2), gradient[windows])
            of_scores = softmax_backward(of_weights, weights, -1, weights.dtype)
            of_scores = of_scores.to(query.dtype)
            of_query[windows] = torch.matmul(of_scores, key[windows])
            of_key[windows] = torch.matmul(of_scores.transpose(-1, -2), query[windows])
        return of_query.mul_(ctx.scale), of_key, of_value, None, None, None


def _parts(query: Tensor, key: Tensor) -> list[slice]:
    """Windows of each part of the work."""
    n_scores = math.prod(query.shape[1:3]) * key.shape[2]
    n_windows = max(1, _SCORES_AT_ONCE // n_scores)
    return [slice(start, start + n_windows) for start in range(0, len(query), n_windows)]


def _like(values: Tensor) -> Tensor:
    """Room for heads of tokens, laid out as the layers around it read them: tokens of heads."""
    n_windows, n_heads, n_tokens, size = values.shape
    return values.new_empty(n_windows, n_tokens, n_heads, size).transpose(1, 2)


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _weights(query: Tensor, key: Tensor, bias: Tensor | None, windows: slice) -> Tensor:
    """What each token of some windows sees of the others, summing to 1; `query` is scaled."""
    scores = _precise(torch.matmul(query[windows], key[windows].transpose(-1, -2)))
    if bias is not None:
        is_shared = bias.ndim < 4 or len(bias) == 1
        scores += bias if is_shared else bias[windows]
    return torch.softmax(scores, dim=-1)


_REPLACED: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.dropout: _dropout,
    functional.scaled_dot_product_attention: _attention,
}
