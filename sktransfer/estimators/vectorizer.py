"""TransferTextVectorizer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import normalize as to_unit_length
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length

from sktransfer.encoders import DEFAULT_ENCODER, EncoderHandle, resolve_encoder
from sktransfer.estimators.base import BaseTransferEstimator, weights_of
from sktransfer.estimators.docstrings import documented
from sktransfer.estimators.encoding import draw_seed, in_parts, predicting
from sktransfer.estimators.exporting import ExportMixin
from sktransfer.estimators.parameters import SUPERVISED, TEXT, Constraints
from sktransfer.estimators.sklearn_private import fit_context
from sktransfer.estimators.targets import BaseTargets, targets_of
from sktransfer.fitting.callbacks import with_callbacks
from sktransfer.fitting.context import new_model, pretrained_state
from sktransfer.fitting.served_files import Output
from sktransfer.inputs import RowFormat, TextFormat, prompted
from sktransfer.runtime import isolated_seed, resolve_device, usual_numerics


@documented
class TransferTextVectorizer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ExportMixin, BaseTransferEstimator
):
    """Texts to dense features, from a pretrained language model.

    Without `y`, or with ``max_epochs=0``, the features are those of the pretrained encoder, and
    `fit` only loads it. With `y` the encoder is first fine-tuned: as a regressor if `y` is
    continuous, and otherwise as a classifier, of one label per row or of several.

    Parameters
    ----------
    layer : int, default=-1
        Layer whose states are pooled, as an index of the list of the embeddings, the first
        layer, and so on up: -1 is the last layer, 0 the embeddings.
    normalize : bool, default=True
        Whether features have length one.
    memory : None, str, path or joblib.Memory
        Folder in which features of an encoder that is not fine-tuned are kept for other
        processes, as in scikit-learn's Pipeline; None writes nothing.
    max_epochs : int or "auto", default="auto"
        Passes over the rows if there is `y`; ``"auto"`` makes more of them the fewer rows there
        are. With 0 the encoder stays as it is, and `y` is not read.

    Attributes
    ----------
    task_ : Task or None
        What the targets mean to the network; None where none were read.
    input_name_ : str or None
        Name of the column of texts, or the names of several, joined; None without names.

    Examples
    --------
    >>> from sktransfer import TransferTextVectorizer
    >>> texts = ["a cat sleeps", "a kitten naps", "stocks fell"]
    >>> features = TransferTextVectorizer().fit_transform(texts)
    >>> features.shape
    (3, 384)
    >>> bool(features[0] @ features[1] > features[0] @ features[2])
    True
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **SUPERVISED,
        **TEXT,
        "layer": [Integral],
        "normalize": ["boolean"],
    }

    def __init__(
        self,
        encoder: str | os.PathLike[str] | EncoderHandle = DEFAULT_ENCODER,
        *,
        layer: int = -1,
        pooling: str = "auto",
        prompt: str = "auto",
        normalize: bool = True,
        long_texts: Literal["window", "truncate"] = "window",
        symmetric: bool = False,
        missing: Literal["error", "empty"] = "error",
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
        super().__init__(
            encoder,
            max_length=max_length,
            trainable_layers=trainable_layers,
            gradual_unfreezing=gradual_unfreezing,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            layer_decay=layer_decay,
            weight_decay=weight_decay,
            schedule=schedule,
            warmup_fraction=warmup_fraction,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            device=device,
            precision=precision,
            random_state=random_state,
            verbose=verbose,
        )
        self.layer = layer
        self.pooling = pooling
        self.prompt = prompt
        self.normalize = normalize
        self.long_texts = long_texts
        self.symmetric = symmetric
        self.missing = missing
        self.memory = memory

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Load the encoder, and fine-tune it if there are targets.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Labels or real targets to fine-tune the features on; None leaves the encoder as it is.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in fine-tuning.
        X_val, y_val : array-like of shape (n_val_samples,), default=None
            Texts and targets to score after each epoch of fine-tuning.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        if y is None and not (X_val is None and y_val is None):
            raise ValueError("X_val and y_val watch a fine-tuning, which needs y: give it, too.")
        if y is None or self.max_epochs == 0:
            self._load(X, y, sample_weight, X_val, y_val)
            return self
        self._tune(X, y, sample_weight, X_val, y_val)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def _tune(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any) -> Self:
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _targets(self, y: Any) -> BaseTargets:
        return targets_of(y)

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> NDArray[np.float32]:
        """Fit and return the features of the same texts.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            As in `fit`.
        sample_weight, X_val, y_val : array-like, default=None
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            Features.
        """
        if isinstance(X, Iterator):  # transform reads X again
            X = list(X)
        return self.fit(X, y, sample_weight, X_val, y_val).transform(X)

    @predicting
    def transform(self, X: Any) -> NDArray[np.float32]:
        """Features of each text.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            As many as the encoder's states have, or three times as many (``"concat"``).
        """
        return in_parts(self._transform, X, self.n_features_in_)

    def _transform(self, X: Any) -> NDArray[np.float32]:
        texts = self._check_rows(X, reset=False)
        # Stored in `memory`, for searches over later steps of a pipeline.
        features = self._predictor().features(texts, writes=True)
        return to_unit_length(features) if self.normalize else features

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the features: those of the columns of texts, numbered.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked.

        Returns
        -------
        ndarray of str objects, shape (n_features,)
            ``"title_0"``, ``"title_1"``, and so on for the column "title"; names of several columns
            are joined. Without names, ``"transfertextvectorizer0"`` and so on.
        """
        names: NDArray[np.object_] = super().get_feature_names_out(input_features)
        if self.input_name_ is None:
            return names
        numbered = [f"{self.input_name_}_{number}" for number in range(len(names))]
        return np.array(numbered, dtype=object)

    def _remember_columns(self, X: Any, n_columns: int) -> None:
        super()._remember_columns(X, n_columns)
        names = getattr(self, "feature_names_in_", None)
        if names is None:  # a Series
            name = getattr(X, "name", None)
            names = [name] if isinstance(name, str) else []
        self.input_name_ = "_".join(names) or None

    @property
    def _n_features_out(self) -> int:
        return int(self.model_.head.linear.in_features)

    @usual_numerics()
    def _load(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any) -> None:
        self._validate_params()
        if isinstance(X, Iterator):
            X = list(X)
        texts = self._check_rows(X, reset=True)
        check_consistent_length(texts, y)
        weights_of(sample_weight, len(texts))
        n_columns = self._row_format().n_columns(texts)
        if X_val is not None:
            fitted = self._as_fitted_to(X, n_columns)
            check_consistent_length(fitted._check_rows(X_val, reset=False, name="X_val"), y_val)
        attributes: dict[str, Any] = {
            "task_": None,
            "loss_curve_": [],
            "validation_scores_": [],
            "best_epoch_": None,
            "n_iter_": 0,
            "device_": str(resolve_device(self.device)),
        }
        if not (self.warm_start and hasattr(self, "model_")):
            source = resolve_encoder(self.encoder)
            encoder, tokenizer = source.load_shared()
            with isolated_seed(draw_seed(self.random_state), resolve_device("cpu")):
                model = new_model(encoder, 1, self._fit_parameters(), source.settings)
            model.pretrained = pretrained_state(source, encoder, self.memory)
            attributes["model_"] = model
            attributes["tokenizer_"] = prompted(
                tokenizer, self._fit_parameters().prompt_for(source)
            )
            attributes["encoder_name_"] = source.name
        self._adopt(attributes, X, n_columns)

    def _row_format(self) -> RowFormat:
        return TextFormat(self.long_texts, self.symmetric, self.missing)

    def _served_output(self) -> Output:
        return {"kind": "features", "normalize": self.normalize}
