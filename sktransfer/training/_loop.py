"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sktransfer.inputs import EncodedRows
from sktransfer.inputs._batches import Batch, collate_rows, epoch_batches, split_by_tokens
from sktransfer.nn import TransferModel
from sktransfer.runtime import (
    autocast,
    is_out_of_memory,
    release_memory,
    rng_state,
    set_rng_state,
    token_budget,
    width_multiple,
)
from sktransfer.training._parameters import (
    TrainingPlan,
    freeze_all_but,
    parameter_groups,
    trainable_stack,
)
from sktransfer.training._schedules import schedule_factor

# Scores and features (as the head sees them) of a batch's units, and the targets of its rows;
# gives the loss of each row.
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]

# A text of more windows shows a different sample of them each epoch, so that the memory of a
# step does not depend on the longest text; prediction reads every window.
MAX_TRAINING_WINDOWS = 4
_MAX_GRADIENT_NORM = 1.0
_STEPS_BETWEEN_CHECKS = 16


@dataclass(frozen=True)
class TrainingData:
    """Rows with their targets and weights; `weights` has mean 1."""

    rows: EncodedRows
    targets: Tensor
    weights: Tensor
    pad_id: int


@dataclass
class TrainingResult:
    """What the loop did: mean loss of each finished epoch, and whether Ctrl-C ended it."""

    loss_curve: list[float] = field(default_factory=list)
    interrupted: bool = False


class BestWeights:
    """Copy of the weights at the best score so far."""

    def __init__(self) -> None:
        self.epoch: int | None = None
        self.score = -np.inf
        self._weights: dict[str, Tensor] = {}

    def update(self, model: nn.Module, score: float, epoch: int) -> bool:
        """Copy the weights of `model` if `score` is the best; tell whether it was."""
        if score <= self.score:
            return False
        self.score, self.epoch = score, epoch
        self._weights = {
            name: parameter.detach().to("cpu", copy=True)
            for name, parameter in model.named_parameters()
        }
        return True

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        """Put the copied weights back into `model`."""
        for name, parameter in model.named_parameters():
            parameter.copy_(self._weights[name])


def train(
    model: TransferModel,
    data: TrainingData,
    objective: Objective,
    plan: TrainingPlan,
    *,
    device: torch.device,
    dtype: torch.dtype,
    rng: np.random.Generator,
    on_epoch_end: Callable[[int, float], bool],
) -> TrainingResult:
    """Fine-tune `model`, which lies on `device`, in place.

    Parameters
    ----------
    model : TransferModel
        Model to train.
    data : TrainingData
        Rows to train on.
    objective : callable
        ``objective(scores, features, targets)`` gives the loss of each row of a batch; it may
        compare the rows with each other.
    plan : TrainingPlan
        Epochs, rates and layers.
    device, dtype : torch.device, torch.dtype
        Where the model lies and the precision of its matrix products.
    rng : numpy.random.Generator
        Order of the rows.
    on_epoch_end : callable
        ``on_epoch_end(epoch, mean_loss)`` returns True to stop.

    Returns
    -------
    TrainingResult
        Ctrl-C ends the loop quietly, with ``interrupted`` set.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    MemoryError
        If not even a single row fits into the memory of the device.
    """
    result = TrainingResult()
    if plan.n_epochs == 0:
        return result
    run = _Run(model, data, objective, plan, device, dtype, rng)
    try:
        for epoch in range(plan.n_epochs):
            loss = run.epoch(epoch)
            result.loss_curve.append(loss)
            if on_epoch_end(epoch, loss):
                break
    except KeyboardInterrupt:
        result.interrupted = True
    finally:
        model.zero_grad(set_to_none=True)
        model.requires_grad_(True)
        model.eval()
    return result


class _Run:
    """One training run: the optimiser and its place in the schedule."""

    def __init__(
        self,
        model: TransferModel,
        data: TrainingData,
        objective: Objective,
        plan: TrainingPlan,
        device: torch.device,
        dtype: torch.dtype,
        rng: np.random.Generator,
    ) -> None:
        self.model, self.data, self.objective, self.plan = model, data, objective, plan
        self.device, self.dtype, self.rng = device, dtype, rng
        self.stack = trainable_stack(model, plan)
        self.optimizer = torch.optim.AdamW(parameter_groups(model, plan), fused=True)
        self.row_tokens = _training_tokens(data.rows)
        self.token_budget = token_budget(device, training=True)
        steps_per_epoch = -(-len(data.rows) // plan.batch_size)
        self.n_steps = plan.n_epochs * steps_per_epoch
        self.step_number = 0

    def epoch(self, epoch: int) -> float:
        """Train one epoch; return the mean loss of its rows."""
        n_layers = len(self.stack) - 1
        unfrozen = self.plan.unfrozen_layers(epoch, n_layers)
        freeze_all_but(self.model, self.stack[: 1 + unfrozen])
        total = torch.zeros((), device=self.device)
        batches = epoch_batches(self.row_tokens, self.plan.batch_size, self.rng)
        for number, rows in enumerate(batches):
            total += self._step(rows)
            if number % _STEPS_BETWEEN_CHECKS == 0:
                self._check_finite(total, epoch)
        self._check_finite(total, epoch)
        return float(total) / len(self.data.rows)

    def _check_finite(self, total: Tensor, epoch: int) -> None:
        if not torch.isfinite(total):
            raise FloatingPointError(
                f"The training loss is no longer finite in epoch {epoch + 1}. Lower learning_rate "
                f"(now {self.plan.learning_rate:g}), raise warmup_fraction, or set "
                "precision='float32'."
            )

    def _step(self, rows: NDArray[np.intp]) -> Tensor:
        factor = schedule_factor(
            self.plan.schedule, self.step_number, self.n_steps, self.plan.warmup_fraction
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        loss = self._gradient(rows)
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(trained, _MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step_number += 1
        return loss

    def _gradient(self, rows: NDArray[np.intp]) -> Tensor:
        """Gradient of the batch `rows`, in smaller parts each time memory runs out."""
        generators = rng_state(self.device)
        window_seed = int(self.rng.integers(2**63))
        while True:
            try:
                return self._accumulate(rows, np.random.default_rng(window_seed))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error)
            # Outside of the except block, so that the frames of the failed pass are gone.
            self.optimizer.zero_grad(set_to_none=True)
            set_rng_state(generators, self.device)
            release_memory(self.device)
            if self.token_budget < int(self.row_tokens[rows].max()):
                raise MemoryError(
                    f"Not even one text fits into the memory of {self.device}: lower max_length "
                    f"or trainable_layers, or choose a smaller encoder ({message})."
                )
            self.token_budget //= 2

    def _accumulate(self, rows: NDArray[np.intp], window_rng: np.random.Generator) -> Tensor:
        """Add the gradient of the mean loss of `rows`; return the sum of their losses.

        A batch that needs several passes is run twice: first without a graph for its features,
        on which the loss of the whole batch has its gradient, then part by part to carry that
        gradient into the encoder. So the loss may compare rows of different parts, and the
        gradient does not depend on how the batch is cut (Gao et al. 2021, arXiv:2101.06983).
        """
        parts = split_by_tokens(self.row_tokens[rows], self.token_budget)
        order = np.concatenate(parts)
        batches = [self._collate(rows[part], window_rng) for part in parts]
        index = torch.from_numpy(rows[order])
        targets = self.data.targets[index].to(self.device)
        weights = self.data.weights[index].to(self.device)
        if len(parts) == 1:
            features = self._features(batches[0])
            return self._backward(features, targets, weights)
        generators, pieces = [], []
        for batch in batches:
            generators.append(rng_state(self.device))
            with torch.no_grad():
                pieces.append(self._features(batch))
        features = torch.cat(pieces).requires_grad_()
        loss = self._backward(features, targets, weights)
        assert features.grad is not None
        gradients = features.grad.split([len(piece) for piece in pieces])
        for batch, state, gradient in zip(batches, generators, gradients, strict=True):
            set_rng_state(state, self.device)
            part = self._features(batch)
            if part.requires_grad:
                part.backward(gradient)
        return loss

    def _collate(self, rows: NDArray[np.intp], window_rng: np.random.Generator) -> Batch:
        return collate_rows(
            self.data.rows,
            rows,
            self.data.pad_id,
            multiple=width_multiple(self.device, self.dtype),
            max_windows=MAX_TRAINING_WINDOWS,
            rng=window_rng,
        ).to(self.device)

    def _features(self, batch: Batch) -> Tensor:
        with autocast(self.device, self.dtype):
            return self.model.features(batch)

    def _backward(self, features: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        scores = self.model.head(features)
        losses = self.objective(scores, self.model.head.normalise(features), targets)
        loss = (losses * weights).sum()
        (loss / len(targets)).backward()
        return loss.detach()


def _training_tokens(rows: EncodedRows) -> NDArray[np.int64]:
    """Tokens that a step reads of each row at most."""
    if rows.units is not None:
        return rows.row_lengths
    n_windows = np.diff(rows.row_start)
    shown = np.minimum(n_windows, MAX_TRAINING_WINDOWS)
    return np.asarray(rows.row_lengths * shown // np.maximum(n_windows, 1), dtype=np.int64)
