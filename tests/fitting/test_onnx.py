"""The ONNX graph gives the scores of the estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.exceptions import NotFittedError

from sktransfer import LanguageModel, TransferTextClassifier, TransferTextRegressor

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TEXTS = ["the good film", "a bad plot", "we love it", "terrible", "long " * 60, "nice story " * 9]
LABELS = ["good", "bad", "good", "bad", "other", "other"]
SETTINGS: dict[str, Any] = {"max_epochs": 1, "max_length": 24, "random_state": 0, "device": "cpu"}


def scores_of(path: Path, inputs: dict[str, Any]) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {node.name for node in session.get_inputs()} == inputs.keys()
    return session.run(["scores"], inputs)[0]


@pytest.mark.slow
def test_a_classifier_of_long_texts(tiny_encoder: str, tmp_path: Path) -> None:
    classifier = TransferTextClassifier(tiny_encoder, **SETTINGS).fit(TEXTS, LABELS)
    path = tmp_path / "classifier.onnx"
    classifier.to_onnx(path)
    for X in (TEXTS, TEXTS[:1], TEXTS[4:5], ["never seen", ""]):
        inputs = classifier.onnx_inputs(X)
        found = scores_of(path, inputs)
        assert_allclose(found, classifier.decision_function(X), atol=1e-4)
        assert_allclose(softmax(found, axis=1), classifier.predict_proba(X), atol=1e-4)
    inputs["lexical_scores"] = inputs["lexical_scores"] + 1
    assert np.abs(scores_of(path, inputs) - found).min() > 0.1


@pytest.mark.slow
def test_a_regressor_of_pairs_in_both_orders(tiny_encoder: str, tmp_path: Path) -> None:
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    y = np.column_stack([np.arange(6.0) * 100, -np.arange(6.0)])
    settings = SETTINGS | {
        "max_length": 128,
        "symmetric": True,
        "pooling": "concat",
        "lexical_weight": 0,
    }
    regressor = TransferTextRegressor(tiny_encoder, **settings).fit(pairs, y)
    path = tmp_path / "regressor.onnx"
    regressor.to_onnx(path)
    for X in (pairs, pairs[:1]):
        inputs = regressor.onnx_inputs(X)
        assert "lexical_scores" not in inputs
        assert_allclose(scores_of(path, inputs), regressor.predict(X), rtol=1e-4, atol=1e-3)


def test_what_has_no_graph(tiny_encoder: str, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        TransferTextClassifier(tiny_encoder).to_onnx(tmp_path / "a.onnx")
    sizes = {"embedding_size": 8, "hidden_size": 8, "n_layers": 1, "max_epochs": 1}
    lstm = LanguageModel(architecture="awd_lstm", **sizes).fit(TEXTS).encoder_
    classifier = TransferTextClassifier(lstm, **SETTINGS).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="recurrent encoder"):
        classifier.to_onnx(tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_the_extra_is_named(
    tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = TransferTextClassifier(tiny_encoder, **SETTINGS).fit(TEXTS, LABELS)
    monkeypatch.setattr("sktransfer.fitting.onnx.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"sktransfer\[onnx\]"):
        classifier.to_onnx(tmp_path / "a.onnx")
