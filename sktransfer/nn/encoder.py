"""The interface of encoders."""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sktransfer.nn.lm_head import LMHead
from sktransfer.nn.split import SplitEncoder
from sktransfer.runtime.attention import Unpadding


@dataclass(frozen=True)
class EncoderFiles:
    """Files that an encoder is saved to.

    Attributes
    ----------
    documents : dict of str to dict
        JSON files by their names.
    tensors : dict of str to Tensor
        Weights by their names in model.safetensors.
    """

    documents: dict[str, dict[str, Any]]
    tensors: dict[str, Tensor]


class Encoder(nn.Module, ABC):
    """Module that reads windows of token ids into one state per token.

    Attributes
    ----------
    hidden_size : int
        Width of a state.
    max_length : int
        Most tokens of one window, special tokens included.
    is_causal : bool
        Whether a token sees only those before it.
    lm_head : LMHead or None
        Scores of the vocabulary, where the encoder models language; a submodule then.
    is_recurrent : bool
        Whether texts are read in chunks with a carried state.
    n_backward : int
        How many trailing dimensions of a state come from reading the text from its end.
    """

    hidden_size: int
    max_length: int
    is_causal: bool
    lm_head: LMHead | None
    is_recurrent: bool = False
    n_backward: int = 0

    def __init__(self) -> None:
        super().__init__()
        # A default in the class would hide the submodule of that name.
        self.register_module("lm_head", None)

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

    @abstractmethod
    def token_embedding(self) -> nn.Embedding:
        """The table (n_tokens, embedding_size) of token vectors."""

    def unpadding(self, attention_mask: Tensor, multiple: int = 1) -> Unpadding | None:
        """How to skip the padding of a batch; None if there is none, or if it cannot be skipped."""
        return None

    def unpadded(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        n_layers: int = 1,
        segment_ids: Tensor | None = None,
        *,
        multiple: int = 1,
    ) -> tuple[Tensor, ...]:
        """Same states as `forward`, without computing those at padding where this is possible.

        They are zero then. The number of tokens computed is a multiple of `multiple`.
        """
        states: tuple[Tensor, ...] = self(token_ids, attention_mask, n_layers, segment_ids)
        return states

    def inputs(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        segment_ids: Tensor | None = None,
        unpadding: Unpadding | None = None,
    ) -> dict[str, Tensor]:
        """Inputs of the two parts of `split`, of the padded batch or its sequence."""
        return {}

    def split(self, depth: int) -> SplitEncoder | None:
        """The lowest `depth` layers and those above, or None if they cannot be run separately."""
        return None

    def packed(
        self, groups: Sequence[tuple[Tensor, Tensor | None]], n_layers: int = 1
    ) -> list[tuple[Tensor, ...]] | None:
        """Hidden states of each group, from one pass over a packed sequence.

        A group consists of the token ids (W, T) and segment ids of windows of one length, without
        padding. All groups together have at most `max_length` tokens. None if the architecture
        does not support packed sequences.
        """
        return None

    def set_chunk_length(self, n_tokens: int) -> None:
        """Let gradients of texts read in chunks stop after `n_tokens`; else nothing."""

    def drop_lm_heads(self) -> None:
        """Remove the language-model heads of this encoder and of those inside it."""
        for module in self.modules():
            if isinstance(module, Encoder):
                module.lm_head = None

    def manifest(self) -> dict[str, Any] | None:
        """What `from_manifest` of the encoder's file builds this architecture from, as JSON.

        Language-model heads are part of it. None where there is no such form.
        """
        return None

    def files(self, pad_id: int) -> EncoderFiles | None:
        """The encoder in a standard file format, instead of a manifest."""
        return None

    def blueprint(self) -> Callable[[], Encoder]:
        """Picklable function that builds this architecture again, its parameters unset."""
        buffers = {name: buffer.detach().cpu().clone() for name, buffer in self.named_buffers()}
        return functools.partial(_empty_copy, copy.deepcopy(self).to("meta"), buffers)


def _empty_copy(template: Encoder, buffers: dict[str, Tensor]) -> Encoder:
    encoder = copy.deepcopy(template).to_empty(device="cpu")
    # A state dict does not contain non-persistent buffers.
    for name, buffer in encoder.named_buffers():
        buffer.copy_(buffers[name])
    return encoder
