from __future__ import annotations

import pytest
import torch

from sktransfer.nn import POOLINGS, pool_tokens, pool_windows, pooled_size

HIDDEN = 6


def as_windows(states: torch.Tensor, cuts: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut one text's states (T, D) into padded windows; garbage fills the padding."""
    parts = torch.tensor_split(states, cuts)
    longest = max(len(part) for part in parts)
    windows = torch.full((len(parts), longest, states.shape[1]), 99.0)
    mask = torch.zeros(len(parts), longest, dtype=torch.bool)
    for number, part in enumerate(parts):
        windows[number, : len(part)] = part
        mask[number, : len(part)] = True
    return windows, mask


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cuts", [[], [3], [2, 5, 6]])
def test_windows_pool_as_the_whole_text(pooling: str, cuts: list[int]) -> None:
    states = torch.randn(9, HIDDEN, generator=torch.Generator().manual_seed(0))
    windows, mask = as_windows(states, cuts)
    vectors, counts = pool_tokens([windows, -windows], mask, pooling)
    index = torch.arange(len(windows))[None]
    features = pool_windows(vectors, counts, index, pooling)
    expected = {
        "mean": states.mean(0),
        "cls": states[0],
        "last": states[-1],
        "max": states.amax(0),
        "concat": torch.cat([states[-1], states.amax(0), states.mean(0)]),
    }[pooling]
    assert features.shape == (1, 2, pooled_size(pooling, HIDDEN))
    torch.testing.assert_close(features[0, 0], expected)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_rows_with_fewer_windows_ignore_the_filling(pooling: str) -> None:
    states = torch.randn(3, 4, HIDDEN, generator=torch.Generator().manual_seed(1))
    vectors, counts = pool_tokens([states], torch.ones(3, 4, dtype=torch.bool), pooling)
    together = pool_windows(vectors, counts, torch.tensor([[0, 1], [2, -1]]), pooling)
    alone = pool_windows(vectors, counts, torch.tensor([[2]]), pooling)
    torch.testing.assert_close(together[1:], alone)


def test_longer_windows_weigh_more_in_the_mean() -> None:
    states = torch.tensor([[[1.0], [1.0], [1.0]], [[5.0], [9.0], [9.0]]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    vectors, counts = pool_tokens([states], mask, "mean")
    assert pool_windows(vectors, counts, torch.tensor([[0, 1]]), "mean").item() == 2.0


@pytest.mark.parametrize("pooling", ["last", "concat"])
def test_the_last_state_of_a_backward_reader_is_its_first_token(pooling: str) -> None:
    states = torch.randn(2, 4, HIDDEN, generator=torch.Generator().manual_seed(2))
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    vectors, _ = pool_tokens([states], mask, pooling, n_backward=2)
    last = vectors[:, 0, 0]
    torch.testing.assert_close(last[:, :4], torch.stack([states[0, 3, :4], states[1, 1, :4]]))
    torch.testing.assert_close(last[:, 4:], states[:, 0, 4:])
    rest, _ = pool_tokens([states], mask, pooling)
    torch.testing.assert_close(vectors[:, 0, 1:], rest[:, 0, 1:])
