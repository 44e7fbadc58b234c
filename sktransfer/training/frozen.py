"""Frozen layers: each distinct window of tokens passes through them once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.encoders import SplitEncoder
from sktransfer.inputs import EncodedRows
from sktransfer.inputs.batches import Batch, collate_windows
from sktransfer.inputs.grouping import split_by_width
from sktransfer.nn import Encoder, PretrainedState, TransferModel
from sktransfer.runtime import (
    TensorCache,
    autocast,
    cache,
    device_memory,
    is_out_of_memory,
    place_key,
    token_budget,
    width_multiple,
)
from sktransfer.runtime.attention import MaskedAttentionError
from sktransfer.runtime.prepacked import MOST_ROWS, is_prepacked

Result = TypeVar("Result")

# Of fewer than half of the layers, states are kept if they take no more than this.
_FEW_BYTES = 2**28
# With fewer tokens, matrix products may use another kernel that rounds differently.
LEAST_TOKENS = 16


def window_key(rows: EncodedRows, window: int) -> tuple[bytes, int]:
    """Key of a window: everything that its hidden states depend on."""
    segment = -1 if rows.segment_start is None else int(rows.segment_start[window])
    return rows.windows[window].tobytes(), segment


def enough_windows(windows: NDArray[np.integer], width: int) -> NDArray[np.integer]:
    """`windows`, repeated if they have too few tokens."""
    return np.resize(windows, max(len(windows), -(-LEAST_TOKENS // width)))


def prepacked_on_cpu(
    model: TransferModel, device: torch.device, dtype: torch.dtype
) -> TransferModel:
    """`model` as it computes without gradients: on a CPU in float32 with prepacked weights."""
    encoder = model.encoder
    if device.type == "cpu" and dtype is torch.float32:
        encoder = device_memory.prepacked(encoder, encoder.layers())
    return model if encoder is model.encoder else model.with_encoder(encoder)


def tokens_per_pass(encoder: Encoder, device: torch.device) -> int:
    """Tokens that one pass without gradients takes, padding included."""
    budget = token_budget(device, training=False)
    return min(budget, MOST_ROWS) if device.type == "cpu" and is_prepacked(encoder) else budget


def computed(
    groups: list[NDArray[np.intp]],
    compute: Callable[[NDArray[np.intp]], Result],
    device: torch.device,
) -> Iterator[tuple[NDArray[np.intp], Result]]:
    """Each group and its result of `compute`; groups are halved if `device` runs out of memory."""
    pending = groups[::-1]
    tried = None
    while pending:
        group = pending.pop()
        try:
            result = compute(group)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or (len(group) == 1 and group is tried):
                raise
        else:
            yield group, result
            continue
        # Outside of the except block, so that the frames of the failed pass are released.
        if device_memory.make_room(device) or len(group) == 1:
            pending.append(group)
            tried = group
        else:
            half = len(group) // 2
            pending += [group[half:], group[:half]]


def _n_bytes(encoder: Encoder, rows: EncodedRows) -> int:
    """Size of one layer's states of all windows."""
    return 4 * encoder.hidden_size * int(rows.lengths.sum())


class FrozenLayerCache:
    """The lower layers of a model's encoder, with a cache of their hidden states.

    Windows of one width pass through them together, so that the states of a window do not depend
    on the windows beside it, as far as the processor rounds alike: what was kept equals what would
    be computed.

    Parameters
    ----------
    model : TransferModel
        Has the encoder.
    split : SplitEncoder
        Of its encoder.
    kept : dict of int to TensorCache
        States that these lower layers gave, and perhaps fewer of them, by their number, which
        falls.
    pad_id : int
        Fills windows up.
    device, dtype : torch.device, torch.dtype
        Where the model lies and the precision of its matrix products.
    """

    def __init__(
        self,
        model: TransferModel,
        split: SplitEncoder,
        kept: dict[int, TensorCache],
        pad_id: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.split, self.pad_id = model, split, pad_id
        self.device, self.dtype = device, dtype
        self.kept = kept
        self._own = next(iter(kept.values()))
        self._lower: tuple[Encoder, SplitEncoder] | None = None

    @classmethod
    def below(
        cls,
        model: TransferModel,
        pretrained: PretrainedState | None,
        n_frozen: int,
        pad_id: int,
        *,
        rows: EncodedRows | None = None,
        later: Sequence[int] = (),
        device: torch.device,
        dtype: torch.dtype,
        writes: bool = True,
    ) -> FrozenLayerCache | None:
        """As many of the lowest `n_frozen` layers as are still pretrained and not pooled, or None.

        States above the numbers of layers in `later` are kept on the way. A GPU computes them
        faster than it is given them, and those of a few layers are only worth keeping for a
        training on `rows`, if they are few.
        """
        if pretrained is None or device.type == "cuda":
            return None
        encoder = model.encoder
        n_layers = len(encoder.layers())
        n_above = max(1, model.n_skipped + model.n_layers - 1)
        depth = min(n_frozen, pretrained.depth, n_layers - n_above)
        is_worth_it = 2 * depth >= n_layers
        if rows is not None:
            is_worth_it |= _n_bytes(encoder, rows) <= _FEW_BYTES
        split = encoder.split(depth) if depth > 0 and is_worth_it else None
        if split is None:
            return None
        kept = {
            number: TensorCache(
                ("states", pretrained.key, number, *place_key(device, dtype)),
                pretrained.folder,
                writes=writes,
            )
            for number in (depth, *sorted({n for n in later if 0 < n < depth}, reverse=True))
        }
        return cls(model, split, kept, pad_id, device=device, dtype=dtype)

    def read_ahead(self, rows: EncodedRows) -> None:
        """Compute what can be kept of all windows, in larger groups than those of a step."""
        n_bytes = len(self.kept) * _n_bytes(self.model.encoder, rows)
        if self._own.has_folder or n_bytes < cache.budget // 2:
            self._window_states(rows, np.arange(len(rows.lengths)))

    def token_states(
        self, batch: Batch, rows: EncodedRows, multiple: int | None = None
    ) -> tuple[Tensor, ...]:
        """What ``model.states(batch, multiple)`` gives; `batch` consists of windows of `rows`."""
        encoder, mask = self.model.encoder, batch.attention_mask
        windows = self._window_states(rows, batch.windows)
        n_wanted = self.model.n_skipped + self.model.n_layers
        unpadding = None if multiple is None else encoder.unpadding(mask, multiple)
        if unpadding is not None:
            inputs = encoder.inputs(batch.token_ids, mask, batch.segment_ids, unpadding)
            lower = unpadding.filled_up(torch.cat(windows))
            with contextlib.suppress(MaskedAttentionError), unpadding:
                return tuple(map(unpadding.windows, self.split.upper(lower, inputs, n_wanted)))
        lower = torch.zeros(*mask.shape, windows[0].shape[1], dtype=windows[0].dtype)
        for place, states in enumerate(windows):
            lower[place, : len(states)] = states
        inputs = encoder.inputs(batch.token_ids, mask, batch.segment_ids)
        return self.split.upper(lower.to(self.device), inputs, n_wanted)

    def _window_states(self, rows: EncodedRows, windows: NDArray[np.integer]) -> list[Tensor]:
        """States (n_tokens, hidden_size) of each window, on the CPU."""
        keys = [window_key(rows, window) for window in windows.tolist()]
        known = {key: self._own.get(key) for key in keys}
        states = [None if found is None else found[0] for found in map(known.get, keys)]
        missing = np.array([i for i, found in enumerate(states) if found is None], dtype=np.intp)
        if len(missing):
            self._compute_missing(rows, windows, keys, states, missing)
        return [found for found in states if found is not None]

    def _compute_missing(
        self,
        rows: EncodedRows,
        windows: NDArray[np.integer],
        keys: Sequence[Hashable],
        states: list[Tensor | None],
        missing: NDArray[np.intp],
    ) -> None:
        """Compute, put into `states` and keep those of the windows at the places `missing`."""
        made: dict[int, dict[Hashable, tuple[Tensor]]] = {depth: {} for depth in self.kept}
        multiple = width_multiple(self.device, self.dtype)
        budget = tokens_per_pass(self._lower_half()[0], self.device)
        lengths = rows.lengths[windows[missing]]
        groups = [missing[group] for group in split_by_width(lengths, multiple, budget)]
        for places, columns in computed(
            groups, lambda group: self._compute(rows, windows[group]), self.device
        ):
            for column, values in zip(columns, made.values(), strict=True):
                for place, found in zip(places.tolist(), column, strict=True):
                    values[keys[place]] = (found,)
            for place, found in zip(places.tolist(), columns[0], strict=True):
                states[place] = found
        for depth, values in made.items():
            self.kept[depth].put(values)

    # TensorCache states may be read by a later training, which inference mode would not allow.
    @torch.inference_mode(False)
    @torch.no_grad()
    def _compute(self, rows: EncodedRows, windows: NDArray[np.integer]) -> list[list[Tensor]]:
        """States of each window above all lower layers, then above fewer and fewer of them."""
        encoder, split = self._lower_half()
        multiple = width_multiple(self.device, self.dtype)
        several = enough_windows(windows, int(rows.lengths[windows].max()))
        batch = collate_windows(rows, several, self.pad_id, multiple=multiple).to(self.device)
        inputs = encoder.inputs(batch.token_ids, batch.attention_mask, batch.segment_ids)
        with autocast(self.device, self.dtype, training=False):
            layers = split.lower(inputs, [*self.kept][1:])
        lengths = rows.lengths[windows].tolist()
        return [
            [part[:length].clone() for part, length in zip(states.cpu(), lengths, strict=False)]
            for states in layers
        ]

    def _lower_half(self) -> tuple[Encoder, SplitEncoder]:
        """The encoder whose lower layers are computed, and its parts; these layers stay as is."""
        if self._lower is None:
            encoder: Encoder = prepacked_on_cpu(self.model, self.device, self.dtype).encoder
            split = encoder.split(next(iter(self.kept)))
            self._lower = (self.model.encoder, self.split) if split is None else (encoder, split)
        return self._lower
