"""Batches of padded windows as tensors."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.inputs.padding import PaddedWindows, pad_rows, pad_windows
from sktransfer.inputs.rows import EncodedRows, WindowRole
from sktransfer.runtime import moved


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors of `PaddedWindows`, which describes them.

    Attributes
    ----------
    window_role : {"part", "reading", "text"}
        As that of the rows.
    """

    token_ids: Tensor
    attention_mask: Tensor
    pool_mask: Tensor
    window_index: Tensor | None
    segment_ids: Tensor | None = None
    window_role: WindowRole = "part"
    unit_index: Tensor | None = None
    windows: NDArray[np.integer] = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on a device."""
        parts: dict[str, Any] = {
            name: moved(part, torch.device(device)) for name, part in self._tensors().items()
        }
        return replace(self, **parts)

    @property
    def n_tokens(self) -> int:
        """Tokens of all windows, padding included."""
        return self.token_ids.numel()

    def tensors(self) -> list[Tensor]:
        """Those of its tensors that are there, in one order."""
        return list(self._tensors().values())

    def shape(self) -> tuple[object, ...]:
        """What a pass depends on besides the contents of the tensors."""
        shapes = [(name, part.shape) for name, part in self._tensors().items()]
        return (*shapes, self.window_role)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: part for name, part in vars(self).items() if torch.is_tensor(part)}


def collate_rows(
    rows: EncodedRows,
    row_ids: NDArray[np.integer],
    pad_id: int,
    *,
    multiple: int = 1,
    window_multiple: int = 1,
    max_windows: int | None = None,
    rng: np.random.Generator | None = None,
) -> Batch:
    """Tensors of what `pad_rows` gives.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import EncodedRows, collate_rows
    >>> windows = [np.array(ids, dtype=np.int32) for ids in ([5], [6, 7], [7, 8])]
    >>> rows = EncodedRows(
    ...     windows=windows,
    ...     pool_start=np.array([0, 0, 1], dtype=np.int32),
    ...     pool_stop=np.array([1, 2, 2], dtype=np.int32),
    ...     row_start=np.array([0, 1, 3]),
    ... )
    >>> collate_rows(rows, np.array([1, 0]), pad_id=0).token_ids.tolist()
    [[6, 7], [7, 8], [5, 0]]
    """
    padded = pad_rows(
        rows,
        row_ids,
        pad_id,
        multiple=multiple,
        window_multiple=window_multiple,
        max_windows=max_windows,
        rng=rng,
    )
    return _batch(padded, rows)


def collate_windows(
    rows: EncodedRows, window_ids: NDArray[np.integer], pad_id: int, *, multiple: int = 1
) -> Batch:
    """Tensors of what `pad_windows` gives."""
    return _batch(pad_windows(rows, window_ids, pad_id, multiple=multiple), rows)


def _batch(padded: PaddedWindows, rows: EncodedRows) -> Batch:
    parts: dict[str, Any] = vars(padded).copy()
    windows = parts.pop("windows")
    tensors: dict[str, Any] = {
        name: None if part is None else torch.from_numpy(part) for name, part in parts.items()
    }
    return Batch(**tensors, window_role=rows.window_role, windows=windows)
