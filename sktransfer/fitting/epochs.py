"""What happens at the end of each epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from torch import nn

from sktransfer.fitting.callbacks import FitCallbacks
from sktransfer.training import BestWeights, TrainingResult


class Monitor:
    """Watches the epochs: progress, validation, best weights, early stopping, callbacks.

    Parameters
    ----------
    estimator : estimator
        Its `verbose`, `early_stopping` and `n_iter_no_change` say what to do.
    model : nn.Module
        What is trained.
    n_epochs : int
        Epochs planned.
    validate : callable or None
        Gives the score on the validation rows; None where there are none.
    tasks : FitCallbacks or None
        Callbacks to tell.
    attributes : callable
        Fitted attributes as if `fit` had ended here, for callbacks that want a model.
    """

    def __init__(
        self,
        estimator: Any,
        model: nn.Module,
        n_epochs: int,
        *,
        validate: Callable[[], float] | None,
        tasks: FitCallbacks | None,
        attributes: Callable[[], dict[str, Any]],
    ) -> None:
        self.estimator, self.model, self.n_epochs = estimator, model, n_epochs
        self.validate, self.tasks, self.attributes = validate, tasks, attributes
        self.scores: list[float] = []
        self.best = BestWeights()
        self.started = perf_counter()
        if tasks is not None and n_epochs:
            tasks.begin_epoch()

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the best validation score, from 1; None without validation rows."""
        return self.best.epoch

    def __call__(self, epoch: int, loss: float) -> bool:
        score = self._validate(epoch + 1)
        self._report(epoch + 1, loss, score)
        stop = self._has_stalled(epoch + 1)
        if self.tasks is not None:
            stop = self.tasks.end_epoch(self.attributes) or stop
            if not stop and epoch + 1 < self.n_epochs:
                self.tasks.begin_epoch()
        return stop

    def finish(self, result: TrainingResult) -> str | None:
        """Put the best weights back; return what to say if Ctrl-C ended the training."""
        wanted = self.estimator.early_stopping or result.interrupted
        if wanted and self.best.epoch is not None:
            self.best.restore(self.model)
        if not result.interrupted:
            return None
        kept = "weights so far" if self.best.epoch is None else "best weights so far"
        return (
            f"Interrupted by Ctrl-C in epoch {len(result.loss_curve) + 1} of {self.n_epochs}: the "
            f"estimator is fitted, with the {kept}."
        )

    def _validate(self, epoch: int) -> float | None:
        if self.validate is None:
            return None
        score = self.validate()
        self.scores.append(score)
        self.best.update(self.model, score, epoch)
        return score

    def _has_stalled(self, epoch: int) -> bool:
        if not self.estimator.early_stopping or self.best.epoch is None:
            return False
        patience: int = self.estimator.n_iter_no_change
        return epoch - self.best.epoch >= patience

    def _report(self, epoch: int, loss: float, score: float | None) -> None:
        if not self.estimator.verbose:
            return
        validation = "" if score is None else f", validation score {score:.4f}"
        sys.stderr.write(
            f"[sktransfer] epoch {epoch}/{self.n_epochs}, loss {loss:.4f}"
            f"{validation}, {perf_counter() - self.started:.1f} s\n"
        )
