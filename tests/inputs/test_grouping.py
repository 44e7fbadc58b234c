"""Groups of rows and windows that are computed together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sktransfer.inputs import epoch_batches, split_by_tokens
from sktransfer.inputs.grouping import split_by_width

lengths_arrays = st.lists(st.integers(0, 600), max_size=300).map(np.array)


@settings(deadline=None)
@given(lengths_arrays, st.integers(1, 40), st.integers(0, 2**32))
def test_epoch_holds_every_row_exactly_once(lengths, batch_size, seed):
    batches = epoch_batches(lengths, batch_size, np.random.default_rng(seed))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    again = epoch_batches(lengths, batch_size, np.random.default_rng(seed))
    assert all(np.array_equal(one, two) for one, two in zip(batches, again, strict=True))


def test_epoch_batches_waste_little_padding_and_differ_between_epochs():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 200, size=3000)
    first, second = epoch_batches(lengths, 16, rng), epoch_batches(lengths, 16, rng)
    padded = sum(len(batch) * lengths[batch].max() for batch in first)
    assert padded < 1.1 * lengths.sum()
    # Batches come in random order, not from short to long.
    longest = [lengths[batch].max() for batch in first]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3
    assert {frozenset(batch) for batch in first}.isdisjoint(map(frozenset, second))


def test_a_small_set_is_not_cut_alike_in_every_epoch():
    lengths = np.arange(20, 68)
    rng = np.random.default_rng(0)
    cuts = [{frozenset(batch) for batch in epoch_batches(lengths, 8, rng)} for _ in range(5)]
    assert all(one != two for one, two in pairwise(cuts))


def test_last_batches_share_their_rows_evenly():
    batches = epoch_batches(np.ones(17, dtype=int), 16, np.random.default_rng(0))
    assert sorted(map(len, batches)) == [8, 9]


@settings(deadline=None)
@given(lengths_arrays, st.integers(1, 5000))
def test_split_keeps_the_budget_and_restores_the_order(lengths, token_budget):
    groups = split_by_tokens(lengths, token_budget)
    for group in groups:
        padded = max(lengths[group].max(), 1)
        assert len(group) == 1 or len(group) * padded <= token_budget
    longest = [lengths[group].max() for group in groups]
    assert longest == sorted(longest, reverse=True)
    if groups:
        order = np.concatenate(groups)
        restored = np.empty_like(lengths)
        restored[order] = lengths[order]
        np.testing.assert_array_equal(restored, lengths)
        assert len(order) == len(lengths)
    else:
        assert len(lengths) == 0


@given(
    st.lists(st.integers(1, 70), min_size=1, max_size=40),
    st.sampled_from([1, 8]),
    st.integers(1, 200),
)
def test_groups_of_a_width(lengths: list[int], multiple: int, budget: int) -> None:
    array = np.array(lengths)
    groups = split_by_width(array, multiple, budget)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    for group in groups:
        widths = -(-array[group] // multiple) * multiple
        assert len(set(widths.tolist())) == 1
        assert len(set((array[group] == widths).tolist())) == 1
        assert len(group) == 1 or widths.sum() <= budget
