"""How a `LanguageModel` is trained: the private half of the estimator."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sktransfer.encoders import EncoderHandle, resolve_encoder
from sktransfer.estimators.base import BaseTransferEstimator
from sktransfer.fitting.callbacks import FitCallbacks
from sktransfer.fitting.epochs import Monitor
from sktransfer.inputs import RowFormat, TextFormat
from sktransfer.language.build import (
    BATCH_SIZE,
    LanguageRun,
    LanguageTask,
    PretrainingStart,
    Sizes,
    directions_of,
    from_checkpoint,
    from_scratch,
    joined,
    learning_rate_for,
    scorer,
    train_language,
)
from sktransfer.language.checkpoint import Checkpoint
from sktransfer.language.corpus import Corpus, check_corpus
from sktransfer.runtime import isolated_seed, resolve_device, resolve_precision
from sktransfer.training import TrainingPlan

# What is hidden of texts that are scored, and a head that is never used, depend on it alone.
SCORING_SEED = 0
# What may differ between a training and the one that goes on with it.
_FREE_PARAMETERS = ("checkpoint", "checkpoint_seconds", "device", "verbose")


class BaseLanguageModel(BaseTransferEstimator):
    """Start, training and scoring of a language model; parameters are the subclass's."""

    architecture: Literal["awd_lstm", "gpt", "bert"] | None
    direction: Literal["forward", "backward", "both"]
    tokens: Literal["auto", "word", "bpe", "wordpiece"]
    vocab_size: int | None
    min_frequency: int
    embedding_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    dropout: float
    mask_fraction: float
    whole_words: bool
    checkpoint: str | os.PathLike[str] | None
    checkpoint_seconds: float

    def _corpus(self, X: Any, *, name: str = "X", reset: bool = False) -> Corpus:
        """Texts of `X`; the one place where the form of the input is read for training."""
        if not reset:
            self._check_names(X, name)
        return check_corpus(X, name=name)

    def _row_format(self) -> RowFormat:
        return TextFormat("window", False)

    @property
    def _n_features_out(self) -> int:
        return int(self.model_.head.linear.in_features)

    def _reads_forward(self) -> bool:
        if hasattr(self, "model_"):
            way = directions_of(self.model_.encoder)[0]
            return bool(way.is_causal)
        return self.architecture in ("awd_lstm", "gpt") and self.direction != "backward"

    def _start(self, corpus: Corpus) -> PretrainingStart:
        """Tokenizer and encoders before the training."""
        if self.architecture is None:
            if self.direction != "forward":
                raise ValueError(
                    f"direction={self.direction!r} is for architecture='awd_lstm'; a checkpoint "
                    "has the direction that it was trained with."
                )
            return from_checkpoint(resolve_encoder(self.encoder))
        sizes = Sizes(
            self.embedding_size,
            self.hidden_size,
            self.n_layers,
            self.n_heads,
            self.max_length,
            self.dropout,
        )
        return from_scratch(
            self.architecture,
            corpus,
            sizes,
            direction=self.direction,
            tokens=self.tokens,
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
        )

    def _learn(
        self,
        start: PretrainingStart,
        corpus: Corpus,
        plan: TrainingPlan,
        seed: int,
        watched: Corpus | None,
        tasks: FitCallbacks | None,
    ) -> tuple[dict[str, Any], str | None]:
        """Train each direction; return the fitted attributes, and what to say of Ctrl-C."""
        device = resolve_device(self.device)
        dtype = resolve_precision(self.precision, device, training=True)
        run = LanguageRun(start.tokenizer, self._language_task(), device, dtype)
        curve: list[float] = []
        scores: list[float] = []
        checkpoints: list[Checkpoint] = []
        for number, encoder in enumerate(start.encoders):
            # partial_fit, which has no tasks, is over soon.
            checkpoint = None if tasks is None else self._checkpoint(start, corpus, watched, number)
            monitor = Monitor(
                self,
                encoder,
                plan.n_epochs,
                validate=self._validation(encoder, watched, run),
                tasks=tasks,
                attributes=lambda: {
                    **self._attributes(copy.deepcopy(start), [], []),
                    "n_features_in_": 1,
                },
            )
            result = train_language(
                encoder,
                corpus,
                run,
                plan,
                rng=np.random.default_rng([seed, number]),
                on_epoch_end=monitor,
                checkpoint=checkpoint,
            )
            interruption = monitor.finish(result)
            curve += result.loss_curve
            scores += monitor.scores
            if interruption is not None:
                break
            if checkpoint is not None:
                checkpoints.append(checkpoint)
        else:
            for checkpoint in checkpoints:
                checkpoint.remove()
        best = {"best_epoch_": monitor.best_epoch, "device_": str(device)}
        return {**self._attributes(start, curve, scores), **best}, interruption

    def _attributes(
        self, start: PretrainingStart, curve: list[float], scores: list[float]
    ) -> dict[str, Any]:
        with isolated_seed(SCORING_SEED, resolve_device("cpu")):  # its head is never used
            model = self._new_model(joined(start.encoders), 1).to("cpu")
        return {
            "task_": None,
            "model_": model,
            "tokenizer_": start.tokenizer,
            "encoder_name_": start.name,
            "loss_curve_": curve,
            "validation_scores_": scores,
            "n_iter_": len(curve) // len(start.encoders),
        }

    def _validation(  # type: ignore[override]
        self, encoder: Any, watched: Corpus | None, run: LanguageRun
    ) -> Callable[[], float] | None:
        if watched is None:
            return None
        score = scorer(encoder, watched, run, SCORING_SEED)
        return lambda: -score()

    def _checkpoint(
        self, start: PretrainingStart, corpus: Corpus, watched: Corpus | None, number: int
    ) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        identity = {
            name: _content(value)
            for name, value in self.get_params(deep=False).items()
            if name not in _FREE_PARAMETERS
        }
        if self.architecture is None:  # by its content: another one may have come by that name
            identity["encoder"] = resolve_encoder(self.encoder).digest
        identity |= {
            "texts": corpus.digest,
            "X_val": "" if watched is None else watched.digest,
            "vocabulary": hashlib.sha256(pickle.dumps(start.tokenizer, protocol=5)).hexdigest(),
        }
        folder = Path(self.checkpoint)
        if len(start.encoders) > 1:
            folder /= str(number)
        return Checkpoint(folder, identity, seconds=self.checkpoint_seconds)

    def _language_plan(self, start: PretrainingStart, *, from_scratch: bool) -> TrainingPlan:
        rate: float | None = self.learning_rate
        if rate is None:
            rate = learning_rate_for(start.encoders[0], from_scratch=from_scratch)
        return TrainingPlan(
            n_epochs=int(self.max_epochs),
            batch_size=self._language_task().batch_size,
            learning_rate=rate,
            layer_decay=self.layer_decay,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warmup_fraction=self.warmup_fraction,
            trainable_layers=self.trainable_layers,
            gradual_unfreezing=self.gradual_unfreezing,
        )

    def _language_task(self) -> LanguageTask:
        size = BATCH_SIZE if self.batch_size == "auto" else self.batch_size
        return LanguageTask(int(size), self.max_length, self.mask_fraction, self.whole_words)


def _content(value: Any) -> str:
    """What a parameter says, the same in every process."""
    if isinstance(value, np.random.RandomState):
        return hashlib.sha256(pickle.dumps(value.get_state(), protocol=5)).hexdigest()
    return value.digest if isinstance(value, EncoderHandle) else repr(value)
