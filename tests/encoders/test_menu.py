"""Short names of encoders."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from sktransfer import TransferTextVectorizer
from sktransfer.encoders import SentenceSettings, available_encoders, resolve_encoder
from sktransfer.encoders import hub as hub_module
from sktransfer.encoders.menu import HUB_ENCODERS

ROOT = Path(__file__).resolve().parents[2]


def test_all_short_names_are_described():
    table = available_encoders(all=True)
    assert {"minilm", "minilm-classification", "bge-small", "potion", "wordllama"} <= table.keys()
    for name, one in table.items():
        assert one.name == name
        assert one.million_parameters > 1
        assert one.license in ("Apache-2.0", "MIT")
        assert one.is_available == (name in available_encoders() or name == "minilm")


def test_hub_encoders_are_pinned_to_a_commit():
    for encoder in HUB_ENCODERS.values():
        assert len(encoder.revision) == 40
        assert encoder.repo_id.count("/") == 1


def test_measured_accuracies_are_those_of_the_benchmark():
    path = ROOT / "benchmarks" / "results" / "classification_encoder.csv"
    accuracies: dict[str, dict[str, list[float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["budget"] == "8":
                by_set = accuracies.setdefault(row["encoder"], {})
                by_set.setdefault(row["set"], []).append(float(row["accuracy"]))
    table = available_encoders(all=True)
    for name, theirs in (("minilm", "all-MiniLM-L6-v2"), ("minilm-classification",) * 2):
        means = [np.mean(values) for values in accuracies[theirs].values()]
        assert len(means) == 10
        assert table[name].frozen_accuracy == pytest.approx(100 * np.mean(means), abs=0.05)


def test_a_short_name_finds_its_revision_in_the_cache(tiny_encoder, tmp_path, monkeypatch):
    folder = tmp_path / "snapshot"
    shutil.copytree(tiny_encoder, folder)
    asked = []

    def cached_folder(repo_id, revision=""):
        asked.append((repo_id, revision))
        return folder if repo_id == "BAAI/bge-small-en-v1.5" else None

    monkeypatch.setattr(hub_module, "cached_folder", cached_folder)
    handle = resolve_encoder("bge-small")
    assert asked == [("BAAI/bge-small-en-v1.5", "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a")]
    assert handle.name == "bge-small"
    # Its pooling is known without the files of sentence-transformers.
    model = TransferTextVectorizer(handle).fit(["a text"]).model_
    assert model.pooling == "cls"
    assert available_encoders(all=True)["bge-small"].is_available


def test_a_repository_has_the_settings_of_its_short_name(tiny_encoder, monkeypatch):
    monkeypatch.setattr(
        hub_module, "cached_folder", lambda repo_id, revision="": Path(tiny_encoder)
    )
    for name in ("e5-small", "intfloat/e5-small-v2", "intfloat/e5-small-v2@main"):
        assert resolve_encoder(name).settings == SentenceSettings("mean", "query: ")
    assert resolve_encoder("somebody/else").settings == SentenceSettings()


def test_minilm_is_the_default(minilm):
    assert resolve_encoder("minilm") == resolve_encoder(minilm)
    assert resolve_encoder("minilm").settings.pooling == "mean"


def test_the_guide_has_the_table():
    guide = (ROOT / "docs" / "guide" / "encoders.md").read_text("utf-8")
    for one in available_encoders(all=True).values():
        values = (one.million_parameters, one.languages, one.max_tokens, one.license)
        scores = (one.mteb_classification, one.frozen_accuracy)
        cells = [f'`"{one.name}"`', *map(_cell, (*values, *scores))]
        assert f"| {' | '.join(cells)} |" in guide


def _cell(value):
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value}"
