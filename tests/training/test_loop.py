from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from sktransfer.nn import TransferModel
from sktransfer.runtime import resident_models
from sktransfer.tasks.classification import supervised_contrast
from sktransfer.training import (
    BestWeights,
    EncodedDataset,
    Progress,
    RowLoss,
    RowObjective,
    TrainingResult,
    train,
)
from sktransfer.training.loop import StepLoss
from sktransfer.training.optimizer import Optimizer
from sktransfer.training.rows import MAX_TRAINING_WINDOWS
from tests.toys import ToyEncoder, letter_rows, toy_model
from tests.training.test_parameters import PLAN

CPU = torch.device("cpu")
RNG = np.random.default_rng(3)
WORDS = ["".join(RNG.choice(list("abcdefg"), RNG.integers(1, 30))) for _ in range(24)]
LABELS = torch.tensor([int(word.count("a") > word.count("b")) for word in WORDS])
FIT = replace(PLAN, learning_rate=0.05, layer_decay=0.9, n_epochs=5)


def cross_entropy(
    scores: torch.Tensor, features: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    return functional.cross_entropy(scores, targets, reduction="none")


def contrast(scores: torch.Tensor, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(scores, features, targets) + supervised_contrast(features, targets)


def data(
    words: list[str] = WORDS, labels: torch.Tensor = LABELS, weights: list[float] | None = None
) -> EncodedDataset:
    row_weights = np.ones(len(words)) if weights is None else np.array(weights)
    return EncodedDataset(
        words, letter_rows(words, max_length=16), labels, row_weights, row_weights, 0
    )


def run(
    model: TransferModel,
    training_data: EncodedDataset | None = None,
    plan=FIT,
    *,
    dtype: torch.dtype = torch.float32,
    row_loss: RowLoss = cross_entropy,
    on_epoch_end: Callable[[int, float], bool] = lambda epoch, loss: False,
    on_step_end: Callable[[int, Callable[[], Progress]], None] | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    objective = RowObjective(
        model, training_data or data(), row_loss, plan.batch_size, device=CPU, dtype=dtype
    )
    return train(
        model,
        objective,
        plan,
        device=CPU,
        rng=np.random.default_rng(0),
        on_epoch_end=on_epoch_end,
        on_step_end=on_step_end,
        progress=progress,
    )


def weights_of(model: TransferModel) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_loss_falls_and_the_model_is_left_ready_to_predict() -> None:
    model = toy_model()
    result = run(model)
    assert len(result.loss_curve) == 5
    assert result.loss_curve[-1] < 0.7 * result.loss_curve[0]
    assert not model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_bfloat16_trains_float32_weights() -> None:
    model = toy_model()
    result = run(model, dtype=torch.bfloat16)
    assert result.loss_curve[-1] < 0.8 * result.loss_curve[0]
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_no_epochs_leave_the_model_alone() -> None:
    model = toy_model()
    before = weights_of(model)
    assert run(model, plan=replace(FIT, n_epochs=0)).loss_curve == []
    torch.testing.assert_close(weights_of(model), before, rtol=0, atol=0)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("row_loss", [cross_entropy, contrast])
def test_parts_of_a_batch_add_up_to_its_gradient(row_loss: RowLoss) -> None:
    whole, parts = toy_model(), toy_model()
    parts.encoder.most_tokens = 40
    run(whole, row_loss=row_loss)
    run(parts, row_loss=row_loss)
    assert max(whole.encoder.passes) > 40
    torch.testing.assert_close(weights_of(parts), weights_of(whole), rtol=1e-4, atol=1e-5)


@pytest.fixture
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making room looks for garbage, which takes long in a process with so many objects."""
    monkeypatch.setattr(resident_models.gc, "collect", lambda: 0)


@pytest.mark.usefixtures("no_collection")
def test_out_of_memory_repeats_dropout_from_the_same_state() -> None:
    model = toy_model(ToyEncoder(dropout=0.3))
    model.encoder.most_tokens = 40
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = run(model).loss_curve
    again = toy_model(ToyEncoder(dropout=0.3))
    again.encoder.most_tokens = 40
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert run(again).loss_curve == first


@pytest.mark.usefixtures("no_collection")
def test_one_text_too_large_is_an_error_that_helps() -> None:
    model = toy_model()
    model.encoder.most_tokens = 4
    with pytest.raises(MemoryError, match="max_length"):
        run(model)


def test_other_errors_are_not_taken_for_lack_of_memory() -> None:
    def broken(*batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        run(toy_model(), row_loss=broken)


def test_weight_two_has_the_gradient_of_two_rows() -> None:
    # One batch of all rows: the expectation is exact.
    doubled = [2.0] * 6 + [1.0] * 18
    plan = replace(FIT, n_epochs=1, batch_size=100)
    weighted, repeated = toy_model(), toy_model()
    mean = sum(doubled) / 24
    run(weighted, data(weights=[w / mean for w in doubled]), plan)
    run(repeated, data(WORDS[:6] + WORDS, torch.cat([LABELS[:6], LABELS])), plan)
    torch.testing.assert_close(weights_of(weighted), weights_of(repeated), rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_finite_stops_with_advice() -> None:
    model = toy_model()
    with pytest.raises(FloatingPointError, match="learning_rate"):
        run(model, plan=replace(FIT, learning_rate=1e30))


def test_the_hook_stops_the_loop() -> None:
    assert len(run(toy_model(), on_epoch_end=lambda epoch, loss: epoch == 1).loss_curve) == 2


def test_ctrl_c_returns_what_was_learned() -> None:
    def interrupt(epoch: int, loss: float) -> bool:
        if epoch == 1:
            raise KeyboardInterrupt
        return False

    model = toy_model()
    result = run(model, on_epoch_end=interrupt)
    assert result.interrupted
    assert len(result.loss_curve) == 2
    assert not model.training


@pytest.mark.parametrize("trainable_layers", [0, 1])
def test_frozen_layers_do_not_move(trainable_layers: int) -> None:
    model = toy_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run(model, plan=replace(FIT, trainable_layers=trainable_layers))
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert "head.linear.weight" in moved
    assert any("blocks.2" in name for name in moved) is (trainable_layers == 1)
    assert not any("blocks.0" in name or "embeddings" in name for name in moved)


def test_a_step_does_not_grow_with_the_longest_text() -> None:
    model = toy_model()
    run(model, data(["ab" * 4000, "ab"], torch.tensor([0, 1])), replace(FIT, n_epochs=1))
    assert max(model.encoder.passes) <= 2 * MAX_TRAINING_WINDOWS * 16


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_the_last_step_is_checked_too(n_epochs: int) -> None:
    plan = replace(FIT, n_epochs=n_epochs)

    def spoil(epoch: int, loss: float) -> bool:
        if epoch == n_epochs - 1:
            model.head.linear.weight.data[0, 0] = torch.inf
        return False

    model = toy_model()
    with pytest.raises(FloatingPointError, match=f"in epoch {n_epochs}. Lower learning_rate"):
        run(model, plan=plan, on_epoch_end=spoil)
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_weights_that_are_finite_and_too_large_are_found() -> None:
    def spoil(epoch: int, loss: float) -> bool:
        model.encoder.norm.weight.data.fill_(3e38)
        return True

    model = toy_model()
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        run(model, on_epoch_end=spoil)


def test_the_last_check_draws_nothing() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        states = []
        run(
            toy_model(ToyEncoder(dropout=0.3)),
            on_step_end=lambda *_: states.append(torch.get_rng_state()),
        )
        assert torch.equal(torch.get_rng_state(), states[-1])


def test_best_weights_come_back() -> None:
    model = toy_model()
    best = BestWeights()
    assert best.update(model, 0.5, 1)
    kept = weights_of(model)
    run(model)
    assert not best.update(model, 0.4, 2)
    best.restore(model)
    assert best.epoch == 1
    torch.testing.assert_close(weights_of(model), kept, rtol=0, atol=0)


class StopError(Exception):
    """The process ends."""


# 6 steps an epoch: within an epoch, at the end of one, and after the very first step.
@pytest.mark.parametrize("last_step", [1, 9, 12])
def test_a_resumed_run_ends_as_one_that_never_stopped(last_step: int) -> None:
    plan = replace(FIT, n_epochs=3, gradual_unfreezing=True)
    kept = {}

    def stop(step_number: int, take: Callable[[], Progress]) -> None:
        if step_number == last_step:
            kept["progress"] = copy.deepcopy(take())
            raise StopError

    with torch.random.fork_rng():
        torch.manual_seed(5)
        whole = toy_model(ToyEncoder(dropout=0.3))
        expected = run(whole, plan=plan)
        torch.manual_seed(5)
        stopped = toy_model(ToyEncoder(dropout=0.3))
        with pytest.raises(StopError):
            run(stopped, plan=plan, on_step_end=stop)
        torch.manual_seed(6)  # of another process
        resumed = run(stopped, plan=plan, progress=kept["progress"])
    assert kept["progress"].step_number == last_step
    torch.testing.assert_close(weights_of(stopped), weights_of(whole), rtol=0, atol=0)
    assert resumed.loss_curve == expected.loss_curve


class Plateau:
    """An objective whose loss falls in the first epochs only."""

    dtype = torch.float32
    n_steps = 4

    def __init__(self, model: TransferModel, losses: list[float]) -> None:
        self.model, self.losses, self.n_done = model, losses, 0

    def epoch(self, rng):
        self.n_done += 1
        return iter(range(self.n_steps))

    def state(self):
        return []

    def gradient(self, step, token_budget, rng):
        weights = self.model.head.linear.weight
        weights.grad = torch.zeros_like(weights)
        loss = self.losses[min(self.n_done, len(self.losses)) - 1]
        return StepLoss(torch.tensor(loss), 1)

    def sample_loss(self, step, rng):
        return torch.tensor(0.0)


@pytest.mark.parametrize(
    ("changes", "n_epochs"),
    [
        ({}, 8),
        ({"schedule": "linear"}, 12),
        ({"n_epochs": 3}, 3),
        ({"gradual_unfreezing": True}, 12),
    ],
)
def test_an_adaptive_training_ends_when_the_loss_has_stopped_falling(
    changes, n_epochs, monkeypatch
) -> None:
    model = toy_model()
    plan = replace(FIT, n_epochs=12, schedule="adaptive", warmup_fraction=0.0)
    objective = Plateau(model, [3.0, 2.0, 1.0, 1.0])
    rates: list[float] = []
    monkeypatch.setattr(Optimizer, "set_rates", lambda self, factor: rates.append(factor))
    result = train(
        model,
        objective,
        replace(plan, **changes),
        device=CPU,
        rng=np.random.default_rng(0),
        on_epoch_end=lambda epoch, loss: False,
    )
    assert len(result.loss_curve) == n_epochs
    assert len(rates) == 4 * n_epochs
    assert rates[-1] == pytest.approx(rates[-2] / 2), "to zero after the last step"
