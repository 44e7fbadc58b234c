"""The same estimator on CUDA; skipped where there is none."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from sktransfer import TransferTextClassifier
from sktransfer.runtime import cache_budget

pytestmark = pytest.mark.gpu

TEXTS = ["good film", "best story", "nice music", "bad film", "worst story", "poor music"] * 4
LABELS = (["good"] * 3 + ["bad"] * 3) * 4
NEW = ["good music", "bad story", "nice film " * 60]


def fitted(encoder: str, **parameters: object) -> TransferTextClassifier:
    classifier = TransferTextClassifier(encoder, random_state=0, max_epochs=3, **parameters)
    return classifier.fit(TEXTS, LABELS)


def test_auto_takes_the_gpu_and_weights_come_back(tiny_encoder: str) -> None:
    before = torch.cuda.memory_allocated()
    classifier = fitted(tiny_encoder)
    assert classifier.device_.startswith("cuda")
    assert {p.device.type for p in classifier.model_.parameters()} == {"cpu"}
    classifier.predict(NEW)
    assert torch.cuda.memory_allocated() == before


def test_gpu_and_cpu_agree_in_float32(tiny_encoder: str) -> None:
    parameters = {"max_length": 32, "precision": "float32"}
    # Dropout draws from each device's own generator: without fine-tuning nothing is drawn.
    gpu, cpu = (
        TransferTextClassifier(tiny_encoder, device=device, max_epochs=0, **parameters)
        .fit(TEXTS, LABELS)
        .predict_proba(NEW)
        for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(gpu, cpu, atol=1e-3)


def test_same_seed_same_predictions(tiny_encoder: str) -> None:
    first, second = (fitted(tiny_encoder).predict_proba(NEW) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_global_generators_are_untouched(tiny_encoder: str) -> None:
    before = torch.cuda.get_rng_state()
    fitted(tiny_encoder)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_pickle_moves_between_devices(tiny_encoder: str) -> None:
    classifier = fitted(tiny_encoder, precision="float32")
    copy = pickle.loads(pickle.dumps(classifier)).set_params(device="cpu")
    np.testing.assert_allclose(copy.predict_proba(NEW), classifier.predict_proba(NEW), atol=1e-3)


def test_scarce_memory_halves_the_batch(minilm: str) -> None:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5e9 / total))
    try:
        texts = [f"{text} " * 120 for text in TEXTS]
        classifier = TransferTextClassifier(minilm, batch_size=24, max_epochs=1, random_state=0)
        classifier.fit(texts, LABELS)
        assert np.isfinite(classifier.loss_curve_).all()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_shared_states_change_nothing_that_matters(tiny_encoder: str) -> None:
    settings = {"trainable_layers": 1, "precision": "float32", "device": "cuda"}
    with cache_budget(0):
        alone = fitted(tiny_encoder, **settings).predict_proba(NEW)
    for _ in range(2):
        found = fitted(tiny_encoder, **settings).predict_proba(NEW)
        np.testing.assert_allclose(found, alone, atol=1e-3)


def test_allocated_memory_is_flat(tiny_encoder: str) -> None:
    before = torch.cuda.memory_allocated()
    for rate in (1e-4, 3e-4, 1e-3):
        settings = {"trainable_layers": 1, "learning_rate": rate, "device": "cuda"}
        fitted(tiny_encoder, **settings).predict(NEW)
        assert torch.cuda.memory_allocated() == before
