"""Text that a causal language model generates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sktransfer.encoders import Encoder, LSTMEncoder
from sktransfer.inputs import Tokenizer
from sktransfer.language.train import language_network


@torch.inference_mode()
def continue_text(
    encoder: Encoder,
    tokenizer: Tokenizer,
    prompt: str,
    n_tokens: int,
    *,
    temperature: float,
    rng: np.random.Generator,
) -> str:
    """`prompt` and up to `n_tokens` tokens that a causal `encoder` draws after it."""
    network = language_network(encoder)
    ids = [*tokenizer.prefix, *tokenizer.encode([prompt])[0].tolist()]
    if not ids:  # a text begins where another one ends
        ids = list(tokenizer.suffix)
    if not ids:
        raise ValueError("prompt is empty, and the encoder has no token that begins a text.")
    unsaid = {*tokenizer.prefix, *tokenizer.separator, tokenizer.pad_id} - {*tokenizer.suffix}
    if tokenizer.unknown_id is not None:
        unsaid.add(tokenizer.unknown_id)
    state, unread = None, ids
    for _ in range(n_tokens):
        if isinstance(encoder, LSTMEncoder):
            layers, state = encoder.read(torch.tensor([unread]), state)
            last = layers[-1][:, -1]
        else:
            window = torch.tensor([ids[-encoder.max_length :]])
            last = encoder(window, torch.ones_like(window))[0][:, -1]
        chosen = _draw(network.log_probabilities(last)[0], unsaid, temperature, rng)
        if chosen in tokenizer.suffix:
            break
        ids.append(chosen)
        unread = [chosen]
    return tokenizer.decode([i for i in ids if i not in tokenizer.suffix])


def _draw(
    log_probabilities: Tensor, unsaid: set[int], temperature: float, rng: np.random.Generator
) -> int:
    log_probabilities = log_probabilities.double()
    log_probabilities[sorted(unsaid)] = -torch.inf
    if not temperature:
        return int(log_probabilities.argmax())
    probabilities = torch.softmax(log_probabilities / temperature, dim=0).numpy()
    return int(rng.choice(len(probabilities), p=probabilities))
