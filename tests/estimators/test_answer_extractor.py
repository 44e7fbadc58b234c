"""TransferAnswerExtractor on toy questions, and on real ones with the default encoder."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from sktransfer import TransferAnswerExtractor

COLORS = "red green blue black yellow white".split()  # noqa: SIM905
FILLERS = "the movie was and with a story it actor scene in time".split()  # noqa: SIM905


def questions(n_rows: int, *, seed: int = 0, n_words: int = 8) -> tuple[list[tuple], list[str]]:
    """Contexts with a color, which is the answer, among other words."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for _ in range(n_rows):
        words = rng.choice(FILLERS, n_words).tolist()
        color = str(rng.choice(COLORS))
        words.insert(int(rng.integers(n_words)), color)
        X.append(("which color", " ".join(words)))
        y.append(color)
    return X, y


def with_rows_of_no_answer(X, y) -> tuple[list[tuple], list[str | None]]:
    """Every third row loses its answer, in context and y."""
    rows = [
        (question, context.replace(color, "film")) if row % 3 == 0 else (question, context)
        for row, ((question, context), color) in enumerate(zip(X, y, strict=True))
    ]
    return rows, [None if row % 3 == 0 else color for row, color in enumerate(y)]


TRAIN, TEST = questions(40), questions(20, seed=1)


@pytest.fixture
def make(tiny_encoder):
    def build(**parameters) -> TransferAnswerExtractor:
        settings = {"max_epochs": 2, "max_length": 48, "device": "cpu", "random_state": 0}
        return TransferAnswerExtractor(tiny_encoder, **{**settings, **parameters})

    return build


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_answers_are_parts_of_the_contexts(make, max_epochs):
    model = make(max_epochs=max_epochs).fit(*TRAIN)
    answers, offsets = model.predict(TEST[0], return_offsets=True)
    assert answers.dtype == object
    assert offsets.dtype == np.int64
    assert offsets.shape == (20, 2)
    for answer, (start, stop), (_, context) in zip(answers, offsets, TEST[0], strict=True):
        assert type(answer) is str
        assert answer == context[start:stop]
    assert_array_equal(model.predict(TEST[0]), answers)
    assert model.score(*TEST) > 0.8
    assert model.exact_match_score(*TEST) > 0.8
    assert model.n_features_in_ == 2
    assert not model.may_abstain_


def test_containers_agree(make):
    X, y = TRAIN
    expected = make(max_epochs=0).fit(X, y)._scores(X)
    starts = [context.index(color) for (_, context), color in zip(X, y, strict=True)]
    spans = np.array([(i, i + len(color)) for i, color in zip(starts, y, strict=True)])
    frame = pd.DataFrame(X, columns=["question", "context"])
    for rows, answers in [
        (np.array(X), spans),
        (np.array(X, dtype=object), [tuple(span) for span in spans.tolist()]),
        (frame, pd.Series(y, index=frame.index[::-1])),
        (pl.DataFrame(frame), pl.Series(y)),
    ]:
        assert_array_equal(make(max_epochs=0).fit(rows, answers)._scores(rows), expected)


def test_a_frame_keeps_its_names(make):
    frame = pd.DataFrame(TRAIN[0], columns=["question", "context"])
    model = make(max_epochs=0).fit(frame, TRAIN[1])
    assert list(model.feature_names_in_) == ["question", "context"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["context", "question"]])


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (["a", "b"], ["a", "b"], ValueError, "X has 1 column, but a row is a question"),
        ([("a", "b", "c")], ["c"], ValueError, "X has 3 columns"),
        ([("q", "c"), ("q", None)], ["c", "c"], ValueError, "Row 1 of X, column 1 is missing"),
        ([("q", "cat"), ("q", 3)], ["cat", "c"], TypeError, "Row 1 of X, column 1 is of type int"),
        ([("q", "cat")] * 2, ["cat", "dog"], ValueError, "Row 1 of y: the answer 'dog' does not"),
        ([("q", "cat")] * 2, ["cat", (2, 4)], ValueError, "Row 1 of y: characters 2 to 4"),
        ([("q", "cat")] * 2, ["cat", ""], ValueError, "Row 1 of y is an empty text"),
        ([("q", "cat")] * 2, ["cat", ["c", "a"]], ValueError, "Row 1 of y has several answers"),
        ([("q", "cat")] * 2, ["cat", 3.5], TypeError, "Row 1 of y is 3.5"),
        ([("q", "cat")] * 2, ["cat"], ValueError, "inconsistent numbers of samples"),
        ([("q", "cat")] * 2, None, ValueError, "requires y to be passed"),
        ([("q", "cat")] * 2, "cat", TypeError, "y must be a sequence of answers"),
    ],
)
def test_bad_input_changes_nothing(make, X, y, error, message):
    model = make(max_epochs=0).fit(*TRAIN)
    before = model.model_, vars(model).copy()
    with pytest.raises(error, match=message):
        model.fit(X, y)
    assert (model.model_, vars(model)) == before


def test_validation_rows_are_checked_with_their_name(make):
    with pytest.raises(ValueError, match=r"^Row 0 of y_val: the answer 'dog'"):
        make().fit(*TRAIN, X_val=[("q", "cat")], y_val=["dog"])


def test_rows_without_an_answer(make):
    X, y = with_rows_of_no_answer(*TRAIN)
    model = make(max_epochs=6, learning_rate=3e-3).fit(X, y)
    assert model.may_abstain_
    X, y = with_rows_of_no_answer(*TEST)
    answers, offsets = model.predict(X, return_offsets=True)
    assert [answer is None for answer in answers] == [stop < 0 for _, stop in offsets]
    missing = offsets[[answer is None for answer in answers]]
    assert len(missing)
    assert (missing == -1).all()
    assert model.score(X, y) > 0.7
    assert model.score(X, pd.Series(y)) == model.score(X, y)


def test_score_is_squads(make):
    model = make(max_epochs=0).fit(*TRAIN)
    X = TEST[0][:4]
    found = model.predict(X)
    assert model.score(X, [f"The {word.upper()}!" for word in found]) == 1
    assert model.score(X, [f"{word} cat" for word in found]) == pytest.approx(2 / 3)
    assert model.exact_match_score(X, [f"{word} cat" for word in found]) == 0
    assert model.score(X, [["dog", word] for word in found]) == 1
    assert model.exact_match_score(X, [(word, "dog") for word in found]) == 1
    assert model.score(X, [None] * 4) == 0
    y = [found[0], "dog", "dog", "dog"]
    assert model.score(X, y) == 0.25
    assert model.score(X, y, sample_weight=[3, 1, 1, 1]) == 0.5
    assert model.exact_match_score(X, y, sample_weight=[3, 1, 1, 1]) == 0.5
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.score(X, y[:3])
    with pytest.raises(ValueError, match="Row 0 of y: characters 0 to 999"):
        model.score(X, [(0, 999)] * 4)


@pytest.mark.parametrize("context", ["", "   ", "\n\t"])
def test_a_context_without_words(make, context):
    model = make(max_epochs=0).fit(*TRAIN)
    answers, offsets = model.predict([("which color", context), TEST[0][0]], return_offsets=True)
    assert answers[0] == ""
    assert offsets[0].tolist() == [0, 0]
    assert answers[1]
    model = make(max_epochs=0).fit([*TRAIN[0], ("which color", context)], [*TRAIN[1], None])
    assert model.predict([("which color", context)])[0] is None


def test_long_contexts_are_read_by_windows(make):
    X, y = TRAIN
    padding = " ".join(np.random.default_rng(2).choice(FILLERS, 150))
    long = [(question, f"{padding} {context} {padding}") for question, context in X[:6]]
    model = make(max_epochs=2).fit([*X, *long], [*y, *y[:6]])
    (question, context), color = TEST[0][0], TEST[1][0]
    huge = (question, f"{' '.join([padding] * 12)} {context} {' '.join([padding] * 12)}")
    answers, offsets = model.predict([huge, TEST[0][1]], return_offsets=True)
    assert answers[0] == color
    assert offsets[0, 0] == huge[1].index(color)
    assert answers[1] == model.predict([TEST[0][1]])[0]


def test_cut_questions_are_counted(make):
    X, y = TRAIN
    long = ("which color " * 30, X[0][1])
    with pytest.warns(UserWarning, match="^1 questions fill more than half of max_length=48"):
        model = make(max_epochs=0).fit([*X, long], [*y, y[0]])
    with pytest.warns(UserWarning, match="^2 questions"):
        assert model.predict([long, long]).tolist() == [y[0], y[0]]


@pytest.mark.parametrize("encoder", ["tiny_decoder", "wordllama"])
def test_encoders_without_special_tokens(request, make, encoder):
    if encoder == "wordllama":
        pytest.importorskip("wordllama", reason="the static encoder is not installed")
    else:
        encoder = request.getfixturevalue(encoder)
    model = make().set_params(encoder=encoder)
    X, y = with_rows_of_no_answer(*TRAIN)
    model.fit(X, y)
    assert model.predict([*TEST[0], ("", ""), ("", "red"), ("q", "")]).shape == (23,)
    model.fit(*TRAIN)
    for answer in model.predict(TEST[0]):
        assert answer == answer.strip()
        assert answer


def test_predictions_do_not_depend_on_batch_mates_copies_and_order(make):
    model = make(max_epochs=1).fit(*with_rows_of_no_answer(*TRAIN))
    X = [*TEST[0], (TEST[0][0][0], " ".join(FILLERS * 9))]
    scored = model._score_rows(X).by_row()
    alone = [model._score_rows([row]).scores for row in X]
    for together, single in zip(scored, alone, strict=True):
        assert_allclose(together, single, rtol=1e-4, atol=1e-5)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(X)), 2))
    expected = model.predict(X)[order]
    assert_array_equal(model.predict([X[i] for i in order]), expected)


def test_weight_zero_is_absence(make):
    X, y = TRAIN
    weights = np.where(np.arange(40) % 4, 1.0, 0.0)
    kept = np.flatnonzero(weights)
    # The only row without an answer has no weight either.
    y = [None, *y[1:]]
    weighted = make().fit(X, y, sample_weight=weights)
    absent = make().fit([X[i] for i in kept], [y[i] for i in kept])
    assert not weighted.may_abstain_
    assert_array_equal(weighted._scores(TEST[0]), absent._scores(TEST[0]))


def test_early_stopping(make):
    own = make(early_stopping=True, validation_fraction=0.25).fit(*TRAIN)
    assert len(own.validation_scores_) == own.n_iter_ == 2
    given = make(early_stopping=True, max_epochs=9, n_iter_no_change=1, learning_rate=3e-3)
    given.fit(*TRAIN, X_val=TEST[0], y_val=TEST[1])
    assert given.validation_scores_[given.best_epoch_ - 1] == max(given.validation_scores_)
    best = given.exact_match_score(*TEST)
    assert best == pytest.approx(max(given.validation_scores_), abs=0.1)


def test_warm_start(make):
    model = make(warm_start=True).fit(*TRAIN)
    first = model._scores(TEST[0])
    model.fit(*with_rows_of_no_answer(*TRAIN))
    assert model.may_abstain_
    assert not np.array_equal(model._scores(TEST[0]), first)


def test_the_same_seed_gives_the_same_model(make):
    first, second = (make().fit(*TRAIN)._scores(TEST[0]) for _ in range(2))
    assert_array_equal(first, second)


def test_pickle_and_clone(make):
    model = make().fit(*with_rows_of_no_answer(*TRAIN))
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(TEST[0]), model.predict(TEST[0]))
    copy = clone(model)
    assert not hasattr(copy, "model_")
    assert copy.get_params() == model.get_params()
    assert copy.max_length == 48
    assert TransferAnswerExtractor().max_length == 256


@pytest.mark.parametrize("as_frame", [False, True])
def test_cross_validation_and_search(make, as_frame):
    X, y = with_rows_of_no_answer(*TRAIN)
    if as_frame:
        X, y = pd.DataFrame(X, columns=["question", "context"]), pd.Series(y)
    scores = cross_val_score(make(max_epochs=0), X, y, cv=2, error_score="raise")
    assert scores.min() > 0.3
    search = GridSearchCV(make(), {"max_epochs": [0, 1]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.predict(X).shape == (40,)
    assert search.best_score_ >= scores.mean()


def test_it_is_no_classifier(make):
    assert make().__sklearn_tags__().estimator_type is None
    assert not make().__sklearn_tags__().target_tags.multi_output


NAMES = ["Ann", "Bob", "Eve", "Tom", "Lea", "Max"]
CITIES = ["Rome", "Oslo", "Bern", "Cork", "Lyon", "Graz"]
JOBS = ["teacher", "baker", "lawyer", "nurse", "painter", "pilot"]


def people(names, cities, jobs) -> tuple[list[tuple[str, str]], list[str]]:
    X, y = [], []
    for number, name in enumerate(names):
        for city in cities:
            job = jobs[(number + len(city)) % len(jobs)]
            context = f"{name} lives in {city} and works as a {job}."
            X += [("Where is the home?", context), ("What is the profession?", context)]
            y += [city, job]
    return X, y


def test_the_question_decides(minilm):
    model = TransferAnswerExtractor(minilm, max_epochs=4, device="cpu", random_state=0)
    model.fit(*people(NAMES[:4], CITIES[:4], JOBS[:4]))
    X, y = people(NAMES[4:], CITIES[4:], JOBS[4:])
    assert model.exact_match_score(X, y) > 0.7
