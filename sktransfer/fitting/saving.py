"""Fitted networks in folders: weights of their own, and the pretrained ones by reference."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.encoders import (
    EncoderHandle,
    FastTokenizer,
    SentenceSettings,
    encoder_folder,
    resolve_encoder,
    saved_encoder,
)
from sktransfer.fitting.plain_state import Arrays
from sktransfer.inputs import Tokenizer, prompt_of, prompted, unprompted
from sktransfer.nn import Encoder, Head, PretrainedState, TransferModel
from sktransfer.runtime import write_file

ARRAYS_FILE = "estimator.safetensors"
_PREFIX = "model."


class MissingEncoderError(ValueError):
    """The pretrained weights that a folder refers to are not the ones on this machine."""


@contextmanager
def saved_network(
    model: TransferModel,
    tokenizer: Tokenizer,
    base: EncoderHandle | None,
    settings: SentenceSettings,
    folder: Path,
    dtype: str = "float32",
) -> Iterator[tuple[Path, dict[str, Any], dict[str, Tensor]]]:
    """Put a saved network in the place of `folder`, with what the block adds to it.

    Parameters
    ----------
    model, tokenizer : TransferModel, Tokenizer
        The network, on the CPU.
    base : EncoderHandle or None
        Encoder whose weights are kept by reference where they are the model's; None keeps all.
    settings : SentenceSettings
        Pooling and prompt of the encoder.
    folder : Path
        New, empty, or written here before.
    dtype : str, default="float32"
        Precision in which the weights of the encoder are kept.

    Yields
    ------
    new : Path
        The new folder.
    document : dict
        What `read_network` needs besides the tensors.
    tensors : dict of str to Tensor
        Weights that are not in an encoder of the folder.
    """
    document, tensors = _described(model, tokenizer, base)
    precision = getattr(torch, dtype)
    if document["encoder"] is None:
        encoder = model.encoder
        if precision is not torch.float32:
            encoder = copy.deepcopy(encoder).to(precision)
        with saved_encoder(encoder, unprompted(tokenizer), settings, folder) as new:
            yield new, document, tensors
        return
    is_head = f"{_PREFIX}head."
    kept = {
        name: value if name.startswith(is_head) else value.to(precision)
        for name, value in tensors.items()
    }
    with encoder_folder(folder) as new:
        yield new, document, kept


def network_files(
    model: TransferModel,
    tokenizer: Tokenizer,
    base: EncoderHandle | None,
    settings: SentenceSettings,
) -> tuple[dict[str, Any], Arrays, dict[str, bytes]]:
    """Document and weights of `saved_network`, and the content of the other files, by name."""
    document, tensors = _described(model, tokenizer, base)
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in tensors.items()}
    if document["encoder"] is not None:
        return document, arrays, {}
    with TemporaryDirectory() as parent:
        folder = Path(parent, "encoder")
        with saved_encoder(model.encoder, unprompted(tokenizer), settings, folder):
            pass
        paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        files = {name.as_posix(): path.read_bytes() for name, path in paths.items()}
    return document, arrays, files


def network_from_files(
    document: dict[str, Any],
    arrays: Arrays,
    files: dict[str, bytes],
    known: EncoderHandle | None,
) -> tuple[TransferModel, Tokenizer]:
    """The network that `network_files` described; `known` may be the encoder it refers to.

    Raises
    ------
    MissingEncoderError
        If the pretrained weights are not there, or others.
    """
    tensors = {name: _tensor(value) for name, value in arrays.items() if name.startswith(_PREFIX)}
    if not files:
        return read_network(document, tensors, Path(), known)
    with TemporaryDirectory() as parent:
        for name, content in files.items():
            path = Path(parent, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return read_network(document, tensors, Path(parent))


def read_network(
    document: dict[str, Any],
    tensors: dict[str, Tensor],
    folder: Path,
    known: EncoderHandle | None = None,
) -> tuple[TransferModel, Tokenizer]:
    """The network and its tokenizer that `saved_network` wrote.

    Raises
    ------
    MissingEncoderError
        If the pretrained weights are not there, or others.
    """
    reference = document["encoder"]
    handle = resolve_encoder(folder) if reference is None else _referenced(reference, known)
    encoder, tokenizer = handle.load_shared(lm_head=document["lm_head"])
    own = {
        name.removeprefix(_PREFIX): value
        for name, value in tensors.items()
        if name.startswith(_PREFIX)
    }
    changed = _part(own, "encoder.")
    parameters = dict(encoder.named_parameters())
    for name, value in changed.items():
        if parameters[name].shape != value.shape:
            raise ValueError(f"its weights of {name} have the shape {tuple(value.shape)}")
        parameters[name].data = value.float()
    head = Head(**document["head"])
    head.load_state_dict(_part(own, "head."))
    model = TransferModel(
        encoder,
        head,
        pooling=document["pooling"],
        n_layers=document["n_layers"],
        n_skipped=document["n_skipped"],
    ).eval()
    if not changed:
        model.pretrained = PretrainedState(handle.cache_key, len(encoder.layers()))
    return model, prompted(tokenizer, document["prompt"])


def write_arrays(path: Path, arrays: Arrays, tensors: dict[str, Tensor]) -> None:
    """Write arrays and tensors to one safetensors file."""
    from safetensors.torch import save_file

    everything = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    everything |= {
        name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()
    }
    write_file(path, lambda partial: save_file(everything, partial))


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Tensor]]:
    """What `write_arrays` wrote: arrays, and the tensors of the network."""
    from safetensors.torch import load_file

    everything = load_file(path)
    tensors = {name: value for name, value in everything.items() if name.startswith(_PREFIX)}
    arrays = {name: value.numpy() for name, value in everything.items() if name not in tensors}
    return arrays, tensors


def _described(
    model: TransferModel, tokenizer: Tokenizer, base: EncoderHandle | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Document and tensors of a network; its encoder is None if it has to be kept beside them."""
    tensors = {f"{_PREFIX}head.{name}": value for name, value in model.head.state_dict().items()}
    changed = None if base is None else _changed_weights(model.encoder, tokenizer, base)
    document = {
        "pooling": model.pooling,
        "n_layers": model.n_layers,
        "n_skipped": model.n_skipped,
        "head": {
            "in_features": model.head.in_features,
            "out_features": model.head.linear.out_features,
            "scale": model.head.scale,
            "dropout": model.head.dropout.p,
            "comparison": model.head.comparison,
        },
        "prompt": prompt_of(tokenizer),
        "lm_head": _has_lm_head(model.encoder),
        "encoder": None,
    }
    if base is not None and changed is not None:
        document["encoder"] = {"name": base.name, "digest": base.digest}
        tensors |= {f"{_PREFIX}encoder.{name}": value for name, value in changed.items()}
    return document, tensors


def _tensor(value: NDArray[Any]) -> Tensor:
    # Arrays of a memory map cannot be written to.
    return torch.from_numpy(value if value.flags.writeable else value.copy())


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _changed_weights(
    encoder: Encoder, tokenizer: Tokenizer, base: EncoderHandle
) -> dict[str, Tensor] | None:
    """Weights of `encoder` that are not those of `base`, or None if it is another network."""
    pretrained, its_tokenizer = base.load_shared(lm_head=_has_lm_head(encoder))
    before, now = dict(pretrained.named_parameters()), dict(encoder.named_parameters())
    is_alike = before.keys() == now.keys() and all(
        before[name].shape == value.shape for name, value in now.items()
    )
    if not is_alike or not _is_same_tokenizer(unprompted(tokenizer), its_tokenizer):
        return None
    changed: dict[str, Tensor] = {
        name: value for name, value in now.items() if not torch.equal(value, before[name])
    }
    return None if len(changed) == len(now) else changed


def _has_lm_head(encoder: Encoder) -> bool:
    """Whether the encoder, or a direction of it, has a language-model head."""
    return any("lm_head." in name for name, _ in encoder.named_parameters())


def _referenced(reference: dict[str, str], known: EncoderHandle | None) -> EncoderHandle:
    if known is not None and known.digest == reference["digest"]:
        return known
    name = reference["name"]
    try:
        handle = resolve_encoder(name)
    except ValueError as error:
        raise MissingEncoderError(f"it refers to the encoder {name!r}: {error}") from error
    if handle.digest != reference["digest"]:
        raise MissingEncoderError(
            f"it refers to the encoder {name!r} with the SHA-256 {reference['digest']}, and the "
            f"one on this machine has {handle.digest}"
        )
    return handle


def _is_same_tokenizer(one: Tokenizer, other: Tokenizer) -> bool:
    if one is other:
        return True
    if not (isinstance(one, FastTokenizer) and isinstance(other, FastTokenizer)):
        return False
    places = ("pad_id", "prefix", "suffix", "separator")
    return all(getattr(one, name) == getattr(other, name) for name in places) and (
        one.backend.to_str() == other.backend.to_str()
    )
