"""The weight-dropped LSTM of Merity et al. (2018), arXiv:1708.02182."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

# Hidden and cell state of one layer, (1, B, width) each.
LayerState = tuple[Tensor, Tensor]

_INITIAL_RANGE = 0.1


@dataclass(frozen=True)
class LSTMDropout:
    """Dropout rates of an AWD-LSTM; the defaults are those of the paper for WikiText-2.

    Attributes
    ----------
    embedding : float
        Share of the words whose vectors are dropped everywhere in a batch.
    input : float
        Of the embedded words.
    weight : float
        Of the recurrent weights (DropConnect).
    hidden : float
        Between layers.
    output : float
        Of the top layer's states.
    """

    embedding: float = 0.1
    input: float = 0.65
    weight: float = 0.5
    hidden: float = 0.2
    output: float = 0.4

    @classmethod
    def scaled(cls, dropout: float) -> LSTMDropout:
        """Rates that stand to each other as in ULMFiT (Howard and Ruder 2018): 0.4 is theirs."""
        return cls(
            embedding=dropout / 8,
            input=dropout,
            weight=min(1.25 * dropout, 0.9),
            hidden=0.75 * dropout,
            output=dropout,
        )


class LockedDropout(nn.Module):
    """Dropout whose mask is the same at every step of a sequence (Gal and Ghahramani 2016).

    Parameters
    ----------
    rate : float
        Share of the dimensions that are dropped.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, states: Tensor) -> Tensor:
        """States (T, B, width) with the same dimensions dropped at all T."""
        if not self.training or not self.rate:
            return states
        mask = torch.empty_like(states[:1]).bernoulli_(1 - self.rate) / (1 - self.rate)
        return states * mask

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class WeightDropLSTM(nn.Module):
    """One LSTM layer whose recurrent weights are dropped while training, and then its output.

    Parameters
    ----------
    input_size, hidden_size : int
        Widths of input and state.
    weight_dropout : float
        Share of the recurrent weights that are zero in a step.
    output_dropout : float
        Locked dropout of the states handed on.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, weight_dropout: float, output_dropout: float
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size)
        self.weight_dropout = weight_dropout
        self.dropout = LockedDropout(output_dropout)

    def forward(self, inputs: Tensor, state: LayerState | None) -> tuple[Tensor, LayerState]:
        """States (T, B, hidden_size) of inputs (T, B, input_size), and the last state."""
        lstm = self.lstm
        if state is None:
            zeros = inputs.new_zeros(1, inputs.shape[1], lstm.hidden_size, dtype=torch.float32)
            state = zeros, zeros
        states, reached = self._read(inputs, state)
        return self.dropout(states), reached

    def _read(self, inputs: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        found: tuple[Tensor, LayerState]
        with contextlib.ExitStack() as stack:
            if inputs.is_cuda:
                # cuDNN warns about weights that are not contiguous; ours never are.
                stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", message="RNN module weights")
            if self.training and self.weight_dropout:
                recurrent = self.lstm.get_parameter("weight_hh_l0")
                dropped = functional.dropout(recurrent, self.weight_dropout)
                found = functional_call(self.lstm, {"weight_hh_l0": dropped}, (inputs, state))
            else:  # not through functional_call: other threads may predict with the module
                found = self.lstm(inputs, state)
        return found


class AWDLSTM(nn.Module):
    """Embeddings and a stack of weight-dropped LSTM layers, the last as wide as the embeddings.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary.
    embedding_size, hidden_size : int
        Widths of the embeddings (and of the last layer) and of the layers below the last.
    n_layers : int
        Number of LSTM layers.
    dropout : LSTMDropout
        Rates.
    """

    def __init__(
        self,
        n_tokens: int,
        embedding_size: int,
        hidden_size: int,
        n_layers: int,
        dropout: LSTMDropout,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, embedding_size)
        nn.init.uniform_(self.embedding.weight, -_INITIAL_RANGE, _INITIAL_RANGE)
        self.word_dropout = dropout.embedding
        self.input_dropout = LockedDropout(dropout.input)
        widths = [embedding_size, *[hidden_size] * (n_layers - 1), embedding_size]
        self.layers = nn.ModuleList(
            WeightDropLSTM(
                below,
                above,
                weight_dropout=dropout.weight,
                output_dropout=dropout.output if number == n_layers - 1 else dropout.hidden,
            )
            for number, (below, above) in enumerate(pairwise(widths))
        )

    def embed(self, token_ids: Tensor) -> Tensor:
        """Vectors (T, B, embedding_size) of token ids (B, T)."""
        vectors: Tensor = self.embedding(token_ids.t())
        if self.embedding.training and self.word_dropout:
            table = self.embedding.weight
            kept = table.new_empty(len(table)).bernoulli_(1 - self.word_dropout)
            vectors = vectors * (kept / (1 - self.word_dropout))[token_ids.t()].unsqueeze(2)
        dropped: Tensor = self.input_dropout(vectors)
        return dropped

    def forward(
        self, token_ids: Tensor, state: list[LayerState] | None = None
    ) -> tuple[list[Tensor], list[LayerState]]:
        """Read token ids (B, T) on from `state`.

        Returns
        -------
        states : list of Tensor of shape (B, T, width)
            Of the embeddings and each layer, from the bottom.
        state : list of LayerState
            Where the reading stopped, cut off from the graph: gradients end here (truncated
            back-propagation through time).
        """
        states = self.embed(token_ids)
        every, reached = [states], []
        for number, layer in enumerate(self.layers):
            states, last = layer(states, None if state is None else state[number])
            every.append(states)
            reached.append((last[0].detach(), last[1].detach()))
        return [states.transpose(0, 1) for states in every], reached
