"""Batches: every row once, the budget kept, the order restored, padding where no token is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sktransfer.inputs import (
    EncodedRows,
    collate_rows,
    collate_windows,
)

PAD = 99


def make_rows(window_lengths, n_prefix=0, n_suffix=0):
    """Rows of windows with the given lengths; ids count up, all content is pooled."""
    flat = [length for row in window_lengths for length in row]
    stops = np.cumsum([0, *flat])
    return EncodedRows(
        windows=[np.arange(a, b, dtype=np.int32) for a, b in pairwise(stops)],
        pool_start=np.full(len(flat), n_prefix, dtype=np.int32),
        pool_stop=np.array(flat, dtype=np.int32) - n_suffix,
        row_start=np.cumsum([0, *map(len, window_lengths)]),
        n_prefix=n_prefix,
        n_suffix=n_suffix,
    )


window_lengths_lists = st.lists(
    st.lists(st.integers(1, 20), min_size=1, max_size=5), min_size=1, max_size=8
)


@settings(deadline=None)
@given(window_lengths_lists, st.data())
def test_collate_rows_holds_the_tokens_of_the_asked_rows(window_lengths, data):
    row_ids = data.draw(st.lists(st.integers(0, len(window_lengths) - 1), min_size=1, max_size=6))
    rows = make_rows(window_lengths)
    batch = collate_rows(rows, np.array(row_ids), PAD)
    assert batch.token_ids.dtype == torch.int64
    assert batch.pool_mask.dtype == torch.bool
    assert batch.token_ids.shape == batch.attention_mask.shape == batch.pool_mask.shape
    assert len(batch.window_index) == len(row_ids)
    seen = []
    for row, places in zip(row_ids, batch.window_index.tolist(), strict=True):
        places = [place for place in places if place >= 0]
        own = rows.windows[rows.row_start[row] : rows.row_start[row + 1]]
        for place, window in zip(places, own, strict=True):
            attended = batch.attention_mask[place] == 1
            assert batch.token_ids[place][attended].tolist() == window.tolist()
            assert (batch.token_ids[place][~attended] == PAD).all()
        seen += places
    assert sorted(seen) == list(range(len(batch.token_ids)))


@settings(deadline=None)
@given(window_lengths_lists, st.integers(1, 4), st.integers(0, 1000))
def test_collate_rows_draws_windows_in_their_order(window_lengths, max_windows, seed):
    rows = make_rows(window_lengths)
    row_ids = np.arange(len(rows))
    for rng in (np.random.default_rng(seed), None):
        batch = collate_rows(rows, row_ids, PAD, max_windows=max_windows, rng=rng)
        for row, places in enumerate(batch.window_index.tolist()):
            places = [place for place in places if place >= 0]
            assert len(places) == min(max_windows, len(window_lengths[row]))
            # Ids count up through a row, so windows in order have rising first ids.
            firsts = batch.token_ids[places, 0].tolist()
            assert firsts == sorted(set(firsts))
            own = rows.windows[rows.row_start[row] : rows.row_start[row + 1]]
            assert set(firsts) <= {window[0] for window in own}


def test_pool_mask_holds_the_pooled_content_and_the_special_tokens():
    rows = EncodedRows(
        windows=[np.arange(6, dtype=np.int32), np.arange(5, dtype=np.int32)],
        pool_start=np.array([1, 2], dtype=np.int32),
        pool_stop=np.array([4, 4], dtype=np.int32),
        row_start=np.array([0, 2]),
        n_prefix=1,
        n_suffix=1,
    )
    batch = collate_rows(rows, np.array([0]), PAD)
    assert batch.pool_mask.int().tolist() == [[1, 1, 1, 1, 0, 1], [1, 0, 1, 1, 1, 0]]
    assert batch.window_index.tolist() == [[0, 1]]


def test_collate_windows_makes_each_window_a_row():
    rows = make_rows([[3, 9], [1]])
    batch = collate_windows(rows, np.array([2, 1]), PAD)
    assert batch.window_index.tolist() == [[0], [1]]
    assert batch.attention_mask.sum(dim=1).tolist() == [1, 9]
    assert batch.token_ids.shape == (2, 9)


def test_width_is_rounded_up_to_the_multiple():
    rows = make_rows([[2, 5], [8]])
    exact = collate_rows(rows, np.array([0, 1]), PAD)
    wide = collate_rows(rows, np.array([0, 1]), PAD, multiple=3)
    length = exact.token_ids.shape[1]
    assert wide.token_ids.shape[1] == -(-length // 3) * 3 > length
    for name in ("token_ids", "attention_mask", "pool_mask"):
        torch.testing.assert_close(getattr(wide, name)[:, :length], getattr(exact, name))
    assert (wide.token_ids[:, length:] == PAD).all()
    assert not wide.attention_mask[:, length:].any()
    assert not wide.pool_mask[:, length:].any()
    windows = collate_windows(rows, np.array([0, 1, 2]), PAD, multiple=3)
    torch.testing.assert_close(windows.token_ids, wide.token_ids)


def test_nothing_to_collate():
    batch = collate_rows(make_rows([[2]]), np.empty(0, dtype=int), PAD)
    assert batch.token_ids.shape == (0, 1)
    assert len(batch.window_index) == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_batch_moves_whole(device):
    batch = collate_rows(make_rows([[2, 3]]), np.array([0]), PAD).to(device)
    tensors = (batch.token_ids, batch.attention_mask, batch.pool_mask, batch.window_index)
    assert {tensor.device.type for tensor in tensors} == {device}
