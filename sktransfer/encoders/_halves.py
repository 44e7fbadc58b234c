"""A stack of layers run in two halves, so that what the lower one gives can be kept."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def token_states(
    model: nn.Module, tops: Sequence[nn.Module], inputs: dict[str, Tensor]
) -> tuple[Tensor, ...]:
    """States that a model of `transformers` gives, then those that `tops` are given, last first.

    Parameters
    ----------
    model : nn.Module
        Gives states as its first output.
    tops : sequence of nn.Module
        Layers, in their order. transformers' own output_hidden_states leaves hooks in the model,
        which then cannot be pickled.
    inputs : dict of str to Tensor
        Token ids, masks, segments by the model's names.
    """
    thread, below = threading.get_ident(), []

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == thread:
            below.append(args[0] if args else kwargs["hidden_states"])

    hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in tops]
    try:
        states = model(**inputs)[0]
    finally:
        for hook in hooks:
            hook.remove()
    return (states, *below[::-1])


class Halves:
    """Lower and upper layers of an encoder as two models over the same parameters.

    Parameters
    ----------
    model : nn.Module
        The whole model, of `transformers`.
    blocks : nn.ModuleList
        Its layers from the input side up, which it calls one after the other.
    depth : int
        Number of the lower ones; at least one, and fewer than all.
    n_outputs : int or None
        How long the tuple is, headed by its states, that a layer returns; None where it returns
        its states alone.
    """

    def __init__(
        self, model: nn.Module, blocks: nn.ModuleList, depth: int, *, n_outputs: int | None
    ) -> None:
        passed = [_Passed(block, n_outputs) for block in blocks]
        self._upper_blocks = list(blocks)[depth:]
        self._first_passed = passed[depth]
        self._lower_blocks = list(blocks)[:depth]
        self._lower = _with_blocks(model, blocks, [*list(blocks)[:depth], *passed[depth:]])
        self._upper = _with_blocks(model, blocks, [*passed[:depth], *self._upper_blocks])

    def lower(self, inputs: dict[str, Tensor], depths: Sequence[int] = ()) -> tuple[Tensor, ...]:
        """States (W, T, hidden_size) that the lower layers hand to the upper ones.

        Then those above the lowest layers of each number in `depths`, which fall.
        """
        tops = [*(self._lower_blocks[depth] for depth in depths[::-1]), self._first_passed]
        return token_states(self._lower, tops, inputs)[1:]

    def upper(
        self, states: Tensor, inputs: dict[str, Tensor], n_layers: int = 1
    ) -> tuple[Tensor, ...]:
        """What the whole encoder gives of `n_layers`, from the `states` that `lower` gave."""
        thread = threading.get_ident()

        def give(
            _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
            if threading.get_ident() != thread:
                return None
            if args:
                return (states, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": states}

        first = self._upper_blocks[0]
        hook = first.register_forward_pre_hook(give, with_kwargs=True)
        try:
            tops = self._upper_blocks[len(self._upper_blocks) + 1 - n_layers :]
            return token_states(self._upper, tops, inputs)
        finally:
            hook.remove()


class _Passed(nn.Module):
    """Stands for a layer that is left out: hands on the states that it is given."""

    def __init__(self, layer: nn.Module, n_outputs: int | None) -> None:
        super().__init__()
        self.layer = (layer,)  # in a tuple it is no part of this one
        self.n_outputs = n_outputs

    def __getattr__(self, name: str) -> Any:
        # Some models ask their layers for the kind of attention.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.layer[0], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        states = args[0] if args else kwargs["hidden_states"]
        return states if self.n_outputs is None else (states, *[None] * (self.n_outputs - 1))


_known: weakref.WeakKeyDictionary[nn.Module, dict[int, Halves | None]] = weakref.WeakKeyDictionary()


def halves_of(
    model: nn.Module, blocks: nn.ModuleList | None, depth: int, example: dict[str, Tensor]
) -> Halves | None:
    """Halves of `model` that together give the same as the whole, or None.

    Layers that hand more than states to each other, as T5's do, cannot be cut. Whether they can is
    seen by running both on `example`.
    """
    if blocks is None or not 0 < depth < len(blocks):
        return None
    known = _known.setdefault(model, {})
    if depth not in known:
        known[depth] = _verified_halves(model, blocks, depth, example)
    return known[depth]


@torch.no_grad()
def _verified_halves(
    model: nn.Module, blocks: nn.ModuleList, depth: int, example: dict[str, Tensor]
) -> Halves | None:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        found: list[int | None] = []
        hook = blocks[0].register_forward_hook(
            lambda _, __, output: found.append(len(output) if isinstance(output, tuple) else None)
        )
        try:
            whole = token_states(model, [], example)[0]
        finally:
            hook.remove()
        halves = Halves(model, blocks, depth, n_outputs=found[0])
        again = halves.upper(halves.lower(example)[0], example)[0]
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return None
    finally:
        for module, mode in modes.items():
            module.training = mode
    return halves if torch.equal(whole, again) else None


def _with_blocks(
    module: nn.Module, blocks: nn.ModuleList, others: Sequence[nn.Module]
) -> nn.Module:
    """`module` with `others` in the place of `blocks`; what does not hold them is shared."""
    if module is blocks:
        return nn.ModuleList(others)
    if not any(part is blocks for part in module.modules()):
        return module
    changed = copy.copy(module)
    changed._modules = {
        name: None if child is None else _with_blocks(child, blocks, others)
        for name, child in module._modules.items()
    }
    return changed
