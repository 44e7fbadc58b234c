"""Exported estimators predict without PyTorch, as the estimators themselves do."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from sktransfer import (
    LanguageModel,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
    serving,
)
from sktransfer.estimators.exporting import labels_of
from sktransfer.serving import _label_array

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TEXTS = ["the good film", "a bad plot", "we love it", "terrible", "long " * 60, "nice story " * 9]
LABELS = ["good", "bad", "good", "bad", "other", "other"]
PAIRS = list(zip(TEXTS, TEXTS[::-1], strict=True))
NEW = [*TEXTS, "never seen", "", "Größe \u00e9t\u00e9 🎉", "good " * 300]
SETTINGS: dict[str, Any] = {"max_epochs": 1, "max_length": 24, "random_state": 0, "device": "cpu"}
# Both sum in orders of their own.
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}


def exported(estimator: Any, folder: Path) -> Any:
    estimator.export(folder)
    return serving.load(folder)


@pytest.fixture(scope="module")
def folder(tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serving") / "classifier"
    TransferTextClassifier(tiny_encoder, **SETTINGS).fit(TEXTS, LABELS).export(folder)
    return folder


@pytest.mark.slow
def test_a_classifier_of_long_texts(tiny_encoder: str, tmp_path: Path) -> None:
    classifier = TransferTextClassifier(tiny_encoder, **SETTINGS).fit(TEXTS, LABELS)
    served = exported(classifier, tmp_path / "served")
    assert isinstance(served, serving.ServedClassifier)
    assert_array_equal(served.classes_, classifier.classes_)
    assert served.classes_.dtype == classifier.classes_.dtype
    for X in (NEW, NEW[:1], NEW[4:5], np.array(NEW), NEW * 3):
        assert_allclose(served.predict_proba(X), classifier.predict_proba(X), **ROUNDING)
        assert_allclose(served.predict_log_proba(X), classifier.predict_log_proba(X), **ROUNDING)
        assert_array_equal(served.predict(X), classifier.predict(X))


@pytest.mark.parametrize("labels", [[3, 1], [True, False], [2.0, 1.0], ["b", "a"]])
@pytest.mark.parametrize("dtype", [None, object])
def test_classes_keep_their_type(labels: list[Any], dtype: Any) -> None:
    classes = np.array(labels, dtype=dtype)
    found = _label_array(json.loads(json.dumps(labels_of(classes))))
    assert found.dtype == classes.dtype
    assert found.tolist() == labels


@pytest.mark.slow
def test_a_multilabel_classifier_with_a_prompt(tiny_encoder: str, tmp_path: Path) -> None:
    y = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 1], [0, 0]])
    classifier = TransferTextClassifier(tiny_encoder, prompt="a: ", **SETTINGS).fit(TEXTS, y)
    served = exported(classifier, tmp_path / "served")
    assert served.is_multilabel
    assert_array_equal(served.classes_, classifier.classes_)
    assert_allclose(served.predict_proba(NEW), classifier.predict_proba(NEW), **ROUNDING)
    assert_allclose(served.predict_log_proba(NEW), classifier.predict_log_proba(NEW), **ROUNDING)
    assert_array_equal(served.predict(NEW), classifier.predict(NEW))


@pytest.mark.slow
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_regressor_of_pairs(tiny_encoder: str, tmp_path: Path, symmetric: bool) -> None:
    settings = SETTINGS | {"max_length": 128, "symmetric": symmetric}
    y = np.column_stack([np.arange(6.0) * 100, -np.arange(6.0)])
    targets = y if symmetric else y[:, 0]
    regressor = TransferTextRegressor(tiny_encoder, **settings).fit(PAIRS, targets)
    served = exported(regressor, tmp_path / "served")
    found = served.predict(PAIRS)
    assert found.shape == targets.shape
    assert_allclose(found, regressor.predict(PAIRS), rtol=1e-4, atol=1e-2)
    with pytest.raises(ValueError, match=r"X has 1 columns of texts, but|several texts"):
        served.predict(TEXTS)


@pytest.mark.slow
def test_a_vectorizer(tiny_encoder: str, tmp_path: Path) -> None:
    vectorizer = TransferTextVectorizer(tiny_encoder, max_length=24, layer=0, pooling="concat")
    vectorizer.fit(TEXTS)
    served = exported(vectorizer, tmp_path / "served")
    assert isinstance(served, serving.ServedVectorizer)
    assert_allclose(served.transform(NEW), vectorizer.transform(NEW), **ROUNDING)


@pytest.mark.slow
def test_int8(tiny_encoder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    classifier = TransferTextClassifier(tiny_encoder, **SETTINGS).fit(TEXTS, LABELS)
    classifier.export(tmp_path / "float32")
    with pytest.warns(UserWarning, match=r"int8: [\d.]+% of the predictions for the 10") as caught:
        classifier.export(tmp_path / "int8", quantize="int8", X=NEW)
    assert caught[0].filename == __file__
    assert "root" not in {record.name for record in caplog.records}
    served = serving.load(tmp_path / "int8")
    found, expected = served.predict_proba(NEW), classifier.predict_proba(NEW)
    assert_allclose(found, expected, atol=0.1)
    assert np.abs(found - expected).max() > 1e-6
    same = np.mean(served.predict(NEW) == classifier.predict(NEW))
    assert f"{same:.1%}" in str(caught[0].message)
    sizes = [(tmp_path / name / "network.onnx").stat().st_size for name in ("int8", "float32")]
    assert sizes[0] < sizes[1]
    vectorizer = TransferTextVectorizer(tiny_encoder).fit(TEXTS)
    with pytest.warns(UserWarning, match="change by .* of their standard deviation"):
        vectorizer.export(tmp_path / "vectorizer", quantize="int8", X=NEW)
    similar = serving.load(tmp_path / "vectorizer").transform(NEW) * vectorizer.transform(NEW)
    assert similar.sum(axis=1).min() > 0.99


def test_int8_needs_texts(tiny_encoder: str, tmp_path: Path) -> None:
    classifier = TransferTextClassifier(tiny_encoder, **SETTINGS | {"max_epochs": 0})
    classifier.fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="quantize='int8' and X go together"):
        classifier.export(tmp_path / "a", quantize="int8")
    with pytest.raises(ValueError, match="quantize='int8' and X go together"):
        classifier.export(tmp_path / "a", X=NEW)
    with pytest.raises(ValueError, match="quantize must be None or 'int8'"):
        classifier.export(tmp_path / "a", quantize="int4", X=NEW)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_default_encoder(tmp_path: Path) -> None:
    classifier = TransferTextClassifier(random_state=0, max_epochs=0).fit(TEXTS, LABELS)
    served = exported(classifier, tmp_path / "served")
    assert_allclose(served.predict_proba(NEW), classifier.predict_proba(NEW), atol=1e-5)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(served.predict_proba, [NEW] * 8))
    assert all(np.array_equal(one, found[0]) for one in found)


def test_what_is_imported(folder: Path) -> None:
    code = """
        import sys

        class Refused:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("torch", "transformers", "sklearn", "joblib"):
                    raise ModuleNotFoundError(f"no {name} here")

        sys.meta_path.insert(0, Refused())
        from sktransfer import serving
        assert "onnxruntime" not in sys.modules
        served = serving.load(sys.argv[1], n_threads=1)
        print(served.predict_proba(["the good film", "a bad plot"]).tolist())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = serving.load(folder).predict_proba(["the good film", "a bad plot"])
    assert_allclose(json.loads(done.stdout), here, atol=1e-6)


def test_texts_that_are_cut_give_a_warning(tiny_encoder: str, tmp_path: Path) -> None:
    settings = SETTINGS | {"max_epochs": 0, "long_texts": "truncate", "lexical_weight": 0.0}
    with pytest.warns(UserWarning, match="were cut"):
        classifier = TransferTextClassifier(tiny_encoder, **settings).fit(TEXTS, LABELS)
    classifier.export(tmp_path / "served")
    with pytest.warns(UserWarning, match="1 texts are longer than max_length=24") as caught:
        serving.load(tmp_path / "served").predict(["long " * 60])
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("X", "message"),
    [("a text", "single str"), ([], "0 sample"), (["a", None], "Row 1 of X is missing")],
)
def test_wrong_inputs(folder: Path, X: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        serving.load(folder).predict(X)


@pytest.mark.parametrize("n_threads", [0, -1, 1.5, True])
def test_wrong_threads(folder: Path, n_threads: Any) -> None:
    with pytest.raises(ValueError, match="n_threads must be a positive integer or None"):
        serving.load(folder, n_threads=n_threads)


def test_damaged_and_foreign_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no exported estimator: serving\.json"):
        serving.load(tmp_path)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files.keys() == {
        "serving.json",
        "network.onnx",
        "tokenizer.json",
        "lexical.npz",
        "lexical_words.json",
    }
    for name, content in files.items():
        for damaged in (b"", content[: len(content) // 2], b"\x00" * 100, None):
            copy = tmp_path / "copy"
            copy.mkdir(exist_ok=True)
            for other, kept in files.items():
                (copy / other).write_bytes(kept)
            if damaged is None:
                (copy / name).unlink()
            else:
                (copy / name).write_bytes(damaged)
            with pytest.raises(ValueError, match=r"damaged|cannot be read|missing"):
                serving.load(copy)
    newer = json.loads(files["serving.json"]) | {"format": 99}
    (copy / "serving.json").write_text(json.dumps(newer))
    with pytest.raises(ValueError, match="has format 99"):
        serving.load(copy)


def test_what_is_not_overwritten(tiny_encoder: str, folder: Path, tmp_path: Path) -> None:
    classifier = TransferTextClassifier(tiny_encoder, **SETTINGS | {"max_epochs": 0})
    with pytest.raises(NotFittedError):
        classifier.export(tmp_path / "a")
    classifier.fit(TEXTS, LABELS)
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(ValueError, match=r"holds other content \(thesis\.txt\)"):
        classifier.export(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        classifier.export(tmp_path / "thesis.txt")
    before = serving.load(folder).predict_proba(TEXTS)
    classifier.export(folder)  # an exported estimator is replaced
    after = serving.load(folder).predict_proba(TEXTS)
    assert np.abs(before - after).max() > 1e-3


def test_what_has_no_graph(tiny_encoder: str, tmp_path: Path) -> None:
    sizes = {"embedding_size": 8, "hidden_size": 8, "n_layers": 1, "max_epochs": 1}
    lstm = LanguageModel(architecture="awd_lstm", **sizes).fit(TEXTS).encoder_
    classifier = TransferTextClassifier(lstm, **SETTINGS).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="recurrent encoder"):
        classifier.export(tmp_path / "served")
    assert not list(tmp_path.iterdir())
