from __future__ import annotations

import numpy as np
import pytest
import torch

from sktransfer.inputs.batches import collate_rows, collate_windows
from sktransfer.nn import Head, pool_windows
from tests.toys import ToyEncoder, letter_rows, toy_model


def test_features_are_normalized() -> None:
    head = Head(3, 2, scale=7.0, dropout=0.5)
    features = torch.tensor([[[3.0, 0.0, 4.0]], [[0.0, 0.0, 0.0]]])
    seen = head.normalize(features)
    torch.testing.assert_close(seen, torch.tensor([[0.6, 0.0, 0.8], [0.0, 0.0, 0.0]]))


def test_head_averages_layers_of_unlike_norm_alike() -> None:
    head = Head(2, 2, scale=1.0, dropout=0.0)
    seen = head.normalize(torch.tensor([[[100.0, 0.0], [0.0, 0.01]]]))
    torch.testing.assert_close(seen, torch.tensor([[0.5, 0.5]]))


def test_set_weights() -> None:
    head = Head(2, 2, scale=4.0, dropout=0.0)
    head.set_weights(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0.5, -0.5]))
    scores = head(torch.tensor([[[1.0, 0.0]]]))
    torch.testing.assert_close(scores, torch.tensor([[1.5, -0.5]]))


@pytest.mark.parametrize(("comparison", "n_inputs"), [("ordered", 9), ("unordered", 7)])
def test_two_texts_are_compared(comparison: str, n_inputs: int) -> None:
    head = Head(4, 3, scale=1.0, dropout=0.0, comparison=comparison)
    assert (head.in_features, head.linear.in_features) == (4, n_inputs)
    features = torch.tensor([[[0.0, 2.0, 3.0, 4.0]]])
    seen = head.normalize(features)[0]
    compared = torch.tensor([3 * (0.8 - 0.5), 0.15, 0.05, 0.0, 0.8])
    texts = torch.tensor([0.0, 1.0, 0.6, 0.8])
    texts = 0.1 * (texts[:2] + texts[2:]) if comparison == "unordered" else 0.3 * texts
    torch.testing.assert_close(seen, torch.cat([compared, texts]))
    assert head(features).shape == (1, 3)


def test_texts_of_a_row_stay_side_by_side() -> None:
    vectors = torch.arange(24.0).view(4, 2, 1, 3)
    index = torch.tensor([[0, 1], [2, 3]])
    rows = pool_windows(vectors, torch.ones(4), index, "mean", role="text")
    torch.testing.assert_close(rows[1, 0], torch.cat([vectors[2, 0, 0], vectors[3, 0, 0]]))
    assert rows.shape == (2, 2, 6)


def test_window_by_window_equals_row_by_row() -> None:
    rows = letter_rows(["abc" * 11, "b", "hello world"], max_length=10)
    model = toy_model(ToyEncoder(), n_layers=2)
    at_once = model.features(collate_rows(rows, np.arange(3), 0))
    parts = [
        model.window_features(collate_windows(rows, np.array([window]), 0))
        for window in range(len(rows.windows))
    ]
    vectors, counts = (torch.cat(column) for column in zip(*parts, strict=True))
    for row in range(3):
        index = torch.arange(rows.row_start[row], rows.row_start[row + 1])[None]
        torch.testing.assert_close(pool_windows(vectors, counts, index, "mean")[0], at_once[row])
    torch.testing.assert_close(model(collate_rows(rows, np.arange(3), 0)), model.head(at_once))
