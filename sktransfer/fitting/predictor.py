"""Predictions of a fitted network: token ids, features and scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.fitting.context import window_length
from sktransfer.fitting.lexical import LexicalChannel
from sktransfer.inputs import EncodedRows, Row, RowFormat, Tokenizer, distinct, join_ranges
from sktransfer.nn import TransferModel
from sktransfer.runtime import (
    device_memory,
    find_stack_level,
    progress_bar,
    resolve_device,
    resolve_precision,
)
from sktransfer.tasks import BlendableTask, Task
from sktransfer.training import launch_features

_MAX_UNITS = 65_536


@dataclass(frozen=True)
class ScoredRows:
    """Rows, and the scores (n_units, n_outputs) of their units in order."""

    rows: Sequence[Row]
    encoded: EncodedRows
    scores: NDArray[np.float32]

    def by_row(self) -> list[NDArray[np.float32]]:
        """Scores of the units of each row."""
        return np.split(self.scores, self.encoded.unit_start[1:-1])


@dataclass(frozen=True)
class Predictor:
    """A fitted network with its tokenizer and row format.

    Attributes
    ----------
    model, tokenizer : TransferModel, Tokenizer
        The network and what it reads with.
    row_format : RowFormat
        How rows become token ids.
    max_length : int
        Most tokens of a window.
    device, precision : str
        As the parameters of the estimators.
    task : Task or None
        What the scores mean; None where there are none.
    lexical : LexicalChannel or None
        Linear model whose scores are blended with the network's, with `lexical_weight`.
    verbose : int
        Whether there is a progress bar.
    """

    model: TransferModel
    tokenizer: Tokenizer
    row_format: RowFormat
    max_length: int
    device: str
    precision: str
    task: Task | None = None
    lexical: LexicalChannel | None = None
    lexical_weight: float = 0.0
    verbose: int = 0

    def encode(self, texts: Sequence[Row]) -> EncodedRows:
        """Token ids of `texts`, without a warning about cuts."""
        length = window_length(self.model.encoder, self.row_format, self.max_length)
        return self.row_format.encode(texts, self.tokenizer, max_length=length)

    def read(self, texts: Sequence[Row]) -> EncodedRows:
        """Token ids of `texts`; texts that were cut give a warning."""
        rows = self.encode(texts)
        length = window_length(self.model.encoder, self.row_format, self.max_length)
        warn_of_cuts(self.row_format, length, rows)
        return rows

    def features(self, texts: Sequence[Row], *, writes: bool = False) -> NDArray[np.float32]:
        """Features (n_rows, n_features) of rows that are scored as a whole.

        Each distinct row is computed once. What is computed is kept in the folder `memory` of the
        model only if it `writes`.
        """
        rows = self.read(texts)
        first, inverse = distinct(texts)
        features = self.launch(rows.take(first), writes=writes)()
        found: NDArray[np.float32] = features.numpy()[:, 0]
        return found[inverse]

    def scores(self, texts: Sequence[Row]) -> ScoredRows:
        """Rows with their scores; each distinct row is computed once."""
        rows = self.read(texts)
        first, inverse = distinct(texts)
        distinct_rows = rows.take(first)
        scores = self.blend(*self._score_parts([texts[i] for i in first], distinct_rows))
        units = join_ranges(distinct_rows.unit_start[:-1][inverse], distinct_rows.n_units[inverse])
        return ScoredRows(texts, rows, scores[units])

    def parts(self, texts: Sequence[Row]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Scores (n_rows, n_outputs) of the network alone and of the lexical model alone.

        For rows that are scored as a whole; each distinct row is computed once.
        """
        first, inverse = distinct(texts)
        chosen = [texts[i] for i in first]
        network, lexical = self._score_parts(chosen, self.encode(chosen))
        return network[inverse], None if lexical is None else lexical[inverse]

    def blend(
        self, network: NDArray[np.float32], lexical: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Scores of both models together."""
        if lexical is None or not isinstance(self.task, BlendableTask):
            return network
        return self.task.blend(network, lexical, self.lexical_weight)

    def launch(self, rows: EncodedRows, *, writes: bool = False) -> Callable[[], Tensor]:
        """Launch the passes over `rows`; the function returned waits for their features."""
        device = resolve_device(self.device)
        with progress_bar("reading texts", shown=self.verbose > 0) as watch:
            return launch_features(
                device_memory.on(self.model, device),
                rows,
                self.tokenizer.pad_id,
                device=device,
                dtype=resolve_precision(self.precision, device, training=False),
                writes=writes,
                is_fixed=True,
                watch=watch,
            )

    def _score_parts(
        self, texts: Sequence[Row], rows: EncodedRows
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        first, *others = (rows.take(part) for part in _parts(rows.n_units))
        features = self.launch(first)
        # While a GPU computes the features.
        lexical = None if self.lexical is None else self.lexical.scores(texts)
        score = self.model.head.scores
        parts = [score(features()), *(score(self.launch(part)()) for part in others)]
        return torch.cat(parts).numpy(), lexical


def warn_of_cuts(row_format: RowFormat, length: int, *parts: EncodedRows) -> None:
    """Warn if texts were cut to `length` tokens."""
    n_truncated = sum(rows.n_truncated for rows in parts)
    if n_truncated:
        warnings.warn(
            row_format.cut_message.format(n=n_truncated, max_length=length),
            UserWarning,
            stacklevel=find_stack_level(),
        )


def _parts(n_units: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Positions of the rows, in chunks whose features fit into memory."""
    part = np.maximum(np.cumsum(n_units) - 1, 0) // _MAX_UNITS
    return np.split(np.arange(len(n_units)), np.flatnonzero(np.diff(part)) + 1)
