"""Files as people have them; run as a script, it prints what is read of each, dropped, and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

GOOD = ("a good film", "so good and fine", "fine story", "good fun")
BAD = ("a bad film", "so bad and poor", "poor story", "bad, dull")


@dataclass(frozen=True)
class MessyFile:
    """A file, how it is read, and how many of its rows are compared on."""

    name: str
    write: Callable[[Path], Any]
    n_rows: int
    n_used: int
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = field(default=())


def rows(n_rows: int, start: int = 0) -> list[tuple[str, str]]:
    """Different texts, and their labels in turn."""
    return [
        (f"{(GOOD, BAD)[i % 2][i // 2 % 4]} number {i}", ("pos", "neg")[i % 2])
        for i in range(start, start + n_rows)
    ]


def stray_quotes(path: Path) -> None:
    """Tab-separated without quoting: one text begins, another ends with a quotation mark."""
    lines = [f"{text}\t{label}" for text, label in rows(120)]
    lines[20] = '"well, a fine film\tpos '
    lines[95] = 'not so fine in the end"\tneg'
    path.write_text("\ufefftext\t label\n" + "\n".join(lines) + "\n", encoding="utf-8")


def old_spreadsheet(path: Path) -> None:
    """Exported on Windows: cp1252, columns without a name, texts that spill into them."""
    lines = [f'{label},"{text} for £{len(text)} – café",,' for text, label in rows(60)]
    lines[7] = "neg,a bad film, so they say,"
    path.write_bytes("\r\n".join(["v1,v2,,", *lines]).encode("cp1252"))


def untidy_labels(path: Path) -> None:
    """Spaces around labels, two spellings of one, gaps in both columns."""
    lines = [
        f"{text.replace(',', '')},{label.capitalize() if i % 20 == 1 else label}{' ' * (i % 3)}"
        for i, (text, label) in enumerate(rows(80))
    ]
    lines[3], lines[9] = ",neg", "no label here,"
    lines.insert(11, "")
    path.write_text("\n".join(["review , sentiment ", *lines]), encoding="utf-8")


def lists(path: Path) -> None:
    """JSON Lines with lists of one, gaps, and a number among the labels."""
    lines = [{"label": [label], "text": [text]} for text, label in rows(50)]
    lines[4]["text"], lines[5]["label"], lines[6]["text"] = None, [], "  "
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def no_header(path: Path) -> None:
    """Labels first, and no line that names the columns."""
    path.write_text("\n".join(f'{label},"{text}"' for text, label in rows(40)), encoding="utf-8")


def links(path: Path) -> None:
    """A column without a name counts the rows, links are longer than the texts, texts repeat."""
    lines = [
        f"{i},https://example.org/a/long/address/of/{i},{text.replace(',', '')},{label}"
        for i, (text, label) in enumerate([*rows(30), *rows(30), *rows(12)])
    ]
    path.write_text("\n".join([",url,text,label", *lines]), encoding="utf-8")


def parts(path: Path) -> None:
    """The part of the data beside the label, and a class of one row."""
    lines = [
        {"id": i, "split": "ab"[i % 2], "V": label, "text": text}
        for i, (text, label) in enumerate([*rows(45), ("strange, this one", "other")])
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def shop(path: Path) -> None:
    """Parquet with a brand, a title and lists of one category."""
    import pyarrow as pa
    from pyarrow import parquet

    pairs = rows(40)
    table = {
        "brand": [("Acme Corporation of Somewhere", "Bolt")[i % 2] for i in range(40)],
        "title": [None if i == 8 else text for i, (text, _) in enumerate(pairs)],
        "category": [[label] for _, label in pairs],
    }
    parquet.write_table(pa.table(table), path)


def emoji(path: Path) -> None:
    """Texts of one emoji each, which are no words."""
    faces = {"positive": "😀😃😄😁😆😅😂🙂🙃😉😊😇", "negative": "😞😟😠😡😢😣😤😥😦😧😨😩"}
    lines = [f"{face},{label}" for label, its_faces in faces.items() for face in its_faces * 3]
    path.write_text("\n".join(["a,b", *lines]), encoding="utf-8")


def array(path: Path) -> None:
    """One JSON array; some texts stand there twice, one with another label, one in capitals."""
    pairs = [*rows(40), *rows(4), (rows(1)[0][0].upper(), "neg")]
    value = [{"comment": text, "target": 1.0 if label == "pos" else 0} for text, label in pairs]
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def quoted(path: Path) -> None:
    """Properly quoted: line breaks, delimiters and quotation marks in texts."""
    lines = [f'"{text};\nand ""more"" of it";{label}' for text, label in rows(40)]
    path.write_text("\r\n".join(["text;label", *lines]), encoding="utf-8", newline="")


FILES = (
    MessyFile("stray_quotes.tsv", stray_quotes, 120, 120, ("as a part of the texts", "spaces")),
    MessyFile("old_spreadsheet.csv", old_spreadsheet, 60, 60, ("cp1252", "without a name")),
    MessyFile("untidy_labels.csv", untidy_labels, 80, 78, ("blank", "without a label", "case")),
    MessyFile("lists.jsonl", lists, 50, 47, ("blank", "without a label")),
    MessyFile("no_header.csv", no_header, 40, 40, (), ("--no-header",)),
    MessyFile("links.csv", links, 72, 72, ("without a name", "copies")),
    MessyFile("parts.jsonl", parts, 46, 45, ("fewer than 3 different texts",)),
    MessyFile("shop.parquet", shop, 40, 39, ("blank",)),
    MessyFile("emoji.csv", emoji, 72, 72, ("copies",)),
    MessyFile("array.json", array, 45, 45, ("copies", "conflicting labels")),
    MessyFile("quoted.csv", quoted, 40, 40, ("line breaks",)),
)


def what_is_read(path: Path, messy: MessyFile) -> tuple[Any, int, list[str]]:
    """What is read of a file, how many rows are compared on, and all notes."""
    import numpy as np

    from sktransfer.comparison.columns import read_labeled_texts
    from sktransfer.comparison.splits import usable_rows

    read = read_labeled_texts(path, has_header="--no-header" not in messy.options)
    notes = list(read.notes)
    n_used = len(usable_rows(read.texts, np.array(read.labels), notes).labels)
    return read, n_used, notes


def main() -> None:
    """Print a table of the files."""
    with TemporaryDirectory() as folder:
        for messy in FILES:
            path = Path(folder, messy.name)
            messy.write(path)
            read, n_used, notes = what_is_read(path, messy)
            sys.stdout.write(
                f"{messy.name}: {read.n_rows} rows, {n_used} used, {read.n_rows - n_used} dropped; "
                f"text {read.text_column!r}, label {read.label_column!r}\n"
            )
            sys.stdout.writelines(f"    {note}\n" for note in notes)


if __name__ == "__main__":
    main()
