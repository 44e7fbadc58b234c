"""What a classifier predicts, its attributes and tags."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

from sktransfer import TransferTextClassifier

from ..._reviews import reviews
from .rows import LABELS, LABELS_3, NEW_LABELS, NEW_TEXTS, TEXTS, TEXTS_3


@pytest.mark.parametrize(
    "names",
    [
        np.array(["no", "yes"]),
        np.array(["no", "yes"], dtype=object),
        np.array([7, -3]),
        np.array([True, False]),
        np.array([1.0, 2.0]),
    ],
    ids=["str", "object", "int", "bool", "whole floats"],
)
def test_labels_of_any_kind_come_back_as_they_were(make, names):
    y = names[(LABELS == "good").astype(int)]
    classifier = make(max_epochs=0).fit(TEXTS, y)
    assert_array_equal(classifier.classes_, np.unique(names))
    predicted = classifier.predict(TEXTS)
    assert predicted.dtype == y.dtype
    assert np.mean(predicted == y) > 0.8


def test_labels_may_be_a_list_or_a_series(make):
    expected = make(max_epochs=0).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    for y in (LABELS.tolist(), pd.Series(LABELS), pd.Series(LABELS, dtype="category")):
        assert_array_equal(make(max_epochs=0).fit(TEXTS, y).predict_proba(NEW_TEXTS), expected)


def test_binary_outputs(fitted):
    probabilities = fitted.predict_proba(NEW_TEXTS)
    assert probabilities.shape == (30, 2)
    assert probabilities.dtype == np.float32
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    decision = fitted.decision_function(NEW_TEXTS)
    assert decision.shape == (30,)
    assert_array_equal(fitted.predict(NEW_TEXTS), fitted.classes_[(decision > 0).astype(int)])
    assert_allclose(1 / (1 + np.exp(-decision)), probabilities[:, 1], rtol=1e-4)
    assert_allclose(fitted.predict_log_proba(NEW_TEXTS), np.log(probabilities), atol=1e-5)
    assert fitted.score(NEW_TEXTS, NEW_LABELS) > 0.8


def test_multiclass_outputs(make):
    classifier = make().fit(TEXTS_3, LABELS_3)
    assert list(classifier.classes_) == ["bad", "good", "money"]
    texts, labels = reviews(30, n_classes=3, seed=1)
    probabilities = classifier.predict_proba(texts)
    assert probabilities.shape == classifier.decision_function(texts).shape == (30, 3)
    assert probabilities.dtype == np.float32
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert_array_equal(classifier.predict(texts), classifier.classes_[probabilities.argmax(axis=1)])
    assert classifier.score(texts, labels) > 0.8


def test_a_label_that_predict_never_meets_is_no_matter(fitted):
    only_good = [text for text, label in zip(NEW_TEXTS, NEW_LABELS, strict=True) if label == "good"]
    assert fitted.predict_proba(only_good).shape == (len(only_good), 2)
    assert fitted.score(only_good, np.full(len(only_good), "good")) > 0.8
    assert fitted.score(only_good, np.full(len(only_good), "never seen")) == 0


def test_fitted_attributes(fitted, make):
    assert fitted.n_features_in_ == 1
    assert not hasattr(fitted, "feature_names_in_")
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 2
    assert np.isfinite(fitted.loss_curve_).all()
    assert fitted.validation_scores_ == []
    assert fitted.best_epoch_ is None
    assert fitted.device_ == "cpu"
    again = make(encoder=fitted.encoder_, max_epochs=0).fit(TEXTS, LABELS)
    assert clone(again).encoder is again.encoder
    assert again.score(NEW_TEXTS, NEW_LABELS) > 0.8


def test_auto_epochs_make_many_of_few_rows(make):
    steady = make(max_epochs="auto", schedule="linear")
    few = clone(steady).fit(TEXTS[:8], LABELS[:8])
    more = clone(steady).fit(TEXTS * 3, np.tile(LABELS, 3))
    assert few.n_iter_ > more.n_iter_ > 0


def test_training_ends_when_nothing_more_is_learned(make):
    adaptive = make(max_epochs=24, schedule="adaptive").fit(TEXTS, LABELS)
    linear = make(max_epochs=24, schedule="linear").fit(TEXTS, LABELS)
    assert 3 <= adaptive.n_iter_ == len(adaptive.loss_curve_) < linear.n_iter_ == 24
    assert adaptive.score(NEW_TEXTS, NEW_LABELS) == linear.score(NEW_TEXTS, NEW_LABELS)


def test_tags():
    tags = get_tags(TransferTextClassifier())
    assert is_classifier(TransferTextClassifier())
    assert tags.input_tags.string
    assert tags.input_tags.one_d_array
    assert not tags.input_tags.two_d_array
    assert tags.target_tags.required
    assert tags.classifier_tags.multi_class
    assert tags.classifier_tags.multi_label


def test_init_only_assigns():
    encoder, memory = object(), object()
    classifier = TransferTextClassifier(encoder, memory=memory, C="no number")
    assert classifier.encoder is encoder
    assert classifier.memory is memory
    assert set(vars(classifier)) == set(classifier.get_params())


def test_unfitted_says_so(make):
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(make(), method)(TEXTS)
