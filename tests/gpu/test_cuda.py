"""The same estimator on CUDA; skipped where there is none."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV

from sktransfer import TransferTextClassifier
from sktransfer.inputs.batches import Batch
from sktransfer.runtime import Graphs, cache_budget, device_memory
from sktransfer.runtime import graphs as graphs_module
from sktransfer.tasks import logistic_regression

pytestmark = pytest.mark.gpu

TEXTS = ["good film", "best story", "nice music", "bad film", "worst story", "poor music"] * 4
LABELS = (["good"] * 3 + ["bad"] * 3) * 4
NEW = ["good music", "bad story", "nice film " * 60]


def fitted(encoder: str, **parameters: object) -> TransferTextClassifier:
    classifier = TransferTextClassifier(encoder, random_state=0, max_epochs=3, **parameters)
    return classifier.fit(TEXTS, LABELS)


def test_auto_takes_the_gpu_and_weights_stay_there(tiny_encoder: str) -> None:
    device_memory.clear()
    classifier = fitted(tiny_encoder)
    assert classifier.device_.startswith("cuda")
    assert {p.device.type for p in classifier.model_.parameters()} == {"cpu"}
    kinds = [kind for kind, device, _ in device_memory.contents() if device.startswith("cuda")]
    assert kinds.count("TransferModel") == 1
    classifier.predict(NEW)
    assert device_memory.contents()[-1][0] == "TransferModel"
    assert len(device_memory.contents()) == len(kinds)
    del classifier
    gc.collect()
    assert "TransferModel" not in [kind for kind, _, _ in device_memory.contents()]


def test_nothing_is_left_of_estimators_that_have_gone(
    tiny_encoder: str, leaves_nothing: Callable[[Callable[[], None]], None]
) -> None:
    def run() -> None:
        for rate in (1e-4, 3e-4, 1e-3):
            settings = {"trainable_layers": 1, "learning_rate": rate, "device": "cuda"}
            classifier = fitted(tiny_encoder, **settings)
            for _ in range(3):
                classifier.predict(NEW)

    leaves_nothing(run)


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


def test_pretrained_weights_are_on_the_gpu_once(tiny_encoder: str) -> None:
    device_memory.clear()
    models = [fitted(tiny_encoder, trainable_layers=1) for _ in range(3)]
    sizes = [size for _, device, size in device_memory.contents() if device.startswith("cuda")]
    whole = sum(p.nbytes for p in models[0].model_.parameters())
    assert max(sizes) <= whole
    # Each other copy has only what was trained: less than half of this encoder.
    assert sorted(sizes)[-2] < whole / 2


def test_small_passes_are_captured_and_equal(tiny_encoder: str) -> None:
    classifier = fitted(tiny_encoder, precision="float32")
    first, *others = (classifier.predict_proba(NEW) for _ in range(4))
    for again in others:
        np.testing.assert_allclose(again, first, atol=1e-5)
    on_cpu = classifier.set_params(device="cpu").predict_proba(NEW)
    np.testing.assert_allclose(on_cpu, first, atol=1e-3)


def test_captured_steps_learn_what_others_learn(
    tiny_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"precision": "float32", "device": "cuda", "max_epochs": 8}
    captured = TransferTextClassifier(tiny_encoder, random_state=0, **settings).fit(TEXTS, LABELS)
    monkeypatch.setattr(graphs_module, "_MOST_TOKENS", 0)
    launched = TransferTextClassifier(tiny_encoder, random_state=0, **settings).fit(TEXTS, LABELS)
    # Dropout draws the same numbers at other places of the generator.
    np.testing.assert_allclose(captured.loss_curve_, launched.loss_curve_, rtol=0.5)
    assert captured.score(TEXTS, LABELS) == launched.score(TEXTS, LABELS) == 1.0


def test_a_computation_that_reads_values_is_not_captured() -> None:
    device = torch.device("cuda")

    def compute(batch: Batch) -> list[torch.Tensor]:
        if batch.token_ids.sum().item() > 10:
            return [batch.token_ids * 2]
        return [batch.token_ids]

    graphs: Graphs[Batch] = Graphs(device, compute)
    for value in (1, 20, 2, 30):
        ids = torch.full((2, 4), value)
        (found,) = graphs(Batch(ids, torch.ones_like(ids), ids > 0, None))
        assert found.tolist() == (ids * (2 if value * 8 > 10 else 1)).tolist()
    # The generator of the device still draws.
    assert torch.rand(3, device=device).shape == (3,)


def test_a_failed_capture_leaves_the_generator_usable() -> None:
    device = torch.device("cuda")

    def compute(batch: Batch) -> list[torch.Tensor]:
        torch.cuda.synchronize()  # no operator, so that nobody sees it coming
        return [torch.nn.functional.dropout(batch.token_ids.float(), 0.5)]

    graphs: Graphs[Batch] = Graphs(device, compute)
    ids = torch.ones(2, 4, dtype=torch.int64)
    for _ in range(4):
        (found,) = graphs(Batch(ids, ids, ids > 0, None))
        assert set(found.unique().tolist()) <= {0.0, 2.0}
    assert torch.rand(3, device=device).shape == (3,)


def test_threads_predict_at_the_same_time(tiny_encoder: str) -> None:
    classifier = fitted(tiny_encoder)
    texts = [NEW[:1], NEW[1:2], NEW[:2], [f"{text} film" for text in NEW]]
    alone = [classifier.predict_proba(part) for part in texts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(classifier.predict_proba, texts * 25))
    for number, scores in enumerate(found):
        np.testing.assert_allclose(scores, alone[number % 4], atol=1e-4)


def test_one_thread_fits_while_another_predicts(tiny_encoder: str) -> None:
    classifier = fitted(tiny_encoder)
    alone = classifier.predict_proba(NEW)
    with ThreadPoolExecutor(2) as pool:
        fits = [pool.submit(fitted, tiny_encoder) for _ in range(3)]
        while not all(fit.done() for fit in fits):
            np.testing.assert_allclose(classifier.predict_proba(NEW), alone, atol=1e-4)
    first, *others = (fit.result().predict_proba(NEW) for fit in fits)
    for again in others:
        np.testing.assert_array_equal(again, first)


def test_the_budget_releases_what_was_used_longest_ago(tiny_encoder: str) -> None:
    device_memory.clear()
    classifiers = [fitted(tiny_encoder) for _ in range(3)]
    size = sum(p.nbytes for p in classifiers[0].model_.parameters())
    try:
        device_memory.budget = 2 * size
        assert sum(n_bytes for _, _, n_bytes in device_memory.contents()) <= 2 * size
        device_memory.budget = 0
        assert device_memory.contents() == []
        assert len(classifiers[0].predict(NEW)) == len(NEW)
    finally:
        device_memory.budget = None


def test_scarce_memory_drops_resident_copies_first(minilm: str) -> None:
    device_memory.clear()
    others = [TransferTextClassifier(minilm, max_epochs=1).fit(TEXTS, LABELS) for _ in range(4)]
    assert len(device_memory.contents()) >= 4
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.2e9 / total))
    try:
        texts = [f"{text} " * 120 for text in TEXTS]
        TransferTextClassifier(minilm, batch_size=24, max_epochs=1, random_state=0).fit(
            texts, LABELS
        )
        assert len(device_memory.contents()) < 4
        assert len(others[0].predict(NEW)) == len(NEW)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_searches_in_processes(tiny_encoder: str) -> None:
    search = GridSearchCV(
        TransferTextClassifier(tiny_encoder, random_state=0, max_epochs=2, device="cuda"),
        {"learning_rate": [1e-4, 1e-3]},
        cv=2,
        n_jobs=2,
    )
    assert search.fit(TEXTS, LABELS).score(TEXTS, LABELS) > 0.5


def test_a_gpu_solves_what_scikit_learn_solves() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 20))
    for n_classes in (2, 5):
        codes = rng.integers(n_classes, size=300)
        weights = rng.uniform(0.5, 2.0, size=300)
        here, there = (
            logistic_regression(features, codes, weights, C=10.0, tol=1e-6, device=device)
            for device in (None, torch.device("cuda"))
        )
        np.testing.assert_allclose(there[0], here[0], atol=1e-5)
        np.testing.assert_allclose(there[1], here[1], atol=1e-5)
