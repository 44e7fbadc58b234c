from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sktransfer.training import TrainingPlan, parameter_groups
from sktransfer.training.parameters import freeze_all_but, trainable_stack
from tests.toys import ToyEncoder, toy_model

PLAN = TrainingPlan(
    n_epochs=6,
    batch_size=4,
    learning_rate=1.0,
    layer_decay=0.5,
    weight_decay=0.1,
    schedule="linear",
    warmup_fraction=0.1,
    trainable_layers=None,
    gradual_unfreezing=False,
)


def rates(plan: TrainingPlan) -> dict[str, float]:
    model = toy_model(ToyEncoder(n_layers=3))
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: group["lr"]
        for group in parameter_groups(model, plan)
        for p in group["params"]
    }


def test_rates_decay_from_the_top_and_embeddings_rest() -> None:
    found = rates(PLAN)
    assert found["head.linear.weight"] == 1.0
    assert found["encoder.blocks.2.0.weight"] == 1.0
    assert found["encoder.norm.weight"] == 1.0
    assert found["encoder.blocks.1.0.bias"] == 0.5
    assert found["encoder.blocks.0.0.weight"] == 0.25
    assert "encoder.embeddings.weight" not in found


@pytest.mark.parametrize(
    ("trainable_layers", "n_blocks", "embeddings"),
    [(0, 0, False), (1, 1, False), (99, 3, False), (None, 3, False), ("all", 3, True)],
)
def test_trainable_layers(trainable_layers: object, n_blocks: int, embeddings: bool) -> None:
    found = rates(replace(PLAN, trainable_layers=trainable_layers))  # type: ignore[arg-type]
    assert sum(name.endswith("0.weight") for name in found if "blocks" in name) == n_blocks
    assert ("encoder.embeddings.weight" in found) is embeddings
    assert ("encoder.norm.weight" in found) is (n_blocks > 0)
    if embeddings:
        assert found["encoder.embeddings.weight"] == 0.125


def test_only_matrices_decay() -> None:
    for group in parameter_groups(toy_model(), PLAN):
        decayed = group["weight_decay"] > 0
        assert all((p.ndim > 1) is decayed for p in group["params"])


@pytest.mark.parametrize(
    ("n_epochs", "expected"),
    [(6, [1, 2, 3, 3, 3, 3]), (3, [1, 2, 3]), (2, [2, 3]), (1, [3])],
)
def test_gradual_unfreezing_reaches_every_layer(n_epochs: int, expected: list[int]) -> None:
    plan = replace(PLAN, n_epochs=n_epochs, gradual_unfreezing=True)
    assert [plan.unfrozen_layers(epoch, 3) for epoch in range(n_epochs)] == expected


def test_frozen_layers_compute_as_in_prediction() -> None:
    model = toy_model(ToyEncoder(dropout=0.5))
    plan = replace(PLAN, trainable_layers=1)
    freeze_all_but(model, trainable_stack(model, plan))
    blocks = list(model.encoder.blocks)
    assert [block.training for block in blocks] == [False, False, True]
    assert [blocks[i][0].weight.requires_grad for i in range(3)] == [False, False, True]
    assert model.encoder.norm.weight.requires_grad
    assert not model.encoder.embeddings.weight.requires_grad
    states = model.encoder(torch.tensor([[1, 2]]), torch.ones(1, 2))[0]
    assert states.requires_grad


def test_the_head_may_learn_faster() -> None:
    found = rates(replace(PLAN, head_factor=10.0))
    assert found["head.linear.weight"] == 10.0
    assert found["encoder.blocks.2.0.weight"] == 1.0
