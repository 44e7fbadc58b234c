"""Language modeling on CUDA; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from sktransfer import LanguageModel, TransferTextClassifier

pytestmark = pytest.mark.gpu

TEXTS = ["the father saw some water today", "the mother made some bread today"] * 30
LABELS = ["water", "bread"] * 30
SIZES = {"embedding_size": 32, "hidden_size": 32, "n_layers": 2, "n_heads": 2, "max_length": 16}


def devices_of(model: torch.nn.Module) -> set[str]:
    return {parameter.device.type for parameter in model.parameters()}


@pytest.mark.parametrize(
    "parameters",
    [
        {"architecture": "awd_lstm", "direction": "both"},
        {"architecture": "gpt", "vocab_size": 400},
        {"architecture": "bert", "vocab_size": 400},
    ],
)
@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_networks_from_scratch(parameters, precision, tmp_path) -> None:
    model = LanguageModel(
        **SIZES,
        **parameters,
        precision=precision,
        max_epochs=5,
        checkpoint=tmp_path,
        checkpoint_seconds=0,
        random_state=0,
    ).fit(TEXTS, X_val=TEXTS[:8])
    assert model.device_.startswith("cuda")
    assert devices_of(model.model_) == {"cpu"}
    assert model.validation_scores_[4] > model.validation_scores_[0]
    assert model.score(TEXTS) == pytest.approx(
        model.set_params(device="cpu").score(TEXTS), rel=0.05
    )


def test_an_lstm_is_adapted_beside_a_task() -> None:
    model = LanguageModel(architecture="awd_lstm", **SIZES, max_epochs=2, random_state=0).fit(TEXTS)
    classifier = TransferTextClassifier(
        model.encoder_, adapt_epochs=3, lm_weight=0.5, max_epochs=2, max_length=8, random_state=0
    ).fit(TEXTS, LABELS)
    assert devices_of(classifier.model_) == {"cpu"}
    assert classifier.score(TEXTS, LABELS) == 1.0
    adapted = LanguageModel(classifier.encoder_, max_epochs=0).fit(TEXTS)
    assert adapted.score(TEXTS) > model.score(TEXTS)


def test_the_default_encoder_is_adapted(minilm: str) -> None:
    before, after = (
        LanguageModel(minilm, max_epochs=n, max_length=32, random_state=0).fit(TEXTS)
        for n in (0, 5)
    )
    assert after.perplexity(TEXTS) < before.perplexity(TEXTS)
    assert devices_of(after.model_) == {"cpu"}
