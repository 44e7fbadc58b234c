"""Hugging Face checkpoints as encoders; the one file that imports transformers.

`transformers` takes seconds to import, so every function here imports it for itself.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sktransfer.encoders.checks import (
    SAVED_MARK,
    check_config,
    check_files,
    check_finite,
    check_ids,
    check_size,
    read_backend,
    read_object,
    shards_of,
)
from sktransfer.encoders.digests import files_digest
from sktransfer.encoders.lm_heads import (
    HeadForm,
    checkpoint_head,
    new_lm_head,
    saved_head,
    saved_tensors,
)
from sktransfer.encoders.seal import check_seal
from sktransfer.encoders.tokenizer import FastTokenizer
from sktransfer.nn import Encoder, EncoderFiles
from sktransfer.nn.split import SplitEncoder, halves_of, token_states
from sktransfer.runtime import isolated_seed

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

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
# Models without positions of their own (T5) take windows of any length.
UNLIMITED = 1 << 20

_CPU = torch.device("cpu")


class HuggingFaceEncoder(Encoder):
    """Any text encoder or decoder of `transformers`, seen as token states.

    Parameters
    ----------
    model : PreTrainedModel
        Gives the states as its first output.
    hidden_size, max_length, is_causal
        See :class:`sktransfer.encoders.Encoder`.
    """

    model: PreTrainedModel

    def __init__(
        self, model: PreTrainedModel, *, hidden_size: int, max_length: int, is_causal: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.hidden_size = hidden_size
        self.max_length = max_length
        self.is_causal = is_causal

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        n_layers: int = 1,
        segment_ids: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        # The state below a layer is what the layer is given.
        tops = self.layers()[len(self.layers()) + 1 - n_layers :]
        return token_states(self.model, tops, self.inputs(token_ids, attention_mask, segment_ids))

    def inputs(
        self, token_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """What the model is called with."""
        inputs = {"input_ids": token_ids, "attention_mask": attention_mask.long()}
        # RoBERTa and its kin have one type of token, others none.
        if segment_ids is not None and getattr(self.model.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = segment_ids
        return inputs

    def split(self, depth: int) -> SplitEncoder | None:
        lists = _block_lists(self.model)
        table = self.token_embedding().weight
        ids = (torch.arange(8, device=table.device) * (len(table) // 8)).view(2, 4)
        example = self.inputs(ids, torch.ones_like(ids))
        return halves_of(self.model, lists[0] if len(lists) == 1 else None, depth, example)

    def embedding_modules(self) -> list[nn.Module]:
        return input_modules(self.model)

    def layers(self) -> list[nn.Module]:
        return blocks(self.model)

    def blueprint(self) -> Callable[[], Encoder]:
        # The configuration outlives changes of transformers' classes, which a pickle would not.
        return functools.partial(
            _blank_encoder,
            self.model.config,
            self.hidden_size,
            self.max_length,
            self.is_causal,
            HeadForm.of(self.lm_head),
        )

    def token_embedding(self) -> nn.Embedding:
        embedding = self.model.get_input_embeddings()
        assert isinstance(embedding, nn.Embedding)
        return embedding

    def files(self, pad_id: int) -> EncoderFiles:
        config = copy.deepcopy(self.model.config)
        config.architectures = [type(self.model).__name__]
        # Only where it says something new: some models count their positions from it.
        if _pad_id(config) != pad_id:
            config.pad_token_id = pad_id
        form = HeadForm.of(self.lm_head)
        saved = json.loads(config.to_json_string())
        saved[SAVED_MARK] = {"lm_head": None if form is None else form.to_json()}
        documents = {"config.json": saved}
        tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast"}
        limit = {"model_max_length": self.max_length} if self.max_length < UNLIMITED else {}
        documents["tokenizer_config.json"] = tokenizer | limit
        tensors = _distinct_tensors(self.model, _half_prefix(self.model))
        if self.lm_head is not None:
            tensors |= saved_tensors(self.lm_head)
        return EncoderFiles(documents, tensors)


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
    """

    folder: Path
    is_immutable: bool = False

    @property
    def cache_key(self) -> str:
        return self.digest

    @property
    def digest(self) -> str:
        names = (WEIGHTS_INDEX, "config.json", *TOKENIZER_FILES)
        others = [self.folder / name for name in names]
        present = [*weight_files(self.folder), *(path for path in others if path.is_file())]
        return files_digest(present, self.folder)

    def load(self, *, lm_head: bool = False) -> tuple[HuggingFaceEncoder, FastTokenizer]:
        check_files(self.folder)
        check_seal(self.folder)
        tensors = _read_tensors(weight_files(self.folder), copy=not self.is_immutable)
        check_finite(tensors, self.folder)
        path = self.folder / "config.json"
        check_config(path, len(tensors))
        config = _read_config(self.folder)
        whole = _checked_build(config, sum(tensor.nbytes for tensor in tensors.values()), path)
        _load_weights(whole, config, self.folder, tensors)
        model = _text_half(whole)
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


def new_transformer(
    kind: Literal["gpt", "bert"],
    *,
    n_tokens: int,
    hidden_size: int,
    n_layers: int,
    n_heads: int,
    max_length: int,
    dropout: float,
    pad_id: int,
) -> HuggingFaceEncoder:
    """Transformer with random weights and a language-model head.

    Parameters
    ----------
    kind : {"gpt", "bert"}
        A decoder (GPT-2) or an encoder (BERT), with learned positions and an inner width of four
        times the states'.
    n_tokens : int
        Size of the vocabulary.
    hidden_size : int
        Width of the states; a multiple of `n_heads`.
    n_layers, n_heads : int
        Blocks, and attention heads of each.
    max_length : int
        Most tokens of a window, special tokens included.
    dropout : float
        Rate of all dropouts while training.
    pad_id : int
        Id that fills shorter windows.

    Returns
    -------
    HuggingFaceEncoder
        On the CPU, in float32 and eval mode, drawn from PyTorch's generator as it is.

    Examples
    --------
    >>> encoder = new_transformer(
    ...     "gpt",
    ...     n_tokens=100,
    ...     hidden_size=16,
    ...     n_layers=2,
    ...     n_heads=2,
    ...     max_length=32,
    ...     dropout=0.1,
    ...     pad_id=0,
    ... )
    >>> encoder.is_causal, encoder.lm_head is not None
    (True, True)
    """
    if kind not in ("gpt", "bert"):
        raise ValueError(f"kind must be 'gpt' or 'bert', got {kind!r}.")
    if hidden_size % n_heads:
        raise ValueError(
            f"hidden_size={hidden_size} must be a multiple of n_heads={n_heads}: each head works "
            "on an equal part of the states."
        )
    if not 0 <= pad_id < n_tokens:
        raise ValueError(f"pad_id={pad_id} must be one of the {n_tokens} tokens.")
    sizes = {"n_tokens": n_tokens, "hidden_size": hidden_size, "n_layers": n_layers}
    sizes |= {"n_heads": n_heads, "max_length": max_length, "pad_id": pad_id}
    with _quiet():
        model = _new_gpt(sizes, dropout) if kind == "gpt" else _new_bert(sizes, dropout)
    encoder = HuggingFaceEncoder(
        model, hidden_size=hidden_size, max_length=max_length, is_causal=kind == "gpt"
    )
    head = new_lm_head(encoder)
    if isinstance(head.transform, nn.Sequential):
        dense = head.transform[0]
        assert isinstance(dense, nn.Linear)
        # As BERT's other layers: there are no trained embeddings to start from.
        nn.init.normal_(dense.weight, std=model.config.initializer_range)
    encoder.lm_head = head
    return encoder.eval()


def _new_gpt(sizes: dict[str, int], dropout: float) -> PreTrainedModel:
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=sizes["n_tokens"],
        n_positions=sizes["max_length"],
        n_embd=sizes["hidden_size"],
        n_layer=sizes["n_layers"],
        n_head=sizes["n_heads"],
        n_inner=4 * sizes["hidden_size"],
        activation_function="gelu_pytorch_tanh",  # GPT-2's own, in one operation
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=sizes["pad_id"],
        use_cache=False,
        dtype=torch.float32,
    )
    return GPT2Model(config)


def _new_bert(sizes: dict[str, int], dropout: float) -> PreTrainedModel:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=sizes["n_tokens"],
        max_position_embeddings=sizes["max_length"],
        hidden_size=sizes["hidden_size"],
        num_hidden_layers=sizes["n_layers"],
        num_attention_heads=sizes["n_heads"],
        intermediate_size=4 * sizes["hidden_size"],
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=sizes["pad_id"],
        use_cache=False,
        dtype=torch.float32,
    )
    return BertModel(config, add_pooling_layer=False)


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


def blocks(model: nn.Module) -> list[nn.Module]:
    """Transformer blocks of any architecture, input side first.

    They are the longest module list that lies in no other. Where several are as long (XLM keeps
    attentions and feed-forwards in lists side by side), block i is the i-th of each.
    """
    lists = _block_lists(model)
    if len(lists) == 1:
        return list(lists[0])
    return [nn.ModuleList(parts) for parts in zip(*lists, strict=True)]


def input_modules(model: nn.Module) -> list[nn.Module]:
    """Largest modules outside the blocks that hold embeddings or lie ahead of the blocks."""
    lists = _block_lists(model)
    found: list[nn.Module] = []
    _collect_inputs(model, lists, found)
    return found


def _collect_inputs(module: nn.Module, lists: list[nn.ModuleList], found: list[nn.Module]) -> bool:
    """Add the input modules below `module`; whether the blocks lie there."""
    passed = False
    for child in module.children():
        inside = set(child.modules())
        if any(modules is child for modules in lists):
            passed = True
        elif any(modules in inside for modules in lists):
            passed = _collect_inputs(child, lists, found) or passed
        elif next(child.parameters(), None) is not None:
            embeds = any(isinstance(part, nn.Embedding) for part in inside)
            if embeds or not passed:
                found.append(child)
    return passed


# Asked for at every pass, and a walk through all modules takes milliseconds.
_known_lists: weakref.WeakKeyDictionary[nn.Module, list[nn.ModuleList]] = (
    weakref.WeakKeyDictionary()
)


def _block_lists(model: nn.Module) -> list[nn.ModuleList]:
    lists = _known_lists.get(model)
    if lists is None:
        lists = _known_lists[model] = _longest_lists(model)
    return lists


def _longest_lists(model: nn.Module) -> list[nn.ModuleList]:
    outermost: list[nn.ModuleList] = []
    inner: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and module not in inner:
            outermost.append(module)
            inner.update(module.modules())
    longest = max((len(modules) for modules in outermost), default=0)
    return [modules for modules in outermost if len(modules) == longest > 0]


def _blank_encoder(
    config: PreTrainedConfig,
    hidden_size: int,
    max_length: int,
    is_causal: bool,
    head: HeadForm | None = None,
) -> HuggingFaceEncoder:
    model = _text_half(_build(config))
    encoder = HuggingFaceEncoder(
        model, hidden_size=hidden_size, max_length=max_length, is_causal=is_causal
    )
    if head is not None:
        encoder.lm_head = head.build()
    return encoder


def _read_config(folder: Path) -> PreTrainedConfig:
    from transformers import AutoConfig

    with _quiet():
        try:
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # whatever it makes of a damaged file
            raise ValueError(
                f"encoder: transformers cannot read {folder / 'config.json'}. An architecture "
                f"with code of its own is never run. ({_first_line(error)})"
            ) from error
    # Decoders would else keep keys and values for a continuation that never comes.
    config.use_cache = False
    return config


def _build(config: PreTrainedConfig) -> PreTrainedModel:
    """The architecture, its parameters unset, in float32."""
    from transformers import AutoModel

    # Annotated nowhere in transformers.
    from_config: Callable[..., PreTrainedModel] = AutoModel.from_config
    with _quiet(), isolated_seed(0, _CPU), _NoRandomInit():
        try:
            # An untrained pooler would be weight that never learns.
            return from_config(config, dtype=torch.float32, add_pooling_layer=False)
        except TypeError:
            return from_config(config, dtype=torch.float32)


def _checked_build(config: PreTrainedConfig, n_bytes: int, path: Path) -> PreTrainedModel:
    """The same, or a ValueError where `path`, its config.json, asks for what cannot be built."""
    try:
        with torch.device("meta"):
            check_size(_build(config), n_bytes, path)
        return _build(config)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        if str(path) in str(error):
            raise
        raise ValueError(
            f"encoder: no network can be built from {path}. ({_first_line(error)})"
        ) from error


def _text_half(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder of an encoder-decoder, else the model itself."""
    if getattr(model.config, "is_encoder_decoder", False):
        half: PreTrainedModel = model.get_encoder()
        return half
    return model


def _half_prefix(half: PreTrainedModel) -> str:
    """What the names of the weights of an encoder-decoder's encoder begin with."""
    if not getattr(half.config, "is_encoder_decoder", False):
        return ""
    whole = _build(half.config)
    found = whole.get_encoder()
    return next(f"{name}." for name, module in whole.named_modules() if module is found)


def _distinct_tensors(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Weights with `prefix` ahead of their names; of tied ones the first."""
    distinct: dict[tuple[int, torch.Size], tuple[str, Tensor]] = {}
    for name, value in model.state_dict().items():
        distinct.setdefault((value.data_ptr(), value.shape), (prefix + name, value))
    return dict(distinct.values())


def _head_form(folder: Path) -> str | None:
    """What `files` gave of the head beside its weights."""
    form: str | None = _read_json(folder / "config.json").get(SAVED_MARK, {}).get("lm_head")
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
        first = " ".join(str(error).split("\n")[1:2]).strip() or _first_line(error)
        raise ValueError(
            f"encoder: the weights in {folder} do not fit its config.json. ({first})"
        ) from error


def _assigned(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Let parameters of `model` be their `weights`; return those that have to be copied."""
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
    needed = {value.data_ptr() for value in _text_half(model).state_dict().values()}
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
    with _quiet(), isolated_seed(0, _CPU):
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
    """Width of the states, and whether the first token's ignores the second."""
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
        # RoBERTa and its kin count positions from the padding's index on.
        if module.padding_idx is not None:
            yield module.num_embeddings - module.padding_idx - 1


def _tokenizer_limits(folder: Path) -> Iterator[int]:
    limit = _read_json(folder / "tokenizer_config.json").get("model_max_length")
    # transformers writes 1e30 where nobody set a limit.
    if isinstance(limit, int) and 0 < limit < UNLIMITED:
        yield limit


def _read_tokenizer(folder: Path, config: PreTrainedConfig) -> FastTokenizer:
    path = folder / "tokenizer.json"
    backend = read_backend(path) if path.is_file() else _convert_tokenizer(folder)
    return FastTokenizer(backend, pad_id=_pad_id(config))


def _pad_id(config: PreTrainedConfig) -> int:
    pad_id = getattr(config, "pad_token_id", None)
    if not isinstance(pad_id, int) or not 0 <= pad_id < config.vocab_size:
        return 0
    return pad_id


def _convert_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        # transformers would make an empty vocabulary up.
        raise ValueError(f"encoder: {folder} has no tokenizer.json and no other vocabulary.")
    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            return tokenizer.backend_tokenizer
        except (ValueError, OSError, ImportError, AttributeError, TypeError) as error:
            raise ValueError(
                f"encoder: {folder} has no tokenizer.json, and transformers cannot make one "
                f"of its other files. ({_first_line(error)})"
            ) from error


def _read_json(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class _NoRandomInit(TorchFunctionMode):
    """Leaves out random initialization, which the checkpoint's weights replace at once."""

    _drawn = frozenset(
        f"{name}_"
        for name in (
            "normal",
            "uniform",
            "trunc_normal",
            "kaiming_normal",
            "kaiming_uniform",
            "xavier_normal",
            "xavier_uniform",
        )
    )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func.__name__ not in self._drawn:
            return func(*args, **kwargs)
        tensor: Tensor = args[0] if args else kwargs["tensor"]
        # Not left as it is: draws from a truncated normal are repeated while out of bounds.
        tensor.detach().fill_(kwargs.get("mean", args[1] if len(args) > 1 else 0.0))
        return tensor


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep this thread's transformers from logging, whatever its verbosity."""
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        return record.thread != thread or not record.name.startswith("transformers")

    loggers = [logging.getLogger("transformers"), logging.getLogger()]
    handlers = [handler for logger in loggers for handler in logger.handlers]
    for handler in handlers:
        handler.addFilter(keep)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(keep)
