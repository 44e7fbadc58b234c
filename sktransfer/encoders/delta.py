"""A pretrained encoder and a low-rank delta (LoRA) that is added to its weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer.encoders.checks import read_object
from sktransfer.encoders.digests import file_digest
from sktransfer.encoders.handle import EncoderSource
from sktransfer.encoders.sentence_settings import SentenceSettings
from sktransfer.inputs.tokens import Tokenizer
from sktransfer.nn.encoder import Encoder

DELTA_FILE = "delta.json"
_WEIGHTS_FILE = "delta.safetensors"
_FORMAT = 1


@dataclass(frozen=True)
class DeltaFolder:
    """Source of an encoder: a base source and a folder with a delta for its weights.

    ``delta.json`` names the base, the factor and the SHA-256 of ``delta.safetensors``, which has a
    pair of matrices ``<layer>.down`` (rank, n_in) and ``<layer>.up`` (n_out, rank) for each linear
    layer: its weight becomes ``weight + factor * up @ down`` (Hu et al. 2021, arXiv:2106.09685).

    Parameters
    ----------
    base : EncoderSource
        Of the pretrained encoder.
    folder : Path
        Folder with the two files.
    """

    base: EncoderSource
    folder: Path

    @property
    def digest(self) -> str:
        """SHA-256 over the base and the delta."""
        own = [file_digest(self.folder / name) for name in (DELTA_FILE, _WEIGHTS_FILE)]
        return hashlib.sha256(" ".join([self.base.digest, *own]).encode()).hexdigest()

    @property
    def cache_key(self) -> str:
        return self.digest

    @property
    def settings(self) -> SentenceSettings:
        return self.base.settings

    @torch.no_grad()
    def load(self, *, lm_head: bool = False) -> tuple[Encoder, Tokenizer]:
        document, tensors = read_document(self.folder), _read_tensors(self.folder)
        encoder, tokenizer = self.base.load(lm_head=lm_head)
        layers = dict(encoder.named_modules())
        for name in sorted({name.rpartition(".")[0] for name in tensors}):
            layer = layers.get(f"model.{name}")
            product = _product(tensors.get(f"{name}.up"), tensors.get(f"{name}.down"))
            if (
                not isinstance(layer, nn.Linear)
                or product is None
                or product.shape != layer.weight.shape
            ):
                raise ValueError(
                    f"encoder: {self.folder / _WEIGHTS_FILE} does not fit {document['base']}, "
                    f"which has no linear layer {name!r} of that shape."
                )
            weight = layer.weight.data.float() + document["factor"] * product
            if not weight.isfinite().all():
                raise ValueError(
                    f"encoder: {self.folder} makes weights of {name!r} that are not finite."
                )
            layer.weight.data = weight  # not in place: the base's may be mapped from its file
        return encoder, tokenizer


def _product(up: Tensor | None, down: Tensor | None) -> Tensor | None:
    """The product of two low-rank matrices, or None if their shapes do not match."""
    if up is None or down is None or not up.ndim == down.ndim == 2 or len(down) != up.shape[1]:
        return None
    return up.float() @ down.float()


def read_document(folder: Path) -> dict[str, Any]:
    """Content of `delta.json`, after checking that the matrices are those that it lists."""
    path, weights = folder / DELTA_FILE, folder / _WEIGHTS_FILE
    document = read_object(path)
    is_there = {
        "base": isinstance(document.get("base"), str),
        "factor": isinstance(document.get("factor"), (int, float)),
        "sha256": isinstance(document.get("sha256"), str),
    }
    missing = [name for name, is_fine in is_there.items() if not is_fine]
    if document.get("format") != _FORMAT or missing:
        reason = f"lacks {', '.join(missing)}" if missing else f"is not of format {_FORMAT}"
        raise ValueError(f"encoder: {path} {reason}.")
    if not weights.is_file():
        raise ValueError(f"encoder: there is no {_WEIGHTS_FILE} in {folder}.")
    if file_digest(weights) != document["sha256"]:
        raise ValueError(
            f"encoder: {weights} is damaged: its SHA-256 is not the one in {path.name}."
        )
    return document


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(folder / _WEIGHTS_FILE)
    except SafetensorError as error:
        raise ValueError(f"encoder: {folder / _WEIGHTS_FILE} cannot be read: {error}") from error
