from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sktransfer.fitting.data import LabeledTexts
from sktransfer.training import EncodedDataset
from tests.toys import letter_rows

TEXTS = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=20)


def dataset(texts: list[str], targets: torch.Tensor) -> EncodedDataset:
    weights = np.ones(len(texts))
    return EncodedDataset(texts, letter_rows(texts, max_length=8), targets, weights, weights, 0)


@given(TEXTS, st.data())
def test_merged_copies_keep_all_weight_in_one_order(texts: list[str], data: st.DataObject) -> None:
    n = len(texts)
    targets = torch.tensor(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    weights = np.array(data.draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)), dtype=float)
    order = np.array(data.draw(st.permutations(range(n))))
    members, merged = dataset(texts, targets).merge_copies(weights)
    keys = [(texts[i], int(targets[i])) for i in members]
    assert keys == sorted(set(zip(texts, targets.tolist(), strict=True)))
    assert merged.sum() == weights.sum()
    others = dataset([texts[i] for i in order], targets[order])
    shuffled, again = others.merge_copies(weights[order])
    assert [(texts[i], int(targets[i])) for i in order[shuffled]] == keys
    np.testing.assert_array_equal(again, merged)


def test_take_keeps_rows_together() -> None:
    rows = LabeledTexts(["a", "b", "c"], np.array([1, 2, 3]), np.array([0.5, 1.0, 2.0]))
    taken = rows.take(np.array([2, 0]))
    assert taken.texts == ["c", "a"]
    assert taken.y.tolist() == [3, 1]
    assert taken.weights.tolist() == [2.0, 0.5]


def test_a_label_text_weighs_as_the_rows_of_its_class() -> None:
    rows = LabeledTexts(["a", "b", "c"], np.array(["x", "x", "y"]), np.array([1.0, 2.0, 4.0]))
    longer = rows.with_label_texts({"x": "ex", "y": "why"})
    assert longer.texts == ["a", "b", "c", *["ex", "why"] * 2]
    assert longer.y.tolist() == ["x", "x", "y", *["x", "y"] * 2]
    assert longer.weights.tolist() == [1.0, 2.0, 4.0, *[1.5, 4.0] * 2]
    copies = LabeledTexts(["a", "b", "b", "c"], np.array(["x", "x", "x", "y"]), np.ones(4))
    assert copies.with_label_texts({"x": "ex"}).weights[-1] == 1.5
    assert rows.with_label_texts({}) is rows
