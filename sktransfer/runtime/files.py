"""Replace files and folders atomically."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import stat
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

# From Linux's fs.h and fcntl.h.
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
# Another machine may share the folder, and its processes cannot be checked.
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_SECONDS_OF_A_DAY = 86_400


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Replace a file by what `write` leaves at the path that it is given.

    The new file is on the disk before it takes the place of the old one, and has the mode that
    the process gives its files, whatever `write` gives it.

    Parameters
    ----------
    path : Path
        File to write, in a folder that exists.
    write : callable
        Writes the content to a path.
    """
    partial = _partial(path)
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        write(partial)
        os.chmod(partial, mode)
        _to_disk(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    _to_disk(path.parent)


def refuse_other_content(folder: Path, known: Collection[str], is_ours: Callable[[], bool]) -> None:
    """Raise a ValueError if writing to `folder` would remove files of others.

    Parameters
    ----------
    folder : Path
        May be missing or empty.
    known : collection of str
        Names of files that are written there.
    is_ours : callable
        Whether a folder with these names alone was written by this package.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder={str(folder)!r} is a file; give a new or empty folder.")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    others = sorted(names.difference(known))
    if others or (names and not is_ours()):
        raise ValueError(
            f"folder={str(folder)!r} holds other content ({', '.join(others or sorted(names))}), "
            "which is not overwritten; give a new or empty folder."
        )


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new folder to be filled in the block, which then takes the place of `folder` in one move.

    Where the system cannot exchange two folders, `folder` is away for a moment; an error in the
    block leaves it as it was.

    Parameters
    ----------
    folder : Path
        Folder to write, which may exist.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent, folder.name)
    new = _partial(folder)
    new.mkdir()
    if folder.exists():
        shutil.copymode(folder, new)
    try:
        yield new
        _to_disk(new)
        if not folder.exists():
            os.rename(new, folder)
        elif not _exchange(new, folder):
            old = _partial(folder)
            os.rename(folder, old)
            os.rename(new, folder)
            shutil.rmtree(old, ignore_errors=True)
        _to_disk(folder.parent)
    finally:
        # The old content, or the incomplete new one after an error.
        shutil.rmtree(new, ignore_errors=True)


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what processes that were killed have left in `folder`, of a file or of all."""
    for partial in folder.glob(f".{name}.*.partial"):
        *_, host, pid, _, _ = partial.name.split(".")
        with contextlib.suppress(OSError):
            is_dead = host == _HOST and pid.isdecimal() and not _is_alive(int(pid))
            if is_dead or time.time() - partial.stat().st_mtime > _SECONDS_OF_A_DAY:
                if partial.is_dir():
                    shutil.rmtree(partial, ignore_errors=True)
                else:
                    partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    own = uuid.uuid4().hex[:8]
    return path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.{own}.partial")


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # where signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if sys.platform == "win32" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Some network file systems do not support this for folders.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    paths = (os.fsencode(first), os.fsencode(second))
    done: int = rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    return done == 0
