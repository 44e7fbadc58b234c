"""Encoders: pretrained modules that turn token ids into states, and how to get at them."""

from sktransfer.encoders._halves import Halves
from sktransfer.encoders._handle import EncoderHandle
from sktransfer.encoders._lm_heads import new_lm_head
from sktransfer.encoders._protocol import Encoder, Tokenizer
from sktransfer.encoders._resolve import DEFAULT_ENCODER, available_encoders, resolve_encoder
from sktransfer.encoders._saving import ESTIMATOR_FILE, saved_encoder
from sktransfer.encoders._seal import check_seal, seal_folder
from sktransfer.encoders._vocabulary import train_tokenizer
from sktransfer.encoders.awd_lstm import LSTMEncoder, TwoWayEncoder, new_lstm
from sktransfer.encoders.huggingface import new_transformer

__all__ = [
    "DEFAULT_ENCODER",
    "ESTIMATOR_FILE",
    "Encoder",
    "EncoderHandle",
    "Halves",
    "LSTMEncoder",
    "Tokenizer",
    "TwoWayEncoder",
    "available_encoders",
    "check_seal",
    "new_lm_head",
    "new_lstm",
    "new_transformer",
    "resolve_encoder",
    "saved_encoder",
    "seal_folder",
    "train_tokenizer",
]
