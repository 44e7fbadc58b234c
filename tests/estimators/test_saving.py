"""Estimators in folders: `save` and `sktransfer.load`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

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
from sktransfer.encoders import seal_folder
from tests._reviews import reviews
from tests._sentences import sentences

TEXTS, LABELS = reviews(24)
NEW = reviews(8, seed=1)[0]
PAIRS = [(text, other) for text, other in zip(TEXTS, TEXTS[::-1], strict=True)]
FAST = {"max_epochs": 1, "device": "cpu", "random_state": 0}
QUESTIONS = [("which color", f"the {color} film") for color in ("red", "blue", "green")] * 3


@pytest.fixture
def named_encoder(tiny_encoder, tmp_path, monkeypatch):
    """A name that every machine with the same encoders resolves."""
    shutil.copytree(tiny_encoder, tmp_path / "encoders" / "tiny")
    monkeypatch.setenv("SKTRANSFER_ENCODERS", str(tmp_path / "encoders"))
    return "tiny"


def size_of(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def cases(encoder):
    """Fitted estimators with a function of each that must not change."""
    numbers = np.linspace(-1, 1, len(TEXTS))
    indicators = np.random.default_rng(0).integers(2, size=(len(TEXTS), 3))
    words, tags = sentences(12)
    classifier = TransferTextClassifier(encoder, **FAST)
    return {
        "classes": (clone(classifier).fit(TEXTS, LABELS), lambda one: one.predict_proba(NEW)),
        "codes": (clone(classifier).fit(TEXTS, LABELS == "good"), lambda one: one.predict(NEW)),
        "label objects": (
            clone(classifier).fit(TEXTS, np.array(["a", "b"] * 12, dtype=object)),
            lambda one: one.predict(NEW),
        ),
        "multilabel": (
            clone(classifier).fit(TEXTS, indicators),
            lambda one: one.predict_proba(NEW),
        ),
        "pairs": (
            clone(classifier).set_params(symmetric=True).fit(PAIRS, LABELS),
            lambda one: one.predict_proba(PAIRS[:5]),
        ),
        "frame": (
            clone(classifier).fit(pd.DataFrame({"a": TEXTS, "b": TEXTS}), LABELS),
            lambda one: one.predict_proba(pd.DataFrame({"a": NEW, "b": NEW})),
        ),
        "prompt": (
            TransferTextClassifier(encoder, prompt="about: ", pooling="max", **FAST).fit(
                TEXTS, LABELS
            ),
            lambda one: one.predict_proba(NEW),
        ),
        "regressor": (
            TransferTextRegressor(encoder, **FAST).fit(TEXTS, numbers),
            lambda one: one.predict(NEW),
        ),
        "vectorizer": (
            TransferTextVectorizer(encoder).set_output(transform="pandas").fit(TEXTS),
            lambda one: one.transform(NEW),
        ),
        "tuned vectorizer": (
            TransferTextVectorizer(encoder, trainable_layers=1, **FAST).fit(TEXTS, LABELS),
            lambda one: one.transform(NEW),
        ),
        "choices": (
            TransferChoiceClassifier(encoder, **FAST).fit([("q", "good", "bad")] * 4, [0, 1] * 2),
            lambda one: one.predict_proba([("q", "fun", "ugly")]),
        ),
        "tags": (
            TransferTokenClassifier(encoder, **FAST).fit(words, tags),
            lambda one: one.predict(words[:3]),
        ),
        "answers": (
            TransferAnswerExtractor(encoder, max_length=32, **FAST).fit(
                QUESTIONS, ["red", "blue", "green"] * 3
            ),
            lambda one: one.predict(QUESTIONS[:3]),
        ),
        "language model": (
            LanguageModel(encoder, **FAST).fit(TEXTS),
            lambda one: np.array([one.score(NEW)]),
        ),
        "new language model": (
            LanguageModel(
                architecture="awd_lstm", embedding_size=8, hidden_size=8, max_length=16, **FAST
            ).fit(TEXTS),
            lambda one: one.transform(NEW),
        ),
    }


def assert_alike(one, other):
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    else:
        assert str(one) == str(other)


@pytest.mark.parametrize("weights", ["auto", "full"])
def test_every_estimator_comes_back_the_same(named_encoder, tmp_path, weights):
    for name, (estimator, result) in cases(named_encoder).items():
        folder = tmp_path / "saved"
        estimator.save(folder, weights=weights)
        again = sktransfer.load(folder)
        assert type(again) is type(estimator), name
        assert_alike(result(again), result(estimator))
        assert again.get_params() == estimator.get_params(), name
        own = {key for key in vars(estimator) if key.endswith("_")}
        assert own <= vars(again).keys(), name
        if hasattr(estimator, "classes_"):
            assert again.classes_.dtype == estimator.classes_.dtype
        # The loaded one can be saved and fitted, too.
        again.save(folder, weights=weights)
        assert_alike(result(sktransfer.load(folder)), result(estimator))


def test_pretrained_weights_are_kept_by_reference(named_encoder, tmp_path):
    def saved(name, **parameters):
        fitted = TransferTextClassifier(named_encoder, **{**FAST, **parameters})
        fitted.fit(TEXTS, LABELS).save(tmp_path / name)
        return size_of(tmp_path / name)

    probe, top, whole = (
        saved("probe", max_epochs=0),
        saved("top", trainable_layers=1),
        saved("whole", trainable_layers="all"),
    )
    assert probe < top < whole
    assert not (tmp_path / "probe" / "model.safetensors").exists()
    assert (tmp_path / "whole" / "model.safetensors").exists()
    document = json.loads((tmp_path / "top" / "estimator.json").read_text("utf-8"))
    assert document["network"]["encoder"]["name"] == "tiny"


def test_a_folder_with_all_weights_is_an_encoder(named_encoder, tmp_path):
    fitted = TransferTextClassifier(named_encoder, **FAST).fit(TEXTS, LABELS)
    fitted.save(tmp_path / "saved", weights="full")
    ours = TransferTextVectorizer(fitted.encoder_).fit_transform(NEW)
    theirs = TransferTextVectorizer(str(tmp_path / "saved")).fit_transform(NEW)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_handle_as_encoder_becomes_the_fitted_one(named_encoder, tmp_path):
    first = TransferTextClassifier(named_encoder, **FAST).fit(TEXTS, LABELS)
    second = TransferTextClassifier(first.encoder_, **FAST).fit(TEXTS, LABELS)
    second.save(tmp_path / "saved")
    again = sktransfer.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict_proba(NEW), second.predict_proba(NEW))
    ours, theirs = (
        TransferTextVectorizer(e).fit_transform(NEW) for e in (again.encoder, second.encoder_)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert clone(again).fit(TEXTS, LABELS).score(TEXTS, LABELS) > 0.4


def test_a_fresh_process_predicts_the_same(named_encoder, tmp_path):
    fitted = TransferTextClassifier(named_encoder, **FAST).fit(TEXTS, LABELS)
    fitted.save(tmp_path / "saved")
    code = f"""if True:
        import sktransfer
        one = sktransfer.load({str(tmp_path / "saved")!r})
        print(one.predict_proba({NEW!r}).tolist())
    """
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ
    )
    np.testing.assert_allclose(json.loads(run.stdout), fitted.predict_proba(NEW), atol=1e-6)


def test_another_encoder_of_that_name_is_refused(named_encoder, tmp_path, tiny_decoder):
    TransferTextClassifier(named_encoder, **FAST, trainable_layers=1).fit(TEXTS, LABELS).save(
        tmp_path / "saved"
    )
    shutil.rmtree(tmp_path / "encoders" / "tiny")
    with pytest.raises(ValueError, match="cannot be loaded: it refers to the encoder 'tiny'"):
        sktransfer.load(tmp_path / "saved")
    shutil.copytree(tiny_decoder, tmp_path / "encoders" / "tiny")
    with pytest.raises(ValueError, match="and the one on this machine has"):
        sktransfer.load(tmp_path / "saved")


def test_what_is_not_an_estimator_is_refused(named_encoder, tmp_path):
    with pytest.raises(NotFittedError):
        TransferTextClassifier(named_encoder).save(tmp_path / "saved")
    with pytest.raises(ValueError, match="holds no saved estimator"):
        sktransfer.load(tmp_path / "nothing")
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "serving.json").write_text("{}")
    with pytest.raises(ValueError, match=r"written by export: sktransfer\.serving\.load reads it"):
        sktransfer.load(tmp_path / "exported")
    fitted = TransferTextClassifier(named_encoder, max_epochs=0).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="weights must be"):
        fitted.save(tmp_path / "saved", weights="some")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds other content"):
        fitted.save(tmp_path / "other")
    fitted.save(tmp_path / "saved")
    path = tmp_path / "saved" / "estimator.json"
    document = json.loads(path.read_text("utf-8"))
    for changed, message in (
        ({"format": 99}, "format 99, and this version"),
        ({"estimator": "os"}, "holds a 'os', which is unknown"),
        ({"fitted": {"task_": {"class": "Popen", "state": []}}}, "there is no 'Popen'"),
        ({"fitted": {"predict": 3}}, "'predict' is not a fitted attribute"),
    ):
        path.write_text(json.dumps(document | changed), "utf-8")
        seal_folder(tmp_path / "saved")
        with pytest.raises(ValueError, match=message):
            sktransfer.load(tmp_path / "saved")


def test_a_damaged_folder_is_refused_in_one_line(named_encoder, tmp_path):
    fitted = TransferTextClassifier(named_encoder, **FAST, trainable_layers=1).fit(TEXTS, LABELS)
    fitted.save(tmp_path / "whole")
    rng = np.random.default_rng(0)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir() if path.suffix != ".md")
    for number in range(50):
        folder = tmp_path / f"damaged {number}"
        shutil.copytree(tmp_path / "whole", folder)
        path = folder / names[number % len(names)]
        content = bytearray(path.read_bytes())
        if number % 3 == 0:
            path.unlink()
        elif number % 3 == 1:
            path.write_bytes(content[: rng.integers(len(content))])
        else:
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
            path.write_bytes(content)
        with pytest.raises(ValueError, match=f"damaged {number}") as caught:
            sktransfer.load(folder)
        assert "\n" not in str(caught.value)


def test_the_model_card_is_for_the_author(named_encoder, tmp_path):
    fitted = TransferTextClassifier(named_encoder, max_epochs=0).fit(TEXTS, LABELS)
    fitted.save(tmp_path / "saved")
    (tmp_path / "saved" / "README.md").write_text("# Mine")
    sktransfer.load(tmp_path / "saved")


@pytest.mark.parametrize("weights", ["auto", "full"])
def test_half_precision(named_encoder, tmp_path, weights):
    fitted = TransferTextClassifier(named_encoder, **FAST).fit(TEXTS, LABELS)
    expected = fitted.predict_proba(NEW)
    for dtype, tolerance in (("float32", 0), ("float16", 2e-3), ("bfloat16", 2e-2)):
        fitted.save(tmp_path / dtype, weights=weights, dtype=dtype)
        again = sktransfer.load(tmp_path / dtype)
        assert next(again.model_.parameters()).dtype == next(fitted.model_.parameters()).dtype
        np.testing.assert_allclose(again.predict_proba(NEW), expected, atol=tolerance)
        again.set_params(warm_start=True).fit(TEXTS, LABELS)
    assert size_of(tmp_path / "float16") < 0.7 * size_of(tmp_path / "float32")
    np.testing.assert_array_equal(fitted.predict_proba(NEW), expected)
    with pytest.raises(ValueError, match="dtype must be 'float32', 'float16' or 'bfloat16'"):
        fitted.save(tmp_path / "int8", dtype="int8")


@pytest.fixture
def stand_in_hub(tmp_path, monkeypatch):
    """The hub's client with folders in the place of repositories."""
    root = tmp_path / "hub"

    class Api:
        def __init__(self, token=None):
            self.token = token

        def create_repo(self, repo_id, *, private, exist_ok):
            if repo_id.startswith("others/"):
                raise OSError("forbidden")
            (root / repo_id).mkdir(parents=True, exist_ok=exist_ok)
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)
            (root / repo_id / ".gitattributes").write_text("* text")
            return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

        def model_info(self, repo_id, *, revision, timeout):
            if not (root / repo_id).is_dir():
                raise OSError("unknown")
            names = [path.relative_to(root / repo_id) for path in (root / repo_id).rglob("*")]
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=str(n)) for n in names])

    def snapshot_download(repo_id, *, revision, allow_patterns, etag_timeout):
        target = tmp_path / "cache" / repo_id
        for name in allow_patterns:
            source = root / repo_id / name
            if source.is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target / name)
        return str(target)

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return root


@pytest.mark.parametrize("weights", ["auto", "full"])
def test_through_the_hub(named_encoder, stand_in_hub, weights):
    fitted = TransferTextClassifier(named_encoder, **FAST).fit(TEXTS, LABELS)
    url = fitted.push_to_hub("owner/name", weights=weights)
    assert url == "https://hub/owner/name/commit/1"
    again = sktransfer.load("owner/name")
    np.testing.assert_array_equal(again.predict_proba(NEW), fitted.predict_proba(NEW))
    sktransfer.load("owner/name", revision="main")


def test_what_the_hub_refuses(named_encoder, stand_in_hub, tmp_path):
    fitted = TransferTextClassifier(named_encoder, max_epochs=0).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="repo_id='others/name' cannot be uploaded: "):
        fitted.push_to_hub("others/name")
    with pytest.raises(ValueError, match="'owner/nothing' is not a folder, and as a repository"):
        sktransfer.load("owner/nothing")
    (stand_in_hub / "owner" / "other").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"its repository has no estimator\.json"):
        sktransfer.load("owner/other")
    fitted.save(tmp_path / "saved")
    with pytest.raises(ValueError, match="revision='v1' is for repositories"):
        sktransfer.load(tmp_path / "saved", revision="v1")


def test_other_versions_warn(named_encoder, tmp_path):
    fitted = TransferTextClassifier(named_encoder, max_epochs=0).fit(TEXTS, LABELS)
    fitted.save(tmp_path / "saved")
    path = tmp_path / "saved" / "estimator.json"
    document = json.loads(path.read_text("utf-8"))
    document["versions"]["torch"] = "1.0.0"
    # A parameter that is newer than the folder.
    del document["parameters"]["mixing_coefficient"]
    path.write_text(json.dumps(document), "utf-8")
    seal_folder(tmp_path / "saved")
    with pytest.warns(UserWarning, match=r"saved with torch 1\.0\.0 \(here"):
        again = sktransfer.load(tmp_path / "saved")
    assert again.mixing_coefficient == "auto"


def test_what_json_has_no_form_for_warns(named_encoder, tmp_path):
    fitted = TransferTextClassifier(
        named_encoder, max_epochs=0, random_state=np.random.RandomState(0)
    ).fit(TEXTS, LABELS)
    with pytest.warns(UserWarning, match="random_state cannot be written"):
        fitted.save(tmp_path / "saved")
    assert sktransfer.load(tmp_path / "saved").random_state is None


def test_the_default_takes_little_room(minilm, tmp_path):
    fitted = TransferTextClassifier(minilm, max_epochs=0, device="cpu").fit(TEXTS, LABELS)
    fitted.save(tmp_path / "saved")
    assert size_of(tmp_path / "saved") < 1_000_000
    again = sktransfer.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict_proba(NEW), fitted.predict_proba(NEW))


def test_a_class_of_others_is_refused(named_encoder, tmp_path):
    class Mine(TransferTextClassifier):
        """An estimator that the package does not know."""

    mine = Mine(named_encoder, max_epochs=0).fit(TEXTS, LABELS)
    with pytest.raises(TypeError, match="A Mine cannot be saved"):
        mine.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
