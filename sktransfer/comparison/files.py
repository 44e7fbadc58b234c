"""Read tables from CSV, TSV, JSON, JSON Lines or Parquet files."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
_WESTERN = "Windows-1252"
_LEVEL = 2 / 3
_MAX_CELL = 2**31 - 1
# File types by their first bytes, for files with a misleading extension.
_FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer, not the data: run `git lfs pull` to fetch it",
    b"<!doctype html": "an HTML page, not a table: download the file itself",
    b"<html": "an HTML page, not a table: download the file itself",
    b"<?xml": "XML, not a table",
    b"\x1f\x8b": "compressed by gzip: decompress it first",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the sheet as CSV",
    b"%pdf": "a PDF document, not a table",
    b"par1": "a Parquet file: rename it to end in .parquet",
}


@dataclass
class Table:
    """Columns of a file, with notes on how they were read.

    Attributes
    ----------
    columns : dict of str to list
        Cells of each named column.
    notes : list of str
        One sentence for each thing that was decided or left out on the way.
    """

    columns: dict[str, list[Any]]
    notes: list[str] = field(default_factory=list)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return max(map(len, self.columns.values()), default=0)


def read_table(path: Path, *, encoding: str | None = None, has_header: bool = True) -> Table:
    """Read all columns of a file.

    Parameters
    ----------
    path : Path
        A file whose ending is one of `FORMATS`.
    encoding : str, default=None
        Encoding of a text file. None takes UTF-8, or detects the encoding, with a note.
    has_header : bool, default=True
        Whether the first line of a CSV or TSV file names the columns; else they are named
        ``"1"``, ``"2"``, and so on.

    Returns
    -------
    Table
        Columns without a name are left out, with a note if they hold anything.

    Raises
    ------
    ValueError, OSError, ImportError
        With one line that says what is wrong, and where.
    """
    ending = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a {', '.join(FORMATS)} file.")
    try:
        content = path.read_bytes()
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: permission denied.") from error
    _refuse_foreign(path, content[:1024])
    if ending not in FORMATS:
        raise ValueError(f"{path}: unknown format {ending!r}; known are {', '.join(FORMATS)}.")
    if ending == ".parquet":
        return _named(path, *_read_parquet(path))
    text, notes = _decode(path, content, encoding)
    if ending in (".csv", ".tsv"):
        names, columns, found = _read_delimited(path, text, has_header=has_header)
    else:
        names, columns, found = *_read_json(path, text), []
    table = _named(path, names, columns)
    table.notes[:0] = notes + found
    return table


def _refuse_foreign(path: Path, head: bytes) -> None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for signature, kind in _FOREIGN.items():
        is_expected = signature == b"par1" and path.suffix.lower() == ".parquet"
        if start.startswith(signature.lower()) and not is_expected:
            raise ValueError(f"{path} is {kind}.")


def _decode(path: Path, content: bytes, encoding: str | None) -> tuple[str, list[str]]:
    """Text of a file, and a note on its encoding unless it is UTF-8."""
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"--encoding {encoding}: Python knows no such encoding.") from None
        try:
            return content.decode(encoding).removeprefix("\ufeff"), []
        except UnicodeError as error:
            raise ValueError(f"{path} is not {encoding} ({_place(content, error)}).") from error
    try:
        # UTF-16 without a mark at its start is valid UTF-8, full of zeros.
        if b"\0" not in content:
            return content.decode("utf-8-sig"), []
        place = f"byte 0x00 in line {content[: content.index(0)].count(10) + 1}"
    except UnicodeDecodeError as error:
        place = _place(content, error)
    found = _detected(content)
    try:
        text = content.decode(found)
    except UnicodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 ({place}), and no other encoding fits: name it, for example "
            "with --encoding cp1252."
        ) from error
    name = codecs.lookup(found).name
    note = f"The file is not UTF-8 ({place}); it was read as {name} (--encoding names another)."
    return text.removeprefix("\ufeff"), [note]


def _detected(content: bytes) -> str:
    """The most likely encoding of bytes that are not UTF-8."""
    # Imported only if needed, because nearly every file is UTF-8.
    import chardet

    if b"\0" not in content:
        # Among many lines of plain English, a detector misses a few lines in another language.
        content = b"\n".join(line for line in content.split(b"\n") if not line.isascii())
    era = chardet.EncodingEra.MODERN_WEB
    found = chardet.detect_all(content, encoding_era=era, ignore_threshold=True)
    confidence = {
        guess["encoding"]: guess["confidence"] for guess in found if guess["encoding"] is not None
    }
    best = max(confidence, key=lambda name: confidence[name], default="ascii")
    # A few quotes and accents in English text fit several code pages of Windows nearly alike.
    is_level = confidence.get(_WESTERN, 0.0) > _LEVEL * confidence.get(best, 1.0)
    return _WESTERN if is_level else best


def _place(content: bytes, error: UnicodeError) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    line = content.count(b"\n", 0, error.start) + 1
    return f"byte 0x{content[error.start]:02x} in line {line}"


def _named(path: Path, names: list[str], columns: list[list[Any]]) -> Table:
    """Columns by their stripped names, without unnamed ones."""
    names = [name.strip() for name in names]
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise ValueError(f"{path} has two columns named {min(twice)!r}.")
    table = Table({name: column for name, column in zip(names, columns, strict=True) if name})
    unnamed = [column for name, column in zip(names, columns, strict=True) if not name]
    n_filled = sum(not is_missing(cell) for column in unnamed for cell in column)
    if n_filled:
        table.notes.append(
            f"Ignored {len(unnamed)} column{'s' * (len(unnamed) > 1)} without a name, with "
            f"{n_filled:,} filled cell{'s' * (n_filled > 1)}."
        )
    return table


def is_missing(cell: Any) -> bool:
    """Whether a cell is None, NaN or blank."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and cell != cell)


@dataclass(frozen=True)
class _Record:
    """Cells of one row, and the lines that it spans in the file."""

    cells: list[str]
    line: int
    n_lines: int = 1


def _read_delimited(
    path: Path, text: str, *, has_header: bool
) -> tuple[list[str], list[list[Any]], list[str]]:
    # Every cell stays a string: a label "007" or a text "NA" is not a number or a gap.
    lines = list(io.StringIO(text, newline=""))
    first = next((line for line in lines if line.strip()), "")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
    with _long_cells():
        records, notes = _split_records(path, lines, delimiter)
    if not records:
        return [], [], notes
    header = records[0].cells
    names = header if has_header else [str(number) for number in range(1, len(header) + 1)]
    rows = [_fitted(path, record, names, delimiter) for record in records[has_header:]]
    columns = [list(cells) for cells in zip(*rows, strict=True)] if rows else [[] for _ in names]
    if has_header:
        notes += _header_notes(names, columns)
    return names, columns, notes


def _split_records(path: Path, lines: list[str], delimiter: str) -> tuple[list[_Record], list[str]]:
    """Rows of a delimited file, with the interpretation of quotation marks that fits it."""
    plain = [
        _Record(line.rstrip("\r\n").split(delimiter), number)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    fits = len({len(record.cells) for record in plain}) == 1
    try:
        quoted = list(_quoted_records(lines, delimiter, strict=True))
    except csv.Error as error:
        # Not written as CSV: quotation marks belong to the texts.
        if fits:
            return plain, [f"Quotation marks were read as a part of the texts: {error}."]
        if "end of data" in str(error):
            raise ValueError(f"{path}, {error}: a quotation mark never closes.") from error
        quoted = list(_quoted_records(lines, delimiter, strict=False))
    if fits and len(quoted) < len(plain) and not _has_quoted_breaks(quoted, plain):
        longest = max(quoted, key=lambda record: record.n_lines)
        note = (
            "Quotation marks were read as a part of the texts: as quotes, the one in line "
            f"{longest.line} would make one row of {longest.n_lines} lines."
        )
        return plain, [note]
    return quoted, _account(quoted, plain)


def _quoted_records(lines: list[str], delimiter: str, *, strict: bool) -> Iterator[_Record]:
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=strict)
    start = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # Its message "'\t' expected after '\"'" has a real tab.
            raise csv.Error(f"line {start + 1}: {error}".replace("\t", "\\t")) from error
        if any(line.strip() for line in lines[start : reader.line_num]):
            yield _Record(cells, start + 1, reader.line_num - start)
        start = reader.line_num


def _has_quoted_breaks(quoted: list[_Record], plain: list[_Record]) -> bool:
    """Whether rows that span lines are single rows, although each line could be a row.

    Lines that are rows have the values of other rows where these are few, as labels are.
    """
    inside = {
        number
        for record in quoted
        if record.n_lines > 1
        for number in range(record.line, record.line + record.n_lines)
    }
    disputed = [record.cells for record in plain[1:] if record.line in inside]
    columns = zip(*(record.cells for record in quoted[1:]), strict=False)
    number, known = min(
        ((number, {cell.strip() for cell in cells}) for number, cells in enumerate(columns)),
        key=lambda column: len(column[1]),
        default=(0, set()),
    )
    n_known = sum(cells[number].strip() in known for cells in disputed)
    return len(known) <= max(2, len(quoted) // 3) and 2 * n_known <= len(disputed)


def _account(quoted: list[_Record], plain: list[_Record]) -> list[str]:
    """A note if rows span several lines."""
    several = [record for record in quoted if record.n_lines > 1]
    if not several:
        return []
    longest = max(several, key=lambda record: record.n_lines)
    note = (
        f"{len(plain):,} lines hold {len(quoted):,} rows, the header included: {len(several):,} of "
        f"them have line breaks in quoted cells, the longest from line {longest.line} over "
        f"{longest.n_lines} lines."
    )
    return [note]


def _fitted(path: Path, record: _Record, names: list[str], delimiter: str) -> list[str]:
    """Cells of a row, one per name; only blank cells may be added or removed."""
    cells, n_names = record.cells, len(names)
    if len(cells) < n_names and not any(name.strip() for name in names[len(cells) :]):
        cells = [*cells, *[""] * (n_names - len(cells))]
    if len(cells) < n_names or any(cell.strip() for cell in cells[n_names:]):
        raise ValueError(
            f"{path}, line {record.line}: {len(cells)} cells where the header has {n_names}; a "
            f"text that contains {delimiter!r} must be quoted."
        )
    return cells[:n_names]


def _header_notes(names: list[str], columns: list[list[str]]) -> list[str]:
    found = [
        name
        for name, column in zip(names, columns, strict=True)
        if name.strip() and any(cell.strip() == name.strip() for cell in column)
    ]
    if not found:
        return []
    note = (
        f"The header {found[0].strip()!r} is also a value of its column: if the first line is a "
        "row, give --no-header."
    )
    return [note]


@contextmanager
def _long_cells() -> Iterator[None]:
    # The csv module refuses cells above 128 kB, which a long document passes.
    limit = csv.field_size_limit(_MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _read_json(path: Path, text: str) -> tuple[list[str], list[list[Any]]]:
    """Columns of an array of objects, of one object of arrays, or of an object per line."""
    start = text.lstrip()[:1]
    if start == "[" or (start == "{" and path.suffix.lower() == ".json"):
        try:
            value = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            # Several objects, one per line, under the name .json
            if start == "[" or getattr(error, "msg", "") != "Extra data":
                raise ValueError(f"{path} is not JSON ({error}).") from error
        else:
            return _columns_of(path, value)
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            rows.append(_json_row(path, f"line {number}", line))
    return _columns_of(path, rows)


def _json_row(path: Path, place: str, line: str) -> Any:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}, {place}: not JSON ({error}).") from error
    if not isinstance(row, dict):
        raise ValueError(f"{path}, {place}: not a JSON object with a key per column.")
    return row


def _columns_of(path: Path, value: Any) -> tuple[list[str], list[list[Any]]]:
    if isinstance(value, dict):
        lengths = {len(column) if isinstance(column, list) else -1 for column in value.values()}
        if len(lengths) != 1 or lengths == {-1}:
            raise ValueError(
                f"{path} is one JSON object: give an array of objects, one per row, or an object "
                "of columns, each an array of as many values."
            )
        return list(value), list(value.values())
    for number, row in enumerate(value, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{path}, row {number}: not a JSON object with a key per column.")
    names = list(dict.fromkeys(name for row in value for name in row))
    return names, [[row.get(name) for row in value] for name in names]


def _read_parquet(path: Path) -> tuple[list[str], list[list[Any]]]:
    reader = next((name for name in ("pyarrow", "polars") if find_spec(name) is not None), None)
    if reader is None:
        raise ImportError(f"{path}: reading Parquet needs pyarrow or polars: pip install pyarrow.")
    columns: dict[str, list[Any]]
    try:
        if reader == "pyarrow":
            from pyarrow import parquet

            columns = parquet.read_table(path).to_pydict()
        else:
            import polars as pl

            columns = pl.read_parquet(path).to_dict(as_series=False)
    # The readers have no class in common for a file that is not Parquet.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from error
    return list(columns), list(columns.values())
