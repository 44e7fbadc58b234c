"""The forward pass over many rows."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Hashable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.inputs import EncodedRows, distinct, join_ranges
from sktransfer.inputs.batches import Batch, collate_windows
from sktransfer.inputs.grouping import split_by_tokens, split_by_width, split_evenly
from sktransfer.nn import Encoder, TransferModel, eval_mode, pool_windows
from sktransfer.runtime import (
    Graphs,
    TensorCache,
    Tensors,
    Watch,
    WorkerGroup,
    autocast,
    place_key,
    width_multiple,
)
from sktransfer.runtime.prepacked import filled_rows, rounds_alike
from sktransfer.training.frozen import (
    LEAST_TOKENS,
    FrozenLayerCache,
    computed,
    enough_windows,
    prepacked_on_cpu,
    tokens_per_pass,
    window_key,
)

_WINDOWS_AT_ONCE = 4096
_FEW_WINDOWS = 32
# For so few, filling up the rows of each product costs less than a packed pass.
_FEW_TOKENS = 64


def pooled_features(
    model: TransferModel,
    rows: EncodedRows,
    pad_id: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
    writes: bool = True,
    watch: Watch | None = None,
    group: WorkerGroup = WorkerGroup(),
) -> Tensor:
    """Features (n_units, n_layers, pooled_size) of `rows`, on the CPU, in the order of the rows.

    Windows of one width are encoded together, whatever text they come from, so that neither
    padding nor one very long text costs more than a batch of memory, and a window's features do
    not depend on those beside it. In float32, few windows of several widths are packed into one
    sequence if the encoder can read it. On a GPU, windows of similar widths are padded and encoded
    together, so that a window's features depend on the others by rounding error. Of an encoder
    that is as it was loaded, features are kept and found again; unless `writes` is false, in the
    folder of its pretrained, too. The model is left in the mode it had. `watch` is told of tokens.
    The processes of a `group` encode a share of the rows each.
    """
    launch = partial(
        launch_features,
        model,
        pad_id=pad_id,
        device=device,
        dtype=dtype,
        writes=writes,
        watch=watch,
    )
    if group.is_single:
        return launch(rows)()
    share = np.sort(split_evenly(rows.row_lengths, group.world_size)[group.rank])
    features = torch.zeros(
        int(rows.n_units.sum()), model.n_layers, model.head.in_features, device=device
    )
    if len(share):
        units = join_ranges(rows.unit_start[:-1][share], rows.n_units[share])
        features[torch.from_numpy(units).to(device)] = launch(rows.take(share))().to(device)
    group.add_up(features)
    return features.cpu()


@torch.inference_mode()
def launch_features(
    model: TransferModel,
    rows: EncodedRows,
    pad_id: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
    writes: bool = True,
    is_fixed: bool = False,
    watch: Watch | None = None,
) -> Callable[[], Tensor]:
    """Launch the passes of `pooled_features`; the function returned waits for their result.

    The weights of a model that `is_fixed` never change again, and its parts are all in one mode;
    small passes of it are captured on a GPU.
    """
    forward_pass = _Pass(model, rows, pad_id, device, dtype, writes)
    if is_fixed and device.type == "cuda":
        forward_pass.graphs = _graphs_of(model, device, dtype)
    is_ready = is_fixed and not model.training
    with contextlib.nullcontext() if is_ready else eval_mode(model):
        forward_pass.start(watch)
    return forward_pass.row_features


class _Pass:
    """One pass of the windows of `rows` through the encoder."""

    def __init__(
        self,
        model: TransferModel,
        rows: EncodedRows,
        pad_id: int,
        device: torch.device,
        dtype: torch.dtype,
        writes: bool,
    ) -> None:
        self.model, self.rows, self.pad_id = model, rows, pad_id
        self.device, self.dtype = device, dtype
        self.multiple = width_multiple(device, dtype)
        self.frozen: FrozenLayerCache | None = None
        self.kept: TensorCache | None = None
        pretrained = model.pretrained
        if pretrained is not None and pretrained.is_whole:
            shape = (model.pooling, model.n_layers, model.n_skipped, rows.n_prefix, rows.n_suffix)
            kind = ("vectors", pretrained.key, *shape, *place_key(device, dtype))
            kept = TensorCache(kind, pretrained.folder, writes=writes)
            self.kept = kept if kept.has_room else None
        elif pretrained is not None:
            self.model = prepacked_on_cpu(model, device, dtype)
            self.frozen = FrozenLayerCache.below(
                self.model,
                pretrained,
                pretrained.depth,
                pad_id,
                device=device,
                dtype=dtype,
                writes=writes,
            )
        # A text may occur in many pairs.
        self.alike = _first_alike(rows) if rows.window_role == "text" else None
        n_vectors = len(rows.lengths) if rows.units is None else int(rows.units.start[-1])
        self.counts = torch.empty(n_vectors, dtype=torch.int64)
        self.vectors: Tensor | None = None
        self.graphs: Graphs[Batch] | None = None
        # In bfloat16, oneDNN would compile code for each number of tokens.
        needs_no_padding = device.type == "cpu" and self.multiple == 1
        is_long_enough = model.encoder.max_length >= LEAST_TOKENS
        self.is_joined = needs_no_padding and is_long_enough and self.frozen is None
        self.can_pack = self.is_joined
        self.rounds_alike = False
        self.keys = self._keys()
        self.missing: list[int] = []
        self.made: list[tuple[NDArray[np.integer], Tensor, Tensor]] = []

    def start(self, watch: Watch | None = None) -> None:
        """Compute the vectors of all windows or units, on a GPU asynchronously."""
        rows, keys = self.rows, self.keys
        known: dict[int, Tensors] = {}
        if self.kept is not None:
            found = ((window, self.kept.get(key)) for window, key in enumerate(keys))
            known = {window: value for window, value in found if value is not None}
        if known:
            vectors, counts = (torch.cat(parts) for parts in zip(*known.values(), strict=True))
            self._fill(np.array([*known]), vectors, counts)
        wanted = range(len(rows.lengths)) if self.alike is None else np.unique(self.alike).tolist()
        missing = np.array([i for i in wanted if i not in known], dtype=np.intp)
        if not len(missing):
            return
        if self.frozen is None:
            self.model = prepacked_on_cpu(self.model, self.device, self.dtype)
            self.rounds_alike = self.device.type == "cpu" and _rounds_alike(self.model.encoder)
        budget = tokens_per_pass(self.model.encoder, self.device)
        groups = [missing[group] for group in self._groups(rows.lengths[missing], budget)]
        if self.is_joined:
            # At most the length of a window, because an encoder's buffers may end there.
            limit = min(self.model.encoder.max_length, budget)
            groups = _packs(groups, rows.lengths, limit)
        if self.frozen is not None:
            self.frozen.read_ahead(rows)
        n_done, n_total = 0, int(rows.lengths[missing].sum())
        for windows, (vectors, counts) in computed(groups, self._encode, self.device):
            n_done += int(rows.lengths[windows].sum())
            if watch is not None:
                watch(n_done, n_total)
            if self.device.type == "cpu":
                self._fill(windows, vectors, counts)
            else:
                self.made.append((windows, vectors, counts))
        self.missing = missing.tolist()

    @torch.inference_mode()
    def row_features(self) -> Tensor:
        """Features (n_units, n_layers, pooled_size), which are fetched once."""
        if self.made:
            windows, vectors, counts = zip(*self.made, strict=True)
            self._fill(np.concatenate(windows), torch.cat(vectors).cpu(), torch.cat(counts).cpu())
        assert self.vectors is not None, "no rows"
        self._keep(self.keys, self.missing)
        if self.rows.units is not None:
            return self.vectors.flatten(2)
        if self.alike is not None:
            self.vectors, self.counts = self.vectors[self.alike], self.counts[self.alike]
            self.alike = None
        return _pool_rows(self.vectors, self.counts, self.rows, self.model)

    def _groups(self, lengths: NDArray[np.integer], budget: int) -> list[NDArray[np.intp]]:
        """Windows that are encoded together: of one width, or on a GPU of similar widths."""
        if self.device.type == "cuda":  # a launch costs more than some padding
            return split_by_tokens(lengths, budget)
        return split_by_width(lengths, self.multiple, budget)

    def _keep(self, keys: list[Hashable], windows: list[int]) -> None:
        """Keep the vectors of `windows`, each in memory of its own.

        Only when all of them are there: small pieces that stay, laid between the large ones of a
        pass that go, would hold several times their own memory.
        """
        if self.kept is None or self.vectors is None:
            return
        starts = range(len(keys) + 1) if self.rows.units is None else self.rows.units.start.tolist()
        made: dict[Hashable, Tensors] = {}
        for window in windows:
            places = slice(starts[window], starts[window + 1])
            made[keys[window]] = (self.vectors[places].clone(), self.counts[places].clone())
        self.kept.put(made)

    def _fill(self, windows: NDArray[np.integer], vectors: Tensor, counts: Tensor) -> None:
        if self.vectors is None:
            self.vectors = torch.empty(len(self.counts), *vectors.shape[1:])
        places = self._places(windows)
        self.vectors[places] = vectors
        self.counts[places] = counts

    def _places(self, windows: NDArray[np.integer]) -> NDArray[np.integer]:
        return windows if self.rows.units is None else self.rows.units.of_windows(windows)

    def _encode(self, windows: NDArray[np.integer]) -> Tensors:
        """Vectors of the windows of a group and the tokens in each, on the device."""
        if not self.is_joined:
            return self._encode_padded(windows)
        places = np.flatnonzero(np.diff(self.rows.lengths[windows])) + 1
        runs = np.split(windows, places)  # of one length each
        made = self._encode_packed(runs) if self.can_pack else None
        if made is None:
            made = [self._encode_padded(run) for run in runs]
        vectors, counts = (torch.cat(parts) for parts in zip(*made, strict=True))
        return vectors, counts

    def _encode_padded(self, windows: NDArray[np.integer]) -> Tensors:
        rows = self.rows
        several = windows
        if not self.rounds_alike:
            several = enough_windows(windows, int(rows.lengths[windows].max()))
        if self.graphs is not None and len(several) <= _FEW_WINDOWS:
            # A power of two, to limit the number of captured shapes.
            several = np.resize(several, 1 << (len(several) - 1).bit_length())
            multiple = width_multiple(self.device, self.dtype, captured=True)
            batch = collate_windows(rows, several, self.pad_id, multiple=multiple)
            vectors, counts = self.graphs(batch)
        else:
            batch = collate_windows(rows, several, self.pad_id, multiple=self.multiple)
            batch = batch.to(self.device)
            with autocast(self.device, self.dtype, training=False):
                states = None if self.frozen is None else self.frozen.token_states(batch, rows)
                vectors, counts = self.model.window_features(batch, states)
        n_kept = len(self._places(windows))
        return vectors[:n_kept], counts[:n_kept]

    def _encode_packed(self, runs: list[NDArray[np.integer]]) -> list[Tensors] | None:
        """Vectors and token counts of packed runs; None if there is nothing to pack."""
        model = self.model
        n_missing = self._n_missing(sum(int(self.rows.lengths[run].sum()) for run in runs))
        if len(runs) == 1 and not n_missing:
            return None
        batches = [collate_windows(self.rows, run, self.pad_id) for run in runs]
        groups = [(batch.token_ids, batch.segment_ids) for batch in batches]
        if n_missing:
            filler = torch.full((1, n_missing), self.pad_id)
            groups.append((filler, None if groups[0][1] is None else torch.zeros_like(filler)))
        with autocast(self.device, self.dtype, training=False):
            states = model.encoder.packed(groups, model.n_skipped + model.n_layers)
            if states is None:
                self.can_pack = False
                return None
            pairs = zip(batches, states, strict=False)
            return [model.window_features(batch, layers) for batch, layers in pairs]

    def _n_missing(self, n_tokens: int) -> int:
        """Tokens to add to a pack of `n_tokens`, so that products round alike, or are fast."""
        if not self.rounds_alike:
            return max(0, LEAST_TOKENS - n_tokens)
        n_filled = filled_rows(n_tokens)
        is_too_long = n_filled > self.model.encoder.max_length
        return 0 if is_too_long or n_tokens <= _FEW_TOKENS else n_filled - n_tokens

    def _keys(self) -> list[Hashable]:
        """Key of each window's vectors, besides the encoder."""
        rows = self.rows
        if self.kept is None:
            return []
        pooled = zip(rows.pool_start.tolist(), rows.pool_stop.tolist(), strict=True)
        # None means that the window is pooled, in contrast to a window without units.
        positions: list[bytes | None] = [None] * len(rows.lengths)
        if rows.units is not None and rows.units.position is not None:
            parts = np.split(rows.units.position, rows.units.start[1:-1])
            positions = [part.tobytes() for part in parts]
        return [
            (window_key(rows, window), *places, position)
            for window, (places, position) in enumerate(zip(pooled, positions, strict=True))
        ]


def _first_alike(rows: EncodedRows) -> NDArray[np.intp]:
    """The first window of the same tokens as each window."""
    first, inverse = distinct([window.tobytes() for window in rows.windows])
    return first[inverse]


def _packs(
    groups: list[NDArray[np.intp]], lengths: NDArray[np.integer], limit: int
) -> list[NDArray[np.intp]]:
    """Consecutive groups joined up to `limit` tokens."""
    packs: list[list[NDArray[np.intp]]] = []
    n_tokens = limit
    for group in groups:
        n_more = int(lengths[group].sum())
        if n_tokens + n_more > limit:
            packs.append([])
            n_tokens = 0
        packs[-1].append(group)
        n_tokens += n_more
    return [np.concatenate(pack) for pack in packs]


_known_rounding: weakref.WeakKeyDictionary[Encoder, bool] = weakref.WeakKeyDictionary()


def _rounds_alike(encoder: Encoder) -> bool:
    """Whether the states of a token do not depend on the number of tokens beside it."""
    if encoder not in _known_rounding:
        blocks = [*encoder.embedding_modules(), *encoder.layers()]
        _known_rounding[encoder] = rounds_alike(blocks)
    return _known_rounding[encoder]


_known_graphs: weakref.WeakKeyDictionary[
    TransferModel, dict[tuple[torch.device, torch.dtype], Graphs[Batch]]
] = weakref.WeakKeyDictionary()


def _graphs_of(model: TransferModel, device: torch.device, dtype: torch.dtype) -> Graphs[Batch]:
    """Graphs of the passes of `model`, which go with it."""
    owner = weakref.ref(model)

    def compute(batch: Batch) -> list[Tensor]:
        present = owner()
        assert present is not None
        with autocast(device, dtype, training=False):
            return list(present.window_features(batch))

    known = _known_graphs.setdefault(model, {})
    if (device, dtype) not in known:
        known[device, dtype] = Graphs(device, compute)
    return known[device, dtype]


def _pool_rows(vectors: Tensor, counts: Tensor, rows: EncodedRows, model: TransferModel) -> Tensor:
    n_windows = np.diff(rows.row_start)
    features = torch.empty(len(n_windows), vectors.shape[1], model.head.in_features)
    # Rows with the same number of windows together: padding to the longest would need memory
    # for all rows times the windows of one.
    for count in np.unique(n_windows):
        members = np.flatnonzero(n_windows == count)
        for chunk in np.array_split(members, -(-len(members) * int(count) // _WINDOWS_AT_ONCE)):
            index = torch.from_numpy(rows.row_start[chunk][:, None] + np.arange(count))
            features[chunk] = pool_windows(
                vectors, counts, index, model.pooling, role=rows.window_role
            )
    return features
