"""Hugging Face checkpoints as encoders; the one file that imports transformers.

`transformers` takes seconds to import, so every function here imports it for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sktransfer.encoders.building import (
    CPU,
    checked_build,
    first_line,
    quiet_transformers,
    read_config,
    text_half,
)
from sktransfer.encoders.checkpoint_files import (
    TOKENIZER_FILES,
    VOCABULARY_FILES,
    WEIGHTS_INDEX,
    read_json,
    weight_files,
)
from sktransfer.encoders.checks import (
    SAVED_MARK,
    check_config,
    check_files,
    check_finite,
    check_ids,
    read_backend,
)
from sktransfer.encoders.digests import files_digest
from sktransfer.encoders.lm_heads import (
    checkpoint_head,
    saved_head,
)
from sktransfer.encoders.seal import check_seal
from sktransfer.encoders.sentence_settings import SentenceSettings, read_settings
from sktransfer.encoders.transformer import UNLIMITED, HuggingFaceEncoder, pad_id_of
from sktransfer.inputs.fast_tokenizer import FastTokenizer
from sktransfer.runtime import isolated_seed

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class HuggingFaceFolder:
    """Source of an encoder: a folder as `save_pretrained` leaves it, with safetensors weights.

    Parameters
    ----------
    folder : Path
        Folder with config.json, weights and tokenizer.
    is_immutable : bool, default=False
        Whether nobody writes to its files, so that they can be mapped into memory and processes
        share them.
    stated : SentenceSettings or None, default=None
        Pooling and prompt, if they are known whatever the files in the folder say.
    """

    folder: Path
    is_immutable: bool = False
    stated: SentenceSettings | None = None

    @property
    def cache_key(self) -> str:
        return self.digest

    @property
    def digest(self) -> str:
        names = (WEIGHTS_INDEX, "config.json", *TOKENIZER_FILES)
        others = [self.folder / name for name in names]
        present = [*weight_files(self.folder), *(path for path in others if path.is_file())]
        return files_digest(present, self.folder)

    @property
    def settings(self) -> SentenceSettings:
        check_seal(self.folder)
        return self.stated or read_settings(self.folder)

    def load(self, *, lm_head: bool = False) -> tuple[HuggingFaceEncoder, FastTokenizer]:
        check_files(self.folder)
        check_seal(self.folder)
        tensors = _read_tensors(weight_files(self.folder), copy=not self.is_immutable)
        check_finite(tensors, self.folder)
        path = self.folder / "config.json"
        check_config(path, len(tensors))
        config = read_config(self.folder)
        whole = checked_build(config, sum(tensor.nbytes for tensor in tensors.values()), path)
        _load_weights(whole, config, self.folder, tensors)
        model = text_half(whole)
        model.eval()
        hidden_size, is_causal = _probe(model)
        limits = [*_position_limits(model), *_tokenizer_limits(self.folder), UNLIMITED]
        encoder = HuggingFaceEncoder(
            model, hidden_size=hidden_size, max_length=min(limits), is_causal=is_causal
        )
        if lm_head:
            encoder.lm_head = saved_head(tensors, _head_form(self.folder)) or checkpoint_head(
                encoder, config, _named_for(whole, tensors)
            )
        tokenizer = _read_tokenizer(self.folder, model.config)
        check_ids(tokenizer.backend, len(encoder.token_embedding().weight), self.folder)
        return encoder, tokenizer


# Needed in every pass, and traversing all modules takes milliseconds.


def _head_form(folder: Path) -> str | None:
    """The language-model head's form saved in config.json, if any."""
    form: str | None = read_json(folder / "config.json").get(SAVED_MARK, {}).get("lm_head")
    return form


def _load_weights(
    model: PreTrainedModel, config: PreTrainedConfig, folder: Path, tensors: dict[str, Tensor]
) -> None:
    weights = _named_for(model, tensors)
    if _missing(model, weights):
        # Checkpoints of another layout than the classes': transformers knows how to convert them.
        weights = _converted_weights(config, folder)
    missing = _missing(model, weights)
    if missing:
        raise ValueError(
            f"encoder: the weights in {folder} do not fill its architecture: {len(missing)} "
            f"tensors are missing, such as {missing[0]!r}. Is it a checkpoint of another model?"
        )
    try:
        model.load_state_dict(_assigned(model, weights), strict=False)
    except RuntimeError as error:
        first = " ".join(str(error).split("\n")[1:2]).strip() or first_line(error)
        raise ValueError(
            f"encoder: the weights in {folder} do not fit its config.json. ({first})"
        ) from error


def _assigned(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make `weights` the parameters of `model`; return those that have to be copied."""
    taken: set[int] = set()
    for name, parameter in model.named_parameters():
        value = weights.get(name)
        if value is not None and (value.dtype, value.shape) == (parameter.dtype, parameter.shape):
            parameter.data = value
            taken.add(value.data_ptr())
    state = model.state_dict()
    return {
        name: value
        for name, value in weights.items()
        if name not in state or state[name].data_ptr() not in taken
    }


def _read_tensors(files: list[Path], *, copy: bool) -> dict[str, Tensor]:
    """Tensors of safetensors files: copied, or mapped into memory."""
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118
                    tensor = file.get_tensor(key)
                    tensors[key] = tensor.clone() if copy else tensor
        except (SafetensorError, OSError) as error:
            raise ValueError(f"encoder: {path} cannot be read: {error}") from error
    return tensors


def _named_for(model: PreTrainedModel, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a model with a head, or of an early BERT, under the bare model's names."""
    prefix = f"{model.base_model_prefix}."
    endings = {".gamma": ".weight", ".beta": ".bias"}
    named: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key.removeprefix(prefix)
        for old, new in endings.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        named[name] = tensor
    return named


def _missing(model: PreTrainedModel, weights: dict[str, Tensor]) -> list[str]:
    """Parameters and buffers that would stay unset; tied ones count as one.

    An encoder-decoder's decoder, which nobody here reads, may be missing.
    """
    state = model.state_dict()
    filled = {state[name].data_ptr() for name in state if name in weights}
    needed = {value.data_ptr() for value in text_half(model).state_dict().values()}
    return [
        name
        for name in state
        if name not in weights
        and state[name].data_ptr() in needed
        and state[name].data_ptr() not in filled
        and "pooler." not in name
    ]


def _converted_weights(config: PreTrainedConfig, folder: Path) -> dict[str, Tensor]:
    from transformers import AutoModel

    # It draws a bar if the caller's transformers does: the switch is one for the process.
    with quiet_transformers(), isolated_seed(0, CPU):
        model, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    unset = set(report["missing_keys"])
    return {name: value for name, value in model.state_dict().items() if name not in unset}


@torch.no_grad()
def _probe(model: PreTrainedModel) -> tuple[int, bool]:
    """Width of the hidden states, and whether the encoder is causal."""
    embedding = model.get_input_embeddings()
    assert isinstance(embedding.weight, Tensor)
    n_tokens = len(embedding.weight)
    first, second, third = (n_tokens * part // 4 for part in (1, 2, 3))
    token_ids = torch.tensor([[first, second], [first, third]])
    states = model(input_ids=token_ids, attention_mask=torch.ones_like(token_ids))[0]
    is_causal = torch.allclose(states[0, 0], states[1, 0], rtol=1e-4, atol=1e-5)
    return int(states.shape[-1]), is_causal


def _position_limits(model: PreTrainedModel) -> Iterator[int]:
    n_positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(n_positions, int) and n_positions > 0:
        yield n_positions
    for name, module in model.named_modules():
        if not (name.endswith("position_embeddings") and isinstance(module, nn.Embedding)):
            continue
        # RoBERTa and similar models count positions from the padding id plus one.
        if module.padding_idx is not None:
            yield module.num_embeddings - module.padding_idx - 1


def _tokenizer_limits(folder: Path) -> Iterator[int]:
    limit = read_json(folder / "tokenizer_config.json").get("model_max_length")
    # transformers writes 1e30 where nobody set a limit.
    if isinstance(limit, int) and 0 < limit < UNLIMITED:
        yield limit


def _read_tokenizer(folder: Path, config: PreTrainedConfig) -> FastTokenizer:
    path = folder / "tokenizer.json"
    backend = read_backend(path) if path.is_file() else _convert_tokenizer(folder)
    return FastTokenizer(backend, pad_id=pad_id_of(config))


def _convert_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        # transformers would create an empty vocabulary.
        raise ValueError(f"encoder: {folder} has no tokenizer.json and no other vocabulary.")
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            return tokenizer.backend_tokenizer
        except (ValueError, OSError, ImportError, AttributeError, TypeError) as error:
            raise ValueError(
                f"encoder: {folder} has no tokenizer.json, and transformers cannot make one "
                f"of its other files. ({first_line(error)})"
            ) from error
