"""The one fit: load → encode → probe → fine-tune → refit → lexical model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sktransfer.fitting.callbacks import FitCallbacks
from sktransfer.fitting.context import FitContext, FitJob, load_context
from sktransfer.fitting.continuation import Continuation
from sktransfer.fitting.epochs import EpochMonitor, report
from sktransfer.fitting.lexical import fit_lexical
from sktransfer.fitting.mixing import mix_weights, mixing_coefficient, present_weights, refit_c
from sktransfer.fitting.pairs import with_pair_encoder
from sktransfer.fitting.predictor import warn_of_cuts
from sktransfer.fitting.probe import Probe
from sktransfer.fitting.temperature import score_temperature
from sktransfer.inputs import EncodedRows
from sktransfer.language.auxiliary import AuxiliaryLanguage
from sktransfer.runtime import (
    device_memory,
    isolated_seed,
    resolve_device,
    usual_numerics,
    worker_group,
)
from sktransfer.tasks import BlendableTask
from sktransfer.training import (
    EncodedDataset,
    RowObjective,
    TrainingResult,
    pooled_features,
    train,
)


@dataclass(frozen=True)
class FitResult:
    """Fitted attributes, and a message if Ctrl-C ended the training."""

    attributes: dict[str, Any]
    interruption: str | None


def run_fit(job: FitJob, callbacks: FitCallbacks | None = None) -> FitResult:
    """Fit a network to the rows of `job`.

    Parameters
    ----------
    job : FitJob
        Checked rows, their task, and the parameters of the estimator.
    callbacks : FitCallbacks, default=None
        What is told of the epochs.

    Returns
    -------
    FitResult
        With the model on the CPU.
    """
    with usual_numerics(), isolated_seed(job.seed, resolve_device(job.parameters.device)):
        if worker_group().rank:  # only the first process reports
            job = replace(job, parameters=replace(job.parameters, verbose=0))
        context = load_context(with_pair_encoder(job))
        if context.label_texts:
            read = ", ".join(
                f"{label!r} as {text!r}" for label, text in context.label_texts.items()
            )
            report(job.parameters.verbose, f"labels read as texts: {read}")
        if callbacks is not None:
            callbacks.begin_fit(context.plan.n_epochs)
        return _fit(context, callbacks)


def _fit(context: FitContext, callbacks: FitCallbacks | None) -> FitResult:
    parameters, model, task = context.parameters, context.model, context.task
    is_partial = context.job.is_partial
    data = _encode(context)
    validate = _validation(context, data)
    monitor = EpochMonitor(
        model,
        context.plan.n_epochs,
        parameters,
        validate=validate,
        callbacks=callbacks,
        attributes=lambda: _attributes(context, copied=True),
    )
    with device_memory.holding(model, context.device):
        temperature = _start_from_probe(context, data)
        before, coefficient = present_weights(model), mixing_coefficient(context)
        result = _fine_tune(context, data, monitor)
        interruption = monitor.finish(result)
        if not result.loss_curve:
            temperature = 1.0
        elif not is_partial:
            mix_weights(model, before, coefficient)
            if parameters.head_refit:
                C = refit_c(context, coefficient)
                Probe(context, data).solve_head(C, temperature=temperature)
    attributes = {**_attributes(context), **monitor.history()}
    if parameters.lexical_weight > 0 and isinstance(task, BlendableTask) and not is_partial:
        attributes["lexical_"] = fit_lexical(task, data, temperature=temperature)
    if parameters.mixing_coefficient is not None:
        attributes["mixing_coefficient_"] = coefficient if result.loss_curve else 1.0
        attributes["temperature_"] = temperature
    if parameters.pair_encoder is not None:
        is_pair = context.job.row_format.n_columns(context.rows.texts) == 2
        attributes["pair_encoder_"] = parameters.pair_encoder if is_pair else None
    return FitResult(attributes, interruption)


def _encode(context: FitContext) -> EncodedDataset:
    """Training rows as token ids, targets and weights, the same in all processes."""
    data = context.encode_rows()
    group = context.group
    if not group.is_single and not group.is_same(int(data.content[:15], 16)):
        raise ValueError(
            "The processes that share this fit have different rows, targets or weights: give all "
            "of them the same, in the same order."
        )
    return data


def _validation(context: FitContext, data: EncodedDataset) -> Callable[[], float] | None:
    """Function that scores the current model on the validation rows, if there are any."""
    rows = context.job.validation
    encoded: list[EncodedRows] = [] if rows is None else [context.encode(rows.texts)]
    warn_of_cuts(context.job.row_format, context.window_length, data.encoded, *encoded)
    if rows is None:
        return None
    (watched,) = encoded
    targets = context.task.encode(rows.y, watched)

    def validate() -> float:
        features = pooled_features(
            context.model,
            watched,
            data.pad_id,
            device=context.device,
            dtype=context.dtype,
            group=context.group,
        )
        scores = context.model.head.scores(features.to(context.device)).cpu().numpy()
        if not np.isfinite(scores).all():
            raise FloatingPointError(
                "The scores of the validation rows are no longer finite. Lower learning_rate "
                f"(now {context.parameters.learning_rate:g}) or raise warmup_fraction."
            )
        return context.task.score(scores, targets)

    return validate


def _start_from_probe(context: FitContext, data: EncodedDataset) -> float:
    """Initialize the head; the temperature for the scores of the fine-tuned network."""
    probe = Probe(context, data)  # its features are not kept during the training
    is_start = context.job.warm_start is None or not context.plan.n_epochs
    if is_start and context.parameters.head_init == "probe":
        probe.solve_head(context.parameters.C)
    return score_temperature(context, probe)


def _fine_tune(context: FitContext, data: EncodedDataset, monitor: EpochMonitor) -> TrainingResult:
    """Train the model in the package's one loop."""
    model, plan = context.model, context.plan
    past = Continuation.of(context, data)
    pretrained = model.pretrained
    model.pretrained = plan.pretrained_after(pretrained, model.encoder)
    objective = RowObjective(
        model,
        data,
        context.task.loss,
        plan.batch_size,
        device=context.device,
        dtype=context.dtype,
        pretrained=pretrained,
        later=plan.frozen_layers(len(model.encoder.layers())),
        auxiliary=_auxiliary(context),
        group=context.group,
    )
    progress = None if past is None else past.restore()
    if progress is not None:
        monitor.losses.extend(progress.loss_curve)
    result = train(
        model,
        objective,
        plan,
        device=context.device,
        rng=context.rng,
        on_epoch_end=monitor,
        on_step_end=None if past is None else past.watch(plan.n_epochs * objective.n_steps),
        progress=progress,
    )
    if past is not None:
        past.keep()
    return result


def _auxiliary(context: FitContext) -> AuxiliaryLanguage | None:
    weight = context.parameters.lm_weight
    return AuxiliaryLanguage(context.model.encoder, context.tokenizer, weight) if weight else None


def _attributes(context: FitContext, *, copied: bool = False) -> dict[str, Any]:
    """Attributes as if `fit` ended here, without the lexical model; of a copy of the network."""
    model = context.model
    if copied:
        model = copy.deepcopy(model).to("cpu").requires_grad_(True).eval()
    return {
        **context.job.targets.attributes(context.task, context.label_texts),
        "task_": context.task,
        "model_": model,
        "tokenizer_": context.tokenizer,
        "encoder_name_": context.encoder_name,
        "device_": str(context.device),
        "lexical_": None,
    }
