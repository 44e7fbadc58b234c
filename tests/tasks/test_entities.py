"""Entity F1 equals seqeval's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

from sktransfer.tasks.entities import entity_f1, find_entities, is_bio, tag_score

TAGS = st.sampled_from(["O", *(f"{place}-{kind}" for place in "BI" for kind in ("A", "B-1", "I"))])


@st.composite
def pairs_of_rows(draw):
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=5))
    return [
        [draw(st.lists(TAGS, min_size=length, max_size=length)) for length in lengths]
        for _ in range(2)
    ]


@given(st.lists(TAGS, min_size=1, max_size=12))
def test_entities_are_those_of_seqeval(tags):
    expected = {(kind, start, last + 1) for kind, start, last in get_entities(tags)}
    assert find_entities(tags) == expected


@given(pairs_of_rows())
def test_f1_is_that_of_seqeval(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns where there are no entities
        expected = f1_score(*rows)
    assert entity_f1(*rows, np.ones(len(rows[0]))) == pytest.approx(expected)


@given(pairs_of_rows(), st.data())
def test_a_weight_of_two_is_the_row_twice(rows, data):
    n_rows = len(rows[0])
    counts = data.draw(st.lists(st.integers(0, 3), min_size=n_rows, max_size=n_rows))
    twice = [
        [tags for tags, n in zip(side, counts, strict=True) for _ in range(n)] for side in rows
    ]
    found = entity_f1(*rows, np.array(counts, dtype=float))
    assert found == pytest.approx(entity_f1(*twice, np.ones(sum(counts))))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["O", "B-PER", "I-PER"], True),
        (["I-PER"], True),
        (["O"], False),
        ([], False),
        (["O", "NOUN"], False),
        (["O", "B-PER", "S-PER"], False),
        (["O", "B"], False),
        ([0, 1], False),
    ],
)
def test_what_counts_as_bio(tags, expected):
    assert is_bio(tags) is expected


def test_other_tags_are_counted_by_word():
    true, found = [["DET", "NOUN"], ["VERB"]], [["DET", "VERB"], ["VERB"]]
    assert tag_score(true, found, np.ones(2), ["DET"]) == pytest.approx(2 / 3)
    assert tag_score(true, found, np.array([3.0, 1.0]), ["DET"]) == pytest.approx(4 / 7)


def test_rows_without_entities_are_bio_if_the_classes_are():
    assert tag_score([["O"]], [["O"]], np.ones(1), ["B-PER", "O"]) == 0.0
    assert tag_score([["O"]], [["O"]], np.ones(1), ["O", "X"]) == 1.0
