"""Encoder and language-model head as one module."""

from __future__ import annotations

from torch import Tensor, nn

from sktransfer.nn.encoder import Encoder
from sktransfer.nn.lm_head import LMHead


class LanguageNetwork(nn.Module):
    """An encoder that predicts tokens from its states.

    Parameters
    ----------
    encoder : Encoder
        Has an `lm_head`, which stays its part and is this module's `head`.
    """

    encoder: Encoder

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def head(self) -> LMHead:
        """The head that turns states into scores of tokens."""
        head = self.encoder.lm_head
        assert head is not None
        return head

    def losses(self, states: Tensor, targets: Tensor) -> Tensor:
        """Loss (n_targets,) of each token of `targets` (B, T) that is not -1, from `states`."""
        wanted = targets >= 0
        return self.head.losses(states[wanted], self._table(), targets[wanted])

    def log_probabilities(self, states: Tensor) -> Tensor:
        """Log probability (n, n_tokens) of every token from states (n, hidden_size)."""
        return self.head.log_probabilities(states, self._table())

    def _table(self) -> Tensor:
        return self.encoder.token_embedding().weight
