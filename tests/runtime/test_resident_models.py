"""Copies on a device; another part of the CPU's memory plays the device here."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from sktransfer.nn import own_weights
from sktransfer.runtime import DeviceMemory
from sktransfer.runtime import resident_models as resident_models_module

DEVICE = torch.device("cpu")


@pytest.fixture(autouse=True)
def a_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resident_models_module, "_is_host", lambda device: False)
    monkeypatch.setattr(resident_models_module, "_default_budget", lambda device: 1_000_000)
    return


def network(size: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, size), nn.BatchNorm1d(size), nn.Linear(size, size))


def sharing(module: nn.Module) -> nn.Module:
    """A module of its own over the weights of another one."""
    other = network()
    for mine, theirs in zip(other.parameters(), module.parameters(), strict=True):
        mine.data = theirs.data
    return other


def n_bytes(module: nn.Module) -> int:
    return sum(part.nbytes for part in module.parameters())


def test_a_copy_is_found_again() -> None:
    memory, module = DeviceMemory(), network()
    copy = memory.on(module, DEVICE)
    assert copy is not module
    assert not copy.training
    assert memory.on(module, DEVICE) is copy
    for mine, theirs in zip(copy.parameters(), module.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() != theirs.data_ptr()


def test_it_goes_with_its_module() -> None:
    memory, module = DeviceMemory(), network()
    memory.on(module, DEVICE)
    assert [kind for kind, _, _ in memory.contents()] == ["Sequential"]
    del module
    gc.collect()
    assert memory.contents() == []


def test_changed_weights_are_copied_anew() -> None:
    memory, module = DeviceMemory(), network()
    first = memory.on(module, DEVICE)
    with torch.no_grad():
        module[0].weight.add_(1.0)
    second = memory.on(module, DEVICE)
    assert second is not first
    assert torch.equal(second[0].weight, module[0].weight)
    module[2].bias = nn.Parameter(torch.ones(8))
    assert torch.equal(memory.on(module, DEVICE)[2].bias, torch.ones(8))


def test_shared_weights_are_there_once() -> None:
    memory, module = DeviceMemory(), network()
    others = [sharing(module) for _ in range(3)]
    for one in (module, *others):
        memory.on(one, DEVICE)
    assert [size for _, _, size in memory.contents()] == [n_bytes(module), 0, 0, 0]


def test_a_held_module_is_trained_there_and_comes_back() -> None:
    memory, pretrained = DeviceMemory(), network()
    memory.on(pretrained, DEVICE)
    module = sharing(pretrained)
    before = [part.detach().clone() for part in pretrained.parameters()]
    with memory.holding(module, DEVICE):
        assert module[0].weight.data_ptr() == memory.on(pretrained, DEVICE)[0].weight.data_ptr()
        own_weights([module[2].weight])
        with torch.no_grad():
            module[2].weight.mul_(2.0)
    # What did not change is shared again; what did is the module's own.
    assert module[0].weight.data_ptr() == pretrained[0].weight.data_ptr()
    assert torch.equal(module[2].weight, 2 * pretrained[2].weight)
    for mine, then in zip(pretrained.parameters(), before, strict=True):
        assert torch.equal(mine, then)
    # It is on the device already, and only what it trained takes room.
    (_, _, first), (_, _, second) = memory.contents()
    assert (first, second) == (n_bytes(pretrained), module[2].weight.nbytes)
    assert torch.equal(memory.on(module, DEVICE)[2].weight, module[2].weight)
    assert len(memory.contents()) == 2


def test_weights_written_in_place_come_back() -> None:
    memory, module = DeviceMemory(), network()
    with memory.holding(module, DEVICE), torch.no_grad():
        module[0].bias.fill_(3.0)
        module[1].running_mean.fill_(5.0)
    assert torch.equal(module[0].bias, torch.full((8,), 3.0))
    copy = memory.on(module, DEVICE)
    assert torch.equal(copy[0].bias, torch.full((8,), 3.0))
    assert torch.equal(copy[1].running_mean, torch.full((8,), 5.0))


def test_a_failed_block_leaves_the_module_usable() -> None:
    memory, module = DeviceMemory(), network()
    with pytest.raises(KeyError), memory.holding(module, DEVICE):
        raise KeyError
    assert module.eval()(torch.ones(2, 8)).shape == (2, 8)
    assert memory.contents() == []


def test_the_least_recently_used_go_first() -> None:
    modules = [network() for _ in range(3)]
    memory = DeviceMemory(budget=2 * n_bytes(modules[0]))
    copies = [memory.on(module, DEVICE) for module in modules[:2]]
    assert memory.on(modules[0], DEVICE) is copies[0]
    memory.on(modules[2], DEVICE)
    assert memory.on(modules[0], DEVICE) is copies[0]
    assert len(memory.contents()) == 2
    memory.budget = 0
    assert memory.contents() == []
    # Without room, a copy lives as long as it is used.
    assert memory.on(modules[1], DEVICE)(torch.ones(2, 8)).shape == (2, 8)
    assert memory.contents() == []


def test_memory_is_made_room_in() -> None:
    memory, module = DeviceMemory(), network()
    assert not memory.make_room(DEVICE)
    memory.on(module, DEVICE)
    assert memory.make_room(DEVICE)
    assert memory.contents() == []


def test_running_out_of_memory_releases_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, first, second = DeviceMemory(), network(), network()
    memory.on(first, DEVICE)
    copy = torch.Tensor.to

    def scarce(tensor: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        if memory.contents():
            raise torch.OutOfMemoryError("CUDA out of memory (a toy)")
        return copy(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", scarce)
    assert torch.equal(memory.on(second, DEVICE)[0].weight, second[0].weight)
    assert len(memory.contents()) == 1


def test_modules_are_pickled_without_their_copies() -> None:
    memory, module = DeviceMemory(), network()
    memory.on(module, DEVICE)
    assert len(pickle.dumps(module)) == len(pickle.dumps(module))
    assert b"_Copy" not in pickle.dumps(module)


@pytest.mark.parametrize(("budget", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_budgets_are_checked(budget: object, error: type[Exception]) -> None:
    memory = DeviceMemory()
    with pytest.raises(error, match="budget"):
        memory.budget = budget  # type: ignore[assignment]
