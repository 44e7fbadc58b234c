"""Pure PyTorch: networks, pooling, heads, and the models made of encoder and head."""

from sktransfer.nn.awd_lstm import AWDLSTM, LayerState, LSTMDropout
from sktransfer.nn.encoder import Encoder, EncoderFiles
from sktransfer.nn.head import Head
from sktransfer.nn.language import LanguageNetwork
from sktransfer.nn.lm_head import LMHead, LMHeadShape, frequency_cutoffs
from sktransfer.nn.model import PretrainedState, TransferModel, own_weights
from sktransfer.nn.pooling import POOLINGS, pick_tokens, pool_tokens, pool_windows, pooled_size
from sktransfer.nn.split import SplitEncoder, eval_mode

__all__ = [
    "AWDLSTM",
    "POOLINGS",
    "Encoder",
    "EncoderFiles",
    "Head",
    "LMHead",
    "LMHeadShape",
    "LSTMDropout",
    "LanguageNetwork",
    "LayerState",
    "PretrainedState",
    "SplitEncoder",
    "TransferModel",
    "eval_mode",
    "frequency_cutoffs",
    "own_weights",
    "pick_tokens",
    "pool_tokens",
    "pool_windows",
    "pooled_size",
]
