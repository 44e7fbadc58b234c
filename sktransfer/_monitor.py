"""What happens at the end of each epoch."""

from __future__ import annotations

import copy
import sys
import warnings
from time import perf_counter
from typing import Any

import torch

from sktransfer._callbacks import EpochTasks
from sktransfer._session import Session
from sktransfer.inputs import EncodedRows
from sktransfer.training import BestWeights, TrainingResult, pooled_features


class Monitor:
    """Watches the epochs: progress, validation, best weights, early stopping, callbacks."""

    def __init__(self, estimator: Any, session: Session, tasks: EpochTasks | None) -> None:
        self.estimator, self.session, self.tasks = estimator, session, tasks
        self.scores: list[float] = []
        self.best = BestWeights()
        self.started = perf_counter()
        self.encoded: list[EncodedRows] = []
        if session.validation is not None:
            texts = session.validation.texts
            self.encoded = [estimator._encode(texts, session.model, session.tokenizer)]
            self.targets = session.task.encode(session.validation.y, self.encoded[0])
        if tasks is not None and session.plan.n_epochs:
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
            stop = self.tasks.end_epoch(self._fitted_attributes) or stop
            if not stop and epoch + 1 < self.session.plan.n_epochs:
                self.tasks.begin_epoch()
        return stop

    def finish(self, result: TrainingResult) -> None:
        """Put the best weights back, and say so if Ctrl-C ended the training."""
        wanted = self.estimator.early_stopping or result.interrupted
        if wanted and self.best.epoch is not None:
            self.best.restore(self.session.model)
        if result.interrupted:
            kept = "weights so far" if self.best.epoch is None else "best weights so far"
            warnings.warn(
                f"Interrupted by Ctrl-C in epoch {len(result.loss_curve) + 1} of "
                f"{self.session.plan.n_epochs}: the estimator keeps the {kept}.",
                UserWarning,
                stacklevel=4,
            )

    def _validate(self, epoch: int) -> float | None:
        if not self.encoded:
            return None
        session = self.session
        features = pooled_features(
            session.model,
            self.encoded[0],
            session.tokenizer.pad_id,
            device=session.device,
            dtype=session.dtype,
        )
        with torch.inference_mode():
            scores = session.model.head(features.to(session.device)).cpu().numpy()
        score = session.task.score(scores, self.targets)
        self.scores.append(score)
        self.best.update(session.model, score, epoch)
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
            f"[sktransfer] epoch {epoch}/{self.session.plan.n_epochs}, loss {loss:.4f}"
            f"{validation}, {perf_counter() - self.started:.1f} s\n"
        )

    def _fitted_attributes(self) -> dict[str, Any]:
        """Attributes as if `fit` had ended here, without head refit and lexical channel."""
        model = copy.deepcopy(self.session.model).to("cpu").requires_grad_(True).eval()
        return {
            **self.estimator._task_attributes(self.session.task),
            **self.estimator._columns_of(self.session.rows),
            "task_": self.session.task,
            "model_": model,
            "tokenizer_": self.session.tokenizer,
            "encoder_name_": self.session.encoder_name,
            "lexical_": None,
        }
