"""Progress bars: where they are, and where not."""

from __future__ import annotations

import pytest

from sktransfer import TransferTextClassifier
from sktransfer.runtime import progress_bar

TEXTS = [f"text {number} is good" for number in range(40)]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("terminal")
def test_a_bar_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("counting", shown=True) as watch:
        assert watch is not None
        watch(3, 4)
    shown = capsys.readouterr()
    assert "counting" in shown.err
    assert "75%" in shown.err
    assert not shown.out


@pytest.mark.usefixtures("terminal")
def test_no_bar_where_none_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("counting", shown=False) as watch:
        assert watch is None
    assert capsys.readouterr() == ("", "")


def test_no_bar_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("counting", shown=True) as watch:
        assert watch is None
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("terminal")
def test_fits_and_predictions(tiny_encoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"max_epochs": 0, "random_state": 0, "device": "cpu"}
    classifier = TransferTextClassifier(tiny_encoder, verbose=1, **settings)
    classifier.fit(TEXTS, ["a", "b"] * 20)
    assert "reading texts" in capsys.readouterr().err
    classifier.predict(["other " + text for text in TEXTS])
    assert "100%" in capsys.readouterr().err
    classifier.set_params(verbose=0).predict(["third " + text for text in TEXTS])
    assert capsys.readouterr() == ("", "")
