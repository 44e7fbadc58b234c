"""LexicalVectorizer: scikit-learn's TF-IDF where weights are 1, exact row weights elsewhere."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from sktransfer.fitting.tfidf import LexicalVectorizer

TEXTS = ["a good film", "a bad film, a bad plot", "", "good good plot", "!?", "plot"]
words = st.lists(st.sampled_from("good bad film plot dull x".split()), max_size=6).map(" ".join)  # noqa: SIM905
corpora = st.lists(words, min_size=1, max_size=10)


def terms_of(lexical):
    return lexical.get_feature_names_out().tolist()


def test_equals_tfidf_vectorizer_without_weights():
    peer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    expected = peer.fit_transform(TEXTS).toarray()
    lexical = LexicalVectorizer()
    features = lexical.fit_transform(TEXTS)
    assert sp.issparse(features)
    assert features.format == "csr"
    assert features.dtype == np.float32
    assert lexical.idf_.dtype == np.float32
    terms = lexical.get_feature_names_out()
    assert sorted(terms) == sorted(peer.vocabulary_)
    columns = [peer.vocabulary_[term] for term in terms]
    np.testing.assert_allclose(features.toarray(), expected[:, columns], rtol=1e-5)
    new = ["good unknown film", "bad film", "words never seen"]
    np.testing.assert_allclose(
        lexical.transform(new).toarray(), peer.transform(new).toarray()[:, columns], rtol=1e-5
    )


@settings(deadline=None)
@given(corpora, st.data(), st.one_of(st.none(), st.integers(1, 5)))
def test_weight_equals_repetition_exactly(texts, data, max_features):
    n_rows = len(texts)
    weight = data.draw(st.lists(st.integers(0, 3), min_size=n_rows, max_size=n_rows))
    weighted = LexicalVectorizer(max_features)
    features = weighted.fit_transform(texts, np.array(weight))
    repeated = LexicalVectorizer(max_features)
    repeated.fit_transform(
        [text for text, times in zip(texts, weight, strict=True) for _ in range(times)]
    )
    assert terms_of(weighted) == terms_of(repeated)
    np.testing.assert_array_equal(weighted.idf_, repeated.idf_)
    np.testing.assert_array_equal(features.toarray(), repeated.transform(texts).toarray())


@settings(deadline=None)
@given(corpora, corpora, st.one_of(st.none(), st.integers(1, 5)))
def test_rows_have_length_one_or_zero(texts, new, max_features):
    lexical = LexicalVectorizer(max_features)
    fitted = lexical.fit_transform(texts)
    np.testing.assert_array_equal(fitted.toarray(), lexical.transform(texts).toarray())
    assert lexical.words_ == sorted(lexical.words_)
    for features in (fitted, lexical.transform(new)):
        norms = np.sqrt(features.multiply(features).sum(axis=1))
        assert all(norm == 0 or norm == pytest.approx(1, rel=1e-5) for norm in np.ravel(norms))
        assert features.shape[1] == len(terms_of(lexical))


@pytest.mark.parametrize("texts", [["", "!?"], ["a"], []])
def test_no_words_at_all(texts):
    lexical = LexicalVectorizer()
    assert lexical.fit_transform(texts).shape == (len(texts), 0)
    assert terms_of(lexical) == []
    later = lexical.transform(["good film", "x"])
    assert later.shape == (2, 0)
    assert later.dtype == np.float32


def test_all_rows_of_weight_zero():
    lexical = LexicalVectorizer()
    assert lexical.fit_transform(["good film"], [0.0]).shape == (1, 0)
    assert lexical.transform(["good film"]).shape == (1, 0)


def test_max_features_keeps_the_most_frequent_terms_by_weight():
    texts = ["bb", "aa", "cc cc cc", "dd"]
    lexical = LexicalVectorizer(max_features=2)
    lexical.fit_transform(texts)
    assert terms_of(lexical) == ["aa", "bb"]  # each in one row: alphabetical, words first
    lexical.fit_transform(texts, [1.0, 1.0, 1.0, 1.5])
    assert terms_of(lexical) == ["aa", "dd"]
    lexical.fit_transform(texts[:1])
    assert terms_of(lexical) == ["bb"]


def test_pickle_gives_the_same_features():
    lexical = LexicalVectorizer()
    lexical.fit_transform(TEXTS)
    loaded = pickle.loads(pickle.dumps(lexical))
    np.testing.assert_array_equal(
        loaded.transform(TEXTS).toarray(), lexical.transform(TEXTS).toarray()
    )
