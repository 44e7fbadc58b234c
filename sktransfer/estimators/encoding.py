"""Base of all estimators: the encoder, input rows and fitted state."""

from __future__ import annotations

import copy
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from sktransfer.encoders import EncoderHandle, HubError, SentenceSettings, upload
from sktransfer.estimators.pickling import plain_state, restored_state
from sktransfer.estimators.saving import write_estimator
from sktransfer.estimators.sklearn_private import check_feature_names
from sktransfer.fitting.callbacks import CallbackSupportMixin
from sktransfer.fitting.context import FitParameters
from sktransfer.fitting.predictor import Predictor, ScoredRows
from sktransfer.inputs import Row, RowFormat, prompt_of, unprompted
from sktransfer.runtime import trim_memory, usual_numerics

_ROWS_AT_ONCE = 16_384

Params = ParamSpec("Params")
Result = TypeVar("Result")
Estimator = TypeVar("Estimator", bound="BaseEncoderEstimator")


class BaseEncoderEstimator(CallbackSupportMixin, BaseEstimator, ABC):
    """Base of estimators with a pretrained encoder: reads rows and holds the fitted state.

    A subclass says in which format its rows come (`_row_format`).
    """

    n_features_in_: int
    max_length: int
    device: str
    precision: str
    verbose: int

    def __copy__(self) -> Self:
        return self._copied()

    def __getstate__(self) -> dict[str, Any]:
        return plain_state(self, super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(restored_state(type(self), state))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        # Columns of text are two-dimensional, too, but the tag stands for numbers.
        tags.input_tags.two_d_array = False
        return tags

    @property
    def encoder_(self) -> EncoderHandle:
        """Immutable handle to the fine-tuned encoder: an `encoder` for another estimator."""
        check_is_fitted(self)
        return EncoderHandle.from_modules(
            self.model_.encoder,
            unprompted(self.tokenizer_),
            name=self.encoder_name_,
            settings=self._sentence_settings(),
        )

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        weights: Literal["auto", "full"] = "auto",
        dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    ) -> None:
        """Write the fitted estimator to a folder, without pickle; `sktransfer.load` reads it.

        The folder is written as a whole: a process that is killed leaves the old one.

        Parameters
        ----------
        folder : str or path-like
            Folder to create. One that holds a saved estimator is replaced; other content is
            refused.
        weights : {"auto", "full"}, default="auto"
            ``"auto"`` keeps the weights that fine-tuning has not changed by reference, if the
            encoder has a name that other machines know, too: loading needs that encoder, and
            checks its SHA-256. ``"full"`` writes all weights, and the folder is then an `encoder`
            for other estimators as well.
        dtype : {"float32", "float16", "bfloat16"}, default="float32"
            Precision of the weights of the encoder in the folder. Half of it takes half of the
            bytes, and changes predictions a little: float16 by less than bfloat16.

        Raises
        ------
        ValueError
            If the folder holds other content, or the encoder has no form in files.

        Warns
        -----
        UserWarning
            If a parameter has no form in JSON, such as a random generator: it will have its
            default.
        """
        check_is_fitted(self)
        if weights not in ("auto", "full"):
            raise ValueError(f"weights must be 'auto' or 'full', got {weights!r}.")
        if dtype not in ("float32", "float16", "bfloat16"):
            raise ValueError(f"dtype must be 'float32', 'float16' or 'bfloat16', got {dtype!r}.")
        with usual_numerics():
            write_estimator(self._copied(), Path(folder).expanduser(), weights, dtype)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        weights: Literal["auto", "full"] = "auto",
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload an estimator of sktransfer",
    ) -> str:
        """Upload what `save` writes to the Hugging Face hub; `sktransfer.load` reads it from there.

        Parameters
        ----------
        repo_id : str
            Repository such as ``"owner/name"``, which is created if there is none.
        weights : {"auto", "full"}, default="auto"
            As in `save`.
        private : bool, default=None
            Whether a new repository is private; None is the default of its owner.
        token : str, default=None
            Access token with write permission; None is the one of `hf auth login`.
        commit_message : str, default="Upload an estimator of sktransfer"
            Message of the commit.

        Returns
        -------
        str
            URL of the commit.

        Raises
        ------
        ValueError
            If the encoder has no form in files, or if the hub refuses.
        """
        check_is_fitted(self)
        with TemporaryDirectory() as parent:
            folder = Path(parent, "estimator")
            self.save(folder, weights=weights)
            try:
                return upload(folder, repo_id, private=private, token=token, message=commit_message)
            except HubError as error:
                raise ValueError(f"repo_id={repo_id!r} cannot be uploaded: {error}.") from error

    def _sentence_settings(self) -> SentenceSettings:
        """Pooling and prompt of the fitted encoder."""
        return SentenceSettings(self.model_.pooling, prompt_of(self.tokenizer_))

    @abstractmethod
    def _row_format(self) -> RowFormat:
        """The format of the rows of X."""

    def _check_rows(self, X: Any, *, reset: bool, name: str = "X") -> Sequence[Row]:
        """Checked rows of `X`, called `name` in errors."""
        if not reset:
            self._check_names(X, name)
        rows = self._row_format().check(X, name=name)
        n_columns = self._row_format().n_columns(rows)
        if not reset and n_columns != self.n_features_in_:
            raise ValueError(
                f"{name} has {n_columns} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input: the columns of texts in fit."
            )
        return rows

    def _check_names(self, X: Any, name: str) -> None:
        """Raise if the columns of `X` are not named as in `fit`."""
        # A single column is what it is: services predict on frames what was fitted on a list.
        is_single = getattr(self, "n_features_in_", None) == 1
        if is_single and not hasattr(self, "feature_names_in_"):
            return
        with blaming(name):
            check_feature_names(self, X, reset=False)

    def _fit_parameters(self) -> FitParameters:
        return FitParameters.of(self.get_params(deep=False))

    def _predictor(self) -> Predictor:
        """The fitted network with the current parameters."""
        return Predictor(
            self.model_,
            self.tokenizer_,
            self._row_format(),
            self.max_length,
            self.device,
            self.precision,
            self.task_,
            getattr(self, "lexical_", None),
            getattr(self, "lexical_weight", 0.0),
            self.verbose,
        )

    def _score_rows(self, X: Any) -> ScoredRows:
        """Rows of `X` with their scores."""
        return self._predictor().scores(self._check_rows(X, reset=False))

    def _scores(self, X: Any) -> NDArray[np.float32]:
        """Scores (n_rows, n_outputs) of `X`, for formats whose rows are scored as a whole."""
        return in_parts(lambda rows: self._score_rows(rows).scores, X, self.n_features_in_)

    def _adopt(
        self, attributes: dict[str, Any], X: Any, n_columns: int, interruption: str | None = None
    ) -> None:
        """Set the fitted attributes in one step, then raise KeyboardInterrupt after Ctrl-C.

        A loop that the fit is a part of, such as a search, must not go on with a half-trained one.
        """
        fitted = self._copied()
        fitted.__dict__.update(attributes)
        fitted._remember_columns(X, n_columns)
        # Another thread that predicts sees the attributes of one fit only.
        self.__dict__ = fitted.__dict__
        trim_memory()
        if interruption is not None:
            raise KeyboardInterrupt(interruption)

    def _copied(self) -> Self:
        """A copy of the estimator that other threads do not change."""
        copied = object.__new__(type(self))
        copied.__dict__ = self.__dict__.copy()
        return copied

    def _as_fitted_to(self, X: Any, n_columns: int) -> Self:
        """Copy of the estimator that checks rows as if it were fitted on `X`."""
        fitted = copy.copy(self)
        fitted._remember_columns(X, n_columns)
        return fitted

    def _remember_columns(self, X: Any, n_columns: int) -> None:
        check_feature_names(self, X, reset=True)
        self.n_features_in_ = n_columns


def predicting(
    method: Callable[Concatenate[Estimator, Params], Result],
) -> Callable[Concatenate[Estimator, Params], Result]:
    """Make a method use the fitted state at the time of the call.

    It works on a copy, so that a fit in another thread cannot change what it has begun with, and in
    PyTorch's usual modes.
    """

    @functools.wraps(method)
    def predict(self: Estimator, /, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        fitted = self._copied()  # first: another thread may be adding attributes
        check_is_fitted(fitted)
        with usual_numerics():
            return method(fitted, *args, **kwargs)

    return predict


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Seed from the parameter `random_state`."""
    # None must not advance NumPy's global generator.
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Name the input in errors, unless it is X or y."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if name in ("X", "y", "X and y") or name in str(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from error


def in_parts(
    compute: Callable[[Any], NDArray[np.float32]], X: Any, n_columns: int
) -> NDArray[np.float32]:
    """Apply `compute` to `X`, or to chunks of rows if `X` is an iterator, which may be empty."""
    if not isinstance(X, Iterator):
        return compute(X)
    computed: list[NDArray[np.float32]] = []
    start = 0
    while rows := list(islice(X, _ROWS_AT_ONCE)):
        try:
            computed.append(compute(rows))
        except (TypeError, ValueError) as error:
            if not start:
                raise
            raise type(error)(f"From row {start} on: {error}") from error
        start += len(rows)
    if computed:
        return np.concatenate(computed)
    row: Row = "" if n_columns == 1 else ("",) * n_columns
    return compute([row])[:0]
