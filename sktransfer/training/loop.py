"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from sktransfer.runtime import (
    Graphs,
    Inputs,
    device_memory,
    is_out_of_memory,
    rng_state,
    set_rng_state,
    token_budget,
    trim_memory,
)
from sktransfer.training.optimizer import Optimizer, WorkingWeights
from sktransfer.training.parameters import (
    TrainableModel,
    TrainingPlan,
    freeze_all_but,
    trainable_stack,
)
from sktransfer.training.schedules import LearningRate

_STEPS_BETWEEN_CHECKS = 16

Step = TypeVar("Step")
Given = TypeVar("Given", contravariant=True)


class TrainingObjective(Protocol[Step]):
    """What the loop optimizes: the steps of an epoch and their gradients.

    Rows with targets are one objective (`RowObjective`), running text is another
    (`NextTokenObjective`, `MaskedObjective`). It knows neither optimizer nor schedule.
    """

    @property
    def n_steps(self) -> int:
        """Steps of an epoch; an estimate where the rows are streamed."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the matrix products."""

    def epoch(self, rng: np.random.Generator) -> Iterator[Step]:
        """Steps of one epoch. All that is drawn from `rng` is drawn before it returns."""

    def least_tokens(self, step: Step) -> int:
        """Tokens of the largest part of a step that cannot be cut."""

    def state(self) -> list[Tensor]:
        """What a step hands to the next one."""

    def load_state(self, state: list[Tensor]) -> None:
        """Take what an earlier run's step handed on."""

    def gradient(self, step: Step, token_budget: int, rng: np.random.Generator) -> StepLoss:
        """Add the gradient of the mean loss of a step, passing at most so many tokens at once."""

    def sample_loss(self, step: Step, rng: np.random.Generator) -> Tensor:
        """Loss of a small part of a step, without a gradient."""


@runtime_checkable
class SinglePass(Protocol[Given]):
    """An objective with steps of a single pass, which can be captured on a GPU."""

    def inputs(self, step: Given, token_budget: int, rng: np.random.Generator) -> Inputs | None:
        """What a step reads, on the CPU, or None where it is more than one pass.

        Of a step that is more than that, nothing is drawn from `rng`.
        """

    def pass_gradient(self, inputs: Any) -> Tensor:
        """Add the gradient of the mean loss of a step of one pass; the sum of its losses.

        The host does not synchronize with the device.
        """

    def count(self, step: Given) -> int:
        """Number of losses of a step."""


@dataclass(frozen=True)
class StepLoss:
    """Sum of the losses of a step, still on its device, and how many they are."""

    total: Tensor
    count: int


@dataclass
class TrainingResult:
    """What the loop did: mean loss of each finished epoch, and whether Ctrl-C ended it."""

    loss_curve: list[float] = field(default_factory=list)
    interrupted: bool = False


@dataclass(frozen=True)
class Progress:
    """Progress of a training run, from which it can be resumed exactly.

    Attributes
    ----------
    epoch, n_done, step_number : int
        Epochs finished, steps done in the present one, steps in all.
    loss_curve : list of float
        Mean losses of the finished epochs.
    total, count : float, int
        Sum and number of the losses of the present epoch.
    optimizer : dict
        State of the optimizer.
    order_state, row_state : dict
        The generator at the start of the present epoch, and now.
    generators : list of Tensor
        States of PyTorch's generators.
    objective_state : list of Tensor
        What the last step handed to the next one, such as the state of a recurrent network.
    """

    epoch: int
    n_done: int
    step_number: int
    loss_curve: list[float]
    total: float
    count: int
    optimizer: dict[str, Any]
    order_state: dict[str, Any]
    row_state: dict[str, Any]
    generators: list[Tensor]
    objective_state: list[Tensor]


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
            # Not in place, because frozen weights may be shared.
            parameter.data = self._weights[name].to(parameter.device)


def train(
    model: TrainableModel,
    objective: TrainingObjective[Step],
    plan: TrainingPlan,
    *,
    device: torch.device,
    rng: np.random.Generator,
    on_epoch_end: Callable[[int, float], bool],
    on_step_end: Callable[[int, Callable[[], Progress]], None] | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train `model`, which lies on `device`, in place.

    Parameters
    ----------
    model : TrainableModel
        Model to train: an encoder with a head.
    objective : TrainingObjective
        What to train it on.
    plan : TrainingPlan
        Epochs, rates and layers.
    device : torch.device
        Where the model lies.
    rng : numpy.random.Generator
        Order of the rows.
    on_epoch_end : callable
        ``on_epoch_end(epoch, mean_loss)`` returns True to stop.
    on_step_end : callable, default=None
        ``on_step_end(step_number, take)`` after each step of the optimizer; ``take()`` gives the
        `Progress`.
    progress : Progress, default=None
        Where an earlier run stood, whose weights the model has.

    Returns
    -------
    TrainingResult
        Ctrl-C ends the loop quietly, with ``interrupted`` set.

    Raises
    ------
    FloatingPointError
        If the loss is not finite, or would not be after the last step.
    MemoryError
        If not even a single row fits into the memory of the device.
    """
    result = TrainingResult()
    if plan.n_epochs == 0:
        return result
    run = _Run(model, objective, plan, device, rng, on_step_end)
    if progress is not None:
        run.resume(progress)
        result.loss_curve.extend(progress.loss_curve)
    try:
        try:
            while len(result.loss_curve) < run.learning_rate.n_epochs:
                epoch = len(result.loss_curve)
                loss = run.epoch(epoch)
                result.loss_curve.append(loss)
                if on_epoch_end(epoch, loss):
                    break
        except KeyboardInterrupt:
            result.interrupted = True
        run.check_last_step()
    finally:
        model.zero_grad(set_to_none=True)
        model.requires_grad_(True)
        model.eval()
    return result


class _Run(Generic[Step]):
    """One training run: the optimizer and its place in the schedule."""

    def __init__(
        self,
        model: TrainableModel,
        objective: TrainingObjective[Step],
        plan: TrainingPlan,
        device: torch.device,
        rng: np.random.Generator,
        on_step_end: Callable[[int, Callable[[], Progress]], None] | None,
    ) -> None:
        self.model, self.objective, self.plan = model, objective, plan
        self.device, self.rng, self.on_step_end = device, rng, on_step_end
        self.stack = trainable_stack(model, plan)
        self.optimizer = Optimizer(model, plan, device)
        self.working = WorkingWeights(model.encoder, objective.dtype)
        self.graphs: Graphs[Inputs] = Graphs(device, self._pass)
        self.token_budget = token_budget(device, training=True)
        self.learning_rate = LearningRate(plan, objective.n_steps)
        self.step_number = 0
        self.present = 0
        self.n_unfrozen = 0
        self.last_step: Step | None = None
        self.loss_curve: list[float] = []
        self.resumed: Progress | None = None

    def resume(self, progress: Progress) -> None:
        """Resume an earlier run."""
        self.resumed = progress
        self.step_number = progress.step_number
        self.loss_curve = list(progress.loss_curve)
        self.learning_rate.watch(self.loss_curve)
        self.optimizer.load(progress.optimizer)
        self.rng.bit_generator.state = progress.order_state

    def epoch(self, epoch: int) -> float:
        """Train one epoch; return the mean loss of its rows."""
        self.present = epoch
        n_layers = len(self.stack) - 1
        self.n_unfrozen = self.plan.unfrozen_layers(epoch, n_layers)
        freeze_all_but(self.model, self.stack[: 1 + self.n_unfrozen])
        order_state = self.rng.bit_generator.state
        steps = self.objective.epoch(self.rng)
        total, count, first = torch.zeros((), device=self.device), 0, 0
        if self.resumed is not None:
            total, count, first = self._skip(steps, self.resumed)
            self.resumed = None
        for number, step in enumerate(steps, start=first):
            loss = self._step(step)
            total += loss.total
            count += loss.count
            if number % _STEPS_BETWEEN_CHECKS == 0:
                self._check_finite(total)
            if self.on_step_end is not None:
                take = partial(self._take, epoch, number + 1, total, count, order_state)
                self.on_step_end(self.step_number, take)
        self._check_finite(total)
        self.loss_curve.append(float(total) / max(count, 1))
        self.learning_rate.watch(self.loss_curve)
        return self.loss_curve[-1]

    def check_last_step(self) -> None:
        """Raise if the last step, whose loss was taken before it, broke the network.

        Its weights may be finite and yet too large to compute with.
        """
        if self.last_step is None:
            return
        self.model.eval()
        loss = self.objective.sample_loss(self.last_step, np.random.default_rng(0))
        finite = [torch.isfinite(weights).all() for weights in self.optimizer.parameters]
        self._check_finite(loss if torch.stack(finite).all() else loss * torch.nan)

    def _skip(self, steps: Iterator[Step], progress: Progress) -> tuple[Tensor, int, int]:
        """Pass over the steps that were done before."""
        for _ in islice(steps, progress.n_done):
            pass
        self.rng.bit_generator.state = progress.row_state
        set_rng_state(progress.generators, self.device)
        self.objective.load_state(progress.objective_state)
        total = torch.tensor(progress.total, device=self.device)
        return total, progress.count, progress.n_done

    def _take(
        self, epoch: int, n_done: int, total: Tensor, count: int, order_state: Any
    ) -> Progress:
        return Progress(
            epoch=epoch,
            n_done=n_done,
            step_number=self.step_number,
            loss_curve=list(self.loss_curve),
            total=float(total),
            count=count,
            optimizer=self.optimizer.state(),
            order_state=order_state,
            row_state=self.rng.bit_generator.state,  # type: ignore[arg-type]
            generators=rng_state(self.device),
            objective_state=self.objective.state(),
        )

    def _check_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"The training loss is no longer finite in epoch {self.present + 1}. Lower "
                f"learning_rate (now {self.plan.learning_rate:g}), raise warmup_fraction, or set "
                "precision='float32'."
            )

    def _step(self, step: Step) -> StepLoss:
        self.optimizer.set_rates(self.learning_rate.factor(self.step_number))
        loss = self._descend(step)
        self.step_number += 1
        self.last_step = step
        return loss

    def _descend(self, step: Step) -> StepLoss:
        """Take one optimizer step, in smaller parts each time memory runs out."""
        generators = rng_state(self.device)
        seed = int(self.rng.integers(2**63))
        while True:
            rng = np.random.default_rng(seed)
            try:
                if isinstance(self.objective, SinglePass):
                    inputs = self.objective.inputs(step, self.token_budget, rng)
                    if inputs is not None:
                        (total,) = self.graphs(inputs, self.n_unfrozen)
                        return StepLoss(total, self.objective.count(step))
                loss = self.objective.gradient(step, self.token_budget, rng)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error)
            # Outside of the except block, so that the frames of the failed pass are released.
            self.optimizer.clear()
            set_rng_state(generators, self.device)
            trim_memory()
            if device_memory.make_room(self.device):
                continue
            if self.token_budget < self.objective.least_tokens(step):
                raise MemoryError(
                    f"Not even one text fits into the memory of {self.device}: lower max_length "
                    f"or trainable_layers, or choose a smaller encoder ({message})."
                )
            self.token_budget //= 2
        self.optimizer.step()
        return loss

    def _pass(self, inputs: Inputs) -> list[Tensor]:
        """A step of one pass."""
        assert isinstance(self.objective, SinglePass)
        self.optimizer.clear()  # a failed capture may have left gradients
        with self.working.in_place():
            total = self.objective.pass_gradient(inputs)
        self.optimizer.step()
        return [total]
