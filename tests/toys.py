"""Small real modules for the units of the inner rooms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sktransfer.encoders import Encoder
from sktransfer.inputs import EncodedRows, encode_rows
from sktransfer.nn import Head, TransferModel

VOCABULARY = 40


class LetterTokenizer:
    """One token a character; no special tokens."""

    pad_id = 0
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    separator: tuple[int, ...] = ()
    mask_id: int | None = None
    unknown_id: int | None = None
    n_tokens = VOCABULARY

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        return [np.array([1 + ord(c) % (VOCABULARY - 1) for c in t], dtype=np.int32) for t in texts]

    def encode_spans(self, texts: list[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        spans = [np.stack([np.arange(len(t)), np.arange(len(t)) + 1], axis=1) for t in texts]
        return self.encode(texts), spans

    def encode_words(self, texts: list[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        ids = self.encode(texts)
        return ids, [np.arange(len(row), dtype=np.int32) for row in ids]

    def decode(self, ids: list[int]) -> str:
        return " ".join(str(number) for number in ids)


class MarkedLetters(LetterTokenizer):
    """One token a character, between special tokens."""

    prefix, separator, suffix = (101,), (102,), (103,)


class ToyEncoder(Encoder):
    """Embeddings and a few position-wise layers; memory runs out above `most_tokens`."""

    def __init__(
        self, *, hidden_size: int = 8, n_layers: int = 3, dropout: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.hidden_size, self.max_length, self.is_causal = hidden_size, 512, False
        self.most_tokens = 10**9
        self.passes: list[int] = []
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embeddings = nn.Embedding(VOCABULARY, hidden_size)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.Tanh(), nn.Dropout(dropout))
                for _ in range(n_layers)
            )
            self.norm = nn.LayerNorm(hidden_size)

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        n_layers: int = 1,
        segment_ids: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        self.passes.append(token_ids.numel())
        if token_ids.numel() > self.most_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory (a toy)")
        states = [self.embeddings(token_ids)]
        for block in self.blocks:
            states.append(block(states[-1]))
        states[-1] = self.norm(states[-1])
        return tuple(states[::-1][:n_layers])

    def embedding_modules(self) -> list[nn.Module]:
        return [self.embeddings]

    def layers(self) -> list[nn.Module]:
        return list(self.blocks)

    def token_embedding(self) -> nn.Embedding:
        return self.embeddings


def toy_model(
    encoder: ToyEncoder | None = None, *, n_outputs: int = 2, n_layers: int = 1
) -> TransferModel:
    """Model with fixed weights and no dropout."""
    encoder = encoder or ToyEncoder()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = Head(encoder.hidden_size, n_outputs, scale=5.0, dropout=0.0)
    return TransferModel(encoder, head, pooling="mean", n_layers=n_layers).eval()


def letter_rows(texts: list[str], *, max_length: int = 512) -> EncodedRows:
    """Rows of `LetterTokenizer`."""
    return encode_rows(texts, LetterTokenizer(), max_length=max_length, long_texts="window")
