"""Rows as token ids, with their targets and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.inputs import EncodedRows, Row, distinct


@dataclass(frozen=True, eq=False)
class EncodedDataset:
    """Rows of text as token ids, with targets that a loss can take.

    Attributes
    ----------
    texts : sequence of str or tuple
        Rows before tokenization.
    encoded : EncodedRows
        Token ids of the rows.
    targets : Tensor, shape (n_rows, ...)
        Targets as the task encodes them.
    sample_weights : ndarray of shape (n_rows,)
        Weight of each row as the user gave it.
    weights : ndarray of shape (n_rows,)
        Weight of each row in the loss, class weights included.
    pad_id : int
        Token id that fills windows up.
    """

    texts: Sequence[Row]
    encoded: EncodedRows
    targets: Tensor
    sample_weights: NDArray[np.float64]
    weights: NDArray[np.float64]
    pad_id: int

    def __len__(self) -> int:
        return len(self.encoded)

    @cached_property
    def loss_weights(self) -> Tensor:
        """Weights (n_rows,) of mean 1, float32."""
        return torch.from_numpy(self.weights / self.weights.mean()).float()

    @cached_property
    def content(self) -> str:
        """Hash of texts, targets and weights."""
        targets = self.targets.numpy()
        sha = hashlib.sha256(repr([*self.texts]).encode(errors="surrogatepass"))
        sha.update(repr((targets.shape, targets.dtype)).encode())
        for array in (targets, self.sample_weights, self.weights):
            sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()

    def merge_copies(
        self, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Position of one row per text and target, and the sum of `weights` over its copies.

        In the order of the texts, so that neither copies nor the order of the rows can change the
        last digits of a convex solution.
        """
        targets = self.targets.tolist()
        if self.targets.ndim > 1:
            targets = [tuple(target) for target in targets]
        keys = [*zip(self.texts, targets, strict=True)]
        first, inverse = distinct(keys)
        order = np.array(sorted(range(len(first)), key=lambda i: _sortable(keys[first[i]])))
        merged = np.zeros((len(first), *weights.shape[1:]))
        np.add.at(merged, inverse, weights)
        return first[order], merged[order]


def _sortable(key: tuple[Row, Any]) -> tuple[Any, Any]:
    row, target = key
    # A missing text cannot be compared with a string.
    return row if isinstance(row, str) else tuple(text or "" for text in row), target
