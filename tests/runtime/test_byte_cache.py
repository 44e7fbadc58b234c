from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktransfer.runtime import ByteCache, cache, cache_budget, set_cache_budget, unique_key
from sktransfer.runtime.byte_cache import _ENTRY_BYTES

SIZE = _ENTRY_BYTES + 100


def filled(n_values: int, *, room: int) -> ByteCache:
    store = ByteCache(room * SIZE)
    for number in range(n_values):
        store.begin_round()
        store.put(number, str(number), n_bytes=100)
    return store


def test_the_least_recently_used_goes_first() -> None:
    store = filled(3, room=3)
    assert store.get(0) == "0"
    store.begin_round()
    store.put(3, "3", n_bytes=100)
    assert [store.get(number) for number in range(4)] == ["0", None, "2", "3"]
    assert store.n_bytes == 3 * SIZE


def test_a_round_does_not_push_out_its_own() -> None:
    store = ByteCache(3 * SIZE)
    for _ in range(2):  # two epochs over more values than there is room for
        for number in range(6):
            store.put(number, number, n_bytes=100)
    assert [store.get(number) for number in range(6)] == [0, 1, 2, None, None, None]
    store.begin_round()
    store.put(5, 5, n_bytes=100)
    assert store.get(5) == 5


def test_nothing_fits_into_no_budget() -> None:
    store = filled(3, room=3)
    store.budget = SIZE
    assert [store.get(number) for number in range(3)] == [None, None, "2"]
    store.budget = 0
    store.put("x", 1, n_bytes=0)
    assert store.get("x") is None
    assert store.n_bytes == 0


def test_what_is_remembered_is_computed_once() -> None:
    store, calls = ByteCache(10_000), []
    for _ in range(3):
        value = store.remembered("key", lambda: calls.append(1) or [7], len)
        assert value == [7]
    assert len(calls) == 1
    store.clear()
    store.remembered("key", lambda: calls.append(1) or [7], len)
    assert len(calls) == 2


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 900), st.booleans()), max_size=60))
def test_the_budget_holds(steps: list[tuple[int, int, bool]]) -> None:
    store = ByteCache(3000)
    for key, n_bytes, is_new_round in steps:
        if is_new_round:
            store.begin_round()
        store.put(key, n_bytes, n_bytes=n_bytes)
        assert 0 <= store.n_bytes <= 3000
        kept = {other: store.get(other) for other in range(9)}
        assert store.n_bytes == sum(
            value + _ENTRY_BYTES for value in kept.values() if value is not None
        )


def test_threads_share_it() -> None:
    store = ByteCache(50 * SIZE)

    def work(start: int) -> None:
        for number in range(2000):
            key = (start + number) % 80
            found = store.get(key)
            assert found is None or found == key
            store.put(key, key, n_bytes=100)
            if not number % 50:
                store.begin_round()

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < store.n_bytes <= 50 * SIZE


def test_the_budget_of_the_process() -> None:
    before = cache.budget
    with cache_budget(123_456):
        assert cache.budget == 123_456
        assert set_cache_budget(200_000) == 123_456
    assert cache.budget == before
    with pytest.raises(ValueError, match="n_bytes must not be negative"):
        set_cache_budget(-1)
    with pytest.raises(TypeError, match="n_bytes must be an int"):
        set_cache_budget(1.5)  # type: ignore[arg-type]
    assert cache.budget == before


def test_unique_keys_differ() -> None:
    assert unique_key() != unique_key()
