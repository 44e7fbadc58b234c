"""The AWD-LSTM as an encoder: reads texts of any length, in chunks with carried state."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer.nn import AWDLSTM, LayerState, LMHead, LMHeadShape, LSTMDropout, frequency_cutoffs
from sktransfer.nn.encoder import Encoder

# A recurrent network has no maximum length; no window is ever this long.
UNLIMITED = 1 << 20
_CHUNK_TOKENS = 128


class LSTMEncoder(Encoder):
    """AWD-LSTM that reads a text from its start, or from its end.

    A text is read in chunks, each starting from the state that the chunk before left, with
    gradients inside of chunks only: the back-propagation through time for text classification
    of Howard and Ruder (2018, arXiv:1801.06146, section 3.3).

    Parameters
    ----------
    n_tokens, embedding_size, hidden_size, n_layers : int
        Sizes of the network.
    dropout : LSTMDropout
        Rates while training.
    reads_backward : bool, default=False
        Whether a text is read from its last token to its first.
    """

    is_recurrent = True

    def __init__(
        self,
        n_tokens: int,
        embedding_size: int,
        hidden_size: int,
        n_layers: int,
        *,
        dropout: LSTMDropout,
        reads_backward: bool = False,
    ) -> None:
        super().__init__()
        self.settings = {
            "n_tokens": n_tokens,
            "embedding_size": embedding_size,
            "hidden_size": hidden_size,
            "n_layers": n_layers,
            "reads_backward": reads_backward,
            "dropout": asdict(dropout),
        }
        self.network = AWDLSTM(n_tokens, embedding_size, hidden_size, n_layers, dropout)
        self.hidden_size = embedding_size
        self.max_length = UNLIMITED
        self.chunk_length = _CHUNK_TOKENS
        self.is_causal = not reads_backward
        self.reads_backward = reads_backward
        self.n_backward = embedding_size if reads_backward else 0

    def read(
        self, token_ids: Tensor, state: list[LayerState] | None
    ) -> tuple[list[Tensor], list[LayerState]]:
        """States (B, T, width), from the embeddings up, of tokens in reading order; and the state.

        `state` is what the call before returned, None at the start.
        """
        states: tuple[list[Tensor], list[LayerState]] = self.network(token_ids, state)
        return states

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        n_layers: int = 1,
        segment_ids: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        if self.reads_backward:
            lengths = attention_mask.sum(dim=1)
            token_ids = _reverse(token_ids, lengths)
        state, chunks = None, []
        for chunk in token_ids.split(self.chunk_length, dim=1):
            states, state = self.read(chunk, state)
            chunks.append(states[::-1][:n_layers])
        layers = tuple(torch.cat(parts, dim=1) for parts in zip(*chunks, strict=True))
        if len({layer.shape[2] for layer in layers}) > 1:
            raise ValueError(
                "encoder: the layers of this AWD-LSTM differ in width, so that only the states of "
                "its last layer can be pooled: leave pooling_layers at 1 and layer at -1."
            )
        if self.reads_backward:
            layers = tuple(_reverse(layer, lengths) for layer in layers)
        return layers

    def set_chunk_length(self, n_tokens: int) -> None:
        self.chunk_length = n_tokens

    def embedding_modules(self) -> list[nn.Module]:
        return [self.network.embedding, self.network.input_dropout]

    def layers(self) -> list[nn.Module]:
        return list(self.network.layers)

    def token_embedding(self) -> nn.Embedding:
        return self.network.embedding

    def manifest(self) -> dict[str, Any]:
        """What :func:`from_manifest` builds the architecture from."""
        cutoffs = () if self.lm_head is None else self.lm_head.shape.cutoffs
        return {**self.settings, "lm_head": self.lm_head is not None, "cutoffs": list(cutoffs)}


class BidirectionalLSTMEncoder(Encoder):
    """Two encoders with the same layers, one reading forward and one backward.

    Parameters
    ----------
    forward_encoder, backward_encoder : LSTMEncoder
        Trained apart; their states are joined token by token.
    """

    is_recurrent = True

    def __init__(self, forward_encoder: LSTMEncoder, backward_encoder: LSTMEncoder) -> None:
        super().__init__()
        self.ways = nn.ModuleList([forward_encoder, backward_encoder])
        self.hidden_size = forward_encoder.hidden_size + backward_encoder.hidden_size
        self.n_backward = backward_encoder.hidden_size
        self.max_length = UNLIMITED
        self.is_causal = False

    def set_chunk_length(self, n_tokens: int) -> None:
        for way in self.directions_apart():
            way.set_chunk_length(n_tokens)

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        n_layers: int = 1,
        segment_ids: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        both = [way(token_ids, attention_mask, n_layers) for way in self.directions_apart()]
        return tuple(torch.cat(states, dim=2) for states in zip(*both, strict=True))

    def embedding_modules(self) -> list[nn.Module]:
        return [module for way in self.directions_apart() for module in way.embedding_modules()]

    def layers(self) -> list[nn.Module]:
        pairs = zip(*(way.layers() for way in self.directions_apart()), strict=True)
        return [nn.ModuleList(pair) for pair in pairs]

    def token_embedding(self) -> nn.Embedding:
        return self.directions_apart()[0].token_embedding()

    def manifest(self) -> dict[str, Any]:
        """What :func:`from_manifest` builds the architecture from."""
        return {"ways": [way.manifest() for way in self.directions_apart()]}

    def directions_apart(self) -> list[LSTMEncoder]:
        """The forward and the backward encoder."""
        return [way for way in self.ways if isinstance(way, LSTMEncoder)]


def from_manifest(settings: dict[str, Any]) -> Encoder:
    """Encoder with the architecture described by the manifest and random weights."""
    if "ways" in settings:
        first, second = (from_manifest(part) for part in settings["ways"])
        assert isinstance(first, LSTMEncoder)
        assert isinstance(second, LSTMEncoder)
        return BidirectionalLSTMEncoder(first, second)
    encoder = LSTMEncoder(
        settings["n_tokens"],
        settings["embedding_size"],
        settings["hidden_size"],
        settings["n_layers"],
        dropout=LSTMDropout(**settings["dropout"]),
        reads_backward=settings["reads_backward"],
    )
    if settings["lm_head"]:
        encoder.lm_head = _head(encoder, tuple(settings["cutoffs"]))
    return encoder


def new_lstm(
    *,
    n_tokens: int,
    embedding_size: int,
    hidden_size: int,
    n_layers: int,
    dropout: float,
    reads_backward: bool,
) -> LSTMEncoder:
    """AWD-LSTM with random weights and a language-model head.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary, whose ids are sorted by falling frequency.
    embedding_size, hidden_size, n_layers : int
        Sizes of the network.
    dropout : float
        Scale of the dropout rates, see :meth:`LSTMDropout.scaled`.
    reads_backward : bool
        Whether texts are read from their end.

    Returns
    -------
    LSTMEncoder
        Drawn from PyTorch's generator as it is.
    """
    encoder = LSTMEncoder(
        n_tokens,
        embedding_size,
        hidden_size,
        n_layers,
        dropout=LSTMDropout.scaled(dropout),
        reads_backward=reads_backward,
    )
    encoder.lm_head = _head(encoder, frequency_cutoffs(n_tokens))
    return encoder


def _head(encoder: LSTMEncoder, cutoffs: tuple[int, ...]) -> LMHead:
    embedding = encoder.token_embedding()
    shape = LMHeadShape(
        encoder.hidden_size, embedding.embedding_dim, embedding.num_embeddings, cutoffs=cutoffs
    )
    return LMHead(shape)


def _reverse(values: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the first `lengths` (W,) items of each row of `values` (W, T, ...)."""
    positions = torch.arange(values.shape[1], device=values.device)
    turned = lengths[:, None] - 1 - positions
    index = torch.where(turned >= 0, turned, positions)
    return values[torch.arange(len(values), device=values.device)[:, None], index]
