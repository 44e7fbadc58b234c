"""Estimators that take any kind of target: what it means is known to the one of that task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target

from sktransfer._base import BaseTransferEstimator
from sktransfer._classifier import TransferTextClassifier
from sktransfer._regressor import TransferTextRegressor
from sktransfer._session import Session, TextRows
from sktransfer.tasks import Task


class BaseGuided(BaseTransferEstimator):
    """Regression on continuous targets, classification of one or more labels on others."""

    _guide: BaseTransferEstimator

    @contextmanager
    def _guided(self, y: Any) -> Iterator[None]:
        """Read all targets as `y` is to be read; a part of it may look like another kind."""
        with np.errstate(invalid="ignore"):  # NaN is an error soon enough
            is_real = type_of_target(y, input_name="y").startswith("continuous")
        self._guide = TransferTextRegressor() if is_real else TransferTextClassifier()
        try:
            yield
        finally:
            del self._guide

    def _check_targets(self, y: Any) -> NDArray[Any]:
        return self._guide._check_targets(y)

    def _make_task(self, rows: TextRows) -> Task:
        return self._guide._make_task(rows)

    def _target_weights(self, rows: TextRows) -> NDArray[np.float64]:
        return self._guide._target_weights(rows)

    def _rows_of_targets(self, session: Session) -> TextRows:
        return self._guide._rows_of_targets(session)

    def _strata(self, rows: TextRows) -> NDArray[Any] | None:
        return self._guide._strata(rows)
