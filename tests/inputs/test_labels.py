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
    assert label_words([label, "other"]) == {label: words, "other": "other"}


def test_short_forms_of_polarity_are_read_in_full_together():
    assert [*label_words(["NEG", "neu", "pos"]).values()] == ["negative", "neutral", "positive"]
    assert [*label_words(["neg", "pos", "mixed"]).values()] == ["negative", "positive", "mixed"]
    assert [*label_words(["noun", "pos"]).values()] == ["noun", "pos"]


@pytest.mark.parametrize(
    "labels",
    [[0, 1], [True, False], ["0", "1"], ["A", "B"], ["class_1", "class_2"], [None, 1.5], ["+-"]],
)
def test_codes(labels):
    assert label_words(labels) == {}


def test_codes_do_not_silence_the_other_labels():
    labels = ["class_1", "class_2", 3, "A", "lost_card"]
    assert label_words(labels) == {"lost_card": "lost card"}


@given(st.lists(st.text() | st.integers(), min_size=1, unique=True))
def test_texts_are_visible_and_belong_to_labels(labels):
    words = label_words(labels)
    assert words.keys() <= set(labels)
    assert all(text.strip() == text != "" for text in words.values())
