"""The token classifier from outside: words in, tags out."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from seqeval.metrics import f1_score
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate

from sktransfer import TransferTokenClassifier

from .._sentences import sentences

X, Y = sentences(40)
X_TEST, Y_TEST = sentences(20, seed=1)
CLASSES = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]


@pytest.fixture(scope="module")
def make(tiny_encoder):
    def build(encoder=tiny_encoder, **parameters) -> TransferTokenClassifier:
        settings = {"max_epochs": 0, "device": "cpu", "random_state": 0}
        return TransferTokenClassifier(encoder, **{**settings, **parameters})

    return build


@pytest.fixture(scope="module")
def tagger(make):
    return make().fit(X, Y)


def assert_same_probabilities(left, right, **tolerance):
    for one, other in zip(left, right, strict=True):
        assert_allclose(one, other, **{"rtol": 1e-4, "atol": 1e-5, **tolerance})


@pytest.mark.parametrize("max_epochs", [0, 3])
def test_round_trip(make, max_epochs):
    tagger = make(max_epochs=max_epochs).fit(X, Y)
    assert tagger.classes_.tolist() == CLASSES
    assert tagger.n_features_in_ == 1
    assert len(tagger.loss_curve_) == max_epochs
    predicted = tagger.predict(X_TEST)
    assert list(map(len, predicted)) == list(map(len, X_TEST))
    assert {type(tag) for tags in predicted for tag in tags} == {str}
    assert tagger.score(X_TEST, Y_TEST) == pytest.approx(f1_score(Y_TEST, predicted))
    assert tagger.score(X_TEST, Y_TEST) > 0.7


def test_probabilities(tagger):
    probabilities = tagger.predict_proba(X_TEST)
    assert [p.shape for p in probabilities] == [(len(words), 5) for words in X_TEST]
    assert {p.dtype for p in probabilities} == {np.dtype(np.float32)}
    assert_allclose(np.concatenate(probabilities).sum(axis=1), 1, rtol=1e-5)
    likeliest = [tagger.classes_[p.argmax(axis=1)].tolist() for p in probabilities]
    assert likeliest == tagger.predict(X_TEST)


def test_decoders_work_too(make, tiny_decoder):
    tagger = make(tiny_decoder).fit(X, Y)
    assert list(map(len, tagger.predict(X_TEST))) == list(map(len, X_TEST))


def test_words_are_read_in_context(make, minilm):
    words = [["I", "saw", "Turkey"], ["Turkey", "and", "cheese", "sandwiches"]]
    first, second = make(minilm).fit(X, Y).predict_proba(words)
    assert not np.allclose(first[2], second[0], atol=1e-3)


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_the_default_encoder_finds_new_names(make, minilm, max_epochs):
    people, places = ["Anna", "Peter", "Maria", "John"], ["Paris", "London", "Berlin", "Rome"]
    rows = [[p, "lives", "in", "sunny", c, "."] for p in people for c in places]
    rows += [[c, "is", "where", "we", "met", p, "."] for p in people for c in places]
    tags = [["B-PER", "O", "O", "O", "B-LOC", "O"]] * 16
    tags += [["B-LOC", "O", "O", "O", "O", "B-PER", "O"]] * 16
    tagger = make(minilm, max_epochs=max_epochs).fit(rows, tags)
    new = [["In", "Madrid", ",", "Susan", "was", "happy"], ["David", "left", "Vienna"]]
    wanted = [["O", "B-LOC", "O", "B-PER", "O", "O"], ["B-PER", "O", "B-LOC"]]
    assert tagger.score(new, wanted) > 0.7


@pytest.mark.parametrize("convert", [pd.Series, pl.Series, iter])
def test_containers_agree(make, tagger, convert):
    other = make().fit(convert(X), convert(Y))
    assert_same_probabilities(other.predict_proba(convert(X_TEST)), tagger.predict_proba(X_TEST))
    assert other.predict(convert(X_TEST)) == tagger.predict(X_TEST)


def test_tags_may_be_numbers_and_are_counted_by_word(make):
    numbers = [[CLASSES.index(tag) for tag in tags] for tags in Y]
    tagger = make().fit(X, numbers)
    assert tagger.classes_.tolist() == [0, 1, 2, 3, 4]
    predicted = tagger.predict(X)
    right = np.concatenate(predicted) == np.concatenate(numbers)
    assert tagger.score(X, numbers) == pytest.approx(right.mean())
    assert {type(tag) for tags in predicted for tag in tags} == {int}


def test_tags_beyond_those_of_fit_count_in_the_score(tagger):
    true = [[tag.replace("LOC", "CITY") for tag in tags] for tags in Y_TEST]
    assert tagger.score(X_TEST, true) == pytest.approx(f1_score(true, tagger.predict(X_TEST)))


def test_score_has_weights(tagger):
    X_more = [["the", "city"], ["the", "city"]]
    true = [tagger.predict(X_more)[0], ["B-PER", "I-PER"]]
    assert tagger.score(X_more, true, sample_weight=[1, 0]) == 1.0
    assert tagger.score(X_more, true, sample_weight=[0, 1]) == 0.0
    with pytest.raises(ValueError, match="sample_weight must be a 1D array of 2"):
        tagger.score(X_more, true, sample_weight=[1])


@pytest.mark.parametrize("max_epochs", [0, 1])
def test_long_rows_are_read_in_windows(make, max_epochs):
    long_rows, long_tags = [sum(X, [])], [sum(Y, [])]  # noqa: RUF017
    tagger = make(max_epochs=max_epochs, max_length=16).fit([*X, *long_rows], [*Y, *long_tags])
    assert list(map(len, tagger.predict(long_rows))) == [len(long_rows[0])]
    assert tagger.score(long_rows, long_tags) > 0.7


def test_words_of_any_kind_get_a_tag(tagger):
    rows = [["", "city"], ["\x00"], ["New York", "a\nb", " "], ["x" * 500, "😀"]]
    assert list(map(len, tagger.predict(rows))) == [2, 1, 3, 2]


BAD_ROWS = [
    ([["a"], ["b", None]], ValueError, "Word 1 of row 1 of X is missing"),
    (["a b"], ValueError, "Row 0 of X is of type str"),
    ([["a", 3]], TypeError, "Word 1 of row 0 of X is of type int"),
]


@pytest.mark.parametrize(("bad", "error", "message"), BAD_ROWS)
def test_bad_rows_are_named(make, tagger, bad, error, message):
    with pytest.raises(error, match=message):
        tagger.predict(bad)
    with pytest.raises(error, match=message):
        make().fit(bad, [["O"]] * len(bad))


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (Y[:-1], ValueError, "inconsistent numbers of samples"),
        ([*Y[:-1], [*Y[-1], "O"]], ValueError, "Row 39 has . words, but . tags in y"),
        ([*Y[:-1], [None] * len(Y[-1])], ValueError, "Tag 0 of row 39 of y is missing"),
        ([["O"] * len(tags) for tags in Y], ValueError, "greater than one; got 1 class in y"),
        (None, ValueError, "requires y to be passed"),
        (["O"] * 40, ValueError, "Row 0 of y is of type str"),
    ],
)
def test_bad_tags_are_named_and_leave_the_estimator_as_it_was(tagger, y, error, message):
    before = tagger.predict_proba(X_TEST)
    with pytest.raises(error, match=message):
        tagger.fit(X, y)
    assert_same_probabilities(tagger.predict_proba(X_TEST), before, rtol=0, atol=0)


def test_rows_are_named_before_those_of_weight_zero_are_dropped(make):
    weights = np.r_[0.0, np.ones(39)]
    with pytest.raises(ValueError, match="Row 39 has"):
        make().fit(X, [*Y[:-1], [*Y[-1], "O"]], sample_weight=weights)


def test_validation_rows_are_checked(make):
    tagger = make(max_epochs=1)
    with pytest.raises(ValueError, match="y_val has the tag 'B-ORG' in row 1, word 0"):
        tagger.fit(X, Y, X_val=[["a"], ["b"]], y_val=[["O"], ["B-ORG"]])
    with pytest.raises(ValueError, match="Row 1 has 1 words, but 2 tags in y_val"):
        tagger.fit(X, Y, X_val=[["a"], ["b"]], y_val=[["O"], ["O", "O"]])
    with pytest.raises(ValueError, match=r"X_val and y_val: .*inconsistent"):
        tagger.fit(X, Y, X_val=[["a"], ["b"]], y_val=[["O"]])
    assert not hasattr(tagger, "model_")


def test_unfitted(make):
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(make(), method)(X)
    with pytest.raises(NotFittedError):
        make().score(X, Y)


def test_parts_of_many_rows_are_as_the_whole(tagger, monkeypatch):
    X, _ = sentences(12, seed=3)
    whole = tagger.predict_proba(X)
    monkeypatch.setattr("sktransfer.fitting.predictor._MAX_UNITS", 9)
    for left, right in zip(tagger.predict_proba(X), whole, strict=True):
        assert_allclose(left, right, atol=1e-5)


def test_a_probe_on_some_of_the_rows_still_learns(make, monkeypatch):
    X, y = sentences(40)
    monkeypatch.setattr("sktransfer.fitting.probe._MAX_UNITS", 60)
    assert make(max_epochs=0).fit(X, y).score(X, y) > 0.5


def test_pickle_and_clone(tagger):
    copy = pickle.loads(pickle.dumps(tagger))
    assert copy.predict(X_TEST) == tagger.predict(X_TEST)
    fresh = clone(tagger)
    assert not hasattr(fresh, "model_")
    assert fresh.fit(X, Y).predict(X_TEST) == tagger.predict(X_TEST)


def test_cross_validation(make):
    scores = cross_val_score(make(), X, Y, cv=KFold(2), error_score="raise")
    assert scores.min() > 0.5
    frame = cross_validate(make(), pd.Series(X), pd.Series(Y), cv=2, return_train_score=True)
    assert frame["train_score"].min() > 0.5
    assert not is_classifier(make())


def test_grid_search(make):
    search = GridSearchCV(make(), {"max_length": [8, 64]}, cv=2, error_score="raise").fit(X, Y)
    assert search.score(X_TEST, Y_TEST) > 0.7
    assert list(map(len, search.predict(X_TEST))) == list(map(len, X_TEST))


def test_weights_of_rows(make):
    weights = np.arange(40) % 3.0
    weighted = make().fit(X, Y, sample_weight=weights)
    rows = np.repeat(np.arange(40), weights.astype(int))
    copies = make().fit([X[i] for i in rows], [Y[i] for i in rows])
    expected = copies.predict_proba(X_TEST)
    assert_same_probabilities(weighted.predict_proba(X_TEST), expected, rtol=0, atol=1e-6)
    assert weighted.task_.words_per_row == pytest.approx(copies.task_.words_per_row)


def test_rows_of_weight_zero_are_absent(make):
    weights = np.r_[np.ones(30), np.zeros(10)]
    odd = [*Y[:-1], ["X"] * len(Y[-1])]
    tagger = make(max_epochs=1).fit(X, odd, sample_weight=weights)
    without = make(max_epochs=1).fit(X[:30], Y[:30])
    assert tagger.classes_.tolist() == CLASSES
    assert_same_probabilities(
        tagger.predict_proba(X_TEST), without.predict_proba(X_TEST), rtol=0, atol=0
    )


@pytest.mark.parametrize("given", [True, False])
def test_early_stopping(make, given):
    parts = {"X_val": X_TEST, "y_val": Y_TEST} if given else {}
    tagger = make(max_epochs=4, early_stopping=True, n_iter_no_change=2, validation_fraction=0.25)
    tagger.fit(X, Y, **parts)
    assert len(tagger.validation_scores_) == tagger.n_iter_
    best = max(tagger.validation_scores_)
    assert tagger.validation_scores_.index(best) + 1 == tagger.best_epoch_
    if given:
        assert tagger.score(X_TEST, Y_TEST) == pytest.approx(best)


def test_warm_start(make):
    tagger = make(max_epochs=1, warm_start=True).fit(X, Y)
    before = tagger.predict_proba(X_TEST)
    places = [row for row, tags in enumerate(Y) if "B-PER" not in tags]
    tagger.fit([X[i] for i in places], [Y[i] for i in places])
    assert tagger.classes_.tolist() == CLASSES
    assert not np.allclose(tagger.predict_proba(X_TEST)[0], before[0])
    with pytest.raises(ValueError, match=r"cannot learn the new classes .*'X'"):
        tagger.fit([["a", "b"]], [["X", "O"]])


def test_words_do_not_depend_on_the_rows_beside_them(tagger):
    alone = [tagger.predict_proba([row])[0] for row in X_TEST]
    order = np.random.default_rng(0).permutation(len(X_TEST))
    mixed = tagger.predict_proba([X_TEST[i] for i in order] + X_TEST[:3])
    assert_same_probabilities([mixed[place] for place in np.argsort(order)], alone)
    assert_same_probabilities(mixed[-3:], alone[:3])
    for i, j in zip(range(3), np.argsort(order)[:3], strict=True):
        assert_array_equal(mixed[len(order) + i], mixed[j])


def test_the_order_of_the_rows_does_not_matter(make, tagger):
    backwards = make().fit(X[::-1], Y[::-1])
    assert_same_probabilities(
        backwards.predict_proba(X_TEST), tagger.predict_proba(X_TEST), rtol=0, atol=1e-6
    )
