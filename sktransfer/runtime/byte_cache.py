"""The cache of intermediate results of fits, under a byte budget."""

from __future__ import annotations

import contextlib
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from sktransfer.runtime.locks import ForkSafeLock

Value = TypeVar("Value")

_DEFAULT_BYTES = 1 << 30
# Overhead per value: the dictionary entry, its key and wrapping objects.
_ENTRY_BYTES = 400


@dataclass(slots=True)
class _Entry:
    value: Any
    n_bytes: int
    round: int


class ByteCache:
    """Least-recently-used cache with a byte budget, keyed by content.

    A round is a run, such as a fit, that reads its values in turn again and again. What a round
    has used is not thrown out for other values of the same round: where not all of them fit, some
    would otherwise be lost just before they are needed, and so all of them.

    Parameters
    ----------
    budget : int
        Bytes of all values together.

    Examples
    --------
    >>> cache = ByteCache(10_000)
    >>> cache.put("three", 3, n_bytes=8)
    >>> cache.get("three"), cache.get("four")
    (3, None)
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._n_bytes = 0
        self._round = 0
        self._lock = ForkSafeLock()

    @property
    def n_bytes(self) -> int:
        """Bytes of the values that are kept."""
        return self._n_bytes

    @property
    def budget(self) -> int:
        """Maximum number of bytes; lowering it evicts values."""
        return self._budget

    @budget.setter
    def budget(self, budget: int) -> None:
        with self._lock:
            self._budget = budget
            while self._n_bytes > budget:
                self._drop_oldest()

    def begin_round(self) -> None:
        """Allow the values kept so far to be evicted."""
        with self._lock:
            self._round += 1

    def get(self, key: Hashable) -> Any:
        """The value, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            entry.round = self._round
            self._entries.move_to_end(key)
            return entry.value

    def put(self, key: Hashable, value: object, *, n_bytes: int) -> None:
        """Keep `value`, of `n_bytes`, if there is room for it."""
        n_bytes += _ENTRY_BYTES
        with self._lock:
            if key in self._entries or n_bytes > self._budget:
                return
            while self._n_bytes + n_bytes > self._budget:
                if next(iter(self._entries.values())).round == self._round:
                    return
                self._drop_oldest()
            self._entries[key] = _Entry(value, n_bytes, self._round)
            self._n_bytes += n_bytes

    def remembered(
        self, key: Hashable, compute: Callable[[], Value], size: Callable[[Value], int]
    ) -> Value:
        """The value of `key`, computed and kept if it is not there; `size` gives its bytes."""
        value: Value | None = self.get(key)
        if value is None:
            value = compute()
            self.put(key, value, n_bytes=size(value))
        return value

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._entries.clear()
            self._n_bytes = 0

    def _drop_oldest(self) -> None:
        _, entry = self._entries.popitem(last=False)
        self._n_bytes -= entry.n_bytes


cache = ByteCache(_DEFAULT_BYTES)


def unique_key() -> str:
    """A key that is unique across processes, for values without content to hash."""
    return uuid.uuid4().hex


def set_cache_budget(n_bytes: int) -> int:
    """Bound the memory in which fits of this process share what they have computed.

    Token ids, states of frozen layers, features and solved heads are kept by their content, so
    that folds and candidates of a search do not compute them again. They never change a result.

    Parameters
    ----------
    n_bytes : int
        Most bytes, for the process; 0 turns sharing off and forgets what there is. It is 1 GiB
        until it is set.

    Returns
    -------
    int
        The budget before.

    See Also
    --------
    cache_budget : The same for a block.

    Examples
    --------
    >>> from sktransfer.runtime import set_cache_budget
    >>> before = set_cache_budget(200_000_000)
    >>> set_cache_budget(before)
    200000000
    """
    if not isinstance(n_bytes, int):
        raise TypeError(f"n_bytes must be an int, got {type(n_bytes).__name__}.")
    if n_bytes < 0:
        raise ValueError(f"n_bytes must not be negative, got {n_bytes}.")
    before = cache.budget
    cache.budget = n_bytes
    return before


@contextlib.contextmanager
def cache_budget(n_bytes: int) -> Iterator[None]:
    """Bound the memory of what fits share, for the block.

    Parameters
    ----------
    n_bytes : int
        As in `set_cache_budget`; it holds for all threads of the process.

    Examples
    --------
    >>> from sktransfer.runtime import cache_budget
    >>> with cache_budget(0):
    ...     pass  # every fit computes all by itself
    """
    before = set_cache_budget(n_bytes)
    try:
        yield
    finally:
        cache.budget = before
