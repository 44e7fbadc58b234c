"""Longer trainings that go on from shorter ones of the same rows and parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import joblib
from torch import Tensor, nn

from sktransfer.fitting.data import FitContext
from sktransfer.fitting.probe import Problem
from sktransfer.runtime import cache, place_key
from sktransfer.training import Progress

# Of the plan, what must be so that the first epochs of a longer training are a shorter one.
_SCHEDULE = "constant"


@dataclass(frozen=True)
class _State:
    weights: dict[str, Tensor]
    progress: Progress

    @property
    def n_bytes(self) -> int:
        # The optimiser keeps two values of each.
        return 3 * sum(value.nbytes for value in self.weights.values())


class Continuation:
    """The states in which trainings of a session's rows ended, by their number of epochs.

    With a constant rate and no warmup, the first epochs of a longer training are the shorter one:
    a search with successive halving need not repeat them.

    Parameters
    ----------
    session : FitContext
        At its start.
    problem : Problem
        Its rows and targets.
    form : tuple
        What shapes the token ids of the rows.
    parameters : dict
        What else the training follows from: parameters of the estimator.
    """

    def __init__(
        self,
        session: FitContext,
        problem: Problem,
        form: tuple[object, ...],
        parameters: dict[str, Any],
    ) -> None:
        assert session.model.pretrained is not None
        self.plan, self.model = session.plan, session.model
        content = (
            (problem.content, session.task),
            (replace(session.plan, n_epochs=0), session.rng.bit_generator.state, form, parameters),
            (session.model.pooling, session.model.n_layers, session.model.pretrained.key),
            (place_key(session.device, session.dtype), str(session.device)),
        )
        self.key = joblib.hash(content)
        self.last: _State | None = None

    @staticmethod
    def is_possible(session: FitContext) -> bool:
        """Whether a longer training would begin like this one."""
        plan = session.plan
        return (
            (plan.schedule, plan.warmup_fraction) == (_SCHEDULE, 0.0)
            and not plan.gradual_unfreezing
            and session.validation is None
            and session.model.pretrained is not None
            and session.model.pretrained.is_whole
        )

    def restore(self) -> Progress | None:
        """Put the weights of the longest training that is not too long into the model."""
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
        """Keep the state in which the training ended, if it was not interrupted."""
        if self.last is not None:
            key = ("training", self.key, self.plan.n_epochs)
            cache.put(key, self.last, n_bytes=self.last.n_bytes)


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
