"""Tensors by content: in the memory of the process, and in a folder that processes share."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import uuid
from collections.abc import Hashable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sktransfer.runtime._cache import cache
from sktransfer.runtime._locks import ForkSafeLock

# Tensors with one first dimension in common.
Tensors = tuple[Tensor, ...]

_KEY_BYTES = 16
# The objects around the values of a tensor, as measured: more than the values of a short text.
_TENSOR_BYTES = 600


class Kept:
    """Tensors of one kind that were computed before.

    Parameters
    ----------
    kind : tuple
        Tells the kind from others, in all processes; of values whose `repr` is their content.
    folder : str or None, default=None
        Where they are kept besides, to be mapped into the memory of this and other processes.

    Examples
    --------
    >>> kept = Kept(("example", 1))
    >>> kept.put({"a": (torch.ones(2),)})
    >>> kept.get("a"), kept.get("b")
    ((tensor([1., 1.]),), None)
    """

    def __init__(self, kind: tuple[Hashable, ...], folder: str | None = None) -> None:
        self.kind = kind
        self.has_folder = folder is not None
        self._shelf = None
        self._unwritten: dict[bytes, Tensors] = {}
        if folder is not None:
            name = hashlib.sha256(repr((kind, torch.__version__)).encode()).hexdigest()[:32]
            self._shelf = _shelf(str(Path(folder, "sktransfer", name)))
            self._shelf.refresh()

    def get(self, key: Hashable) -> Tensors | None:
        """What was put under `key`, or None."""
        found: Tensors | None = cache.get((self.kind, key))
        if self._shelf is None:
            return found
        digest = _digest(key)
        kept = self._shelf.get(digest)
        if found is None:
            return kept
        if kept is None:  # from a fit of this process that had no folder
            self._unwritten[digest] = found
        return found

    def put(self, values: Mapping[Hashable, Tensors]) -> None:
        """Keep all of `values`.

        In the folder they become one file, with those found in the process only.
        """
        for key, tensors in values.items():
            n_bytes = sum(tensor.nbytes + _TENSOR_BYTES for tensor in tensors)
            cache.put((self.kind, key), tensors, n_bytes=n_bytes)
        if self._shelf is None:
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


@functools.cache
def _shelf(folder: str) -> _Shelf:
    return _Shelf(Path(folder))


class _Shelf:
    """Files of tensors in a folder, each mapped into memory once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: set[str] = set()
        self._places: dict[bytes, tuple[Tensors, int, int]] = {}
        self._lock = ForkSafeLock()

    def refresh(self) -> None:
        """Find what other processes have put there."""
        with self._lock:
            if not self.folder.is_dir():
                self._known.clear()
                self._places.clear()
                return
            for path in sorted(self.folder.glob("*.safetensors")):
                if path.name not in self._known:
                    self._known.add(path.name)
                    self._places |= _read(path)

    def get(self, key: bytes) -> Tensors | None:
        place = self._places.get(key)
        if place is None:
            return None
        tensors, start, stop = place
        return tuple(tensor[start:stop] for tensor in tensors)

    def put(self, values: Mapping[bytes, Tensors]) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        lengths = [len(tensors[0]) for tensors in values.values()]
        keys = np.frombuffer(b"".join(values), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        columns = {
            f"column {number}": torch.cat(parts)
            for number, parts in enumerate(zip(*values.values(), strict=True))
        }
        columns["keys"] = torch.from_numpy(keys.copy())
        columns["bounds"] = torch.tensor([0, *np.cumsum(lengths).tolist()])
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        partial = path.with_suffix(".partial")
        # An estimator that was moved to a machine without this folder, or a disk that is full:
        # what cannot be kept is computed again.
        with contextlib.suppress(OSError, SafetensorError):
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(columns, partial)
            os.replace(partial, path)
            self.refresh()


def _read(path: Path) -> dict[bytes, tuple[Tensors, int, int]]:
    """Places of the tensors in a file; of a damaged one, or one that has gone, none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(name for name in file.keys() if name.startswith("column"))  # noqa: SIM118
            columns = tuple(file.get_tensor(name) for name in names)
            keys = file.get_tensor("keys").numpy()
            bounds = file.get_tensor("bounds").tolist()
    except (SafetensorError, OSError):
        return {}
    return {
        key.tobytes(): (columns, start, stop)
        for key, (start, stop) in zip(keys, pairwise(bounds), strict=True)
    }
