from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from sktransfer.fitting.context import FitParameters
from tests.toys import ToyEncoder


class Deep(ToyEncoder):
    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.n_layers = n_layers

    def layers(self) -> list[nn.Module]:
        return [nn.Identity() for _ in range(self.n_layers)]


@pytest.mark.parametrize(
    ("n_rows", "n_layers", "changes", "trained"),
    [
        (64, 6, {}, None),
        (65, 6, {}, 4),
        (10_000, 12, {}, 8),
        (10_000, 1, {}, 1),
        (10_000, 3, {}, 2),
        (10_000, 6, {"gradual_unfreezing": True}, None),
        (10_000, 6, {"trainable_layers": None}, None),
        (10_000, 6, {"trainable_layers": 0}, 0),
        (10, 6, {"trainable_layers": "all"}, "all"),
    ],
)
def test_few_rows_train_all_layers_and_more_the_upper_ones(
    n_rows: int, n_layers: int, changes: dict[str, Any], trained: int | str | None
) -> None:
    parameters = FitParameters(**{"trainable_layers": "auto", **changes})
    assert parameters.plan(n_rows, Deep(n_layers)).trainable_layers == trained


@pytest.mark.parametrize(
    ("n_rows", "n_epochs"), [(2, 24), (64, 24), (320, 6), (960, 3), (10_000, 3)]
)
def test_few_rows_have_more_epochs(n_rows: int, n_epochs: int) -> None:
    assert FitParameters().plan(n_rows, Deep(2)).n_epochs == n_epochs


def test_a_probe_alone_has_no_epochs() -> None:
    assert FitParameters(trainable_layers="auto").plan(10, Deep(0)).n_epochs == 0
