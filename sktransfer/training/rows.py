"""The objective of the training loop for rows with targets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.inputs import EncodedRows
from sktransfer.inputs.batches import Batch, collate_rows
from sktransfer.inputs.grouping import epoch_batches, split_by_tokens, split_evenly
from sktransfer.nn import PretrainedState, TransferModel
from sktransfer.runtime import (
    WorkerGroup,
    autocast,
    is_out_of_memory,
    isolated_seed,
    moved,
    rng_state,
    sequence_multiple,
    set_rng_state,
    width_multiple,
    window_multiple,
)
from sktransfer.training.data import EncodedDataset
from sktransfer.training.forward import pooled_features
from sktransfer.training.frozen import FrozenLayerCache
from sktransfer.training.loop import StepLoss
from sktransfer.training.parameters import n_frozen

# Scores and features (as the head sees them) of a batch's units, and the targets of its rows;
# gives the loss of each row.
RowLoss = Callable[[Tensor, Tensor, Tensor], Tensor]

# A text of more windows shows a different sample of them each epoch, so that the memory of a
# step does not depend on the longest text; prediction reads every window.
MAX_TRAINING_WINDOWS = 4


class AuxiliaryTargets(Protocol):
    """What an auxiliary loss predicts of a batch."""

    @property
    def count(self) -> int:
        """Number of its predictions."""


class AuxiliaryLoss(Protocol):
    """A loss beside that of the task, on the same states."""

    def targets(self, batch: Batch, rng: np.random.Generator) -> AuxiliaryTargets:
        """Draw what is predicted of `batch`."""

    def loss(self, batch: Batch, targets: Any, states: Tensor) -> Tensor:
        """Weighted sum of its losses."""


@dataclass(frozen=True)
class RowInputs:
    """A batch of rows with their targets and weights."""

    batch: Batch
    targets: Tensor
    weights: Tensor

    @property
    def n_tokens(self) -> int:
        """Tokens of the batch, padding included."""
        return self.batch.n_tokens

    def tensors(self) -> list[Tensor]:
        """All tensors, in one order."""
        return [*self.batch.tensors(), self.targets, self.weights]

    def shape(self) -> Hashable | None:
        """What a pass depends on besides the contents of the tensors.

        None for rows of several units, whose losses are gathered with a host synchronization.
        """
        if self.batch.window_index is None:
            return None
        return (self.batch.shape(), self.targets.shape)

    def to(self, device: torch.device) -> RowInputs:
        """Return the same on a device."""
        targets, weights = (moved(part, device) for part in (self.targets, self.weights))
        return RowInputs(self.batch.to(device), targets, weights)


@dataclass(frozen=True)
class _Parts:
    """Parts of a batch that pass through the encoder one after the other, in this process.

    `rows` and `n_units` are those of the whole batch, `units` the places of this process's
    features among all.
    """

    rows: NDArray[np.intp]
    units: slice
    n_units: int
    batches: list[Batch]
    auxiliary: list[tuple[AuxiliaryTargets, int] | None]


class RowObjective:
    """Batches of rows, each row with a target, as steps of the training loop.

    Parameters
    ----------
    model : TransferModel
        Model that is trained.
    data : EncodedDataset
        Rows to train on.
    row_loss : callable
        ``row_loss(scores, features, targets)`` gives the loss of each row of a batch; it may
        compare the rows with each other.
    batch_size : int
        Rows of a step.
    device, dtype : torch.device, torch.dtype
        Where the model lies and the precision of its matrix products.
    pretrained : PretrainedState, default=None
        What of the encoder is as it was loaded.
    later : sequence of int, default=()
        Numbers of the lowest layers that are frozen in some epoch.
    auxiliary : AuxiliaryLoss, default=None
        Language modeling beside the task.
    group : WorkerGroup, default=WorkerGroup()
        Processes that compute a share of each batch.
    """

    def __init__(
        self,
        model: TransferModel,
        data: EncodedDataset,
        row_loss: RowLoss,
        batch_size: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
        pretrained: PretrainedState | None = None,
        later: Sequence[int] = (),
        auxiliary: AuxiliaryLoss | None = None,
        group: WorkerGroup = WorkerGroup(),
    ) -> None:
        self.model, self.data, self.row_loss = model, data, row_loss
        self.auxiliary, self.group = auxiliary, group
        self.batch_size, self.device, self.dtype = batch_size, device, dtype
        self.row_tokens = _training_tokens(data.encoded)
        self.pretrained, self.later = pretrained, later
        self._frozen: FrozenLayerCache | None = None
        self._fixed: Tensor | None = None

    @property
    def n_steps(self) -> int:
        return -(-len(self.data.encoded) // self.batch_size)

    def epoch(self, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
        """Batches; what the frozen layers give is not computed twice, if it can be kept."""
        place: Any = {"device": self.device, "dtype": self.dtype}
        pad_id = self.data.pad_id
        trains = any(parameter.requires_grad for parameter in self.model.encoder.parameters())
        is_fixed = not trains and self.auxiliary is None and self.data.encoded.units is None
        self._fixed = None
        if is_fixed:
            # A copy, because tensors from inference mode cannot be used in training.
            self._fixed = pooled_features(
                self.model, self.data.encoded, pad_id, group=self.group, **place
            ).clone()
            self.model.eval()  # on features that do not change, the head trains without dropout
        frozen = FrozenLayerCache.below(
            self.model,
            self.pretrained,
            n_frozen(self.model),
            pad_id,
            rows=self.data.encoded,
            later=self.later,
            **place,
        )
        if frozen is not None:
            frozen.read_ahead(self.data.encoded)
        self._frozen = frozen
        return iter(epoch_batches(self.row_tokens, self.batch_size, rng))

    def state(self) -> list[Tensor]:
        return []

    def load_state(self, state: list[Tensor]) -> None:
        pass

    def least_tokens(self, step: NDArray[np.intp]) -> int:
        return int(self.row_tokens[step].max())

    def gradient(
        self, step: NDArray[np.intp], token_budget: int, rng: np.random.Generator
    ) -> StepLoss:
        """Add the gradient of the mean loss of the rows `step`; return the sum of their losses.

        A batch that needs several passes is run twice: first without a graph for its features,
        on which the loss of the whole batch has its gradient, then part by part to carry that
        gradient into the encoder. So the loss may compare rows of different parts, and the
        gradient does not depend on how the batch is cut (Gao et al. 2021, arXiv:2101.06983).
        Nor does it depend on how many processes share the parts.
        """
        if self._fixed is not None:
            index = torch.from_numpy(step)
            features = self._fixed[index].to(self.device)
            targets = self.data.targets[index].to(self.device)
            return self._backward(features, targets, self.data.loss_weights[index].to(self.device))
        try:
            return self._encoder_gradient(step, token_budget, rng)
        except (RuntimeError, MemoryError) as error:
            if self.group.is_single or not is_out_of_memory(error):
                raise
            # The others wait for this process, which therefore cannot begin the step again.
            raise RuntimeError(
                f"Process {self.group.rank} has no memory left for its share of a batch: lower "
                "batch_size or max_length, or start more processes."
            ) from None

    def _encoder_gradient(
        self, step: NDArray[np.intp], token_budget: int, rng: np.random.Generator
    ) -> StepLoss:
        parts = self._parts(step, token_budget, rng)
        index = torch.from_numpy(parts.rows)
        targets = self.data.targets[index].to(self.device)
        weights = self.data.loss_weights[index].to(self.device)
        is_one = len(parts.batches) == 1
        if is_one and self.group.is_single:
            features, extra = self._pass(parts.batches[0], parts.auxiliary[0])
            return self._backward(features, targets, weights, extra)
        generators, made = [], []
        with self._own_draws(rng):
            for batch, extra_targets in zip(parts.batches, parts.auxiliary, strict=True):
                generators.append(rng_state(self.device))
                with torch.set_grad_enabled(is_one):
                    made.append(self._pass(batch, extra_targets if is_one else None))
        features = self._joined([piece.detach() for piece, _ in made], parts)
        loss = self._backward(features.requires_grad_(), targets, weights)
        assert features.grad is not None
        sizes = [len(piece) for piece, _ in made]
        with self._own_draws(rng):
            for number, gradient in enumerate(features.grad[parts.units].split(sizes)):
                if not is_one:
                    set_rng_state(generators[number], self.device)
                    made[number] = self._pass(parts.batches[number], parts.auxiliary[number])
                part, extra = made[number]
                losses = [part] if extra is None else [part, extra]
                if part.requires_grad:
                    torch.autograd.backward(losses, [gradient, None][: len(losses)])
        return self._added_up(loss)

    def _parts(self, step: NDArray[np.intp], token_budget: int, rng: np.random.Generator) -> _Parts:
        rank, world_size = self.group.rank, self.group.world_size
        shares = [step[share] for share in split_evenly(self.row_tokens[step], world_size)]
        n_units = [int(self.data.encoded.n_units[share].sum()) for share in shares]
        first = sum(n_units[:rank])
        own = shares[rank]
        batches = [
            self._collate(own[part], rng).to(self.device)
            for part in split_by_tokens(self.row_tokens[own], token_budget)
        ]
        return _Parts(
            rows=np.concatenate(shares),
            units=slice(first, first + n_units[rank]),
            n_units=sum(n_units),
            batches=batches,
            auxiliary=self._auxiliary_targets(batches, rng),
        )

    def _own_draws(self, rng: np.random.Generator) -> AbstractContextManager[None]:
        """Dropout of its own for each process; what follows draws the same in all of them."""
        if self.group.is_single:
            return contextlib.nullcontext()
        return isolated_seed(int(rng.integers(2**62)) + self.group.rank, self.device)

    def _joined(self, pieces: list[Tensor], parts: _Parts) -> Tensor:
        """Features of all rows of a batch, of which this process has `pieces`."""
        shape = (parts.n_units, self.model.n_layers, self.model.head.in_features)
        features = torch.zeros(shape, device=self.device)
        if pieces:
            torch.cat(pieces, out=features[parts.units])
        self.group.add_up(features)
        return features

    def _added_up(self, loss: StepLoss) -> StepLoss:
        """Add up the gradients and average the loss over the processes.

        All of them have the whole gradient of the head.
        """
        group = self.group
        if group.is_single:
            return loss
        of_head = {*self.model.head.parameters()}
        trained = [weights for weights in self.model.parameters() if weights.requires_grad]
        pieces = [loss.total.reshape(1) / group.world_size]
        for weights in trained:
            gradient = torch.zeros_like(weights) if weights.grad is None else weights.grad
            share = group.world_size if weights in of_head else 1
            pieces.append(gradient.flatten() / share)
        together = torch.cat(pieces)
        group.add_up(together)
        total, *gradients = together.split([len(piece) for piece in pieces])
        for weights, gradient in zip(trained, gradients, strict=True):
            weights.grad = gradient.view_as(weights)
        return StepLoss(total[0], loss.count)

    def inputs(
        self, step: NDArray[np.intp], token_budget: int, rng: np.random.Generator
    ) -> RowInputs | None:
        """Rows of a step, longest first, or None if a single pass of the encoder is not enough."""
        if self._fixed is not None or self.auxiliary is not None or not self.group.is_single:
            return None
        parts = split_by_tokens(self.row_tokens[step], token_budget)
        if len(parts) > 1:
            return None
        rows = step[parts[0]]
        index = torch.from_numpy(rows)
        return RowInputs(
            self._collate(rows, rng), self.data.targets[index], self.data.loss_weights[index]
        )

    def pass_gradient(self, inputs: RowInputs) -> Tensor:
        """Add the gradient of the mean loss of rows; return the sum of their losses."""
        features, _ = self._pass(inputs.batch, None)
        return self._backward(features, inputs.targets, inputs.weights).total

    def count(self, step: NDArray[np.intp]) -> int:
        return len(step)

    @torch.no_grad()
    def sample_loss(self, step: NDArray[np.intp], rng: np.random.Generator) -> Tensor:
        """Loss of the shortest row of a step."""
        rows = step[self.row_tokens[step].argmin(0, keepdims=True)]
        index = torch.from_numpy(rows)
        if self._fixed is not None:
            features = self._fixed[index].to(self.device)
        else:
            features, _ = self._pass(self._collate(rows, rng).to(self.device), None)
        losses = self.row_loss(
            self.model.head(features),
            self.model.head.normalize(features),
            self.data.targets[index].to(self.device),
        )
        return losses.sum()

    def _auxiliary_targets(
        self, batches: list[Batch], rng: np.random.Generator
    ) -> list[tuple[AuxiliaryTargets, int] | None]:
        """What the auxiliary task predicts of each batch, and how many tokens of all of them."""
        if self.auxiliary is None:
            return [None] * len(batches)
        auxiliary = [self.auxiliary.targets(batch, rng) for batch in batches]
        count = self.group.total(sum(extra.count for extra in auxiliary))
        return [(extra, max(count, 1)) for extra in auxiliary]

    def _collate(self, rows: NDArray[np.intp], rng: np.random.Generator) -> Batch:
        return collate_rows(
            self.data.encoded,
            rows,
            self.data.pad_id,
            multiple=width_multiple(self.device, self.dtype, captured=True),
            window_multiple=window_multiple(self.device),
            max_windows=MAX_TRAINING_WINDOWS,
            rng=rng,
        )

    def _pass(
        self, batch: Batch, extra: tuple[AuxiliaryTargets, int] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Features of a batch, and the batch's share of the auxiliary loss."""
        with autocast(self.device, self.dtype, training=True):
            multiple = sequence_multiple(self.device, self.dtype)
            if self._frozen is None:
                states = self.model.states(batch, multiple)
            else:
                states = self._frozen.token_states(batch, self.data.encoded, multiple)
            features = self.model.features(batch, states)
            if self.auxiliary is None or extra is None:
                return features, None
            targets_of_tokens, count = extra
            return features, self.auxiliary.loss(batch, targets_of_tokens, states[0]) / count

    def _backward(
        self, features: Tensor, targets: Tensor, weights: Tensor, extra: Tensor | None = None
    ) -> StepLoss:
        scores = self.model.head(features)
        losses = self.row_loss(scores, self.model.head.normalize(features), targets)
        loss = (losses * weights).sum()
        whole = loss / len(targets)
        (whole if extra is None else whole + extra).backward()
        return StepLoss(loss.detach(), len(targets))


def _training_tokens(rows: EncodedRows) -> NDArray[np.int64]:
    """Tokens that a step reads of each row at most."""
    if rows.units is not None:
        return rows.row_lengths
    n_windows = np.diff(rows.row_start)
    shown = np.minimum(n_windows, MAX_TRAINING_WINDOWS)
    return np.asarray(rows.row_lengths * shown // np.maximum(n_windows, 1), dtype=np.int64)
