"""Texts longer than a window."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from ..._reviews import reviews
from ..._rounding import assert_same_numbers
from .rows import LABELS, NEW_TEXTS, TEXTS

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


def test_the_warning_points_at_the_line_of_the_caller(make):
    with pytest.warns(UserWarning, match="were cut") as caught:
        classifier = make(long_texts="truncate", max_epochs=0).fit(
            [*TEXTS, LONG_FILLER * 9], [*LABELS, "good"]
        )
    with pytest.warns(UserWarning, match="were cut") as again:
        classifier.predict([LONG_FILLER * 9])
    assert {warning.filename for warning in [*caught, *again]} == {__file__}


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
