"""Checks of a checkpoint folder before anything is built or allocated."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import tokenizers

# A key of each document in a folder that was written here, and may be written over.
SAVED_MARK = "sktransfer"
# No size of a network, number of tokens or positions is larger.
_LARGEST_SIZE = 1 << 24
_LARGEST_DOCUMENT = 1 << 24
# Weights may be stored at half their precision, and some of them may be missing.
_MOST_TIMES_THE_FILES, _SMALL_BYTES = 8, 1 << 28


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raise a ValueError that names the file if there is none."""
    try:
        if path.stat().st_size > _LARGEST_DOCUMENT:
            raise ValueError(f"it has {path.stat().st_size:,} bytes")
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"encoder: {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"encoder: {path} holds a {type(content).__name__}, not a JSON object.")
    return content


def check_files(folder: Path) -> None:
    """Raise if a file is not a regular file or lies outside the folder."""
    # The snapshots of the Hugging Face cache are links to the files in a folder beside them.
    homes = (folder.resolve(), folder.resolve().parent.parent / "blobs")
    for path in (*folder.iterdir(), *folder.glob("*/*.safetensors")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ValueError(f"encoder: {path} is neither a file nor a folder.")
        elif not any(path.resolve().is_relative_to(home) for home in homes):
            raise ValueError(f"encoder: {path} is a link to {path.resolve()}, outside its folder.")


def shards_of(index: Path) -> list[str]:
    """Files listed in an index of weights, all of them inside its folder."""
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"encoder: {index} has no weight_map from tensors to files.")
    for name, shard in weight_map.items():
        is_inside = isinstance(shard, str) and not Path(shard).is_absolute()
        if not is_inside or ".." in Path(shard).parts or "\\" in shard or not shard.strip():
            raise ValueError(
                f"encoder: {index} names {shard!r} for {name!r}, which is not a file below its "
                "folder."
            )
    return sorted(set(weight_map.values()))


def check_config(path: Path, n_tensors: int) -> None:
    """Raise if a size in config.json is invalid."""
    for name, value in _settings(read_object(path)):
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        if abs(value) > _LARGEST_SIZE:
            raise ValueError(f"encoder: {path} has {name}={value}, which is too large.")
        is_count = name.endswith(("layers", "layer", "num_hidden_groups"))
        if is_count and value > max(n_tensors, 1):
            raise ValueError(
                f"encoder: {path} has {name}={value}, and there are {n_tensors} tensors of weights."
            )


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value)
        else:
            yield name, value


def check_size(model: nn.Module, n_bytes: int, path: Path) -> None:
    """Raise if a model, on the meta device, is much larger than the weights in its files."""
    needed = sum(part.nbytes for part in (*model.parameters(), *model.buffers()))
    if needed > _MOST_TIMES_THE_FILES * n_bytes + _SMALL_BYTES:
        raise ValueError(
            f"encoder: {path} asks for a network of {needed / 1e9:,.1f} GB, and the weights beside "
            f"it have {n_bytes / 1e9:,.1f} GB."
        )


def check_finite(tensors: dict[str, Tensor], folder: Path) -> None:
    """Raise if a weight is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(
                f"encoder: the weights in {folder} are damaged: {name} has values that are NaN or "
                "infinite."
            )


def read_backend(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer in a tokenizer.json."""
    from tokenizers import Tokenizer

    read_object(path)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise ValueError(f"encoder: {path} is not a tokenizer: {error}") from error


def check_ids(backend: tokenizers.Tokenizer, n_embeddings: int, folder: Path) -> None:
    """Raise if the tokenizer has ids without embeddings."""
    token, largest = max(
        backend.get_vocab(with_added_tokens=True).items(),
        key=lambda item: item[1],
        default=("", -1),
    )
    if largest < 0:
        raise ValueError(f"encoder: the tokenizer in {folder} has no tokens.")
    if largest >= n_embeddings:
        raise ValueError(
            f"encoder: the tokenizer in {folder} has the id {largest} for {token!r}, and there are "
            f"{n_embeddings} embeddings. Are its files of one checkpoint?"
        )
