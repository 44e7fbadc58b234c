"""TransferChoiceClassifier: which of several texts goes with a context."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score

from sktransfer import TransferChoiceClassifier
from sktransfer.fitting.context import new_model
from sktransfer.training import loop as loop_module

from .._reviews import reviews


def questions(n_rows: int, *, n_choices: int = 3, seed: int = 0, missing: bool = False):
    """Contexts and choices, of which the right one praises and the others complain."""
    rng = np.random.default_rng(seed)
    texts, labels = reviews(2 * n_rows * n_choices, seed=seed)
    good, bad = (list(np.array(texts)[labels == label]) for label in ("good", "bad"))
    y = np.resize(np.arange(n_choices), n_rows)
    X = np.empty((n_rows, 1 + n_choices), dtype=object)
    for row, right in enumerate(y):
        X[row, 0] = "which film do they love ?"
        X[row, 1:] = [good.pop() if choice == right else bad.pop() for choice in range(n_choices)]
        if missing and row % 2:
            X[row, 1 + rng.choice(np.delete(np.arange(n_choices), right))] = None
    return X, y


X, Y = questions(30)
X_TEST, Y_TEST = questions(24, seed=1, missing=True)


@pytest.fixture
def make(tiny_encoder):
    def build(**parameters) -> TransferChoiceClassifier:
        settings = {"max_epochs": 2, "device": "cpu", "random_state": 0}
        return TransferChoiceClassifier(tiny_encoder, **{**settings, **parameters})

    return build


@pytest.mark.parametrize("max_epochs", [0, 4])
def test_fit_and_predict(make, max_epochs):
    model = make(max_epochs=max_epochs).fit(X, Y)
    assert model.score(X, Y) > 0.9
    assert model.score(X_TEST, Y_TEST) > 0.8
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.n_features_in_ == 4
    assert model.n_iter_ == max_epochs
    assert model.predict(X_TEST).dtype.kind == "i"


def test_missing_choices_have_no_probability(make):
    model = make().fit(X, Y)
    missing = pd.isna(X_TEST[:, 1:])
    probabilities, scores = model.predict_proba(X_TEST), model.decision_function(X_TEST)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == scores.shape == (24, 3)
    assert_array_equal(probabilities == 0, missing)
    assert_array_equal(np.isneginf(scores), missing)
    assert_array_equal(np.isneginf(model.predict_log_proba(X_TEST)), missing)
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert_array_equal(probabilities.argmax(axis=1), model.predict(X_TEST))
    # The others are as if the missing one had never been a column.
    left = [[text for text in row if text is not None] for row in X_TEST[:, :]]
    kept = [row for row, gone in zip(left, missing.any(axis=1), strict=True) if gone]
    part = model.predict_proba([*kept, X[0]])[:-1]
    expected = probabilities[missing.any(axis=1)]
    assert_allclose(np.sort(part, axis=1), np.sort(expected, axis=1), atol=1e-6)


def test_of_one_choice_it_is_certain(make):
    model = make(max_epochs=0).fit(X, Y)
    probabilities = model.predict_proba([X[0], ["which ?", None, "bad", None]])
    assert probabilities[1].tolist() == [0, 1, 0]
    alone = make().fit([["a", "b"], ["c", "d"]], [0, 0])
    assert alone.predict([["e", "f"]]).tolist() == [0]


def test_an_empty_text_is_a_choice(make):
    model = make(max_epochs=0).fit(X, Y)
    probabilities = model.predict_proba([["", "", "bad", None]])
    assert (probabilities[0, :2] > 0).all()


def test_fitting_with_missing_choices(make):
    model = make(max_epochs=4).fit(X_TEST, Y_TEST)
    assert model.score(X, Y) > 0.8
    assert np.isfinite(model.loss_curve_).all()


def test_two_choices_have_one_decision(make):
    pairs, y = questions(20, n_choices=2)
    model = make(max_epochs=0).fit(pairs, y)
    decision = model.decision_function(pairs)
    assert decision.shape == (20,)
    assert_array_equal(decision > 0, model.predict(pairs) == 1)
    scores = cross_val_score(model, pairs, y, cv=2, scoring="roc_auc")
    assert scores.min() > 0.8


def test_containers_agree(make):
    model = make(max_epochs=0).fit(pd.DataFrame(X, columns=list("qabc")), list(Y))
    assert list(model.feature_names_in_) == list("qabc")
    expected = make(max_epochs=0).fit(X, Y).predict_proba(X_TEST)
    frame = pd.DataFrame(X_TEST, columns=list("qabc"))
    assert_array_equal(model.predict_proba(frame), expected)
    assert_array_equal(model.predict_proba(pl.from_pandas(frame)), expected)
    plain = make(max_epochs=0).fit(X.tolist(), Y.astype(float))
    ragged = [[*row[:3], *([] if row[3] is None else [row[3]])] for row in X_TEST.tolist()]
    assert_array_equal(plain.predict_proba(ragged), expected)


@pytest.mark.parametrize(
    ("rows", "y", "message"),
    [
        (X[:2], [0, 3], "y has 3 in row 1, but its choices are numbered from 0 to 2"),
        (X[:2], [0, -1], "y has -1 in row 1"),
        ([X[0], ["q", "a", None, "c"]], [0, 1], "y has 1 in row 1, but this choice is missing"),
        (X[:2], [0, 0.5], r"got 0\.5 in row 1"),
        (X[:2], [0, np.nan], "got nan in row 1"),
        (X[:2], [0, None], "got None in row 1"),
        (X[:2], ["0", "b"], "got '0' in row 0"),
        (X[:2], [[0, 1], [1, 0]], "should be a 1d array"),
        (X[:2], [0], "inconsistent numbers of samples"),
        (X[:2], None, "requires y to be passed"),
        ([X[0], ["q", None, None, None]], [0, 0], "Row 1 of X has no choice"),
        (["a", "b"], [0, 0], "X has one column"),
    ],
)
def test_bad_rows_are_named_and_change_nothing(make, rows, y, message):
    model = make(max_epochs=0).fit(X, Y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(rows, y)
    assert vars(model) == before
    if y is not None:
        with pytest.raises(ValueError, match=r"[Xy]_val"):
            model.fit(X, Y, X_val=rows, y_val=y)
        assert vars(model) == before


def test_the_row_is_named_as_it_was_given(make):
    with pytest.raises(ValueError, match="y has 7 in row 2"):
        make().fit(X[:3], [0, 1, 7], sample_weight=[0, 1, 1])


def test_columns_are_those_of_fit(make):
    with pytest.raises(NotFittedError):
        make().predict(X)
    model = make(max_epochs=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"3 features, but .* 4 features"):
        model.predict(X[:, :3])


def test_copies_of_the_estimator(make):
    model = make().fit(X, Y)
    expected = model.predict_proba(X_TEST)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X_TEST), expected)
    again = clone(model)
    assert not hasattr(again, "model_")
    assert_array_equal(again.fit(X, Y).predict_proba(X_TEST), expected)


def test_scorers_and_searches(make):
    for scoring in ("accuracy", "neg_log_loss"):
        scores = cross_val_score(make(max_epochs=0), X, Y, cv=3, scoring=scoring)
        assert np.isfinite(scores).all()
    frame = pd.DataFrame(X_TEST)
    search = GridSearchCV(make(), {"max_epochs": [0, 1]}, cv=2, error_score="raise")
    assert search.fit(frame, Y_TEST).best_score_ > 0.6
    assert log_loss(Y_TEST, search.predict_proba(frame)) < np.log(3)


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_a_row_of_weight_zero_is_not_there(make, max_epochs):
    weights = np.where(np.arange(30) % 3, 1.0, 0.0)
    weighted = make(max_epochs=max_epochs).fit(X, Y, sample_weight=weights)
    kept = make(max_epochs=max_epochs).fit(X[weights > 0], Y[weights > 0])
    assert_array_equal(weighted.predict_proba(X_TEST), kept.predict_proba(X_TEST))


def test_a_weight_is_copies_and_the_order_of_rows_does_not_matter_to_the_probe(make):
    weights = np.where(np.arange(30) % 4, 1.0, 2.0)
    expected = make(max_epochs=0).fit(X, Y, sample_weight=weights).predict_proba(X_TEST)
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(30), weights.astype(int)))
    copies = make(max_epochs=0).fit(X[rows], Y[rows])
    assert_allclose(copies.predict_proba(X_TEST), expected, atol=1e-5)


def test_predictions_do_not_depend_on_other_rows(make):
    model = make().fit(X, Y)
    together = model.predict_proba(X_TEST)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(24), 2))
    assert_allclose(model.predict_proba(X_TEST[order]), together[order], rtol=1e-4, atol=1e-6)
    one = model.predict_proba(X_TEST[5:6])
    assert_allclose(one, together[5:6], rtol=1e-4, atol=1e-6)


def test_the_order_of_choices_does_not_matter(make):
    model = make().fit(X, Y)
    turned = X_TEST[:, [0, 2, 3, 1]]
    expected = model.predict_proba(X_TEST)[:, [1, 2, 0]]
    assert_allclose(model.predict_proba(turned), expected, rtol=1e-4, atol=1e-6)


def test_the_context_counts(make):
    model = make(max_epochs=0).fit(X, Y)
    other = X_TEST.copy()
    other[:, 0] = "stock market price"
    assert not np.allclose(model.predict_proba(other), model.predict_proba(X_TEST))


def test_early_stopping(make):
    held_out = make(early_stopping=True, validation_fraction=0.3, max_epochs=3).fit(X, Y)
    given = make(early_stopping=True, max_epochs=3).fit(X, Y, X_val=X_TEST, y_val=Y_TEST)
    watched = make(max_epochs=2).fit(X, Y, X_val=X_TEST, y_val=Y_TEST)
    for model in (held_out, given, watched):
        assert len(model.validation_scores_) == model.n_iter_
    assert max(given.validation_scores_) == pytest.approx(given.score(X_TEST, Y_TEST))
    with pytest.raises(ValueError, match=r"y_val has 9 in row 0"):
        make().fit(X, Y, X_val=X_TEST, y_val=np.full(24, 9))


def test_warm_start_goes_on(make):
    model = make(warm_start=True, max_epochs=1).fit(X, Y)
    first = model.predict_proba(X_TEST)
    model.fit(X, Y)
    assert not np.array_equal(first, model.predict_proba(X_TEST))
    # One score a choice, however many choices there are.
    pairs, y = questions(12, n_choices=2)
    assert model.fit(pairs, y).classes_.tolist() == [0, 1]


def test_long_pairs_are_cut_with_a_warning(make):
    long = X.copy()
    long[3, 0] = "good film " * 200
    with pytest.warns(UserWarning, match=r"^3 choices .* max_length=32 .* were cut\.$"):
        model = make(max_length=32, max_epochs=0).fit(long, Y)
    with pytest.warns(UserWarning, match="were cut"):
        assert np.isfinite(model.predict_proba(long)).all()


def without_dropout(*arguments):
    """Parts of a batch would draw masks of their own."""
    model = new_model(*arguments)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def test_a_row_is_never_split_over_parts_of_a_batch(tiny_encoder, monkeypatch):
    settings = {"precision": "float32", "max_epochs": 2, "device": "cpu", "random_state": 0}
    monkeypatch.setattr("sktransfer.fitting.context.new_model", without_dropout)
    whole = TransferChoiceClassifier(tiny_encoder, **settings).fit(X, Y)
    monkeypatch.setattr(loop_module, "token_budget", lambda device, training: 8)
    cut = TransferChoiceClassifier(tiny_encoder, **settings).fit(X, Y)
    assert_allclose(cut.loss_curve_, whole.loss_curve_, rtol=1e-4)
    assert_allclose(cut.predict_proba(X_TEST), whole.predict_proba(X_TEST), atol=1e-3)


def test_minilm_tells_what_fits_the_context(minilm):
    good = [
        "wonderful",
        "brilliant",
        "delightful",
        "superb",
        "great",
        "excellent",
        "lovely",
        "fantastic",
    ]
    bad = ["awful", "boring", "dreadful", "dull", "horrible", "terrible", "bad", "poor"]
    praise, blame = "I recommend it to everyone.", "I want my money back."
    rows, y = [], []
    for number, words in enumerate(zip(good, bad, strict=True)):
        for word, right, wrong in zip(words, (praise, blame), (blame, praise), strict=True):
            rows.append([f"The film was {word}.", *np.roll([right, wrong], number)])
            y.append(number % 2)
    model = TransferChoiceClassifier(minilm, max_epochs=12, device="cpu", random_state=0)
    model.fit(rows[:12], y[:12])
    assert model.score(rows[12:], y[12:]) == 1.0
