"""Threads, forks, interrupts and other people's settings change no result."""

import copy
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktransfer import (
    LanguageModel,
    TransferAnswerExtractor,
    TransferChoiceClassifier,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
    TransferTokenClassifier,
)
from sktransfer.fitting.context import FitParameters
from sktransfer.fitting.continuation import _NOT_DECIDING, _deciding
from sktransfer.runtime import cache

from .._reviews import reviews
from .._rounding import assert_same_numbers
from .._sentences import sentences

TEXTS, LABELS = reviews(24, n_classes=2, seed=5)
NEW, _ = reviews(10, n_classes=2, seed=6)
SETTINGS = {"device": "cpu", "max_epochs": 1, "random_state": 0}


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def make(tiny_encoder):
    return lambda **parameters: TransferTextClassifier(tiny_encoder, **{**SETTINGS, **parameters})


def run_script(script, *arguments, timeout=120):
    """Run Python code in a process of its own, which has to end in time."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_memory_folder_gets_what_the_process_holds_already(make, tmp_path):
    make(max_epochs=0).fit(TEXTS, LABELS)
    make(max_epochs=0, memory=tmp_path).fit(TEXTS, LABELS)
    assert list(tmp_path.rglob("*.safetensors"))
    cache.clear()
    read = []
    forward = torch.nn.Embedding.forward

    def counted(self, ids):
        read.append(ids)
        return forward(self, ids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Embedding, "forward", counted)
        model = make(max_epochs=0, memory=tmp_path)
        model.fit(TEXTS, LABELS)
    # Loading looks at an example; label texts and nothing else are new.
    n_read = sum(len(ids) for ids in read if ids.ndim == 2 and ids.shape[1] > 4)
    assert n_read == 0


def test_what_a_continued_training_depends_on_is_every_parameter(make):
    """A parameter that is added is a part of the key, unless somebody says why it is not."""
    deciding = _deciding(FitParameters.of(make().get_params(deep=False)))
    others = FitParameters.of(make(max_epochs=9, memory="m", verbose=1).get_params(deep=False))
    assert deciding == _deciding(replace(others, encoder="other"))
    assert {"max_epochs", "encoder", "memory", "verbose"} == {*_NOT_DECIDING}
    # What is not among them is in the rows, their weights and their task.
    elsewhere = {"label_texts", "class_weight", "contrastive_weight"}
    elsewhere |= {"long_texts", "missing"}
    left = {*make().get_params(deep=False)} - {field.name for field in fields(FitParameters)}
    assert left == {*elsewhere, "random_state", "validation_fraction"}


@pytest.mark.parametrize(
    "change",
    [
        {"contrastive_weight": 0.0},
        {"class_weight": "balanced"},
        {"label_texts": None},
        {"weight_decay": 0.5},
        {"C": 1.0},
        {"max_length": 8},
        {"pooling": "max"},
        {"layer_decay": 0.5},
        {"batch_size": 4},
    ],
)
def test_a_training_goes_on_from_no_other_one(make, change):
    steady = {
        "schedule": "constant",
        "warmup_fraction": 0,
        "warm_start": True,
        "trainable_layers": 1,
        "precision": "float32",
    }
    make(**steady).fit(TEXTS, LABELS)
    after = make(**{**steady, **change, "max_epochs": 2}).fit(TEXTS, LABELS).loss_curve_
    cache.clear()
    alone = make(**{**steady, **change, "max_epochs": 2}).fit(TEXTS, LABELS).loss_curve_
    assert after == alone


FORKED = """
    import os, sys, threading, time
    import torch
    from sktransfer import TransferTextClassifier
    from sktransfer.runtime import cache

    torch.set_num_threads(2)
    folder, what = sys.argv[1:]
    texts, labels = ["good film", "bad film", "nice", "awful"] * 40, [1, 0, 1, 0] * 40
    model = TransferTextClassifier(folder, max_epochs=0, random_state=0).fit(texts, labels)
    expected = model.predict(texts[:4]).tolist()
    big = torch.randn(600, 600)
    big @ big  # the parent's thread pool is there

    if what == "fit":
        # In the midst of a fit, but not of a computation: PyTorch has locks of its own.
        started, step = threading.Event(), torch.optim.AdamW.step

        def paused(self, *args, **kwargs):
            if threading.current_thread() is not threading.main_thread():
                started.set()
                time.sleep(600)
            return step(self, *args, **kwargs)

        torch.optim.AdamW.step = paused
        fits = TransferTextClassifier(folder, max_epochs=5)
        threading.Thread(target=fits.fit, args=(texts, labels), daemon=True).start()
        started.wait()
    child = os.fork()
    if not child:
        again = TransferTextClassifier(folder, max_epochs=1, random_state=0).fit(texts, labels)
        big @ big
        os._exit(0 if model.predict(texts[:4]).tolist() == expected else 3)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            sys.stdout.flush()
            os._exit(os.waitstatus_to_exitcode(status))
        time.sleep(0.05)
    os.kill(child, 9)
    os._exit(4)
"""


@pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform == "win32", reason="fork")
@pytest.mark.parametrize("what", ["predict", "fit"])
def test_a_forked_child_neither_waits_for_a_lock_nor_for_threads(tiny_encoder, what):
    run_script(FORKED, tiny_encoder, what)


@pytest.mark.parametrize(
    "settings", [{"pooling_layers": 2}, {"trainable_layers": 1}, {"pooling_layers": 2, "C": 1.0}]
)
def test_a_copy_made_during_a_prediction_has_no_foreign_hook(make, settings):
    model = make(**settings).fit(TEXTS, LABELS)
    expected, stop, copies = model.predict_proba(NEW), threading.Event(), []

    def predict():
        while not stop.is_set():
            cache.clear()
            model.predict_proba(NEW)

    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(predict) for _ in range(2)]
        for _ in range(20):
            copies += [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
        stop.set()
        for future in busy:
            future.result(timeout=60)
    for copied in copies:
        hooks = [
            hook
            for module in copied.model_.modules()
            for hook in (*module._forward_pre_hooks, *module._forward_hooks)
        ]
        assert not hooks
    assert_array_equal(copies[-1].predict_proba(NEW), expected)


def test_a_bug_in_halves_is_not_swallowed(make, monkeypatch):
    from sktransfer.nn import split as split_module

    def broken(self, *_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(split_module.SplitEncoder, "lower", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        make(trainable_layers=1).fit(TEXTS, LABELS)


class Float64:
    def __enter__(self):
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_):
        torch.set_default_dtype(torch.float32)


SURROUNDINGS = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "float64": Float64,
    "another device": lambda: torch.device("meta"),
}


def fits(encoder, decoder):
    words, tags = sentences(12, seed=5)
    choices = [(f"{text}?", *TEXTS[i : i + 3]) for i, text in enumerate(NEW)]
    passages = [("which film", f"{text} red {text}") for text in NEW]
    small = {**SETTINGS, "precision": "float32"}
    tiny = {"embedding_size": 8, "hidden_size": 8, "n_layers": 1, "n_heads": 1, "max_length": 16}
    steps = {"lm_weight": 0.1, "adapt_epochs": 1}
    return {
        "probe": (TransferTextClassifier(encoder, **{**small, "max_epochs": 0}), TEXTS, LABELS),
        "fine-tune": (TransferTextClassifier(encoder, **small), TEXTS, LABELS),
        "one layer": (
            TransferTextClassifier(encoder, trainable_layers=1, pooling_layers=2, **small),
            TEXTS,
            LABELS,
        ),
        "adapted": (TransferTextClassifier(encoder, **steps, **small), TEXTS, LABELS),
        "decoder": (TransferTextClassifier(decoder, pooling="last", **small), TEXTS, LABELS),
        "regressor": (TransferTextRegressor(encoder, **small), TEXTS, np.arange(24.0)),
        "vectorizer": (TransferTextVectorizer(encoder, **small), TEXTS, None),
        "choices": (TransferChoiceClassifier(encoder, **small), choices, [0, 1] * 5),
        "tags": (TransferTokenClassifier(encoder, **small), words, tags),
        "answers": (TransferAnswerExtractor(encoder, **small), passages, ["red"] * 10),
        "masked": (LanguageModel(encoder, **small), TEXTS, None),
        "lstm": (LanguageModel(architecture="awd_lstm", **tiny, **small), TEXTS, None),
        "gpt": (LanguageModel(architecture="gpt", **tiny, **small), TEXTS, None),
        "bert": (LanguageModel(architecture="bert", **tiny, **small), TEXTS, None),
    }


def results_of(model, X):
    if hasattr(model, "predict_proba"):
        values = model.predict_proba(X)
        return np.concatenate(values) if isinstance(values, list) else values
    if hasattr(model, "predict"):
        return np.asarray(model.predict(X), dtype=object)
    return model.transform(X)


@pytest.mark.parametrize("kind", list(fits("", "")))
@pytest.mark.parametrize("surroundings", list(SURROUNDINGS))
def test_the_callers_surroundings_change_nothing(tiny_encoder, tiny_decoder, kind, surroundings):
    model, X, y = fits(tiny_encoder, tiny_decoder)[kind]
    expected = results_of(copy.deepcopy(model).fit(X, y), X)
    cache.clear()
    with SURROUNDINGS[surroundings]():
        before = (
            torch.is_autocast_enabled("cpu"),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.get_default_device(),
        )
        inside = copy.deepcopy(model).fit(X, y)
        assert_array_equal(results_of(inside, X), expected)
        assert before == (
            torch.is_autocast_enabled("cpu"),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.get_default_device(),
        )
    # What was kept then serves later fits.
    assert_array_equal(results_of(copy.deepcopy(model).fit(X, y), X), expected)
    assert_array_equal(results_of(inside, X), expected)


def test_settings_of_the_process_do_not_poison_what_is_kept(make, tmp_path):
    plain = make(max_epochs=0).fit(TEXTS, LABELS).predict_proba(NEW)
    cache.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of a GPU that is not there
        flags = torch.backends.mkldnn.flags(enabled=False)
        flags.__enter__()
    try:
        make(max_epochs=0, memory=tmp_path).fit(TEXTS, LABELS).predict_proba(NEW)
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flags.__exit__(None, None, None)
    n_files = len(list(tmp_path.rglob("*.safetensors")))
    model = make(max_epochs=0, memory=tmp_path).fit(TEXTS, LABELS)
    assert_array_equal(model.predict_proba(NEW), plain)
    assert len(list(tmp_path.rglob("*.safetensors"))) > n_files


class Interrupted:
    """SIGINT at an optimizer step, counted over all fits."""

    def __init__(self, monkeypatch, at_step):
        step, self.count = torch.optim.AdamW.step, 0

        def counted(optimizer, *args, **kwargs):
            self.count += 1
            if self.count == at_step:
                signal.raise_signal(signal.SIGINT)
            return step(optimizer, *args, **kwargs)

        monkeypatch.setattr(torch.optim.AdamW, "step", counted)


def test_ctrl_c_ends_a_search_and_not_one_of_its_fits(make, monkeypatch):
    search = GridSearchCV(make(max_epochs=3), {"learning_rate": [1e-4, 3e-4]}, cv=2)
    steps = Interrupted(monkeypatch, at_step=2)
    with pytest.raises(KeyboardInterrupt, match="epoch 2 of 3"):
        search.fit(TEXTS, LABELS)
    assert steps.count == 2
    assert not hasattr(search, "best_params_")


def test_ctrl_c_ends_cross_validation(make, monkeypatch):
    Interrupted(monkeypatch, at_step=1)
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(make(), TEXTS, LABELS, cv=2)


def test_ctrl_c_in_a_pipeline_leaves_its_last_step_fitted(make, monkeypatch):
    pipeline = make_pipeline(FunctionTransformer(), make(max_epochs=5))
    Interrupted(monkeypatch, at_step=3)
    with pytest.raises(KeyboardInterrupt, match="is fitted, with the weights so far"):
        pipeline.fit(TEXTS, LABELS)
    assert pipeline[-1].score(TEXTS, LABELS) > 0.8


def test_ctrl_c_in_partial_fit_raises_too(make, monkeypatch):
    model = make(batch_size=4)
    Interrupted(monkeypatch, at_step=2)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(TEXTS, LABELS, classes=["bad", "good"])
    assert model.score(TEXTS, LABELS) > 0.8


def test_a_prediction_beside_a_fit_has_the_attributes_of_one_fit(make):
    texts, labels = reviews(24, n_classes=3, seed=7)
    model = make(max_epochs=0)
    answers = {}
    for X, y in ((TEXTS, LABELS), (texts, labels)):
        model.fit(X, y)
        answers[len(model.classes_)] = model.predict_proba(NEW)
    errors, stop = [], threading.Event()

    def predict():
        while not stop.is_set():
            try:
                found = model.predict_proba(NEW)
                assert_array_equal(found, answers[found.shape[1]])
                assert set(model.predict(NEW)) <= set(labels.tolist())
            except Exception as error:  # noqa: BLE001
                errors.append(error)
                return

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(25):
        model.fit(TEXTS, LABELS).fit(texts, labels)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not errors


@pytest.mark.parametrize("max_epochs", [0, 1])
@pytest.mark.parametrize("n_together", [1, 2, 3, 7, 10])
def test_a_text_alone_has_the_scores_that_it_has_among_others(make, max_epochs, n_together):
    model = make(max_epochs=max_epochs).fit(TEXTS, LABELS)
    expected = model.decision_function(NEW)
    for start in range(0, len(NEW), n_together):
        rows = slice(start, start + n_together)
        assert_same_numbers(model.decision_function(NEW[rows]), expected[rows])
        assert_same_numbers(model.predict_proba(NEW[rows]), model.predict_proba(NEW)[rows])
    many = [*NEW, *(f"{text} {i}" for i, text in enumerate(NEW * 20))]
    assert_same_numbers(model.decision_function(many)[:10], expected)


def test_no_warning_is_shown_by_a_fit_in_surroundings(make):
    with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16):
        warnings.simplefilter("error")
        make().fit(TEXTS, LABELS).predict(NEW)
