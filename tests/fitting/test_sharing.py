"""What fits share changes nothing but their cost."""

from __future__ import annotations

import copy
import pickle
import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import sktransfer.nn.split as halves_module
from sktransfer import (
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
    TransferTokenClassifier,
)
from sktransfer.encoders import EncoderHandle, resolve_encoder
from sktransfer.fitting.predictor import Predictor
from sktransfer.inputs import encode_rows
from sktransfer.inputs.tokens import content_ids
from sktransfer.runtime import cache, cache_budget
from sktransfer.runtime import store as store_module

from .._rounding import assert_same_numbers

TEXTS = [
    "the film was good", "a bad and boring plot", "we love this movie", "the worst actor",
    "excellent and wonderful", "a sad dull scene", "great fun", "terrible", "nice story",
    "i hate it", "happy people enjoy the show", "an ugly wrong thing that nobody could love",
] * 2  # fmt: skip
TEXTS = [f"{text} {number}" for number, text in enumerate(TEXTS)]
LABELS = ["good", "bad"] * 12
NEW = ["a text that nobody has read", "another good film"]
LONG = " ".join(["the", "film", "was", "good"] * 12)
SETTINGS: dict[str, dict[str, Any]] = {
    "probe": {"max_epochs": 0},
    "one layer": {"trainable_layers": 1},
    "head alone": {"trainable_layers": 0, "max_epochs": 3, "head_init": "random"},
    "all layers": {},
    "embeddings": {"trainable_layers": "all"},
    "unfreezing": {"gradual_unfreezing": True},
    "two layers pooled": {"trainable_layers": 1, "pooling_layers": 2, "pooling": "concat"},
    "auxiliary": {"trainable_layers": 1, "lm_weight": 0.3},
    "bfloat16": {"trainable_layers": 1, "precision": "bfloat16"},
    "float32": {"trainable_layers": 1, "precision": "float32"},
}


@pytest.fixture(autouse=True)
def empty_cache() -> Any:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(scope="module")
def deep_encoder(tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a four-layer BERT."""
    from transformers import AutoConfig, BertModel

    folder = tmp_path_factory.mktemp("deep_encoder")
    config = AutoConfig.from_pretrained(tiny_encoder, num_hidden_layers=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    shutil.copy(Path(tiny_encoder, "tokenizer.json"), folder)
    return str(folder)


def fitted(encoder: str, X: Any = TEXTS, **parameters: Any) -> TransferTextClassifier:
    settings: dict[str, Any] = {"max_epochs": 2, "max_length": 24, "random_state": 0}
    settings |= {"device": "cpu", "lexical_weight": 0.2, **parameters}
    return TransferTextClassifier(encoder, **settings).fit(X, LABELS)


def outcome(classifier: TransferTextClassifier) -> tuple[Any, ...]:
    weights = {name: value.numpy() for name, value in classifier.model_.state_dict().items()}
    return weights, classifier.loss_curve_, classifier.predict_proba([*TEXTS[::-1], LONG])


def assert_same(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    assert first[0].keys() == second[0].keys()
    for name, value in first[0].items():
        assert_same_numbers(value, second[0][name], err_msg=name)
    for one, other in zip(first[1:], second[1:], strict=True):
        assert_same_numbers(one, other)


@pytest.mark.parametrize("name", SETTINGS)
def test_results_are_those_without_the_cache(tiny_encoder: str, name: str) -> None:
    X = [*TEXTS[:-1], LONG]
    with cache_budget(0):
        alone = outcome(fitted(tiny_encoder, X, **SETTINGS[name]))
        assert cache.n_bytes == 0
    first = outcome(fitted(tiny_encoder, X, **SETTINGS[name]))
    # Half of the texts are known from another fit, in other batches.
    cache.clear()
    fitted(tiny_encoder, TEXTS[:12] * 2, **SETTINGS[name])
    second = outcome(fitted(tiny_encoder, X, **SETTINGS[name]))
    assert_same(alone, first)
    assert_same(alone, second)


def test_a_small_budget_changes_nothing_either(tiny_encoder: str) -> None:
    with cache_budget(0):
        alone = outcome(fitted(tiny_encoder, trainable_layers=1))
    with cache_budget(20_000):
        small = outcome(fitted(tiny_encoder, trainable_layers=1))
        assert cache.n_bytes <= 20_000
    assert_same(alone, small)


def test_decoders_too(tiny_decoder: str) -> None:
    settings = {"trainable_layers": 1, "pooling": "last", "max_length": 64}
    with cache_budget(0):
        alone = outcome(fitted(tiny_decoder, **settings))
    fitted(tiny_decoder, **settings)
    assert_same(alone, outcome(fitted(tiny_decoder, **settings)))


def test_words_and_numbers_too(tiny_encoder: str) -> None:
    words = [text.split() for text in TEXTS]
    tags = [["B-x" if len(word) > 4 else "O" for word in row] for row in words]
    settings: dict[str, Any] = {"max_epochs": 2, "trainable_layers": 1, "random_state": 0}

    def tag() -> list[Any]:
        return TransferTokenClassifier(tiny_encoder, **settings).fit(words, tags).predict(words)

    def number() -> Any:
        regressor = TransferTextRegressor(tiny_encoder, **settings)
        return regressor.fit(TEXTS, np.arange(24.0)).predict(TEXTS)

    with cache_budget(0):
        alone = tag(), number()
    for _ in range(2):
        assert tag() == alone[0]
        assert_same_numbers(number(), alone[1])


Windows = Counter[tuple[int, ...]]


def count(passes: Windows, token_ids: torch.Tensor, attention_mask: torch.Tensor) -> None:
    """Count a pass for each distinct window in it, whatever its padding."""
    pairs = zip(token_ids, attention_mask.bool(), strict=True)
    passes.update({tuple(ids[mask].tolist()) for ids, mask in pairs})


def windows_of(encoder: str, texts: list[str]) -> list[tuple[int, ...]]:
    _, tokenizer = resolve_encoder(encoder).load()
    rows = encode_rows(texts, tokenizer, max_length=24, long_texts="window")
    return [tuple(window.tolist()) for window in rows.windows]


@pytest.fixture
def lower_passes(monkeypatch: pytest.MonkeyPatch) -> Windows:
    """Passes of each window through the lower layers, from now on."""
    passes: Windows = Counter()
    lower = halves_module.SplitEncoder.lower

    def counted(self: Any, inputs: dict[str, torch.Tensor], *args: Any) -> Any:
        count(passes, inputs["input_ids"], inputs["attention_mask"])
        return lower(self, inputs, *args)

    monkeypatch.setattr(halves_module.SplitEncoder, "lower", counted)
    return passes


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_frozen_layers_read_each_text_once(
    tiny_encoder: str, lower_passes: Windows, precision: str
) -> None:
    windows = windows_of(tiny_encoder, TEXTS)
    settings: dict[str, Any] = {"trainable_layers": 1, "max_epochs": 3, "label_texts": None}
    settings["precision"] = precision
    fitted(tiny_encoder, **settings)
    assert [lower_passes[window] for window in windows] == [1] * len(TEXTS)
    fitted(tiny_encoder, **settings, learning_rate=1e-3)
    assert [lower_passes[window] for window in windows] == [1] * len(TEXTS)
    with cache_budget(0):
        fitted(tiny_encoder, **settings)
        assert min(lower_passes[window] for window in windows) >= 1 + settings["max_epochs"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_unfreezing_reads_each_text_once(
    deep_encoder: str, lower_passes: Windows, precision: str
) -> None:
    settings: dict[str, Any] = {"gradual_unfreezing": True, "max_epochs": 4, "label_texts": None}
    settings["precision"] = precision
    with cache_budget(0):
        alone = outcome(fitted(deep_encoder, **settings))
    lower_passes.clear()
    assert_same(alone, outcome(fitted(deep_encoder, **settings)))
    assert [lower_passes[window] for window in windows_of(deep_encoder, TEXTS)] == [1] * len(TEXTS)


def test_a_search_over_heads_encodes_once(
    tiny_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sktransfer.encoders.transformer import HuggingFaceEncoder

    passes: Windows = Counter()
    forward, packed = HuggingFaceEncoder.forward, HuggingFaceEncoder.packed

    def counted(self: Any, ids: torch.Tensor, mask: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        count(passes, ids, mask)
        return forward(self, ids, mask, *args, **kwargs)

    def counted_packed(self: Any, groups: Any, n_layers: int) -> Any:
        before = passes.copy()
        given = packed(self, groups, n_layers)
        passes.clear()  # of the example that shows whether the encoder can be packed
        passes.update(before)
        for ids, _ in groups:
            if ids.any():  # not what fills the pack up
                count(passes, ids, torch.ones_like(ids))
        return given

    monkeypatch.setattr(HuggingFaceEncoder, "forward", counted)
    monkeypatch.setattr(HuggingFaceEncoder, "packed", counted_packed)
    classifier = TransferTextClassifier(tiny_encoder, max_epochs=0, label_texts=None)
    search = GridSearchCV(classifier, {"C": [0.1, 1.0, 10.0], "class_weight": [None, "balanced"]})
    search.fit(TEXTS, LABELS)
    assert passes == dict.fromkeys(windows_of(tiny_encoder, TEXTS), 1)


def test_weights_are_shared_until_they_train(tiny_encoder: str) -> None:
    first, second = (fitted(tiny_encoder, trainable_layers=1) for _ in range(2))
    places = [
        {name: value.data_ptr() for name, value in clf.model_.encoder.named_parameters()}
        for clf in (first, second)
    ]
    shared = {name for name in places[0] if places[0][name] == places[1][name]}
    top = first.model_.encoder.layers()[-1]
    trained = {id(parameter) for parameter in top.parameters()}
    named = dict(first.model_.encoder.named_parameters())
    assert shared == {name for name, value in named.items() if id(value) not in trained}


def test_training_leaves_the_shared_weights(tiny_encoder: str) -> None:
    handle = resolve_encoder(tiny_encoder)
    before = {name: p.clone() for name, p in handle.load_shared()[0].named_parameters()}
    settings = {"learning_rate": 0.1, "early_stopping": True, "validation_fraction": 0.25}
    classifier = fitted(tiny_encoder, trainable_layers="all", **settings)
    classifier.set_params(warm_start=True).fit(TEXTS, LABELS)
    for name, value in handle.load_shared()[0].named_parameters():
        assert torch.equal(value, before[name]), name


def test_a_load_for_others_is_independent(tiny_encoder: str) -> None:
    handle = resolve_encoder(tiny_encoder)
    encoder, _ = handle.load()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in handle.load_shared()[0].parameters())


def test_fine_tuned_encoders_are_told_apart(tiny_encoder: str) -> None:
    handles: list[EncoderHandle] = [
        fitted(tiny_encoder, learning_rate=rate).encoder_ for rate in (1e-3, 3e-3)
    ]
    features = [TransferTextVectorizer(handle).fit_transform(TEXTS) for handle in handles]
    assert not np.array_equal(features[0], features[1])
    with cache_budget(0):
        again = TransferTextVectorizer(pickle.loads(pickle.dumps(handles[0]))).fit_transform(TEXTS)
    assert_same_numbers(features[0], again)


def test_warm_starts_and_copies_know_what_has_changed(tiny_encoder: str) -> None:
    def train(budget: int) -> Any:
        with cache_budget(budget):
            classifier = fitted(tiny_encoder, trainable_layers=1, warm_start=True)
            classifier.predict(TEXTS)
            classifier.set_params(trainable_layers=None).fit(TEXTS, LABELS)
            other = copy.deepcopy(classifier).set_params(trainable_layers=1).fit(TEXTS, LABELS)
            other = pickle.loads(pickle.dumps(other)).partial_fit(TEXTS, LABELS)
            return classifier.predict_proba(TEXTS), other.predict_proba(TEXTS)

    alone, shared = train(0), train(1 << 28)
    assert_same_numbers(alone[0], shared[0])
    assert_same_numbers(alone[1], shared[1])


def test_adapted_encoders_share_with_nobody(tiny_encoder: str) -> None:
    def train(seed: int) -> Any:
        settings = {"adapt_epochs": 1, "trainable_layers": 1, "random_state": seed}
        return fitted(tiny_encoder, **settings).predict_proba(TEXTS)

    with cache_budget(0):
        alone = [train(0), train(1)]
    for expected, seed in zip(alone, (0, 1), strict=True):
        assert_same_numbers(train(seed), expected)


def test_threads_get_the_same(tiny_encoder: str) -> None:
    expected = outcome(fitted(tiny_encoder, trainable_layers=1))
    cache.clear()
    found: list[tuple[Any, ...]] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(outcome(fitted(tiny_encoder, trainable_layers=1)))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for each in found:
        assert_same(expected, each)


def test_processes_get_the_same(tiny_encoder: str) -> None:
    # Workers that another test left idle may be ending, and joblib would wait for them.
    get_reusable_executor().shutdown(wait=True, kill_workers=True)
    classifier = TransferTextClassifier(
        tiny_encoder, trainable_layers=1, max_epochs=1, random_state=0, device="cpu"
    )
    grid = {"learning_rate": [1e-3, 1e-2]}
    results = [
        GridSearchCV(clone(classifier), grid, cv=2, n_jobs=n_jobs, refit=False)
        .fit(TEXTS, LABELS)
        .cv_results_["mean_test_score"]
        for n_jobs in (None, 2)
    ]
    assert_same_numbers(*results)


@pytest.mark.parametrize("kind", ["path", "str", "joblib"])
def test_a_folder_outlives_the_process(
    tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = tmp_path / "kept"
    memory: Any = {"path": folder, "str": str(folder), "joblib": joblib.Memory(folder, verbose=0)}
    settings = {"max_epochs": 0, "memory": memory[kind]}
    plain = fitted(tiny_encoder, max_epochs=0).predict_proba(TEXTS)
    cache.clear()
    assert_same_numbers(plain, fitted(tiny_encoder, **settings).predict_proba(TEXTS))
    assert list(folder.rglob("*.safetensors"))
    cache.clear()
    store_module._shelf.cache_clear()  # as a new process

    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the encoder ran again")

    monkeypatch.setattr("sktransfer.encoders.transformer.HuggingFaceEncoder.forward", fail)
    with cache_budget(0):
        assert_same_numbers(plain, fitted(tiny_encoder, **settings).predict_proba(TEXTS))
        fitted(tiny_encoder, **settings, C=1e-3)
        for other in ({"pooling": "max"}, {"precision": "bfloat16"}, {"pooling_layers": 2}):
            with pytest.raises(AssertionError, match="ran again"):
                fitted(tiny_encoder, **settings, **other)
    classifier = fitted(tiny_encoder, **settings)
    with pytest.raises(AssertionError, match="ran again"):
        classifier.predict(["a text that nobody has read"])


def test_a_folder_keeps_states_of_frozen_layers(tiny_encoder: str, tmp_path: Path) -> None:
    settings = {"trainable_layers": 1, "memory": tmp_path}
    plain = outcome(fitted(tiny_encoder, trainable_layers=1))
    for _ in range(2):
        cache.clear()
        store_module._shelf.cache_clear()
        with cache_budget(0):
            assert_same(plain, outcome(fitted(tiny_encoder, **settings)))
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) <= 5, "many small files"
    fitted(tiny_encoder, **settings, learning_rate=1e-3).predict(TEXTS)
    assert sorted(tmp_path.rglob("*.safetensors")) == files


def test_nothing_is_written_unasked(
    tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for memory in (None, joblib.Memory(None)):
        fitted(tiny_encoder, trainable_layers=1, memory=memory).predict(TEXTS)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_passed_over(tiny_encoder: str, tmp_path: Path) -> None:
    plain = outcome(fitted(tiny_encoder, max_epochs=0, memory=tmp_path))
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    cache.clear()
    store_module._shelf.cache_clear()
    assert_same(plain, outcome(fitted(tiny_encoder, max_epochs=0, memory=tmp_path)))


def test_a_folder_that_cannot_be_written(tiny_encoder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    classifier = TransferTextClassifier(tiny_encoder, memory=tmp_path / "file", max_epochs=0)
    with pytest.raises(ValueError, match=r"memory: .*file cannot be made"):
        classifier.fit(TEXTS, LABELS)
    assert not hasattr(classifier, "model_")


def test_a_folder_that_has_gone_does_no_harm(tiny_encoder: str, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    classifier = fitted(tiny_encoder, max_epochs=0, memory=folder)
    expected = classifier.predict_proba(NEW)
    shutil.rmtree(folder)
    folder.write_text("no folder any more")
    cache.clear()
    store_module._shelf.cache_clear()
    moved = pickle.loads(pickle.dumps(classifier))
    assert_same_numbers(moved.predict_proba(NEW), expected)


def test_ids_are_made_once() -> None:
    class Letters:
        calls = 0

        def encode(self, texts: list[str]) -> list[np.ndarray]:
            self.calls += len(texts)
            return [np.array([ord(c) for c in text], dtype=np.int32) for text in texts]

    letters = Letters()
    first = content_ids(letters, ["ab", "c"])
    second = content_ids(letters, ["c", "d", "ab"])
    assert [ids.tolist() for ids in second] == [[99], [100], [97, 98]]
    assert letters.calls == 3
    assert second[2] is first[0]
    with pytest.raises(ValueError, match="read-only"):
        first[0][0] = 1
    assert [ids.tolist() for ids in content_ids(Letters(), ["ab"])] == [[97, 98]]


def test_streams_are_read_some_rows_at_a_time(
    tiny_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sktransfer.estimators.encoding._ROWS_AT_ONCE", 5)
    classifier = fitted(tiny_encoder, max_epochs=0)
    vectorizer = TransferTextVectorizer(tiny_encoder).fit(TEXTS)
    expected = classifier.predict_proba(TEXTS), vectorizer.transform(TEXTS)
    most: list[int] = []
    encode = Predictor.encode

    def counted(self: Any, texts: Any) -> Any:
        most.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(Predictor, "encode", counted)
    assert_allclose(classifier.predict_proba(text for text in TEXTS), expected[0], rtol=1e-5)
    assert_allclose(vectorizer.transform(iter(TEXTS)), expected[1], atol=1e-6)
    assert most == [5, 5, 5, 5, 4] * 2
    for function in (classifier.predict, vectorizer.transform):
        assert len(function(iter([]))) == 0
        with pytest.raises(TypeError, match="From row 20 on: Row 3 of X"):
            function(iter([*TEXTS[:23], 7]))


CONSTANT: dict[str, Any] = {"warm_start": True, "schedule": "constant", "warmup_fraction": 0.0}


@pytest.mark.parametrize("trainable_layers", [1, None, 0])
def test_longer_trainings_go_on_from_shorter_ones(
    tiny_encoder: str, monkeypatch: pytest.MonkeyPatch, trainable_layers: int | None
) -> None:
    settings = CONSTANT | {"trainable_layers": trainable_layers}
    with cache_budget(0):
        alone = [outcome(fitted(tiny_encoder, max_epochs=n, **settings)) for n in (2, 5)]
    steps: list[int] = []
    step = torch.optim.AdamW.step

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        steps.append(1)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)
    for n, expected, n_new in ((2, alone[0], 2), (5, alone[1], 3), (2, alone[0], 0)):
        steps.clear()
        assert_same(expected, outcome(fitted(tiny_encoder, max_epochs=n, **settings)))
        assert len(steps) == n_new  # 24 rows and two labels are a batch
    for other in ({"random_state": 1}, {"learning_rate": 1e-3}, {"C": 1.0}):
        steps.clear()
        fitted(tiny_encoder, max_epochs=2, **settings, **other)
        assert len(steps) == 2
    steps.clear()
    fitted(tiny_encoder, [*TEXTS[1:], "another"], max_epochs=2, **settings)
    assert len(steps) == 2


def test_a_second_fit_goes_on_from_the_first(tiny_encoder: str) -> None:
    def twice() -> tuple[Any, ...]:
        settings = CONSTANT | {"trainable_layers": 0, "head_refit": False, "max_epochs": 2}
        return outcome(fitted(tiny_encoder, **settings).fit(TEXTS, LABELS))

    with cache_budget(0):
        alone = twice()
    assert_same(alone, twice())


def test_a_rate_that_falls_starts_anew(tiny_encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for change in ({"schedule": "linear"}, {"warmup_fraction": 0.1}, {"warm_start": False}):
        settings = CONSTANT | {"trainable_layers": 1} | change
        with cache_budget(0):
            alone = outcome(fitted(tiny_encoder, max_epochs=3, **settings))
        fitted(tiny_encoder, max_epochs=1, **settings)
        assert_same(alone, outcome(fitted(tiny_encoder, max_epochs=3, **settings)))


def test_successive_halving_over_epochs(tiny_encoder: str) -> None:
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    classifier = TransferTextClassifier(
        tiny_encoder, trainable_layers=1, random_state=0, device="cpu", **CONSTANT
    )

    def search() -> Any:
        halving = HalvingGridSearchCV(
            classifier,
            {"learning_rate": [1e-4, 1e-3, 1e-2]},
            resource="max_epochs",
            min_resources=1,
            max_resources=3,
            cv=2,
            random_state=0,
            refit=False,
        )
        return halving.fit(TEXTS, LABELS).cv_results_["mean_test_score"]

    with cache_budget(0):
        alone = search()
    assert_same_numbers(search(), alone)
