"""Static encoders: one vector per token from a lookup table, without context or layers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer.encoders.digests import files_digest
from sktransfer.encoders.lm_heads import HeadForm
from sktransfer.encoders.tokenizer import FastTokenizer
from sktransfer.nn.encoder import Encoder

# The table has no positions: windows only bound the memory that one text takes.
WINDOW_LENGTH = 512


class StaticEncoder(Encoder):
    """Encoder whose state of a token is that token's row of a table.

    Parameters
    ----------
    n_tokens : int
        Rows of the table.
    hidden_size : int
        Width of the table. Its values are unset: load a state dict.
    """

    def __init__(self, n_tokens: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.max_length = WINDOW_LENGTH
        self.is_causal = False
        self.embedding = nn.Embedding(
            n_tokens, hidden_size, _weight=torch.empty(n_tokens, hidden_size)
        )

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        n_layers: int = 1,
        segment_ids: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        return (self.embedding(token_ids),)

    def embedding_modules(self) -> list[nn.Module]:
        return [self.embedding]

    def layers(self) -> list[nn.Module]:
        return []

    def blueprint(self) -> Callable[[], Encoder]:
        return functools.partial(from_manifest, self.manifest())

    def token_embedding(self) -> nn.Embedding:
        return self.embedding

    def manifest(self) -> dict[str, Any]:
        form = HeadForm.of(self.lm_head)
        return {
            "n_tokens": self.embedding.num_embeddings,
            "hidden_size": self.hidden_size,
            "lm_head": None if form is None else form.to_json(),
        }


def from_manifest(settings: dict[str, Any]) -> StaticEncoder:
    """Encoder that `manifest` described, its parameters unset."""
    encoder = StaticEncoder(settings["n_tokens"], settings["hidden_size"])
    if settings["lm_head"] is not None:
        encoder.lm_head = HeadForm.from_json(settings["lm_head"]).build()
    return encoder


@dataclass(frozen=True)
class StaticTable:
    """Source of a static encoder: a safetensors file with the table, and its tokenizer.json."""

    table: Path
    tokenizer: Path
    key: str = "embedding.weight"

    @property
    def cache_key(self) -> str:
        return self.digest

    @property
    def digest(self) -> str:
        return files_digest([self.table, self.tokenizer])

    def load(self, *, lm_head: bool = False) -> tuple[StaticEncoder, FastTokenizer]:
        from safetensors import safe_open
        from tokenizers import Tokenizer

        with safe_open(self.table, framework="pt") as file:
            weight = file.get_tensor(self.key)
        encoder = StaticEncoder(*weight.shape)
        encoder.embedding.load_state_dict({"weight": weight})
        # The table was trained on bare texts: its <s> says nothing and would blur the mean.
        backend = Tokenizer.from_file(str(self.tokenizer))
        return encoder, FastTokenizer(backend, pad_id=0, special_tokens=False)
