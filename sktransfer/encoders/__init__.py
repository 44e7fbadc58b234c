"""Encoders: pretrained modules that turn token ids into states, and how to get at them."""

from sktransfer.encoders._handle import EncoderHandle
from sktransfer.encoders._protocol import Encoder, Tokenizer
from sktransfer.encoders._resolve import DEFAULT_ENCODER, available_encoders, resolve_encoder

__all__ = [
    "DEFAULT_ENCODER",
    "Encoder",
    "EncoderHandle",
    "Tokenizer",
    "available_encoders",
    "resolve_encoder",
]
