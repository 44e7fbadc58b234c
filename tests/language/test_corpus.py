"""Corpora: the same texts from every source, each pass anew, and what is wrong is named."""

from __future__ import annotations

import gzip
import pickle
import re
import subprocess
import sys
from collections import deque

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktransfer.language import corpus as corpus_module
from sktransfer.language.corpus import TokenizedCorpus, check_corpus

TEXTS = ["It was late.", "schön 🎬", "They left."]


class Stream:
    """Re-iterable without length, as a reader of a database is."""

    def __init__(self, rows):
        self.rows = rows
        self.n_passes = 0

    def __iter__(self):
        self.n_passes += 1
        return iter(self.rows)


class Letters:
    """One token a character; counts the characters that it was given."""

    pad_id, prefix, suffix, separator = 0, (1,), (2, 3), (2,)

    def __init__(self):
        self.n_characters = 0

    def encode(self, texts):
        self.n_characters += sum(map(len, texts))
        return [np.array([ord(letter) for letter in text], dtype=np.int32) for text in texts]

    def encode_words(self, texts):
        words = [np.array([text[:i].count(" ") for i in range(len(text))]) for text in texts]
        return self.encode(texts), [numbers.astype(np.int32) for numbers in words]


def write(path, texts, newline="\n"):
    path.parent.mkdir(exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(newline.join(texts).encode())
    return path


@pytest.mark.parametrize(
    "X",
    [
        ["", *TEXTS, " \t\n"],
        tuple(TEXTS),
        deque(TEXTS),
        np.array([*TEXTS, "  "])[:, None],
        pd.Series(TEXTS),
        (text for text in TEXTS),
        Stream(["", *TEXTS, "\u3000"]),
        Stream([np.str_(text) for text in TEXTS]),
        check_corpus(TEXTS),
    ],
)
def test_every_source_gives_the_texts_at_every_pass(X):
    corpus = check_corpus(X)
    assert list(corpus) == TEXTS
    assert list(corpus) == TEXTS
    assert {type(text) for text in corpus} == {str}
    assert (corpus.n_texts, corpus.n_characters) == (3, 29)


def test_lines_of_files_are_texts(tmp_path):
    first = write(tmp_path / "a.txt", ["\ufeff" + TEXTS[0], "", TEXTS[1] + "\n"], newline="\r\n")
    second = write(tmp_path / "sub" / "b.txt.gz", [TEXTS[2]])
    write(tmp_path / "c.csv", ["not read"])
    assert list(check_corpus(first)) == list(check_corpus(str(first))) == TEXTS[:2]
    assert list(check_corpus([second, first])) == [TEXTS[2], *TEXTS[:2]]
    assert list(check_corpus(f"{tmp_path}/**/*.txt*")) == TEXTS
    assert list(check_corpus(tmp_path / "*.txt")) == TEXTS[:2]
    corpus = check_corpus([tmp_path / "*.txt", second])
    assert list(pickle.loads(pickle.dumps(corpus))) == TEXTS
    assert (corpus.n_texts, corpus.n_characters) == (3, 29)


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    assert list(check_corpus(write(tmp_path / "a[1].txt", TEXTS))) == TEXTS


def test_files_of_a_pattern_come_by_name(tmp_path):
    for name in "bca":
        write(tmp_path / f"{name}.txt", [name])
    assert list(check_corpus(tmp_path / "*.txt")) == ["a", "b", "c"]


def test_text_behind_a_first_blank_file_is_found(tmp_path):
    write(tmp_path / "a.txt", ["", " "])
    write(tmp_path / "b.txt", ["text"])
    assert list(check_corpus(tmp_path / "?.txt")) == ["text"]


@pytest.mark.parametrize(
    "X", ["It was late.", "x" * 5000, "two\nlines", "nul\0", "nul\0/*", "**no", ""]
)
def test_a_text_that_is_no_path_is_to_be_wrapped(X, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"corpus: no file .* wrap one text in a list: \[corpus\]"):
        check_corpus(X, name="corpus")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"X: no file .*gone.txt.*check the path"):
        check_corpus([tmp_path / "gone.txt"])
    with pytest.raises(ValueError, match=r"is a folder; name its files, for example .*\*\.txt"):
        check_corpus(tmp_path)


def test_paths_and_texts_do_not_mix(tmp_path):
    path = write(tmp_path / "a.txt", TEXTS)
    with pytest.raises(TypeError, match="Row 1 of X is of type str, but row 0 is a path"):
        check_corpus([path, "text"])
    with pytest.raises(TypeError, match=r"Row 1 of X is of type .*Path, not str"):
        check_corpus(["text", path])


def test_a_line_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("good\nschön\n".encode("latin-1"))
    corpus = check_corpus(path)
    message = rf"Line 2 of {re.escape(str(path))} is not UTF-8 \(.* at byte 3\)"
    with pytest.raises(ValueError, match=message):
        list(corpus)


# Ids of their own: a compressed file holds the time, and workers must collect the same tests.
@pytest.mark.parametrize(
    "content", [b"plain text", gzip.compress(b"text " * 999)[:-9]], ids=["plain", "cut off"]
)
def test_a_broken_gzip_file_is_named(content, tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.gz is not a complete gzip file"):
        list(check_corpus(path))


@pytest.mark.parametrize("X", [["", " \n"], Stream([" "]), Stream([]), (text for text in [""])])
def test_without_text_there_is_no_corpus(X):
    with pytest.raises(ValueError, match="X has no text with characters"):
        check_corpus(X)


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        (None, ValueError, "Row 2 of X is missing"),
        (3, TypeError, "Row 2 of X is of type int"),
        ("\ud800", ValueError, "Row 2 of X holds a lone surrogate"),
    ],
)
@pytest.mark.parametrize("kind", [list, iter, Stream])
def test_a_row_that_is_no_text_is_named(kind, row, error, message):
    with pytest.raises(error, match=message):
        list(check_corpus(kind(["good", "", row])))


@pytest.mark.parametrize("X", [3, None, {"a": 1}, {"a"}, b"text", pd.DataFrame([["a", "b"]]), []])
def test_what_is_no_source_is_refused(X):
    with pytest.raises((TypeError, ValueError), match="X"):
        check_corpus(X)


def test_a_stream_is_not_read_before_its_time():
    def rows():
        yield "good"
        raise OSError("read too far")

    class Lazy:
        __iter__ = staticmethod(rows)

    corpus = check_corpus(Lazy())
    assert next(iter(corpus)) == "good"
    with pytest.raises(OSError, match="read too far"):
        corpus.n_texts  # noqa: B018


def test_counts_are_made_once():
    stream = Stream(TEXTS)
    corpus = check_corpus(stream)
    before = stream.n_passes
    assert (corpus.n_texts, corpus.n_characters, corpus.n_texts) == (3, 29, 3)
    assert stream.n_passes == before + 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_chunks_hold_all_texts_within_the_limits(lengths):
    texts = ["x" * length for length in lengths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "_CHUNK_TEXTS", 5)
        patch.setattr(corpus_module, "_CHUNK_CHARACTERS", 40)
        chunks = list(check_corpus(texts).chunks())
    assert [text for chunk in chunks for text in chunk] == texts
    sizes = [sum(map(len, chunk)) for chunk in chunks]
    assert all(len(chunk) <= 5 for chunk in chunks)
    assert all(size <= 40 for size in sizes)
    for i, chunk in enumerate(chunks[:-1]):
        assert len(chunk) == 5 or sizes[i] + len(chunks[i + 1][0]) > 40


def read(tokens):
    return ["".join(map(chr, text.ids)) for text in tokens]


def test_few_tokens_are_kept():
    tokenizer = Letters()
    tokens = TokenizedCorpus(check_corpus(TEXTS), tokenizer, memory_tokens=29)
    assert tokens.lengths is None
    assert read(tokens) == TEXTS
    assert read(tokens) == TEXTS
    assert tokenizer.n_characters == 29
    assert tokens.lengths.tolist() == [12, 7, 10]
    assert {text.ids.dtype for text in tokens} == {np.dtype(np.int32)}
    with pytest.raises(ValueError, match="read-only"):
        next(iter(tokens)).ids[0] = 0


def test_many_tokens_are_not_kept():
    tokenizer = Letters()
    tokens = TokenizedCorpus(check_corpus(TEXTS), tokenizer, memory_tokens=28)
    assert [read(tokens) for _ in range(3)] == [TEXTS] * 3
    assert tokenizer.n_characters == 3 * 29
    assert tokens.lengths is None
    assert tokens.is_exact
    assert tokens.n_tokens == 29 + 3 * 3


def test_a_pass_that_stops_is_not_kept():
    tokenizer = Letters()
    tokens = TokenizedCorpus(check_corpus(TEXTS), tokenizer)
    next(iter(tokens))
    assert not tokens.is_exact
    assert read(tokens) == TEXTS
    assert tokens.is_exact


def test_chunks_of_texts_are_tokenized_one_at_a_time(monkeypatch):
    monkeypatch.setattr(corpus_module, "_CHUNK_TEXTS", 1)
    tokenizer = Letters()
    tokens = TokenizedCorpus(check_corpus(TEXTS), tokenizer)
    next(iter(tokens))
    assert tokenizer.n_characters == len(TEXTS[0])
    assert read(tokens) == read(tokens) == TEXTS
    assert tokens.lengths.tolist() == [12, 7, 10]


def test_number_of_tokens_of_a_small_corpus_is_exact():
    tokenizer = Letters()
    tokens = TokenizedCorpus(check_corpus(TEXTS), tokenizer)
    assert not tokens.is_exact
    assert tokens.n_tokens == 29 + 3 * 3
    assert tokens.is_exact
    assert read(tokens) == TEXTS
    assert tokenizer.n_characters == 29


def test_number_of_tokens_of_a_large_corpus_is_estimated(monkeypatch):
    class SplitEncoder(Letters):
        def encode(self, texts):
            return [ids[::2] for ids in super().encode(texts)]

    monkeypatch.setattr(corpus_module, "_SAMPLE_CHARACTERS", 100)
    monkeypatch.setattr(corpus_module, "_CHUNK_TEXTS", 3)
    tokenizer = SplitEncoder()
    corpus = check_corpus(["x" * 20] * 50 + ["y" * 10] * 100)
    tokens = TokenizedCorpus(corpus, tokenizer, memory_tokens=499)
    assert tokens.n_tokens == tokens.n_tokens == 2000 // 2 + 150 * 3
    assert tokenizer.n_characters == 120
    assert not tokens.is_exact


def test_words_come_with_the_tokens():
    tokens = TokenizedCorpus(check_corpus(["a bc", "d"]), Letters(), words=True)
    for _ in range(2):
        assert [text.words.tolist() for text in tokens] == [[0, 0, 1, 1], [0]]
        assert read(tokens) == ["a bc", "d"]
    assert next(iter(TokenizedCorpus(check_corpus(["a"]), Letters()))).words is None


def test_words_need_a_tokenizer_that_knows_them():
    class Plain:
        pad_id, prefix, suffix, separator = 0, (), (), ()

        def encode(self, texts):
            return []

    with pytest.raises(TypeError, match=r"tokenizer: Plain has no encode_words\(\)"):
        TokenizedCorpus(check_corpus(["a"]), Plain(), words=True)


def test_corpora_and_streams_need_no_torch():
    code = (
        "import sys; import sktransfer.language.corpus, sktransfer.language.streams;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
