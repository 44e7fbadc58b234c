"""The service of the page on deployment answers requests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose

from sktransfer import TransferTextClassifier
from tests.test_pages import ROOT, blocks

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("onnxscript")

TEXTS = ["the good film", "a bad plot"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, texts: Any, *, seconds: float = 60) -> Any:
    """The answer to a request, as soon as the service gives one."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict",
        json.dumps({"texts": texts}).encode(),
        {"content-type": "application/json"},
    )
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.slow
def test_the_service_of_the_page(tiny_encoder: str, tmp_path: Path) -> None:
    (app,) = [
        block.code
        for block in blocks(ROOT / "docs" / "deploy.md", "python")
        if "FastAPI()" in block.code
    ]
    (tmp_path / "app.py").write_text(app, encoding="utf-8")
    classifier = TransferTextClassifier(tiny_encoder, max_epochs=1, random_state=0, device="cpu")
    classifier.fit(TEXTS * 2, ["good", "bad"] * 2).export(tmp_path / "service")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        answers = ask(port, TEXTS)
        assert [answer.keys() for answer in answers] == [{"bad", "good"}] * 2
        found = [[answer[label] for label in classifier.classes_] for answer in answers]
        assert_allclose(found, classifier.predict_proba(TEXTS), atol=1e-5)
        assert ask(port, []) == []
        with pytest.raises(urllib.error.HTTPError, match="422"):
            ask(port, "not a list")
    finally:
        process.terminate()
        process.wait(timeout=30)
