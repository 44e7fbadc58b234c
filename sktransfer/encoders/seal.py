"""Digests of all files in a folder, so that damaged files are detected."""

from __future__ import annotations

import json
from pathlib import Path

from sktransfer.encoders.digests import file_digest

SEAL_FILE = "digests.json"
# A model card is for its author to complete.
_UNSEALED = (SEAL_FILE, "README.md")


def seal_folder(folder: Path) -> None:
    """Write the digests of the files in `folder`."""
    digests = {name: file_digest(path) for name, path in _files(folder).items()}
    (folder / SEAL_FILE).write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n", "utf-8")


def check_seal(folder: Path, *, is_needed: bool = False) -> None:
    """Raise a ValueError if a file is not as it was when the folder was written.

    Folders of others have no digests; they are needed where `folder` was written here.
    """
    seal = folder / SEAL_FILE
    if not seal.is_file():
        if is_needed:
            raise ValueError(f"{seal} is missing: the folder is damaged, or was not written whole.")
        return
    try:
        digests = json.loads(seal.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{seal} cannot be read: {error}") from error
    if not isinstance(digests, dict):
        raise ValueError(f"{seal} is damaged: it has no digests of files.")
    found = _files(folder)
    for name, digest in digests.items():
        if name not in found or file_digest(found[name]) != digest:
            raise ValueError(
                f"{folder / name} {'is missing' if name not in found else 'has changed'} since "
                f"{SEAL_FILE} was written: the folder is damaged. If another program wrote there, "
                f"and is meant to, delete {SEAL_FILE}."
            )


def _files(folder: Path) -> dict[str, Path]:
    """Files with a digest, by their names below `folder`."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: path for name, path in files.items() if path.is_file() and name not in _UNSEALED}
