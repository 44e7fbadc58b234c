"""Packed sequences: windows of different lengths in one sequence, without padding."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer.nn import eval_mode
from sktransfer.runtime.attention import MaskedAttentionError, PackedAttention

Group = tuple[Tensor, Tensor | None]
# States of the last layers of one sequence, from its token, segment and position ids.
ReadSequence = Callable[[Tensor, Tensor | None, Tensor], tuple[Tensor, ...]]


class FirstPosition:
    """Position id of the first token of a window, once it is known; copies share it."""

    def __init__(self) -> None:
        self._known: list[int | None] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> FirstPosition:
        return self

    def get(self, compute: Callable[[], int | None]) -> int | None:
        """The position, or None if the encoder cannot read packed windows."""
        if not self._known:
            self._known.append(compute())
        return self._known[0]


def read_packed(
    read: ReadSequence, groups: Sequence[Group], first_position: int
) -> list[tuple[Tensor, ...]]:
    """States (n_windows, n_tokens, hidden_size) of the last layers of each group.

    Linear layers and norms process the tokens of all windows together; attention is restricted to
    each window.
    """
    shapes = [(len(token_ids), token_ids.shape[1]) for token_ids, _ in groups]
    token_ids = torch.cat([token_ids.flatten() for token_ids, _ in groups])[None]
    parts = [segments.flatten() for _, segments in groups if segments is not None]
    segment_ids = torch.cat(parts)[None] if parts else None
    widest = max(n_tokens for _, n_tokens in shapes)
    positions = torch.arange(first_position, first_position + widest, device=token_ids.device)
    position_ids = torch.cat(
        [positions[:n_tokens].repeat(n_windows) for n_windows, n_tokens in shapes]
    )[None]
    with PackedAttention(shapes):
        layers = read(token_ids, segment_ids, position_ids)
    sizes = [n_windows * n_tokens for n_windows, n_tokens in shapes]
    split = [states[0].split(sizes) for states in layers]
    return [
        tuple(part.unflatten(0, shape) for part in parts)
        for shape, *parts in zip(shapes, *split, strict=True)
    ]


def first_position_of(
    model: nn.Module, read: ReadSequence, read_alone: Callable[[Tensor], Tensor], pad_id: int
) -> int | None:
    """Position id of the first token of a window, or None if `model` cannot read packed windows.

    Models with relative positions, with masks of their own or without PyTorch's attention function
    cannot; this is tested by encoding an example both ways. RoBERTa and similar models count
    positions from the padding id plus one.
    """
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return None
    with torch.no_grad(), eval_mode(model):
        example = _example(model)
        alone = [read_alone(token_ids) for token_ids, _ in example]
        candidates = (0, pad_id + 1)
        return next((n for n in candidates if _is_equal(read, example, alone, n)), None)


def _example(model: nn.Module) -> list[Group]:
    table = model.get_input_embeddings().weight  # type: ignore[operator]
    ids = torch.arange(11, device=table.device) * (len(table) // 11)
    return [(ids[:3].view(1, 3), None), (ids[3:].view(2, 4), None)]


def _is_equal(
    read: ReadSequence, example: list[Group], alone: list[Tensor], first_position: int
) -> bool:
    try:
        packed = read_packed(read, example, first_position)
    except MaskedAttentionError:
        return False
    return all(
        torch.allclose(states[0], expected, rtol=1e-4, atol=1e-5)
        for states, expected in zip(packed, alone, strict=True)
    )
