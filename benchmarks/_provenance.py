"""Where, when, by which command and with which versions a figure was made."""

import contextlib
import datetime
import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

_MEASURED = (
    "torch",
    "transformers",
    "scikit-learn",
    "sentence-transformers",
    "setfit",
    "fast-fit",
)
# The first two multiply bfloat16.
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")


@functools.cache
def cpu_model() -> str:
    """Model of the processor, its widest instructions, and a limit on those that are used."""
    fields: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", "").split()
    widest = [name for name in INSTRUCTIONS if name in flags][:1]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    limits = [f"ONEDNN_MAX_CPU_ISA={limit}"] if limit else []
    model = fields.get("model name") or platform.processor() or platform.machine()
    return ", ".join([model, *widest, *limits])


def versions() -> str:
    import sktransfer

    found = [f"sktransfer={sktransfer.__version__}"]
    for name in _MEASURED:
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
