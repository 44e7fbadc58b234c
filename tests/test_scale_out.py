"""A Dask cluster loses no row when a worker is killed (docs/scale_out.md)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sktransfer import TransferTextClassifier

SCRIPT = Path(__file__).with_name("_killed_worker.py")


@pytest.mark.slow
def test_a_killed_worker_loses_no_row(tiny_encoder: str, tmp_path: Path) -> None:
    pytest.importorskip("dask.distributed")
    import pandas as pd

    texts = [f"a {word} film {number}" for number in range(20) for word in ("good", "bad")]
    labels = ["good", "bad"] * 20
    classifier = TransferTextClassifier(tiny_encoder, max_epochs=0).fit(texts, labels)
    classifier.save(tmp_path / "model", weights="full")
    (tmp_path / "rows").mkdir()
    for part in range(4):
        rows = pd.DataFrame({"text": texts[part::4]})
        rows.to_parquet(tmp_path / "rows" / f"{part}.parquet")
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    assert (tmp_path / "killed").exists()
    labeled = pd.read_parquet(tmp_path / "labeled")
    assert sorted(labeled["text"]) == sorted(texts)
    expected = dict(zip(texts, classifier.predict(texts), strict=True))
    assert labeled["label"].tolist() == [expected[text] for text in labeled["text"]]
