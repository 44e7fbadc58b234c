"""Pure PyTorch: networks, pooling, heads, and the models made of encoder and head."""

from sktransfer.nn._awd_lstm import AWDLSTM, LayerState, LSTMDropout
from sktransfer.nn._head import Head
from sktransfer.nn._language import LanguageNetwork
from sktransfer.nn._lm_head import LMHead, LMHeadShape, frequency_cutoffs
from sktransfer.nn._model import Base, TransferModel, own_weights
from sktransfer.nn._pooling import POOLINGS, pick_tokens, pool_tokens, pool_windows, pooled_size

__all__ = [
    "AWDLSTM",
    "POOLINGS",
    "Base",
    "Head",
    "LMHead",
    "LMHeadShape",
    "LSTMDropout",
    "LanguageNetwork",
    "LayerState",
    "TransferModel",
    "frequency_cutoffs",
    "own_weights",
    "pick_tokens",
    "pool_tokens",
    "pool_windows",
    "pooled_size",
]
