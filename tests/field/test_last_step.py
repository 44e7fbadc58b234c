"""A last step that breaks the network raises, whose loss was taken before it."""

from __future__ import annotations

import numpy as np
import pytest

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

TEXTS, LABELS = reviews(12)
ROWS = {
    TransferTextClassifier: (TEXTS, LABELS),
    TransferTextVectorizer: (TEXTS, LABELS),
    TransferTextRegressor: (TEXTS, np.arange(12.0)),
    TransferChoiceClassifier: (
        [("falls", "rain", "fire"), ("burns", "rain", "fire")] * 6,
        [0, 1] * 6,
    ),
    TransferTokenClassifier: (
        [["the", "city"], ["a", "dog"]] * 6,
        [["O", "LOC"], ["O", "O"]] * 6,
    ),
    TransferAnswerExtractor: ([("where", "in the city")] * 12, ["city"] * 12),
}


@pytest.fixture
def make(tiny_encoder):
    def build(kind, **parameters):
        settings = {"max_epochs": 1, "batch_size": 64, "device": "cpu", "random_state": 0}
        return kind(tiny_encoder, **{"warmup_fraction": 0.0, **settings, **parameters})

    return build


@pytest.mark.parametrize("rate", [1e10, 1e37])
@pytest.mark.parametrize("kind", ROWS)
def test_a_last_step_that_breaks_the_network_raises(make, kind, rate):
    # There is one step. The weights that it leaves are finite, and too large to compute with.
    X, y = ROWS[kind]
    model = make(kind).fit(X, y)
    before = dict(vars(model))
    with pytest.raises(FloatingPointError, match=r"epoch 1\. Lower learning_rate"):
        model.set_params(learning_rate=rate).fit(X, y)
    assert vars(model) == {**before, "learning_rate": rate}


@pytest.mark.parametrize("encoder", ["tiny_encoder", "tiny_decoder"])
def test_a_last_step_that_breaks_a_language_model_raises(encoder, request):
    model = LanguageModel(
        request.getfixturevalue(encoder), learning_rate=1e10, warmup_fraction=0.0, device="cpu"
    )
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        model.fit(TEXTS)
    assert not hasattr(model, "model_")


def test_a_last_step_that_breaks_partial_fit_raises(make):
    model = make(TransferTextClassifier, learning_rate=1e10)
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        model.partial_fit(TEXTS, LABELS, classes=["bad", "good"])
    assert not hasattr(model, "model_")


@pytest.mark.parametrize("kind", [TransferTextClassifier, TransferTextRegressor])
def test_a_last_step_that_breaks_the_validation_scores_raises(make, kind):
    X, y = ROWS[kind]
    model = make(kind, learning_rate=1e10)
    with pytest.raises(FloatingPointError, match=r"validation rows .* Lower learning_rate"):
        model.fit(X, y, X_val=X, y_val=y)
