"""Save encoders to folders without pickle, and load them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sktransfer.encoders.checks import SAVED_MARK
from sktransfer.encoders.digests import files_digest
from sktransfer.encoders.seal import SEAL_FILE, check_seal, seal_folder
from sktransfer.encoders.sentence_settings import (
    MODULES_FILE,
    PROMPTS_FILE,
    SentenceSettings,
    settings_documents,
)
from sktransfer.inputs.fast_tokenizer import FastTokenizer
from sktransfer.inputs.tokens import Tokenizer
from sktransfer.nn import POOLINGS, Encoder, EncoderFiles
from sktransfer.runtime import isolated_seed, refuse_other_content, replaced_folder, write_file

MANIFEST_FILE = "manifest.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
_FORMAT = 1
# What an estimator may leave beside its encoder: document, arrays, model card.
ESTIMATOR_FILES = ("estimator.json", "estimator.safetensors", "README.md")
_DOCUMENTS = (
    *(MANIFEST_FILE, "config.json", "tokenizer_config.json", *ESTIMATOR_FILES, SEAL_FILE),
    *(MODULES_FILE, PROMPTS_FILE, "1_Pooling"),
)


def save_modules(
    encoder: Encoder, tokenizer: Tokenizer, settings: SentenceSettings, folder: Path
) -> None:
    """Write an encoder and its tokenizer.

    Parameters
    ----------
    encoder : Encoder
        With a manifest, or files of its own.
    tokenizer : Tokenizer
        A `FastTokenizer`.
    settings : SentenceSettings
        Pooling and prompt that go with the encoder.
    folder : Path
        New and empty.
    """
    if not isinstance(tokenizer, FastTokenizer):
        raise ValueError(
            f"encoder: a {type(tokenizer).__name__} cannot be saved; only tokenizers of the "
            "tokenizers library (FastTokenizer) have a form in files."
        )
    files = encoder.files(tokenizer.pad_id) or _manifest_files(encoder, tokenizer, settings)
    documents: dict[str, Any] = dict(files.documents)
    if "tokenizer_config.json" in documents:
        documents["tokenizer_config.json"] |= _special_tokens(tokenizer)
        documents |= settings_documents(settings, encoder)
    _write_tensors(folder / WEIGHTS_FILE, files)
    _write_text(folder / TOKENIZER_FILE, _tokenizer_text(tokenizer))
    for name, document in documents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        _write_text(folder / name, json.dumps(document, indent=2, sort_keys=True) + "\n")


@contextmanager
def saved_encoder(
    encoder: Encoder, tokenizer: Tokenizer, settings: SentenceSettings, folder: Path
) -> Iterator[Path]:
    """Put a saved encoder in the place of `folder`, with what the block adds to it."""
    with encoder_folder(folder) as new:
        save_modules(encoder, tokenizer, settings, new)
        yield new


@contextmanager
def encoder_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder, which takes the place of `folder` behind the block.

    All of its files have their digests there. A `folder` with anything else in it is refused.
    """
    _check_folder(folder)
    with replaced_folder(folder) as new:
        yield new
        seal_folder(new)


@dataclass(frozen=True)
class ManifestFolder:
    """Source of an encoder that is not a Hugging Face checkpoint: a folder with a manifest.

    Parameters
    ----------
    folder : Path
        As `save_modules` left it.
    builder : callable
        Builds the architecture of the manifest's settings.
    """

    folder: Path
    builder: Callable[[dict[str, Any]], Encoder]

    @property
    def cache_key(self) -> str:
        return self.digest

    @property
    def digest(self) -> str:
        return files_digest(
            [self.folder / name for name in (MANIFEST_FILE, WEIGHTS_FILE, TOKENIZER_FILE)]
        )

    @property
    def settings(self) -> SentenceSettings:
        manifest = read_manifest(self.folder)
        pooling, prompt = manifest.get("pooling"), manifest.get("prompt", "")
        if pooling not in (None, *POOLINGS) or not isinstance(prompt, str):
            raise ValueError(
                f"encoder: {self.folder / MANIFEST_FILE} has pooling={pooling!r} and "
                f"prompt={prompt!r}; a pooling is one of {', '.join(POOLINGS)}, a prompt a text."
            )
        return SentenceSettings(pooling, prompt)

    def load(self, *, lm_head: bool = False) -> tuple[Encoder, Tokenizer]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from tokenizers import Tokenizer as Backend

        check_seal(self.folder)
        manifest = read_manifest(self.folder)
        try:
            # Layers draw first weights as they are built.
            with isolated_seed(0, torch.device("cpu")):
                encoder = self.builder(manifest["settings"])
            encoder.load_state_dict(load_file(self.folder / WEIGHTS_FILE), strict=True)
        except (SafetensorError, RuntimeError, KeyError, TypeError, OSError) as error:
            raise ValueError(
                f"encoder: the weights in {self.folder} do not fit its {MANIFEST_FILE}. ({error})"
            ) from error
        if not lm_head:
            encoder.drop_lm_heads()
        path = self.folder / TOKENIZER_FILE
        if not path.is_file():
            raise ValueError(f"encoder: there is no {TOKENIZER_FILE} in {self.folder}.")
        return encoder, FastTokenizer(
            Backend.from_file(str(path)),
            pad_id=manifest["pad_id"],
            special_tokens=manifest["special_tokens"],
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, of a format that this version knows."""
    path = folder / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"encoder: {path} cannot be read: {error}") from error
    needed = {"format", "architecture", "settings", "pad_id", "special_tokens"}
    if not isinstance(manifest, dict) or not needed <= manifest.keys():
        raise ValueError(f"encoder: {path} is not an encoder's manifest.")
    if manifest["format"] != _FORMAT:
        raise ValueError(
            f"encoder: {path} has format {manifest['format']!r}, and this version of sktransfer "
            f"reads format {_FORMAT}: install a newer one."
        )
    return manifest


def _manifest_files(
    encoder: Encoder, tokenizer: FastTokenizer, settings: SentenceSettings
) -> EncoderFiles:
    described = encoder.manifest()
    if described is None:
        raise ValueError(
            f"encoder: a {type(encoder).__name__} cannot be saved, for it has no manifest; "
            "pickle its handle in place of that."
        )
    manifest = {
        SAVED_MARK: {},
        "format": _FORMAT,
        "architecture": type(encoder).__module__.rpartition(".")[2],
        "settings": described,
        "pooling": settings.pooling,
        "prompt": settings.prompt,
        "pad_id": tokenizer.pad_id,
        "special_tokens": bool(tokenizer.prefix or tokenizer.suffix or tokenizer.separator),
    }
    return EncoderFiles({MANIFEST_FILE: manifest}, encoder.state_dict())


def _special_tokens(tokenizer: FastTokenizer) -> dict[str, str]:
    """Special tokens by the names that transformers has for them."""
    added = tokenizer.backend.get_added_tokens_decoder()
    ids = {
        "cls_token": tokenizer.prefix[0] if tokenizer.prefix else None,
        "sep_token": tokenizer.suffix[-1] if tokenizer.suffix else None,
        "mask_token": tokenizer.mask_id,
        "unk_token": tokenizer.unknown_id,
        "pad_token": tokenizer.pad_id,
    }
    return {
        role: added[number].content
        for role, number in ids.items()
        if number in added and added[number].special
    }


def _check_folder(folder: Path) -> None:
    """Raise a ValueError if saving to `folder` would remove other files."""
    marked = (MANIFEST_FILE, "config.json", ESTIMATOR_FILES[0])
    refuse_other_content(
        folder,
        (*_DOCUMENTS, WEIGHTS_FILE, TOKENIZER_FILE),
        lambda: any(_is_marked(folder / name) for name in marked),
    )


def _is_marked(document: Path) -> bool:
    try:
        content = json.loads(document.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and SAVED_MARK in content


def _write_tensors(path: Path, files: EncoderFiles) -> None:
    from safetensors.torch import save_file

    tensors = _distinct(files.tensors)
    # What transformers wants to see there.
    write_file(path, lambda partial: save_file(tensors, partial, metadata={"format": "pt"}))


def _tokenizer_text(tokenizer: FastTokenizer) -> str:
    """Canonical JSON of a tokenizer; the library's map of special tokens has no order."""
    content = json.loads(tokenizer.backend.to_str())
    post = content["post_processor"]
    content["post_processor"] = json.loads(json.dumps(post, sort_keys=True))
    return json.dumps(content, ensure_ascii=False)


def _write_text(path: Path, text: str) -> None:
    write_file(path, lambda partial: partial.write_text(text, "utf-8"))


def _distinct(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors; safetensors takes none that share their memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
