from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from sktransfer.inputs import check_tags
from sktransfer.tasks import ClassificationTask, TaggingTask

TAGS = check_tags([["O", "B-PER", "I-PER"], ["B-PER"], ["O", "O"]])
CLASSES = np.array(["B-PER", "I-PER", "O"])
CODES = [[2, 0, 1], [0, -1, -1], [2, 2, -1]]


@pytest.fixture
def task() -> TaggingTask:
    return TaggingTask(CLASSES, words_per_row=2.0)


def scores_of(codes: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[codes]


def test_codes_are_padded(task):
    assert task.encode(TAGS).tolist() == CODES
    with pytest.raises(ValueError, match=r"^y_val has the tag 'B-LOC' in row 1, word 1"):
        task.check(check_tags([["O"], ["O", "B-LOC"]]), name="y_val")


def test_every_word_weighs_alike(task):
    scores = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = task.loss(scores, torch.ones(6, 2), torch.tensor(CODES))
    losses = functional.cross_entropy(scores, torch.tensor([2, 0, 1, 0, 2, 2]), reduction="none")
    expected = torch.stack([losses[:3].sum(), losses[3], losses[4:].sum()]) / 2.0
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.mean(), scores)
    (expected_gradient,) = torch.autograd.grad(losses.mean(), scores)
    torch.testing.assert_close(gradient, expected_gradient)


def test_solution_is_that_of_the_words(task):
    features = np.random.default_rng(0).normal(size=(6, 4))
    found = task.solve(features, torch.tensor(CODES), np.array([1.0, 2.0, 3.0]), C=1.0)
    expected = ClassificationTask(CLASSES).solve(
        features, torch.tensor([2, 0, 1, 0, 2, 2]), np.array([1.0, 1, 1, 2, 3, 3]), C=1.0
    )
    np.testing.assert_allclose(found.coef, expected.coef)
    np.testing.assert_allclose(found.intercept, expected.intercept)


def test_score_is_of_entities_or_of_words(task):
    right = scores_of([2, 0, 1, 0, 2, 2])
    one_wrong = scores_of([2, 0, 2, 0, 2, 2])
    targets = torch.tensor(CODES)
    assert task.score(right, targets) == 1.0
    assert task.score(one_wrong, targets) == 0.5
    by_word = TaggingTask(np.array(["DET", "NOUN", "VERB"]), words_per_row=2.0)
    assert by_word.score(one_wrong, targets) == pytest.approx(5 / 6)


def test_decoded_tags_are_plain(task):
    assert task.decode(scores_of([2, 0])) == ["O", "B-PER"]
    assert type(task.decode(scores_of([2]))[0]) is str
    assert type(TaggingTask(np.array([0, 3]), 1.0).decode(np.eye(2, dtype=np.float32))[1]) is int
