"""Docstrings of the public names hold to numpydoc, with the checks chosen in pyproject.toml."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from numpydoc.validate import ERROR_MSGS, validate

import sktransfer

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def checks() -> set[str]:
    """Codes to check: numpydoc's "all" turns the codes after it into the ones left out."""
    chosen = set(tomllib.loads(PYPROJECT.read_text())["tool"]["numpydoc_validation"]["checks"])
    return set(ERROR_MSGS) - chosen if "all" in chosen else chosen


def is_ours(member: object) -> bool:
    function = member.fget if isinstance(member, property) else member
    return str(getattr(function, "__module__", "")).startswith("sktransfer")


def public_objects() -> Iterator[str]:
    """Import paths of the public functions and classes, and of what they define or inherit."""
    for name in sktransfer.__all__:
        value = getattr(sktransfer, name)
        if inspect.ismodule(value):
            yield from (f"sktransfer.{name}.{member}" for member in value.__all__)
        elif callable(value):
            yield f"sktransfer.{name}"
        if inspect.isclass(value):
            for member in dir(value):
                found = inspect.getattr_static(value, member)
                if isinstance(found, classmethod | staticmethod):
                    found = found.__func__
                documented = isinstance(found, property) or inspect.isroutine(found)
                if not member.startswith("_") and documented and is_ours(found):
                    yield f"sktransfer.{name}.{member}"


@pytest.mark.parametrize("path", list(public_objects()))
def test_docstring(path: str) -> None:
    chosen = checks()
    errors = [(code, text) for code, text in validate(path)["errors"] if code in chosen]
    assert not errors


@pytest.mark.parametrize("path", [path for path in public_objects() if path.count(".") == 1])
def test_public_names_have_an_example(path: str) -> None:
    value = getattr(sktransfer, path.partition(".")[2])
    assert ">>> " in inspect.getdoc(value)
