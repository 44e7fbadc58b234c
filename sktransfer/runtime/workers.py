"""Fits that several processes share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class WorkerGroup:
    """The processes that share a fit.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    world_size : int
        Number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_single(self) -> bool:
        """Whether there is only this process."""
        return self.world_size == 1

    def add_up(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over the processes."""
        if not self.is_single:
            dist.all_reduce(tensor)

    def take_first(self, tensor: Tensor) -> None:
        """Replace `tensor` by that of process 0."""
        if not self.is_single:
            dist.broadcast(tensor, 0)

    def total(self, value: int) -> int:
        """Sum of a `value` of each process."""
        shared = torch.tensor(value, device="cpu")
        self.add_up(shared)
        return int(shared)

    def agreed(self, value: int) -> int:
        """`value` of process 0."""
        shared = torch.tensor(value, device="cpu")
        self.take_first(shared)
        return int(shared)

    def is_same(self, value: int) -> bool:
        """Whether all processes have the same `value`."""
        differs = int(self.agreed(value) != value)
        return self.total(differs) == 0


# What torchrun and other launchers tell each process.
_LAUNCHED = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}

# Not inherited by threads: fits that run beside each other could not keep their messages apart.
_group: ContextVar[WorkerGroup | None] = ContextVar("worker group", default=None)


def worker_group() -> WorkerGroup:
    """The processes that share a fit of this thread."""
    return _group.get() or WorkerGroup()


@contextlib.contextmanager
def data_parallel() -> Iterator[WorkerGroup]:
    """Divide each fit in the block over the processes that ``torchrun`` started.

    All processes run the same script and call `fit` with the same rows and parameters. Each one
    computes a part of every batch, the gradients are added up, and all of them end with the same
    estimator: up to rounding, and to what dropout draws, the one that a single process fits.
    ``batch_size`` counts the rows of all processes together. With GPUs, each process takes one of
    its own (NCCL); on CPUs they talk by Gloo.

    Outside of ``torchrun`` the block has one process, and nothing changes. A process group that
    PyTorch has already is used, and left open. Predictions, fits in other threads and
    `LanguageModel` are not divided.

    Yields
    ------
    WorkerGroup
        With ``rank``, 0 in the process that should save the estimator, and ``world_size``.

    Raises
    ------
    ValueError
        From `fit`, in all processes, if their rows differ.

    Examples
    --------
    >>> from sktransfer import TransferTextClassifier
    >>> from sktransfer.runtime import data_parallel
    >>> with data_parallel() as group:
    ...     clf = TransferTextClassifier(max_epochs=0).fit(["good", "bad"], [1, 0])
    >>> if group.rank == 0:
    ...     clf.save("model")  # doctest: +SKIP
    """
    is_started = dist.is_available() and dist.is_initialized()
    if not is_started and not os.environ.keys() >= _LAUNCHED:
        yield WorkerGroup()
        return
    if not is_started:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    group = WorkerGroup(dist.get_rank(), dist.get_world_size())
    token = _group.set(group)
    try:
        yield group
    finally:
        _group.reset(token)
        if not is_started:
            dist.destroy_process_group()


def local_rank() -> int | None:
    """Number of this process on its machine, if it shares its fits with others."""
    group = worker_group()
    return None if group.is_single else int(os.environ.get("LOCAL_RANK", group.rank))
