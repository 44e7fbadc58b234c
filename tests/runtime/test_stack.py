from __future__ import annotations

import warnings

import pytest
from sklearn.preprocessing import FunctionTransformer

from sktransfer.runtime import find_stack_level


def warn(X: object) -> object:
    warnings.warn("look here", UserWarning, stacklevel=find_stack_level())
    return X


def test_a_warning_is_about_the_first_line_outside() -> None:
    with pytest.warns(UserWarning, match="look here") as caught:
        warn(None)
    assert caught[0].filename == __file__
    # From a function that the package or scikit-learn calls, too.
    inside = {"__name__": "sktransfer.somewhere", "find_stack_level": find_stack_level}
    exec(
        "import warnings\n"
        "def f(X):\n"
        "    warnings.warn('look here', UserWarning, stacklevel=find_stack_level())\n"
        "    return X",
        inside,
    )
    with pytest.warns(UserWarning, match="look here") as caught:
        FunctionTransformer(inside["f"]).transform([[1]])
    assert caught[0].filename == __file__
