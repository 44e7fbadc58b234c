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
    encoder's. Vectors of two texts side by side are compared first.

    Parameters
    ----------
    in_features, out_features : int
        Width of the pooled features, of two texts that of both, and number of scores.
    scale : float
        Factor on the normalized features.
    dropout : float
        Dropout rate on the features while training.
    comparison : {"ordered", "unordered"} or None, default=None
        Whether features are the vectors of two texts, and whether their order has a meaning.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        scale: float,
        dropout: float,
        comparison: str | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.scale = scale
        self.comparison = comparison
        self.dropout = nn.Dropout(dropout)
        n_inputs = in_features
        if comparison is not None:
            n_inputs = 1 + in_features // 2 * (4 if comparison == "ordered" else 3)
        self.linear = nn.Linear(n_inputs, out_features)

    def normalize(self, features: Tensor) -> Tensor:
        """What the linear layer sees: mean over the layers of unit vectors, or of comparisons."""
        if self.comparison is None:
            return functional.normalize(features.float(), dim=2).mean(dim=1)
        texts = functional.normalize(features.float().unflatten(2, (2, -1)), dim=3)
        compared = compare(texts[:, :, 0], texts[:, :, 1], self.comparison == "ordered")
        return compared.mean(dim=1)

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


def compare(first: Tensor, second: Tensor, is_ordered: bool) -> Tensor:
    """Features of pairs of unit vectors (..., size), as of the siamese networks of Sentence-BERT.

    Cosine, absolute difference, product, and both vectors or, if their order has no meaning, their
    sum (Reimers and Gurevych 2019, arXiv:1908.10084, add no product and no cosine). The factors
    let the regularization of the head, which is the same for all, shrink the cosine least.
    """
    products = first * second
    cosine = products.sum(dim=-1, keepdim=True)
    texts, weight = ([first, second], 0.3) if is_ordered else ([first + second], 0.1)
    parts = [3 * (cosine - 0.5), 0.25 * (first - second).abs(), products]
    return torch.cat([*parts, *(weight * text for text in texts)], dim=-1)
