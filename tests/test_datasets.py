import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.utils import Bunch

from sktransfer.datasets import load_docstrings, summary_sentence


@pytest.fixture(scope="module")
def docstrings():
    return load_docstrings()


def test_bunch_has_what_sklearn_loaders_have(docstrings):
    assert isinstance(docstrings, Bunch)
    assert docstrings.data.shape == docstrings.target.shape
    assert docstrings.data.dtype == object
    assert docstrings.target.dtype.kind == "i"
    assert len(docstrings.target_names) == 11
    assert str(len(docstrings.data)) in docstrings.DESCR


def test_size_and_every_class_learnable(docstrings):
    counts = np.bincount(docstrings.target, minlength=11)
    assert 2000 < len(docstrings.data) < 3000
    assert counts.min() >= 50
    assert counts.max() < 0.25 * counts.sum()


def test_texts_are_clean_sentences(docstrings):
    for text in docstrings.data:
        assert isinstance(text, str)
        assert text == " ".join(text.split())
        assert len(text.split()) >= 3
        assert "`" not in text
        assert "https:" not in text
        assert re.search(r"numpy|scipy|scikit|sklearn|torch", text, re.IGNORECASE) is None
        assert re.match(r"\w+\([^)]*=", text) is None, "a signature"


def test_no_text_twice_and_order_fixed(docstrings):
    assert len(set(docstrings.data)) == len(docstrings.data)
    data, target = load_docstrings(return_X_y=True)
    assert list(data) == list(docstrings.data)
    assert list(target) == list(docstrings.target)


def test_fresh_interpreter_is_quiet_and_imports_torch_only_when_called():
    code = (
        "import sys, sktransfer.datasets as d; assert 'torch' not in sys.modules;"
        "d.load_docstrings(); assert 'torch' in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:sktransfer", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Add two arrays. And more.", "Add two arrays"),
        ("f(x, /,\n  out=None) -> Tensor\n\nDoubles the input.", "Doubles the input"),
        ("f(x)\nDoubles the input.", "Doubles the input"),
        ("f: the third function of all.", "the third function of all"),
        (".. note:: old\n\nApply a :func:`~torch.nn.Linear` layer.", "Apply a Linear layer"),
        ("See the `link <https://x.org>`__ there.", None),
        ("Raise it, e.g. x**2 or *more*, at once.", "Raise it, e.g. x**2 or more, at once"),
        ("Alias for :func:`torch.add` and such.", None),
        ("The NumPy way of adding.", None),
        ("f(x, y)", None),
        ("", None),
        ("Too short.", None),
        ("Compute x**y - 1 for all :math:`\\text{inputs}`.", "Compute x**y - 1 for all inputs"),
    ],
)
def test_summary_sentence(docstring, expected):
    assert summary_sentence(docstring, "f") == expected
