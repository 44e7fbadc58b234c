"""The optimizer of a training run, and its copies of weights in lower precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from sktransfer.nn import Encoder, own_weights
from sktransfer.runtime.torch_private import copy_all
from sktransfer.training.parameters import TrainableModel, TrainingPlan, parameter_groups

_MAX_GRADIENT_NORM = 1.0


class Optimizer:
    """AdamW over the trainable parameters of a model, with the gradient clipped.

    Parameters
    ----------
    model : TrainableModel
        Lies on `device`; its trainable parameters get storage of their own.
    plan : TrainingPlan
        Layers and rates.
    device : torch.device
        On a GPU, rates are kept there, where a captured step can read them.
    """

    def __init__(self, model: TrainableModel, plan: TrainingPlan, device: torch.device) -> None:
        groups = parameter_groups(model, plan)
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
        own_weights(self.parameters)
        is_cuda = device.type == "cuda"
        self._adamw = torch.optim.AdamW(groups, fused=True, capturable=is_cuda)
        self._rates: Tensor | None = None
        if is_cuda:
            initial = [group["initial_lr"] for group in groups]
            self._initial_rates = torch.tensor(initial, device=device)
            self._rates = self._initial_rates.clone()
            self._share_rates(self._rates)

    def set_rates(self, factor: float) -> None:
        """Let each group train at `factor` times its initial rate."""
        if self._rates is not None:
            torch.mul(self._initial_rates, factor, out=self._rates)
            return
        for group in self._adamw.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def step(self) -> None:
        """Update the parameters and clear their gradients."""
        nn.utils.clip_grad_norm_(self.parameters, _MAX_GRADIENT_NORM)
        self._adamw.step()
        # The fused step leaves it out, and copies of the weights would pass for the weights.
        increment_version(self.parameters)
        self.clear()

    def clear(self) -> None:
        """Forget the gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """What `load` takes, its rates as numbers."""
        state = self._adamw.state_dict()
        for group in state["param_groups"]:
            group["lr"] = float(group["lr"])
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._adamw.load_state_dict(state)
        for group in self._adamw.param_groups:
            group["capturable"] = self._rates is not None
        if self._rates is not None:
            self._share_rates(self._rates)

    def _share_rates(self, rates: Tensor) -> None:
        for group, rate in zip(self._adamw.param_groups, rates, strict=True):
            group["lr"] = rate


class WorkingWeights:
    """Copies of an encoder's linear weights in the dtype of the matrix products.

    Each step casts all of them together, and their gradients back to float32; autocast would cast
    one after the other. The optimizer updates the master weights, in float32 (Micikevicius et al.
    2018, arXiv:1710.03740).

    Parameters
    ----------
    encoder : Encoder
        Lies on its device.
    dtype : torch.dtype
        Of the products; in float32 there is nothing to cast.
    """

    def __init__(self, encoder: Encoder, dtype: torch.dtype) -> None:
        self._places: list[tuple[nn.Linear, str, nn.Parameter]] = []
        self._copies: dict[nn.Parameter, nn.Parameter] = {}  # by their masters
        self._gradients: dict[nn.Parameter, Tensor] = {}
        if dtype is torch.float32:
            return
        linears = [part for layer in encoder.layers() for part in layer.modules()]
        for linear in dict.fromkeys(part for part in linears if isinstance(part, nn.Linear)):
            for name, master in linear.named_parameters(recurse=False):
                if master not in self._copies:
                    self._copies[master] = nn.Parameter(master.detach().to(dtype))
                self._places.append((linear, name, master))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the copies in the block; add their gradients to the masters' at its end."""
        trained = {master: copy for master, copy in self._copies.items() if master.requires_grad}
        if trained:
            with torch.no_grad():
                copy_all([*trained.values()], [*trained])
        for master, copy in self._copies.items():
            copy.grad = None  # of a pass that failed
            copy.requires_grad_(master.requires_grad)
        for linear, name, master in self._places:
            linear._parameters[name] = self._copies[master]
        try:
            yield
        finally:
            for linear, name, master in self._places:
                linear._parameters[name] = master
        self._add_gradients()

    def _add_gradients(self) -> None:
        found = {
            master: copy.grad for master, copy in self._copies.items() if copy.grad is not None
        }
        if not found:
            return
        for master in found:
            if master not in self._gradients:
                self._gradients[master] = torch.empty_like(master)
        gradients = [self._gradients[master] for master in found]
        copy_all(gradients, [*found.values()])
        for master, gradient in zip(found, gradients, strict=True):
            master.grad = gradient if master.grad is None else master.grad + gradient
            self._copies[master].grad = None
