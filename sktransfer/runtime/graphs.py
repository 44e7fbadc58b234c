"""Passes that are launched on a GPU as a whole."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from sktransfer.runtime.locks import ForkSafeLock
from sktransfer.runtime.seeds import generator_lock
from sktransfer.runtime.torch_private import (
    INDEXING,
    MOVING,
    SYNCHRONIZING,
    TorchDispatchMode,
)

# Passes of more tokens keep a GPU busy for longer than it takes to launch them.
_MOST_TOKENS = 16_384
_MOST_GRAPHS = 128


class Inputs(Protocol):
    """What a pass reads: tensors, on the CPU or on a device."""

    @property
    def n_tokens(self) -> int:
        """Tokens that pass, padding included."""

    def tensors(self) -> list[Tensor]:
        """All tensors, in one order."""

    def shape(self) -> Hashable | None:
        """What a pass depends on besides the contents of the tensors; None for no capture."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""


Given = TypeVar("Given", bound=Inputs)


@dataclass(frozen=True)
class _Captured(Generic[Given]):
    graph: torch.cuda.CUDAGraph
    inputs: Given
    outputs: list[Tensor]

    def replay(self, inputs: Given) -> list[Tensor]:
        for place, tensor in zip(self.inputs.tensors(), inputs.tensors(), strict=True):
            place.copy_(tensor.pin_memory(), non_blocking=True)
        self.graph.replay()
        return [output.clone() for output in self.outputs]


class Graphs(Generic[Given]):
    """CUDA graphs of a computation, one for each shape of its inputs.

    A small pass is hundreds of kernels that take longer to launch than to run; a graph launches
    all of them at once. The first inputs of a shape are computed as usual, the second ones are
    captured. Where that is impossible, and on other devices, all are computed as usual.

    Parameters
    ----------
    device : torch.device
        Where to compute.
    compute : callable
        ``compute(inputs)`` gives tensors; it may change others in place, such as weights, which
        must stay where they are.
    """

    def __init__(self, device: torch.device, compute: Callable[[Given], list[Tensor]]) -> None:
        self._device, self._compute = device, compute
        self._captured: dict[Hashable, _Captured[Given] | None] = {}
        self._is_possible = device.type == "cuda"
        self._is_proven = False
        self._lock = ForkSafeLock()
        if self._is_possible:
            self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, inputs: Given, kind: Hashable = None) -> list[Tensor]:
        """What ``compute(inputs)`` gives.

        Parameters
        ----------
        inputs : Inputs
            On the CPU.
        kind : hashable, default=None
            What else the computation depends on, such as the layers that train.
        """
        shape = inputs.shape()
        if not self._is_possible or shape is None or inputs.n_tokens > _MOST_TOKENS:
            return self._compute(inputs.to(self._device))
        with self._lock:
            captured = self._captured.get((kind, shape))
            if captured is None and (kind, shape) in self._captured:
                captured = self._capture(inputs)
            if captured is not None or len(self._captured) < _MOST_GRAPHS:
                self._captured[kind, shape] = captured
            if captured is not None:
                return captured.replay(inputs)
        return self._compute(inputs.to(self._device))

    def _capture(self, inputs: Given) -> _Captured[Given] | None:
        """The graph of a pass, or None if it cannot be captured now, or at all."""
        # During capture, no other thread can draw from the device's generator.
        if not generator_lock.try_acquire():
            return None
        usual, stream = torch.cuda.current_stream(self._device), _side_stream(str(self._device))
        try:
            stream.wait_stream(usual)
            with torch.cuda.stream(stream):
                captured = self._captured_in_stream(inputs.to(self._device))
            usual.wait_stream(stream)
        finally:
            generator_lock.release()
        self._is_proven = self._is_possible = captured is not None
        return captured

    def _captured_in_stream(self, inputs: Given) -> _Captured[Given] | None:
        graph, error = torch.cuda.CUDAGraph(), None
        guard: Any = contextlib.nullcontext()
        if not self._is_proven:
            guard = _NoHostSync()  # type: ignore[no-untyped-call]
        # Only errors of this thread count, because others may predict meanwhile.
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            with guard:
                outputs = self._compute(inputs)
        except _HostSyncError:
            outputs = None
        except RuntimeError as found:
            outputs, error = None, found
        try:
            graph.capture_end()
        except RuntimeError:
            _repair_generator(self._device)
            return None
        if error is not None:
            raise error
        return None if outputs is None else _Captured(graph, inputs, outputs)


def _repair_generator(device: torch.device) -> None:
    """Let the generator draw again: a capture that failed leaves it in capturing mode."""
    index = torch.cuda.current_device() if str(device) == "cuda" else device.index
    generator = torch.cuda.default_generators[index]
    generator.graphsafe_set_state(generator.clone_state())


# One per device, for the workspaces that libraries keep for each stream.
@functools.cache
def _side_stream(device: str) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


class _HostSyncError(RuntimeError):
    """The host would wait for a value of the device."""


class _NoHostSync(TorchDispatchMode):
    """Raises before the host synchronizes with the device, which would invalidate a capture."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket
        tensors = [part for part in _flat((*args, *kwargs.values())) if torch.is_tensor(part)]
        is_sync = name in SYNCHRONIZING
        if name in INDEXING:
            is_sync = any(part.dtype in (torch.bool, torch.uint8) for part in tensors[1:])
        if name in MOVING:
            places = {part.device.type for part in tensors}
            target = kwargs.get("device")
            is_sync = len(places) > 1 or (
                target is not None and torch.device(target).type not in places
            )
        if is_sync:
            raise _HostSyncError(str(func))
        return func(*args, **kwargs)


def _flat(parts: Iterable[Any]) -> Iterator[Any]:
    for part in parts:
        if isinstance(part, (list, tuple)):
            yield from _flat(part)
        else:
            yield part
