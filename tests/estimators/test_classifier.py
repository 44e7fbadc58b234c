"""What TransferTextClassifier promises, on tiny encoders; a few tests on the real default."""

from __future__ import annotations

import logging
import os
import pickle
import random
import signal
import threading
from importlib.util import find_spec

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

from sktransfer import TransferTextClassifier
from sktransfer.encoders import resolve_encoder

from .._reviews import reviews
from .._rounding import assert_same_numbers

TEXTS, LABELS = reviews(40)
NEW_TEXTS, NEW_LABELS = reviews(30, seed=1)
TEXTS_3, LABELS_3 = reviews(48, n_classes=3)


# What suits the tiny encoder; the defaults, tuned on real ones, may move without these tests.
TINY = {
    "pooling_layers": 3,
    "batch_size": 16,
    "label_texts": None,
    "learning_rate": 3e-4,
    "max_epochs": 2,
    "device": "cpu",
    "random_state": 0,
}


@pytest.fixture
def make(tiny_encoder):
    """Classifier on the tiny encoder, two epochs unless told otherwise."""

    def build(**parameters) -> TransferTextClassifier:
        return TransferTextClassifier(**{"encoder": tiny_encoder, **TINY, **parameters})

    return build


@pytest.fixture(scope="module")
def fitted(tiny_encoder):
    """A fitted classifier that no test changes."""
    return TransferTextClassifier(tiny_encoder, **TINY).fit(TEXTS, LABELS)


def changed_parts(classifier) -> dict[str, bool]:
    """Whether fine-tuning moved the embeddings and each layer, from the input side."""
    fresh, _ = resolve_encoder(classifier.encoder).load()
    tuned = classifier.model_.encoder

    def moved(before, after) -> bool:
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        return any(not torch.equal(old, new) for old, new in pairs)

    parts = {"embeddings": (fresh.embedding_modules(), tuned.embedding_modules())}
    parts |= {
        f"layer {number}": ([old], [new])
        for number, (old, new) in enumerate(zip(fresh.layers(), tuned.layers(), strict=True))
    }
    return {
        name: any(moved(old, new) for old, new in zip(before, after, strict=True))
        for name, (before, after) in parts.items()
    }


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
    few = make(max_epochs="auto").fit(TEXTS[:8], LABELS[:8])
    more = make(max_epochs="auto").fit(TEXTS * 3, np.tile(LABELS, 3))
    assert few.n_iter_ > more.n_iter_ > 0


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


CONTAINERS = {
    "tuple": tuple,
    "generator": lambda texts: (text for text in texts),
    "numpy str": np.array,
    "numpy object": lambda texts: np.array(texts, dtype=object),
    "numpy column": lambda texts: np.array(texts, dtype=object).reshape(-1, 1),
    "np.str_": lambda texts: [np.str_(text) for text in texts],
    "pandas": pd.Series,
    "pandas object": lambda texts: pd.Series(texts, dtype=object),
    "pandas category": lambda texts: pd.Series(texts, dtype="category"),
    "pandas shuffled index": lambda texts: pd.Series(texts, index=range(len(texts), 0, -1)),
    "pandas frame": lambda texts: pd.DataFrame({"text": texts}),
    "polars": lambda texts: pl.Series("text", texts),
    "polars frame": lambda texts: pl.DataFrame({"text": texts}),
    "pyarrow": pa.array,
    "pyarrow chunked": lambda texts: pa.chunked_array([texts[:3], texts[3:]]),
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_every_container_gives_what_a_list_gives(make, fitted, container):
    classifier = make().fit(container(TEXTS), LABELS)
    assert_array_equal(
        classifier.predict_proba(container(NEW_TEXTS)), fitted.predict_proba(NEW_TEXTS)
    )


def test_a_frame_lends_its_column_name(make):
    frame = pd.DataFrame({"review": TEXTS})
    classifier = make(max_epochs=0).fit(frame, LABELS)
    assert list(classifier.feature_names_in_) == ["review"]
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame.rename(columns={"review": "title"}))
    # Fitting on something else must not be measured by the old name.
    classifier.fit(TEXTS, LABELS, X_val=NEW_TEXTS, y_val=NEW_LABELS)
    assert not hasattr(classifier, "feature_names_in_")


def test_strange_texts_have_predictions(fitted):
    texts = ["", " ", "\n\t", "…", "日本語", "\U0001f600", "\x00", "good" * 500, "[SEP] [PAD]", "a"]
    probabilities = fitted.predict_proba(texts)
    assert probabilities.shape == (len(texts), 2)
    assert np.isfinite(probabilities).all()


def test_empty_texts_can_be_trained_on(make):
    classifier = make().fit([*TEXTS, "", ""], [*LABELS, "good", "bad"])
    assert np.isfinite(classifier.predict_proba([""])).all()


BAD_TEXTS = {
    "none": ([*TEXTS[:5], None, *TEXTS[6:]], ValueError, "[Rr]ow 5"),
    "nan": ([*TEXTS[:5], float("nan"), *TEXTS[6:]], ValueError, "[Rr]ow 5"),
    "pandas missing": (
        pd.Series([*TEXTS[:5], None, *TEXTS[6:]], dtype="string"),
        ValueError,
        "[Rr]ow 5",
    ),
    "polars null": (pl.Series([*TEXTS[:5], None, *TEXTS[6:]]), ValueError, "[Rr]ow 5"),
    "arrow null": (pa.array([*TEXTS[:5], None, *TEXTS[6:]]), ValueError, "[Rr]ow 5"),
    "bytes": ([*TEXTS[:5], b"good", *TEXTS[6:]], TypeError, "[Rr]ow 5.*decode"),
    "number": ([*TEXTS[:5], 3, *TEXTS[6:]], TypeError, "[Rr]ow 5"),
    "numbers": (np.arange(40.0), (TypeError, ValueError), "text"),
    "ragged": ([*TEXTS[:5], ["good"], *TEXTS[6:]], ValueError, "[Rr]ow 5"),
    "surrogate": ([*TEXTS[:5], "\ud800", *TEXTS[6:]], ValueError, "[Rr]ow 5"),
    "one string": ("good", ValueError, "list"),
    "one bytes": (b"good", ValueError, "list"),
    "a dict": ({"text": TEXTS}, TypeError, "dict"),
    "a set": (set(TEXTS), TypeError, "set"),
    "nothing": ([], ValueError, "0 sample"),
    "empty generator": ((text for text in ()), ValueError, "0 sample"),
    "scalar array": (np.array("good"), ValueError, "list"),
    "no columns": (np.empty((40, 0), dtype=object), ValueError, "0 feature"),
    "three dimensions": (np.array(TEXTS).reshape(-1, 1, 1), ValueError, "dim"),
    "None": (None, (TypeError, ValueError), "X"),
    "a number": (3, (TypeError, ValueError), "X"),
}


@pytest.mark.parametrize(("X", "error", "match"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_bad_texts_are_refused_by_name(make, fitted, X, error, match):
    with pytest.raises(error, match=match):
        make().fit(X, LABELS)
    if hasattr(X, "columns"):
        fitted = make(max_epochs=0).fit(pl.DataFrame({"title": TEXTS}), LABELS)
        match = "feature names"  # scikit-learn's own check comes first
    with pytest.raises(error, match=match):
        fitted.predict(X)


BAD_TARGETS = {
    "none": (None, "requires y"),
    "too short": (LABELS[:-1], "inconsistent"),
    "one class": (np.full(40, "good"), "class"),
    "numbers with nan": ([float("nan"), *range(2), *[0] * 37], "y.*row 0"),
    "infinite": ([float("inf"), *range(2), *[0] * 37], "y"),
    "missing label": ([*LABELS[:7], None, *LABELS[8:]], "y.*row 7"),
    "nan among words": ([*LABELS[:7], float("nan"), *LABELS[8:]], "y.*row 7"),
    "missing pandas label": (pd.Series([*LABELS[:7], None, *LABELS[8:]]), "y.*row 7"),
    "missing nullable label": (
        pd.Series([*LABELS[:7], None, *LABELS[8:]], dtype="string"),
        "y.*row 7",
    ),
    "continuous": (np.linspace(0, 1, 40), "continuous"),
    "two columns": (np.full((40, 2), 3), "y has 2 columns and must be 0 or 1"),
    "mixed kinds": (np.array(["good", 3] * 20, dtype=object), "y|'<' not supported"),
    "scalar": (3, "y"),
}


@pytest.mark.parametrize(("y", "match"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_bad_targets_are_refused(make, y, match):
    with pytest.raises((TypeError, ValueError), match=match):
        make().fit(TEXTS, y)


BAD_WEIGHTS = {
    "negative": (np.r_[-1.0, np.ones(39)], "[Nn]egative"),
    "nan": (np.r_[np.nan, np.ones(39)], "NaN"),
    "infinite": (np.r_[np.inf, np.ones(39)], "infinity"),
    "too short": (np.ones(39), "sample_weight"),
    "two columns": (np.ones((40, 2)), "1D"),
    "words": (["heavy"] * 40, "heavy"),
    "all zero": (np.zeros(40), "[Ww]eight.*zero"),
    "one class left": ((LABELS == "good").astype(float), "class"),
}


@pytest.mark.parametrize(("sample_weight", "match"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_weights_are_refused(make, sample_weight, match):
    with pytest.raises(ValueError, match=match):
        make().fit(TEXTS, LABELS, sample_weight=sample_weight)


def test_bad_validation_rows_are_refused(make):
    with pytest.raises(ValueError, match="X_val and y_val"):
        make().fit(TEXTS, LABELS, X_val=NEW_TEXTS)
    with pytest.raises(ValueError, match="X_val and y_val"):
        make().fit(TEXTS, LABELS, y_val=NEW_LABELS)
    with pytest.raises(ValueError, match="inconsistent"):
        make().fit(TEXTS, LABELS, X_val=NEW_TEXTS, y_val=NEW_LABELS[1:])
    with pytest.raises(ValueError, match="X_val"):
        make().fit(TEXTS, LABELS, X_val=[None, "good"], y_val=["bad", "good"])
    with pytest.raises(ValueError, match="never seen"):
        make().fit(TEXTS, LABELS, X_val=["good"], y_val=["never seen"])


BAD_PARAMETERS = [
    ("encoder", 3),
    ("encoder", None),
    ("pooling", "median"),
    ("pooling_layers", 0),
    ("max_length", 0),
    ("max_length", 12.5),
    ("long_texts", "drop"),
    ("symmetric", "yes"),
    ("trainable_layers", -1),
    ("trainable_layers", "top"),
    ("gradual_unfreezing", "yes"),
    ("head_init", "zeros"),
    ("head_refit", "yes"),
    ("C", 0),
    ("max_epochs", -1),
    ("max_epochs", 1.5),
    ("max_epochs", "many"),
    ("batch_size", 0),
    ("batch_size", "all"),
    ("learning_rate", 0),
    ("learning_rate", -1e-4),
    ("layer_decay", 0),
    ("layer_decay", 1.5),
    ("weight_decay", -0.1),
    ("contrastive_weight", -0.1),
    ("schedule", "exponential"),
    ("warmup_fraction", 1),
    ("warmup_fraction", -0.1),
    ("adapt_epochs", -1),
    ("lm_weight", -0.1),
    ("lexical_weight", -0.1),
    ("lexical_weight", 1.1),
    ("label_texts", "words"),
    ("label_texts", ["bad", "good"]),
    ("class_weight", "heavy"),
    ("class_weight", [1, 2]),
    ("early_stopping", "yes"),
    ("validation_fraction", 0),
    ("validation_fraction", 1),
    ("n_iter_no_change", 0),
    ("warm_start", "yes"),
    ("memory", 3),
    ("device", "abacus"),
    ("device", 0),
    ("device", "cuda:99"),
    ("precision", "float8"),
    ("random_state", "seed"),
    ("verbose", -1),
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_bad_parameters_are_refused_by_name(make, name, value):
    with pytest.raises(ValueError, match=name):
        make(**{name: value}).fit(TEXTS, LABELS)
    classifier = make(**{name: value})
    with pytest.raises(ValueError, match=name):
        classifier.partial_fit(TEXTS, LABELS, classes=["bad", "good"])


def test_every_parameter_is_checked():
    assert set(TransferTextClassifier._parameter_constraints) >= set(
        TransferTextClassifier().get_params()
    )
    assert set(TransferTextClassifier().get_params()) == {name for name, _ in BAD_PARAMETERS}


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


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max", "concat"])
def test_poolings(make, pooling):
    classifier = make(pooling=pooling, lexical_weight=0.0, max_epochs=3).fit(TEXTS, LABELS)
    width = classifier.model_.head.linear.in_features
    assert width == (3 * 32 if pooling == "concat" else 32)
    assert classifier.score(TEXTS, LABELS) > 0.7


def test_poolings_of_a_decoder(make, tiny_decoder):
    classifier = make(encoder=tiny_decoder, pooling="last").fit(TEXTS, LABELS)
    assert classifier.score(TEXTS, LABELS) > 0.7


@pytest.mark.parametrize("schedule", ["linear", "slanted_triangular", "cosine", "constant"])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.5])
def test_schedules(make, schedule, warmup_fraction):
    classifier = make(
        head_init="random",
        learning_rate=3e-3,
        schedule=schedule,
        warmup_fraction=warmup_fraction,
        max_epochs=5,
    ).fit(TEXTS, LABELS)
    assert classifier.loss_curve_[-1] < classifier.loss_curve_[0]


@pytest.mark.parametrize(
    ("trainable_layers", "expected"),
    [
        (None, {"embeddings": False, "layer 0": True, "layer 1": True}),
        ("all", {"embeddings": True, "layer 0": True, "layer 1": True}),
        (0, {"embeddings": False, "layer 0": False, "layer 1": False}),
        (1, {"embeddings": False, "layer 0": False, "layer 1": True}),
        (99, {"embeddings": False, "layer 0": True, "layer 1": True}),
    ],
)
@pytest.mark.parametrize("gradual_unfreezing", [False, True])
def test_trainable_layers(make, trainable_layers, expected, gradual_unfreezing):
    classifier = make(
        trainable_layers=trainable_layers,
        gradual_unfreezing=gradual_unfreezing,
        max_epochs=3,
        warmup_fraction=0.0,
    )
    assert changed_parts(classifier.fit(TEXTS, LABELS)) == expected


def test_gradual_unfreezing_starts_at_the_top(make):
    classifier = make(
        gradual_unfreezing=True, max_epochs=2, early_stopping=True, n_iter_no_change=1
    )
    # Perfect from the first epoch on: the second, in which the lower layer trains, is undone.
    classifier.fit(TEXTS, LABELS, X_val=["perfect best", "awful terrible"], y_val=["good", "bad"])
    assert classifier.best_epoch_ == 1
    assert changed_parts(classifier) == {"embeddings": False, "layer 0": False, "layer 1": True}


def test_random_head(make):
    probe = make(max_epochs=0, lexical_weight=0.0).fit(TEXTS, LABELS)
    untrained = make(max_epochs=0, lexical_weight=0.0, head_init="random").fit(TEXTS, LABELS)
    trained = make(max_epochs=20, lexical_weight=0.0, head_init="random", learning_rate=5e-3).fit(
        TEXTS, LABELS
    )
    assert probe.score(TEXTS, LABELS) > 0.8
    assert untrained.score(TEXTS, LABELS) < 0.8
    assert trained.score(TEXTS, LABELS) > 0.8


def test_a_frozen_encoder_with_a_probe_needs_no_epochs(make):
    classifier = make(trainable_layers=0, max_epochs="auto").fit(TEXTS, LABELS)
    assert classifier.n_iter_ == 0
    assert classifier.loss_curve_ == []
    assert classifier.score(TEXTS, LABELS) > 0.8


@pytest.mark.skipif(find_spec("wordllama") is None, reason="wordllama is not installed")
def test_an_encoder_without_layers_needs_no_epochs(make):
    table = make(encoder="wordllama", max_epochs="auto")
    assert table.fit(TEXTS, LABELS).n_iter_ == 0
    assert table.set_params(trainable_layers="all").fit(TEXTS, LABELS).n_iter_ > 0


def test_lexical_weight(make):
    models = [make(lexical_weight=weight).fit(TEXTS, LABELS) for weight in (0.0, 0.5, 1.0)]
    assert models[0].lexical_ is None
    none, half, full = (model.decision_function(NEW_TEXTS) for model in models)
    assert not np.array_equal(none, full)
    assert_allclose(half, (none + full) / 2, rtol=1e-4, atol=1e-5)


def test_a_label_text_is_two_more_rows_of_its_class(make):
    parameters = {"max_epochs": 0, "lexical_weight": 0.3}
    read = make(label_texts="auto", **parameters).fit(TEXTS, LABELS)
    rows = [*TEXTS, *["bad", "good"] * 2], [*LABELS, *["bad", "good"] * 2]
    written = make(label_texts=None, **parameters).fit(*rows)
    assert_array_equal(read.predict_proba(NEW_TEXTS), written.predict_proba(NEW_TEXTS))
    unread = make(label_texts=None, **parameters).fit(TEXTS, LABELS)
    assert not np.array_equal(read.predict_proba(NEW_TEXTS), unread.predict_proba(NEW_TEXTS))


def test_label_texts_of_codes(make):
    codes = (LABELS == "good").astype(int)
    plain, silent, told = (
        make(max_epochs=0, label_texts=label_texts).fit(TEXTS, codes).predict_proba(NEW_TEXTS)
        for label_texts in ("auto", None, {0: "bad", 1: "good", 2: "in no fold"})
    )
    assert_array_equal(plain, silent)
    words = make(max_epochs=0, label_texts="auto").fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    assert_array_equal(told, words)


@pytest.mark.parametrize(
    ("label_texts", "error", "message"),
    [
        ({"good": 3}, TypeError, r"label_texts\['good'\] must be a string, got 3"),
        ({"nice": "nice"}, ValueError, "label_texts has none of the labels of y"),
    ],
)
def test_wrong_label_texts_are_refused(make, label_texts, error, message):
    classifier = make(label_texts=label_texts)
    with pytest.raises(error, match=message):
        classifier.fit(TEXTS, LABELS)
    assert not hasattr(classifier, "model_")


def test_head_refit(make):
    parameters = {"lexical_weight": 0.0, "learning_rate": 1e-3, "max_epochs": 3}
    refitted, trained = (
        make(head_refit=refit, **parameters).fit(TEXTS, LABELS) for refit in (True, False)
    )
    for model in (refitted, trained):
        assert model.score(NEW_TEXTS, NEW_LABELS) > 0.8
    pairs = zip(
        refitted.model_.encoder.parameters(), trained.model_.encoder.parameters(), strict=True
    )
    assert all(torch.equal(one, other) for one, other in pairs)
    weights = [model.model_.head.linear.weight for model in (refitted, trained)]
    assert not torch.equal(*weights)


def test_contrastive_weight(make):
    plain = make(contrastive_weight=0.0).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    contrastive = make(contrastive_weight=1.0).fit(TEXTS, LABELS)
    assert not np.array_equal(contrastive.predict_proba(NEW_TEXTS), plain)
    assert contrastive.score(NEW_TEXTS, NEW_LABELS) > 0.8
    # One row of each class, and one class alone, leave nothing to pull together or apart.
    make(batch_size=2).fit(["good best", "bad worst"], ["good", "bad"])
    make().partial_fit(["good best", "best"], ["good", "good"], classes=["bad", "good"])


def test_layer_decay_slows_the_lower_layers(make):
    fresh, _ = resolve_encoder(make().encoder).load()

    def distance(layer_decay: float) -> float:
        classifier = make(layer_decay=layer_decay).fit(TEXTS, LABELS)
        pairs = zip(
            fresh.layers()[0].parameters(),
            classifier.model_.encoder.layers()[0].parameters(),
            strict=True,
        )
        return sum(float((old - new).detach().abs().sum()) for old, new in pairs)

    assert distance(0.1) < distance(1.0) / 2


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_precisions_agree(make, precision):
    expected = make(precision="float32").fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    classifier = make(precision=precision).fit(TEXTS, LABELS)
    assert classifier.predict_proba(NEW_TEXTS).dtype == np.float32
    assert_allclose(classifier.predict_proba(NEW_TEXTS), expected, atol=0.05)


def test_batch_size_beyond_the_rows(make):
    assert make(batch_size=1000).fit(TEXTS, LABELS).n_iter_ == 2
    assert make(batch_size=1, max_epochs=1).fit(TEXTS[:8], LABELS[:8]).n_iter_ == 1


def test_early_stopping_on_a_part_of_the_rows(make):
    classifier = make(early_stopping=True, max_epochs=30, n_iter_no_change=2)
    classifier.fit(TEXTS, LABELS)
    assert classifier.n_iter_ == len(classifier.validation_scores_) < 30
    assert classifier.n_iter_ == classifier.best_epoch_ + 2
    best = classifier.validation_scores_[classifier.best_epoch_ - 1]
    assert best == max(classifier.validation_scores_)


def noisy_validation():
    """Rows whose labels are chance, so that the score wanders from epoch to epoch."""
    rng = np.random.default_rng(3)
    return reviews(60, seed=9)[0], rng.choice(["bad", "good"], 60)


@pytest.mark.parametrize("gradual_unfreezing", [False, True])
def test_early_stopping_keeps_the_best_epoch(make, gradual_unfreezing):
    X_val, y_val = noisy_validation()
    classifier = make(
        early_stopping=True,
        gradual_unfreezing=gradual_unfreezing,
        max_epochs=8,
        n_iter_no_change=8,
        learning_rate=1e-3,
        lexical_weight=0.0,
        head_refit=False,  # the scores are of the head as the epochs left it
        precision="float32",
    ).fit(TEXTS, LABELS, X_val=X_val, y_val=y_val)
    scores = classifier.validation_scores_
    assert len(set(scores)) > 1
    assert classifier.best_epoch_ == 1 + int(np.argmax(scores))
    assert classifier.score(X_val, y_val) == pytest.approx(max(scores))


def test_validation_rows_without_early_stopping_are_only_watched(make):
    plain = make().fit(TEXTS, LABELS)
    watched = make().fit(TEXTS, LABELS, X_val=NEW_TEXTS, y_val=NEW_LABELS)
    assert len(watched.validation_scores_) == 2
    assert_array_equal(watched.predict_proba(NEW_TEXTS), plain.predict_proba(NEW_TEXTS))


def test_too_few_rows_to_hold_out(make):
    with pytest.raises(ValueError, match="validation_fraction"):
        make(early_stopping=True).fit(TEXTS[:6], LABELS[:6])


def press_ctrl_c(monkeypatch, at_step: int) -> None:
    """Send this process SIGINT, as the terminal does, within the given optimizer step."""
    step, count = torch.optim.AdamW.step, 0

    def counted(self, *args, **kwargs):
        nonlocal count
        count += 1
        if count == at_step:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)


def test_ctrl_c_keeps_what_there_is(make, monkeypatch):
    classifier = make(max_epochs=10)
    press_ctrl_c(monkeypatch, at_step=8)  # 3 steps an epoch
    with pytest.raises(KeyboardInterrupt, match=r"epoch 3 of 10: .* with the weights so far"):
        classifier.fit(TEXTS, LABELS)
    assert classifier.n_iter_ == 2
    assert classifier.score(NEW_TEXTS, NEW_LABELS) > 0.8
    assert not any(module.training for module in classifier.model_.modules())


def test_ctrl_c_in_the_first_epoch_keeps_the_probe_or_better(make, monkeypatch):
    classifier = make(max_epochs=10)
    press_ctrl_c(monkeypatch, at_step=1)
    with pytest.raises(KeyboardInterrupt, match="epoch 1 of 10"):
        classifier.fit(TEXTS, LABELS)
    assert classifier.n_iter_ == 0
    assert classifier.score(NEW_TEXTS, NEW_LABELS) > 0.8


@pytest.mark.parametrize("early_stopping", [True, False])
def test_ctrl_c_goes_back_to_the_best_weights(make, monkeypatch, early_stopping):
    X_val, y_val = noisy_validation()
    classifier = make(
        early_stopping=early_stopping,
        max_epochs=20,
        n_iter_no_change=20,
        learning_rate=1e-3,
        lexical_weight=0.0,
        head_refit=False,  # the scores are of the head as the epochs left it
        precision="float32",
    )
    press_ctrl_c(monkeypatch, at_step=3 * 8 + 2)
    with pytest.raises(KeyboardInterrupt, match="best weights"):
        classifier.fit(TEXTS, LABELS, X_val=X_val, y_val=y_val)
    assert len(classifier.validation_scores_) == 8
    assert classifier.score(X_val, y_val) == pytest.approx(max(classifier.validation_scores_))


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


def test_the_seed_decides(make, fitted):
    again = make().fit(TEXTS, LABELS)
    assert_array_equal(again.predict_proba(NEW_TEXTS), fitted.predict_proba(NEW_TEXTS))
    other = make(random_state=1).fit(TEXTS, LABELS)
    assert not np.array_equal(other.predict_proba(NEW_TEXTS), fitted.predict_proba(NEW_TEXTS))
    unseeded = [make(random_state=None).fit(TEXTS, LABELS) for _ in range(2)]
    first, second = (model.predict_proba(NEW_TEXTS) for model in unseeded)
    assert not np.array_equal(first, second)


def test_a_random_state_instance_moves_on(make):
    state = np.random.RandomState(0)
    first = make(random_state=state).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    second = make(random_state=state).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("random_state", [0, None])
def test_the_world_stays_as_it_was(make, random_state, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def world():
        loggers = [logging.getLogger(), *map(logging.getLogger, ("transformers", "sktransfer"))]
        return {
            "torch": torch.get_rng_state().tolist(),
            "numpy": str(np.random.get_state()),
            "random": random.getstate(),
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "files": os.listdir(),
            "loggers": [(logger.level, list(logger.handlers)) for logger in loggers],
            "dtype": torch.get_default_dtype(),
            "gradients": torch.is_grad_enabled(),
            "threads": torch.get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "interrupt": signal.getsignal(signal.SIGINT),
            "python threads": threading.active_count(),
        }

    make(random_state=random_state).fit(TEXTS[:8], LABELS[:8])  # lazy imports are done with
    before = world()
    capfd.readouterr()
    classifier = make(random_state=random_state, early_stopping=True)
    classifier.fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    classifier.partial_fit(TEXTS, LABELS)
    assert world() == before
    assert capfd.readouterr() == ("", "")


def test_verbose_reports_epochs_on_stderr(make, capfd):
    make(verbose=1).fit(TEXTS, LABELS, X_val=NEW_TEXTS, y_val=NEW_LABELS)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("epoch") == 2
    assert "loss" in err
    assert "validation" in err


def test_predict_changes_nothing(fitted):
    before = set(vars(fitted))
    state = {name: value.clone() for name, value in fitted.model_.state_dict().items()}
    fitted.predict_proba(NEW_TEXTS)
    assert set(vars(fitted)) == before
    assert all(
        torch.equal(state[name], value) for name, value in fitted.model_.state_dict().items()
    )


def test_fit_does_not_write_into_its_input(make):
    X, y = np.array(TEXTS, dtype=object), LABELS.copy()
    weights = np.arange(40.0)
    for array in (X, y, weights):
        array.setflags(write=False)
    make(early_stopping=True).fit(X, y, sample_weight=weights)


def test_a_loss_beyond_numbers_stops_the_fit(make):
    classifier = make(
        learning_rate=1e30, precision="float32", warmup_fraction=0.0, schedule="constant"
    )
    with pytest.raises(FloatingPointError, match="learning_rate"):
        classifier.fit(TEXTS, LABELS)
    assert not hasattr(classifier, "model_")
    with pytest.raises(NotFittedError):
        classifier.predict(TEXTS)


def test_a_failed_fit_leaves_the_fitted_estimator_alone(make, monkeypatch):
    classifier = make().fit(TEXTS, LABELS)
    before, attributes = classifier.predict_proba(NEW_TEXTS), dict(vars(classifier))
    with pytest.raises(ValueError, match="row 0"):
        classifier.fit(TEXTS_3, [None, *LABELS_3[1:]])
    with pytest.raises(ValueError, match=r"[Rr]ow 1"):
        classifier.fit(pd.DataFrame({"text": ["good", None]}), ["good", "bad"])
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", lambda self, *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            classifier.fit(TEXTS_3, LABELS_3)
        with pytest.raises(ZeroDivisionError):
            classifier.partial_fit(TEXTS, LABELS)
        with pytest.raises(ZeroDivisionError):
            classifier.set_params(warm_start=True).fit(TEXTS, LABELS)
    classifier.set_params(warm_start=False)
    assert_array_equal(classifier.predict_proba(NEW_TEXTS), before)
    assert dict(vars(classifier)) == attributes


LONG_FILLER = "the movie was and with a story it actor scene in time " * 8


@pytest.fixture(scope="module")
def long_reviews():
    """Reviews whose verdict is their last words, far behind the first window."""
    return [LONG_FILLER + text for text in TEXTS]


def test_windows_read_a_long_text_to_its_end(make, long_reviews):
    parameters = {"max_length": 16, "lexical_weight": 0.0, "max_epochs": 0}
    ends = [LONG_FILLER + "excellent wonderful", LONG_FILLER + "awful terrible"]
    windows = make(long_texts="window", **parameters).fit(TEXTS, LABELS).predict_proba(ends)
    assert windows[0, 1] > windows[1, 1]
    with pytest.warns(UserWarning, match="16 tokens"):
        cut = make(long_texts="truncate", **parameters).fit(TEXTS, LABELS).predict_proba(ends)
    assert_same_numbers(cut[0], cut[1])


def test_the_warning_names_the_length_that_cut(make, fitted):
    limit = fitted.model_.encoder.max_length
    cut = make(long_texts="truncate", max_length=10 * limit, max_epochs=0)
    with pytest.warns(UserWarning, match=f"^1 texts .* max_length={limit} tokens"):
        cut.fit([*TEXTS[:-1], "good film " * limit], LABELS)


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_windows_are_trained_on(make, long_reviews, max_epochs):
    classifier = make(max_length=32, max_epochs=max_epochs).fit(long_reviews, LABELS)
    assert classifier.score(long_reviews, LABELS) > 0.8


def test_truncation_warns_once_with_the_count(make):
    classifier = make(long_texts="truncate", max_length=16, early_stopping=True)
    texts = [LONG_FILLER if row in (3, 7) else text for row, text in enumerate(TEXTS)]
    with pytest.warns(UserWarning, match=r"^2 texts are longer than .*16 tokens") as record:
        classifier.fit(texts, LABELS)
    assert len(record) == 1
    with pytest.warns(UserWarning, match="^2 texts are longer") as record:
        classifier.predict([*NEW_TEXTS, LONG_FILLER, LONG_FILLER + "good"])
    assert len(record) == 1
    with pytest.warns(UserWarning, match="^2 texts are longer"):
        classifier.predict([LONG_FILLER, *NEW_TEXTS, LONG_FILLER])


def test_short_texts_do_not_care_how_long_ones_are_read(make):
    cut, windows = (
        make(long_texts=long_texts).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
        for long_texts in ("truncate", "window")
    )
    assert_array_equal(cut, windows)


def test_max_length_beyond_the_encoder_is_the_encoders(make, long_reviews):
    # The tiny encoder has 128 positions.
    classifier = make(max_length=100_000, max_epochs=1).fit(long_reviews, LABELS)
    assert np.isfinite(classifier.predict_proba([LONG_FILLER * 20])).all()


@pytest.mark.parametrize("max_length", [16, 256])
def test_a_score_does_not_depend_on_the_texts_beside_it(fitted, max_length):
    model = clone(fitted).set_params(max_length=max_length).fit(TEXTS, LABELS)
    texts = [*NEW_TEXTS, "", LONG_FILLER, LONG_FILLER * 5, "good"]
    together = model.decision_function(texts)
    alone = np.concatenate([model.decision_function([text]) for text in texts])
    assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    assert_allclose(model.decision_function(texts[::-1])[::-1], together, rtol=1e-4, atol=1e-5)
    assert_array_equal(model.decision_function(texts * 2), np.tile(together, 2))


def test_many_texts_come_back_in_their_order(fitted):
    texts, labels = reviews(3000, seed=5, n_fillers=3)
    order = np.random.default_rng(0).permutation(3000)
    probabilities = fitted.predict_proba(texts)
    shuffled = fitted.predict_proba([texts[row] for row in order])
    assert_allclose(shuffled, probabilities[order], rtol=1e-4, atol=1e-6)
    assert np.mean(fitted.predict(texts) == labels) > 0.8


SENTENCES = [
    ("the striker scored twice in the second half", "sport"),
    ("our goalkeeper saved a penalty", "sport"),
    ("the team won the league title", "sport"),
    ("he ran the marathon in record time", "sport"),
    ("simmer the onions in butter until soft", "food"),
    ("whisk the eggs with a little sugar", "food"),
    ("roast the chicken for an hour", "food"),
    ("season the soup with salt and pepper", "food"),
]
OTHER_WORDS = [
    ("tennis final went to five sets", "sport"),
    ("late equaliser silenced that crowd", "sport"),
    ("knead dough, then let it rest", "food"),
    ("slice tomatoes, drizzle olive oil", "food"),
]


@pytest.mark.parametrize("max_epochs", [0, "auto"])
def test_default_encoder_understands_words_it_was_not_shown(minilm, max_epochs):
    classifier = TransferTextClassifier(minilm, max_epochs=max_epochs, device="cpu", random_state=0)
    classifier.fit(*zip(*SENTENCES, strict=True))
    texts, labels = zip(*OTHER_WORDS, strict=True)
    assert classifier.score(texts, labels) == 1.0


@pytest.mark.parametrize(
    ("labels", "are_read"),
    [(("negative", "positive"), True), (("ham", "spam"), True), (("DESC", "ENTY"), False)],
)
def test_labels_are_read_if_the_encoder_knows_them(minilm, labels, are_read):
    y = np.where(LABELS == "good", *labels)
    read, unread = (
        TransferTextClassifier(
            minilm, max_epochs=0, device="cpu", random_state=0, label_texts=label_texts
        )
        .fit(TEXTS, y)
        .predict_proba(NEW_TEXTS)
        for label_texts in ("auto", None)
    )
    assert np.array_equal(read, unread) is not are_read


def test_default_encoder_does_not_mix_up_a_batch(minilm):
    texts, labels = zip(*SENTENCES, strict=True)
    classifier = TransferTextClassifier(minilm, max_epochs=1, device="cpu", random_state=0)
    classifier.fit(texts, labels)
    batch = [*texts, "", "very long " * 400]
    alone = np.concatenate([classifier.predict_proba([text]) for text in batch])
    assert_allclose(classifier.predict_proba(batch), alone, rtol=1e-4)


def test_default_encoder_is_saved_once(minilm):
    texts, labels = zip(*SENTENCES, strict=True)
    classifier = TransferTextClassifier(minilm, max_epochs=0, device="cpu").fit(texts, labels)
    # 22.7 million float32 weights make 91 MB.
    assert len(pickle.dumps(classifier)) < 100e6
