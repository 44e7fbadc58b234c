"""A network of transformers as an encoder: its layers and embeddings found by structure."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sktransfer.encoders.building import build_model, text_half
from sktransfer.encoders.checks import (
    SAVED_MARK,
)
from sktransfer.encoders.lm_heads import (
    HeadForm,
    saved_tensors,
)
from sktransfer.encoders.packing import FirstPosition, Group, first_position_of, read_packed
from sktransfer.nn import Encoder, EncoderFiles
from sktransfer.nn.split import SplitEncoder, halves_of, token_states
from sktransfer.runtime.attention import MaskedAttentionError, Unpadding

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# Models without positions of their own (T5) take windows of any length.
UNLIMITED = 1 << 20


_known_lists: weakref.WeakKeyDictionary[nn.Module, list[nn.ModuleList]] = (
    weakref.WeakKeyDictionary()
)


class HuggingFaceEncoder(Encoder):
    """Any text encoder or decoder of `transformers`.

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
        self._known_position = FirstPosition()

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        n_layers: int = 1,
        segment_ids: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        inputs = self.inputs(token_ids, attention_mask, segment_ids)
        return token_states(self.model, self._tops(n_layers), inputs)

    def unpadded(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        n_layers: int = 1,
        segment_ids: Tensor | None = None,
        *,
        multiple: int = 1,
    ) -> tuple[Tensor, ...]:
        unpadding = self.unpadding(attention_mask, multiple)
        if unpadding is not None:
            inputs = self.inputs(token_ids, attention_mask, segment_ids, unpadding)
            # A sliding window needs a mask if the sequence, unlike the example, is longer than it.
            with contextlib.suppress(MaskedAttentionError), unpadding:
                layers = token_states(self.model, self._tops(n_layers), inputs)
                return tuple(map(unpadding.windows, layers))
        return self(token_ids, attention_mask, n_layers, segment_ids)  # type: ignore[no-any-return]

    def unpadding(self, attention_mask: Tensor, multiple: int = 1) -> Unpadding | None:
        n_tokens = int(attention_mask.sum())
        is_full = n_tokens == attention_mask.numel() and n_tokens % multiple == 0
        if is_full or self._first_position() is None:
            return None
        return Unpadding(attention_mask, multiple)

    def inputs(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        segment_ids: Tensor | None = None,
        unpadding: Unpadding | None = None,
    ) -> dict[str, Tensor]:
        """Keyword arguments of the model."""
        inputs = {}
        if unpadding is not None:
            token_ids = unpadding.sequence(token_ids)
            attention_mask = torch.ones_like(token_ids)
            segment_ids = None if segment_ids is None else unpadding.sequence(segment_ids)
            inputs["position_ids"] = unpadding.positions() + (self._first_position() or 0)
        inputs |= {"input_ids": token_ids, "attention_mask": attention_mask.long()}
        # RoBERTa and similar models have a single token type, others none.
        if segment_ids is not None and getattr(self.model.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = segment_ids
        return inputs

    def split(self, depth: int) -> SplitEncoder | None:
        lists = _block_lists(self.model)
        table = self.token_embedding().weight
        ids = (torch.arange(8, device=table.device) * (len(table) // 8)).view(2, 4)
        example = self.inputs(ids, torch.ones_like(ids))
        return halves_of(self.model, lists[0] if len(lists) == 1 else None, depth, example)

    def packed(self, groups: Sequence[Group], n_layers: int = 1) -> list[tuple[Tensor, ...]] | None:
        first_position = self._first_position()
        if first_position is None:
            return None
        read = functools.partial(self._read_sequence, n_layers)
        try:
            return read_packed(read, groups, first_position)
        except MaskedAttentionError:
            # A sliding window needs a mask if the sequence, unlike the example, is longer than it.
            return None

    def _first_position(self) -> int | None:
        """Position id of the first token of a window; None if windows cannot share a sequence."""

        def read_alone(token_ids: Tensor) -> Tensor:
            return self(token_ids, torch.ones_like(token_ids))[0]  # type: ignore[no-any-return]

        read, pad_id = functools.partial(self._read_sequence, 1), pad_id_of(self.model.config)
        return self._known_position.get(
            lambda: first_position_of(self.model, read, read_alone, pad_id)
        )

    def _read_sequence(
        self, n_layers: int, token_ids: Tensor, segment_ids: Tensor | None, position_ids: Tensor
    ) -> tuple[Tensor, ...]:
        inputs = self.inputs(token_ids, torch.ones_like(token_ids), segment_ids)
        inputs["position_ids"] = position_ids
        return token_states(self.model, self._tops(n_layers), inputs)

    def _tops(self, n_layers: int) -> list[nn.Module]:
        """Layers that are given the states below the last ones."""
        # The state below a layer is what the layer is given.
        return self.layers()[len(self.layers()) + 1 - n_layers :]

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
        if pad_id_of(config) != pad_id:
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
    model = text_half(build_model(config))
    encoder = HuggingFaceEncoder(
        model, hidden_size=hidden_size, max_length=max_length, is_causal=is_causal
    )
    if head is not None:
        encoder.lm_head = head.build()
    return encoder


def _half_prefix(half: PreTrainedModel) -> str:
    """What the names of the weights of an encoder-decoder's encoder begin with."""
    if not getattr(half.config, "is_encoder_decoder", False):
        return ""
    whole = build_model(half.config)
    found = whole.get_encoder()
    return next(f"{name}." for name, module in whole.named_modules() if module is found)


def _distinct_tensors(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Weights with `prefix` ahead of their names; of tied ones the first."""
    distinct: dict[tuple[int, torch.Size], tuple[str, Tensor]] = {}
    for name, value in model.state_dict().items():
        distinct.setdefault((value.data_ptr(), value.shape), (prefix + name, value))
    return dict(distinct.values())


def pad_id_of(config: PreTrainedConfig) -> int:
    pad_id = getattr(config, "pad_token_id", None)
    if not isinstance(pad_id, int) or not 0 <= pad_id < config.vocab_size:
        return 0
    return pad_id
