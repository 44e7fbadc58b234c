"""Answers in a text: flags of units, a shared normalization, the best pair."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sktransfer.inputs import encode_passages
from sktransfer.tasks import AnswerTask

from ..toys import MarkedLetters

TASK = AnswerTask(may_abstain=True)


class Words(MarkedLetters):
    """One token a word; characters between words belong to none."""

    def encode_spans(self, texts):
        spans = [
            np.array([found.span() for found in re.finditer(r"\w+", text)]).reshape(-1, 2)
            for text in texts
        ]
        return [np.arange(len(pairs), dtype=np.int32) for pairs in spans], spans


def encoded(*contexts):
    return encode_passages([("q", context) for context in contexts], Words(), max_length=12)


@pytest.mark.parametrize(
    ("span", "flags"),
    [
        ((0, 2), [0, 3, 0, 0]),
        ((1, 2), [0, 3, 0, 0]),
        ((0, 8), [0, 1, 0, 2]),
        ((5, 8), [0, 0, 1, 2]),
        ((2, 4), [0, 0, 3, 0]),  # between two words
        ((9, 10), [0, 0, 0, 3]),  # behind the last
        ((-1, -1), [3, 0, 0, 0]),
    ],
)
def test_flags(span, flags):
    rows = encoded("ab; cd ef..", "gh", "")
    y = np.array([span, (0, 1), (0, 1)])
    assert TASK.encode(y, rows).tolist() == [flags, [0, 3, -1, -1], [3, -1, -1, -1]]


def test_characters_ahead_of_the_first_word():
    assert TASK.encode(np.array([(0, 1)]), encoded("..ab cd")).tolist() == [[0, 3, 0]]


def test_an_answer_across_windows():
    context = " ".join(["ab"] * 40)
    rows = encoded(context)
    assert len(rows.windows) > 3
    flags = TASK.encode(np.array([(30, 71)]), rows)[0]
    assert flags.shape == (41,)
    assert (int((flags == 1).nonzero()), int((flags == 2).nonzero())) == (11, 24)


def test_loss_is_the_cross_entropy_over_all_units_of_a_row():
    rng = np.random.default_rng(0)
    counts = [4, 1, 7]
    scores = torch.from_numpy(rng.normal(size=(sum(counts), 2))).requires_grad_()
    targets = torch.full((3, 7), -1, dtype=torch.int8)
    targets[0, :4] = torch.tensor([0, 1, 0, 2])
    targets[1, 0] = 3
    targets[2] = torch.tensor([0, 0, 0, 0, 3, 0, 0])
    losses = TASK.loss(scores, scores, targets)
    expected = [
        -torch.stack([row[:, 0].log_softmax(0)[i], row[:, 1].log_softmax(0)[j]]).mean()
        for row, i, j in zip(scores.split(counts), (1, 0, 4), (3, 0, 4), strict=True)
    ]
    assert_allclose(losses.detach(), torch.stack(expected).detach())
    assert losses[1] == 0
    losses.sum().backward()
    (others,) = torch.autograd.grad(torch.stack(expected).sum(), scores)
    assert_allclose(scores.grad, others, atol=1e-12)


def best_pair_by_loops(scores, most):
    pairs = [
        (scores[i, 0] + scores[j, 1], i, j)
        for i in range(1, len(scores))
        for j in range(i, min(len(scores), i + most))
    ]
    best = max(pairs)
    return (0, 0) if scores[0].sum() > best[0] else best[1:]


@pytest.mark.parametrize("n_units", [2, 3, 30, 31, 32, 90])
def test_the_best_pair(n_units):
    rng = np.random.default_rng(n_units)
    rows = [rng.normal(size=(n_units, 2)).astype(np.float32) for _ in range(20)]
    expected = [best_pair_by_loops(row, 30) for row in rows]
    assert TASK.decode(rows).tolist() == [list(pair) for pair in expected]


def test_a_row_without_tokens_has_no_answer():
    row = np.zeros((1, 2), dtype=np.float32)
    assert TASK.decode([row]).tolist() == [[0, 0]]
    assert AnswerTask(may_abstain=False).decode([row]).tolist() == [[0, 0]]


def test_an_answer_wins_where_none_was_ever_missing():
    row = np.array([[9, 9], [0, 1], [1, 0]], dtype=np.float32)
    assert TASK.decode([row]).tolist() == [[0, 0]]
    assert AnswerTask(may_abstain=False).decode([row]).tolist() == [[1, 1]]


def test_score_needs_both_ends():
    targets = torch.tensor([[0, 1, 2], [3, 0, -1]])
    right = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.float32)
    assert TASK.score(right, targets) == 1.0
    half = right.copy()
    half[1, 0] = -1
    assert TASK.score(half, targets) == 0.5


def solvable(seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(3, 8, size=20)
    targets = torch.full((20, 7), -1, dtype=torch.int8)
    features = rng.normal(size=(counts.sum(), 6))
    units = np.cumsum(counts) - counts
    for row, count in enumerate(counts):
        targets[row, :count] = 0
        targets[row, 1], targets[row, count - 1] = 1, 2
        features[units[row] + 1, 0] += 3
        features[units[row] + count - 1, 1] += 3
    return features, targets


def test_solve_minimises_the_regularized_loss():
    features, targets = solvable()
    weights = np.linspace(0.5, 2, 20)
    solution = TASK.solve(features, targets, weights, C=2.0)
    coef = torch.from_numpy(solution.coef).double().requires_grad_()
    losses = TASK.loss(torch.from_numpy(features) @ coef.T, None, targets)
    total = 2.0 * (losses * torch.from_numpy(weights)).sum() + coef.square().sum() / 2
    total.backward()
    assert coef.grad.abs().max() < 1e-2
    assert TASK.score(solution.scores(features), targets) > 0.7
    assert solution.intercept.tolist() == [0, 0]


def test_weights_count_as_copies():
    features, targets = solvable()
    weights = np.where(np.arange(20) == 3, 2.0, 1.0)
    heavy = TASK.solve(features, targets, weights, C=1.0)
    counts = (targets >= 0).sum(1).tolist()
    parts = np.split(features, np.cumsum(counts)[:-1])
    copied = np.concatenate([*parts, parts[3]])
    copies = TASK.solve(copied, torch.cat([targets, targets[3:4]]), np.ones(21), C=1.0)
    assert_allclose(heavy.coef, copies.coef, atol=1e-3)
