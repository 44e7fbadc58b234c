"""The estimators that learn targets, and their one `fit`."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_consistent_length

from sktransfer.encoders import DEFAULT_ENCODER, EncoderHandle
from sktransfer.estimators.encoding import BaseEncoderEstimator, blaming, draw_seed
from sktransfer.estimators.parameters import SUPERVISED, Constraints
from sktransfer.estimators.sklearn_private import fit_context
from sktransfer.estimators.targets import BaseTargets
from sktransfer.fitting.callbacks import FitCallbacks, with_callbacks
from sktransfer.fitting.context import FitJob, WarmStart
from sktransfer.fitting.data import LabeledTexts
from sktransfer.fitting.fit import run_fit
from sktransfer.inputs import Row, check_weights
from sktransfer.runtime import cache, worker_group
from sktransfer.tasks import Task


class BaseTransferEstimator(BaseEncoderEstimator):
    """Pretrained encoder, pooling and head, fine-tuned on rows of text.

    A subclass says in which format its rows come (`_row_format`), what its targets mean
    (`_targets`) and how scores become predictions; everything else is common.
    """

    _parameter_constraints: ClassVar[Constraints] = SUPERVISED

    def __init__(
        self,
        encoder: str | os.PathLike[str] | EncoderHandle = DEFAULT_ENCODER,
        *,
        max_length: int = 128,
        trainable_layers: int | Literal["all", "auto"] | None = None,
        gradual_unfreezing: bool = False,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 3e-4,
        layer_decay: float = 0.8,
        weight_decay: float = 0.01,
        schedule: str = "linear",
        warmup_fraction: float = 0.1,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        warm_start: bool = False,
        device: str = "auto",
        precision: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.encoder = encoder
        self.max_length = max_length
        self.trainable_layers = trainable_layers
        self.gradual_unfreezing = gradual_unfreezing
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup_fraction = warmup_fraction
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Fine-tune the encoder on rows of text and their targets.

        Ctrl-C while the network trains raises KeyboardInterrupt from a fitted estimator: it has the
        weights so far, or the best so far if there are validation rows. Before and after the
        training, the estimator stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Rows in the form that the class describes: list, generator, NumPy array, pandas or
            polars Series, pyarrow array. A table, a two-dimensional array or a list of tuples
            gives several texts per row, such as the two of a pair.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row. Rows of weight zero are dropped before anything else sees them.
        X_val : array-like of shape (n_val_samples,), default=None
            Rows to score after each epoch, in the place of a part of `X`.
        y_val : array-like of shape (n_val_samples,), default=None
            Targets of `X_val`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a text, a target or a parameter cannot be used; the message names it.
        TypeError
            If a text is not a string.
        FloatingPointError
            If the loss is not finite. As after every error, the estimator stays as it was.
        """
        return self._fit(X, y, sample_weight, X_val, y_val)

    @abstractmethod
    def _targets(self, y: Any) -> BaseTargets:
        """What `y` means."""

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        unlabeled: Any = None,
    ) -> Self:
        targets = self._targets(y)
        if isinstance(X, Iterator):  # callbacks read X again
            X = list(X)
        rows = self._check_training_rows(X, y, sample_weight, targets, reset=True)
        cache.begin_round()
        task = targets.task(rows)
        check_task(task, targets, rows, sample_weight)
        n_columns = self._row_format().n_columns(rows.texts)
        fitted = self._as_fitted_to(X, n_columns)
        validation = fitted._check_validation(X_val, y_val, targets, task)
        seed = shared_seed(self.random_state)
        if validation is None and self.early_stopping:
            rows, validation = self._split(rows, targets.strata(rows), seed)
        callbacks = FitCallbacks(self, X, y, sample_weight, n_columns)
        job = FitJob(
            rows=rows,
            validation=validation,
            task=task,
            targets=targets,
            row_format=self._row_format(),
            parameters=self._fit_parameters(),
            seed=seed,
            warm_start=self._fitted_network() if self.warm_start else None,
            unlabeled=unlabeled,
        )
        result = run_fit(job, callbacks)
        callbacks.end_fit(result.attributes)
        self._adopt(result.attributes, X, n_columns, result.interruption)
        return self

    def _continue(self, rows: LabeledTexts, task: Task, targets: BaseTargets, X: Any) -> None:
        """Train for one more epoch at a constant learning rate, from the current weights."""
        job = FitJob(
            rows=rows,
            validation=None,
            task=task,
            targets=targets,
            row_format=self._row_format(),
            parameters=self._fit_parameters(),
            seed=shared_seed(self.random_state),
            warm_start=self._fitted_network(),
            is_partial=True,
        )
        result = run_fit(job)
        n_columns = self._row_format().n_columns(rows.texts)
        self._adopt(result.attributes, X, n_columns, result.interruption)

    def _fitted_network(self) -> WarmStart | None:
        if not hasattr(self, "model_"):
            return None
        return WarmStart(self.model_, self.tokenizer_, self.encoder_name_)

    def _check_training_rows(
        self, X: Any, y: Any, sample_weight: Any, targets: BaseTargets, *, reset: bool
    ) -> LabeledTexts:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        texts, y = self._check_pairs(X, y, targets, reset=reset)
        rows = LabeledTexts(texts, y, weights_of(sample_weight, len(texts)))
        return rows if sample_weight is None else rows.take(np.flatnonzero(rows.weights))

    def _check_validation(
        self, X_val: Any, y_val: Any, targets: BaseTargets, task: Task
    ) -> LabeledTexts | None:
        """Validation rows, checked like those of `predict` and `score`."""
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both or neither.")
        if X_val is None:
            return None
        names = ("X_val", "y_val")
        texts, y = self._check_pairs(X_val, y_val, targets, reset=False, names=names)
        task.check(y, name="y_val")
        return LabeledTexts(texts, y, np.ones(len(texts)))

    def _check_pairs(
        self,
        X: Any,
        y: Any,
        targets: BaseTargets,
        *,
        reset: bool,
        names: tuple[str, str] = ("X", "y"),
    ) -> tuple[Sequence[Row], NDArray[Any]]:
        """Rows of `X` and their targets; `names` are used in errors."""
        texts = self._check_rows(X, reset=reset, name=names[0])
        with blaming(names[1]):
            checked = targets.check(y, name=names[1])
        with blaming(" and ".join(names)):
            check_consistent_length(texts, checked)
        return texts, targets.match(checked, texts, name=names[1])

    def _split(
        self, rows: LabeledTexts, strata: NDArray[Any] | None, seed: int
    ) -> tuple[LabeledTexts, LabeledTexts]:
        """Training and validation rows."""
        positions = np.arange(len(rows))
        try:
            train, held_out = train_test_split(
                positions, test_size=self.validation_fraction, random_state=seed, stratify=strata
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True cannot hold out validation_fraction="
                f"{self.validation_fraction} of {len(positions)} rows ({error}) Pass X_val and "
                "y_val, raise validation_fraction, or set early_stopping=False."
            ) from None
        return rows.take(train), rows.take(held_out)


def shared_seed(random_state: int | np.random.RandomState | None) -> int:
    """Seed of a fit, the same in all processes that share it."""
    return worker_group().agreed(draw_seed(random_state))


def weights_of(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Weight of each row, not all of them zero."""
    return np.ones(n_rows) if sample_weight is None else check_weights(sample_weight, n_rows)


def check_task(task: Task, targets: BaseTargets, rows: LabeledTexts, sample_weight: Any) -> None:
    """Raise early if `task` cannot learn from the targets or weights.

    Rows of weight zero are gone, so that the numbers of the others may not be the user's.
    """
    is_whole = sample_weight is None or bool(np.asarray(sample_weight).all())
    task.check(rows.y, name="y" if is_whole else "y without its rows of weight zero")
    targets.weights(rows, task)
