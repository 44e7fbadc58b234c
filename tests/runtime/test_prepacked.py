"""Prepacked linear layers, and the copies of modules that have them."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from torch import nn
from torch.nn import functional

from sktransfer.nn import own_weights
from sktransfer.runtime import DeviceMemory
from sktransfer.runtime.prepacked import (
    MOST_ROWS,
    PrepackedLinear,
    filled_rows,
    prepackable_layers,
    rounds_alike,
)
from sktransfer.runtime.torch_private import prepack

pytestmark = pytest.mark.skipif(prepack is None, reason="no prepacked weights on this processor")


def network(size: int = 24) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, 40), nn.GELU(), nn.Linear(40, size, bias=False))


def prepacked(layer: nn.Linear) -> PrepackedLinear:
    assert prepack is not None
    return PrepackedLinear(layer, prepack(layer.weight.data))


@pytest.mark.parametrize("bias", [True, False])
def test_products_are_those_of_the_layer(bias: bool) -> None:
    layer = nn.Linear(33, 50, bias=bias)
    rows = torch.randn(3, 7, 33)
    with torch.no_grad():
        torch.testing.assert_close(prepacked(layer)(rows), layer(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_inputs", "n_outputs"), [(384, 384), (384, 1536), (1536, 384), (50, 7)])
def test_a_row_does_not_depend_on_those_beside_it(n_inputs: int, n_outputs: int) -> None:
    layer, rows = prepacked(nn.Linear(n_inputs, n_outputs)), torch.randn(300, n_inputs)
    with torch.inference_mode():
        whole = layer(rows)
        for n_rows in (1, 2, 3, 5, 11, 16, 27, 100):
            assert torch.equal(layer(rows[:n_rows]), whole[:n_rows]), n_rows


def test_a_row_does_not_depend_on_the_number_of_threads() -> None:
    layer, rows = prepacked(nn.Linear(384, 1536)), torch.randn(144, 384)
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 3, 8):
            torch.set_num_threads(n_threads)
            with torch.inference_mode():
                found.append(layer(rows))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[1], found[0])
    assert torch.equal(found[2], found[0])


def test_rows_are_filled_up_to_few_different_numbers() -> None:
    filled = [filled_rows(n_rows) for n_rows in range(1, MOST_ROWS + 1)]
    assert all(0 <= now - n_rows < max(4, n_rows / 8) for n_rows, now in enumerate(filled, 1))
    assert len(set(filled)) == 48
    assert filled[-1] == MOST_ROWS
    layer = prepacked(nn.Linear(33, 7))
    whole = layer(torch.randn(1, 1, 33).expand(2, 9, 33))
    assert whole.shape == (2, 9, 7)
    assert torch.equal(whole, whole[:1, :1].expand(2, 9, 7))


def test_other_precisions_are_left_to_pytorch() -> None:
    layer = nn.Linear(8, 8)
    rows = torch.randn(4, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prepacked(layer)(rows), layer(rows))
    with torch.no_grad():
        doubles = prepacked(layer).double()
        expected = functional.linear(rows.double(), layer.weight.double(), layer.bias.double())
        assert torch.equal(doubles(rows.double()), expected)


def test_only_plain_layers_in_float32_are_prepacked() -> None:
    class Scaled(nn.Linear):
        pass

    shared, hooked = nn.Linear(4, 4), nn.Linear(4, 4)
    hooked.register_forward_hook(lambda _layer, _rows, found: 2 * found)
    parts = [shared, hooked, Scaled(4, 4), nn.Linear(4, 4).half(), nn.Sequential(shared)]
    assert prepackable_layers(parts) == [shared]


def test_rounding_is_alike_only_if_all_matrices_are_prepacked() -> None:
    layer = prepacked(nn.Linear(4, 4))
    assert rounds_alike([nn.Embedding(5, 4), nn.Sequential(layer, nn.LayerNorm(4))])
    assert not rounds_alike([layer, nn.Linear(4, 4)])
    assert not rounds_alike([nn.LayerNorm(4)])


def test_a_copy_is_found_again_and_shares_its_parameters() -> None:
    memory, module = DeviceMemory(), network()
    copied = memory.prepacked(module, [module])
    assert memory.prepacked(module, [module]) is copied
    assert not copied.training
    assert [type(part) for part in copied] == [PrepackedLinear, nn.GELU, PrepackedLinear]
    for mine, theirs in zip(copied.parameters(), module.parameters(), strict=True):
        assert mine.data_ptr() == theirs.data_ptr()
    rows = torch.randn(5, 24)
    with torch.no_grad():
        torch.testing.assert_close(copied(rows), module(rows))
    # Of a copy, nothing is left to prepack.
    assert memory.prepacked(copied, [copied]) is copied


def test_changed_weights_are_prepacked_anew() -> None:
    memory, module = DeviceMemory(), network()
    before = memory.prepacked(module, [module])
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    module(torch.randn(5, 24)).sum().backward()
    optimizer.step()
    copied = memory.prepacked(module, [module])
    assert copied is not before
    rows = torch.randn(5, 24)
    with torch.no_grad():
        torch.testing.assert_close(copied(rows), module(rows), rtol=1e-4, atol=1e-4)


def test_prepacked_weights_are_shared_and_counted_once() -> None:
    memory, module = DeviceMemory(), network()
    other = copy.deepcopy(module)
    for mine, theirs in zip(other.parameters(), module.parameters(), strict=True):
        mine.data = theirs.data
    first, second = memory.prepacked(module, [module]), memory.prepacked(other, [other])
    assert first[0].prepacked is second[0].prepacked
    n_bytes = 4 * 2 * 24 * 40  # biases are those of the module
    assert [size for _, _, size in memory.contents()] == [n_bytes, 0]
    own_weights([other[2].weight])
    assert memory.prepacked(other, [other])[2].prepacked is not first[2].prepacked
    assert memory.prepacked(other, [other])[0].prepacked is first[0].prepacked
    del module, other
    gc.collect()
    assert memory.contents() == []


def test_without_room_the_module_itself_is_used() -> None:
    module = network()
    assert DeviceMemory(budget=100).prepacked(module, [module]) is module


def test_a_copy_made_in_inference_mode_serves_other_passes() -> None:
    memory, module = DeviceMemory(), network()
    with torch.inference_mode():
        copied = memory.prepacked(module, [module])
    rows = torch.randn(5, 24, requires_grad=True)
    with torch.no_grad():
        found = copied(rows)
    assert not found.is_inference()
