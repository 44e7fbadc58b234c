"""The fit of a language model: one training per reading direction."""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sktransfer.encoders import Encoder, EncoderHandle, SentenceSettings, resolve_encoder
from sktransfer.fitting.callbacks import FitCallbacks
from sktransfer.fitting.context import FitParameters, new_model
from sktransfer.fitting.epochs import EpochMonitor
from sktransfer.fitting.fit import FitResult
from sktransfer.language.build import PretrainingStart, joined
from sktransfer.language.checkpoint import Checkpoint
from sktransfer.language.corpus import Corpus
from sktransfer.language.train import LanguageContext, LanguageTask, scorer, train_language
from sktransfer.nn import TransferModel
from sktransfer.runtime import isolated_seed, resolve_device, resolve_precision
from sktransfer.training import TrainingPlan

# The masked tokens of texts that are scored, and a head that is never used, follow from it alone.
SCORING_SEED = 0
# What may differ between a training and the one that goes on with it.
_FREE_PARAMETERS = ("checkpoint", "checkpoint_seconds", "device", "verbose")


@dataclass(frozen=True)
class CheckpointSettings:
    """Where and how often the state of a training run is written.

    Attributes
    ----------
    folder : Path
        Folder of the state.
    seconds : float
        Least time between two writings.
    identity : dict of str to str
        What decides on the course of the training: parameters of the estimator, by their names.
    """

    folder: Path
    seconds: float
    identity: dict[str, str]

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> CheckpointSettings | None:
        """Settings among the parameters of a `LanguageModel`; None where it writes nothing."""
        if parameters["checkpoint"] is None:
            return None
        identity = {
            name: _content(value)
            for name, value in parameters.items()
            if name not in _FREE_PARAMETERS
        }
        if parameters["architecture"] is None:  # by content: another one may have its name by now
            identity["encoder"] = resolve_encoder(parameters["encoder"]).digest
        return cls(Path(parameters["checkpoint"]), parameters["checkpoint_seconds"], identity)


@dataclass(frozen=True)
class PretrainingJob:
    """Checked inputs of the fit of a language model.

    Attributes
    ----------
    start : PretrainingStart
        Tokenizer and encoders, which are trained in place.
    corpus, watched : Corpus, Corpus or None
        Texts to train on, and those to score after each epoch.
    plan : TrainingPlan
        Epochs and rates.
    task : LanguageTask
        What is predicted.
    parameters : FitParameters
        Device, precision, early stopping and verbosity.
    seed : int
        Seed of the order of the texts and the masked tokens.
    checkpoint : CheckpointSettings or None, default=None
        Where the state of the training is written.
    """

    start: PretrainingStart
    corpus: Corpus
    watched: Corpus | None
    plan: TrainingPlan
    task: LanguageTask
    parameters: FitParameters
    seed: int
    checkpoint: CheckpointSettings | None = None


def run_pretraining(job: PretrainingJob, callbacks: FitCallbacks | None = None) -> FitResult:
    """Train each reading direction; the fitted attributes."""
    start, parameters = job.start, job.parameters
    device = resolve_device(parameters.device)
    dtype = resolve_precision(parameters.precision, device, training=True)
    context = LanguageContext(start.tokenizer, job.task, device, dtype)
    if callbacks is not None:
        callbacks.begin_fit(job.plan.n_epochs * len(start.encoders))
    checkpoints = _checkpoints(job)
    curve: list[float] = []
    scores: list[float] = []
    interruption = best_epoch = None
    for number, (encoder, checkpoint) in enumerate(zip(start.encoders, checkpoints, strict=True)):
        monitor = EpochMonitor(
            encoder,
            job.plan.n_epochs,
            parameters,
            validate=_validation(encoder, job.watched, context),
            callbacks=callbacks,
            attributes=lambda: _attributes(copy.deepcopy(start), parameters, [], []),
        )
        result = train_language(
            encoder,
            job.corpus,
            context,
            job.plan,
            rng=np.random.default_rng([job.seed, number]),
            on_epoch_end=monitor,
            checkpoint=checkpoint,
        )
        interruption, best_epoch = monitor.finish(result), monitor.best.epoch
        curve += result.loss_curve
        scores += monitor.scores
        if interruption is not None:
            break
    else:
        for checkpoint in checkpoints:
            if checkpoint is not None:
                checkpoint.remove()
    attributes = {
        **_attributes(start, parameters, curve, scores),
        "best_epoch_": best_epoch,
        "device_": str(device),
    }
    return FitResult(attributes, interruption)


def language_model(encoder: Encoder, parameters: FitParameters) -> TransferModel:
    """`encoder` with a pooling and a head that is never used, on the CPU."""
    with isolated_seed(SCORING_SEED, resolve_device("cpu")):
        averaging = replace(parameters, pooling="mean")
        return new_model(encoder, 1, averaging, SentenceSettings()).to("cpu")


def _attributes(
    start: PretrainingStart, parameters: FitParameters, curve: list[float], scores: list[float]
) -> dict[str, Any]:
    return {
        "task_": None,
        "model_": language_model(joined(start.encoders), parameters),
        "tokenizer_": start.tokenizer,
        "encoder_name_": start.name,
        "sentence_settings_": start.settings,
        "loss_curve_": curve,
        "validation_scores_": scores,
        "n_iter_": len(curve) // len(start.encoders),
    }


def _validation(
    encoder: Encoder, watched: Corpus | None, context: LanguageContext
) -> Callable[[], float] | None:
    if watched is None:
        return None
    score = scorer(encoder, watched, context, SCORING_SEED)
    return lambda: -score()


def _checkpoints(job: PretrainingJob) -> list[Checkpoint | None]:
    """The checkpoint of each reading direction."""
    n_directions, settings = len(job.start.encoders), job.checkpoint
    if settings is None:
        return [None] * n_directions
    identity = settings.identity | {
        "texts": job.corpus.digest,
        "X_val": "" if job.watched is None else job.watched.digest,
        "vocabulary": hashlib.sha256(pickle.dumps(job.start.tokenizer, protocol=5)).hexdigest(),
    }
    folders = [settings.folder]
    if n_directions > 1:
        folders = [settings.folder / str(number) for number in range(n_directions)]
    return [Checkpoint(folder, identity, seconds=settings.seconds) for folder in folders]


def _content(value: Any) -> str:
    """Value of a parameter in a form that is the same in every process."""
    if isinstance(value, np.random.RandomState):
        return hashlib.sha256(pickle.dumps(value.get_state(), protocol=5)).hexdigest()
    return value.digest if isinstance(value, EncoderHandle) else repr(value)
