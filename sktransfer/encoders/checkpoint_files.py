"""The files of a Hugging Face checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sktransfer.encoders.checks import (
    read_object,
    shards_of,
)

if TYPE_CHECKING:
    pass

WEIGHTS_FILE = "model.safetensors"


WEIGHTS_INDEX = "model.safetensors.index.json"


VOCABULARY_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spm.model",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)


TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder.

    Parameters
    ----------
    folder : Path
        Folder with config.json beside the weights.

    Returns
    -------
    list of Path
        One file, or the shards that the index names.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"encoder: there is no config.json in {folder}.")
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index = folder / WEIGHTS_INDEX
    if index.is_file():
        files = [folder / shard for shard in shards_of(index)]
        for file in files:
            if not file.is_file():
                raise ValueError(f"encoder: {file} is missing, which {index.name} names.")
        return files
    found = ", ".join(sorted(path.name for path in folder.glob("*.bin"))) or "no weights at all"
    raise ValueError(
        f"encoder: {folder} has no {WEIGHTS_FILE} ({found}). Only safetensors weights are read, "
        "since others can run code: save the model again with save_pretrained."
    )


def read_json(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}
