"""`python -m sktransfer compare FILE` on files as people have them."""

import json
import os
import subprocess
import sys

import pytest
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from sktransfer.__main__ import main
from sktransfer.comparison import compare as comparing
from sktransfer.comparison.columns import read_labeled_texts

from .messy_files import FILES, rows, what_is_read

FAST = ("--budgets", "6,all", "--repeats", "2")


@pytest.fixture
def cheap(monkeypatch):
    """Quick estimators in the place of the command's own."""
    bayes = make_pipeline(TfidfVectorizer(token_pattern=r"\S+"), MultinomialNB(alpha=0.1))
    estimators = {"majority": DummyClassifier(), "Bayes": bayes}
    monkeypatch.setattr(comparing, "default_estimators", lambda *_, **__: estimators)


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def table(*columns, header="text,label", delimiter=","):
    lines = [delimiter.join(cells) for cells in zip(*columns, strict=True)]
    return "\n".join([header.replace(",", delimiter), *lines]) + "\n"


TEXTS = [text.replace(",", "") for text, _ in rows(30)]
LABELS = [label for _, label in rows(30)]


@pytest.mark.parametrize("messy", FILES, ids=lambda messy: messy.name)
def test_a_messy_file_is_read_whole_or_says_what_it_dropped(messy, cheap, tmp_path, capsys):
    path = tmp_path / messy.name
    messy.write(path)
    read, n_used, notes = what_is_read(path, messy)
    assert (read.n_rows, n_used) == (messy.n_rows, messy.n_used)
    assert set(read.labels) >= ({"0", "1"} if messy.name == "array.json" else set())
    for expected in messy.notes:
        assert any(expected in note for note in notes), (expected, notes)
    assert main(["compare", str(path), *messy.options, *FAST]) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert f"{messy.n_rows} rows, " in " ".join(out.split())
    for note in notes:
        assert " ".join(note.split()) in " ".join(out.split())


@pytest.mark.parametrize("ending", ["tsv", "csv"])
@pytest.mark.parametrize("n_lines", [2, 75])
def test_quotation_marks_far_apart_swallow_no_rows(write, ending, n_lines):
    delimiter = "\t" if ending == "tsv" else ","
    texts, labels = TEXTS * 4, LABELS * 4
    texts[9], texts[8 + n_lines] = '"wait', 'the end"'
    read = read_labeled_texts(write(f"t.{ending}", table(texts, labels, delimiter=delimiter)))
    assert read.texts == texts
    assert read.labels == labels


def test_a_quotation_mark_that_never_closes(write):
    texts = ['"never closed', *TEXTS[1:]]
    read = read_labeled_texts(write("t.tsv", table(texts, LABELS, delimiter="\t")))
    assert read.texts == texts
    with pytest.raises(ValueError, match="line 2: unexpected end of data: a quotation"):
        read_labeled_texts(write("t.csv", 'text,label\n"a, b,pos\nc,neg\n'))


def test_quoted_texts_keep_their_line_breaks_and_quotes(write):
    texts = [f'{text}, and\nthe "rest"' for text in TEXTS]
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    read = read_labeled_texts(write("t.csv", table(quoted, LABELS)))
    assert read.texts == texts
    assert "61 lines hold 31 rows" in read.notes[0]


def test_quotes_inside_of_a_text_stay_where_nothing_is_quoted(write):
    texts = ['"Great" film', *TEXTS[1:]]
    read = read_labeled_texts(write("t.tsv", table(texts, LABELS, delimiter="\t")))
    assert read.texts == texts


@pytest.mark.parametrize("header", ["v1,v2,,", ",v1,v2"])
def test_columns_without_a_name_are_ignored(write, header):
    names = header.split(",")
    cells = {"v1": LABELS, "v2": TEXTS}
    columns = [cells.get(name, [""] * 30) for name in names]
    read = read_labeled_texts(write("t.csv", table(*columns, header=header)), "v2", "v1")
    assert read.texts == TEXTS
    assert read.notes == []


def test_lines_shorter_than_a_header_of_unnamed_columns(write):
    path = write("t.csv", table(TEXTS, LABELS, header="text,label,,"))
    assert read_labeled_texts(path).texts == TEXTS


IN_OTHER_WORDS = {
    "cp1252": ("it’s worth £5", "“Great” movie… loved it", "a café – déjà vu", "I don’t think so"),
    "cp1250": (
        "Bardzo dobry film, polecam",
        "świetna gra aktorów",
        "książka była nudna i za długa",
    ),
    "cp1251": ("Это очень хороший фильм", "Советую всем", "Книга скучная и слишком длинная"),
    "shift_jis": ("とても良い映画です", "この本は退屈で長すぎる", "素晴らしい演技でした"),
    "utf-16": ("it’s worth £5", "Это очень хороший фильм", "とても良い映画です"),
    "utf-16-le": ("it’s worth £5", "a café – déjà vu", "I don’t think so"),
}


@pytest.mark.parametrize("encoding", list(IN_OTHER_WORDS))
def test_the_encoding_is_detected_and_named(write, encoding, capsys, cheap):
    texts = [*[f'"{text}"' for text in IN_OTHER_WORDS[encoding]], *TEXTS][:30]
    path = write("t.csv", table(texts, LABELS).encode(encoding))
    read = read_labeled_texts(path)
    assert read.texts == [text.strip('"') for text in texts]
    assert main(["compare", str(path), *FAST]) == 0
    assert "it was read as" in " ".join(capsys.readouterr().out.split())
    stated = read_labeled_texts(path, encoding=encoding)
    assert stated.texts == read.texts
    assert not stated.notes


def test_an_encoding_that_does_not_fit_is_refused(write):
    path = write("t.csv", table(["café", *TEXTS[1:]], LABELS).encode("cp1252"))
    with pytest.raises(ValueError, match=r"is not utf-8 \(byte 0xe9 in line 2\)"):
        read_labeled_texts(path, encoding="utf-8")


def test_spaces_around_labels_and_headers_make_no_classes(write):
    labels = [f" {label}{' ' * (i % 3)}" for i, label in enumerate(LABELS)]
    read = read_labeled_texts(write("t.csv", table(TEXTS, labels, header="text, label")))
    assert read.labels == LABELS
    assert read.label_column == "label"
    assert read.notes == ["Removed spaces around the labels of 30 rows."]


def test_labels_that_differ_in_case_are_noted(write):
    labels = ["Pos", *LABELS[1:]]
    read = read_labeled_texts(write("t.csv", table(TEXTS, labels)))
    assert set(read.labels) == {"Pos", "pos", "neg"}
    assert "'pos' (14 rows), 'Pos' (1 row)" in read.notes[0]


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "json"])
def test_a_list_of_one_label_is_a_label_and_of_two_is_refused(tmp_path, ending):
    def write(labels):
        path = tmp_path / f"t.{ending}"
        if ending == "parquet":
            pa = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            parquet.write_table(pa.table({"text": TEXTS, "label": labels}), path)
            return path
        lines = [{"text": t, "label": label} for t, label in zip(TEXTS, labels, strict=True)]
        joined = "\n".join(map(json.dumps, lines))
        path.write_text(joined if ending == "jsonl" else json.dumps(lines), encoding="utf-8")
        return path

    assert read_labeled_texts(write([[label] for label in LABELS])).labels == LABELS
    with pytest.raises(
        ValueError, match=r"row 3: .*\['pos', 'film'\]; one label per row"
    ) as caught:
        read_labeled_texts(write([["pos"], ["neg"], ["pos", "film"], *[["neg"]] * 27]))
    assert "\n" not in str(caught.value)


def test_a_missing_header_is_said_and_can_be_told(write, capsys, cheap):
    path = write("t.csv", table(TEXTS[1:], LABELS[1:], header=f"{TEXTS[0]},{LABELS[0]}"))
    read = read_labeled_texts(path)
    assert len(read.texts) == 29
    (note,) = read.notes
    assert note.startswith("The header 'pos' is also a value of its column")
    assert main(["compare", str(path), "--no-header", "--label", "2", *FAST]) == 0
    assert "30 rows, 30 texts in column '1', 2 classes in column '2'" in " ".join(
        capsys.readouterr().out.split()
    )


def long(texts):
    return [f"{text} {text} {text}" for text in texts]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"url": [f"http://a.org/{t}" for t in range(30)], "text": TEXTS, "label": LABELS}, "text"),
        ({"url": [f"http://a.org/{t}" for t in range(30)], "t": TEXTS, "label": LABELS}, "t"),
        (
            {"brand": ["The Acme Company of X"] * 30, "title": TEXTS, "category": LABELS},
            "title",
        ),
        ({"sentence": TEXTS, "source": long(TEXTS), "label": LABELS}, "sentence"),
        ({"tweet_id": TEXTS, "tweet_text": TEXTS, "airline_sentiment": LABELS}, "tweet_text"),
        ({"a": [chr(0x1F600 + i % 15) for i in range(30)], "kind": LABELS}, "a"),
        ({"a": [chr(0x1F600 + i % 15) for i in range(30)], "label": ["positive"] * 30}, "a"),
        ({"created_at": ["2026-01-02 10:00"] * 30, "a": TEXTS, "y": LABELS}, "a"),
        ({"hash": [f"{i:08x}" for i in range(30)], "a": ["不错的电影"] * 30, "y": LABELS}, "a"),
    ],
)
def test_the_text_column_is_guessed_by_name_then_by_content(write, columns, expected):
    labels = ["negative" if i % 2 else "positive" for i in range(30)]
    columns = {name: labels if set(c) == {"positive"} else c for name, c in columns.items()}
    path = write("t.csv", table(*[list(c) for c in columns.values()], header=",".join(columns)))
    read = read_labeled_texts(path)
    assert read.text_column == expected
    assert read.label_column == list(columns)[-1]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"id": range(30), "split": ["a", "b"] * 15, "V": ["x", "y", "z"] * 10}, "V"),
        ({"index": [0, 1] * 15, "n": [1, 2, 3] * 10}, "n"),
        ({"lang": ["en", "de"] * 15, "Topic": ["x", "y", "z"] * 10}, "Topic"),
        ({"label_id": [0, 1] * 15, "label": ["x", "y", "z"] * 10}, "label"),
        ({"label": range(30), "class": ["x", "y", "z"] * 10}, "class"),
    ],
)
def test_the_label_column_is_guessed_by_name_then_by_content(write, columns, expected):
    cells = [list(map(str, column)) for column in columns.values()]
    path = write("t.csv", table(*cells, TEXTS, header=",".join([*columns, "text"])))
    assert read_labeled_texts(path).label_column == expected


def test_a_file_of_links_is_not_guessed(write):
    path = write("t.csv", table([f"https://a.org/{i}" for i in range(30)], LABELS))
    with pytest.raises(ValueError, match="no column looks like texts among 'text', 'label'"):
        read_labeled_texts(path)
    assert len(read_labeled_texts(path, "text", "label").texts) == 30


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        ("t.parquet", "version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("t.csv", "\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "an HTML page"),
        ("t.json", "<html></html>", "an HTML page"),
        ("t.csv", b"PK\x03\x04\x00\x00", "an Excel workbook: unpack it, or save"),
        ("t.xlsx", b"PK\x03\x04\x00\x00", "an Excel workbook: unpack it, or save"),
        ("t.csv.gz", b"\x1f\x8b\x08\x00", "compressed by gzip"),
        ("t.csv", b"PAR1\x15\x04", "a Parquet file: rename it"),
    ],
)
def test_a_file_that_is_something_else_is_named(write, capsys, name, content, message):
    path = write(name, content)
    assert main(["compare", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sktransfer: {path} is ")
    assert message in line


def test_any_error_is_one_line_and_its_traceback_comes_on_demand(write, capsys, monkeypatch):
    class Broken(DummyClassifier):
        def fit(self, X, y):
            raise KeyError("deep\ninside")

    monkeypatch.setattr(comparing, "default_estimators", lambda *_, **__: {"x": Broken()})
    path = write("t.csv", table(TEXTS, LABELS))
    assert main(["compare", str(path), *FAST]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (r"sktransfer: KeyError: 'deep\ninside' (--debug shows where)")
    assert main(["compare", str(path), *FAST, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_labels_with_brackets_are_printed_as_they_are(write, capsys, cheap):
    labels = [f"[{label}] :smile:" for label in LABELS]
    labels[0] = labels[0].upper()
    assert main(["compare", str(write("t.csv", table(TEXTS, labels))), *FAST]) == 0
    assert "'[pos] :smile:' (14 rows), '[POS] :SMILE:' (1 row)" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_pager_that_ends_early_is_no_error(write):
    path = write("t.csv", table(TEXTS, LABELS))
    code = (
        "import sys; sys.modules['sktransfer.datasets'] = None; "
        "from sktransfer import __main__; from rich.console import Console; "
        "__main__._load = lambda *_: (_ for _ in ()).throw(BrokenPipeError()); "
        f"raise SystemExit(__main__.main(['compare', {str(path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode_loses_no_result(write):
    path = write("t.csv", table(["naïve café", *TEXTS[1:]], LABELS))
    done = subprocess.run(
        [sys.executable, "-m", "sktransfer", "compare", str(path), "--label", "ä"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 2
    assert "has no column '?'" in done.stderr
