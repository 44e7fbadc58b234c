"""One right choice among those of a row."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from sktransfer.inputs import ChoiceFormat
from sktransfer.tasks import ChoiceTask

from ..inputs.test_columns import Letters

RNG = np.random.default_rng(0)
ROWS = [("q", "a", "b", "c"), ("q", None, "b", "c"), ("q", "a", None, None), ("q", "a", None, "c")]
TARGETS = torch.tensor([[0, 0, 1], [1, 0, -1], [1, -1, -1], [0, 1, -1]])
TASK = ChoiceTask(3)


def problem(n_rows: int = 60) -> tuple[np.ndarray, torch.Tensor]:
    """Features of two to four choices a row, and the one that a noisy linear score prefers."""
    counts = RNG.integers(2, 5, n_rows)
    features = RNG.normal(size=(counts.sum(), 5))
    scores = features @ [1.0, -2.0, 0.5, 0.0, 0.0] + RNG.gumbel(size=len(features))
    targets = torch.full((n_rows, 4), -1)
    for row, part in enumerate(np.split(scores, np.cumsum(counts)[:-1])):
        targets[row, : len(part)] = torch.from_numpy(np.arange(len(part)) == part.argmax())
    return features, targets


def test_targets_are_places_among_the_choices_there_are():
    encoded = ChoiceFormat().encode(ROWS, Letters(), max_length=20)
    assert TASK.encode(np.array([2, 1, 0, 2]), encoded).tolist() == TARGETS.tolist()
    order = np.array([2, 0])
    assert TASK.encode(np.array([0, 2]), encoded.take(order)).tolist() == [[1, -1, -1], [0, 0, 1]]


def test_loss_is_the_cross_entropy_within_each_row():
    scores = torch.randn(8, 1, generator=torch.Generator().manual_seed(0), requires_grad=True)
    losses = TASK.loss(scores, torch.zeros(8, 3), TARGETS)
    parts = np.split(scores.detach().numpy()[:, 0], [3, 5, 6])
    expected = [-log_softmax(part)[i] for part, i in zip(parts, [2, 0, 0, 1], strict=True)]
    np.testing.assert_allclose(losses.detach().numpy(), expected, rtol=1e-5, atol=1e-7)
    losses.sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[5] == 0


def test_what_all_choices_share_changes_nothing():
    scores = torch.randn(8, 1, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([5.0, 5, 5, -3, -3, 9, 1, 1])[:, None]
    features = torch.zeros(8, 3)
    torch.testing.assert_close(
        TASK.loss(scores, features, TARGETS), TASK.loss(scores + shift, features, TARGETS)
    )


def test_two_choices_are_a_logistic_regression_on_their_difference():
    features = RNG.normal(size=(80, 4))
    right = RNG.integers(0, 2, 40)
    targets = torch.from_numpy(np.column_stack([1 - right, right]))
    weights = RNG.uniform(0.5, 2.0, 40)
    found = TASK.solve(features, targets, weights, C=2.0)
    difference = features[1::2] - features[::2]
    solver = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-9, max_iter=1000)
    expected = solver.fit(difference, right, sample_weight=weights)
    np.testing.assert_allclose(found.coef, expected.coef_, atol=1e-4)
    assert found.intercept.tolist() == [0.0]


def test_no_weights_are_better_than_the_solution():
    features, targets = problem()
    weights = RNG.uniform(0.5, 2.0, len(targets))

    def objective(coef: np.ndarray) -> float:
        scores = torch.from_numpy(features @ coef)[:, None]
        loss = TASK.loss(scores, torch.from_numpy(features), targets).numpy()
        return float(weights @ loss + coef @ coef / (2 * 3.0))

    best = TASK.solve(features, targets, weights, C=3.0).coef[0].astype(float)
    for step in np.vstack([np.eye(5), RNG.normal(size=(5, 5))]):
        for size in (1e-2, -1e-2, 1.0):
            assert objective(best) < objective(best + size * step)


def test_weight_two_is_the_row_twice():
    features, targets = problem()
    counts = (targets >= 0).sum(dim=1).numpy()
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    weighted = TASK.solve(features, targets, weights, C=1.0)
    twice = np.concatenate([features[: counts[:20].sum()], features])
    repeated = TASK.solve(twice, torch.cat([targets[:20], targets]), np.ones(80), C=1.0)
    np.testing.assert_allclose(weighted.coef, repeated.coef, atol=1e-4)


def test_a_row_of_one_choice_says_nothing():
    features, targets = problem()
    alone = torch.tensor([[1, -1, -1, -1]])
    found = TASK.solve(
        np.vstack([features, np.full(5, 9.0)]), torch.cat([targets, alone]), np.ones(61), C=1.0
    )
    expected = TASK.solve(features, targets, np.ones(60), C=1.0)
    np.testing.assert_allclose(found.coef, expected.coef, atol=1e-4)


def test_score_is_the_accuracy_within_rows():
    scores = np.array([[0], [0], [9], [1], [5], [-9], [3], [2]], dtype=np.float32)
    assert TASK.score(scores, TARGETS) == 0.5
    assert TASK.n_outputs == 1
