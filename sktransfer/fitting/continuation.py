"""Training runs that resume shorter ones with the same rows and parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import joblib
from torch import Tensor, nn

from sktransfer.fitting.context import FitContext, FitParameters
from sktransfer.runtime import cache, cpu_kernels_enabled, place_key
from sktransfer.training import EncodedDataset, Progress

# Of the plan, what must be so that the first epochs of a longer training are a shorter one.
_SCHEDULE = "constant"
# A longer training goes on from a shorter one though these differ: it is longer, its weights are
# compared themselves, or nothing that is learned depends on it.
_NOT_DECIDING = {"encoder": "", "max_epochs": 0, "memory": None, "verbose": 0}


@dataclass(frozen=True)
class _State:
    weights: dict[str, Tensor]
    progress: Progress

    @property
    def n_bytes(self) -> int:
        # The optimizer keeps two values per parameter.
        return 3 * sum(value.nbytes for value in self.weights.values())


class Continuation:
    """Final states of earlier training runs on the same rows, by number of epochs.

    With a constant rate and no warmup, the first epochs of a longer training are the shorter one:
    a search with successive halving need not repeat them.

    Parameters
    ----------
    context : FitContext
        At its start.
    data : EncodedDataset
        Training rows.
    """

    def __init__(self, context: FitContext, data: EncodedDataset) -> None:
        assert context.model.pretrained is not None
        self.plan, self.model = context.plan, context.model
        content = (
            (data.content, context.task, _deciding(context.parameters)),
            (replace(context.plan, n_epochs=0), context.rng.bit_generator.state, context.input_key),
            (context.model.pooling, context.model.n_layers, context.model.pretrained.key),
            (place_key(context.device, context.dtype), str(context.device), cpu_kernels_enabled()),
        )
        self.key = joblib.hash(content)
        self.last: _State | None = None

    @classmethod
    def of(cls, context: FitContext, data: EncodedDataset) -> Continuation | None:
        """States that the fit can resume; None unless a longer run would start like this one."""
        job, plan, pretrained = context.job, context.plan, context.model.pretrained
        is_possible = (
            job.parameters.warm_start
            and context.group.is_single
            and job.warm_start is None
            and not job.is_partial
            and job.validation is None
            and (plan.schedule, plan.warmup_fraction) == (_SCHEDULE, 0.0)
            and not plan.gradual_unfreezing
            and pretrained is not None
            and pretrained.is_whole
        )
        return cls(context, data) if is_possible else None

    def restore(self) -> Progress | None:
        """Load the weights of the longest suitable training run into the model."""
        for n_epochs in range(self.plan.n_epochs, 0, -1):
            state: _State | None = cache.get(("training", self.key, n_epochs))
            if state is not None:
                for name, parameter in self.model.named_parameters():
                    if name in state.weights:
                        parameter.data = state.weights[name].to(parameter.device, copy=True)
                return copy.deepcopy(state.progress)
        return None

    def watch(self, n_steps: int) -> Callable[[int, Callable[[], Progress]], None]:
        """Function for the loop that takes the state after the last of `n_steps`."""

        def on_step_end(step_number: int, take: Callable[[], Progress]) -> None:
            if step_number == n_steps:
                self.last = _State(_trained(self.model), take())

        return on_step_end

    def keep(self) -> None:
        """Keep the final state of the training run, unless it was interrupted."""
        if self.last is not None:
            key = ("training", self.key, self.plan.n_epochs)
            cache.put(key, self.last, n_bytes=self.last.n_bytes)


def _deciding(parameters: FitParameters) -> FitParameters:
    """Parameters that determine a training run, the others set to one value."""
    return replace(parameters, **_NOT_DECIDING)  # type: ignore[arg-type]


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
