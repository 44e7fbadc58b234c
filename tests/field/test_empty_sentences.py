"""An empty sentence has an empty list of tags."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sktransfer import TransferTextClassifier, TransferTokenClassifier

from .._sentences import sentences

X, Y = sentences(12)
X_HOLES, Y_HOLES = [[], *X[:6], [], *X[6:], []], [[], *Y[:6], [], *Y[6:], []]


@pytest.fixture(params=["tiny_encoder", "tiny_decoder"])
def make(request):
    def build(**parameters) -> TransferTokenClassifier:
        settings = {"max_epochs": 0, "device": "cpu", "random_state": 0}
        encoder = request.getfixturevalue(request.param)
        return TransferTokenClassifier(encoder, **{**settings, **parameters})

    return build


@pytest.mark.parametrize("rows", [[[]], [[], []], [[], X[0], []], pd.Series([[], X[0]])])
def test_empty_sentences_get_empty_lists(make, rows):
    tagger = make().fit(X, Y)
    assert list(map(len, tagger.predict(rows))) == list(map(len, rows))
    probabilities = tagger.predict_proba(rows)
    assert [part.shape for part in probabilities] == [
        (len(row), len(tagger.classes_)) for row in rows
    ]
    assert {part.dtype for part in probabilities} == {np.dtype(np.float32)}
    for row, tags in zip(rows, tagger.predict(rows), strict=True):
        assert not row or tags == tagger.predict([row])[0]


@pytest.mark.parametrize("parameters", [{}, {"max_epochs": 1, "batch_size": 4}])
def test_empty_sentences_teach_nothing(make, parameters):
    plain = make(**parameters).fit(X, Y)
    found = make(**parameters).fit(X_HOLES, Y_HOLES)
    for one, other in zip(plain.predict_proba(X), found.predict_proba(X), strict=True):
        assert_array_equal(one, other)


def test_empty_sentences_do_not_count_in_scores(make):
    tagger = make().fit(X, Y)
    assert tagger.score(X_HOLES, Y_HOLES) == tagger.score(X, Y)
    lengths = [[len(word) for word in row] for row in X]
    counter = make().fit(X, lengths)
    assert counter.score([[], *X], [[], *lengths]) == counter.score(X, lengths)


def test_empty_sentences_may_be_watched_or_held_out(make):
    watched = make(max_epochs=1).fit(X_HOLES, Y_HOLES, X_val=X_HOLES, y_val=Y_HOLES)
    assert (
        watched.validation_scores_
        == make(max_epochs=1).fit(X, Y, X_val=X, y_val=Y).validation_scores_
    )
    make(max_epochs=1, early_stopping=True).fit(X_HOLES, Y_HOLES)


def test_nothing_but_empty_sentences_is_an_error(make):
    tagger = make().fit(X, Y)
    before = dict(vars(tagger))
    with pytest.raises(ValueError, match=r"^X has no words: give at least one row"):
        tagger.fit([[], []], [[], []])
    with pytest.raises(ValueError, match=r"^X has no words"):
        tagger.fit([[], X[0]], [[], Y[0]], sample_weight=[1, 0])
    with pytest.raises(ValueError, match=r"^X_val has no words"):
        tagger.fit(X, Y, X_val=[[]], y_val=[[]])
    with pytest.raises(ValueError, match=r"^X has no words to score"):
        tagger.score([[]], [[]])
    assert vars(tagger) == before


def test_tags_without_words_and_words_without_tags_are_named(make):
    with pytest.raises(ValueError, match="Row 1 has 0 words, but 1 tags in y"):
        make().fit([X[0], []], [Y[0], ["O"]])
    with pytest.raises(ValueError, match="Row 1 has 1 words, but 0 tags in y"):
        make().fit([X[0], ["a"]], [Y[0], []])


def test_an_empty_sentence_is_not_taken_for_an_empty_text(make):
    """Both are a window of special tokens, of which a process keeps what it has computed."""
    texts = ["", *map(" ".join, X)]
    TransferTextClassifier(make().encoder, max_epochs=0).fit(texts, [0, 1, *[0] * 11])
    tagger = make().fit(X_HOLES, Y_HOLES)
    assert list(map(len, tagger.predict(X_HOLES))) == list(map(len, X_HOLES))
