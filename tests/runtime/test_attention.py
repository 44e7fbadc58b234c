from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sktransfer.runtime.attention import AttentionCall, EfficientAttention

MASK = torch.tensor([[True] * 8, [True] * 5 + [False] * 3]).view(2, 1, 1, 8)


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parts(n_key_heads: int = 2) -> tuple[torch.Tensor, ...]:
    heads = (2, n_key_heads, n_key_heads)
    return tuple(drawn(2, n_heads, 8, 4, seed=seed) for seed, n_heads in enumerate(heads))


@pytest.mark.parametrize(
    "settings",
    [{}, {"attn_mask": MASK}, {"is_causal": True}, {"scale": 0.3}],
    ids=["plain", "mask", "causal", "scale"],
)
def test_the_call_is_pytorchs_and_other_devices_are_left_alone(settings) -> None:
    expected = functional.scaled_dot_product_attention(*parts(), **settings)
    assert torch.equal(AttentionCall(*parts(), **settings).by_pytorch(), expected)
    with EfficientAttention():
        found = functional.scaled_dot_product_attention(*parts(), **settings)
    assert torch.equal(found, expected)


def test_a_mask_becomes_a_bias_once_for_all_layers() -> None:
    attention = EfficientAttention()
    bias = attention._bias_of(MASK, torch.float32)
    assert attention._bias_of(MASK, torch.float32) is bias
    torch.testing.assert_close(
        AttentionCall(*parts(), bias).by_pytorch(), AttentionCall(*parts(), MASK).by_pytorch()
    )
    assert attention._bias_of(MASK.clone(), torch.bfloat16).dtype is torch.bfloat16


def test_what_the_kernels_do_not_take_is_not_plain() -> None:
    query, key, value = parts()
    trained = torch.zeros(1, 1, 8, 8, requires_grad=True)
    assert AttentionCall(query, key, value).is_plain
    assert AttentionCall(query, key, value, trained.detach()).is_plain
    assert not AttentionCall(query, key, value, trained).is_plain
    assert not AttentionCall(query[0], key[0], value[0]).is_plain
    assert not AttentionCall(*parts(n_key_heads=1), enable_gqa=True).is_plain


def test_all_parts_have_the_precision_of_autocast() -> None:
    query, key, value = parts()
    assert AttentionCall(query, key, value).autocast().query is query
    with torch.autocast("cpu", torch.bfloat16):
        call = AttentionCall(query.bfloat16(), key, value).autocast()
    assert {call.query.dtype, call.key.dtype, call.value.dtype} == {torch.bfloat16}
