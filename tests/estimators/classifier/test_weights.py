"""Weights of rows and classes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from .rows import LABELS, LABELS_3, NEW_TEXTS, TEXTS, TEXTS_3


@pytest.mark.parametrize(
    "parameters", [{"max_epochs": 0}, {"max_epochs": 2}, {"early_stopping": True}]
)
def test_rows_of_weight_zero_are_not_there(make, parameters):
    weights = np.arange(40) % 3 != 0
    texts = [text for text, weight in zip(TEXTS, weights, strict=True) if weight]
    weighted = make(**parameters).fit(TEXTS, LABELS, sample_weight=weights.astype(float))
    dropped = make(**parameters).fit(texts, LABELS[weights])
    assert_array_equal(weighted.predict_proba(NEW_TEXTS), dropped.predict_proba(NEW_TEXTS))
    assert weighted.validation_scores_ == dropped.validation_scores_


def test_a_class_without_weight_disappears(make):
    weights = (LABELS_3 != "good").astype(int)
    classifier = make(max_epochs=0).fit(TEXTS_3, LABELS_3, sample_weight=weights)
    assert list(classifier.classes_) == ["bad", "money"]


@pytest.mark.parametrize("lexical_weight", [0.0, 0.3])
def test_weight_two_is_the_row_twice(make, lexical_weight):
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, size=40)
    rows = rng.permutation(np.repeat(np.arange(40), weights))
    parameters = {"max_epochs": 0, "lexical_weight": lexical_weight}
    weighted = make(**parameters).fit(TEXTS, LABELS, sample_weight=weights)
    repeated = make(**parameters).fit([TEXTS[row] for row in rows], LABELS[rows])
    assert_array_equal(weighted.predict_proba(NEW_TEXTS), repeated.predict_proba(NEW_TEXTS))


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_class_weight_is_weight_of_the_rows(make, max_epochs):
    # The TF-IDF model counts its terms by the weights of rows alone, so it stays out.
    parameters = {"max_epochs": max_epochs, "lexical_weight": 0.0}
    by_class = make(class_weight={"good": 3.0, "bad": 1.0}, **parameters).fit(TEXTS, LABELS)
    by_row = make(**parameters).fit(TEXTS, LABELS, sample_weight=np.where(LABELS == "good", 3, 1))
    assert_allclose(by_class.predict_proba(NEW_TEXTS), by_row.predict_proba(NEW_TEXTS), rtol=1e-6)


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_balanced_classes(make, max_epochs):
    rows = np.r_[np.flatnonzero(LABELS == "bad"), np.flatnonzero(LABELS == "good")[:3]]
    texts = [TEXTS[row] for row in rows]
    plain = make(max_epochs=max_epochs).fit(texts, LABELS[rows])
    balanced = make(max_epochs=max_epochs, class_weight="balanced").fit(texts, LABELS[rows])
    good = [model.predict_proba(NEW_TEXTS)[:, 1].mean() for model in (plain, balanced)]
    assert good[1] > good[0]


def test_class_weight_of_an_unknown_label_is_refused(make):
    with pytest.raises(ValueError, match="class_weight"):
        make(class_weight={"goood": 2.0, "baad": 3.0}).fit(TEXTS, LABELS)
