"""TransferTextVectorizer: features of texts, for whatever comes behind."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from sktransfer import TransferTextVectorizer
from sktransfer.encoders import resolve_encoder
from sktransfer.fitting.predictor import Predictor
from sktransfer.tasks import ClassificationTask, MultilabelTask, RegressionTask

from .._reviews import reviews

TEXTS, LABELS = reviews(40)
TEST, TEST_LABELS = reviews(30, seed=1)
CODES = (LABELS == "good").astype(int)
LONG = " ".join(TEXTS)


@pytest.fixture
def make(tiny_encoder):
    def build(**parameters) -> TransferTextVectorizer:
        settings = {"max_epochs": 0, "device": "cpu", "random_state": 0}
        return TransferTextVectorizer(tiny_encoder, **{**settings, **parameters})

    return build


@pytest.fixture
def states(tiny_encoder):
    """Mean of the tokens' states of one text, from the embeddings up."""
    encoder, tokenizer = resolve_encoder(tiny_encoder).load()

    def of(text: str) -> list[np.ndarray]:
        ids = [*tokenizer.prefix, *tokenizer.encode([text])[0], *tokenizer.suffix]
        token_ids = torch.tensor([ids])
        with torch.inference_mode():
            layers = encoder(token_ids, torch.ones_like(token_ids), 3)
        return [layer[0].mean(dim=0).numpy() for layer in layers[::-1]]

    return of


@pytest.mark.parametrize("layer", range(-3, 3))
def test_layers_are_those_of_the_encoder(make, states, layer):
    features = make(layer=layer, normalize=False).fit_transform(TEXTS)
    assert features.dtype == np.float32
    assert features.shape == (40, 32)
    assert_allclose(features[7], states(TEXTS[7])[layer], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [3, -4])
def test_a_layer_that_is_none(make, layer):
    with pytest.raises(ValueError, match=f"layer={layer} does not exist: this encoder has 3"):
        make(layer=layer).fit(TEXTS)
    with pytest.raises(ValueError, match="layer"):
        make(layer=1.5).fit(TEXTS)


def test_length_one(make):
    plain = make(normalize=False).fit_transform(TEXTS)
    expected = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    assert_allclose(make().fit_transform(TEXTS), expected, rtol=1e-5, atol=1e-7)


def test_without_targets_nothing_is_trained(make, tiny_encoder):
    vectorizer = make(max_epochs="auto").fit(TEXTS)
    assert vectorizer.loss_curve_ == []
    assert vectorizer.task_ is None
    assert vectorizer.n_iter_ == 0
    assert vectorizer.n_features_in_ == 1
    pretrained, _ = resolve_encoder(tiny_encoder).load()
    tuned, _ = vectorizer.encoder_.load()
    for name, weight in pretrained.state_dict().items():
        assert torch.equal(weight, tuned.state_dict()[name])
    assert_array_equal(make().fit(TEXTS, LABELS).transform(TEST), vectorizer.transform(TEST))


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (LABELS, ClassificationTask),
        (CODES.astype(float), ClassificationTask),
        (CODES + 0.5, RegressionTask),
        (np.column_stack([CODES + 0.5, CODES]), RegressionTask),
        (np.column_stack([CODES, 1 - CODES, np.ones(40, int)]), MultilabelTask),
    ],
    ids=["labels", "codes", "real", "two reals", "multilabel"],
)
@pytest.mark.parametrize("layer", [-1, 1])
def test_targets_tune_the_features(make, y, task, layer):
    frozen = make(layer=layer).fit(TEXTS).transform(TEST)
    vectorizer = make(layer=layer, max_epochs=1).fit(TEXTS, y)
    assert isinstance(vectorizer.task_, task)
    assert len(vectorizer.loss_curve_) == 1
    assert not np.allclose(vectorizer.transform(TEST), frozen, atol=1e-4)
    assert not any(name.startswith("_guide") for name in vars(vectorizer))


def test_tuned_features_are_further_apart(make):
    def spread(vectorizer: TransferTextVectorizer) -> float:
        """Distance between the classes, in units of that within them."""
        features = vectorizer.fit(TEXTS, LABELS).transform(TEST)
        good, bad = (features[label == TEST_LABELS] for label in ("good", "bad"))
        within = (np.mean(good @ good.T) + np.mean(bad @ bad.T)) / 2
        return float((1 - np.mean(good @ bad.T)) / (1 - within))

    assert spread(make(max_epochs=8, learning_rate=3e-3)) > 1.3 * spread(make())


def test_validation_rows(make):
    real = np.arange(40) + 0.5
    vectorizer = make(max_epochs=2, early_stopping=True)
    # Whole numbers are read as `y` is: as reals.
    vectorizer.fit(TEXTS, real, X_val=TEST, y_val=np.arange(30))
    assert len(vectorizer.validation_scores_) == vectorizer.n_iter_
    vectorizer.fit(TEXTS, LABELS)
    assert len(vectorizer.validation_scores_) == vectorizer.n_iter_
    with pytest.raises(ValueError, match="needs y"):
        make().fit(TEXTS, X_val=TEST, y_val=TEST_LABELS)
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        make(max_epochs=1).fit(TEXTS, LABELS, X_val=TEST)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (TEXTS, LABELS[:5], "inconsistent numbers of samples"),
        (["a", None], [0, 1], "Row 1 of X is missing"),
        (TEXTS, ["a"] * 40, "number of classes has to be greater than one"),
        (TEXTS, np.full(40, np.nan), "NaN"),
        (TEXTS, np.arange(80).reshape(40, 2), "must be 0 or 1"),
        ([], [], "0 sample"),
    ],
)
def test_bad_rows_are_named_and_change_nothing(make, X, y, message):
    vectorizer = make(max_epochs=1).fit(TEXTS)
    before = dict(vars(vectorizer))
    with pytest.raises(ValueError, match=message):
        vectorizer.fit(X, y)
    assert vars(vectorizer) == before


def test_containers_agree(make):
    vectorizer = make().fit(TEXTS)
    expected = vectorizer.transform(TEST)
    for X in (
        np.array(TEST),
        pd.Series(TEST),
        pl.Series(TEST),
        iter(TEST),
        np.array(TEST)[:, None],
    ):
        assert_array_equal(vectorizer.transform(X), expected)
    assert_array_equal(make().fit_transform(iter(TEST)), expected)
    assert_array_equal(make(max_epochs=1).fit_transform(iter(TEXTS), LABELS).shape, (40, 32))


def test_predictions_do_not_depend_on_other_rows(make):
    vectorizer = make().fit(TEXTS)
    X = [*TEST, LONG, ""]
    expected = vectorizer.transform(X)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(32), 2))
    found = vectorizer.transform([X[row] for row in order])
    assert_allclose(found, expected[order], rtol=1e-4, atol=1e-6)


def test_each_distinct_text_is_encoded_once(make, monkeypatch):
    vectorizer = make().fit(TEXTS)
    seen = []
    launch = Predictor.launch

    def counted(self, rows, **how):
        seen.append(len(rows))
        return launch(self, rows, **how)

    monkeypatch.setattr(Predictor, "launch", counted)
    assert vectorizer.transform([*TEST, *TEST[:9]]).shape == (39, 32)
    assert seen == [len(set(TEST))]


def test_a_long_text_is_read_whole_or_cut(make):
    changed = LONG.replace(TEXTS[-1], "bank money")
    whole, other = make(max_length=32).fit(TEXTS).transform([LONG, changed])
    assert not np.allclose(whole, other)
    with pytest.warns(UserWarning, match="2 texts are longer"):
        cut = make(max_length=32, long_texts="truncate").fit(TEXTS).transform([LONG, changed])
    assert_allclose(cut[0], cut[1], rtol=1e-4, atol=1e-6)


def test_columns_of_text(make):
    pairs = pd.DataFrame({"first": TEXTS, "second": TEXTS[::-1]})
    vectorizer = make().fit(pairs)
    assert vectorizer.n_features_in_ == 2
    assert list(vectorizer.feature_names_in_) == ["first", "second"]
    features = vectorizer.transform(pairs)
    swapped = make().fit(pairs.to_numpy()).transform(pairs.to_numpy()[:, ::-1])
    with pytest.raises(ValueError, match="feature names"):
        vectorizer.transform(pairs[["second", "first"]])
    assert not np.allclose(features, swapped)
    both = make(symmetric=True).fit(pairs.to_numpy())
    assert_allclose(
        both.transform(pairs.to_numpy()),
        both.transform(pairs.to_numpy()[:, ::-1]),
        rtol=1e-4,
        atol=1e-6,
    )
    with pytest.raises(ValueError, match=r"1 features, but .* 2 features"):
        vectorizer.fit(pairs.to_numpy()).transform(TEXTS)


def test_names_and_frames(make):
    vectorizer = make(pooling="concat").fit(TEXTS)
    names = vectorizer.get_feature_names_out()
    assert len(names) == 96
    assert names[0] == "transfertextvectorizer0"
    X = pd.Series(TEST, index=np.arange(100, 130))
    expected = vectorizer.transform(X)
    frame = vectorizer.set_output(transform="pandas").transform(X)
    assert list(frame.columns) == list(names)
    assert list(frame.index) == list(X.index)
    assert_array_equal(frame.to_numpy(), expected)
    table = vectorizer.set_output(transform="polars").transform(TEST)
    assert isinstance(table, pl.DataFrame)
    frame = make().set_output(transform="pandas").fit_transform(X)
    assert list(frame.index) == list(X.index)
    with pytest.raises(NotFittedError):
        make().get_feature_names_out()
    with pytest.raises(NotFittedError):
        make().transform(TEXTS)


def test_in_a_pipeline(make):
    pipeline = make_pipeline(make(), LogisticRegression(C=10))
    assert cross_val_score(pipeline, TEXTS, LABELS, cv=2, error_score="raise").min() > 0.7
    search = GridSearchCV(
        pipeline,
        {"transfertextvectorizer__layer": [0, -1], "transfertextvectorizer__max_epochs": [0, 1]},
        cv=2,
        error_score="raise",
    )
    assert search.fit(TEXTS, LABELS).score(TEST, TEST_LABELS) > 0.8


def test_beside_tfidf(make):
    union = make_union(make(), TfidfVectorizer())
    features = union.fit_transform(TEXTS, LABELS)
    n_words = len(union.transformer_list[1][1].vocabulary_)
    assert features.shape == (40, 32 + n_words)
    names = union.get_feature_names_out()
    assert names[0] == "transfertextvectorizer__transfertextvectorizer0"
    assert len(names) == features.shape[1]


@pytest.mark.parametrize("column", ["text", ["text"], ["text", "title"]], ids=str)
def test_beside_numbers(make, column):
    frame = pd.DataFrame({"text": TEXTS, "title": TEXTS[::-1], "length": np.arange(40.0)})
    transformer = make_column_transformer((make(), column), (StandardScaler(), ["length"]))
    assert transformer.fit_transform(frame, LABELS).shape == (40, 33)
    assert len(transformer.get_feature_names_out()) == 33
    model = make_pipeline(transformer, LogisticRegression(C=10)).fit(frame, LABELS)
    assert model.score(frame, LABELS) > 0.8
    names = transformer.get_feature_names_out()
    prefix = "text_title" if len(column) == 2 else "text"
    assert names[0] == f"transfertextvectorizer__{prefix}_0"
    table = transformer.set_output(transform="pandas").fit_transform(frame, LABELS)
    assert table.shape == (40, 33)
    assert list(table.columns) == list(names)


@pytest.mark.parametrize(
    ("X", "name"),
    [
        (pd.Series(TEXTS, name="text"), "text_0"),
        (pl.Series("text", TEXTS), "text_0"),
        (pd.DataFrame({"text": TEXTS}), "text_0"),
        (pd.Series(TEXTS), "transfertextvectorizer0"),
        (pd.Series(TEXTS, name=3), "transfertextvectorizer0"),
        (TEXTS, "transfertextvectorizer0"),
    ],
    ids=["pandas", "polars", "frame", "without a name", "numbered", "list"],
)
def test_features_are_named_after_their_column(make, X, name):
    assert make().fit(X).get_feature_names_out()[0] == name


def test_text_beside_numbers_without_a_column_transformer(make):
    frame = pd.DataFrame({"text": TEXTS, "length": np.arange(40)})
    with pytest.raises(TypeError, match=r"column 1 is of type int, .* use a ColumnTransformer"):
        make().fit(frame)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=str)
def test_missing_texts(make, missing):
    texts = [missing, *TEXTS[1:]]
    with pytest.raises(ValueError, match=r"Row 0 of X is missing .* missing='empty'"):
        make().fit(texts)
    vectorizer = make(missing="empty").fit(texts)
    assert_array_equal(vectorizer.transform(texts), vectorizer.transform(["", *TEXTS[1:]]))
    pairs = [("a", missing), ("a", "b")]
    filled = [("a", ""), ("a", "b")]
    vectorizer.fit(pairs)
    assert_array_equal(vectorizer.transform(pairs), vectorizer.transform(filled))


def test_an_empty_stream(make):
    vectorizer = make().fit(TEXTS)
    assert vectorizer.transform(iter([])).shape == (0, 32)
    pairs = make().fit(list(zip(TEXTS, TEXTS, strict=True)))
    assert pairs.transform(iter([])).shape == (0, 32)


def test_copies_of_the_estimator(make):
    vectorizer = make(max_epochs=1).fit(TEXTS, LABELS)
    expected = vectorizer.transform(TEST)
    assert_array_equal(pickle.loads(pickle.dumps(vectorizer)).transform(TEST), expected)
    again = clone(vectorizer)
    assert not hasattr(again, "model_")
    assert_array_equal(again.fit(TEXTS, LABELS).transform(TEST), expected)
    assert not hasattr(vectorizer, "predict")


def test_weights(make):
    weights = np.where(np.arange(40) % 3, 1.0, 0.0)
    weighted = make(max_epochs=1).fit(TEXTS, LABELS, sample_weight=weights)
    kept = np.flatnonzero(weights)
    fewer = make(max_epochs=1).fit([TEXTS[row] for row in kept], LABELS[kept])
    assert_array_equal(weighted.transform(TEST), fewer.transform(TEST))
    for y in (None, LABELS):
        with pytest.raises(ValueError, match="zero"):
            make().fit(TEXTS, y, sample_weight=np.zeros(40))


def test_warm_start_keeps_what_was_learned(make):
    vectorizer = make(max_epochs=1, warm_start=True).fit(TEXTS, LABELS)
    first = vectorizer.transform(TEST)
    assert_array_equal(vectorizer.fit(TEST).transform(TEST), first)
    assert not np.allclose(vectorizer.fit(TEXTS, LABELS).transform(TEST), first)
    vectorizer.set_params(warm_start=False).fit(TEXTS)
    assert_array_equal(vectorizer.transform(TEST), make().fit(TEXTS).transform(TEST))


def test_a_probe_remembers_its_layer(make, tmp_path):
    """A fine-tune with `memory` starts from the probe on the features of its own layer."""
    for layer in (-1, 0):
        expected = make(max_epochs=1, layer=layer).fit(TEXTS, LABELS).loss_curve_
        for _ in range(2):
            found = make(max_epochs=1, layer=layer, memory=tmp_path).fit(TEXTS, LABELS)
            assert found.loss_curve_ == expected


SENTENCES = [
    "A man is eating food.",
    "Ein Satz auf Deutsch, mit Umlauten: äöü.",
    "",
    "The girl is carrying a baby; the other one plays the violin at half past nine!",
    "x",
]


def test_minilm_features_tell_what_texts_are_about(minilm):
    texts = ["a cat sleeps on the sofa", "the kitten naps on a couch", "stocks fell sharply today"]
    features = TransferTextVectorizer(minilm, device="cpu").fit_transform(texts)
    assert features.shape == (3, 384)
    similarity = features @ features.T
    assert similarity[0, 1] > similarity[0, 2] + 0.3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what another package says is not ours
def test_minilm_features_are_those_of_sentence_transformers(minilm):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = resolve_encoder(minilm)._source.folder
    peer = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    expected = peer.encode(SENTENCES, normalize_embeddings=True)
    features = TransferTextVectorizer(minilm, device="cpu").fit_transform(SENTENCES)
    assert_allclose(features, expected, atol=1e-4)
