"""What the README's two commands promise, whatever the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from sktransfer.__main__ import main

README = Path(__file__).resolve().parents[2] / "README.md"


def test_help_and_readme_say_how_long_the_first_command_takes(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    for text in (capsys.readouterr().out, README.read_text(encoding="utf-8")):
        words = " ".join(text.split())
        assert "about four minutes" in words
