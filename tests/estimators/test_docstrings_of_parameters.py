"""Shared docstrings: what a class does not say itself, with the defaults of its signature."""

from __future__ import annotations

import inspect

import pytest

import sktransfer
from sktransfer.estimators.docstrings import documented

ESTIMATORS = [
    getattr(sktransfer, name) for name in sktransfer.__all__ if name.startswith("Transfer")
]


@documented
class Example:
    """One line.

    Parameters
    ----------
    verbose : int, default=3
        Own words.

    Attributes
    ----------
    own_ : int
        An attribute.

    Examples
    --------
    >>> 1
    1
    """

    def __init__(self, encoder="x", *, verbose=3, device="cpu"):
        pass


def test_own_entries_stay_and_shared_ones_join():
    document = inspect.cleandoc(Example.__doc__)
    parameters = document[: document.index("Attributes")]
    places = [parameters.index(f"{name} : ") for name in ("encoder", "verbose", "device")]
    assert places == sorted(places)
    assert "verbose : int, default=3\n    Own words." in parameters
    assert 'device : str, default="cpu"' in parameters
    assert "own_ : int" in document
    assert "model_ : TransferModel" in document
    assert document.endswith(">>> 1\n1")


def test_an_undescribed_parameter_is_an_error():
    with pytest.raises(KeyError, match="unheard_of"):
        documented(type("Bare", (), {"__init__": lambda self, unheard_of=1: None}))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_is_described_with_its_default(estimator):
    document = estimator.__doc__
    for name, parameter in inspect.signature(estimator).parameters.items():
        entry = next(line for line in document.splitlines() if line.strip().startswith(f"{name} :"))
        default = repr(parameter.default).replace("'", '"')
        assert default == "None" or f"default={default}" in entry
