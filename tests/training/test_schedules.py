from __future__ import annotations

import pytest

from sktransfer.training import SCHEDULES, schedule_factor


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
