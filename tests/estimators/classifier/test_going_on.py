"""Warm start and `partial_fit`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from .rows import LABELS, LABELS_3, NEW_LABELS, NEW_TEXTS, TEXTS, TEXTS_3


def test_warm_start_goes_on(make):
    classifier = make(head_init="random", max_epochs=5, warm_start=True, learning_rate=3e-3)
    classifier.fit(TEXTS, LABELS)
    first, weights = classifier.loss_curve_, classifier.model_.head.linear.weight
    classifier.fit(TEXTS, LABELS)
    assert classifier.loss_curve_[0] < first[0]
    assert classifier.model_.head.linear.weight is not weights
    cold = clone(classifier).set_params(warm_start=False).fit(TEXTS, LABELS)
    assert_allclose(cold.loss_curve_, first)


def test_warm_start_refuses_new_classes(make):
    classifier = make(warm_start=True).fit(TEXTS, LABELS)
    before = classifier.predict_proba(NEW_TEXTS)
    with pytest.raises(ValueError, match=r"warm_start.*money"):
        classifier.fit(TEXTS_3, LABELS_3)
    assert_array_equal(classifier.predict_proba(NEW_TEXTS), before)


def test_warm_start_with_fewer_classes_keeps_them_all(make):
    classifier = make(warm_start=True).fit(TEXTS_3, LABELS_3)
    classifier.fit(TEXTS, LABELS)
    assert list(classifier.classes_) == ["bad", "good", "money"]
    assert classifier.predict_proba(TEXTS).shape == (40, 3)


def test_without_epochs_a_warm_start_solves_the_head_for_the_new_rows(make):
    parameters = {"max_epochs": 0, "lexical_weight": 0, "label_texts": None}
    classifier = make(warm_start=True, **parameters).fit(TEXTS[:20], LABELS[::-1][:20])
    classifier.fit(TEXTS, LABELS)
    anew = make(**parameters).fit(TEXTS, LABELS)
    assert_allclose(classifier.predict_proba(TEXTS), anew.predict_proba(TEXTS), atol=1e-6)
    three = make(warm_start=True, **parameters).fit(TEXTS_3, LABELS_3).fit(TEXTS, LABELS)
    assert three.predict_proba(TEXTS).shape == (40, 3)
    assert three.score(TEXTS, LABELS) > 0.9


def test_partial_fit_learns_batch_by_batch(make):
    classifier = make()
    classes = ["money", "good", "bad"]
    for start in [0, 16, 32] * 4:
        batch = slice(start, start + 16)
        assert (
            classifier.partial_fit(TEXTS_3[batch], LABELS_3[batch], classes=classes) is classifier
        )
    assert list(classifier.classes_) == ["bad", "good", "money"]
    assert classifier.score(TEXTS_3, LABELS_3) > 0.7


def test_partial_fit_keeps_the_rate(make, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def noted(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    make(batch_size=2).partial_fit(TEXTS, LABELS, classes=["bad", "good"])
    assert rates == [3e-4] * 20


def test_partial_fit_wants_the_classes_first(make):
    with pytest.raises(ValueError, match="classes"):
        make().partial_fit(TEXTS, LABELS)
    classifier = make().partial_fit(TEXTS, LABELS, classes=["bad", "good", "money"])
    assert classifier.predict_proba(TEXTS).shape == (40, 3)
    assert "money" not in classifier.predict(TEXTS)
    classifier.partial_fit(TEXTS_3, LABELS_3)
    with pytest.raises(ValueError, match="classes"):
        classifier.partial_fit(TEXTS, LABELS, classes=["bad", "good"])
    with pytest.raises(ValueError, match=r"never seen.*row 39"):
        classifier.partial_fit(TEXTS, [*LABELS[:-1], "never seen"])


def test_partial_fit_takes_a_batch_of_one_class(make):
    good = [text for text, label in zip(TEXTS, LABELS, strict=True) if label == "good"]
    classifier = make().partial_fit(good, ["good"] * len(good), classes=["bad", "good"])
    assert set(classifier.predict(TEXTS)) <= {"bad", "good"}


def test_partial_fit_goes_on_from_fit(make):
    classifier = make().fit(TEXTS, LABELS)
    before = classifier.predict_proba(NEW_TEXTS)
    classifier.partial_fit(TEXTS, LABELS)
    assert not np.array_equal(classifier.predict_proba(NEW_TEXTS), before)
    assert classifier.score(NEW_TEXTS, NEW_LABELS) > 0.8


def test_partial_fit_with_weights(make):
    weights = (np.arange(40) % 2).astype(float)
    odd = make().partial_fit(TEXTS[1::2], LABELS[1::2], classes=["bad", "good"])
    weighted = make().partial_fit(TEXTS, LABELS, classes=["bad", "good"], sample_weight=weights)
    assert_array_equal(weighted.predict_proba(TEXTS), odd.predict_proba(TEXTS))
