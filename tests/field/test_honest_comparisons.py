"""Scores of `compare` that mean what they say."""

import csv

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_info

from sktransfer.__main__ import main
from sktransfer.comparison import compare as comparing
from sktransfer.comparison.compare import SingleThreadedSearch, compare, default_estimators
from sktransfer.comparison.splits import usable_rows

from .messy_files import rows

TEXTS = [text for text, _ in rows(60)]
LABELS = [label for _, label in rows(60)]


class Parrot(ClassifierMixin, BaseEstimator):
    """Knows the texts it has seen, and guesses the others."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.known_ = dict(zip(self._texts(X), y, strict=True))
        return self

    def predict(self, X):
        return np.array([self.known_.get(text, "pos") for text in self._texts(X)])

    def _texts(self, X):
        return list(map(str, X["text"] if isinstance(X, pd.DataFrame) else X))


class FailsFrom(DummyClassifier):
    """Cannot be fitted on so many rows or more."""

    def __init__(self, n_rows=0, error=ValueError):
        super().__init__()
        self.n_rows, self.error = n_rows, error

    def fit(self, X, y):
        if len(X) >= self.n_rows:
            raise self.error(f"too many rows:\n{len(X)}")
        return super().fit(X, y)


CONTAINERS = [
    list,
    tuple,
    np.array,
    pd.Series,
    pl.Series,
    pa.array,
    lambda texts: pd.DataFrame({"text": texts}),
    lambda texts: np.array(texts, dtype=object)[:, None],
    lambda texts: [(text, "a context") for text in texts],
]


@pytest.mark.parametrize("container", CONTAINERS)
def test_copies_of_a_text_are_on_one_side(container):
    # Twelve texts, six times each: whoever remembers texts must not profit from it.
    texts, labels = TEXTS[:12] * 6, LABELS[:12] * 6
    result = compare(container(texts), labels, {"x": Parrot()}, budgets=["all"], n_repeats=5)
    assert {row["n_test"] for row in result.rows} == {18}
    assert {row["n_labels"] for row in result.rows} == {54}
    # Of the classes in proportion, three texts cannot be: one in three, or two.
    assert all(0.3 < row["accuracy"] < 0.7 for row in result.rows)
    (note,) = result.notes
    assert note == (
        "12 texts with copies, 72 rows in all: the copies of a text are kept on the same side of "
        "each split."
    )


def test_copies_in_other_case_and_spacing_are_copies():
    texts = [*TEXTS, *[f" {text.upper()}  " for text in TEXTS]]
    notes = []
    assert len(usable_rows(texts, np.array(LABELS * 2), notes).labels) == 120
    assert notes[0].startswith("60 texts with copies, 120 rows in all")


def test_conflicting_labels_of_a_text_are_counted():
    texts, labels = [*TEXTS, *TEXTS[:4]], [*LABELS, "neg", "neg", "pos", "pos"]
    result = compare(texts, labels, {"x": DummyClassifier()}, n_repeats=1)
    assert result.notes[0].endswith("; 2 of these texts, 4 rows, have conflicting labels.")


def test_a_text_with_very_many_copies_leaves_a_test_set():
    texts, labels = [*TEXTS, *["ok"] * 500], [*LABELS, *["pos"] * 500]
    result = compare(texts, labels, {"x": Parrot()}, budgets=[20, "all"], n_repeats=3)
    assert not result.interrupted
    assert all(0 < row["n_test"] <= 140 for row in result.rows)


def test_no_budget_is_spent_on_copies_while_there_are_other_texts():
    seen = []

    class Counts(DummyClassifier):
        def fit(self, X, y):
            seen.append((len(X), len(set(X))))
            return super().fit(X, y)

    compare(TEXTS * 3, LABELS * 3, {"x": Counts()}, budgets=[10, 40, "all"], n_repeats=2)
    assert seen == [(10, 10), (40, 40), (135, 45)] * 2


def test_blank_texts_and_rare_classes_are_left_out_and_counted():
    texts = ["", " \n", *TEXTS, "an odd one", "another odd one", "alone"]
    labels = ["pos", "neg", *LABELS, "odd", "odd", "single"]
    result = compare(texts, labels, {"x": DummyClassifier()}, budgets=["all"], n_repeats=1)
    assert result.rows[0]["n_labels"] + result.rows[0]["n_test"] == 60
    assert result.notes == [
        "Left out 2 rows with a blank text, the first of them row 0.",
        "Left out 3 rows of 2 classes with fewer than 3 different texts: odd (2), single (1).",
    ]


def test_a_class_of_copies_is_too_rare_to_be_split():
    texts, labels = [*TEXTS, *["always the same"] * 9], [*LABELS, *["spam"] * 9]
    result = compare(texts, labels, {"x": DummyClassifier()}, budgets=["all"], n_repeats=1)
    assert result.notes[0] == (
        "Left out 9 rows of 1 class with fewer than 3 different texts: spam (9)."
    )


@pytest.mark.parametrize("error", [ValueError, KeyError, MemoryError, FloatingPointError])
def test_an_estimator_that_fails_late_loses_no_finished_row(error):
    estimators = {"breaks": FailsFrom(40, error), "works": DummyClassifier()}
    result = compare(TEXTS, LABELS, estimators, budgets=[10, 40, "all"], n_repeats=2)
    assert len(result.rows) == 12
    failed = [row for row in result.rows if row["error"]]
    assert {(row["estimator"], row["n_labels"]) for row in failed} == {
        ("breaks", 40),
        ("breaks", 45),
    }
    assert all(np.isnan(row["accuracy"]) for row in failed)
    assert result.notes[0].startswith(f"breaks failed at 40 labels in 2 repeats: {error.__name__}:")
    assert "\n" not in result.notes[0]
    summary = {(line["estimator"], line["n_labels"]): line for line in result.summary()}
    assert summary["breaks", 10]["n_repeats"] == 2
    assert summary["breaks", 40]["n_repeats"] == 0
    assert "failed" in str(result)
    assert all("nan" not in sentence for sentence in result.verdict())
    assert len(result.verdict()) == 1


def test_failures_are_rows_of_the_csv_and_leave_the_plot_whole(tmp_path):
    estimators = {"breaks": FailsFrom(40), "works": DummyClassifier()}
    result = compare(TEXTS, LABELS, estimators, budgets=[10, "all"], n_repeats=1)
    result.to_csv(tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["error"] for line in lines] == ["", "", "ValueError: too many rows: 45", ""]
    pytest.importorskip("matplotlib")
    result.plot(tmp_path / "plot.png")


def test_where_every_fit_fails_the_first_error_is_raised():
    with pytest.raises(ValueError, match="too many rows"):
        compare(TEXTS, LABELS, {"x": FailsFrom(0)}, budgets=[10, 20])


def test_texts_without_words_leave_tfidf_out_with_a_note(tiny_encoder, capsys):
    faces = [chr(0x1F600 + i) for i in range(40)]
    estimators = default_estimators(tiny_encoder)
    estimators["TransferTextClassifier"].set_params(max_epochs=0)
    result = compare(faces, ["a", "b"] * 20, estimators, budgets=["all"], n_repeats=1)
    assert [bool(row["error"]) for row in result.rows] == [True, False]
    (note,) = result.notes
    assert note.startswith("TF-IDF + LogisticRegression failed at 30 labels: ValueError: empty")
    assert "\n" not in note
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["comparison.csv", "learning_curve.png"])
def test_output_is_never_overwritten(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(comparing, "default_estimators", lambda *_, **__: {"x": DummyClassifier()})
    (tmp_path / name).write_text("weeks of work", encoding="utf-8")
    path = tmp_path / "t.tsv"
    lines = [f"{text}\t{label}" for text, label in rows(60)]
    path.write_text("\n".join(["text\tlabel", *lines]), encoding="utf-8")
    assert main(["compare", str(path), "--output", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert f"{name} is already there, and would be overwritten; give another folder." in err
    assert out == ""  # refused before anything is fitted
    assert (tmp_path / name).read_text(encoding="utf-8") == "weeks of work"
    assert main(["compare", str(path), "--output", str(tmp_path / "new")]) == 0


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_text_or_label_names_its_row(missing):
    texts, labels = list(TEXTS), list(LABELS)
    texts[7] = missing
    with pytest.raises(ValueError, match="X is missing in row 7 "):
        compare(texts, LABELS, {"x": DummyClassifier()})
    labels[5] = missing
    with pytest.raises(ValueError, match=r"the label .* in row 5 names no class"):
        compare(TEXTS, labels, {"x": DummyClassifier()})
    with pytest.raises(ValueError, match=r"the label .* in row 5 names no class"):
        compare(TEXTS, pd.Series(labels, dtype=object), {"x": DummyClassifier()})
    nullable = pd.Series([0, 1] * 30, dtype="Int64")
    nullable[5] = pd.NA
    with pytest.raises(ValueError, match=r"the label .* in row 5 names no class"):
        compare(TEXTS, nullable, {"x": DummyClassifier()})


def test_labels_of_mixed_kinds_are_explained():
    with pytest.raises(
        ValueError, match=r"y mixes kinds of labels: 'pos' \(str\) in row 0, 1 \(int\)"
    ):
        compare(TEXTS, [*LABELS[:5], 1, *LABELS[6:]], {"x": DummyClassifier()})


def test_a_stream_of_texts_is_read_once():
    result = compare(iter(TEXTS), LABELS, {"x": DummyClassifier()}, budgets=["all"], n_repeats=1)
    assert len(result.rows) == 1


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_the_tfidf_baseline_has_one_blas_thread_and_gives_the_others_back():
    seen = []

    class Watches(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append(blas_threads())
            return super().fit(X, y, sample_weight)

    before = blas_threads()
    search = SingleThreadedSearch(
        make_pipeline(TfidfVectorizer(), Watches()), {"watches__C": [1, 10]}, cv=2
    )
    search.fit(TEXTS, LABELS)
    assert set().union(*seen) == {1}
    assert blas_threads() == before
    baseline = default_estimators()["TF-IDF + LogisticRegression"]
    assert isinstance(baseline, SingleThreadedSearch)
