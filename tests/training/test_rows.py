"""Processes that share the steps of a training, here threads."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from sktransfer.nn import TransferModel
from sktransfer.runtime import WorkerGroup
from sktransfer.training import RowLoss, RowObjective, TrainingResult, pooled_features, train
from tests.toys import letter_rows, toy_model
from tests.training.test_loop import CPU, FIT, WORDS, contrast, cross_entropy, data, weights_of

MODEL = toy_model()  # made once, because seeding is not safe in threads


class Meeting:
    """Where threads add up their tensors."""

    def __init__(self, n_threads: int) -> None:
        self.barrier = threading.Barrier(n_threads, timeout=60)
        self.tensors: list[Tensor | None] = [None] * n_threads


class ThreadGroup(WorkerGroup):
    """Threads in the place of processes."""

    def __init__(self, rank: int, meeting: Meeting) -> None:
        super().__init__(rank, len(meeting.tensors))
        object.__setattr__(self, "meeting", meeting)

    def add_up(self, tensor: Tensor) -> None:
        self.meeting.tensors[self.rank] = tensor.clone()
        self.meeting.barrier.wait()
        tensor.copy_(torch.stack(self.meeting.tensors).sum(0))
        self.meeting.barrier.wait()


def in_threads(n_threads: int, work: Callable[[WorkerGroup], object]) -> list:
    """Results of `work` in the threads of a group."""
    meeting, results = Meeting(n_threads), [None] * n_threads

    def target(rank: int) -> None:
        try:
            results[rank] = work(ThreadGroup(rank, meeting))
        except RuntimeError as error:
            results[rank] = error
            meeting.barrier.abort()

    threads = [threading.Thread(target=target, args=(rank,)) for rank in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def trained(
    group: WorkerGroup, row_loss: RowLoss = cross_entropy, most_tokens: int = 10**9
) -> tuple[TransferModel, TrainingResult]:
    model = copy.deepcopy(MODEL)
    model.encoder.most_tokens = most_tokens
    objective = RowObjective(
        model, data(), row_loss, FIT.batch_size, device=CPU, dtype=torch.float32, group=group
    )
    rng = np.random.default_rng(0)
    result = train(
        model, objective, FIT, device=CPU, rng=rng, on_epoch_end=lambda epoch, loss: False
    )
    return model, result


@pytest.mark.parametrize("row_loss", [cross_entropy, contrast])
@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_processes_train_the_same_weights_as_one(n_threads: int, row_loss: RowLoss) -> None:
    assert FIT.batch_size < 7, "some have no row of a batch"
    alone, result = trained(WorkerGroup(), row_loss)
    for model, shared in in_threads(n_threads, lambda group: trained(group, row_loss)):
        torch.testing.assert_close(weights_of(model), weights_of(alone), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(shared.loss_curve, result.loss_curve, rtol=1e-5)
        assert sum(model.encoder.passes) < 0.8 * sum(alone.encoder.passes)


def test_shares_are_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, _ = trained(WorkerGroup(), contrast)
    monkeypatch.setattr("sktransfer.training.loop.token_budget", lambda *args, **kwargs: 16)
    for model, _ in in_threads(2, lambda group: trained(group, contrast)):
        torch.testing.assert_close(weights_of(model), weights_of(alone), rtol=1e-4, atol=1e-5)


def test_a_process_without_memory_ends_the_training() -> None:
    def work(group: WorkerGroup) -> object:
        return trained(group, most_tokens=10 if group.rank else 10**9)

    with pytest.raises(RuntimeError, match=r"Process 1 has no memory left .* lower batch_size"):
        raise in_threads(2, work)[1]


@pytest.mark.parametrize("n_threads", [2, 30])
def test_processes_encode_a_share_of_the_rows(n_threads: int) -> None:
    rows = letter_rows(WORDS, max_length=16)
    place = {"device": CPU, "dtype": torch.float32}
    alone = pooled_features(MODEL, rows, 0, **place)

    def work(group: WorkerGroup) -> Tensor:
        return pooled_features(copy.deepcopy(MODEL), rows, 0, group=group, **place)

    for features in in_threads(n_threads, work):
        torch.testing.assert_close(features, alone, rtol=0, atol=1e-6)
