"""SHA-256 of files."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


def files_digest(paths: list[Path], folder: Path | None = None) -> str:
    """SHA-256 over the names and contents of files, in the order of their names.

    A name is the last part of a path, or all of it below `folder`.
    """
    names = {
        path.name if folder is None else path.relative_to(folder).as_posix(): path for path in paths
    }
    sha = hashlib.sha256()
    for name, path in sorted(names.items()):
        sha.update(f"{name} {file_digest(path)}\n".encode())
    return sha.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, computed once per process unless its size or time changes."""
    status = path.stat()
    return _file_digest(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _file_digest(path: str, mtime_ns: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
