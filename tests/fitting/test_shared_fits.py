"""Two processes fit the estimator that one fits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("_shared_fits.py")


def run(*command: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", *command], check=True, timeout=300)


@pytest.mark.slow
def test_processes_of_torchrun_fit_what_one_fits(tiny_encoder: str, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    for file in Path(tiny_encoder).iterdir():
        (encoder / file.name).write_bytes(file.read_bytes())
    config = json.loads((encoder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (encoder / "config.json").write_text(json.dumps(config))

    run(str(SCRIPT), str(encoder), str(tmp_path / "alone"))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run(*launcher, str(SCRIPT), str(encoder), str(tmp_path / "shared"))

    alone = dict(np.load(tmp_path / "alone" / "0.npz"))
    first, second = (dict(np.load(tmp_path / "shared" / f"{rank}.npz")) for rank in (0, 1))
    assert "error" not in alone
    for found in (first, second):
        assert "different rows, targets or weights" in str(found.pop("error"))
    np.testing.assert_array_equal(first["without a seed"], second["without a seed"])
    del alone["without a seed"], first["without a seed"]
    for name, weights in first.items():
        np.testing.assert_array_equal(second[name], weights, err_msg=name)
        np.testing.assert_allclose(weights, alone[name], rtol=1e-4, atol=1e-5, err_msg=name)
