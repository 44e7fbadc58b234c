"""Run a stack of layers in two parts, so that the output of the lower one can be cached."""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Let all parts of `model` compute as in prediction in the block.

    A model in eval mode is not touched, because other threads may predict with it.
    """
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def token_states(
    model: nn.Module, tops: Sequence[nn.Module], inputs: dict[str, Tensor]
) -> tuple[Tensor, ...]:
    """States that a model of `transformers` gives, then those that `tops` are given, last first.

    Parameters
    ----------
    model : nn.Module
        Gives states as its first output.
    tops : sequence of nn.Module
        Layers, in their order.
    inputs : dict of str to Tensor
        Token ids, masks, segments by the model's names.
    """
    # A model of this pass's own over the same parameters. Hooks in the model, which
    # output_hidden_states leaves there as well, would be seen by other threads and by pickle.
    below: list[Tensor] = []
    watched = {top: _Watched(top, below) for top in tops}
    return (_replaced(model, watched)(**inputs)[0], *below[::-1])


class SplitEncoder:
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
        self._lower_blocks, self._upper_blocks = list(blocks)[:depth], list(blocks)[depth:]
        self._first_passed = passed[depth]
        self._lower = _replaced(model, dict(zip(self._upper_blocks, passed[depth:], strict=True)))
        self._upper = _replaced(model, dict(zip(self._lower_blocks, passed[:depth], strict=True)))

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
        first, *others = self._upper_blocks
        given = _Given(first, states)
        tops = [given, *others][len(self._upper_blocks) + 1 - n_layers :]
        return token_states(_replaced(self._upper, {first: given}), tops, inputs)


class _Wrapped(nn.Module):
    """Stand-in for a layer, with the layer's attributes."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = (layer,)  # in a tuple it is not a part of this one

    def __getattr__(self, name: str) -> Any:
        # Some models read the type of attention from their layers.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.layer[0], name)


class _Passed(_Wrapped):
    """Skips its layer and returns its input."""

    def __init__(self, layer: nn.Module, n_outputs: int | None) -> None:
        super().__init__(layer)
        self.n_outputs = n_outputs

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        states = args[0] if args else kwargs["hidden_states"]
        return states if self.n_outputs is None else (states, *[None] * (self.n_outputs - 1))


class _Watched(_Wrapped):
    """Records the input of its layer."""

    def __init__(self, layer: nn.Module, below: list[Tensor]) -> None:
        super().__init__(layer)
        self.below = below

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        layer = self.layer[0]
        states = layer.states if isinstance(layer, _Given) else None
        if states is None:
            states = args[0] if args else kwargs["hidden_states"]
        self.below.append(states)
        return layer(*args, **kwargs)


class _Given(_Wrapped):
    """Replaces the input of its layer."""

    def __init__(self, layer: nn.Module, states: Tensor) -> None:
        super().__init__(layer)
        self.states = states

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            return self.layer[0](self.states, *args[1:], **kwargs)
        return self.layer[0](**{**kwargs, "hidden_states": self.states})


class _Kept(_Wrapped):
    """Records the output of its layer."""

    def __init__(self, layer: nn.Module, outputs: list[Any]) -> None:
        super().__init__(layer)
        self.outputs = outputs

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.outputs.append(self.layer[0](*args, **kwargs))
        return self.outputs[-1]


_known: weakref.WeakKeyDictionary[nn.Module, dict[int, SplitEncoder | None]] = (
    weakref.WeakKeyDictionary()
)


def halves_of(
    model: nn.Module, blocks: nn.ModuleList | None, depth: int, example: dict[str, Tensor]
) -> SplitEncoder | None:
    """Two parts of `model` that together give the same as the whole, or None.

    Layers that hand more than states to each other, as T5's do, cannot be cut. Whether they can is
    seen by running both on `example`.
    """
    if blocks is None or not 0 < depth < len(blocks) or len({*blocks}) < len(blocks):
        return None
    known = _known.setdefault(model, {})
    if depth not in known:
        known[depth] = _verified_halves(model, blocks, depth, example)
    return known[depth]


@torch.no_grad()
def _verified_halves(
    model: nn.Module, blocks: nn.ModuleList, depth: int, example: dict[str, Tensor]
) -> SplitEncoder | None:
    try:
        with eval_mode(model):
            outputs: list[Any] = []
            whole = _replaced(model, {blocks[0]: _Kept(blocks[0], outputs)})(**example)[0]
            n_outputs = len(outputs[0]) if isinstance(outputs[0], tuple) else None
            split = SplitEncoder(model, blocks, depth, n_outputs=n_outputs)
            again = split.upper(split.lower(example)[0], example)[0]
    except (AttributeError, TypeError) as error:
        # A layer needs more than the states of the layer below, and got None.
        if "NoneType" not in str(error):
            raise
        return None
    return split if torch.equal(whole, again) else None


def _replaced(module: nn.Module, others: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """`module` with others in the place of some of its parts; what does not hold them is shared."""
    if not others:
        return module
    if module in others:
        return others[module]
    children = {
        name: None if child is None else _replaced(child, others)
        for name, child in module._modules.items()
    }
    if all(children[name] is child for name, child in module._modules.items()):
        return module
    changed = copy.copy(module)
    changed._modules = children
    return changed
