from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from sktransfer.tasks import logistic as logistic_module
from sktransfer.tasks import logistic_regression

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(200, 12))
WEIGHTS = RNG.uniform(0.5, 2.0, size=200)


def problem(n_classes: int) -> np.ndarray:
    return 3 * RNG.integers(n_classes, size=200) + 1


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_the_minimum_is_scikit_learns(n_classes, form) -> None:
    codes = problem(n_classes)
    exact = LogisticRegression(C=5.0, tol=1e-10, max_iter=5000).fit(FEATURES, codes, WEIGHTS)
    coef, intercept = logistic_regression(form(FEATURES), codes, WEIGHTS, C=5.0, tol=1e-6)
    assert_allclose(coef, exact.coef_, atol=1e-4)
    assert_allclose(intercept, exact.intercept_, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_device_finds_the_same(n_classes, monkeypatch) -> None:
    codes = problem(n_classes)
    here = logistic_regression(FEATURES, codes, WEIGHTS, C=5.0, tol=1e-6)
    monkeypatch.setattr(logistic_module, "_FEW_PRODUCTS", 0)
    there = logistic_regression(
        FEATURES, codes, WEIGHTS, C=5.0, tol=1e-6, device=torch.device("cpu")
    )
    assert there[0].shape == here[0].shape
    for mine, theirs in zip(there, here, strict=True):
        assert_allclose(mine, theirs, atol=1e-4)


def test_sparse_columns_stay_on_the_cpu(monkeypatch) -> None:
    monkeypatch.setattr(logistic_module, "_FEW_PRODUCTS", 0)
    codes = problem(3)
    coef, _ = logistic_regression(
        csr_matrix(FEATURES), codes, WEIGHTS, C=1.0, tol=1e-6, device=torch.device("meta")
    )
    assert coef.shape == (3, 12)
