from __future__ import annotations

import pytest
import torch

from sktransfer.nn import LMHead, LMHeadShape, frequency_cutoffs
from sktransfer.nn import lm_head as lm_head_module

N_TOKENS, WIDTH = 23, 6
SHAPES = {
    "plain": LMHeadShape(WIDTH, WIDTH, N_TOKENS),
    "one cluster": LMHeadShape(WIDTH, WIDTH, N_TOKENS, cutoffs=(9,)),
    "two clusters": LMHeadShape(WIDTH, WIDTH, N_TOKENS, cutoffs=(5, 12)),
    "own table": LMHeadShape(WIDTH, WIDTH, N_TOKENS, has_table=True),
    "transform": LMHeadShape(10, WIDTH, N_TOKENS, has_transform=True),
    "transform and clusters": LMHeadShape(10, WIDTH, N_TOKENS, has_transform=True, cutoffs=(5, 12)),
}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def head_of(shape: LMHeadShape) -> LMHead:
    """Head whose weights are all drawn, the biases too."""
    head = LMHead(shape)
    with torch.no_grad():
        for number, parameter in enumerate(head.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=10 + number))
    return head


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_distribution_over_all_tokens(shape: LMHeadShape) -> None:
    head, table = head_of(shape), drawn(N_TOKENS, WIDTH)
    logs = head.log_probabilities(drawn(4, shape.hidden_size, seed=1), table)
    assert logs.shape == (4, N_TOKENS)
    torch.testing.assert_close(logs.exp().sum(dim=1), torch.ones(4))
    assert logs.std(dim=1).min() > 0.1


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_losses_are_minus_the_log_probabilities(shape: LMHeadShape) -> None:
    head, table = head_of(shape), drawn(N_TOKENS, WIDTH)
    targets = torch.arange(N_TOKENS).roll(7)
    states = drawn(N_TOKENS, shape.hidden_size, seed=1)
    expected = -head.log_probabilities(states, table)[torch.arange(N_TOKENS), targets]
    torch.testing.assert_close(head.losses(states, table, targets), expected)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_reach_the_table_and_every_weight(shape: LMHeadShape) -> None:
    head, table = head_of(shape), drawn(N_TOKENS, WIDTH).requires_grad_()
    states = drawn(N_TOKENS, shape.hidden_size, seed=1).requires_grad_()
    head.losses(states, table, torch.arange(N_TOKENS)).sum().backward()
    reached = head.table if shape.has_table else table
    assert reached is not None
    assert reached.grad is not None
    assert (reached.grad.abs().sum(dim=1) > 0).all()
    assert states.grad is not None
    assert all(parameter.grad is not None for parameter in head.parameters())
    if shape.has_table:
        assert table.grad is None


def test_only_the_clusters_that_are_met_are_computed() -> None:
    head, table = head_of(SHAPES["two clusters"]), drawn(N_TOKENS, WIDTH).requires_grad_()
    head.losses(drawn(3, WIDTH), table, torch.tensor([0, 4, 6])).sum().backward()
    assert table.grad is not None
    assert (table.grad[:12].abs().sum(dim=1) > 0).all()
    assert not table.grad[12:].any()


def test_no_targets_have_no_losses() -> None:
    for shape in SHAPES.values():
        none = torch.zeros(0, dtype=torch.int64)
        losses = head_of(shape).losses(drawn(0, shape.hidden_size), drawn(N_TOKENS, WIDTH), none)
        assert losses.shape == (0,)


@pytest.mark.parametrize(
    ("n_tokens", "cutoffs"),
    [(100, ()), (6_000, ()), (6_001, (3_000,)), (24_001, (3_000, 12_000))],
)
def test_small_vocabularies_are_not_cut(n_tokens: int, cutoffs: tuple[int, ...]) -> None:
    assert frequency_cutoffs(n_tokens) == cutoffs


@pytest.mark.parametrize("name", ["plain", "own table", "transform"])
def test_parts_have_the_losses_and_gradients_of_the_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, table = head_of(SHAPES[name]), drawn(N_TOKENS, WIDTH).requires_grad_()
    states = drawn(N_TOKENS, SHAPES[name].hidden_size, seed=1).requires_grad_()
    targets = torch.arange(N_TOKENS).roll(7)
    weights = [*head.parameters(), states, *([] if SHAPES[name].has_table else [table])]

    def losses_and_gradients() -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        losses = head.losses(states, table, targets)
        return losses, torch.autograd.grad((losses * drawn(N_TOKENS, seed=3)).sum(), weights)

    whole, of_whole = losses_and_gradients()
    largest: list[int] = []
    compute = lm_head_module._losses_of_part

    def watched(part: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        largest.append(len(part))
        return compute(part, *others)

    monkeypatch.setattr(lm_head_module, "_SCORES_AT_ONCE", 5 * N_TOKENS)
    monkeypatch.setattr(lm_head_module, "_losses_of_part", watched)
    parts, of_parts = losses_and_gradients()
    assert max(largest) == 5
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(of_parts, of_whole, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(head.losses(states, table, targets), whole)


def test_parts_keep_no_scores_for_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    head, table = head_of(SHAPES["plain"]), drawn(N_TOKENS, WIDTH).requires_grad_()
    states = drawn(N_TOKENS, WIDTH, seed=1).requires_grad_()
    monkeypatch.setattr(lm_head_module, "_SCORES_AT_ONCE", 5 * N_TOKENS)
    kept: list[torch.Size] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        head.losses(states, table, torch.arange(N_TOKENS))
    assert not [shape for shape in kept if len(shape) == 2 and shape[1] == N_TOKENS]
