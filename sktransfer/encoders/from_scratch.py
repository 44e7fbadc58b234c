"""Transformers with random weights, for language models trained from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from sktransfer.encoders.building import quiet_transformers
from sktransfer.encoders.lm_heads import (
    new_lm_head,
)
from sktransfer.encoders.transformer import HuggingFaceEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
    with quiet_transformers():
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
