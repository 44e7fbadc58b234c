import builtins
import csv
import json

import pandas as pd
import pytest

from sktransfer.comparison import files
from sktransfer.comparison.columns import read_labeled_texts

TEXTS = ["a rather long text, with a comma", 'with "quotes"\nand a second line', "NA", "plain"] * 3
LABELS = ["pos", "neg", "pos", "neg"] * 3


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8", newline="")
        return path

    return write_file


def write_table(path):
    frame = pd.DataFrame({"id": range(12), "body": TEXTS, "kind": LABELS})
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".parquet":
            frame.to_parquet(path)
        case _:
            frame.to_json(path, orient="records", lines=True)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.ndjson", "t.parquet", "T.CSV"])
def test_each_format_gives_the_same(tmp_path, name):
    path = tmp_path / name
    write_table(tmp_path / name.lower()).rename(path)
    read = read_labeled_texts(path)
    assert (read.texts, read.labels) == (TEXTS, LABELS)
    assert (read.text_column, read.label_column) == ("body", "kind")


def test_parquet_through_polars_and_without_a_reader(tmp_path, monkeypatch):
    path = write_table(tmp_path / "t.parquet")
    monkeypatch.setattr(files, "find_spec", lambda name: True if name == "polars" else None)
    assert read_labeled_texts(path).texts == TEXTS
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        read_labeled_texts(path)


def test_semicolons_byte_order_mark_and_windows_line_ends(write):
    path = write("t.csv", b"\xef\xbb\xbftext;label\r\n" + b"one text;a\r\n\r\nanother text;b\r\n")
    read = read_labeled_texts(path, "text", "label")
    assert read.texts == ["one text", "another text"]
    assert read.labels == ["a", "b"]


def test_unusual_line_separators_stay_inside_a_text(write):
    path = write("t.csv", "text,label\none\u2028text,a\nanother\x0btext,b\n")
    assert read_labeled_texts(path, "text", "label").texts == ["one\u2028text", "another\x0btext"]


def test_a_cell_longer_than_the_csv_limit(write):
    limit = csv.field_size_limit()
    path = write("t.csv", f"text,label\n{'word ' * 40_000},a\nshort,b\n")
    assert len(read_labeled_texts(path, "text", "label").texts[0]) == 200_000
    assert csv.field_size_limit() == limit


def test_a_column_named_label_is_preferred_to_one_with_fewer_values(write):
    rows = [{"text": f"text {i}", "split": "ab"[i % 2], "label": i % 3} for i in range(12)]
    path = write("t.jsonl", "\n".join(map(json.dumps, rows)))
    read = read_labeled_texts(path)
    assert read.label_column == "label"
    assert set(read.labels) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("t.csv", "a,b\nx y,1\n", {"text": "c"}, "no column 'c'; it has 'a', 'b'"),
        ("t.csv", "a,b\nx y,1\n", {"text": "a", "label": "a"}, "both the text and the label"),
        ("t.csv", "", {}, "no columns"),
        ("t.jsonl", "\n", {}, "no columns"),
        ("t.csv", "a,b\n", {}, "no rows"),
        ("t.csv", "a,a\nx,1\n", {}, "two columns named 'a'"),
        ("t.csv", "a,b\nx,1\ny,z,2\n", {}, "line 3: 3 cells where the header has 2"),
        ("t.csv", "a,b\n2,1\n3,2\n", {}, r"no column looks like texts"),
        ("t.jsonl", '{"a": 1}\n{oops\n', {}, "line 2: not JSON"),
        ("t.jsonl", "[1]\n", {}, "row 1: not a JSON object"),
        ("t.jsonl", "1\n", {}, "line 1: not a JSON object"),
        ("t.json", "{}", {}, "one JSON object"),
        ("t.json", '{"a": [1], "b": [1, 2]}', {}, "one JSON object"),
        ("t.json", "[{", {}, "is not JSON"),
        ("t.parquet", b"not parquet", {}, "cannot be read as Parquet"),
        ("t.xlsx", b"", {}, "unknown format '.xlsx'; known are .csv"),
        ("t.csv", "a,b\nx y,1\n ,2\n", {"text": "a", "label": "b"}, "'1', in 1 row of 2"),
        ("t.csv", "a,b\nx,\ny,\n", {"text": "a", "label": "b"}, "no row has both"),
        ("t.csv", "a,label\nx y,1\nz,1\n", {}, "column 'label' has one class only"),
        ("t.csv", "a,b\nx y,1\nz,1\n", {"text": "a", "label": "b"}, "one class only, '1'"),
        ("t.csv", "a,b\nx y,1\nz u,2\nv w,3\n", {}, "no column looks like labels"),
        ("t.jsonl", '{"a": 1, "b": 2}\n', {}, "no column looks like texts"),
        ("t.jsonl", '{"a": 1, "b": "x"}\n', {"text": "a", "label": "b"}, "1, which is not a text"),
        (
            "t.jsonl",
            '{"a": "x"}\n{"a": "y", "b": "z"}',
            {"text": "a", "label": "b"},
            "'z', in 1 row of 2",
        ),
    ],
)
def test_what_is_wrong_is_said(write, name, content, columns, message):
    path = write(name, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_labeled_texts(path, **columns)
    assert str(path) in str(caught.value)


def test_missing_file_folder_and_forbidden_file(tmp_path, write, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv: there is no such file"):
        read_labeled_texts(tmp_path / "nowhere.csv")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_labeled_texts(tmp_path)
    path = write("t.csv", "a,b\n")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(PermissionError, match="may not be read"):
        read_labeled_texts(path)


def test_csv_and_jsonl_need_no_pandas(tmp_path, monkeypatch):
    paths = [write_table(tmp_path / name) for name in ("t.csv", "t.jsonl")]
    real = builtins.__import__

    def no_pandas(name, *args, **kwargs):
        assert name.partition(".")[0] not in {"pandas", "polars", "pyarrow"}
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_pandas)
    for path in paths:
        assert read_labeled_texts(path).texts == TEXTS
