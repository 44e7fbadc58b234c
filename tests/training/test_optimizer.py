from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from sktransfer import TransferTextClassifier
from sktransfer.encoders import resolve_encoder
from sktransfer.runtime import device as device_module
from sktransfer.runtime import resolve_precision
from sktransfer.training import loop as loop_module
from sktransfer.training import rows as rows_module
from sktransfer.training.optimizer import Optimizer, WorkingWeights
from tests.toys import toy_model
from tests.training.test_parameters import PLAN

TEXTS = [f"water for the father and the mother {n}" for n in range(16)]


@pytest.fixture
def encoder(tiny_encoder):
    return resolve_encoder(tiny_encoder).load()[0]


def gradients(encoder, weights) -> dict[str, torch.Tensor]:
    ids = torch.arange(24).view(3, 8)
    with torch.autocast("cpu", torch.bfloat16), weights.in_place():
        encoder(ids, torch.ones_like(ids))[0].float().pow(2).mean().backward()
    found = {name: part.grad.clone() for name, part in encoder.named_parameters()}
    encoder.zero_grad()
    return found


def test_weights_are_cast_once_and_gradients_are_the_same(encoder) -> None:
    alone = gradients(encoder, WorkingWeights(encoder, torch.float32))
    working = WorkingWeights(encoder, torch.bfloat16)
    for _ in range(2):
        found = gradients(encoder, working)
        assert found.keys() == alone.keys()
        for name, gradient in found.items():
            assert gradient.dtype is torch.float32
            assert torch.equal(gradient, alone[name]), name


def test_the_encoder_keeps_its_own_weights(encoder) -> None:
    before = list(encoder.parameters())
    working = WorkingWeights(encoder, torch.bfloat16)

    def fail() -> None:
        assert torch.bfloat16 in {part.dtype for part in encoder.parameters()}
        raise KeyError

    with pytest.raises(KeyError), working.in_place():
        fail()
    assert [id(part) for part in encoder.parameters()] == [id(part) for part in before]


def test_a_pass_that_fails_leaves_no_gradient(encoder) -> None:
    alone = gradients(encoder, WorkingWeights(encoder, torch.float32))
    working = WorkingWeights(encoder, torch.bfloat16)
    ids = torch.arange(24).view(3, 8)

    def fail() -> None:
        encoder(ids, torch.ones_like(ids))[0].float().sum().backward()
        raise MemoryError

    with pytest.raises(MemoryError), torch.autocast("cpu", torch.bfloat16), working.in_place():
        fail()
    encoder.zero_grad()
    for name, gradient in gradients(encoder, working).items():
        assert torch.equal(gradient, alone[name]), name


def test_frozen_layers_get_no_gradient(encoder) -> None:
    encoder.layers()[0].requires_grad_(False)
    working = WorkingWeights(encoder, torch.bfloat16)
    ids = torch.arange(24).view(3, 8)
    with torch.autocast("cpu", torch.bfloat16), working.in_place():
        encoder(ids, torch.ones_like(ids))[0].float().sum().backward()
    assert all(part.grad is None for part in encoder.layers()[0].parameters())
    assert all(part.grad is not None for part in encoder.layers()[1].parameters())


def test_a_step_of_a_small_transformer_is_few_operators(minilm, monkeypatch) -> None:
    cpu = torch.device("cpu")
    # The instructions are needed, not their speed.
    monkeypatch.setattr(device_module, "_is_intel", lambda: False)
    if resolve_precision("auto", cpu, training=True) is not torch.bfloat16:
        pytest.skip("without bfloat16 instructions, PyTorch takes its products apart")
    whole, found = loop_module._Run._step, []

    def step(run, *args):
        if run.step_number != 2:
            return whole(run, *args)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            loss = whole(run, *args)
        found.append(Counter(event.name for event in profiled.events()))
        return loss

    monkeypatch.setattr(loop_module._Run, "_step", step)
    monkeypatch.setattr(rows_module, "sequence_multiple", lambda *place: None)  # as on a GPU
    TransferTextClassifier(
        minilm, precision="bfloat16", max_epochs=3, batch_size=16, label_texts=None, random_state=0
    ).fit(TEXTS, [n % 4 for n in range(16)])
    (counts,) = found
    n_operators = sum(count for name, count in counts.items() if name.startswith("aten::"))
    # 6,376 when each use of a weight cast it.
    assert n_operators < 6_050


def test_a_step_tells_those_who_keep_copies_of_the_weights(encoder) -> None:
    model = toy_model(encoder)
    optimizer = Optimizer(model, PLAN, torch.device("cpu"))
    before = {name: (part._version, part.clone()) for name, part in model.named_parameters()}
    trained = set(optimizer.parameters)
    for part in trained:
        part.grad = torch.ones_like(part)
    optimizer.step()
    assert trained
    for name, part in model.named_parameters():
        version, values = before[name]
        assert torch.equal(part, values) == (part not in trained)
        assert (part._version > version) == (part in trained), name
