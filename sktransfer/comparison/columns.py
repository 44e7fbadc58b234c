"""Find the text and label columns of a table and read their cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sktransfer.comparison.files import Table, is_missing, read_table

# The most usual name first: of two that match, the earlier one wins.
_TEXT_NAMES = (
    *("text", "texts", "review", "sentence", "tweet", "message", "sms", "body", "content"),
    *("comment", "post", "document", "utterance", "question", "query", "abstract", "description"),
    *("title", "headline", "summary"),
)
_LABEL_NAMES = (
    *("label", "labels", "class", "category", "sentiment", "target", "intent", "topic"),
    *("emotion", "tag", "genre", "y"),
)
# What a row is called, or which part of the data it belongs to, is neither a text nor a label.
_OTHER_NAMES = (
    *("id", "ids", "idx", "index", "uuid", "guid", "key", "split", "fold", "subset", "partition"),
    *("url", "uri", "link", "href", "date", "time", "timestamp", "datetime"),
    *("filename", "file", "path"),
)
_FIRST_OF_CJK = "\u2e80"
_LINK = re.compile(r"(https?://|www\.)\S+")


@dataclass(frozen=True)
class LabeledColumns:
    """Texts, their labels as strings, and where they came from.

    Attributes
    ----------
    texts, labels : list of str
        One of each per row that was kept.
    text_column, label_column : str
        Columns they were found in.
    n_rows : int
        Rows in the file.
    notes : list of str
        What was decided or left out: each row of the file is kept, or counted here.
    """

    texts: list[str]
    labels: list[str]
    text_column: str
    label_column: str
    n_rows: int
    notes: list[str]


def read_labeled_texts(
    path: str | Path,
    text: str | None = None,
    label: str | None = None,
    *,
    encoding: str | None = None,
    has_header: bool = True,
) -> LabeledColumns:
    """Read the text and the label column of a file.

    Parameters
    ----------
    path : str or Path
        A file that `read_table` reads.
    text, label : str, default=None
        Names of the columns; None guesses them, by their names first, then by what they hold.
    encoding, has_header : str, bool
        As for `read_table`.

    Returns
    -------
    LabeledColumns
        Rows with a blank text or without a label are left out, with a note.

    Raises
    ------
    ValueError, OSError, ImportError
        With one line that says what is wrong, and where.
    """
    path = Path(path)
    table = read_table(path, encoding=encoding, has_header=has_header)
    if not table.columns:
        raise ValueError(f"{path}: the file has no columns.")
    text, label = (None if name is None else name.strip() for name in (text, label))
    for name in (text, label):
        if name is not None and name not in table.columns:
            raise ValueError(f"{path} has no column {name!r}; it has {_listed(table.columns)}.")
    if text is not None and text == label:
        raise ValueError(f"{path}: column {text!r} cannot be both the text and the label.")
    if not table.n_rows:
        raise ValueError(f"{path}: there are no rows below the columns {_listed(table.columns)}.")
    text = _guess_text(path, table, label) if text is None else text
    label = _guess_label(path, table, text) if label is None else label
    return _labeled(path, table, text, label)


def _guess_text(path: Path, table: Table, label: str | None) -> str:
    texts = {
        name: [cell for cell in map(_unwrapped, column) if isinstance(cell, str)]
        for name, column in table.columns.items()
        if name != label and not _is_other(name) and name.lower() not in _LABEL_NAMES
    }
    texts = {name: cells for name, cells in texts.items() if cells and not _are_codes(cells)}
    if not texts:
        raise ValueError(
            f"{path}: no column looks like texts among {_listed(table.columns)}; name it with "
            "--text."
        )
    named = _first_named(texts, _TEXT_NAMES)
    if named is not None:
        return named
    # Texts have words, and differ from row to row.
    return max(texts, key=lambda name: _n_words(texts[name]) * len(set(texts[name])))


def _guess_label(path: Path, table: Table, text: str) -> str:
    n_classes = {}
    for name, column in table.columns.items():
        cells = [str(_unwrapped(cell)) for cell in column if not is_missing(_unwrapped(cell))]
        # A class has several rows; an identifier or a second text has not.
        if name != text and not _is_other(name) and len(set(cells)) <= max(2, len(cells) // 3):
            n_classes[name] = len(set(cells))
    named = _first_named(n_classes, _LABEL_NAMES)
    if named is not None:
        return named
    n_classes = {name: number for name, number in n_classes.items() if number > 1}
    if not n_classes:
        others = [name for name in table.columns if name != text]
        raise ValueError(
            f"{path}: no column looks like labels (a few values that repeat) beside the text "
            f"column {text!r}: {_listed(others) if others else 'there is no other'}; name them "
            "with --text and --label."
        )
    return min(n_classes, key=lambda name: n_classes[name])


def _first_named(columns: Collection[str], names: Sequence[str]) -> str | None:
    """First of `columns` that is one of `names`, or whose last word is."""
    exact = {name.lower(): name for name in columns}
    last = {_words(name)[-1]: name for name in columns if _words(name)}
    for known in (exact, last):
        for name in names:
            if name in known:
                return known[name]
    return None


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _is_other(name: str) -> bool:
    words = _words(name)
    return bool(words) and (words[-1] in _OTHER_NAMES or name.startswith("__index"))


def _are_codes(cells: Sequence[str]) -> bool:
    return 2 * sum(map(_is_code, cells)) > len(cells)


def _is_code(cell: str) -> bool:
    """Whether a cell is a link, a number, a date, or a single word with digits such as a hash."""
    if _LINK.fullmatch(cell.strip()):
        return True
    if not any(map(str.isdigit, cell)):
        return False
    # Scripts without spaces write a sentence in one piece.
    is_one_word = len(cell.split()) == 1 and max(cell) < _FIRST_OF_CJK
    return is_one_word or not any(map(str.isalpha, cell))


def _n_words(cells: Sequence[str]) -> float:
    return sum(len(cell.split()) for cell in cells) / len(cells)


def _labeled(path: Path, table: Table, text: str, label: str) -> LabeledColumns:
    texts = [_text(path, text, row, cell) for row, cell in enumerate(table.columns[text], 1)]
    cells = [_label(path, label, row, cell) for row, cell in enumerate(table.columns[label], 1)]
    notes = list(table.notes)
    no_text = [row for row, cell in enumerate(texts) if not cell.strip()]
    no_label = [row for row, cell in enumerate(cells) if not cell.strip()]
    for left_out, what in (
        (no_text, f"whose text is blank (column {text!r})"),
        (sorted({*no_label} - {*no_text}), f"without a label (column {label!r})"),
    ):
        if left_out:
            notes.append(
                f"Left out {_rows(len(left_out))} {what}, the first of them row "
                f"{left_out[0] + 1:,}."
            )
    dropped = {*no_text, *no_label}
    kept = [row for row in range(len(texts)) if row not in dropped]
    if not kept:
        raise ValueError(
            f"{path}: no row has both a text in column {text!r} and a label in column {label!r}."
        )
    labels = [cells[row].strip() for row in kept]
    n_stripped = sum(cells[row] != cell for row, cell in zip(kept, labels, strict=True))
    if n_stripped:
        notes.append(f"Removed spaces around the labels of {_rows(n_stripped)}.")
    if len(set(labels)) == 1:
        raise ValueError(
            f"{path}: column {label!r} has one class only, {labels[0]!r}, in {_rows(len(labels))} "
            f"of {table.n_rows:,} with a text and a label; a classifier needs two."
        )
    notes += _case_notes(labels)
    return LabeledColumns([texts[row] for row in kept], labels, text, label, table.n_rows, notes)


def _text(path: Path, name: str, row: int, cell: Any) -> str:
    cell = _unwrapped(cell)
    if is_missing(cell):
        return ""
    if not isinstance(cell, str):
        raise ValueError(
            f"{path}, row {row}: column {name!r} holds {_shown(cell)}, which is not a text; name "
            "the text column with --text."
        )
    return cell


def _label(path: Path, name: str, row: int, cell: Any) -> str:
    cell = _unwrapped(cell)
    if is_missing(cell):
        return ""
    if isinstance(cell, list | tuple | dict | set):
        raise ValueError(
            f"{path}, row {row}: column {name!r} holds {_shown(cell)}; one label per row is "
            "needed here. Keep one of them, or name another column with --label."
        )
    # JSON and columns with gaps make 1.0 of the number 1.
    return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell)


def _unwrapped(cell: Any) -> Any:
    """The item of a list of one, None for an empty list, or the cell itself."""
    if isinstance(cell, list | tuple) and len(cell) < 2:
        return cell[0] if cell else None
    return cell


def _case_notes(labels: Sequence[str]) -> list[str]:
    spellings: dict[str, Counter[str]] = {}
    for label in labels:
        spellings.setdefault(label.casefold(), Counter())[label] += 1
    return [
        "These labels differ only in upper and lower case, and stay classes of their own: "
        + ", ".join(f"{name!r} ({_rows(n)})" for name, n in counts.most_common())
        + "."
        for counts in spellings.values()
        if len(counts) > 1
    ]


def _rows(number: int) -> str:
    return f"{number:,} row{'s' * (number != 1)}"


def _shown(cell: Any) -> str:
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)
