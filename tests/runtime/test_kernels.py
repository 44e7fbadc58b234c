"""Dropout and attention for training on a CPU, beside PyTorch's own."""

from __future__ import annotations

import contextlib
import threading

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sktransfer.runtime import autocast, set_cpu_kernels
from sktransfer.runtime import kernels as kernels_module
from sktransfer.runtime.kernels import CPUTraining

MASKS = {
    "none": None,
    "bool": torch.arange(5) < torch.tensor([3, 5])[:, None, None, None],
    "float": torch.zeros(2, 1, 5, 5).index_fill(3, torch.tensor([4]), -torch.inf),
    "shared": torch.ones(5, 5, dtype=torch.bool).tril(),
}


def heads(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(3, 2, 3, 5, 4, generator=generator, dtype=torch.float64)
    return [part.to(dtype).requires_grad_() for part in drawn]


@pytest.fixture(params=[1, 2**18], ids=["window by window", "at once"])
def _scores_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_module, "_SCORES_AT_ONCE", request.param)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.usefixtures("_scores_at_once")
def test_attention_and_its_gradient_are_those_of_pytorch(mask: str, scale: float | None) -> None:
    found = []
    for mode in (CPUTraining, contextlib.nullcontext):
        query, key, value = heads()
        with mode():
            attended = functional.scaled_dot_product_attention(
                query,
                key,
                value,
                MASKS[mask],
                scale=scale,
            )
        attended.cos().sum().backward()
        found.append([attended, query.grad, key.grad, value.grad])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("_scores_at_once")
def test_causal_attention_sees_nothing_later() -> None:
    query, key, value = heads()
    with CPUTraining():
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    expected = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.usefixtures("_scores_at_once")
def test_gradient_of_attention_with_dropout(mask: str) -> None:
    def attend(*parts: Tensor) -> Tensor:
        torch.manual_seed(3)
        with CPUTraining():
            return functional.scaled_dot_product_attention(*parts, MASKS[mask], dropout_p=0.4)

    with torch.random.fork_rng(devices=[]):
        assert torch.autograd.gradcheck(attend, heads(), eps=1e-5, atol=1e-5)


def test_dropout_of_attention_keeps_the_mean() -> None:
    query, key, value = heads()
    with torch.random.fork_rng(devices=[]), CPUTraining(), torch.no_grad():
        torch.manual_seed(0)
        several = [part.repeat(4000, 1, 1, 1) for part in (query, key, value)]
        found = functional.scaled_dot_product_attention(*several, dropout_p=0.3)
        expected = functional.scaled_dot_product_attention(query, key, value)
        found = found.view(4000, *expected.shape)
    assert found.std(dim=0).min() > 0.05
    torch.testing.assert_close(found.mean(dim=0), expected, atol=0.1, rtol=0)


def test_a_token_that_sees_nothing_does_no_harm() -> None:
    query, key, value = heads(torch.bfloat16)
    with CPUTraining():
        found = functional.scaled_dot_product_attention(
            query, key, value, torch.zeros(5, 5, dtype=torch.bool)
        )
    found.sum().backward()
    assert all(part.isfinite().all() for part in (found, query.grad, key.grad, value.grad))


def test_attention_in_bfloat16() -> None:
    query, key, value = heads(torch.bfloat16)
    with CPUTraining():
        found = functional.scaled_dot_product_attention(query, key, value)
    assert found.dtype is torch.bfloat16
    expected = functional.scaled_dot_product_attention(*heads(torch.float32))
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_the_share(p: float, dtype: torch.dtype) -> None:
    values = torch.ones(501, 401, dtype=dtype, requires_grad=True)
    with torch.random.fork_rng(devices=[]), CPUTraining():
        torch.manual_seed(0)
        dropped = functional.dropout(values, p)
        again = functional.dropout(values, p)
    dropped.sum().backward()
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert dropped.max().item() == pytest.approx(1 / (1 - p), rel=0.01)
    assert not torch.equal(dropped, again)
    torch.testing.assert_close(values.grad, dropped.detach())
    columns = (dropped == 0).float().mean(dim=0)
    assert columns.std().item() == pytest.approx((p * (1 - p) / 501) ** 0.5, rel=0.15)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_all_or_nothing_is_left_to_pytorch(p: float) -> None:
    values = torch.ones(7)
    with CPUTraining():
        assert functional.dropout(values, p).sum() == 7 * (1 - p)
        assert functional.dropout(values, 0.5, training=False) is values


def test_dropout_follows_the_seed() -> None:
    values = torch.ones(100)
    found = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]), CPUTraining():
            torch.manual_seed(5)
            found.append(functional.dropout(values, 0.5))
    assert torch.equal(*found)


def test_other_threads_keep_the_dropout_they_had() -> None:
    def with_seed() -> Tensor:
        torch.manual_seed(1)
        return functional.dropout(torch.ones(1000), 0.5)

    found: list[Tensor] = []
    with torch.random.fork_rng(devices=[]):
        expected = with_seed()
        with autocast(torch.device("cpu"), torch.bfloat16, training=True):
            assert not torch.equal(with_seed(), expected)
            thread = threading.Thread(target=lambda: found.append(with_seed()))
            thread.start()
            thread.join()
    assert torch.equal(found[0], expected)


def test_only_training_replaces_anything() -> None:
    device = torch.device("cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        expected = functional.dropout(torch.ones(1000), 0.5)
        torch.manual_seed(1)
        with autocast(device, torch.float32, training=False):
            assert torch.equal(functional.dropout(torch.ones(1000), 0.5), expected)


def test_attention_of_other_shapes_is_left_to_pytorch() -> None:
    query, key, value = heads()
    wide = torch.cat([value, value], dim=-1)
    expected = functional.scaled_dot_product_attention(query, key[:1], wide[:1])
    with CPUTraining():
        found = functional.scaled_dot_product_attention(query, key[:1], wide[:1])
    assert torch.equal(found, expected)


def test_a_bias_that_trains_has_its_gradient() -> None:
    found = []
    for mode in (CPUTraining, contextlib.nullcontext):
        bias = torch.linspace(-1, 1, 25).view(5, 5).double().requires_grad_()
        with mode():
            attended = functional.scaled_dot_product_attention(*heads(), bias)
        attended.cos().sum().backward()
        found.append(bias.grad)
    assert found[0] is not None
    torch.testing.assert_close(*found)


def test_autocast_brings_attention_to_one_precision() -> None:
    query, key, _ = heads(torch.float32)
    value = heads(torch.bfloat16)[2]
    with autocast(torch.device("cpu"), torch.bfloat16, training=True):
        found = functional.scaled_dot_product_attention(query, key, value)
    found.sum().backward()
    assert found.dtype is torch.bfloat16
    assert query.grad is not None
    assert query.grad.dtype is torch.float32


def test_the_switch_gives_pytorchs_own_draws() -> None:
    values, cpu = torch.ones(64), torch.device("cpu")

    def dropped() -> Tensor:
        with torch.random.fork_rng(devices=[]), autocast(cpu, torch.float32, training=True):
            torch.manual_seed(0)
            return functional.dropout(values, 0.5)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = functional.dropout(values, 0.5)
    assert set_cpu_kernels(False)
    try:
        assert torch.equal(dropped(), expected)
    finally:
        assert not set_cpu_kernels(True)
    assert not torch.equal(dropped(), expected)
    with pytest.raises(TypeError, match="enabled must be a bool"):
        set_cpu_kernels(0)
