"""The linear head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_ROWS_AT_ONCE = 64


class Head(nn.Module):
    """Linear layer on the mean of the layers' L2-normalized features.

    Normalized features make one regularization strength right for any encoder and let layers
    of unlike norm weigh alike; the scale keeps the head's gradient of the order of the
    encoder's.

    Parameters
    ----------
    in_features, out_features : int
        Width of the pooled features and number of scores.
    scale : float
        Factor on the normalized features.
    dropout : float
        Dropout rate on the features while training.
    """

    def __init__(
        self, in_features: int, out_features: int, *, scale: float, dropout: float
    ) -> None:
        super().__init__()
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_features, out_features)

    def normalize(self, features: Tensor) -> Tensor:
        """Mean over the layers of unit vectors, (n_rows, in_features)."""
        return functional.normalize(features.float(), dim=2).mean(dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Scores (n_rows, out_features) of features (n_rows, n_layers, in_features)."""
        scores: Tensor = self.linear(self.dropout(self.normalize(features) * self.scale))
        return scores

    @torch.inference_mode()
    def scores(self, features: Tensor) -> Tensor:
        """Scores without dropout, independent of the other rows to the last bit.

        The product of a matrix sums in another order where it has another number of rows, so all
        products have the same.
        """
        n_rows = len(features)
        padded = features.new_zeros(
            -(-n_rows // _ROWS_AT_ONCE) * _ROWS_AT_ONCE, *features.shape[1:]
        )
        padded[:n_rows] = features
        blocks = [
            self.linear(self.normalize(block) * self.scale) for block in padded.split(_ROWS_AT_ONCE)
        ]
        return torch.cat(blocks)[:n_rows]

    @torch.no_grad()
    def set_weights(self, coef: Tensor, intercept: Tensor) -> None:
        """Score by `coef` (out, in) and `intercept` (out,) on normalized features."""
        self.linear.weight.copy_(coef / self.scale)
        self.linear.bias.copy_(intercept)
