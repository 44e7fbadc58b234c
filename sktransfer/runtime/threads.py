"""Threads of the linear algebra below NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

from sktransfer.runtime.locks import ForkSafeLock

# The limit applies to the process: if two blocks overlapped, the second would restore the limit of
# the first.
_turn = ForkSafeLock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS libraries of the process to one thread each while the block runs.

    Products as small as a linear model's on a few hundred features are several times slower with
    more: threads wait for each other longer than they compute. Blocks in several threads take
    turns.
    """
    with _turn, _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    # It looks through all libraries of the process, which takes milliseconds.
    return ThreadpoolController()
