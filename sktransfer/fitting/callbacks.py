"""scikit-learn's callbacks (1.9 and later): epochs as subtasks of `fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9
    Method = TypeVar("Method", bound=Callable[..., Any])

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Estimator without callbacks."""

    def with_callbacks(method: Method) -> Method:
        """Return `method` unchanged."""
        return method


__all__ = ["CallbackSupportMixin", "FitCallbacks", "with_callbacks"]


class FitCallbacks:
    """Reports one `fit` and its epochs to the callbacks of an estimator.

    Parameters
    ----------
    estimator : estimator
        The estimator that is being fitted.
    X, y, sample_weight : array-like
        What `fit` was given.
    n_columns : int
        Columns of `X`, which reconstructed estimators know.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, n_columns: int) -> None:
        self._estimator, self._X, self._y = estimator, X, y
        self._metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._columns = {"n_features_in_": n_columns}
        self._context: Any = None
        self._epoch: Any = None

    def begin_fit(self, n_epochs: int) -> None:
        """Open the task of `fit`, of at most `n_epochs` epochs."""
        initialize = getattr(self._estimator, "_init_callback_context", None)
        self._context = initialize(max_subtasks=n_epochs) if initialize else None
        if self._context is not None:
            self._begin(self._context)

    def begin_epoch(self) -> None:
        """Announce the next epoch."""
        if self._context is not None:
            self._epoch = self._begin(self._context.subcontext(task_name="epoch"))

    def end_epoch(self, fitted_attributes: Callable[[], dict[str, Any]]) -> bool:
        """Close the epoch; `fitted_attributes` is called only if a callback wants a model.

        Returns
        -------
        bool
            Whether a callback asks to stop.
        """
        return False if self._context is None else self._end(self._epoch, fitted_attributes)

    def end_fit(self, fitted_attributes: dict[str, Any]) -> None:
        """Close the task of `fit`."""
        if self._context is not None:
            self._end(self._context, lambda: fitted_attributes)

    def _begin(self, context: Any) -> Any:
        return context.call_on_fit_task_begin(
            estimator=self._estimator, X=self._X, y=self._y, metadata=self._metadata
        )

    def _end(self, context: Any, fitted_attributes: Callable[[], dict[str, Any]]) -> bool:
        stop = context.call_on_fit_task_end(
            estimator=self._estimator,
            X=self._X,
            y=self._y,
            metadata=self._metadata,
            reconstruction_attributes=lambda: {**fitted_attributes(), **self._columns},
        )
        return bool(stop)
