"""Pooling and prompt of a checkpoint, as sentence-transformers writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sktransfer.encoders.checks import read_object
from sktransfer.nn.encoder import Encoder

MODULES_FILE = "modules.json"
PROMPTS_FILE = "config_sentence_transformers.json"
# Files of a repository that say how it turns texts into vectors.
SETTINGS_PATTERNS = (MODULES_FILE, PROMPTS_FILE, "*/config.json")

# Our names of the poolings of sentence-transformers. The mean times the root of the number of
# tokens has the direction of the mean, and features are normalized.
_POOLINGS = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean",
    "lasttoken": "last",
}
_THEIR_NAMES = {"cls": "cls", "max": "max", "mean": "mean", "last": "lasttoken"}
# Before version 6 of sentence-transformers, each pooling had a switch of its own.
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Of several prompts without a default, the one for our use.
_PROMPT_NAME = "classification"


@dataclass(frozen=True)
class SentenceSettings:
    """How a checkpoint turns texts into vectors.

    Attributes
    ----------
    pooling : str or None
        Pooling that the checkpoint was trained with, which may be one that is not supported; None
        where it does not say.
    prompt : str
        What it expects before each text.
    """

    pooling: str | None = None
    prompt: str = ""

    def pooling_for(self, encoder: Encoder) -> str:
        """The pooling, or the usual one of the architecture of `encoder`."""
        if self.pooling is not None:
            return self.pooling
        if encoder.is_recurrent:
            return "concat"  # of ULMFiT
        return "last" if encoder.is_causal else "mean"


def read_settings(folder: Path) -> SentenceSettings:
    """Settings that the files of sentence-transformers in `folder` give.

    Parameters
    ----------
    folder : Path
        Folder of a checkpoint, with or without these files.

    Returns
    -------
    SentenceSettings
        Without pooling and prompt where there are no such files.

    Raises
    ------
    ValueError
        If a file cannot be read.
    """
    prompts = folder / PROMPTS_FILE
    prompt = _prompt(prompts) if prompts.is_file() else ""
    return SentenceSettings(_pooling(folder), prompt)


def settings_documents(settings: SentenceSettings, encoder: Encoder) -> dict[str, Any]:
    """Contents of the files that sentence-transformers reads; features have unit length.

    Empty for a pooling that it does not have.
    """
    pooling = _THEIR_NAMES.get(settings.pooling_for(encoder))
    if pooling is None:
        return {}
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    switches = {name: mode == pooling for name, mode in _SWITCHES.items()}
    documents: dict[str, Any] = {
        MODULES_FILE: [
            {
                "idx": number,
                "name": str(number),
                "path": path,
                "type": f"sentence_transformers.models.{kind}",
            }
            for number, (kind, path) in enumerate(paths.items())
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": encoder.hidden_size, **switches},
    }
    if settings.prompt:
        documents[PROMPTS_FILE] = {
            "prompts": {_PROMPT_NAME: settings.prompt},
            "default_prompt_name": _PROMPT_NAME,
        }
    return documents


def _prompt(path: Path) -> str:
    content = read_object(path)
    prompts = content.get("prompts")
    if not isinstance(prompts, dict):
        return ""
    default = content.get("default_prompt_name")
    if isinstance(default, str):
        found = prompts.get(default)
    else:
        found = next((p for name, p in prompts.items() if name.lower() == _PROMPT_NAME), None)
    return found if isinstance(found, str) else ""


def _pooling(folder: Path) -> str | None:
    for name in _pooling_folders(folder):
        path = folder / name / "config.json"
        if not path.is_file():
            raise ValueError(f"encoder: {path} is missing, which {MODULES_FILE} names.")
        modes = _modes(read_object(path))
        stated = " and ".join(modes)
        return _POOLINGS.get(stated, stated)
    return None


def _pooling_folders(folder: Path) -> Iterator[str]:
    """Folders of the poolings that modules.json lists, all of them directly below `folder`."""
    path = folder / MODULES_FILE
    if not path.is_file():
        return
    try:
        modules = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"encoder: {path} cannot be read: {error}") from error
    for module in modules if isinstance(modules, list) else []:
        kind = module.get("type") if isinstance(module, dict) else None
        if not isinstance(kind, str) or kind.rpartition(".")[2] != "Pooling":
            continue
        name = module.get("path")
        if not isinstance(name, str) or Path(name).name != name or name in ("", "..", "."):
            raise ValueError(f"encoder: {path} names {name!r}, which is not a folder beside it.")
        yield name


def _modes(config: dict[str, Any]) -> list[str]:
    mode = config.get("pooling_mode")
    if mode is None:
        return [name for switch, name in _SWITCHES.items() if config.get(switch)] or ["mean"]
    return [str(part) for part in mode] if isinstance(mode, list) else [str(mode)]
