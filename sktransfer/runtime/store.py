"""Cached tensors, keyed by content, in memory and in a folder shared by processes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import uuid
import zlib
from collections.abc import Hashable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sktransfer.runtime.byte_cache import cache
from sktransfer.runtime.files import remove_leftovers, write_file
from sktransfer.runtime.locks import ForkSafeLock

# Tensors with one first dimension in common.
Tensors = tuple[Tensor, ...]

_KEY_BYTES = 16
# Measured overhead per tensor, which exceeds the values of a short text.
_TENSOR_BYTES = 600
_ENDING = ".safetensors"
# Each file is one memory mapping, and systems allow some tens of thousands per process.
_MOST_FILES, _MOST_SHELVES = 32, 64

# Columns of a file, and the first and last row of each key.
_Places = dict[bytes, tuple[Tensors, int, int]]


class TensorCache:
    """Tensors of one kind that were computed before.

    Parameters
    ----------
    kind : tuple
        Tells the kind from others, in all processes; of values whose `repr` is their content.
    folder : str or None, default=None
        Where they are kept besides, to be mapped into the memory of this and other processes.
    writes : bool, default=True
        Whether anything is put into the folder, or only read there.

    Examples
    --------
    >>> kept = TensorCache(("example", 1))
    >>> kept.put({"a": (torch.ones(2),)})
    >>> kept.get("a"), kept.get("b")
    ((tensor([1., 1.]),), None)
    """

    def __init__(
        self, kind: tuple[Hashable, ...], folder: str | None = None, *, writes: bool = True
    ) -> None:
        self.kind, self.writes = kind, writes
        self.has_folder = folder is not None
        self._shelf = None
        self._unwritten: dict[bytes, Tensors] = {}
        if folder is not None:
            name = hashlib.sha256(repr((kind, torch.__version__)).encode()).hexdigest()[:32]
            self._shelf = _shelf(str(Path(folder, "sktransfer", name)))
            self._shelf.refresh()

    @property
    def has_room(self) -> bool:
        """Whether anything can be kept, so that it is worth making keys for."""
        return self.has_folder or cache.budget > 0

    def get(self, key: Hashable) -> Tensors | None:
        """What was put under `key`, or None."""
        found: Tensors | None = cache.get((self.kind, key))
        if self._shelf is None:
            return found
        digest = _digest(key)
        kept = self._shelf.get(digest)
        if found is None:
            return kept
        if kept is None and self.writes:  # from a fit of this process that had no folder
            self._unwritten[digest] = found
        return found

    def put(self, values: Mapping[Hashable, Tensors]) -> None:
        """Keep all of `values`.

        In the folder they become one file, with those found in the process only.
        """
        for key, tensors in values.items():
            n_bytes = sum(tensor.nbytes + _TENSOR_BYTES for tensor in tensors)
            cache.put((self.kind, key), tensors, n_bytes=n_bytes)
        if self._shelf is None or not self.writes:
            return
        self._unwritten |= {_digest(key): tensors for key, tensors in values.items()}
        if self._unwritten:
            self._shelf.put(self._unwritten)
            self._unwritten = {}


def check_folder(folder: str) -> None:
    """Make the folder that is given as `memory`, or raise a ValueError."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"memory: {folder} cannot be made ({error}); give another folder."
        ) from error
    if not os.access(folder, os.W_OK):
        raise ValueError(f"memory: {folder} cannot be written to; give another folder.")


def _digest(key: Hashable) -> bytes:
    return hashlib.blake2b(repr(key).encode(), digest_size=_KEY_BYTES).digest()


@functools.lru_cache(maxsize=_MOST_SHELVES)
def _shelf(folder: str) -> _Shelf:
    return _Shelf(Path(folder))


class _Shelf:
    """Files of tensors in a folder, each mapped into memory once, and not too many of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, _Places] = {}
        self._places: _Places = {}
        self._lock = ForkSafeLock()
        if folder.is_dir():
            remove_leftovers(folder)

    def refresh(self) -> None:
        """Find what other processes have put there, and forget what they have taken away."""
        with self._lock:
            names = {path.name for path in self.folder.glob(f"*{_ENDING}")}
            if names == self._files.keys():
                return
            self._files = {
                name: self._files[name] if name in self._files else _read(self.folder / name)
                for name in sorted(names)
            }
            self._places = {}
            for places in self._files.values():
                self._places |= places

    def get(self, key: bytes) -> Tensors | None:
        place = self._places.get(key)
        if place is None:
            return None
        tensors, start, stop = place
        return tuple(tensor[start:stop] for tensor in tensors)

    def put(self, values: Mapping[bytes, Tensors]) -> None:
        from safetensors import SafetensorError

        # An estimator that was moved to a machine without this folder, or a disk that is full:
        # what cannot be kept is computed again.
        with contextlib.suppress(OSError, SafetensorError):
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder, values)
            self.refresh()
            self._merge()

    def _merge(self) -> None:
        """Make one file of the smaller ones where there are many: each takes a mapping."""
        readable = {name: places for name, places in self._files.items() if places}
        if len(readable) <= _MOST_FILES:
            return
        smallest = sorted(readable, key=lambda name: _n_bytes(readable[name]))[: _MOST_FILES // 2]
        values = {
            key: tuple(tensor[start:stop] for tensor in tensors)
            for name in smallest
            for key, (tensors, start, stop) in readable[name].items()
        }
        _write(self.folder, values)
        for name in smallest:
            (self.folder / name).unlink(missing_ok=True)
        self.refresh()


def _n_bytes(places: _Places) -> int:
    columns, _, _ = next(iter(places.values()))
    return sum(column.nbytes for column in columns)


def _write(folder: Path, values: Mapping[bytes, Tensors]) -> None:
    from safetensors.torch import save_file

    lengths = [len(tensors[0]) for tensors in values.values()]
    keys = np.frombuffer(b"".join(values), dtype=np.uint8).reshape(-1, _KEY_BYTES)
    tensors = {
        f"column {number}": torch.cat(parts)
        for number, parts in enumerate(zip(*values.values(), strict=True))
    }
    tensors["keys"] = torch.from_numpy(keys.copy())
    tensors["bounds"] = torch.tensor([0, *np.cumsum(lengths).tolist()])
    metadata = {name: _checksum(tensor) for name, tensor in tensors.items()}
    write_file(
        folder / f"{uuid.uuid4().hex}{_ENDING}",
        lambda partial: save_file(tensors, partial, metadata=metadata),
    )


def _checksum(tensor: Tensor) -> str:
    values = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    return f"{tensor.dtype} {tuple(tensor.shape)} {zlib.crc32(values.data):08x}"


def _read(path: Path) -> _Places:
    """Places of the tensors in a file; of a damaged one, or one that has gone, none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            checksums = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if {name: _checksum(tensor) for name, tensor in tensors.items()} != checksums:
            return {}
        keys, bounds = tensors.pop("keys").numpy(), tensors.pop("bounds").tolist()
    # Any error that a damaged file may cause.
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError):
        return {}
    columns = tuple(tensors[name] for name in sorted(tensors))
    return {
        key.tobytes(): (columns, start, stop)
        for key, (start, stop) in zip(keys, pairwise(bounds), strict=True)
    }
