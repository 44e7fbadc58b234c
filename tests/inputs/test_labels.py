"""label_words: labels that are words become texts, codes do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktransfer.inputs import label_words


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("positive", "positive"),
        ("Refund_not_showing_up", "refund not showing up"),
        ("comp.os.ms-windows.misc", "comp os ms windows misc"),
        ("MeanOfTransportation", "mean of transportation"),
        ("LOC", "loc"),
        ("Straße", "straße"),
        (" sci/tech ", "sci tech"),
    ],
)
def test_words(label, words):
    assert label_words([label, "other"]) == [words, "other"]


def test_short_forms_of_polarity_are_read_in_full_together():
    assert label_words(["NEG", "neu", "pos"]) == ["negative", "neutral", "positive"]
    assert label_words(["neg", "pos", "mixed"]) == ["negative", "positive", "mixed"]
    assert label_words(["noun", "pos"]) == ["noun", "pos"]


@pytest.mark.parametrize(
    "labels",
    [[0, 1], [True, False], ["0", "1"], ["A", "B"], ["class_1", "class_2"], ["good", None], ["+-"]],
)
def test_codes(labels):
    assert label_words(labels) is None


@given(st.lists(st.text(), min_size=1, unique=True))
def test_all_or_nothing(labels):
    words = label_words(labels)
    assert words is None or (len(words) == len(labels) and all(words))
