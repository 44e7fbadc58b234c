"""Answers are found in their context whether their accents are composed (NFC) or not (NFD)."""

from __future__ import annotations

from unicodedata import normalize

import pytest

from sktransfer import TransferAnswerExtractor
from sktransfer.inputs import (
    accepted_texts,
    answer_f1,
    answer_match,
    check_answers,
    locate_answers,
)

FORMS = ["NFC", "NFD"]
PLACES = ["café", "Málaga", "Zürich", "Århus", "Łódź", "Đà Nẵng", "서울", "Ναύπλιο"]


@pytest.fixture
def make(tiny_encoder):
    def build(**parameters) -> TransferAnswerExtractor:
        settings = {"max_epochs": 0, "max_length": 64, "device": "cpu", "random_state": 0}
        return TransferAnswerExtractor(tiny_encoder, **{**settings, **parameters})

    return build


def located(context: str, answer: str) -> str:
    ((start, stop),) = locate_answers([context], check_answers([answer]))
    return context[start:stop]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("context_form", FORMS)
def test_an_answer_is_found_in_the_spelling_of_its_context(place, form, context_form):
    context = normalize(context_form, f"Hôtel à {place}, près du château.")
    found = located(context, normalize(form, place))
    assert found == normalize(context_form, place)


@pytest.mark.parametrize(
    ("context", "answer", "found"),
    [
        # The first "cafe" is a part of "café".
        ("cafe\u0301 or cafe", "cafe", (9, 13)),
        ("caf\u00e9 or cafe", "cafe", (8, 12)),
        # "ha" is not in "han", and is in "ha".
        (normalize("NFD", "한 하"), "하", (4, 6)),
        # Marks in another order are the same letter.
        ("q\u0323\u0307 x", "q\u0307\u0323", (0, 3)),
        # What is not there otherwise is found with the marks that it leaves out.
        ("a cafe\u0301 here", "cafe", (2, 7)),
        ("هذا كتابٌ", "كتاب", (4, 9)),
    ],
)
def test_no_letter_is_cut_from_its_marks(context, answer, found):
    assert locate_answers([context], check_answers([answer])).tolist() == [list(found)]


@pytest.mark.parametrize("answer", ["cafè", "CAFÉ", "cafés", "é\u0301"])
def test_other_letters_are_not_there(answer):
    for form in FORMS:
        with pytest.raises(ValueError, match="does not occur in its context"):
            located("un cafe\u0301 et un caf\u00e9", normalize(form, answer))


@pytest.mark.parametrize("context_form", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_predictions_are_the_contexts_own_characters(make, form, context_form):
    # The tokenizer leaves accents out, and so reads words that the encoder knows.
    places = ["citý", "riveř", "housé", "scho\u0308ol", "faṟm"] * 3
    X = [("where", normalize(context_form, f"she is in the {place} today")) for place in places]
    y = [normalize(form, place) for place in places]
    model = make().fit(X, y)
    answers, offsets = model.predict(X, return_offsets=True)
    assert list(answers) == [
        context[start:stop] for (_, context), (start, stop) in zip(X, offsets, strict=True)
    ]
    assert list(answers) == [normalize(context_form, place) for place in places]
    assert model.score(X, y) == model.exact_match_score(X, y) == 1.0


def test_both_spellings_are_one_answer_in_scores():
    for one in FORMS:
        for other in FORMS:
            pair = normalize(one, "Café de Málaga"), normalize(other, "café de málaga")
            assert answer_match(*pair) == answer_f1(*pair) == 1.0
    assert answer_f1("cafe", "café") == 0.0


def test_an_answer_counts_as_its_context_spells_it():
    answers = check_answers(["كتاب", ["cafe", "the cafe"], "elsewhere"])
    contexts = ["هذا كتابٌ", "the cafe\u0301", "here"]
    assert accepted_texts(contexts, answers) == [
        ("كتاب", "كتابٌ"),
        ("cafe", "the cafe", "cafe\u0301", "the cafe\u0301"),
        ("elsewhere",),
    ]
