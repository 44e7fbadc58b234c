"""Which parameters train, at which rate."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from sktransfer.encoders import Encoder
from sktransfer.nn import LanguageNetwork, PretrainedState, TransferModel

# An encoder with a head on top.
TrainableModel = TransferModel | LanguageNetwork


@dataclass(frozen=True)
class TrainingPlan:
    """How a model is fine-tuned; all fields but the last are parameters of the estimators.

    `head_factor` times `learning_rate` is the rate of the head.
    """

    n_epochs: int
    batch_size: int
    learning_rate: float
    layer_decay: float
    weight_decay: float
    schedule: str
    warmup_fraction: float
    trainable_layers: int | Literal["all"] | None
    gradual_unfreezing: bool
    head_factor: float = 1.0

    def unfrozen_layers(self, epoch: int, n_layers: int) -> int:
        """Encoder layers, from the top, that train in `epoch` (from 0) of `n_layers`.

        With gradual unfreezing one more layer joins each epoch, or as many more as it takes to
        reach the deepest in the last epoch.
        """
        if isinstance(self.trainable_layers, int):
            n_layers = min(self.trainable_layers, n_layers)
        if not self.gradual_unfreezing:
            return n_layers
        layers_per_epoch = max(1, math.ceil(n_layers / self.n_epochs))
        return min(n_layers, layers_per_epoch * (epoch + 1))

    def frozen_layers(self, n_layers: int) -> list[int]:
        """How many of `n_layers`, from the bottom, are frozen in each epoch."""
        if self.trainable_layers == "all":
            return []
        unfrozen = (self.unfrozen_layers(epoch, n_layers) for epoch in range(self.n_epochs))
        return [n_layers - n for n in unfrozen]

    def pretrained_after(
        self, pretrained: PretrainedState | None, encoder: Encoder
    ) -> PretrainedState | None:
        """What is left of a model's `pretrained` by a training under this plan."""
        if pretrained is None or not self.n_epochs or self.trainable_layers == 0:
            return pretrained
        if self.trainable_layers == "all":
            return None
        n_layers = len(encoder.layers())
        n_trained = n_layers if self.trainable_layers is None else self.trainable_layers
        depth = min(pretrained.depth, max(0, n_layers - n_trained))
        return replace(pretrained, depth=depth, is_whole=pretrained.is_whole and not n_layers)


def trainable_stack(model: TrainableModel, plan: TrainingPlan) -> list[list[nn.Module]]:
    """Modules that train under `plan`, head first, then layer by layer towards the input.

    Parameters of the encoder outside its layers and embeddings (a final norm) go with the last
    layer.
    """
    encoder = model.encoder
    layers = encoder.layers()
    stack: list[list[nn.Module]] = [[model.head]]
    stack += [[layer] for layer in reversed(layers)]
    if plan.trainable_layers == "all":
        stack.append(encoder.embedding_modules())
    elif plan.trainable_layers is not None:
        stack = stack[: 1 + plan.trainable_layers]
    return stack


def freeze_all_but(model: TrainableModel, modules: list[list[nn.Module]]) -> None:
    """Let only `modules` train; the rest computes as in prediction, without dropout."""
    model.requires_grad_(False)
    model.eval()
    for group in modules:
        for module in group:
            module.requires_grad_(True)
            module.train()
    if len(modules) > 1:
        for parameter in _loose_parameters(model):
            parameter.requires_grad_(True)


def n_frozen(model: TrainableModel) -> int:
    """Lowest layers that, like the embeddings, do not train at present."""
    encoder = model.encoder
    if _trains(encoder.embedding_modules()):
        return 0
    frozen = itertools.takewhile(lambda layer: not _trains([layer]), encoder.layers())
    return sum(1 for _ in frozen)


def _trains(modules: list[nn.Module]) -> bool:
    return any(parameter.requires_grad for part in modules for parameter in part.parameters())


def parameter_groups(model: TrainableModel, plan: TrainingPlan) -> list[dict[str, Any]]:
    """Parameter groups with rates falling by ``layer_decay`` a layer below the top one.

    Discriminative fine-tuning of Howard and Ruder (2018): the top layer trains at
    ``learning_rate``, each layer below at ``layer_decay`` times the rate of the one above, the
    head at ``head_factor`` times ``learning_rate``.
    Biases and norms are not decayed. The schedule multiplies ``initial_lr``.
    """
    groups: list[dict[str, Any]] = []
    for depth, modules in enumerate(trainable_stack(model, plan)):
        parameters = [p for module in modules for p in module.parameters()]
        if depth == 1:
            parameters += _loose_parameters(model)
        factor = plan.layer_decay ** (depth - 1) if depth else plan.head_factor
        rate = plan.learning_rate * factor
        for is_matrix in (True, False):
            members = [p for p in parameters if (p.ndim > 1) is is_matrix]
            if members:
                groups.append(
                    {
                        "params": members,
                        "lr": rate,
                        "initial_lr": rate,
                        "weight_decay": plan.weight_decay if is_matrix else 0.0,
                    }
                )
    return groups


def _loose_parameters(model: TrainableModel) -> list[nn.Parameter]:
    encoder = model.encoder
    modules = [*encoder.layers(), *encoder.embedding_modules(), model.head]
    placed = {id(parameter) for module in modules for parameter in module.parameters()}
    return [p for p in encoder.parameters() if id(p) not in placed]
