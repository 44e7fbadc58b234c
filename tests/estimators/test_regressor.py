"""What TransferTextRegressor promises beyond the template that it shares with the classifier."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import BaggingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.utils import get_tags

from sktransfer import TransferTextRegressor

from .._reviews import reviews

TEXTS, LABELS = reviews(40)
NEW_TEXTS, NEW_LABELS = reviews(30, seed=1)


def stars(labels: list[str]) -> np.ndarray:
    """Numbers far from zero, so that an unscaled loss would show."""
    noise = np.random.default_rng(0).normal(size=len(labels))
    return np.where(np.array(labels) == "good", 1008.0, 1002.0) + 0.3 * noise


Y, NEW_Y = stars(LABELS), stars(NEW_LABELS)


@pytest.fixture
def make(tiny_encoder):
    def build(**parameters) -> TransferTextRegressor:
        settings = {"max_epochs": 2, "pooling_layers": 3, "device": "cpu", "random_state": 0}
        return TransferTextRegressor(tiny_encoder, **{**settings, **parameters})

    return build


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
@pytest.mark.parametrize("max_epochs", [0, 2])
def test_learns(make, loss, max_epochs):
    model = make(loss=loss, max_epochs=max_epochs).fit(TEXTS, Y)
    assert model.score(NEW_TEXTS, NEW_Y) > 0.5
    assert model.predict(NEW_TEXTS).shape == (30,)
    assert model.predict(NEW_TEXTS).dtype == np.float64


def test_is_a_regressor(make):
    assert is_regressor(make())
    assert get_tags(make()).target_tags.multi_output
    with pytest.raises(NotFittedError):
        make().predict(TEXTS)


def test_several_outputs(make):
    both = np.column_stack([Y, -5 * Y])
    model = make().fit(TEXTS, both)
    predicted = model.predict(NEW_TEXTS)
    assert predicted.shape == (30, 2)
    assert model.score(NEW_TEXTS, np.column_stack([NEW_Y, -5 * NEW_Y])) > 0.5
    frame = pd.DataFrame(both, columns=["a", "b"])
    assert_allclose(clone(model).fit(TEXTS, frame).predict(NEW_TEXTS), predicted)


def test_predictions_follow_the_scale_of_the_target(make):
    plain = make().fit(TEXTS, Y).predict(NEW_TEXTS)
    scaled = make().fit(TEXTS, 100 * Y - 7).predict(NEW_TEXTS)
    assert_allclose(scaled, 100 * plain - 7, rtol=1e-4)


def test_rows_of_weight_zero_are_not_there(make):
    X, y = [*TEXTS, "an outlier"], np.append(Y, 1e9)
    weights = np.append(np.ones(40), 0.0)
    weighted = make().fit(X, y, sample_weight=weights)
    assert_allclose(weighted.predict(NEW_TEXTS), make().fit(TEXTS, Y).predict(NEW_TEXTS))


def test_lexical_weight_is_a_share(make):
    model = make(lexical_weight=1.0).fit(TEXTS, Y)
    words = model.predict(NEW_TEXTS)
    model.set_params(lexical_weight=0.0)
    network = model.predict(NEW_TEXTS)
    model.set_params(lexical_weight=0.25)
    assert_allclose(model.predict(NEW_TEXTS), 0.75 * network + 0.25 * words, rtol=1e-6)


def test_texts_without_words_have_no_lexical_channel(make):
    model = make(max_epochs=0).fit(["a", "b", "!", ""], [1.0, 2.0, 3.0, 4.0])
    assert model.lexical_ is None
    assert np.isfinite(model.predict(["a", "?"])).all()


def test_pairs(make):
    pairs = pd.DataFrame({"a": TEXTS, "b": TEXTS[::-1]})
    model = make(symmetric=True).fit(pairs, Y)
    swapped = pairs[["b", "a"]].to_numpy()
    assert_allclose(model.predict(pairs), make(symmetric=True).fit(pairs, Y).predict(pairs))
    model = make(symmetric=True).fit(pairs.to_numpy(), Y)
    assert_allclose(model.predict(pairs.to_numpy()), model.predict(swapped), rtol=1e-6)


def test_early_stopping_follows_r2(make):
    model = make(max_epochs=6, early_stopping=True, n_iter_no_change=2).fit(TEXTS, Y)
    assert model.best_epoch_ == 1 + int(np.argmax(model.validation_scores_))
    given = make(max_epochs=2).fit(TEXTS, Y, X_val=NEW_TEXTS, y_val=NEW_Y)
    assert len(given.validation_scores_) == 2


def test_pickle(make):
    model = make().fit(TEXTS, Y)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict(NEW_TEXTS), model.predict(NEW_TEXTS))


def test_memory_gives_the_same(make, tmp_path):
    plain = make(max_epochs=0).fit(TEXTS, Y).predict(NEW_TEXTS)
    for _ in range(2):
        cached = make(max_epochs=0, memory=tmp_path).fit(TEXTS, Y).predict(NEW_TEXTS)
        assert_allclose(cached, plain, rtol=1e-6)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (None, ValueError, "requires y"),
        (Y[:5], ValueError, "inconsistent"),
        ([np.nan, *Y[1:]], ValueError, "NaN"),
        ([np.inf, *Y[1:]], ValueError, "infinity"),
        (["many"] * 40, ValueError, "y must be numbers: got 'many' in row 0"),
        (np.ones((40, 2, 2)), ValueError, "dim 3"),
    ],
)
def test_bad_targets(make, y, error, message):
    model = make().fit(TEXTS, Y)
    expected = model.predict(NEW_TEXTS)
    with pytest.raises(error, match=message):
        model.fit(TEXTS, y)
    assert_array_equal(model.predict(NEW_TEXTS), expected)


@pytest.mark.parametrize(
    "parameters", [{"loss": "l2"}, {"lexical_weight": 1.5}, {"max_epochs": -1}]
)
def test_bad_parameters(make, parameters):
    with pytest.raises(ValueError, match=f"The '{next(iter(parameters))}' parameter"):
        make(**parameters).fit(TEXTS, Y)


def test_meta_estimators(make):
    model = make(max_epochs=0)
    assert cross_val_score(model, TEXTS, Y, cv=3).min() > 0.3
    assert cross_val_predict(model, TEXTS, Y, cv=3).shape == (40,)
    search = GridSearchCV(model, {"C": [0.1, 10], "loss": ["huber"]}, cv=2).fit(TEXTS, Y)
    assert search.score(NEW_TEXTS, NEW_Y) > 0.5
    several = MultiOutputRegressor(model).fit(TEXTS, np.column_stack([Y, Y]))
    assert several.predict(NEW_TEXTS).shape == (30, 2)
    logged = TransformedTargetRegressor(model, func=np.log, inverse_func=np.exp).fit(TEXTS, Y)
    assert logged.score(NEW_TEXTS, NEW_Y) > 0.5
    column = np.array(TEXTS, dtype=object)[:, None]
    bag = BaggingRegressor(model, n_estimators=2, random_state=0).fit(column, Y)
    assert bag.score(np.array(NEW_TEXTS, dtype=object)[:, None], NEW_Y) > 0.5


@pytest.mark.slow
def test_the_default_encoder_knows_more_than_words(minilm):
    texts = ["wonderful", "superb", "a delight", "awful", "dreadful", "a disaster"] * 4
    y = np.array([5.0, 5, 4, 1, 1, 2] * 4)
    model = TransferTextRegressor(max_epochs=2, random_state=0, device="cpu").fit(texts, y)
    # None of these words was in a training row.
    good, bad = model.predict(["brilliant and touching", "horrible and boring"])
    assert good > bad
    dummy = DummyRegressor().fit(texts, y)
    assert model.score(texts, y) > dummy.score(texts, y)
