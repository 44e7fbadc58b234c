"""Weights that stay between uses as they are used: on a device, or prepacked on the CPU."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sktransfer.runtime.bert_layers import replace_bert_layers
from sktransfer.runtime.device import is_out_of_memory
from sktransfer.runtime.locks import ForkSafeLock
from sktransfer.runtime.module_copies import copy_module
from sktransfer.runtime.prepacked import PrepackedLinear, prepackable_layers
from sktransfer.runtime.torch_private import prepack

Module = TypeVar("Module", bound=nn.Module)
_Key = tuple[int, str]

_SHARE_OF_DEVICE = 0.25
_UNKNOWN_MEMORY = 1 << 33
_HOST_BYTES = 1 << 29
_HOST = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of a module, and the weights on the CPU that it was made from."""

    owner: weakref.ref[nn.Module]
    module: nn.Module
    places: list[tuple[dict[str, nn.Parameter | None], str]]
    sources: list[Tensor]
    versions: list[int]
    # None where the copy uses the source itself.
    tensors: list[Tensor | None]

    def is_of(self, module: nn.Module) -> bool:
        """Whether the weights of `module` are still those that were copied."""
        if self.owner() is not module:
            return False
        # Far cheaper than traversing the modules in each prediction.
        parts = (holder.get(name) for holder, name in self.places)
        return all(
            part is not None and part.data_ptr() == source.data_ptr() and part._version == version
            for part, source, version in zip(parts, self.sources, self.versions, strict=True)
        )


class DeviceMemory:
    """Copies of modules on GPUs, or prepacked on the CPU; the least recently used go first.

    A module itself rests on the CPU, so that it can be copied and pickled wherever it is read. Its
    copy goes with it, with a change of its weights, or when memory is scarce. Weights that several
    modules share are on a device once.

    Parameters
    ----------
    budget : int or None, default=None
        Most bytes per device; None is a quarter of its memory, and 512 MiB on the CPU.

    Examples
    --------
    >>> from sktransfer.runtime import device_memory
    >>> device_memory.contents()  # doctest: +SKIP
    [('TransferModel', 'cuda:0', 90851352)]
    >>> device_memory.clear()
    """

    def __init__(self, budget: int | None = None) -> None:
        self._budget = budget
        self._copies: OrderedDict[_Key, _Copy] = OrderedDict()
        self._lock = ForkSafeLock()

    @property
    def budget(self) -> int | None:
        """Most bytes that copies take per device; None is a quarter of it, 512 MiB on the CPU."""
        return self._budget

    @budget.setter
    def budget(self, budget: int | None) -> None:
        if budget is not None and not isinstance(budget, int):
            raise TypeError(f"budget must be an int or None, got {type(budget).__name__}.")
        if budget is not None and budget < 0:
            raise ValueError(f"budget must not be negative, got {budget}.")
        with self._lock:
            self._budget = budget
            for device in {device for _, device in self._copies}:
                self._shrink(torch.device(device))

    def contents(self) -> list[tuple[str, str, int]]:
        """Class, device and bytes of each copy, the least recently used first.

        Bytes that several copies share are counted with the first of them.
        """
        seen: set[int] = set()
        listed = []
        for (_, device), kept in [*self._copies.items()]:
            made = [tensor for tensor in kept.tensors if tensor is not None]
            new = [tensor for tensor in made if _identity(tensor) not in seen]
            seen.update(_identity(tensor) for tensor in new)
            n_bytes = sum(tensor.nbytes for tensor in new)
            listed.append((type(kept.module).__name__, device, n_bytes))
        return listed

    def clear(self) -> None:
        """Release all copies; one that is in use goes when it is no longer."""
        self._copies.clear()

    def on(self, module: Module, device: torch.device) -> Module:
        """`module` on `device`, for passes that change nothing of it.

        Parameters
        ----------
        module : nn.Module
            Rests on the CPU.
        device : torch.device
            Where to compute.

        Returns
        -------
        nn.Module
            A copy in eval mode that other threads may use at the same time, or, on the CPU, the
            module itself.
        """
        if _is_host(device):
            return module
        with self._lock:
            kept = self._found(module, device)
            if kept is None:
                sources = [part.data for part in module.parameters()]
                kept = self._keep(module, device, self._copied(sources, device))
        found: Any = kept.module
        return found  # type: ignore[no-any-return]

    def prepacked(self, module: Module, blocks: Iterable[nn.Module]) -> Module:
        """`module` for passes in float32 on the CPU, with prepacked weights of linear layers.

        Parameters
        ----------
        module : nn.Module
            Rests on the CPU, and is not changed.
        blocks : iterable of nn.Module
            Its parts whose layers are prepacked.

        Returns
        -------
        nn.Module
            A copy in eval mode that shares the parameters, or the module itself if there is nothing
            to prepack, or no room for it.
        """
        with self._lock:
            kept = self._found(module, _HOST)
            if kept is None:
                layers = prepackable_layers(blocks)
                n_bytes = sum(layer.weight.nbytes for layer in layers)
                if not layers or n_bytes > self._most_bytes(_HOST):
                    return module
                kept = self._prepack(module, layers)
        found: Any = kept.module
        return found  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def holding(self, module: nn.Module, device: torch.device) -> Iterator[None]:
        """Put `module` itself on `device` for the block; its weights stay there afterwards.

        Weights that are there already are not copied again. They must not be written to in place
        before `own_weights` has given them storage of their own.
        """
        if _is_host(device):
            yield
            return
        parameters = list(module.parameters())
        sources = [part.data for part in parameters]
        with self._lock:
            given = self._copied(sources, device)
        versions = [part._version for part in parameters]
        _assign(parameters, given)
        module.to(device)
        try:
            yield
        finally:
            trained = [part.data for part in parameters]
            changed = [
                now.data_ptr() != then.data_ptr() or part._version != version
                for part, now, then, version in zip(
                    parameters, trained, given, versions, strict=True
                )
            ]
            back = [
                now.to("cpu", copy=True) if is_changed else source
                for now, is_changed, source in zip(trained, changed, sources, strict=True)
            ]
            _assign(parameters, back)
            module.to("cpu")
        with self._lock:
            self._keep(module, device, trained)

    def make_room(self, device: torch.device) -> bool:
        """Release the copies on `device` for a run that lacks memory; whether there were any."""
        with self._lock:
            keys = [key for key in self._copies if key[1] == _name(device)]
            for key in keys:
                self._copies.pop(key, None)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()
        return bool(keys)

    def _found(self, module: nn.Module, device: torch.device) -> _Copy | None:
        """The copy of `module` there, now the most recently used, if it is still like it."""
        key = (id(module), _name(device))
        kept = self._copies.pop(key, None)
        if kept is None or not kept.is_of(module):
            return None
        self._copies[key] = kept
        return kept

    def _copied(self, sources: list[Tensor], device: torch.device) -> list[Tensor]:
        """`sources` on `device`; those that a copy there was made from are found."""
        try:
            return self._found_or_copied(sources, device)
        except RuntimeError as error:
            if not is_out_of_memory(error) or not self.make_room(device):
                raise
        return self._found_or_copied(sources, device)

    def _found_or_copied(self, sources: list[Tensor], device: torch.device) -> list[Tensor]:
        found = self._tensors_of(sources, device)
        return [
            part.to(device, copy=True) if tensor is None else tensor
            for part, tensor in zip(sources, found, strict=True)
        ]

    def _tensors_of(self, sources: list[Tensor], device: torch.device) -> list[Tensor | None]:
        """What copies on `device` made from each of `sources`, if it is still the same."""
        found = {
            (source.data_ptr(), source.shape, source.stride()): tensor
            for (_, place), kept in [*self._copies.items()]
            if place == _name(device)
            for source, version, tensor in zip(
                kept.sources, kept.versions, kept.tensors, strict=True
            )
            if tensor is not None and source._version == version
        }
        return [found.get((part.data_ptr(), part.shape, part.stride())) for part in sources]

    def _keep(self, module: nn.Module, device: torch.device, tensors: list[Tensor]) -> _Copy:
        """A copy of `module` over `tensors`, its weights on `device`, kept if there is room."""
        parameters = list(module.parameters())
        memo: dict[int, Any] = {
            id(part): nn.Parameter(tensor, requires_grad=False)
            for part, tensor in zip(parameters, tensors, strict=True)
        }
        memo |= {id(part): part.to(device, copy=True) for part in module.buffers()}
        return self._put(module, device, memo, [*tensors])

    # Passes in inference mode and in others use the copy.
    @torch.inference_mode(False)
    @torch.no_grad()
    def _prepack(self, module: nn.Module, layers: list[nn.Linear]) -> _Copy:
        """A copy of `module` over its parameters, with prepacked weights of `layers`."""
        assert prepack is not None
        weights = [layer.weight.data for layer in layers]
        found = self._tensors_of(weights, _HOST)
        memo: dict[int, Any] = {
            id(part): nn.Parameter(part.data, requires_grad=False) for part in module.parameters()
        }
        prepacked: dict[int, Tensor] = {}
        for layer, weight, tensor in zip(layers, weights, found, strict=True):
            made = prepack(weight) if tensor is None else tensor
            prepacked[id(layer.weight)] = made
            memo[id(layer)] = PrepackedLinear(layer, made)
        tensors = [prepacked.get(id(part)) for part in module.parameters()]
        kept = self._put(module, _HOST, memo, tensors)
        replace_bert_layers(kept.module)
        return kept

    def _put(
        self,
        module: nn.Module,
        device: torch.device,
        memo: dict[int, Any],
        tensors: list[Tensor | None],
    ) -> _Copy:
        key, parameters = (id(module), _name(device)), list(module.parameters())

        def forget(_: Any) -> None:
            self._copies.pop(key, None)

        kept = _Copy(
            weakref.ref(module, forget),
            copy_module(module, memo).eval(),
            _places(module),
            # They keep their storage from being reused while it identifies the copy.
            [part.detach() for part in parameters],
            [part._version for part in parameters],
            tensors,
        )
        self._copies[key] = kept
        self._shrink(device)
        return kept

    def _most_bytes(self, device: torch.device) -> int:
        return _default_budget(device) if self._budget is None else self._budget

    def _shrink(self, device: torch.device) -> None:
        """Release the least recently used copies on `device` until the others fit the budget."""
        budget = self._most_bytes(device)
        for key in [key for key in self._copies if key[1] == _name(device)]:
            n_bytes = sum(size for _, place, size in self.contents() if place == _name(device))
            if n_bytes <= budget:
                return
            self._copies.pop(key, None)


def _places(module: nn.Module) -> list[tuple[dict[str, nn.Parameter | None], str]]:
    """Where each of ``module.parameters()`` is found."""
    places = {
        part: (child._parameters, name)
        for child in module.modules()
        for name, part in child._parameters.items()
        if part is not None
    }
    return [places[part] for part in module.parameters()]


def _assign(parameters: list[nn.Parameter], tensors: list[Tensor]) -> None:
    for part, tensor in zip(parameters, tensors, strict=True):
        part.data = tensor


def _identity(tensor: Tensor) -> int:
    return id(tensor) if tensor.is_mkldnn else tensor.data_ptr()


def _name(device: torch.device) -> str:
    """The device with its number."""
    if str(device) == "cuda":
        return f"cuda:{torch.cuda.current_device()}"
    return str(device)


def _is_host(device: torch.device) -> bool:
    return device.type == "cpu"


def _default_budget(device: torch.device) -> int:
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
    elif device.type == "mps" and hasattr(torch.mps, "recommended_max_memory"):
        total = torch.mps.recommended_max_memory()
    elif device.type == "cpu":
        return _HOST_BYTES
    else:
        total = _UNKNOWN_MEMORY
    return int(_SHARE_OF_DEVICE * total)


device_memory = DeviceMemory()
