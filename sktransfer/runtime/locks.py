"""Locks that are released in forked children."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType

import torch


class ForkSafeLock:
    """Reentrant lock that is open in a forked child, whoever held it in the parent.

    The thread that held it does not exist there, and would never release it.

    Examples
    --------
    >>> from sktransfer.runtime import ForkSafeLock
    >>> lock = ForkSafeLock()
    >>> with lock, lock:
    ...     pass
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def try_acquire(self) -> bool:
        """Acquire the lock unless another thread holds it; whether it was acquired."""
        return self._lock.acquire(blocking=False)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def open_in_child(self) -> None:
        """Forget who holds it."""
        self._lock = threading.RLock()


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _in_child() -> None:
    for lock in list(_locks):
        lock.open_in_child()
    # PyTorch's threads do not exist in the child, and a pass would wait for them forever.
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
