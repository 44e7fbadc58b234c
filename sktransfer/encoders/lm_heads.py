"""Language-model heads: new ones and those of checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer.nn.encoder import Encoder
from sktransfer.nn.lm_head import LMHead, LMHeadShape

# Where `EncoderHandle.save` puts the head in the weights of a Hugging Face checkpoint.
SAVED_PREFIX = "sktransfer_lm_head."
# Logits that pass through more than a table after the states.
_RESCALED = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "logits_soft_cap",
    "logits_mup_width_multiplier",
    "lm_head_multiplier",
)
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


@dataclass(frozen=True)
class HeadForm:
    """Everything about a head except its weights."""

    shape: LMHeadShape
    activation: str = "gelu"

    @classmethod
    def of(cls, head: LMHead | None) -> HeadForm | None:
        """Form of `head`, None where there is none."""
        if head is None:
            return None
        if isinstance(head.transform, nn.Identity):
            return cls(head.shape)
        assert isinstance(head.transform, nn.Sequential)
        module = head.transform[1]
        if isinstance(module, nn.GELU):
            return cls(head.shape, "gelu" if module.approximate == "none" else "gelu_tanh")
        return cls(head.shape, "relu" if isinstance(module, nn.ReLU) else "silu")

    def build(self) -> LMHead:
        """A head of this form with uninitialized parameters."""
        with torch.device("meta"):
            head = LMHead(self.shape)
        if isinstance(head.transform, nn.Sequential):
            head.transform[1] = _activation(self.activation)
        head.to_empty(device="cpu")
        return head

    def to_json(self) -> str:
        """Text that :meth:`from_json` reads."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> HeadForm:
        """Form that :meth:`to_json` wrote."""
        content = json.loads(text)
        shape = content["shape"] | {"cutoffs": tuple(content["shape"]["cutoffs"])}
        return cls(LMHeadShape(**shape), content["activation"])


@dataclass(frozen=True)
class _Names:
    """Names of the head's weights in a family of checkpoints.

    `activation` and `eps` are attributes of the configuration, or None where the family has a
    GELU and 1e-12. A tensor below `roots` that is not named here makes the head unknown.
    """

    roots: tuple[str, ...]
    dense: str
    norm: str
    biases: tuple[str, ...]
    table: str
    activation: str | None = None
    eps: str | None = "layer_norm_eps"


_MASKED = (
    _Names(
        roots=("cls.predictions.",),
        dense="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
        biases=("cls.predictions.decoder.bias", "cls.predictions.bias"),
        table="cls.predictions.decoder.weight",
        activation="hidden_act",
    ),
    _Names(
        roots=("lm_head.",),
        dense="lm_head.dense",
        norm="lm_head.layer_norm",
        biases=("lm_head.decoder.bias", "lm_head.bias"),
        table="lm_head.decoder.weight",
    ),
    _Names(
        roots=("vocab_",),
        dense="vocab_transform",
        norm="vocab_layer_norm",
        biases=("vocab_projector.bias",),
        table="vocab_projector.weight",
        activation="activation",
        eps=None,
    ),
    _Names(
        roots=("head.", "decoder."),
        dense="head.dense",
        norm="head.norm",
        biases=("decoder.bias",),
        table="decoder.weight",
        activation="classifier_activation",
        eps="norm_eps",
    ),
    _Names(
        roots=("predictions.",),
        dense="predictions.dense",
        norm="predictions.LayerNorm",
        biases=("predictions.decoder.bias", "predictions.bias"),
        table="predictions.decoder.weight",
        activation="hidden_act",
    ),
    _Names(
        roots=("generator_predictions.", "generator_lm_head."),
        dense="generator_predictions.dense",
        norm="generator_predictions.LayerNorm",
        biases=("generator_lm_head.bias",),
        table="generator_lm_head.weight",
    ),
)
# GPT-NeoX calls its table embed_out.
_TABLES = ("lm_head", "embed_out")


def new_lm_head(encoder: Encoder) -> LMHead:
    """Language-model head for an encoder without one, tied to its embeddings.

    A decoder's states are held against the embeddings as they are. Other encoders, and those
    whose states have another width than their embeddings, get a dense layer, GELU and a norm in
    between; the dense layer starts as the identity where it is square.

    Parameters
    ----------
    encoder : Encoder
        Is left as it is: assign the head to its `lm_head`.

    Returns
    -------
    LMHead
        On the device of the embeddings. Where the dense layer is not square, its weights are
        drawn from PyTorch's generator as it is.
    """
    weight = encoder.token_embedding().weight
    n_tokens, embedding_size = weight.shape
    has_transform = not encoder.is_causal or embedding_size != encoder.hidden_size
    head = HeadForm(
        LMHeadShape(encoder.hidden_size, embedding_size, n_tokens, has_transform=has_transform)
    ).build()
    nn.init.zeros_(head.bias)
    if isinstance(head.transform, nn.Sequential):
        dense, _, norm = head.transform
        assert isinstance(dense, nn.Linear)
        assert isinstance(norm, nn.LayerNorm)
        if embedding_size == encoder.hidden_size:
            nn.init.eye_(dense.weight)
        else:
            nn.init.normal_(dense.weight, std=0.02)
        nn.init.zeros_(dense.bias)
        norm.reset_parameters()
    return head.to(weight.device)


def saved_tensors(head: LMHead) -> dict[str, Tensor]:
    """Weights of `head` under the names that `saved_head` reads."""
    return {SAVED_PREFIX + key: value for key, value in head.state_dict().items()}


def saved_head(tensors: dict[str, Tensor], form: str | None) -> LMHead | None:
    """The head that `saved_tensors` and `HeadForm.to_json` gave; None without one."""
    weights = {
        key.removeprefix(SAVED_PREFIX): value
        for key, value in tensors.items()
        if key.startswith(SAVED_PREFIX)
    }
    if form is None or not weights:
        return None
    head = HeadForm.from_json(form).build()
    head.load_state_dict(weights)
    return head


def checkpoint_head(encoder: Encoder, config: Any, tensors: dict[str, Tensor]) -> LMHead | None:
    """The head that a Hugging Face checkpoint was trained with.

    Parameters
    ----------
    encoder : Encoder
        Built of the same checkpoint.
    config : PreTrainedConfig
        The checkpoint's configuration.
    tensors : dict of str to Tensor
        All its tensors, without the prefix of the base model and without names of old.

    Returns
    -------
    LMHead or None
        None where there is no head, or one of another kind than `LMHead`.
    """
    if getattr(config, "is_encoder_decoder", False):
        return None
    for names in _MASKED:
        if f"{names.dense}.weight" in tensors:
            return _masked_head(names, encoder, config, tensors)
    return _plain_head(encoder, config, tensors) if encoder.is_causal else None


def _masked_head(
    names: _Names, encoder: Encoder, config: Any, tensors: dict[str, Tensor]
) -> LMHead | None:
    bias = next((tensors[name] for name in names.biases if name in tensors), None)
    table = _own_table(encoder, config, tensors.get(names.table))
    activation = getattr(config, names.activation) if names.activation else "gelu"
    known = {*names.biases, names.table}
    known |= {f"{part}.{kind}" for part in (names.dense, names.norm) for kind in ("weight", "bias")}
    if (
        any(key.startswith(names.roots) and key not in known for key in tensors)
        or activation not in _ACTIVATIONS
        or f"{names.norm}.weight" not in tensors
        # A classifier of ModernBERT has the rest of the head, too.
        or (bias is None and names.table not in tensors)
        or (names.table not in tensors and not _is_tied(config))
    ):
        return None
    dense, norm = tensors[f"{names.dense}.weight"], tensors[f"{names.norm}.weight"]
    n_tokens, embedding_size = encoder.token_embedding().weight.shape
    shape = LMHeadShape(
        encoder.hidden_size,
        embedding_size,
        n_tokens,
        has_transform=True,
        has_table=table is not None,
        norm_eps=float(getattr(config, names.eps)) if names.eps else 1e-12,
    )
    weights = {
        "transform.0.weight": dense,
        "transform.0.bias": tensors.get(f"{names.dense}.bias", torch.zeros(embedding_size)),
        "transform.2.weight": norm,
        "transform.2.bias": tensors.get(f"{names.norm}.bias", torch.zeros(embedding_size)),
        "bias": torch.zeros(n_tokens) if bias is None else bias,
    }
    return _filled(HeadForm(shape, _ACTIVATIONS[activation]), weights, table)


def _plain_head(encoder: Encoder, config: Any, tensors: dict[str, Tensor]) -> LMHead | None:
    """The head of a decoder: a matrix and, rarely, a bias."""
    # A scale of 1 changes nothing.
    if any(getattr(config, name, None) not in (None, 1, 1.0) for name in _RESCALED):
        return None
    given = next((tensors[f"{n}.weight"] for n in _TABLES if f"{n}.weight" in tensors), None)
    bias = next((tensors[f"{name}.bias"] for name in _TABLES if f"{name}.bias" in tensors), None)
    trained = any(
        name.endswith(("LMHeadModel", "ForCausalLM")) for name in config.architectures or ()
    )
    if given is None and not (trained and _is_tied(config)):
        return None
    table = _own_table(encoder, config, given)
    n_tokens, embedding_size = encoder.token_embedding().weight.shape
    if embedding_size != encoder.hidden_size:
        return None
    shape = LMHeadShape(encoder.hidden_size, embedding_size, n_tokens, has_table=table is not None)
    weights = {"bias": torch.zeros(n_tokens) if bias is None else bias}
    return _filled(HeadForm(shape), weights, table)


def _is_tied(config: Any) -> bool:
    return bool(getattr(config, "tie_word_embeddings", True))


def _own_table(encoder: Encoder, config: Any, given: Tensor | None) -> Tensor | None:
    """The matrix in the checkpoint, unless it is tied to the embeddings."""
    if given is None:
        return None
    embeddings = encoder.token_embedding().weight.detach()
    same = given.shape == embeddings.shape and torch.equal(given.float(), embeddings)
    return None if same and _is_tied(config) else given


def _filled(form: HeadForm, weights: dict[str, Tensor], table: Tensor | None) -> LMHead | None:
    if table is not None:
        weights = weights | {"table": table}
    head = form.build()
    state = head.state_dict()
    if any(weights[name].shape != value.shape for name, value in state.items()):
        return None
    head.load_state_dict(weights)
    return head


def _activation(name: str) -> nn.Module:
    if name == "gelu":
        return nn.GELU()
    if name == "gelu_tanh":
        return nn.GELU(approximate="tanh")
    return nn.ReLU() if name == "relu" else nn.SiLU()
