"""Texts and their labels out of a file: csv, tsv, jsonl or parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Table = dict[str, list[Any]]

_FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
# A column of this name is the label, though another may have as few values.
_LABEL_NAMES = ("label", "labels", "target", "class", "category", "y")
_MAX_CELL = 2**31 - 1


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, their labels as strings, and the columns they were found in."""

    texts: list[str]
    labels: list[str]
    text_column: str
    label_column: str


def read_labelled_texts(
    path: str | Path, text: str | None = None, label: str | None = None
) -> LabelledTexts:
    """Read the text and the label column of a file; columns that are not named are guessed.

    Raises ValueError or OSError with one line that says what is wrong and where.
    """
    path = Path(path)
    table = _read_table(path)
    if not table:
        raise ValueError(f"{path}: the file has no columns.")
    for name in (text, label):
        if name is not None and name not in table:
            raise ValueError(f"{path} has no column {name!r}; it has {_listed(table)}.")
    if text is not None and text == label:
        raise ValueError(f"{path}: column {text!r} cannot be both the text and the label.")
    if not any(table.values()):
        raise ValueError(f"{path}: there are no rows below the columns {_listed(table)}.")
    text = _guess_text(path, table, label) if text is None else text
    label = _guess_label(path, table, text) if label is None else label
    return LabelledTexts(
        texts=_texts(path, table, text),
        labels=_labels(path, table, label),
        text_column=text,
        label_column=label,
    )


def _read_table(path: Path) -> Table:
    ending = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a {', '.join(_FORMATS)} file.")
    if ending not in _FORMATS:
        raise ValueError(f"{path}: unknown format {ending!r}; known are {', '.join(_FORMATS)}.")
    try:
        if ending == ".parquet":
            return _read_parquet(path)
        if ending in (".csv", ".tsv"):
            return _read_csv(path, tab_separated=ending == ".tsv")
        return _read_jsonl(path)
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: permission denied.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not UTF-8 (byte 0x{error.object[error.start]:02x} in line {line}): "
            "save it as UTF-8."
        ) from error


def _read_csv(path: Path, *, tab_separated: bool) -> Table:
    # Every cell stays a string: a label "007" or a text "NA" is not a number or a gap.
    content = path.read_bytes().decode("utf-8-sig")
    header, _, _ = content.partition("\n")
    delimiter = "\t" if tab_separated else max(",;\t|", key=header.count)
    with _long_cells():
        reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)
        try:
            names = next(reader, [])
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{path} has two columns named {min(twice)!r}.")
            rows = []
            for cells in reader:
                if not cells:  # an empty line
                    continue
                if len(cells) != len(names):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells where the header "
                        f"has {len(names)}; a text that contains {delimiter!r} must be quoted."
                    )
                rows.append(cells)
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
    return {name: [cells[i] for cells in rows] for i, name in enumerate(names)}


@contextmanager
def _long_cells() -> Iterator[None]:
    # The csv module refuses cells above 128 kB, which a long document passes.
    limit = csv.field_size_limit(_MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _read_jsonl(path: Path) -> Table:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_bytes().decode("utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error.msg}).") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: not a JSON object with a key per column.")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _read_parquet(path: Path) -> Table:
    reader = next((name for name in ("pyarrow", "polars") if find_spec(name) is not None), None)
    if reader is None:
        raise ImportError(f"{path}: reading parquet needs pyarrow or polars: pip install pyarrow.")
    table: Table
    try:
        if reader == "pyarrow":
            from pyarrow import parquet

            table = parquet.read_table(path).to_pydict()
        else:
            import polars as pl

            table = pl.read_parquet(path).to_dict(as_series=False)
    except PermissionError:
        raise
    # The readers have no class in common for a file that is no parquet.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as parquet: {error}") from error
    return table


def _guess_text(path: Path, table: Table, label: str | None) -> str:
    lengths = {
        name: sum(map(len, cells)) / len(cells)
        for name, column in table.items()
        if name != label and (cells := [cell for cell in column if isinstance(cell, str)])
    }
    if not lengths:
        raise ValueError(f"{path}: no column of texts among {_listed(table)}.")
    return max(lengths, key=lambda name: lengths[name])


def _guess_label(path: Path, table: Table, text: str) -> str:
    for name in table:
        if name != text and name.lower() in _LABEL_NAMES:
            return name
    distinct = {}
    for name, column in table.items():
        values = {str(cell) for cell in column if not _is_missing(cell)}
        # A class has several rows; an identifier or a second text has not.
        if name != text and 2 <= len(values) <= max(2, len(column) // 3):
            distinct[name] = len(values)
    if not distinct:
        others = [name for name in table if name != text]
        raise ValueError(
            f"{path}: no column looks like labels (a few values that repeat) beside the text "
            f"column {text!r}: {_listed(others) if others else 'there is no other'}; name them "
            "with --text and --label."
        )
    return min(distinct, key=lambda name: distinct[name])


def _texts(path: Path, table: Table, name: str) -> list[str]:
    column = table[name]
    _refuse_missing(path, name, column)
    for row, cell in enumerate(column, start=1):
        if not isinstance(cell, str):
            raise ValueError(
                f"{path}, row {row}: column {name!r} holds {cell!r}, which is not a text; "
                f"name the text column with --text: {_listed(table)}."
            )
    return column


def _labels(path: Path, table: Table, name: str) -> list[str]:
    column = table[name]
    _refuse_missing(path, name, column)
    labels = [str(cell) for cell in column]
    if len(set(labels)) == 1:
        raise ValueError(
            f"{path}: column {name!r} has one class only, {labels[0]!r}; a classifier needs two."
        )
    return labels


def _refuse_missing(path: Path, name: str, column: list[Any]) -> None:
    missing = [row for row, cell in enumerate(column, start=1) if _is_missing(cell)]
    if missing:
        more = f" (and {len(missing) - 1} more rows)" if len(missing) > 1 else ""
        raise ValueError(
            f"{path}, row {missing[0]}{more}: column {name!r} is empty; fill it or leave the row "
            "out (rows are counted from 1, the header not counted)."
        )


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _listed(names: Any) -> str:
    return ", ".join(repr(str(name)) for name in names)
