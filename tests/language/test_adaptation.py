"""Language modeling inside of the estimators: adapt_epochs, unlabeled, lm_weight, long texts."""

from __future__ import annotations

import pickle
import signal

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline

from sktransfer import LanguageModel, TransferTextClassifier, TransferTextRegressor
from sktransfer.datasets import load_docstrings
from sktransfer.fitting import context
from sktransfer.language.train import adaptation_corpus

from .._reviews import reviews

TEXTS, LABELS = reviews(40)
NUMBERS = (LABELS == "good").astype(float)
EXTRA = reviews(24, seed=3)[0]
TINY = {
    "max_epochs": 0,
    "max_length": 32,
    "lexical_weight": 0.0,
    "precision": "float32",
    "device": "cpu",
    "random_state": 0,
}
LSTM = {
    "architecture": "awd_lstm",
    "embedding_size": 12,
    "hidden_size": 12,
    "n_layers": 2,
    "max_length": 16,
    "learning_rate": 0.02,
    "device": "cpu",
    "precision": "float32",
    "random_state": 0,
}


def classifier(encoder, **parameters) -> TransferTextClassifier:
    return TransferTextClassifier(encoder, **{"label_texts": None, **TINY, **parameters})


def regressor(encoder, **parameters) -> TransferTextRegressor:
    return TransferTextRegressor(encoder, **{**TINY, **parameters})


def language_score(encoder, texts: list[str] = TEXTS) -> float:
    """How well an encoder, as it is, predicts tokens of the texts."""
    model = LanguageModel(encoder, max_epochs=0, device="cpu", precision="float32", random_state=0)
    return model.fit(texts).score(texts)


@pytest.fixture(scope="module")
def lstms() -> dict[str, object]:
    """Handles of a language model for each direction."""
    return {
        direction: LanguageModel(**LSTM, direction=direction).fit(TEXTS).encoder_
        for direction in ("forward", "backward", "both")
    }


@pytest.fixture
def spy(monkeypatch) -> list[tuple[list[str], object]]:
    """The texts and unlabeled ones of each adaptation."""
    calls = []

    def recorded(texts, unlabeled):
        calls.append((list(texts), unlabeled))
        return adaptation_corpus(texts, unlabeled)

    monkeypatch.setattr(context, "adaptation_corpus", recorded)
    return calls


@pytest.mark.parametrize(
    ("name", "make", "y"),
    [("tiny_encoder", classifier, LABELS), ("tiny_decoder", regressor, NUMBERS)],
    ids=["classifier", "regressor"],
)
def test_adaptation_lowers_the_language_loss(request, name, make, y):
    encoder = request.getfixturevalue(name)
    plain = make(encoder).fit(TEXTS, y)
    adapted = make(encoder, adapt_epochs=8).fit(TEXTS, y, unlabeled=EXTRA)
    assert language_score(adapted.encoder_) > language_score(encoder) + 0.1
    assert not np.array_equal(plain.predict(TEXTS), adapted.predict(TEXTS)) or not np.array_equal(
        plain.model_.head.linear.weight.detach(), adapted.model_.head.linear.weight.detach()
    )
    assert adapted.score(TEXTS, y) > 0.5
    assert adapted.loss_curve_ == []


def test_unlabeled_texts_are_learned_too(tiny_encoder):
    other = ["fish mountain water river", "mountain horse river boat"] * 40
    without, given = (
        classifier(tiny_encoder, adapt_epochs=6).fit(TEXTS, LABELS, unlabeled=unlabeled)
        for unlabeled in (None, other)
    )
    assert language_score(given.encoder_, other) > language_score(without.encoder_, other)


def test_adaptation_is_deterministic(tiny_encoder):
    first, second, other = (
        classifier(tiny_encoder, adapt_epochs=1, random_state=seed)
        .fit(TEXTS, LABELS, unlabeled=EXTRA)
        .predict_proba(EXTRA)
        for seed in (0, 0, 1)
    )
    assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("form", ["generator", "file", "array"])
def test_unlabeled_texts_come_in_any_form(tiny_encoder, tmp_path, form):
    (tmp_path / "extra.txt").write_text("\n".join(EXTRA), "utf-8")
    unlabeled = {
        "generator": (text for text in EXTRA),
        "file": tmp_path / "extra.txt",
        "array": np.array(EXTRA),
    }[form]
    expected, found = (
        classifier(tiny_encoder, adapt_epochs=1)
        .fit(TEXTS, LABELS, unlabeled=texts)
        .predict_proba(EXTRA)
        for texts in (EXTRA, unlabeled)
    )
    assert_array_equal(found, expected)


def test_columns_of_text_are_texts(tiny_encoder, spy):
    pairs = [(text, "good film") for text in TEXTS]
    model = classifier(tiny_encoder, adapt_epochs=1).fit(pairs, LABELS)
    assert len(spy) == 1
    assert model.score(pairs, LABELS) > 0.7


def test_without_adaptation_unlabeled_texts_are_not_read(tiny_encoder, spy):
    expected = classifier(tiny_encoder).fit(TEXTS, LABELS).predict_proba(EXTRA)
    found = classifier(tiny_encoder).fit(TEXTS, LABELS, unlabeled="no such file")
    assert_array_equal(found.predict_proba(EXTRA), expected)
    assert spy == []


@pytest.mark.parametrize(
    ("unlabeled", "match"),
    [
        ("no such file", "unlabeled: no file"),
        (["good", 3], "[Rr]ow 1 of unlabeled"),
        ([""], "unlabeled has no text"),
        (3, "unlabeled"),
    ],
)
def test_bad_unlabeled_texts_are_refused_by_name(tiny_encoder, unlabeled, match):
    model = classifier(tiny_encoder, adapt_epochs=1)
    with pytest.raises((TypeError, ValueError), match=match):
        model.fit(TEXTS, LABELS, unlabeled=unlabeled)
    assert not hasattr(model, "model_")


def test_only_the_training_fold_is_read(tiny_encoder, spy):
    folds = KFold(2)
    cross_val_score(
        classifier(tiny_encoder, adapt_epochs=1), TEXTS, LABELS, cv=folds, error_score="raise"
    )
    expected = [[TEXTS[i] for i in train] for train, _ in folds.split(TEXTS)]
    assert spy == [(texts, None) for texts in expected]


def test_validation_rows_are_not_read(tiny_encoder, spy):
    classifier(tiny_encoder, adapt_epochs=1).fit(TEXTS, LABELS, X_val=EXTRA, y_val=LABELS[:24])
    classifier(tiny_encoder, adapt_epochs=1, early_stopping=True, max_epochs=1).fit(TEXTS, LABELS)
    assert spy[0][0] == TEXTS
    assert len(spy[1][0]) == 36


def test_unlabeled_texts_are_routed(tiny_encoder, spy):
    with sklearn.config_context(enable_metadata_routing=True):
        model = classifier(tiny_encoder, adapt_epochs=1).set_fit_request(unlabeled=True)
        pipeline = Pipeline([("nothing", "passthrough"), ("classify", model)])
        search = GridSearchCV(pipeline, {"classify__C": [1.0]}, cv=2, error_score="raise")
        search.fit(TEXTS, LABELS, unlabeled=EXTRA)
    assert [(len(texts), list(extra)) for texts, extra in spy] == [
        (20, EXTRA),
        (20, EXTRA),
        (40, EXTRA),
    ]


def test_a_pipeline_hands_them_on_without_routing(tiny_encoder, spy):
    pipeline = Pipeline([("classify", classifier(tiny_encoder, adapt_epochs=1))])
    pipeline.fit(TEXTS, LABELS, classify__unlabeled=EXTRA)
    assert spy == [(TEXTS, EXTRA)]


def test_ctrl_c_while_adapting_leaves_the_estimator_as_it_was(tiny_encoder, monkeypatch):
    model = classifier(tiny_encoder).fit(TEXTS, LABELS)
    before = dict(vars(model))
    step = torch.optim.AdamW.step

    def interrupted(self, *args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(adapt_epochs=1).fit(TEXTS, LABELS)
    assert vars(model) == {**before, "adapt_epochs": 1}


@pytest.mark.parametrize("name", ["tiny_encoder", "tiny_decoder", "forward", "backward", "both"])
def test_a_language_loss_beside_the_task(request, lstms, name):
    encoder = lstms[name] if name in lstms else request.getfixturevalue(name)
    parameters = {"max_epochs": 4, "learning_rate": 2e-3, "trainable_layers": "all"}
    plain, first = (
        classifier(encoder, lm_weight=weight, **parameters).fit(TEXTS, LABELS)
        for weight in (0.0, 0.5)
    )
    assert not np.array_equal(first.predict_proba(EXTRA), plain.predict_proba(EXTRA))
    assert first.score(TEXTS, LABELS) > 0.8
    assert language_score(first.encoder_) > language_score(encoder)
    copy = pickle.loads(pickle.dumps(first))
    assert_array_equal(copy.predict_proba(EXTRA), first.predict_proba(EXTRA))
    # Once more, from the model with its head.
    assert first.set_params(warm_start=True).fit(TEXTS, LABELS).score(TEXTS, LABELS) > 0.8


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_a_recurrent_encoder_reads_a_long_text_whole(lstms, direction, pooling):
    filler = "the movie was and with a story it actor scene in time " * 8
    words = ["best", "awful"] * 10
    texts = [word + " " + filler + word for word in words]
    chunks, whole = (
        classifier(lstms[direction], max_length=n, pooling=pooling).fit(texts, words)
        for n in (8, 2048)
    )
    assert_allclose(chunks.predict_proba(texts), whole.predict_proba(texts), atol=1e-3)
    features = [features_of(model, texts[:2]) for model in (chunks, whole)]
    assert_allclose(*features, atol=1e-5)
    assert not np.allclose(features[0][0], features[0][1], atol=1e-5)
    assert chunks.score(texts, words) == 1.0


def features_of(model, texts):
    predictor = model._predictor()
    rows = predictor.encode(texts)
    assert np.diff(rows.row_start).tolist() == [1] * len(texts)
    return predictor.launch(rows)().numpy()[:, 0]


def test_training_through_chunks(lstms):
    texts = [text + " the movie was and with a story" * 4 for text in TEXTS]
    model = classifier(lstms["both"], max_length=8, max_epochs=4, learning_rate=1e-2)
    model.fit(texts, LABELS)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    ways = model.model_.encoder.directions_apart()
    assert [way.chunk_length for way in ways] == [8, 8]


def test_the_default_encoder_learns_a_domain(minilm):
    data = load_docstrings()
    texts = [text for text in data.data if 40 < len(text) < 120][:80]
    parameters = {"max_length": 32, "device": "cpu", "random_state": 0, "precision": "float32"}
    before, after = (
        LanguageModel(minilm, max_epochs=n, learning_rate=1e-3, **parameters)
        .fit(texts[:60])
        .perplexity(texts[60:])
        for n in (0, 2)
    )
    assert after < 0.9 * before
