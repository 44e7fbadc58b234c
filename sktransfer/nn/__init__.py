"""Pure PyTorch: pooling, head, and the model made of encoder, pooling and head."""

from sktransfer.nn._head import Head
from sktransfer.nn._model import TransferModel
from sktransfer.nn._pooling import POOLINGS, pick_tokens, pool_tokens, pool_windows, pooled_size

__all__ = [
    "POOLINGS",
    "Head",
    "TransferModel",
    "pick_tokens",
    "pool_tokens",
    "pool_windows",
    "pooled_size",
]
