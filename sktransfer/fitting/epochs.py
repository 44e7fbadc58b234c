"""Work at the end of each epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from torch import nn

from sktransfer.fitting.callbacks import FitCallbacks
from sktransfer.fitting.context import FitParameters
from sktransfer.training import BestWeights, TrainingResult


class EpochMonitor:
    """Watches the epochs: progress, validation, best weights, early stopping, callbacks.

    Parameters
    ----------
    model : nn.Module
        The model that is trained.
    n_epochs : int
        Epochs planned.
    parameters : FitParameters
        Verbosity, early stopping and its patience.
    validate : callable or None
        Gives the score on the validation rows; None where there are none.
    callbacks : FitCallbacks or None
        Callbacks to tell.
    attributes : callable
        Fitted attributes as if `fit` had ended here, for callbacks that want a model.
    """

    def __init__(
        self,
        model: nn.Module,
        n_epochs: int,
        parameters: FitParameters,
        *,
        validate: Callable[[], float] | None,
        callbacks: FitCallbacks | None,
        attributes: Callable[[], dict[str, Any]],
    ) -> None:
        self.model, self.n_epochs, self.parameters = model, n_epochs, parameters
        self.validate, self.callbacks, self.attributes = validate, callbacks, attributes
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best = BestWeights()
        self.started = perf_counter()
        if callbacks is not None and n_epochs:
            callbacks.begin_epoch()

    def history(self) -> dict[str, Any]:
        """Fitted attributes that tell what happened so far.

        The best epoch counts from 1 and is None without validation rows.
        """
        return {
            "loss_curve_": list(self.losses),
            "validation_scores_": list(self.scores),
            "best_epoch_": self.best.epoch,
            "n_iter_": len(self.losses),
        }

    def __call__(self, epoch: int, loss: float) -> bool:
        self.losses.append(loss)
        score = self._validate(epoch + 1)
        self._report(epoch + 1, loss, score)
        stop = self._has_stalled(epoch + 1)
        if self.callbacks is not None:
            stop = self.callbacks.end_epoch(lambda: self.attributes() | self.history()) or stop
            if not stop and epoch + 1 < self.n_epochs:
                self.callbacks.begin_epoch()
        return stop

    def finish(self, result: TrainingResult) -> str | None:
        """Restore the best weights; return a message if Ctrl-C ended the training."""
        wanted = self.parameters.early_stopping or result.interrupted
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
        if not self.parameters.early_stopping or self.best.epoch is None:
            return False
        return epoch - self.best.epoch >= self.parameters.n_iter_no_change

    def _report(self, epoch: int, loss: float, score: float | None) -> None:
        validation = "" if score is None else f", validation score {score:.4f}"
        seconds = perf_counter() - self.started
        report(
            self.parameters.verbose,
            f"epoch {epoch}/{self.n_epochs}, loss {loss:.4f}{validation}, {seconds:.1f} s",
        )


def report(verbose: int, message: str) -> None:
    """Write a line to standard error if `verbose` is positive."""
    if verbose:
        sys.stderr.write(f"[sktransfer] {message}\n")
