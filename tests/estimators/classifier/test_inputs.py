"""Which texts, targets and parameters a classifier takes, and how it refuses others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from sktransfer import TransferTextClassifier

from .rows import LABELS, NEW_LABELS, NEW_TEXTS, TEXTS

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
    ("pair_encoder", "siamese"),
    ("symmetric", "yes"),
    ("missing", "drop"),
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
    ("prompt", 3),
    ("mixing_coefficient", 0),
    ("mixing_coefficient", 1.5),
    ("mixing_coefficient", "half"),
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


def test_an_empty_stream(make, fitted):
    with pytest.raises(ValueError, match="0 sample"):
        make().fit(iter([]), LABELS)
    assert fitted.predict(iter([])).shape == (0,)
    assert fitted.predict(iter([])).dtype == fitted.predict(NEW_TEXTS).dtype
    assert fitted.predict_proba(iter([])).shape == (0, len(fitted.classes_))
    with pytest.raises(ValueError, match="0 sample"):
        fitted.predict([])


def test_missing_texts(make):
    texts = [None, *TEXTS[1:]]
    classifier = make().set_params(missing="empty").fit(texts, LABELS)
    filled = make().fit(["", *TEXTS[1:]], LABELS)
    assert_array_equal(classifier.predict_proba([None]), filled.predict_proba([""]))


def test_a_frame_for_what_was_fitted_on_a_list(fitted):
    frame = pd.DataFrame({"text": NEW_TEXTS})
    assert_array_equal(fitted.predict_proba(frame), fitted.predict_proba(NEW_TEXTS))
