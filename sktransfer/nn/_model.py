"""Encoder, pooling and head as one module."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from sktransfer.nn._head import Head
from sktransfer.nn._pooling import pool_tokens, pool_windows


class WindowBatch(Protocol):
    """Windows of token ids and the rows they belong to (see `sktransfer.inputs`)."""

    @property
    def token_ids(self) -> Tensor: ...
    @property
    def attention_mask(self) -> Tensor: ...
    @property
    def pool_mask(self) -> Tensor: ...
    @property
    def window_index(self) -> Tensor: ...
    @property
    def segment_ids(self) -> Tensor | None: ...
    @property
    def is_averaged(self) -> bool: ...


class TransferModel(nn.Module):
    """A pretrained encoder with a pooling and a head on top.

    Parameters
    ----------
    encoder : nn.Module
        ``encoder(token_ids, attention_mask, n_layers, segment_ids)`` gives the states of its
        last `n_layers` layers, each (n_windows, n_tokens, hidden_size).
    head : Head
        Turns pooled features into scores.
    pooling : str
        How states become one vector a row.
    n_layers : int
        Last layers of the encoder whose states are pooled.
    """

    def __init__(self, encoder: nn.Module, head: Head, *, pooling: str, n_layers: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.pooling = pooling
        self.n_layers = n_layers

    def window_features(self, batch: WindowBatch) -> tuple[Tensor, Tensor]:
        """Pooled vectors and token counts of each window (see `pool_tokens`)."""
        layers = self.encoder(
            batch.token_ids, batch.attention_mask, self.n_layers, batch.segment_ids
        )
        return pool_tokens(layers, batch.pool_mask, self.pooling)

    def features(self, batch: WindowBatch) -> Tensor:
        """Features (n_rows, n_layers, pooled_size) of whole rows."""
        vectors, counts = self.window_features(batch)
        return pool_windows(
            vectors, counts, batch.window_index, self.pooling, is_averaged=batch.is_averaged
        )

    def forward(self, batch: WindowBatch) -> Tensor:
        """Scores (n_rows, n_outputs) of whole rows, float32."""
        scores: Tensor = self.head(self.features(batch))
        return scores
