"""Encoders: pretrained modules that turn token ids into hidden states, and how to load them."""

from sktransfer.encoders.awd_lstm import BidirectionalLSTMEncoder, LSTMEncoder, new_lstm
from sktransfer.encoders.checks import SAVED_MARK
from sktransfer.encoders.from_scratch import new_transformer
from sktransfer.encoders.handle import EncoderHandle
from sktransfer.encoders.hub import HubError, download_estimator, upload
from sktransfer.encoders.lm_heads import new_lm_head
from sktransfer.encoders.menu import CLASSIFICATION_ENCODER, DEFAULT_ENCODER, EncoderDescription
from sktransfer.encoders.resolve import available_encoders, resolve_encoder
from sktransfer.encoders.saving import (
    ESTIMATOR_FILES,
    encoder_folder,
    saved_encoder,
)
from sktransfer.encoders.seal import check_seal, seal_folder
from sktransfer.encoders.sentence_settings import SentenceSettings
from sktransfer.inputs import Tokenizer
from sktransfer.inputs.fast_tokenizer import FastTokenizer
from sktransfer.nn.encoder import Encoder
from sktransfer.nn.split import SplitEncoder

__all__ = [
    "CLASSIFICATION_ENCODER",
    "DEFAULT_ENCODER",
    "ESTIMATOR_FILES",
    "SAVED_MARK",
    "BidirectionalLSTMEncoder",
    "Encoder",
    "EncoderDescription",
    "EncoderHandle",
    "FastTokenizer",
    "HubError",
    "LSTMEncoder",
    "SentenceSettings",
    "SplitEncoder",
    "Tokenizer",
    "available_encoders",
    "check_seal",
    "download_estimator",
    "encoder_folder",
    "new_lm_head",
    "new_lstm",
    "new_transformer",
    "resolve_encoder",
    "saved_encoder",
    "seal_folder",
    "upload",
]
