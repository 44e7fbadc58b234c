"""Threads of the linear algebra below NumPy and SciPy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_lock = threading.Lock()
_limits: list[threadpool_limits] = []
_n_users = 0


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS libraries of the process to one thread each while the block runs.

    Products as small as a linear model's on a few hundred features are several times slower with
    more: threads wait for each other longer than they compute. Of blocks that overlap in time, in
    several threads, the last one to end gives the threads back.
    """
    global _n_users
    with _lock:
        if not _n_users:
            _limits.append(threadpool_limits(limits=1, user_api="blas"))
        _n_users += 1
    try:
        yield
    finally:
        with _lock:
            _n_users -= 1
            if not _n_users:
                _limits.pop().restore_original_limits()
