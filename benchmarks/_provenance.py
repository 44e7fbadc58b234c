"""Where, when, by which command and with which versions a figure was made."""

import contextlib
import datetime
import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path


def cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


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
