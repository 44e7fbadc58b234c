"""Encoders of folders in the place of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sktransfer.encoders import CLASSIFICATION_ENCODER, DEFAULT_ENCODER
from sktransfer.encoders import resolve as resolve_module
from sktransfer.encoders.digests import file_digest
from sktransfer.encoders.menu import PinnedFiles


def use_as_default(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the names of the default encoders stand for the checkpoint in a folder."""
    folder = Path(encoder)
    known = resolve_module.HUB_ENCODERS[DEFAULT_ENCODER]
    files = PinnedFiles(
        module=folder.name,
        subfolder="",
        n_bytes=0,
        sha256=file_digest(folder / resolve_module.WEIGHTS_FILE),
    )
    monkeypatch.syspath_prepend(folder.parent)
    stand_in = replace(known, files=files)
    monkeypatch.setattr(resolve_module, "DELTAS", ())
    for name in ("minilm", DEFAULT_ENCODER, CLASSIFICATION_ENCODER):
        monkeypatch.setitem(resolve_module.HUB_ENCODERS, name, stand_in)
