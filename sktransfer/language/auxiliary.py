"""Language modeling beside a task, on the texts of the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sktransfer.encoders import BidirectionalLSTMEncoder, Encoder, Tokenizer
from sktransfer.inputs.batches import Batch
from sktransfer.language.masking import mask_tokens
from sktransfer.nn import LanguageNetwork

_MASKED_SHARE = 0.15


@dataclass(frozen=True)
class TokenTargets:
    """What is to be predicted of a batch.

    Attributes
    ----------
    tokens : list of Tensor of int64, shape (n_windows, n_tokens)
        Token that the state of each place predicts, or -1, for each reading direction.
    token_ids : Tensor of int64, shape (n_windows, n_tokens), or None
        The windows with the masked tokens replaced; None where the task's own states predict.
    """

    tokens: list[Tensor]
    token_ids: Tensor | None

    @property
    def count(self) -> int:
        """Tokens to predict."""
        return int((self.tokens[0] >= 0).sum())


class AuxiliaryLanguage:
    """The auxiliary language-model loss of GPT-1 (Radford et al. 2018, section 3.2).

    An encoder that reads in one direction predicts the next token from the states that the task
    has anyway, and of two such directions each its own, the average of which counts; a
    bidirectional one fills in masked tokens, in a pass of its own.

    Parameters
    ----------
    encoder : Encoder
        Has a language-model head.
    tokenizer : Tokenizer
        Says which tokens are special.
    weight : float
        Factor on the mean loss of a token, beside the mean loss of a row.
    """

    def __init__(self, encoder: Encoder, tokenizer: Tokenizer, weight: float) -> None:
        self.encoder, self.tokenizer, self.weight = encoder, tokenizer, weight
        # The states of two directions lie side by side: together they know every token.
        self.directions: Sequence[Encoder] = [encoder]
        if isinstance(encoder, BidirectionalLSTMEncoder):
            self.directions = encoder.directions_apart()
        self.networks = [LanguageNetwork(one) for one in self.directions]
        self.is_masked = not (encoder.is_causal or encoder.is_recurrent)
        if self.is_masked and tokenizer.mask_id is None:
            raise ValueError(
                "lm_weight: the encoder reads in both directions, but its tokenizer has no mask "
                "token; set lm_weight=0 or take another encoder."
            )

    def targets(self, batch: Batch, rng: np.random.Generator) -> TokenTargets:
        """Draw what is to be predicted of `batch`."""
        if self.is_masked:
            return self._mask(batch, rng)
        return TokenTargets(
            [_neighbors(batch, before=one.n_backward > 0) for one in self.directions], None
        )

    def loss(self, batch: Batch, targets: TokenTargets, states: Tensor) -> Tensor:
        """Weighted sum of the losses of the tokens; `states` are the task's own, of the top layer.

        To be divided by the number of tokens of all batches of a step.
        """
        if targets.token_ids is not None:
            states = self.encoder(targets.token_ids, batch.attention_mask, 1, batch.segment_ids)[0]
        parts = states.split([one.hidden_size for one in self.directions], dim=2)
        losses = [
            network.losses(part, own).sum()
            for network, part, own in zip(self.networks, parts, targets.tokens, strict=True)
        ]
        return self.weight * torch.stack(losses).mean()

    def _mask(self, batch: Batch, rng: np.random.Generator) -> TokenTargets:
        assert self.tokenizer.mask_id is not None
        token_ids = batch.token_ids.cpu().numpy()
        tokenizer = self.tokenizer
        special = [*tokenizer.prefix, *tokenizer.suffix, *tokenizer.separator, tokenizer.pad_id]
        maskable = batch.attention_mask.cpu().numpy().astype(bool) & ~np.isin(token_ids, special)
        masked, targets = mask_tokens(
            token_ids,
            maskable,
            None,
            mask_id=self.tokenizer.mask_id,
            n_tokens=tokenizer.n_tokens,
            share=_MASKED_SHARE,
            rng=rng,
        )
        device = batch.token_ids.device
        return TokenTargets(
            [torch.from_numpy(targets).to(device)], torch.from_numpy(masked).to(device)
        )


def _neighbors(batch: Batch, *, before: bool) -> Tensor:
    """The token after each, or before it; -1 where there is none."""
    targets = torch.full_like(batch.token_ids, -1)
    present = batch.attention_mask.bool()
    if before:
        targets[:, 1:] = batch.token_ids[:, :-1].where(present[:, 1:], -1)
    else:
        targets[:, :-1] = batch.token_ids[:, 1:].where(present[:, 1:], -1)
    return targets
