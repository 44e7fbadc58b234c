from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from sktransfer.estimators.targets import ClassTargets
from sktransfer.tasks import ClassificationTask
from sktransfer.tasks.classification import pair_loss, supervised_contrast

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
LABELS = np.array(["a", "b", "c"])[(X[:, :3] + RNG.normal(size=(60, 3))).argmax(axis=1)]


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"]])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix])
def test_solution_has_the_probabilities_of_logistic_regression(classes, convert) -> None:
    kept = np.isin(LABELS, classes)
    features, y = convert(X[kept]), LABELS[kept]
    task = ClassificationTask(np.array(classes))
    weights = task.solve(features, task.encode(y), np.ones(len(y)), C=2.0)
    expected = LogisticRegression(C=2.0, tol=1e-8, max_iter=1000).fit(features, y)
    np.testing.assert_allclose(
        softmax(weights.scores(features), axis=1), expected.predict_proba(features), atol=1e-4
    )


def test_weight_two_is_the_row_twice() -> None:
    task = ClassificationTask(np.array(["a", "b", "c"]))
    row_weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    weighted = task.solve(X, task.encode(LABELS), row_weights, C=1.0)
    twice = np.concatenate([X[:20], X]), np.concatenate([LABELS[:20], LABELS])
    repeated = task.solve(twice[0], task.encode(twice[1]), np.ones(80), C=1.0)
    np.testing.assert_allclose(weighted.coef, repeated.coef, atol=1e-5)


def test_classes_without_rows_are_possible_but_never_preferred() -> None:
    task = ClassificationTask(np.array(["a", "b", "c", "d"]))
    weights = task.solve(X, task.encode(LABELS), np.ones(60), C=1.0)
    scores = weights.scores(np.zeros((1, 5)))
    assert scores.argmin() == 3
    assert softmax(scores)[0, 3] > 0.001
    one = task.solve(X, torch.zeros(60, dtype=torch.int64), np.ones(60), C=1.0)
    assert one.scores(X).argmax(axis=1).tolist() == [0] * 60


def test_labels_outside_of_the_classes_are_named() -> None:
    task = ClassificationTask(np.array([1, 3]))
    assert task.encode(np.array([3, 1])).tolist() == [1, 0]
    for label in (0, 2, 9):
        with pytest.raises(ValueError, match=rf"^y_val has the label {label} in row 1"):
            task.check(np.array([3, label]), name="y_val")
    task.check(np.array([3.0, 1.0]))


def test_labels_of_another_kind_are_none_of_the_classes() -> None:
    with pytest.raises(ValueError, match="has the label '1' in row 0"):
        ClassificationTask(np.array([0, 1])).check(np.array(["1", "0"]))
    with pytest.raises(ValueError, match="has the label 1 in row 0"):
        ClassificationTask(np.array(["0", "1"])).check(np.array([1, 0]))
    with pytest.raises(ValueError, match="y_val has 2 columns, but the task has one label"):
        ClassificationTask(np.array([0, 1])).check(np.array([[1, 0]]), name="y_val")


def test_loss_and_score() -> None:
    task = ClassificationTask(np.array(["a", "b"]))
    scores = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    targets = torch.tensor([0, 1])
    loss = task.loss(scores, torch.ones(2, 3), targets)
    assert loss[0].item() == pytest.approx(np.log1p(np.exp(-2)))
    assert loss[1].item() == pytest.approx(np.log(2))
    assert task.score(scores.numpy(), targets) == 0.5


def test_pair_loss_is_the_error_of_the_cosines() -> None:
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    codes = [0, 1, 0, 2, 1, 0]
    unit = features / features.norm(dim=1, keepdim=True)
    within, between = [], []
    for i in range(6):
        for j in range(6):
            if i == j:
                continue
            cosine = float(unit[i] @ unit[j])
            if codes[i] == codes[j]:
                within.append((cosine - 1) ** 2)
            else:
                between.append(cosine**2)
    expected = 2 * (np.mean(within) + np.mean(between))
    found = pair_loss(features, torch.tensor(codes)).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_contrast_is_the_formula_of_the_paper() -> None:
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 0, 0, 2])
    found = supervised_contrast(features, targets)
    z = torch.nn.functional.normalize(features, dim=1).numpy().astype(float)
    for i in range(5):
        others = [j for j in range(5) if j != i]
        total = sum(np.exp(z[i] @ z[j] / 0.1) for j in others)
        friends = [j for j in others if targets[j] == targets[i]]
        logs = [np.log(np.exp(z[i] @ z[j] / 0.1) / total) for j in friends]
        assert found[i].item() == pytest.approx(-np.mean(logs) if logs else 0.0, abs=1e-5)


@pytest.mark.parametrize("contrast", [pair_loss, supervised_contrast])
def test_contrast_of_one_row_or_one_class_has_a_finite_gradient(contrast) -> None:
    for targets in ([0], [0, 0], [0, 1]):
        features = torch.randn(len(targets), 3, requires_grad=True)
        contrast(features, torch.tensor(targets)).sum().backward()
        assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize(
    ("compares_pairs", "contrast"), [(True, pair_loss), (False, supervised_contrast)]
)
def test_contrast_adds_to_the_loss(compares_pairs, contrast) -> None:
    classes = np.array(["a", "b"])
    batch = torch.zeros(4, 2), torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    plain = ClassificationTask(classes).loss(*batch)
    task = ClassificationTask(classes, contrastive_weight=2.0, compares_pairs=compares_pairs)
    torch.testing.assert_close(task.loss(*batch) - plain, 2 * contrast(*batch[1:]))


def test_few_rows_per_class_are_compared_in_pairs() -> None:
    classes = np.array(["a", "b"])
    few, more = (ClassTargets().task_of(classes, n_rows) for n_rows in (32, 64))
    assert (few.compares_pairs, few.contrastive_weight) == (True, 1.0)
    assert (more.compares_pairs, more.contrastive_weight) == (False, 0.5)
    told = ClassTargets().with_label_texts(few, {"a": "a text"})
    assert (told.compares_pairs, told.contrastive_weight) == (False, 1.0)
    assert ClassTargets().with_label_texts(few, {}) is few
