"""Public names, parameters and defaults stay as `signatures.json` has them."""

import importlib
import inspect
import json
from pathlib import Path

import pytest

SIGNATURES = json.loads((Path(__file__).parent / "signatures.json").read_text("utf-8"))


def signature_of(name: str) -> str:
    """Names, kinds and defaults of the parameters, without their types."""
    owner, _, last = name.rpartition(".")
    room, _, kind = owner.rpartition(".")
    modules = (
        *("sktransfer", "sktransfer.datasets", "sktransfer.encoders", "sktransfer.inspection"),
        *("sktransfer.runtime", "sktransfer.serving"),
    )
    if owner in modules:
        value = getattr(importlib.import_module(owner), last)
    else:
        value = getattr(getattr(importlib.import_module(room), kind), last)
    signature = inspect.signature(value)
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_public_signature_stays(name: str) -> None:
    assert signature_of(name) == SIGNATURES[name]
