"""To which digit results agree on this processor."""

from __future__ import annotations

import functools
from typing import Any

import torch
from numpy.testing import assert_allclose, assert_array_equal


@functools.cache
def rows_are_rounded_alike() -> bool:
    """Whether a row of a matrix product is the same to the last bit beside any number of others.

    Sixteen of them at least, which the package sees to. With MKL's kernels for AVX2 it is not:
    the last rows of a matrix take another path than those before them.
    """
    generator = torch.Generator().manual_seed(0)
    for n_inputs, n_outputs in ((32, 32), (32, 64), (64, 32)):
        rows = torch.randn(256, n_inputs, generator=generator)
        weights = torch.randn(n_outputs, n_inputs, generator=generator)
        together = torch.nn.functional.linear(rows, weights)
        for n_rows in range(16, len(rows)):
            few = torch.nn.functional.linear(rows[:n_rows].clone(), weights)
            if not torch.equal(few, together[:n_rows]):
                return False
    return True


def assert_same_numbers(found: Any, expected: Any, err_msg: str = "") -> None:
    """Both are the same to the last bit, or where the processor rules that out, to four digits."""
    if rows_are_rounded_alike():
        assert_array_equal(found, expected, err_msg=err_msg)
    else:
        assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=err_msg)
