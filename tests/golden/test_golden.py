"""Outputs of every kind of fit, as they were when they were last looked at.

``pytest tests/golden --golden-write -n 0`` writes them anew, for a change that is meant to move
them; the difference of values.json then says which ones moved.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from .cases import cases

VALUES = Path(__file__).with_name("values.json")
NAMES = tuple(cases("", ""))


@pytest.fixture(scope="module")
def expected():
    return json.loads(VALUES.read_text(encoding="utf-8")) if VALUES.exists() else {}


@pytest.mark.filterwarnings("ignore:.*were cut")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_moves(name, expected, tiny_encoder, tiny_decoder, request):
    found = cases(tiny_encoder, tiny_decoder)[name]()
    if request.config.getoption("--golden-write"):
        expected[name] = {key: np.round(values, 7).tolist() for key, values in found.items()}
        lines = ",\n".join(f"{json.dumps(n)}: {json.dumps(v)}" for n, v in expected.items())
        VALUES.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        return
    assert found.keys() == expected[name].keys()
    for key, values in found.items():
        np.testing.assert_allclose(values, expected[name][key], rtol=0, atol=1e-5, err_msg=key)


def test_every_case_is_frozen(expected):
    assert set(expected) == set(NAMES)
