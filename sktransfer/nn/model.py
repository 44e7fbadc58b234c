"""Encoder, pooling and head as one module."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from sktransfer.nn.encoder import Encoder
from sktransfer.nn.head import Head
from sktransfer.nn.pooling import pick_tokens, pool_tokens, pool_windows


class WindowBatch(Protocol):
    """Windows of token ids and the rows they belong to (see `sktransfer.inputs`)."""

    @property
    def token_ids(self) -> Tensor: ...
    @property
    def attention_mask(self) -> Tensor: ...
    @property
    def pool_mask(self) -> Tensor: ...
    @property
    def window_index(self) -> Tensor | None: ...
    @property
    def segment_ids(self) -> Tensor | None: ...
    @property
    def window_role(self) -> str: ...
    @property
    def unit_index(self) -> Tensor | None: ...


@dataclass(frozen=True)
class PretrainedState:
    """Which part of an encoder is unchanged since it was loaded.

    Attributes
    ----------
    key : str
        Tells the weights that were loaded from others, by their content.
    depth : int
        Number of the lowest layers that, like the embeddings, have not been trained since.
    is_whole : bool, default=True
        Whether nothing has.
    folder : str or None, default=None
        Where what it gives of texts is kept, besides the memory of the process.
    """

    key: str
    depth: int
    is_whole: bool = True
    folder: str | None = None


def own_weights(parameters: Iterable[nn.Parameter]) -> None:
    """Give parameters, which may share their values with other models, storage of their own."""
    for parameter in parameters:
        parameter.data = parameter.data.clone()


class TransferModel(nn.Module):
    """A pretrained encoder with a pooling and a head on top.

    Parameters
    ----------
    encoder : Encoder
        ``encoder(token_ids, attention_mask, n_layers, segment_ids)`` gives the states of its
        last `n_layers` layers, each (n_windows, n_tokens, hidden_size).
    head : Head
        Turns pooled features into scores.
    pooling : str
        How states become one vector per row.
    n_layers : int
        Layers of the encoder whose states are pooled, from the top.
    n_skipped : int, default=0
        Layers above these that are passed over.

    Attributes
    ----------
    pretrained : PretrainedState or None
        What is known of the encoder's weights; whoever changes them changes it, too.
    """

    encoder: Encoder
    pretrained: PretrainedState | None

    def __init__(
        self, encoder: Encoder, head: Head, *, pooling: str, n_layers: int, n_skipped: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.pooling = pooling
        self.n_layers = n_layers
        self.n_skipped = n_skipped
        self.pretrained = None

    @property
    def is_bi_encoder(self) -> bool:
        """Whether the two texts of a row are read apart and then compared."""
        return self.head.comparison is not None

    def with_encoder(self, encoder: Encoder) -> TransferModel:
        """The same model with another encoder in its place; the rest is shared."""
        other = copy.copy(self)
        other._modules = {**self._modules, "encoder": encoder}
        return other

    def states(self, batch: WindowBatch, multiple: int | None = None) -> tuple[Tensor, ...]:
        """States (n_windows, n_tokens, hidden_size) of the encoder's last layers, top first.

        With a `multiple`, padding is skipped if the encoder can do so, and tokens are filled up
        to that multiple.
        """
        inputs = (batch.token_ids, batch.attention_mask, self.n_skipped + self.n_layers)
        if multiple is not None:
            return self.encoder.unpadded(*inputs, batch.segment_ids, multiple=multiple)
        layers: tuple[Tensor, ...] = self.encoder(*inputs, batch.segment_ids)
        return layers

    def window_features(
        self, batch: WindowBatch, states: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Vectors and token counts of each window (see `pool_tokens`), or of each token unit.

        `states` are those of the batch, if they are there already.
        """
        layers = (self.states(batch) if states is None else states)[self.n_skipped :]
        if batch.unit_index is not None:
            return pick_tokens(layers, batch.unit_index), torch.ones_like(batch.unit_index)
        n_backward = self.encoder.n_backward
        return pool_tokens(layers, batch.pool_mask, self.pooling, n_backward=n_backward)

    def features(self, batch: WindowBatch, states: tuple[Tensor, ...] | None = None) -> Tensor:
        """Features (n_units, n_layers, pooled_size): of whole rows, or of their units."""
        vectors, counts = self.window_features(batch, states)
        if batch.window_index is None:
            return vectors.flatten(2)
        return pool_windows(
            vectors, counts, batch.window_index, self.pooling, role=batch.window_role
        )

    def forward(self, batch: WindowBatch) -> Tensor:
        """Scores (n_units, n_outputs), float32."""
        scores: Tensor = self.head(self.features(batch))
        return scores
