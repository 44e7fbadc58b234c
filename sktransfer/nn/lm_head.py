"""The head of a language model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# 256 MB of float32: of more, scores are computed in parts, and again for the gradient.
_SCORES_AT_ONCE = 2**26
# A vocabulary sorted by frequency is cut here; most texts consist of the first part.
_CUTOFFS = (3_000, 12_000)


def frequency_cutoffs(n_tokens: int) -> tuple[int, ...]:
    """Cutoffs of a two-level softmax over a vocabulary sorted by falling frequency."""
    return tuple(cutoff for cutoff in _CUTOFFS if 2 * cutoff < n_tokens)


@dataclass(frozen=True)
class LMHeadShape:
    """What a language-model head is built from.

    Attributes
    ----------
    hidden_size : int
        Width of the encoder's states.
    embedding_size : int
        Width of the table of token vectors.
    n_tokens : int
        Rows of the table.
    has_transform : bool
        Whether a dense layer, GELU and a norm stand between states and table, as in BERT; needed
        where the two widths differ.
    has_table : bool
        Whether the head has a table of its own in the place of the encoder's embeddings.
    cutoffs : tuple of int
        Token ids at which the vocabulary, sorted by frequency, is cut into a short list and
        clusters of rarer tokens; empty for a plain softmax.
    norm_eps : float
        Epsilon of the norm.
    """

    hidden_size: int
    embedding_size: int
    n_tokens: int
    has_transform: bool = False
    has_table: bool = False
    cutoffs: tuple[int, ...] = ()
    norm_eps: float = 1e-12


class LMHead(nn.Module):
    """Scores of the tokens of a vocabulary, tied to the embeddings.

    The table of token vectors is given to each call rather than held, so that the weights exist
    once (Press and Wolf 2017, arXiv:1608.05859). With cutoffs the softmax has two levels: short
    list and clusters first, then the tokens of a cluster, only for the states that need them
    (Grave et al. 2017, arXiv:1609.04309). It is a proper distribution over all tokens.

    Parameters
    ----------
    shape : LMHeadShape
        Sizes and parts.
    """

    def __init__(self, shape: LMHeadShape) -> None:
        super().__init__()
        self.shape = shape
        self.transform: nn.Module = nn.Identity()
        if shape.has_transform:
            self.transform = nn.Sequential(
                nn.Linear(shape.hidden_size, shape.embedding_size),
                nn.GELU(),
                nn.LayerNorm(shape.embedding_size, eps=shape.norm_eps),
            )
        self.bias = nn.Parameter(torch.zeros(shape.n_tokens))
        self.table: nn.Parameter | None = None
        if shape.has_table:
            self.table = nn.Parameter(torch.zeros(shape.n_tokens, shape.embedding_size))
        self.clusters: nn.Linear | None = None
        if shape.cutoffs:
            self.clusters = nn.Linear(shape.embedding_size, len(shape.cutoffs))

    def losses(self, states: Tensor, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Minus the log probability (n,) of the tokens `targets` (n,) after `states` (n, hidden).

        `embeddings` is the encoder's table (n_tokens, embedding_size).
        """
        states, table = self._prepare(states, embeddings)
        if self.clusters is None:
            return _plain_losses(states, table, self.bias, targets)
        bounds = torch.tensor(self.shape.cutoffs, device=targets.device)
        cluster = torch.bucketize(targets, bounds, right=True)
        parts = self._parts(table)
        head_targets = torch.where(cluster == 0, targets, len(parts[0][0]) + cluster - 1)
        losses = functional.cross_entropy(
            self._first_scores(states, *parts[0]), head_targets, reduction="none"
        )
        for number, (words, bias) in enumerate(parts[1:], start=1):
            members = torch.nonzero(cluster == number).squeeze(1)
            if len(members):
                scores = functional.linear(states[members], words, bias).float()
                within = targets[members] - self.shape.cutoffs[number - 1]
                rest = functional.cross_entropy(scores, within, reduction="none")
                losses = losses.index_add(0, members, rest)
        return losses

    def log_probabilities(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """Log probability (n, n_tokens) of every token after each of `states` (n, hidden)."""
        states, table = self._prepare(states, embeddings)
        if self.clusters is None:
            scores = functional.linear(states, table, self.bias)
            return functional.log_softmax(scores.float(), dim=1)
        parts = self._parts(table)
        first = self.shape.cutoffs[0]
        heads = functional.log_softmax(self._first_scores(states, *parts[0]), dim=1)
        columns = [heads[:, :first]]
        for number, (words, bias) in enumerate(parts[1:]):
            scores = functional.linear(states, words, bias)
            inside = functional.log_softmax(scores.float(), dim=1)
            columns.append(inside + heads[:, first + number, None])
        return torch.cat(columns, dim=1)

    def _prepare(self, states: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        return self.transform(states), embeddings if self.table is None else self.table

    def _first_scores(self, states: Tensor, words: Tensor, bias: Tensor) -> Tensor:
        assert self.clusters is not None
        scores = functional.linear(states, words, bias)
        return torch.cat([scores, self.clusters(states)], dim=1).float()

    def _parts(self, table: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Rows of the table and biases of the short list and of each cluster.

        Split at once: each slice of its own would have a gradient as large as the table.
        """
        bounds = [0, *self.shape.cutoffs, self.shape.n_tokens]
        sizes = [stop - start for start, stop in pairwise(bounds)]
        return list(zip(table.split(sizes), self.bias.split(sizes), strict=True))


def _plain_losses(states: Tensor, table: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Losses of a softmax over the whole vocabulary, in parts that memory holds."""
    n_rows = max(1, _SCORES_AT_ONCE // len(table))
    if len(states) <= n_rows:
        return _losses_of_part(states, table, bias, targets)
    compute: Callable[..., Tensor] = _losses_of_part
    if torch.is_grad_enabled():
        compute = functools.partial(
            checkpoint, _losses_of_part, use_reentrant=False, preserve_rng_state=False
        )
    parts = zip(states.split(n_rows), targets.split(n_rows), strict=True)
    return torch.cat([compute(part, table, bias, wanted) for part, wanted in parts])


def _losses_of_part(states: Tensor, table: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    scores = functional.linear(states, table, bias)
    return functional.cross_entropy(scores.float(), targets, reduction="none")
