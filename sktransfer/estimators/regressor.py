"""TransferTextRegressor."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import Tags

from sktransfer.encoders import DEFAULT_ENCODER, EncoderHandle
from sktransfer.estimators.base import weights_of
from sktransfer.estimators.docstrings import documented
from sktransfer.estimators.encoding import predicting
from sktransfer.estimators.parameters import Constraints
from sktransfer.estimators.sklearn_private import StrOptions
from sktransfer.estimators.targets import NumberTargets
from sktransfer.estimators.text import BaseTextEstimator
from sktransfer.fitting.served_files import Output
from sktransfer.tasks import LOSSES


@documented
class TransferTextRegressor(RegressorMixin, BaseTextEstimator):
    """Regression from text, fine-tuned from a pretrained language model.

    Targets are standardized internally. A ridge regression on the features of the frozen encoder
    initializes the head, encoder and head are then fine-tuned together, and their predictions are
    averaged with those of a ridge regression on TF-IDF features.

    Parameters
    ----------
    loss : {"squared_error", "huber", "absolute_error"}, default="squared_error"
        Loss of the standardized targets. The robust ones, Huber's and the absolute error, are
        moved less by outliers, and scale targets by their quartiles.
    lexical_weight : float, default=0.15
        Share of the TF-IDF model in the prediction, from 0 (off) to 1.

    Attributes
    ----------
    pair_encoder_ : {"cross", "bi"} or None
        How the two texts of a row were encoded; None for other rows.
    lexical_ : LexicalChannel or None
        The TF-IDF model.

    Examples
    --------
    >>> from sktransfer import TransferTextRegressor
    >>> texts = ["a wonderful film", "a good story", "dull and slow", "an awful waste of time"]
    >>> stars = [10, 8, 4, 1]
    >>> model = TransferTextRegressor(max_epochs=0, random_state=0).fit(texts, stars)
    >>> good, bad = model.predict(["what a beautiful movie", "awful and boring"])
    >>> bool(good > bad)
    True
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseTextEstimator._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
    }

    def __init__(
        self,
        encoder: str | os.PathLike[str] | EncoderHandle = DEFAULT_ENCODER,
        *,
        loss: str = "squared_error",
        pooling: str = "auto",
        prompt: str = "auto",
        pooling_layers: int = 1,
        long_texts: Literal["window", "truncate"] = "window",
        pair_encoder: Literal["auto", "cross", "bi"] = "auto",
        symmetric: bool = False,
        missing: Literal["error", "empty"] = "error",
        lexical_weight: float = 0.15,
        head_init: str = "probe",
        head_refit: bool = False,
        C: float = 10.0,
        adapt_epochs: int = 0,
        lm_weight: float = 0.0,
        memory: str | os.PathLike[str] | joblib.Memory | None = None,
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
        self.pooling = pooling
        self.prompt = prompt
        self.pooling_layers = pooling_layers
        self.long_texts = long_texts
        self.pair_encoder = pair_encoder
        self.symmetric = symmetric
        self.missing = missing
        self.lexical_weight = lexical_weight
        self.head_init = head_init
        self.head_refit = head_refit
        self.C = C
        self.adapt_epochs = adapt_epochs
        self.lm_weight = lm_weight
        self.memory = memory
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
        self.loss = loss

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @predicting
    def predict(self, X: Any) -> NDArray[np.float64]:
        """Targets of each text.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the unit of the `y` of `fit`.
        """
        scores = self._scores(X)
        values: NDArray[np.float64] = self.task_.decode(scores)
        return values

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination, the mean of those of several outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            At most 1; 0 for predictions no better than the mean of `y`.
        """
        y = self._targets(y).check(y)
        return float(super().score(X, y, weights_of(sample_weight, len(y))))

    def _served_output(self) -> Output:
        return {"kind": "numbers", "is_flat": self.task_.is_flat}

    def _targets(self, y: Any) -> NumberTargets:
        return NumberTargets(self.loss)
