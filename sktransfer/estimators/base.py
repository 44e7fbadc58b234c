"""The template of every estimator: the one `fit` and the one forward pass."""

from __future__ import annotations

import copy
import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from numbers import Integral, Real
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, Self, TypeVar

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names,
    check_consistent_length,
    check_is_fitted,
)
from torch import Tensor

from sktransfer.encoders import (
    DEFAULT_ENCODER,
    Encoder,
    EncoderHandle,
    Tokenizer,
    resolve_encoder,
)
from sktransfer.fitting.callbacks import CallbackSupportMixin, FitCallbacks, with_callbacks
from sktransfer.fitting.continuation import Continuation
from sktransfer.fitting.data import FitContext, ScoredRows, TextRows
from sktransfer.fitting.epochs import Monitor
from sktransfer.fitting.probe import Problem, fit_lexical, solve_head
from sktransfer.inputs import (
    EncodedRows,
    Row,
    RowFormat,
    check_weights,
    distinct,
    join_ranges,
)
from sktransfer.language.auxiliary import AuxiliaryLanguage
from sktransfer.language.build import ARCHITECTURES, adapted, directions_of, with_lm_head
from sktransfer.nn import POOLINGS, Head, PretrainedState, TransferModel, pooled_size
from sktransfer.runtime import (
    cache,
    check_folder,
    device_memory,
    isolated_seed,
    resolve_device,
    resolve_precision,
    trim_memory,
    unique_key,
    usual_numerics,
)
from sktransfer.tasks import LOSSES, Task
from sktransfer.training import (
    SCHEDULES,
    RowObjective,
    TrainingData,
    TrainingPlan,
    TrainingResult,
    launch_features,
    pooled_features,
    train,
)

# Fewer optimiser steps than these leave a fine-tune short of where it can get; more epochs than
# the second bound only memorise. The rule behind max_epochs="auto".
_LEAST_STEPS = 120
_LEAST_EPOCHS, _MOST_EPOCHS = 3, 24
# Few rows are best compared with as many others as there are; more rows want more steps.
_FEW_ROWS = 64
_BATCH_OF_FEW, _BATCH_OF_MANY = 32, 16
_HEAD_SCALE = 10.0
_HEAD_DROPOUT = 0.1
# A longer training goes on from a shorter one though these differ: it is longer, its weights and
# the states of its generator are compared themselves, or nothing that is learnt depends on it.
_NOT_DECIDING = frozenset({"max_epochs", "encoder", "random_state", "memory", "verbose"})
_UNITS_AT_ONCE = 65_536
_ROWS_AT_ONCE = 16_384


Params = ParamSpec("Params")
Result = TypeVar("Result")
Estimator = TypeVar("Estimator", bound="BaseTransferEstimator")

# The other rooms validate parameters by it, without importing scikit-learn's private names.
fit_context = _fit_context


class BaseTransferEstimator(CallbackSupportMixin, BaseEstimator):
    """Pretrained encoder, pooling and head, fine-tuned on rows of text.

    A subclass says what its targets mean (`_check_targets`, `_make_task`, ...) and how scores
    become predictions; everything else is here.
    """

    # Of every estimator; each has those that its constructor names.
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "encoder": [str, os.PathLike, EncoderHandle],
        "pooling": [StrOptions(set(POOLINGS))],
        "pooling_layers": [Interval(Integral, 1, None, closed="left")],
        "layer": [Integral],
        "normalize": ["boolean"],
        "max_length": [Interval(Integral, 8, None, closed="left")],
        "long_texts": [StrOptions({"window", "truncate"})],
        "symmetric": ["boolean"],
        "trainable_layers": [StrOptions({"all"}), Interval(Integral, 0, None, closed="left"), None],
        "gradual_unfreezing": ["boolean"],
        "head_refit": ["boolean"],
        "head_init": [StrOptions({"probe", "random"})],
        "C": [Interval(Real, 0, None, closed="neither")],
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "architecture": [StrOptions(set(ARCHITECTURES)), None],
        "direction": [StrOptions({"forward", "backward", "both"})],
        "tokens": [StrOptions({"auto", "word", "bpe", "wordpiece"})],
        "vocab_size": [Interval(Integral, 8, None, closed="left"), None],
        "min_frequency": [Interval(Integral, 1, None, closed="left")],
        "embedding_size": [Interval(Integral, 1, None, closed="left")],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "mask_fraction": [Interval(Real, 0, 1, closed="neither")],
        "whole_words": ["boolean"],
        "checkpoint": [None, str, os.PathLike],
        "checkpoint_seconds": [Interval(Real, 0, None, closed="left")],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "schedule": [StrOptions(set(SCHEDULES))],
        "warmup_fraction": [Interval(Real, 0, 1, closed="left")],
        "loss": [StrOptions(set(LOSSES))],
        "label_texts": [dict, StrOptions({"auto"}), None],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "contrastive_weight": [Interval(Real, 0, None, closed="left")],
        "lexical_weight": [Interval(Real, 0, 1, closed="both")],
        "adapt_epochs": [Interval(Integral, 0, None, closed="left")],
        "lm_weight": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "memory": [None, str, os.PathLike, joblib.Memory],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # What an estimator whose constructor does not name it works with.
    pooling: str = "mean"
    pooling_layers: int = 1
    head_init: str = "probe"
    head_refit: bool = False
    C: float = 10.0
    lexical_weight: float = 0.0
    adapt_epochs: int = 0
    lm_weight: float = 0.0
    memory: str | os.PathLike[str] | joblib.Memory | None = None

    _cut_message: ClassVar[str] = (
        "{n} texts are longer than max_length={max_length} tokens and were cut; "
        "long_texts='window' reads single texts whole."
    )

    def __init__(
        self,
        encoder: str | os.PathLike[str] | EncoderHandle = DEFAULT_ENCODER,
        *,
        max_length: int = 128,
        trainable_layers: int | Literal["all"] | None = None,
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
        encoder = self.model_.encoder
        return EncoderHandle.from_modules(encoder, self.tokenizer_, name=self.encoder_name_)

    @_fit_context(prefer_skip_nested_validation=True)
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
            gives several texts a row, such as the two of a pair.
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
            If a text is no string.
        FloatingPointError
            If the loss is not finite. As after every error, the estimator stays as it was.
        """
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, unlabeled: Any = None
    ) -> Self:
        if isinstance(X, Iterator):  # callbacks read X again
            X = list(X)
        rows = self._check_training_rows(X, y, sample_weight, reset=True)
        cache.begin_round()
        task = self._make_task(rows)
        self._check_task(task, rows, sample_weight)
        fitted = self._as_fitted_to(X, self._row_format().n_columns(rows.texts))
        validation = fitted._check_validation(X_val, y_val, task)
        seed = self._draw_seed()
        if validation is None and self.early_stopping:
            rows, validation = self._split(rows, seed)
        with usual_numerics(), isolated_seed(seed, resolve_device(self.device)):
            warm = self.warm_start and hasattr(self, "model_")
            session = self._session(rows, validation, task, seed, warm=warm, unlabeled=unlabeled)
            session = self._complete(session)
            tasks = FitCallbacks(self, session.plan.n_epochs, X, y, sample_weight)
            attributes, interruption = self._run(session, tasks, warm=warm)
        tasks.end_fit(lambda: {**attributes, **self._columns_of(rows)})
        self._adopt(attributes, X, self._row_format().n_columns(rows.texts), interruption)
        return self

    def _continue(self, rows: TextRows, task: Task, X: Any) -> None:
        """Train one more epoch at a constant rate on `rows`, from the weights there are."""
        seed = self._draw_seed()
        warm = hasattr(self, "model_")
        with usual_numerics(), isolated_seed(seed, resolve_device(self.device)):
            session = self._session(rows, None, task, seed, warm=warm)
            session = replace(
                session,
                plan=replace(session.plan, n_epochs=1, schedule="constant", warmup_fraction=0.0),
                whole=False,
            )
            attributes, interruption = self._run(session, None, warm=warm)
        self._adopt(attributes, X, self._row_format().n_columns(rows.texts), interruption)

    def _row_format(self) -> RowFormat:
        """How rows of X are read."""
        raise AssertionError("every estimator defines it")

    def _check_rows(self, X: Any, *, reset: bool, name: str = "X") -> Sequence[Row]:
        """Rows of `X`, which errors call `name`; the one place where its form is read."""
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
        """Raise if the columns of `X` are called otherwise than those of `fit`."""
        with blaming(name):
            _check_feature_names(self, X, reset=False)

    def _check_training_rows(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> TextRows:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        texts, y = self._check_pairs(X, y, reset=reset)
        rows = TextRows(texts, y, self._check_weights(sample_weight, len(texts)))
        return rows if sample_weight is None else rows.take(np.flatnonzero(rows.weights))

    def _check_weights(self, sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
        """Weight of each row, not all of them zero."""
        return np.ones(n_rows) if sample_weight is None else check_weights(sample_weight, n_rows)

    def _check_validation(self, X_val: Any, y_val: Any, task: Task) -> TextRows | None:
        """Rows to score after each epoch, checked as those of `predict` and `score` are."""
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both or neither.")
        if X_val is None:
            return None
        texts, y = self._check_pairs(X_val, y_val, reset=False, names=("X_val", "y_val"))
        task.check(y, name="y_val")
        return TextRows(texts, y, np.ones(len(texts)))

    def _check_pairs(
        self, X: Any, y: Any, *, reset: bool, names: tuple[str, str] = ("X", "y")
    ) -> tuple[Sequence[Row], NDArray[Any]]:
        """Rows of `X` and their targets, which errors call by `names`."""
        texts = self._check_rows(X, reset=reset, name=names[0])
        with blaming(names[1]):
            targets = self._check_targets(y, name=names[1])
        with blaming(" and ".join(names)):
            check_consistent_length(texts, targets)
        return texts, self._match_targets(targets, texts, name=names[1])

    def _check_task(self, task: Task, rows: TextRows, sample_weight: Any) -> None:
        """Raise, before anything takes time, if targets or weights are not what `task` can learn.

        Rows of weight zero are gone, so that the numbers of the others may not be the user's.
        """
        is_whole = sample_weight is None or bool(np.asarray(sample_weight).all())
        task.check(rows.y, name="y" if is_whole else "y without its rows of weight zero")
        self._target_weights(rows, task)

    def _as_fitted_to(self, X: Any, n_columns: int) -> Self:
        """Copy of the estimator that checks rows as this one will after a fit on `X`."""
        fitted = copy.copy(self)
        fitted._remember_columns(X, n_columns)
        return fitted

    def _draw_seed(self) -> int:
        return draw_seed(self.random_state)

    def _session(
        self,
        rows: TextRows,
        validation: TextRows | None,
        task: Task,
        seed: int,
        *,
        warm: bool,
        unlabeled: Any = None,
    ) -> FitContext:
        device = resolve_device(self.device)
        dtype = resolve_precision(self.precision, device, training=True)
        name = ""
        if warm:
            model, tokenizer = copy.deepcopy(self.model_), self.tokenizer_
            if model.head.linear.out_features != task.n_outputs:
                raise ValueError(
                    f"warm_start=True cannot change the {model.head.linear.out_features} outputs "
                    f"of the fit before to {task.n_outputs}: set warm_start=False."
                )
        else:
            source = resolve_encoder(self.encoder)
            name = source.name
            if self.adapt_epochs:
                encoder, tokenizer = adapted(
                    source,
                    rows.texts,
                    unlabeled,
                    self.adapt_epochs,
                    self.max_length,
                    device=device,
                    dtype=dtype,
                    rng=np.random.default_rng(seed),
                )
                pretrained = PretrainedState(unique_key(), len(encoder.layers()))
            else:
                encoder, tokenizer = source.load_shared(lm_head=self.lm_weight > 0, device=device)
                pretrained = self._new_pretrained(source, encoder)
            model = self._new_model(encoder, task.n_outputs)
            model.pretrained = pretrained
        model.encoder.set_chunk_length(self.max_length)
        if self.lm_weight:
            for way in directions_of(model.encoder):
                with_lm_head(way)
        plan = self._plan(len(rows.texts), model)
        if not (plan.n_epochs and self._trains_encoder(model)):
            # The same features as predictions have, computed once for both.
            dtype = resolve_precision(self.precision, device, training=False)
        return FitContext(
            rows=rows,
            validation=validation,
            task=task,
            plan=plan,
            whole=True,
            model=model,
            tokenizer=tokenizer,
            encoder_name=name or self.encoder_name_,
            device=device,
            dtype=dtype,
            rng=np.random.default_rng(seed),
        )

    def _new_model(self, encoder: Encoder, n_outputs: int) -> TransferModel:
        n_layers = min(self.pooling_layers, 1 + len(encoder.layers()))
        width = pooled_size(self.pooling, encoder.hidden_size)
        head = Head(width, n_outputs, scale=_HEAD_SCALE, dropout=_HEAD_DROPOUT)
        return TransferModel(encoder, head, pooling=self.pooling, n_layers=n_layers).eval()

    def _plan(self, n_rows: int, model: TransferModel) -> TrainingPlan:
        n_epochs, batch_size = self.max_epochs, self.batch_size
        if batch_size == "auto":
            batch_size = _BATCH_OF_FEW if n_rows <= _FEW_ROWS else _BATCH_OF_MANY
        if n_epochs == "auto":
            steps_per_epoch = -(-n_rows // batch_size)
            n_epochs = int(
                np.clip(-(-_LEAST_STEPS // steps_per_epoch), _LEAST_EPOCHS, _MOST_EPOCHS)
            )
            if self.head_init == "probe" and not self._trains_encoder(model):
                # The probe already is the best head on features that cannot change.
                n_epochs = 0
        return TrainingPlan(
            n_epochs=int(n_epochs),
            batch_size=int(batch_size),
            learning_rate=self.learning_rate,
            layer_decay=self.layer_decay,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warmup_fraction=self.warmup_fraction,
            trainable_layers=self.trainable_layers,
            gradual_unfreezing=self.gradual_unfreezing,
        )

    def _trains_encoder(self, model: TransferModel) -> bool:
        if self.trainable_layers == "all":
            return True
        assert isinstance(model.encoder, Encoder)
        return self.trainable_layers != 0 and bool(model.encoder.layers())

    def _run(
        self, session: FitContext, tasks: FitCallbacks | None, *, warm: bool
    ) -> tuple[dict[str, Any], str | None]:
        """Probe, fine-tune, lexical channel; return the fitted attributes.

        Besides them, where Ctrl-C ended the training, what to say of it.
        """
        rows, task, model = session.rows, session.task, session.model
        weights = self._target_weights(rows, task)
        encoded = self._encode(rows.texts, model, session.tokenizer)
        targets = task.encode(rows.y, encoded)
        problem = Problem(rows, encoded, targets, weights)
        form = (self.max_length, repr(self._row_format()))
        watched = self._encode_validation(session)
        self._warn_of_cuts(model, encoded, *watched)
        monitor = Monitor(
            self,
            model,
            session.plan.n_epochs,
            validate=self._validation(session, *watched) if watched else None,
            tasks=tasks,
            attributes=lambda: self._attributes_now(session),
        )
        with device_memory.holding(model, session.device):
            if not warm and self.head_init == "probe":
                solve_head(session, problem, form, C=self.C)
            result = self._train(session, problem, form, monitor)
            interruption = monitor.finish(result)
            if session.whole and self.head_refit and result.loss_curve:
                solve_head(session, problem, form, C=task.refit_c)
        has_lexical = session.whole and self.lexical_weight > 0
        attributes = {
            **self._task_attributes(task),
            "task_": task,
            "model_": model,
            "tokenizer_": session.tokenizer,
            "encoder_name_": session.encoder_name,
            "lexical_": fit_lexical(session, problem) if has_lexical else None,
            "loss_curve_": result.loss_curve,
            "validation_scores_": monitor.scores,
            "best_epoch_": monitor.best_epoch,
            "n_iter_": len(result.loss_curve),
            "device_": str(session.device),
        }
        return attributes, interruption

    def _train(
        self, session: FitContext, problem: Problem, form: tuple[object, ...], monitor: Monitor
    ) -> TrainingResult:
        """Train the session's model in the package's one loop."""
        model, plan = session.model, session.plan
        past = None
        is_first = not hasattr(self, "model_")  # else the head goes on from another fit
        if self.warm_start and is_first and session.whole and Continuation.is_possible(session):
            past = Continuation(session, problem, form, _deciding(self.get_params(deep=False)))
        pretrained = model.pretrained
        assert isinstance(model.encoder, Encoder)
        model.pretrained = plan.pretrained_after(pretrained, model.encoder)
        weights = torch.from_numpy(problem.weights / problem.weights.mean()).float()
        pad_id = session.tokenizer.pad_id
        objective = RowObjective(
            model,
            TrainingData(problem.encoded, problem.targets, weights, pad_id),
            session.task.loss,
            plan.batch_size,
            device=session.device,
            dtype=session.dtype,
            pretrained=pretrained,
            later=plan.frozen_layers(len(model.encoder.layers())),
            auxiliary=self._auxiliary(session),
        )
        result = train(
            model,
            objective,
            plan,
            device=session.device,
            rng=session.rng,
            on_epoch_end=monitor,
            on_step_end=None if past is None else past.watch(plan.n_epochs * objective.n_steps),
            progress=None if past is None else past.restore(),
        )
        if past is not None:
            past.keep()
        return result

    def _auxiliary(self, session: FitContext) -> AuxiliaryLanguage | None:
        if not self.lm_weight:
            return None
        assert isinstance(session.model.encoder, Encoder)
        return AuxiliaryLanguage(session.model.encoder, session.tokenizer, self.lm_weight)

    def _encode_validation(self, session: FitContext) -> list[EncodedRows]:
        if session.validation is None:
            return []
        return [self._encode(session.validation.texts, session.model, session.tokenizer)]

    def _validation(self, session: FitContext, encoded: EncodedRows) -> Callable[[], float]:
        """Function that scores the present model on the validation rows."""
        assert session.validation is not None
        targets = session.task.encode(session.validation.y, encoded)

        def validate() -> float:
            features = pooled_features(
                session.model,
                encoded,
                session.tokenizer.pad_id,
                device=session.device,
                dtype=session.dtype,
            )
            scores = session.model.head.scores(features.to(session.device)).cpu().numpy()
            if not np.isfinite(scores).all():
                raise FloatingPointError(
                    "The scores of the validation rows are no longer finite. Lower learning_rate "
                    f"(now {self.learning_rate:g}) or raise warmup_fraction."
                )
            return session.task.score(scores, targets)

        return validate

    def _attributes_now(self, session: FitContext) -> dict[str, Any]:
        """Attributes as if `fit` had ended here, without head refit and lexical channel."""
        model = copy.deepcopy(session.model).to("cpu").requires_grad_(True).eval()
        return {
            **self._task_attributes(session.task),
            **self._columns_of(session.rows),
            "task_": session.task,
            "model_": model,
            "tokenizer_": session.tokenizer,
            "encoder_name_": session.encoder_name,
            "lexical_": None,
        }

    def _new_pretrained(self, source: EncoderHandle, encoder: Encoder) -> PretrainedState:
        memory = self.memory
        if isinstance(memory, joblib.Memory):
            memory = memory.location
        if memory is None:
            return PretrainedState(source.cache_key, len(encoder.layers()))
        folder = os.path.abspath(memory)
        check_folder(folder)
        # What other processes find must not depend on this one: the digest, not the key.
        return PretrainedState(source.digest, len(encoder.layers()), folder=folder)

    def _adopt(
        self, attributes: dict[str, Any], X: Any, n_columns: int, interruption: str | None = None
    ) -> None:
        """Become what was fitted, in one step; then raise KeyboardInterrupt if Ctrl-C was pressed.

        A loop that the fit is a part of, such as a search, must not go on with a half-trained one.
        """
        fitted = self._copied()
        fitted.__dict__.update(attributes)
        fitted._remember_columns(X, n_columns)
        # Another thread that predicts has the attributes of one fit or of the other.
        self.__dict__ = fitted.__dict__
        trim_memory()
        if interruption is not None:
            raise KeyboardInterrupt(interruption)

    def _copied(self) -> Self:
        """The estimator as it is now, whatever another thread makes of it meanwhile."""
        copied = object.__new__(type(self))
        copied.__dict__ = self.__dict__.copy()
        return copied

    def _columns_of(self, rows: TextRows) -> dict[str, Any]:
        """What predictions check X by, for estimators that callbacks see before `fit` is over."""
        return {"n_features_in_": self._row_format().n_columns(rows.texts)}

    def _remember_columns(self, X: Any, n_columns: int) -> None:
        _check_feature_names(self, X, reset=True)
        self.n_features_in_ = n_columns

    def _encode(
        self, texts: Sequence[Row], model: TransferModel, tokenizer: Tokenizer
    ) -> EncodedRows:
        """Token ids of `texts`."""
        return self._row_format().encode(texts, tokenizer, max_length=self._window_length(model))

    def _window_length(self, model: TransferModel) -> int:
        assert isinstance(model.encoder, Encoder)
        is_window = getattr(self, "long_texts", "window") == "window"
        # Read on with carried state, in chunks of max_length: no window ends the text.
        is_whole = model.encoder.is_recurrent and is_window
        limit = model.encoder.max_length
        return int(limit if is_whole else min(self.max_length, limit))

    def _warn_of_cuts(self, model: TransferModel, *parts: EncodedRows) -> None:
        n_truncated = sum(rows.n_truncated for rows in parts)
        if n_truncated:
            warnings.warn(
                self._cut_message.format(n=n_truncated, max_length=self._window_length(model)),
                UserWarning,
                stacklevel=4,
            )

    def _scores(self, X: Any) -> NDArray[np.float32]:
        """Scores (n_rows, n_outputs) of `X`, for forms whose rows are scored as a whole."""
        return in_parts(lambda rows: self._score_rows(rows).scores, X)

    def _score_rows(self, X: Any) -> ScoredRows:
        """Rows of `X` with their scores; each distinct row is computed once."""
        texts = self._check_rows(X, reset=False)
        rows = self._encode(texts, self.model_, self.tokenizer_)
        self._warn_of_cuts(self.model_, rows)
        first, inverse = distinct(texts)
        distinct_rows = rows.take(first)
        scores = self._score_distinct([texts[i] for i in first], distinct_rows)
        units = join_ranges(distinct_rows.unit_start[:-1][inverse], distinct_rows.n_units[inverse])
        return ScoredRows(texts, rows, scores[units])

    def _score_distinct(self, texts: Sequence[Row], rows: EncodedRows) -> NDArray[np.float32]:
        first, *others = (rows.take(part) for part in _parts(rows.n_units))
        features = self._launch_features(first)
        lexical = None if self.lexical_ is None else self.lexical_.scores(texts)
        score = self.model_.head.scores
        parts = [score(features()), *(score(self._features(part)) for part in others)]
        joined: NDArray[np.float32] = torch.cat(parts).numpy()
        if lexical is None:
            return joined
        task: Task = self.task_
        return task.blend(joined, lexical, self.lexical_weight)

    def _features(self, rows: EncodedRows, *, writes: bool = False) -> Tensor:
        """Features of `rows`, which are kept in the folder `memory` only if it `writes`."""
        return self._launch_features(rows, writes=writes)()

    def _launch_features(self, rows: EncodedRows, *, writes: bool = False) -> Callable[[], Tensor]:
        device = resolve_device(self.device)
        dtype = resolve_precision(self.precision, device, training=False)
        return launch_features(
            device_memory.on(self.model_, device),
            rows,
            self.tokenizer_.pad_id,
            device=device,
            dtype=dtype,
            writes=writes,
            is_fixed=True,
        )

    def _check_targets(self, y: Any, *, name: str = "y") -> NDArray[Any]:
        """Targets as an array, or an error that names the row; it calls them `name`."""
        raise AssertionError("every estimator defines it")

    def _match_targets(
        self, y: NDArray[Any], texts: Sequence[Row], *, name: str = "y"
    ) -> NDArray[Any]:
        """Checked targets in the terms of their rows, or an error that names the row."""
        return y

    def _make_task(self, rows: TextRows) -> Task:
        """Task that the checked rows pose."""
        raise AssertionError("every estimator defines it")

    def _target_weights(self, rows: TextRows, task: Task) -> NDArray[np.float64]:
        """Weights of the rows with what their targets add, not all of them zero."""
        return rows.weights

    def _complete(self, session: FitContext) -> FitContext:
        """Add the rows that the targets themselves give, and plan for them too."""
        rows = self._rows_of_targets(session)
        return replace(session, rows=rows, plan=self._plan(len(rows.texts), session.model))

    def _rows_of_targets(self, session: FitContext) -> TextRows:
        """Training rows and those that the targets themselves give."""
        return session.rows

    def _split(self, rows: TextRows, seed: int) -> tuple[TextRows, TextRows]:
        """Training and validation rows."""
        positions = np.arange(len(rows.texts))
        try:
            train, held_out = train_test_split(
                positions,
                test_size=self.validation_fraction,
                random_state=seed,
                stratify=self._strata(rows),
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True cannot hold out validation_fraction="
                f"{self.validation_fraction} of {len(positions)} rows ({error}) Pass X_val and "
                "y_val, raise validation_fraction, or set early_stopping=False."
            ) from None
        return rows.take(train), rows.take(held_out)

    def _strata(self, rows: TextRows) -> NDArray[Any] | None:
        """What the validation split keeps the shares of."""
        return None

    def _task_attributes(self, task: Task) -> dict[str, Any]:
        """Fitted attributes that describe the task."""
        return {}


def predicting(
    method: Callable[Concatenate[Estimator, Params], Result],
) -> Callable[Concatenate[Estimator, Params], Result]:
    """Let a method predict with the estimator as it is fitted when it is called.

    It works on a copy, so that a fit in another thread cannot change what it has begun with, and in
    PyTorch's usual surroundings.
    """

    @functools.wraps(method)
    def predict(self: Estimator, /, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        check_is_fitted(self)
        with usual_numerics():
            return method(self._copied(), *args, **kwargs)

    return predict


def _deciding(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters that a training follows from, of all that an estimator has."""
    return {name: value for name, value in parameters.items() if name not in _NOT_DECIDING}


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Seed from what a user gives as `random_state`."""
    # None must not advance NumPy's global generator.
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Let errors name the input that they are about, unless it is the usual X or y."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if name in ("X", "y", "X and y") or name in str(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from error


def in_parts(compute: Callable[[Any], NDArray[np.float32]], X: Any) -> NDArray[np.float32]:
    """`compute` of `X`; of an iterator, which may be longer than memory, of some rows at a time."""
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
    return np.concatenate(computed) if computed else compute([])


def _parts(n_units: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Positions of the rows in parts whose features fit into memory together."""
    part = np.maximum(np.cumsum(n_units) - 1, 0) // _UNITS_AT_ONCE
    return np.split(np.arange(len(n_units)), np.flatnonzero(np.diff(part)) + 1)
