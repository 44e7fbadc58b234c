"""The context of one fit: parameters, rows and the loaded model."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import joblib
import numpy as np
import torch

from sktransfer.encoders import (
    DEFAULT_ENCODER,
    Encoder,
    EncoderHandle,
    SentenceSettings,
    resolve_encoder,
)
from sktransfer.fitting.data import LabeledTexts, Targets
from sktransfer.inputs import (
    EncodedRows,
    Row,
    RowFormat,
    TextFormat,
    Tokenizer,
    prompt_of,
    prompted,
)
from sktransfer.language.build import directions_of, from_checkpoint, with_lm_head
from sktransfer.language.train import (
    BATCH_SIZE,
    LanguageContext,
    LanguageTask,
    adaptation_corpus,
    adapted,
)
from sktransfer.nn import POOLINGS, Head, PretrainedState, TransferModel, pooled_size
from sktransfer.runtime import (
    WorkerGroup,
    check_folder,
    resolve_device,
    resolve_precision,
    unique_key,
    worker_group,
)
from sktransfer.tasks import Task
from sktransfer.training import EncodedDataset, TrainingPlan

# The rule behind max_epochs="auto": with fewer optimizer steps a model is undertrained, and more
# epochs than the second bound only memorize.
_MIN_STEPS = 120
_MIN_EPOCHS, _MAX_EPOCHS = 3, 24
# Few rows benefit from larger contrastive batches; more rows need more steps.
_FEW_ROWS = 64
_BATCH_OF_FEW, _BATCH_OF_MANY = 32, 16
# The share of the layers that trainable_layers="auto" trains on more rows than few. The lowest
# ones gain nothing there, and cost as much as the others.
_UPPER_LAYERS = 2 / 3
_HEAD_SCALE = 10.0
_HEAD_DROPOUT = 0.1


@dataclass(frozen=True)
class FitParameters:
    """The parameters of an estimator that its fit reads.

    Where an estimator has no such parameter, the default here is what it works with.
    """

    encoder: str | os.PathLike[str] | EncoderHandle = DEFAULT_ENCODER
    pooling: str = "auto"
    pair_encoder: Literal["auto", "cross", "bi"] | None = None
    symmetric: bool = False
    prompt: str = ""
    pooling_layers: int = 1
    layer: int = -1
    max_length: int = 128
    lexical_weight: float = 0.0
    head_init: str = "probe"
    head_refit: bool = False
    mixing_coefficient: float | Literal["auto"] | None = None
    C: float = 10.0
    adapt_epochs: int = 0
    lm_weight: float = 0.0
    memory: str | os.PathLike[str] | joblib.Memory | None = None
    trainable_layers: int | Literal["all", "auto"] | None = None
    gradual_unfreezing: bool = False
    max_epochs: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] = "auto"
    learning_rate: float = 3e-4
    layer_decay: float = 0.8
    weight_decay: float = 0.01
    schedule: str = "linear"
    warmup_fraction: float = 0.1
    early_stopping: bool = False
    n_iter_no_change: int = 3
    warm_start: bool = False
    device: str = "auto"
    precision: str = "auto"
    verbose: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> FitParameters:
        """Those of an estimator's `parameters` that are read here."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in parameters.items() if name in names})

    def prompt_for(self, source: EncoderHandle) -> str:
        """Text before each text that an encoder of `source` reads."""
        return source.settings.prompt if self.prompt == "auto" else self.prompt

    def trains(self, encoder: Encoder) -> bool:
        """Whether any layer of `encoder` is trained."""
        if self.trainable_layers == "all":
            return True
        return self.trainable_layers != 0 and bool(encoder.layers())

    def plan(self, n_rows: int, encoder: Encoder) -> TrainingPlan:
        """Epochs, batches and rates for `n_rows` rows."""
        n_epochs, batch_size = self.max_epochs, self.batch_size
        if batch_size == "auto":
            batch_size = _BATCH_OF_FEW if n_rows <= _FEW_ROWS else _BATCH_OF_MANY
        if n_epochs == "auto":
            steps_per_epoch = -(-n_rows // batch_size)
            n_epochs = int(np.clip(-(-_MIN_STEPS // steps_per_epoch), _MIN_EPOCHS, _MAX_EPOCHS))
            # The probe already is the best head on features that cannot change, and few pairs do
            # not improve those of a bi-encoder.
            is_fixed = self.pair_encoder == "bi" or not self.trains(encoder)
            if self.head_init == "probe" and is_fixed:
                n_epochs = 0
        return TrainingPlan(
            n_epochs=int(n_epochs),
            batch_size=int(batch_size),
            learning_rate=self.learning_rate,
            layer_decay=self.layer_decay,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warmup_fraction=self.warmup_fraction,
            trainable_layers=self._trained(n_rows, len(encoder.layers())),
            gradual_unfreezing=self.gradual_unfreezing,
        )

    def _trained(self, n_rows: int, n_layers: int) -> int | Literal["all"] | None:
        if self.trainable_layers != "auto":
            return self.trainable_layers
        if self.gradual_unfreezing or n_rows <= _FEW_ROWS:
            return None
        return math.ceil(_UPPER_LAYERS * n_layers)


@dataclass(frozen=True)
class WarmStart:
    """The fitted network that a fit continues from."""

    model: TransferModel
    tokenizer: Tokenizer
    encoder_name: str


@dataclass(frozen=True)
class FitJob:
    """Checked inputs of a fit.

    `is_partial` is true for `partial_fit`, which does not see all rows.
    """

    rows: LabeledTexts
    validation: LabeledTexts | None
    task: Task
    targets: Targets
    row_format: RowFormat
    parameters: FitParameters
    seed: int
    warm_start: WarmStart | None = None
    unlabeled: Any = None
    is_partial: bool = False


@dataclass(frozen=True)
class FitContext:
    """State of one fit after the encoder is loaded; the estimator changes only at its end."""

    job: FitJob
    rows: LabeledTexts
    label_texts: Mapping[Any, str]
    plan: TrainingPlan
    model: TransferModel
    tokenizer: Tokenizer
    encoder_name: str
    device: torch.device
    dtype: torch.dtype
    rng: np.random.Generator
    group: WorkerGroup

    @property
    def task(self) -> Task:
        """Loss and decoding of the targets."""
        return self.job.task

    @property
    def parameters(self) -> FitParameters:
        """Parameters of the estimator."""
        return self.job.parameters

    @property
    def reads_single_texts(self) -> bool:
        """Whether the encoder reads one text at a time, as it was pretrained to do."""
        is_one = self.job.row_format.n_columns(self.rows.texts) == 1
        return is_one or self.model.is_bi_encoder

    @cached_property
    def input_key(self) -> tuple[int, str, str]:
        """Key of everything that determines the token ids of a text besides the vocabulary."""
        prompt = prompt_of(self.tokenizer)
        return self.parameters.max_length, repr(self.job.row_format), prompt

    @property
    def window_length(self) -> int:
        """Most tokens of a window."""
        return window_length(self.model.encoder, self.job.row_format, self.parameters.max_length)

    def encode(self, texts: Sequence[Row]) -> EncodedRows:
        """Token ids of `texts`."""
        return self.job.row_format.encode(texts, self.tokenizer, max_length=self.window_length)

    def encode_rows(self) -> EncodedDataset:
        """Training rows as token ids, targets and weights."""
        rows = self.rows
        weights = self.job.targets.weights(rows, self.task)
        encoded = self.encode(rows.texts)
        targets = self.task.encode(rows.y, encoded)
        return EncodedDataset(
            rows.texts, encoded, targets, rows.weights, weights, self.tokenizer.pad_id
        )


def window_length(encoder: Encoder, row_format: RowFormat, max_length: int) -> int:
    """Most tokens of a window of the rows that `encoder` reads."""
    if encoder.is_recurrent and row_format.reads_whole:
        # Read in chunks of max_length with a carried state: no window ends the text.
        return encoder.max_length
    return min(max_length, encoder.max_length)


def load_context(job: FitJob) -> FitContext:
    """Load the encoder, or continue from the previous fit, and plan the training."""
    parameters = job.parameters
    if parameters.pair_encoder == "bi" and job.row_format.n_columns(job.rows.texts) != 2:
        raise ValueError("pair_encoder='bi' needs rows of two texts: use 'auto' or 'cross'.")
    device = resolve_device(parameters.device)
    dtype = resolve_precision(parameters.precision, device, training=True)
    if job.warm_start is None:
        model, tokenizer, name = _pretrained_model(job, device, dtype)
    else:
        model, tokenizer, name = _model_before(job.warm_start, job.task)
    if isinstance(job.row_format, TextFormat):
        job = replace(job, row_format=replace(job.row_format, bi_encoder=model.is_bi_encoder))
    model.encoder.set_chunk_length(parameters.max_length)
    if parameters.lm_weight:
        for direction in directions_of(model.encoder):
            with_lm_head(direction)
    label_texts = {} if job.is_partial else job.targets.label_texts_of(job.rows, tokenizer)
    rows = job.rows.with_label_texts(label_texts)
    job = replace(job, task=job.targets.with_label_texts(job.task, label_texts))
    plan = parameters.plan(len(rows), model.encoder)
    if not (plan.n_epochs and parameters.trains(model.encoder)):
        # The same features as predictions have, computed once for both.
        dtype = resolve_precision(parameters.precision, device, training=False)
    if job.is_partial:
        plan = replace(plan, n_epochs=1, schedule="constant", warmup_fraction=0.0)
    return FitContext(
        job=job,
        rows=rows,
        label_texts=label_texts,
        plan=plan,
        model=model,
        tokenizer=tokenizer,
        encoder_name=name,
        device=device,
        dtype=dtype,
        rng=np.random.default_rng(job.seed),
        group=worker_group(),
    )


def _model_before(start: WarmStart, task: Task) -> tuple[TransferModel, Tokenizer, str]:
    model = copy.deepcopy(start.model)
    if model.head.linear.out_features != task.n_outputs:
        raise ValueError(
            f"warm_start=True cannot change the {model.head.linear.out_features} outputs of the "
            f"fit before to {task.n_outputs}: set warm_start=False."
        )
    return model, start.tokenizer, start.encoder_name


def _pretrained_model(
    job: FitJob, device: torch.device, dtype: torch.dtype
) -> tuple[TransferModel, Tokenizer, str]:
    parameters = job.parameters
    source = resolve_encoder(parameters.encoder)
    if parameters.adapt_epochs:
        start = from_checkpoint(source)
        tokenizer, language_task = start.tokenizer, LanguageTask(BATCH_SIZE, parameters.max_length)
        language = LanguageContext(tokenizer, language_task, device, dtype)
        corpus = adaptation_corpus(job.rows.texts, job.unlabeled)
        rng = np.random.default_rng(job.seed)
        encoder = adapted(start, corpus, language, parameters.adapt_epochs, rng)
        pretrained = PretrainedState(unique_key(), len(encoder.layers()))
    else:
        encoder, tokenizer = source.load_shared(lm_head=parameters.lm_weight > 0, device=device)
        pretrained = pretrained_state(source, encoder, parameters.memory)
    model = new_model(encoder, job.task.n_outputs, parameters, source.settings)
    model.pretrained = pretrained
    return model, prompted(tokenizer, parameters.prompt_for(source)), source.name


def new_model(
    encoder: Encoder, n_outputs: int, parameters: FitParameters, settings: SentenceSettings
) -> TransferModel:
    """`encoder` with a pooling and a random head, in eval mode."""
    n_states = 1 + len(encoder.layers())
    if not -n_states <= parameters.layer < n_states:
        raise ValueError(
            f"layer={parameters.layer} does not exist: this encoder has {n_states}, from 0, the "
            f"embeddings, to {n_states - 1}, or from {-n_states} to -1."
        )
    pooling = parameters.pooling
    if pooling == "auto":
        pooling = settings.pooling_for(encoder)
    if pooling not in POOLINGS:
        raise ValueError(
            f"encoder: the checkpoint pools by {pooling}, which is not supported: choose a "
            "pooling, for example pooling='mean'."
        )
    width = pooled_size(pooling, encoder.hidden_size)
    comparison = None
    if parameters.pair_encoder == "bi":
        comparison = "unordered" if parameters.symmetric else "ordered"
    return TransferModel(
        encoder,
        Head(
            width if comparison is None else 2 * width,
            n_outputs,
            scale=_HEAD_SCALE,
            dropout=_HEAD_DROPOUT,
            comparison=comparison,
        ),
        pooling=pooling,
        n_layers=min(parameters.pooling_layers, n_states),
        n_skipped=(-1 - parameters.layer) % n_states,
    ).eval()


def pretrained_state(
    source: EncoderHandle, encoder: Encoder, memory: str | os.PathLike[str] | joblib.Memory | None
) -> PretrainedState:
    """State of an `encoder` that was just loaded from `source`."""
    if isinstance(memory, joblib.Memory):
        memory = memory.location
    if memory is None:
        return PretrainedState(source.cache_key, len(encoder.layers()))
    folder = os.path.abspath(memory)
    check_folder(folder)
    # What other processes find must not depend on this one: the digest, not the key.
    return PretrainedState(source.digest, len(encoder.layers()), folder=folder)
