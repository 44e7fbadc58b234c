"""Parts of rows that are scored by themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sktransfer.inputs import EncodedRows, ScoredUnits, collate_rows
from sktransfer.training import pooled_features

from ..toys import letter_rows, toy_model

DEVICE = torch.device("cpu")
# Three rows of one, two and one windows.
TEXTS = ["abcd", "efghijklmnop", "qr"]


@pytest.fixture
def tokens() -> EncodedRows:
    """Two tokens of the first window, none of the second, one of each of the others."""
    rows = letter_rows(TEXTS, max_length=8)
    assert np.diff(rows.row_start).tolist() == [1, 2, 1]
    source = np.array([[0], [3], [9], [1]])
    return replace(rows, units=ScoredUnits(np.array([2, 0, 1, 1]), source, np.array([0, 3, 2, 1])))


@pytest.fixture
def windows() -> EncodedRows:
    """Every window a unit."""
    rows = letter_rows(TEXTS, max_length=8)
    return replace(
        rows, units=ScoredUnits(np.ones(4, dtype=np.int64), np.array([[0], [0], [1], [0]]))
    )


def test_rows_without_units_are_one_each():
    rows = letter_rows(TEXTS, max_length=8)
    assert rows.n_units.tolist() == [1, 1, 1]
    assert rows.unit_start.tolist() == [0, 1, 2, 3]


def test_units_follow_their_rows(tokens, windows):
    assert tokens.n_units.tolist() == [2, 1, 1]
    assert windows.n_units.tolist() == [1, 2, 1]
    taken = tokens.take(np.array([2, 0, 2]))
    assert taken.n_units.tolist() == [1, 2, 1]
    assert taken.units.source.ravel().tolist() == [1, 0, 3, 1]
    assert windows.take(np.array([1])).units.source.ravel().tolist() == [0, 1]


def test_a_batch_says_where_its_tokens_are(tokens):
    batch = collate_rows(tokens, np.array([1, 0]), pad_id=0)
    assert batch.window_index is None
    picked = batch.token_ids.flatten()[batch.unit_index]
    expected = [tokens.windows[2][2], tokens.windows[0][0], tokens.windows[0][3]]
    assert picked.tolist() == [int(token) for token in expected]


def test_all_windows_of_units_are_read(windows):
    batch = collate_rows(windows, np.array([1]), pad_id=0, max_windows=1)
    assert len(batch.token_ids) == 2


@pytest.mark.parametrize("form", ["tokens", "windows"])
def test_features_of_many_rows_are_those_of_each(form, request):
    rows = request.getfixturevalue(form)
    model = toy_model(n_layers=2)
    together = pooled_features(model, rows, 0, device=DEVICE, dtype=torch.float32)
    assert together.shape == (int(rows.n_units.sum()), 2, 8)
    for number in range(3):
        alone = collate_rows(rows, np.array([number]), pad_id=0)
        with torch.no_grad():
            features = model.features(alone)
        place = slice(*rows.unit_start[number : number + 2])
        torch.testing.assert_close(together[place], features)
    assert_array_equal(rows.unit_start, np.append(0, np.cumsum(rows.n_units)))
