from __future__ import annotations

import numpy as np
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
