"""The package as a whole: light to import, complete to look at."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import sktransfer

PUBLIC_NAMES = {
    "ComparisonResult",
    "EncoderHandle",
    "LanguageModel",
    "TransferAnswerExtractor",
    "TransferChoiceClassifier",
    "TransferTextClassifier",
    "TransferTextRegressor",
    "TransferTextVectorizer",
    "TransferTokenClassifier",
    "available_encoders",
    "compare",
    "datasets",
    "load",
    "skops_trusted_types",
}


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `statement`."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return {name.partition(".")[0] for name in json.loads(run.stdout)}


@pytest.mark.parametrize("statement", ["import sktransfer", "import sktransfer; dir(sktransfer)"])
def test_import_is_light(statement: str) -> None:
    modules = modules_after(statement)
    assert "sktransfer" in modules
    assert not modules & {"torch", "transformers", "sklearn", "numpy"}


def test_a_data_set_needs_no_torch() -> None:
    assert not modules_after("import sktransfer; sktransfer.datasets") & {"torch", "transformers"}


def test_dir_lists_the_public_names() -> None:
    assert set(sktransfer.__all__) - {"__version__"} == PUBLIC_NAMES
    assert set(dir(sktransfer)) >= PUBLIC_NAMES


@pytest.mark.parametrize("name", sorted(PUBLIC_NAMES))
def test_public_names_resolve_once(name: str) -> None:
    value = getattr(sktransfer, name)
    assert getattr(sktransfer, name) is value
    assert value.__name__.rpartition(".")[2] == name


def test_star_import_brings_the_public_names() -> None:
    namespace: dict[str, object] = {}
    exec("from sktransfer import *", namespace)
    assert namespace.keys() >= PUBLIC_NAMES


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'sktransfer' has no attribute 'Classifier'"):
        _ = sktransfer.Classifier


def test_version_is_that_of_the_installed_package() -> None:
    assert sktransfer.__version__ == version("sktransfer")
