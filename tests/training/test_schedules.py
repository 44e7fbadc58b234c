from __future__ import annotations

from dataclasses import replace

import pytest

from sktransfer.training import SCHEDULES, schedule_factor, stopped_falling
from sktransfer.training.schedules import LearningRate
from tests.training.test_parameters import PLAN


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("n_steps", [1, 2, 10, 101])
def test_factor_stays_in_the_unit_interval_and_peaks_after_warmup(
    schedule: str, n_steps: int
) -> None:
    factors = [schedule_factor(schedule, step, n_steps, 0.1) for step in range(n_steps)]
    assert all(0 < factor <= 1 for factor in factors)
    peak = max(factors)
    assert peak == pytest.approx(1.0)
    rising = factors[: factors.index(peak) + 1]
    assert rising == sorted(rising)
    assert factors[len(rising) - 1 :] == sorted(factors[len(rising) - 1 :], reverse=True)


def test_slanted_triangle_of_the_paper() -> None:
    # Howard and Ruder (2018), equation 3, with T=1000, cut_frac=0.1, ratio=32.
    def paper(t: int) -> float:
        cut = 100
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / 0.1 - 1))
        return (1 + p * 31) / 32

    for t in (100, 300, 555, 999):
        assert schedule_factor("slanted_triangular", t, 1000, 0.1) == pytest.approx(paper(t))
    for t in (0, 50, 99):
        ours = schedule_factor("slanted_triangular", t, 1000, 0.1)
        assert ours == pytest.approx(paper(t + 1))


def test_linear_and_cosine_end_near_zero_and_constant_does_not() -> None:
    last = {s: schedule_factor(s, 99, 100, 0.0) for s in SCHEDULES}
    assert last["linear"] == pytest.approx(0.01)
    assert last["cosine"] < 0.001
    assert last["slanted_triangular"] == pytest.approx(1 / 32, rel=0.5)
    assert last["constant"] == 1.0
    assert schedule_factor("constant", 0, 100, 0.0) == 1.0


ADAPTIVE = replace(PLAN, n_epochs=10, schedule="adaptive", warmup_fraction=0.0)


@pytest.mark.parametrize(
    ("losses", "n_epochs"),
    [
        ([], None),
        ([1.0], None),
        ([3.0, 2.0, 1.0], None),
        ([3.0, 2.0, 1.99], 3),  # of a fall of 1.01 this is less than a hundredth
        ([3.0, 2.0, 1.98], None),
        ([3.0, 2.0, 1.99, 1.0, 0.5], 3),  # what was decided stays
        ([3.0, 2.0, 2.5], 3),
        ([1.0, 2.0], 2),
        ([1.0, 1.0], 2),
    ],
)
def test_a_loss_has_stopped_falling_when_an_epoch_adds_little(losses, n_epochs) -> None:
    assert stopped_falling(losses) == n_epochs
    shifted = [5 + 7 * loss for loss in losses]
    assert stopped_falling(shifted) == n_epochs, "whatever the unit of the loss"


def test_the_rate_falls_to_zero_from_where_it_is() -> None:
    rate = LearningRate(ADAPTIVE, 4)
    linear = [1 - step / 40 for step in range(40)]
    assert [rate.factor(step) for step in range(40)] == pytest.approx(linear)
    rate.watch([3.0, 2.0, 1.0, 0.99])
    assert rate.n_epochs == 8
    assert rate.factor(33) == 0.0, "more steps than were expected"
    steps = range(16, 32)
    assert [rate.factor(step) for step in steps] == pytest.approx(
        [linear[16] * (32 - step) / 16 for step in steps]
    )


@pytest.mark.parametrize("changes", [{"schedule": "linear"}, {"gradual_unfreezing": True}, {}])
def test_other_trainings_take_the_epochs_that_were_planned(changes) -> None:
    rate = LearningRate(replace(ADAPTIVE, **changes), 4)
    before = [rate.factor(step) for step in range(40)]
    rate.watch([3.0, 3.0] if changes else [float(-n) for n in range(6)] + [-5.01])
    assert rate.n_epochs == 10, "also if the early end would be the late one"
    assert [rate.factor(step) for step in range(40)] == before
