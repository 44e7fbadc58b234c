"""Where, when, by which command and with which versions a figure was made."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path


def cpu_model() -> str:
    """Model of the processor, and whether it multiplies bfloat16 (and oneDNN may use that)."""
    import torch

    from sktransfer.runtime import resolve_precision

    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    dtype = resolve_precision("auto", torch.device("cpu"), training=True)
    kind = "with" if dtype is torch.bfloat16 else "without"
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return f"{model}, {kind} bfloat16" + (f", ONEDNN_MAX_CPU_ISA={limit}" if limit else "")


def versions() -> str:
    import sktransfer

    found = [f"sktransfer={sktransfer.__version__}"]
    for name in ("torch", "transformers", "scikit-learn", "sentence-transformers", "setfit"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name}={importlib.metadata.version(name)}")
    return " ".join(found)


def provenance() -> dict[str, str]:
    """Where, when and by which command a figure was made."""
    return {
        "cpu": cpu_model(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "versions": versions(),
    }


def commit() -> str:
    """Of the checkout that this script belongs to."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
