from __future__ import annotations

import pytest
import torch

from sktransfer.runtime import Graphs
from sktransfer.runtime.graphs import _HostSyncError, _NoHostSync


class Numbers:
    """Inputs of one tensor."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    @property
    def n_tokens(self) -> int:
        return self.values.numel()

    def tensors(self) -> list[torch.Tensor]:
        return [self.values]

    def shape(self) -> torch.Size:
        return self.values.shape

    def to(self, device: torch.device) -> Numbers:
        return Numbers(self.values.to(device))


def test_other_devices_compute_as_usual() -> None:
    seen = []

    def compute(numbers: Numbers) -> list[torch.Tensor]:
        seen.append(numbers.values.sum().item())
        return [numbers.values * 2]

    graphs = Graphs(torch.device("cpu"), compute)
    for value in range(4):
        (found,) = graphs(Numbers(torch.full((3,), float(value))))
        assert found.tolist() == [2.0 * value] * 3
    assert seen == [0.0, 3.0, 6.0, 9.0]


@pytest.mark.parametrize(
    "read",
    [
        lambda values: values.sum().item(),
        lambda values: bool((values > 0).all()),
        lambda values: values[values > 0],
        lambda values: values.nonzero(),
        lambda values: torch.where(values > 0),
        lambda values: values.masked_select(values > 0),
        lambda values: values.unique(),
        lambda values: values.to("meta"),
        lambda values: torch.equal(values, values),
    ],
)
def test_reads_of_values_are_noticed(read) -> None:
    with _NoHostSync(), pytest.raises(_HostSyncError):
        read(torch.arange(4.0))


def test_computing_is_not_a_read() -> None:
    values = torch.arange(6.0, requires_grad=True)
    with _NoHostSync():
        chosen = values.view(2, 3)[torch.tensor([1, 0])].softmax(1)
        torch.where(chosen > 0.1, chosen, torch.zeros_like(chosen)).to(
            torch.float64
        ).sum().backward()
    assert values.grad is not None


def test_a_read_in_a_backward_pass_is_noticed() -> None:
    class Curious(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            return values * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * gradient.sum().item()

    values = torch.ones(3, requires_grad=True)
    with _NoHostSync(), pytest.raises(RuntimeError):
        Curious.apply(values).sum().backward()
