"""Initial networks of a language model: pretrained or new ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sktransfer.encoders import (
    BidirectionalLSTMEncoder,
    Encoder,
    EncoderHandle,
    LSTMEncoder,
    SentenceSettings,
    new_lm_head,
    new_lstm,
    new_transformer,
)
from sktransfer.inputs import Tokenizer
from sktransfer.language.corpus import Corpus
from sktransfer.language.vocabulary import train_tokenizer
from sktransfer.nn import LMHead, frequency_cutoffs

ARCHITECTURES = ("awd_lstm", "gpt", "bert")
Tokens = Literal["word", "bpe", "wordpiece"]
_TOKENS: dict[str, Tokens] = {"awd_lstm": "word", "gpt": "bpe", "bert": "wordpiece"}


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network that is trained from scratch."""

    embedding_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    max_length: int
    dropout: float


@dataclass(frozen=True)
class PretrainingStart:
    """What a training starts from: a tokenizer, and an encoder for each reading direction."""

    name: str
    tokenizer: Tokenizer
    encoders: list[Encoder]
    settings: SentenceSettings


def learning_rate_for(encoder: Encoder, *, from_scratch: bool) -> float:
    """Peak learning rate, lower for a pretrained network."""
    if encoder.is_recurrent:
        return 2e-3 if from_scratch else 1e-3
    return 1e-3 if from_scratch else 1e-4


def from_checkpoint(handle: EncoderHandle) -> PretrainingStart:
    """A pretrained encoder, with its own language-model head where it has one."""
    encoder, tokenizer = handle.load_shared(lm_head=True)
    return PretrainingStart(handle.name, tokenizer, directions_of(encoder), handle.settings)


def from_scratch(
    architecture: Literal["awd_lstm", "gpt", "bert"],
    corpus: Corpus,
    sizes: Sizes,
    *,
    direction: Literal["forward", "backward", "both"],
    tokens: Tokens | Literal["auto"],
    vocab_size: int | None,
    min_frequency: int,
) -> PretrainingStart:
    """Vocabulary of `corpus`, and random weights drawn from PyTorch's generator as it is."""
    if direction != "forward" and architecture != "awd_lstm":
        raise ValueError(f"direction={direction!r} is for architecture='awd_lstm' only.")
    tokenizer = train_tokenizer(
        corpus,
        architecture=architecture,
        tokens=_TOKENS[architecture] if tokens == "auto" else tokens,
        vocab_size=vocab_size,
        min_frequency=min_frequency,
    )
    if architecture != "awd_lstm":
        transformer = new_transformer(
            architecture,
            n_tokens=tokenizer.n_tokens,
            hidden_size=sizes.hidden_size,
            n_layers=sizes.n_layers,
            n_heads=sizes.n_heads,
            max_length=sizes.max_length,
            dropout=sizes.dropout,
            pad_id=tokenizer.pad_id,
        )
        if architecture == "gpt":  # every token is predicted, and ids go by frequency
            head = with_lm_head(transformer).lm_head
            assert head is not None
            cutoffs = frequency_cutoffs(tokenizer.n_tokens)
            transformer.lm_head = LMHead(replace(head.shape, cutoffs=cutoffs))
        return PretrainingStart(architecture, tokenizer, [transformer], SentenceSettings())
    directions = ("forward", "backward") if direction == "both" else (direction,)
    encoders: list[Encoder] = [
        new_lstm(
            n_tokens=tokenizer.n_tokens,
            embedding_size=sizes.embedding_size,
            hidden_size=sizes.hidden_size,
            n_layers=sizes.n_layers,
            dropout=sizes.dropout,
            reads_backward=name == "backward",
        )
        for name in directions
    ]
    return PretrainingStart(architecture, tokenizer, encoders, SentenceSettings())


def with_lm_head(encoder: Encoder) -> Encoder:
    """`encoder` itself, with a new language-model head if it had none."""
    if encoder.lm_head is None:
        encoder.lm_head = new_lm_head(encoder)
    return encoder


def directions_of(encoder: Encoder) -> list[Encoder]:
    """The encoders of `encoder`, one per reading direction."""
    if not isinstance(encoder, BidirectionalLSTMEncoder):
        return [encoder]
    return [*encoder.directions_apart()]


def joined(encoders: list[Encoder]) -> Encoder:
    """One encoder of one or two directions."""
    if len(encoders) == 1:
        return encoders[0]
    first, second = encoders
    assert isinstance(first, LSTMEncoder)
    assert isinstance(second, LSTMEncoder)
    return BidirectionalLSTMEncoder(first, second)
