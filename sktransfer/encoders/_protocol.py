"""What an encoder and its tokenizer are to the rest of the package."""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


class Tokenizer(Protocol):
    """Turns texts into token ids; picklable and safe to share between threads.

    Attributes
    ----------
    pad_id : int
        Id that fills the end of shorter windows; a legal row of the embedding table.
    prefix, suffix : tuple of int
        Ids of the special tokens before and after every window, for example [CLS] and [SEP].
    separator : tuple of int
        Ids of the special tokens between two columns of a row.
    """

    pad_id: int
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    separator: tuple[int, ...]

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Ids of each text in full: no special tokens, never truncated, never padded."""
        ...

    def encode_spans(
        self, texts: Sequence[str]
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int64]]]:
        """Ids of each text as `encode` gives them, and the characters (n_tokens, 2) of each."""
        ...


class Encoder(nn.Module, ABC):
    """Module that reads windows of token ids into one state a token.

    Attributes
    ----------
    hidden_size : int
        Width of a state.
    max_length : int
        Most tokens of one window, special tokens included.
    is_causal : bool
        Whether a token sees only those before it.
    """

    hidden_size: int
    max_length: int
    is_causal: bool

    @abstractmethod
    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        n_layers: int = 1,
        segment_ids: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """States (W, T, hidden_size) of the last `n_layers` layers, the top one first.

        The token ids are (W, T); the mask is 1 where a token is. The segment is 0 in the first
        column of a row and 1 in the others; encoders without segments ignore it. Below the first
        layer lie the embeddings, so that a stack of L layers has L + 1 states to give.
        """

    @abstractmethod
    def embedding_modules(self) -> list[nn.Module]:
        """Modules on the input side of the first layer."""

    @abstractmethod
    def layers(self) -> list[nn.Module]:
        """Blocks from the input side up; parameters in neither list go with the last block."""

    def blueprint(self) -> Callable[[], Encoder]:
        """Picklable function that builds this architecture again, its parameters unset."""
        buffers = {name: buffer.detach().cpu().clone() for name, buffer in self.named_buffers()}
        return functools.partial(_empty_copy, copy.deepcopy(self).to("meta"), buffers)


def _empty_copy(template: Encoder, buffers: dict[str, Tensor]) -> Encoder:
    encoder = copy.deepcopy(template).to_empty(device="cpu")
    # A state dict leaves out the buffers that are not persistent.
    for name, buffer in encoder.named_buffers():
        buffer.copy_(buffers[name])
    return encoder
