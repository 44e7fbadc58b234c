"""Static encoders: one vector per token from a lookup table, without context or layers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer.encoders.checks import (
    check_files,
    check_finite,
    check_ids,
    read_backend,
    read_object,
)
from sktransfer.encoders.digests import files_digest
from sktransfer.encoders.lm_heads import HeadForm
from sktransfer.encoders.sentence_settings import SentenceSettings
from sktransfer.inputs.fast_tokenizer import FastTokenizer
from sktransfer.nn.encoder import Encoder

# The table has no positions: windows only bound the memory that one text takes.
WINDOW_LENGTH = 512
# What the table is called in files of model2vec and wordllama.
_TABLES = ("embeddings", "embedding.weight")


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
    """Source of a static encoder: a safetensors file with the table, and its tokenizer.json.

    The tensors are those of wordllama (``embedding.weight``) or of model2vec: ``embeddings``, with
    a weight for each token in ``weights`` and, where tokens share rows, the row of each in
    ``mapping``.
    """

    table: Path
    tokenizer: Path

    @property
    def cache_key(self) -> str:
        return self.digest

    @property
    def digest(self) -> str:
        return files_digest([self.table, self.tokenizer])

    @property
    def settings(self) -> SentenceSettings:
        return SentenceSettings("mean")

    def load(self, *, lm_head: bool = False) -> tuple[StaticEncoder, FastTokenizer]:
        weight = _read_table(self.table)
        backend = read_backend(self.tokenizer)
        check_ids(backend, len(weight), self.tokenizer.parent)
        # The table was trained on bare texts: its <s> says nothing and would blur the mean.
        tokenizer = FastTokenizer(backend, pad_id=0, special_tokens=False)
        if tokenizer.unknown_id is not None and self.is_model2vec:
            weight[tokenizer.unknown_id] = 0  # model2vec leaves unknown tokens out of the mean
        encoder = StaticEncoder(*weight.shape)
        encoder.embedding.load_state_dict({"weight": weight})
        return encoder, tokenizer

    @property
    def is_model2vec(self) -> bool:
        """Whether the table lies in a checkpoint of model2vec."""
        return (self.table.parent / "config.json").is_file()


def model2vec_table(folder: Path) -> StaticTable | None:
    """The table of a model2vec checkpoint, or None if `folder` holds another checkpoint."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    kind = read_object(path).get("model_type")
    source = StaticTable(folder / "model.safetensors", folder / "tokenizer.json")
    # Newer versions write no type.
    if kind != "model2vec" and not (kind is None and _has_table(source.table)):
        return None
    check_files(folder)
    for file in (source.table, source.tokenizer):
        if not file.is_file():
            raise ValueError(f"encoder: there is no {file.name} in {folder}.")
    return source


def _has_table(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return _TABLES[0] in file.keys()  # noqa: SIM118
    except (OSError, SafetensorError):
        return False


def _read_table(path: Path) -> Tensor:
    """Vector of each token (n_tokens, hidden_size), in float32."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"encoder: {path} cannot be read: {error}") from error
    table = next((tensors[key] for key in _TABLES if key in tensors), None)
    if table is None or table.ndim != 2:
        raise ValueError(f"encoder: {path} has no table of token vectors ({' or '.join(_TABLES)}).")
    table = table.float()
    mapping, weights = tensors.get("mapping"), tensors.get("weights")
    if mapping is not None:
        if mapping.ndim != 1 or mapping.min() < 0 or mapping.max() >= len(table):
            raise ValueError(f"encoder: {path} maps tokens to rows that its table does not have.")
        table = table[mapping.long()]
    if weights is not None:
        if weights.shape != table.shape[:1]:
            raise ValueError(
                f"encoder: {path} has {tuple(weights.shape)} weights for {len(table)} tokens."
            )
        table = table * weights.float()[:, None]
    check_finite({"the table": table}, path.parent)
    return table
