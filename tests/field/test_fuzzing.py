"""Wild inputs: each is used as it is, or refused in one line that leaves the estimator alone."""

import csv
import io
import json
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sktransfer import (
    LanguageModel,
    TransferAnswerExtractor,
    TransferChoiceClassifier,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
    TransferTokenClassifier,
)
from sktransfer.comparison.columns import read_labeled_texts

bounded = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Letters of many scripts, marks, controls, emoji; a lone surrogate is not text, but arrives.
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
WILD = st.one_of(
    TEXT,
    st.sampled_from(["", " ", "\0", "a" * 3000, "good film", "ﬁne", "e\u0301", "👩‍👩‍👧", "\r\n"]),
)
NOT_TEXT = st.sampled_from(
    [None, float("nan"), pd.NA, pd.NaT, "\ud800", 3, 2.5, b"x", [], ["a", "b"], ("a",), {}, object]
)
CELL = st.one_of(*[WILD] * 6, NOT_TEXT)
LABEL = st.sampled_from(["pos", "neg", "neu"])
WILD_LABEL = st.one_of(
    *[LABEL] * 8,
    st.sampled_from([0, 1, True, None, float("nan"), pd.NA, "1", 1.5, b"x", ("a",), 10**30, "nan"]),
)
NUMBER = st.floats(-10, 10)
WILD_NUMBER = st.one_of(
    NUMBER,
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, 1, -1e300, 10**40, None, "3", "three", pd.NA, True]),
)
WILD_NUMBER_OF_CHOICE = st.sampled_from([0, 1, 2, -1, 5, 2.5, 2**70, float("inf"), "1", None])
PLACE = st.tuples(st.integers(-1, 9), st.integers(-1, 9))


def rows_of(usual, wild):
    """Pairs of a row and its target, all of them usual or any of them wild."""
    return st.one_of(
        *[st.lists(st.tuples(*pair), min_size=1, max_size=8) for pair in (usual, usual, wild)]
    )


def container(X, kind):
    if kind == "array":
        array = np.empty(len(X), dtype=object)
        array[:] = X
        return array
    return pd.Series(X, dtype=object) if kind == "series" else X


KIND = st.sampled_from(["list", "array", "series"])


def fits_or_explains(estimator, X, y, predict=("predict",)):
    """Fit; return whether it did, after checking what either outcome promises."""
    refusal = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(*([X] if y is None else [X, y]))
    except (ValueError, TypeError) as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.strip()
        assert not [name for name in vars(estimator) if name.endswith("_")]
        return False
    for name in predict:
        assert len(getattr(estimator, name)(X)) == len(X)
    return True


@pytest.fixture(scope="module")
def outcomes():
    """How many inputs of each estimator were used, and how many refused: there must be both."""
    counts = {}
    yield counts
    assert all(min(both) > 0 for both in counts.values()), counts


def count(outcomes, estimator, fitted):
    used, refused = outcomes.get(type(estimator).__name__, (0, 0))
    outcomes[type(estimator).__name__] = (used + fitted, refused + (not fitted))


@settings(bounded, max_examples=40)
@given(rows=rows_of((WILD, LABEL), (CELL, WILD_LABEL)), kind=KIND, epochs=st.integers(0, 1))
def test_classifier(tiny_encoder, outcomes, rows, kind, epochs):
    X, y = map(list, zip(*rows, strict=True))
    estimator = TransferTextClassifier(tiny_encoder, max_epochs=epochs, random_state=0)
    fitted = fits_or_explains(estimator, container(X, kind), y, ("predict", "predict_proba"))
    count(outcomes, estimator, fitted)
    if fitted:
        assert set(estimator.predict(X).tolist()) <= set(y)
        assert np.isfinite(estimator.predict_proba(X)).all()


@settings(bounded, max_examples=40)
@given(rows=rows_of((WILD, NUMBER), (CELL, WILD_NUMBER)), kind=KIND)
def test_regressor(tiny_encoder, outcomes, rows, kind):
    X, y = map(list, zip(*rows, strict=True))
    estimator = TransferTextRegressor(tiny_encoder, max_epochs=0, random_state=0)
    fitted = fits_or_explains(estimator, container(X, kind), y)
    count(outcomes, estimator, fitted)
    if fitted:
        assert np.isfinite(estimator.predict(X)).all()


@settings(bounded, max_examples=40)
@given(X=st.one_of(*[st.lists(c, min_size=1, max_size=8) for c in (WILD, CELL)]), kind=KIND)
def test_vectorizer(tiny_encoder, outcomes, X, kind):
    estimator = TransferTextVectorizer(tiny_encoder)
    fitted = fits_or_explains(estimator, container(X, kind), None, ("transform",))
    count(outcomes, estimator, fitted)
    if fitted:
        assert np.isfinite(estimator.transform(X)).all()


@settings(bounded, max_examples=40)
@given(
    rows=rows_of(
        (st.lists(WILD, min_size=4, max_size=4), st.integers(0, 2)),
        (st.lists(CELL, min_size=1, max_size=4), WILD_NUMBER_OF_CHOICE),
    )
)
def test_choice_classifier(tiny_encoder, outcomes, rows):
    X, y = map(list, zip(*rows, strict=True))
    estimator = TransferChoiceClassifier(tiny_encoder, max_epochs=0, random_state=0)
    count(outcomes, estimator, fits_or_explains(estimator, X, y, ("predict", "predict_proba")))


@settings(bounded, max_examples=40)
@given(
    rows=rows_of(
        (st.lists(WILD, max_size=4), st.lists(LABEL, min_size=1, max_size=4)),
        (st.lists(CELL, max_size=4), st.lists(WILD_LABEL, max_size=4)),
    ),
    same=st.sampled_from([True, True, False]),
)
def test_token_classifier(tiny_encoder, outcomes, rows, same):
    X, y = map(list, zip(*rows, strict=True))
    if same:
        y = [(tags * len(words))[: len(words)] for words, tags in rows]
    estimator = TransferTokenClassifier(tiny_encoder, max_epochs=0, random_state=0)
    fitted = fits_or_explains(estimator, X, y, ("predict", "predict_proba"))
    count(outcomes, estimator, fitted)
    if fitted:
        assert list(map(len, estimator.predict(X))) == list(map(len, X))


@settings(bounded, max_examples=40)
@given(
    rows=rows_of(
        (st.tuples(WILD, WILD), TEXT),
        (st.tuples(CELL, CELL), st.one_of(TEXT, st.none(), PLACE, NOT_TEXT)),
    ),
    inside=st.sampled_from([True, True, False]),
)
def test_answer_extractor(tiny_encoder, outcomes, rows, inside):
    X, y = map(list, zip(*rows, strict=True))
    if inside:
        y = [c[len(c) // 2 :] or None if isinstance(c, str) else a for (_, c), a in rows]
    estimator = TransferAnswerExtractor(tiny_encoder, max_epochs=0, random_state=0)
    fitted = fits_or_explains(estimator, X, y)
    count(outcomes, estimator, fitted)
    if fitted:
        for answer, (_, context) in zip(estimator.predict(X), X, strict=True):
            assert answer is None or answer in context


@settings(bounded, max_examples=15)
@given(X=st.one_of(*[st.lists(c, min_size=1, max_size=8) for c in (WILD, CELL)]))
def test_language_model(tiny_encoder, outcomes, X):
    estimator = LanguageModel(tiny_encoder, max_epochs=1, random_state=0)
    fitted = fits_or_explains(estimator, X, None, ("transform",))
    count(outcomes, estimator, fitted)


@contextmanager
def suppress_explained(path):
    """Let a file be refused, in one line that names it."""
    message = str(path)
    try:
        yield
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    assert len(message) < 2000


def is_kept(text, label):
    return bool(text.strip()) and bool(label.strip())


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@settings(bounded, max_examples=60)
@given(
    rows=st.lists(st.tuples(LINE, LABEL), min_size=4, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_read_back(tmp_path, rows, delimiter, encoding, end):
    rows = [*rows, ("one", "pos"), ("two", "neg")]
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *rows])
    path = tmp_path / "t.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    stated = encoding if encoding == "utf-16" else None
    read = read_labeled_texts(path, "text", "label", encoding=stated)
    kept = [(text, label) for text, label in rows if is_kept(text, label)]
    assert list(zip(read.texts, read.labels, strict=True)) == kept
    assert read.n_rows == len(rows)


@settings(bounded, max_examples=60)
@given(
    content=st.one_of(st.binary(max_size=200), WILD.map(lambda t: t.encode("utf-8", "replace"))),
    ending=st.sampled_from(["csv", "tsv", "json", "jsonl", "parquet"]),
    header=st.booleans(),
)
def test_any_bytes_are_read_or_explained(tmp_path, content, ending, header):
    path = tmp_path / f"t.{ending}"
    path.write_bytes(content)
    with suppress_explained(path):
        read_labeled_texts(path, has_header=header)


@settings(bounded, max_examples=60)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "text": CELL.filter(lambda c: not callable(c)),
                "label": WILD_LABEL,
                "id": st.integers(),
            },
        ),
        max_size=8,
    ),
    as_array=st.booleans(),
)
def test_any_json_rows_are_counted(tmp_path, rows, as_array):
    rows = [
        {k: v for k, v in row.items() if v is None or isinstance(v, str | int | float | list)}
        for row in rows
    ]
    path = tmp_path / ("t.json" if as_array else "t.jsonl")
    lines = list(map(json.dumps, rows))
    path.write_text(f"[{','.join(lines)}]" if as_array else "\n".join(lines), encoding="utf-8")
    with suppress_explained(path):
        read = read_labeled_texts(path, "text", "label")
        assert read.n_rows == len(rows)
        assert len(read.texts) == len(read.labels)
        n_left_out = sum(
            int(note.split()[2].replace(",", "")) for note in read.notes if "Left out" in note
        )
        assert len(read.texts) + n_left_out == len(rows)
