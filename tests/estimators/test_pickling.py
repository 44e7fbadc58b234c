"""Fitted estimators are pickled as texts and arrays, which other formats can hold, too."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import sktransfer
from sktransfer import (
    LanguageModel,
    TransferAnswerExtractor,
    TransferChoiceClassifier,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
    TransferTokenClassifier,
)
from sktransfer.encoders import CLASSIFICATION_ENCODER
from tests._encoders import use_as_default

TEXTS = ["the good film", "a bad plot", "we love it", "terrible"] * 3
LABELS = ["good", "bad"] * 6
SETTINGS: dict[str, Any] = {"max_epochs": 1, "max_length": 24, "random_state": 0, "device": "cpu"}


def classifier(encoder: str) -> Any:
    return TransferTextClassifier(encoder, **SETTINGS).fit(TEXTS, LABELS)


def multilabel_classifier(encoder: str) -> Any:
    y = np.array([[1, 0, 1], [0, 1, 1]] * 6)
    return TransferTextClassifier(encoder, **SETTINGS).fit(TEXTS, y)


def regressor(encoder: str) -> Any:
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    return TransferTextRegressor(encoder, symmetric=True, **SETTINGS).fit(pairs, np.arange(12.0))


def vectorizer(encoder: str) -> Any:
    return TransferTextVectorizer(encoder, prompt="a: ").fit(TEXTS)


def chooser(encoder: str) -> Any:
    rows = [("the film", "good", "bad"), ("the plot", "bad", "good")] * 3
    return TransferChoiceClassifier(encoder, **SETTINGS).fit(rows, [0, 1] * 3)


def tagger(encoder: str) -> Any:
    sentences = [["the", "good", "film"], ["bad", "plot"]] * 3
    tags = [["O", "B", "O"], ["B", "O"]] * 3
    return TransferTokenClassifier(encoder, **SETTINGS).fit(sentences, tags)


def reader(encoder: str) -> Any:
    rows = [("what film ?", "the good film"), ("what plot ?", "a bad plot")] * 3
    return TransferAnswerExtractor(encoder, **SETTINGS).fit(rows, ["good", "bad"] * 3)


def language_model(encoder: str) -> Any:
    return LanguageModel(encoder, max_epochs=1, max_length=24, random_state=0).fit(TEXTS)


MAKERS = [
    *(classifier, multilabel_classifier, regressor, vectorizer),
    *(chooser, tagger, reader, language_model),
]


def outputs(estimator: Any) -> Any:
    if isinstance(estimator, LanguageModel):
        return estimator.transform(TEXTS)
    if isinstance(estimator, TransferTextVectorizer):
        return estimator.transform(TEXTS)
    if isinstance(estimator, TransferTextClassifier):
        return estimator.predict_proba(TEXTS)
    if isinstance(estimator, TransferTextRegressor):
        return estimator.predict(list(zip(TEXTS, TEXTS[::-1], strict=True)))
    if isinstance(estimator, TransferChoiceClassifier):
        return estimator.predict_proba([("the film", "good", "bad")])
    if isinstance(estimator, TransferTokenClassifier):
        return estimator.predict_proba([["the", "good", "film"]])[0]
    return estimator.predict([("what film ?", "the good film")])


def content(estimator: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Document and state of a pickle."""
    state = estimator.__getstate__()
    return json.loads(state["_fitted_state"]["document"]), state


@pytest.mark.parametrize("make", MAKERS)
def test_every_estimator_in_skops(make: Callable[[str], Any], tiny_encoder: str) -> None:
    sio = pytest.importorskip("skops.io")
    estimator = make(tiny_encoder)
    packed = sio.dumps(estimator)
    trusted = sktransfer.skops_trusted_types()
    kind = type(estimator)
    assert sio.get_untrusted_types(data=packed) == [f"{kind.__module__}.{kind.__name__}"]
    again = sio.loads(packed, trusted=trusted)
    assert_array_equal(outputs(again), outputs(estimator))
    assert again.get_params() == estimator.get_params()
    assert vars(again).keys() == vars(estimator).keys()
    unfitted = sio.loads(sio.dumps(clone(estimator)), trusted=trusted)
    assert unfitted.get_params() == estimator.get_params()


def test_a_pipeline_in_skops(tiny_encoder: str) -> None:
    sio = pytest.importorskip("skops.io")
    pipeline = make_pipeline(TransferTextVectorizer(tiny_encoder), LogisticRegression())
    pipeline.fit(TEXTS, LABELS)
    again = sio.loads(sio.dumps(pipeline), trusted=sktransfer.skops_trusted_types())
    assert_array_equal(again.predict_proba(TEXTS), pipeline.predict_proba(TEXTS))


def test_a_handle_in_skops_is_an_error(tiny_encoder: str) -> None:
    sio = pytest.importorskip("skops.io")
    handle = classifier(tiny_encoder).encoder_
    with pytest.raises(TypeError, match="a handle to weights in memory has no form in files"):
        sio.dumps(TransferTextClassifier(handle))


@pytest.mark.slow
def test_mlflow_in_its_default_format(tiny_encoder: str, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("mlflow.sklearn")
    estimator = classifier(tiny_encoder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow, about what it imports
        mlflow.sklearn.save_model(
            estimator,
            tmp_path / "model",
            skops_trusted_types=sktransfer.skops_trusted_types(),
            pip_requirements=["sktransfer"],
        )
        served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert "skops" in (tmp_path / "model" / "MLmodel").read_text()
    assert_array_equal(served.predict(pd.DataFrame({"text": TEXTS})), estimator.predict(TEXTS))


def test_named_weights_are_kept_by_reference(
    tiny_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_as_default(tiny_encoder, monkeypatch)
    probe = TransferTextClassifier(**SETTINGS | {"max_epochs": 0}).fit(TEXTS, LABELS)
    top = TransferTextClassifier(trainable_layers=1, **SETTINGS).fit(TEXTS, LABELS)
    whole = pickle.dumps(classifier(tiny_encoder))
    for estimator in (probe, top):
        pickled = pickle.dumps(estimator)
        document, state = content(estimator)
        assert document["network"]["encoder"]["name"] == CLASSIFICATION_ENCODER
        assert not state["_fitted_state"]["files"]
        assert len(pickled) < len(whole) / 2
        assert_array_equal(pickle.loads(pickled).predict_proba(TEXTS), outputs(estimator))
    both = pickle.dumps([probe, top])
    assert len(both) < len(pickle.dumps(probe)) + len(pickle.dumps(top)) + 100
    monkeypatch.undo()
    with pytest.raises(ValueError, match="cannot be loaded: it refers to the encoder"):
        pickle.loads(pickled)


def test_a_handle_is_there_once(tiny_encoder: str) -> None:
    handle = classifier(tiny_encoder).encoder_
    n_bytes = len(pickle.dumps(handle))
    probe = TransferTextClassifier(handle, **SETTINGS | {"max_epochs": 0}).fit(TEXTS, LABELS)
    pickled = pickle.dumps(probe)
    assert len(pickled) < n_bytes + 20_000
    again = pickle.loads(pickled)
    assert again.encoder == handle
    assert_array_equal(again.predict_proba(TEXTS), outputs(probe))


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib_files(tiny_encoder: str, tmp_path: Path, mmap_mode: Any) -> None:
    estimator = classifier(tiny_encoder)
    joblib.dump(estimator, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
    assert_array_equal(outputs(again), outputs(estimator))
    again.set_params(warm_start=True).fit(TEXTS, LABELS)


def test_copies(tiny_encoder: str) -> None:
    estimator = classifier(tiny_encoder)
    assert copy.copy(estimator).model_ is estimator.model_
    deep = copy.deepcopy(estimator)
    assert deep.model_ is not estimator.model_
    before = outputs(estimator)
    deep.set_params(warm_start=True).fit(TEXTS, LABELS)
    assert_array_equal(outputs(estimator), before)


def test_other_versions(tiny_encoder: str) -> None:
    estimator = classifier(tiny_encoder)
    document, state = content(estimator)
    del state["mixing_coefficient"]  # as if the parameter were new
    saved = dict(state["_fitted_state"])
    older = document | {"versions": document["versions"] | {"torch": "1.0.0"}}
    again = TransferTextClassifier.__new__(TransferTextClassifier)
    with pytest.warns(UserWarning, match=r"saved with torch 1\.0\.0 \(here"):
        again.__setstate__(state | {"_fitted_state": saved | {"document": json.dumps(older)}})
    assert again.mixing_coefficient == TransferTextClassifier().mixing_coefficient
    assert_array_equal(outputs(again), outputs(estimator))
    newer = json.dumps(document | {"format": 99})
    with pytest.raises(ValueError, match="pickled in format 99"):
        again.__setstate__(state | {"_fitted_state": saved | {"document": newer}})


def test_what_has_no_plain_form_is_pickled_as_it_is(tiny_encoder: str) -> None:
    estimator = classifier(tiny_encoder)
    estimator.classes_ = np.array([("a", object), ("b", object)], dtype=object)
    assert "model_" in estimator.__getstate__()
    again = pickle.loads(pickle.dumps(estimator))
    assert_array_equal(outputs(again), outputs(estimator))


def test_what_a_user_adds_is_kept(tiny_encoder: str) -> None:
    estimator = classifier(tiny_encoder).set_params(random_state=np.random.RandomState(0))
    estimator.note = {"owner": "me"}
    again = pickle.loads(pickle.dumps(estimator))
    assert again.note == {"owner": "me"}
    assert isinstance(again.random_state, np.random.RandomState)


def test_trusted_types_are_the_estimators() -> None:
    for name in sktransfer.skops_trusted_types():
        module, _, kind = name.rpartition(".")
        found = getattr(__import__(module, fromlist=[kind]), kind)
        assert issubclass(found, BaseEstimator)
