"""Every estimator and every kind of fit on tiny encoders, as numbers to be compared.

Networks compute in float32, so that the processor's other precisions play no part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sktransfer import (
    LanguageModel,
    TransferAnswerExtractor,
    TransferChoiceClassifier,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
    TransferTokenClassifier,
)

from .._reviews import reviews
from .._sentences import sentences

Numbers = dict[str, list[Any]]

TEXTS, LABELS = reviews(24, n_classes=3, seed=3)
NEW, NEW_LABELS = reviews(9, n_classes=3, seed=4)
PAIRS = list(zip(TEXTS, TEXTS[::-1], strict=True))
STARS = np.array([{"bad": 1.5, "good": 4.0, "money": 2.0}[label] for label in LABELS.tolist()])
STARS += np.arange(24) / 24
INDICATORS = np.array([[label == "bad", i % 2] for i, label in enumerate(LABELS.tolist())])
LONG = " ".join([*TEXTS[:12]])
WEIGHTS = np.arange(24) % 3 / 2
SENTENCES, TAGS = sentences(16, seed=3)
QUESTIONS = [
    (f"{NEW[i % 9]}?", *(TEXTS[(i + j) % 24] for j in range(3 if i % 4 else 2))) for i in range(16)
]
CHOICES = [i % 2 for i in range(16)]
COLORS = "red green blue black".split()  # noqa: SIM905
PASSAGES = [("which color", f"the movie {COLORS[i % 4]} was in {TEXTS[i]}") for i in range(16)]
ANSWERS = [COLORS[i % 4] for i in range(16)]
CORPUS = [f"the {a} saw the {b} today" for a in ("father", "mother", "child") for b in COLORS]
SETTINGS: dict[str, Any] = {"device": "cpu", "precision": "float32", "random_state": 0}

CLASSIFIERS: dict[str, dict[str, Any]] = {
    "probe": {"max_epochs": 0},
    "probe without lexical channel": {"max_epochs": 0, "lexical_weight": 0, "label_texts": None},
    "defaults": {},
    "all layers and embeddings": {"trainable_layers": "all"},
    "one layer": {"trainable_layers": 1},
    "head alone": {"trainable_layers": 0, "max_epochs": 2, "head_init": "random"},
    "gradual unfreezing": {"gradual_unfreezing": True},
    "ULMFiT": {
        "pooling": "concat",
        "schedule": "slanted_triangular",
        "gradual_unfreezing": True,
        "layer_decay": 1 / 2.6,
        "trainable_layers": "all",
        "head_init": "random",
        "head_refit": False,
        "contrastive_weight": 0,
        "lexical_weight": 0,
        "label_texts": None,
    },
    "first token": {"pooling": "cls"},
    "maximum": {"pooling": "max"},
    "last token": {"pooling": "last"},
    "two layers pooled": {"pooling_layers": 2, "trainable_layers": 1},
    "constant rate": {"schedule": "constant", "warmup_fraction": 0},
    "without contrast": {"contrastive_weight": 0},
    "without refit": {"head_refit": False},
    "label texts": {"label_texts": {"bad": "terrible", "good": "wonderful"}},
    "balanced": {"class_weight": "balanced"},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.25, "max_epochs": 3},
    "adapted": {"adapt_epochs": 1, "max_epochs": 1},
    "auxiliary loss": {"lm_weight": 0.3, "max_epochs": 1},
    "small batches": {"batch_size": 4},
    "wordllama": {"encoder": "wordllama", "max_epochs": 0},
}
LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    "forward": {"architecture": "awd_lstm"},
    "both": {"architecture": "awd_lstm", "direction": "both"},
    "gpt": {"architecture": "gpt"},
    "bert": {"architecture": "bert", "mask_fraction": 0.3},
}
SMALL = {"embedding_size": 16, "hidden_size": 16, "n_layers": 2, "n_heads": 2, "vocab_size": 400}


def fitted(estimator: Any, X: Any, y: Any, **params: Any) -> Any:
    """The estimator, fitted with two epochs if it says nothing else."""
    if estimator.max_epochs == "auto":
        estimator.set_params(max_epochs=2)
    return estimator.set_params(**SETTINGS).fit(X, y, **params)


def training_of(model: Any) -> Numbers:
    """What a fit says of its training."""
    return {"loss_curve": model.loss_curve_, "validation_scores": model.validation_scores_}


def classified(model: Any, X: Any = NEW) -> Numbers:
    """Training and predictions of a classifier."""
    return {
        **training_of(model),
        "decision": np.asarray(model.decision_function(X)).tolist(),
        "probabilities": np.asarray(model.predict_proba(X)).tolist(),
    }


def cases(encoder: str, decoder: str) -> dict[str, Callable[[], Numbers]]:
    """All cases by their names."""
    found: dict[str, Callable[[], Numbers]] = {
        f"classifier, {name}": lambda params=params: classified(
            fitted(TransferTextClassifier(**{"encoder": encoder, **params}), TEXTS, LABELS)
        )
        for name, params in CLASSIFIERS.items()
    }
    found |= classifier_cases(encoder, decoder)
    found |= {
        f"regressor, {loss}": lambda loss=loss: regressed(encoder, STARS, loss=loss)
        for loss in ("squared_error", "huber", "absolute_error")
    }
    found |= other_cases(encoder)
    found |= {
        f"language model, {name}": lambda params=params: modeled(
            LanguageModel(**SMALL, **params, max_length=16, batch_size=4)
        )
        for name, params in LANGUAGE_MODELS.items()
    }
    found["language model, masked"] = lambda: modeled(LanguageModel(encoder))
    found["language model, whole words"] = lambda: modeled(LanguageModel(encoder, whole_words=True))
    found["language model, next token"] = lambda: modeled(LanguageModel(decoder))
    return found


def classifier_cases(encoder: str, decoder: str) -> dict[str, Callable[[], Numbers]]:
    """Kinds of rows and of fits that parameters alone do not make."""

    def make(**params: Any) -> TransferTextClassifier:
        return TransferTextClassifier(**{"encoder": encoder, **params})

    def again() -> Numbers:
        model = fitted(make(warm_start=True), TEXTS, LABELS)
        return classified(fitted(model, TEXTS[::-1], LABELS[::-1]))

    def continued() -> Numbers:
        steady = {"schedule": "constant", "warmup_fraction": 0, "warm_start": True, "max_epochs": 1}
        model = fitted(make(trainable_layers=1, **steady), TEXTS, LABELS)
        longer = make(trainable_layers=1, **{**steady, "max_epochs": 2})
        return {**training_of(model), **classified(fitted(longer, TEXTS, LABELS))}

    def in_portions() -> Numbers:
        model = make(**SETTINGS)
        for start in (0, 1):
            model.partial_fit(TEXTS[start::2], LABELS[start::2], classes=np.unique(LABELS))
        return classified(model)

    validation = {"X_val": NEW, "y_val": NEW_LABELS}
    return {
        "classifier, decoder": lambda: classified(
            fitted(make(encoder=decoder, pooling="last"), TEXTS, LABELS)
        ),
        "classifier, handle": lambda: classified(
            fitted(make(encoder=fitted(make(), TEXTS, LABELS).encoder_), TEXTS, LABELS)
        ),
        "classifier, weights": lambda: classified(
            fitted(make(), TEXTS, LABELS, sample_weight=WEIGHTS)
        ),
        "classifier, validation rows": lambda: classified(
            fitted(make(max_epochs=3, early_stopping=True), TEXTS, LABELS, **validation)
        ),
        "classifier, windows": lambda: classified(
            fitted(make(max_length=32), [*TEXTS[1:], LONG], LABELS), [LONG, *NEW]
        ),
        "classifier, pairs": lambda: classified(
            fitted(make(pair_encoder="cross"), PAIRS, LABELS), PAIRS[:6]
        ),
        "classifier, symmetric": lambda: classified(
            fitted(make(pair_encoder="cross", symmetric=True), PAIRS, LABELS), PAIRS[:6]
        ),
        "classifier, bi-encoder": lambda: classified(
            fitted(make(pair_encoder="bi"), PAIRS, LABELS), PAIRS[:6]
        ),
        "classifier, multilabel": lambda: classified(
            fitted(make(class_weight="balanced"), TEXTS, INDICATORS)
        ),
        "classifier, warm start": again,
        "classifier, continued": continued,
        "classifier, partial_fit": in_portions,
    }


def regressed(encoder: str, y: Any, **params: Any) -> Numbers:
    """Training and predictions of a regressor."""
    model = fitted(TransferTextRegressor(encoder, **params), TEXTS, y)
    return {**training_of(model), "predictions": model.predict(NEW).tolist()}


def other_cases(encoder: str) -> dict[str, Callable[[], Numbers]]:
    """Estimators with few kinds of fits."""

    def vectors(y: Any, **params: Any) -> Numbers:
        model = fitted(TransferTextVectorizer(encoder, **params), TEXTS, y)
        return {**training_of(model), "features": model.transform(NEW).tolist()}

    def tagged(**params: Any) -> Numbers:
        model = fitted(TransferTokenClassifier(encoder, **params), SENTENCES, TAGS)
        scores = model.predict_proba(SENTENCES[:4])
        return {**training_of(model), "probabilities": np.concatenate(scores).tolist()}

    def chosen(**params: Any) -> Numbers:
        model = fitted(TransferChoiceClassifier(encoder, **params), QUESTIONS, CHOICES)
        return {**training_of(model), "probabilities": model.predict_proba(QUESTIONS).tolist()}

    def answered(y: Any, **params: Any) -> Numbers:
        model = fitted(TransferAnswerExtractor(encoder, max_length=48, **params), PASSAGES, y)
        _, offsets = model.predict(PASSAGES, return_offsets=True)
        return {**training_of(model), "score": [model.score(PASSAGES, y)], "at": offsets.tolist()}

    with_none = [None if i % 3 == 0 else answer for i, answer in enumerate(ANSWERS)]
    return {
        "regressor, several": lambda: regressed(encoder, np.column_stack([STARS, -STARS])),
        "vectorizer, frozen": lambda: vectors(None),
        "vectorizer, layer 1": lambda: vectors(None, layer=1, pooling="concat", normalize=False),
        "vectorizer, tuned": lambda: vectors(LABELS),
        "vectorizer, tuned on numbers": lambda: vectors(STARS),
        "choices, probe": lambda: chosen(max_epochs=0),
        "choices": chosen,
        "tags, probe": lambda: tagged(max_epochs=0),
        "tags": tagged,
        "answers, probe": lambda: answered(ANSWERS, max_epochs=0),
        "answers": lambda: answered(ANSWERS),
        "answers, some missing": lambda: answered(with_none),
    }


def modeled(model: LanguageModel) -> Numbers:
    """Training, score and features of a language model."""
    fitted(model, CORPUS, None)
    return {
        "loss_curve": model.loss_curve_,
        "score": [model.score(CORPUS[:4])],
        "features": model.transform(CORPUS[:2]).tolist(),
    }
