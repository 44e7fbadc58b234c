"""Estimators that take any kind of target: what it means is known to the one of that task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer.estimators.base import BaseTransferEstimator
from sktransfer.estimators.classifier import TransferTextClassifier
from sktransfer.estimators.regressor import TransferTextRegressor
from sktransfer.fitting.data import FitContext, TextRows
from sktransfer.tasks import Task


class BaseGuided(BaseTransferEstimator):
    """Regression on continuous targets, classification of one or more labels on others."""

    _guide: BaseTransferEstimator

    @contextmanager
    def _guided(self, y: Any) -> Iterator[None]:
        """Read all targets as `y` is to be read; a part of it may look like another kind."""
        self._guide = TransferTextRegressor() if _is_real(y) else TransferTextClassifier()
        try:
            yield
        finally:
            del self._guide

    def _check_targets(self, y: Any, *, name: str = "y") -> NDArray[Any]:
        return self._guide._check_targets(y, name=name)

    def _make_task(self, rows: TextRows) -> Task:
        return self._guide._make_task(rows)

    def _target_weights(self, rows: TextRows, task: Task) -> NDArray[np.float64]:
        return self._guide._target_weights(rows, task)

    def _rows_of_targets(self, session: FitContext) -> TextRows:
        return self._guide._rows_of_targets(session)

    def _strata(self, rows: TextRows) -> NDArray[Any] | None:
        return self._guide._strata(rows)


def _is_real(y: Any) -> bool:
    """Whether some targets are no integers but numbers, whatever may be wrong with the others."""
    try:
        values = np.asarray(y)
    except ValueError:  # rows of unlike length
        return False
    if values.dtype.kind not in "fO":
        return False
    numbers = [value for value in values.flat if isinstance(value, (float, np.floating))]
    finite = np.array([number for number in numbers if np.isfinite(number)], dtype=np.float64)
    return bool(((finite != np.floor(finite)) | (np.abs(finite) >= 2.0**63)).any())
