"""Layers that do not change: each distinct window of tokens passes through them once."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.encoders import Encoder, Halves
from sktransfer.inputs import EncodedRows
from sktransfer.inputs._batches import Batch, collate_windows, split_by_width
from sktransfer.nn import Base, TransferModel
from sktransfer.runtime import autocast, cache, token_budget, width_multiple

# Of fewer tokens a matrix product may take another path, and end in other last digits.
_LEAST_TOKENS = 16


def window_key(rows: EncodedRows, window: int) -> tuple[bytes, int]:
    """What an encoder makes the states of a window from."""
    segment = -1 if rows.segment_start is None else int(rows.segment_start[window])
    return rows.windows[window].tobytes(), segment


def enough_windows(
    windows: NDArray[np.integer], width: int
) -> NDArray[np.integer]:
    """`windows`, some of them again where they are too few tokens."""
    return np.resize(windows, max(len(windows), -(-_LEAST_TOKENS // width)))


class FrozenLayers:
    """The lower layers of a model's encoder, whose states are kept from step to step and fit to fit.

    Windows of one width pass through them together, so that the states of a window do not depend
    on the windows beside it: what was kept equals, to the last bit, what would be computed.

    Parameters
    ----------
    model : TransferModel
        Has the encoder.
    halves : Halves
        Of its encoder.
    key : tuple of str and int
        Tells the lower layers from others: key and depth of the base that they are as in.
    pad_id : int
        Fills windows up.
    device, dtype : torch.device, torch.dtype
        Where the model lies and the precision of its matrix products.
    """

    def __init__(
        self,
        model: TransferModel,
        halves: Halves,
        key: tuple[str, int],
        pad_id: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.halves, self.pad_id = model, halves, pad_id
        self.device, self.dtype = device, dtype
        self.key = ("states", *key, str(dtype), device.type)

    @classmethod
    def below(
        cls,
        model: TransferModel,
        base: Base | None,
        n_frozen: int,
        pad_id: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> FrozenLayers | None:
        """As many of the lowest `n_frozen` layers as are as in `base` and not pooled, or None."""
        if base is None:
            return None
        encoder = model.encoder
        assert isinstance(encoder, Encoder)
        n_above = max(1, model.n_skipped + model.n_layers - 1)
        depth = min(n_frozen, base.depth, len(encoder.layers()) - n_above)
        halves = encoder.halves(depth) if depth > 0 else None
        if halves is None:
            return None
        return cls(model, halves, (base.key, depth), pad_id, device=device, dtype=dtype)

    def token_states(self, batch: Batch, rows: EncodedRows) -> tuple[Tensor, ...]:
        """What ``model.states(batch)`` gives; `batch` consists of windows of `rows`."""
        encoder = self.model.encoder
        assert isinstance(encoder, Encoder)
        windows = self._window_states(rows, batch.windows)
        shape = (*batch.token_ids.shape, windows[0].shape[1])
        lower = torch.zeros(shape, dtype=windows[0].dtype)
        for place, states in enumerate(windows):
            lower[place, : len(states)] = states
        inputs = encoder.inputs(batch.token_ids, batch.attention_mask, batch.segment_ids)
        n_wanted = self.model.n_skipped + self.model.n_layers
        return self.halves.upper(lower.to(self.device), inputs, n_wanted)

    def _window_states(self, rows: EncodedRows, windows: NDArray[np.integer]) -> list[Tensor]:
        """States (n_tokens, hidden_size) of each window, on the CPU."""
        keys = [(self.key, window_key(rows, window)) for window in windows.tolist()]
        states: list[Tensor | None] = [cache.get(key) for key in keys]
        missing = np.array([i for i, found in enumerate(states) if found is None], dtype=np.intp)
        multiple = width_multiple(self.device, self.dtype)
        budget = token_budget(self.device, training=False)
        lengths = rows.lengths[windows[missing]]
        for group in split_by_width(lengths, multiple, budget):
            places = missing[group]
            for place, found in zip(
                places.tolist(), self._compute(rows, windows[places]), strict=True
            ):
                states[place] = found
                cache.put(keys[place], found, n_bytes=found.nbytes)
        return [found for found in states if found is not None]

    # Kept states may be read by a later training, which inference mode would not allow.
    @torch.inference_mode(False)
    @torch.no_grad()
    def _compute(self, rows: EncodedRows, windows: NDArray[np.integer]) -> list[Tensor]:
        encoder = self.model.encoder
        assert isinstance(encoder, Encoder)
        multiple = width_multiple(self.device, self.dtype)
        several = enough_windows(windows, int(rows.lengths[windows].max()))
        batch = collate_windows(rows, several, self.pad_id, multiple=multiple).to(self.device)
        inputs = encoder.inputs(batch.token_ids, batch.attention_mask, batch.segment_ids)
        with autocast(self.device, self.dtype):
            states = self.halves.lower(inputs).cpu()
        lengths = rows.lengths[windows].tolist()
        return [part[:length].clone() for part, length in zip(states, lengths, strict=False)]
