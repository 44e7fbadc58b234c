"""Answers in a context: check, locate and compare them."""

import re
import reprlib
import string
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from numbers import Integral
from typing import Any
from unicodedata import category, normalize

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs.texts import is_missing

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_FIRST_MARK = "\u0300"
# Vowels and finals, which continue a Korean syllable.
_JAMO = "\u1160", "\u11ff"

# A text, the characters [start, stop) of the context, several texts of which any will do, or None
# where the context has no answer.
Answer = str | tuple[int, int] | tuple[str, ...] | None


def check_answers(y: Any, *, name: str = "y") -> NDArray[np.object_]:
    """One answer per row, or an error that names the row.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, 2)
        Of each row a text, a pair of integers, a list or tuple of several texts, or a missing
        value: a list, a pandas or polars Series, an array of texts or objects. A two-dimensional
        array or a frame has integers, `start` and `stop`.
    name : str, default="y"
        What error messages call `y`.

    Returns
    -------
    ndarray of object, shape (n_rows,)
        Texts, pairs of int, tuples of texts, and None for missing values.

    Raises
    ------
    ValueError, TypeError
        If a row is none of these.

    Examples
    --------
    >>> from sktransfer.inputs import check_answers
    >>> check_answers(["Paris", (3, 8), None]).tolist()
    ['Paris', (3, 8), None]
    """
    rows = _to_list(y, name)
    answers = np.empty(len(rows), dtype=object)
    for row, answer in enumerate(rows):
        answers[row] = _check_answer(answer, row, name)
    return answers


def locate_answers(
    contexts: Sequence[str], answers: NDArray[np.object_], *, name: str = "y"
) -> NDArray[np.int64]:
    """Characters ``[start, stop)`` of each answer in its context.

    Parameters
    ----------
    contexts : sequence of str
        Where the answers stand.
    answers : ndarray of object, shape (n_rows,)
        What `check_answers` returned.
    name : str, default="y"
        What error messages call the answers.

    Returns
    -------
    ndarray of int64, shape (n_rows, 2)
        The first occurrence of a text in whole letters, which may be composed (NFC) in one place
        and decomposed (NFD) in the other; (-1, -1) for None.

    Raises
    ------
    ValueError
        If an answer is empty, or does not stand in its context.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import check_answers, locate_answers
    >>> locate_answers(["It is in Paris."], check_answers(["Paris"])).tolist()
    [[9, 14]]
    """
    spans = [
        _locate(context, answer, f"Row {row} of {name}")
        for row, (context, answer) in enumerate(zip(contexts, answers, strict=True))
    ]
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def accepted_texts(
    contexts: Sequence[str], answers: NDArray[np.object_], *, name: str = "y"
) -> list[tuple[str | None, ...]]:
    """Accepted answers of each row, which need not occur in the context.

    One that does counts as the context spells it, too, with all marks of its letters.

    Parameters
    ----------
    contexts : sequence of str
        What pairs are characters of.
    answers : ndarray of object, shape (n_rows,)
        What `check_answers` returned.
    name : str, default="y"
        What error messages call the answers.

    Returns
    -------
    list of tuple of str or None
        One text, several, or None alone where the context has no answer.

    Raises
    ------
    ValueError
        If a pair is not part of its context.

    Examples
    --------
    >>> from sktransfer.inputs import accepted_texts, check_answers
    >>> accepted_texts(["It is in Paris."] * 2, check_answers([(9, 14), ["Paris", "in Paris"]]))
    [('Paris',), ('Paris', 'in Paris')]
    """
    accepted: list[tuple[str | None, ...]] = []
    for row, (context, answer) in enumerate(zip(contexts, answers, strict=True)):
        if answer is None:
            accepted.append((None,))
        elif isinstance(answer, str):
            accepted.append(_spellings(context, (answer,)))
        elif isinstance(answer[0], str):
            accepted.append(_spellings(context, answer))
        else:
            start, stop = _locate(context, answer, f"Row {row} of {name}")
            accepted.append((context[start:stop],))
    return accepted


def whole_letters(text: str, start: int, stop: int) -> tuple[int, int]:
    """Characters ``[start, stop)`` and those that belong to the same letters: accents, vowel signs.

    Examples
    --------
    >>> from sktransfer.inputs import whole_letters
    >>> whole_letters("cafe\\u0301 noir", 0, 4)
    (0, 5)
    """
    while _continues(text, start):
        start -= 1
    while _continues(text, stop):
        stop += 1
    return start, stop


def answer_words(text: str) -> list[str]:
    """Words of an answer as SQuAD compares them: lower case, no punctuation, no articles.

    Letters are composed first, so that both ways to write an accented one are the same.

    Examples
    --------
    >>> from sktransfer.inputs import answer_words
    >>> answer_words("The Eiffel Tower!")
    ['eiffel', 'tower']
    """
    return _ARTICLES.sub(
        " ", normalize("NFC", text).lower().translate(_WITHOUT_PUNCTUATION)
    ).split()


def answer_f1(predicted: str | None, expected: str | None) -> float:
    """F1 of the words of two answers; if one is missing, whether both are.

    Examples
    --------
    >>> from sktransfer.inputs import answer_f1
    >>> answer_f1("the Eiffel Tower", "Eiffel")
    0.6666666666666666
    """
    if predicted is None or expected is None:
        return float(predicted is expected)
    words, others = answer_words(predicted), answer_words(expected)
    if not words or not others:
        return float(words == others)
    n_common = (Counter(words) & Counter(others)).total()
    return 2 * n_common / (len(words) + len(others))


def answer_match(predicted: str | None, expected: str | None) -> float:
    """1 if two answers have the same words in the same order, or are both missing; else 0."""
    if predicted is None or expected is None:
        return float(predicted is expected)
    return float(answer_words(predicted) == answer_words(expected))


def _to_list(y: Any, name: str) -> list[Any]:
    if isinstance(y, (list, tuple)):
        return list(y)
    column = nw.from_native(y, allow_series=True, pass_through=True)
    if isinstance(column, nw.Series):
        return column.to_list()
    if isinstance(column, nw.DataFrame):
        y = column.to_numpy()
    if not isinstance(y, np.ndarray):
        raise TypeError(f"{name} must be a sequence of answers, got {type(y).__name__}.")
    is_pairs = y.ndim == 2 and y.shape[1] == 2 and y.dtype.kind in "iu"
    if y.ndim != 1 and not is_pairs:
        raise ValueError(
            f"{name} has the shape {y.shape} and the dtype {y.dtype}; pass one answer a row, or "
            "two columns of integers, the start and stop of each answer."
        )
    rows: list[Any] = y.tolist()
    return rows


def _check_answer(answer: Any, row: int, name: str) -> Answer:
    if isinstance(answer, str):
        return str(answer)
    if is_missing(answer):
        return None
    if isinstance(answer, (list, tuple, np.ndarray)) and len(answer):
        if all(isinstance(part, str) for part in answer):
            return tuple(map(str, answer)) if len(answer) > 1 else str(answer[0])
        if len(answer) == 2 and all(isinstance(part, Integral) for part in answer):
            return int(answer[0]), int(answer[1])
    raise TypeError(
        f"Row {row} of {name} is {reprlib.repr(answer)}, but an answer is a text, a pair of "
        "integers (start, stop), or None where the context has no answer."
    )


def _locate(context: str, answer: Answer, place: str) -> tuple[int, int]:
    if answer is None:
        return -1, -1
    if isinstance(answer, str):
        if not answer:
            raise ValueError(f"{place} is an empty text; None stands for no answer.")
        found = _find(context, answer)
        if found is None:
            raise ValueError(
                f"{place}: the answer {reprlib.repr(answer)} does not occur in its context "
                f"{reprlib.repr(context)}; it must be there letter for letter."
            )
        return found
    first, last = answer[0], answer[-1]
    if isinstance(first, str) or isinstance(last, str):
        raise ValueError(f"{place} has several answers; to learn from, give one of them.")
    if not 0 <= first < last <= len(context):
        raise ValueError(
            f"{place}: characters {first} to {last} are not part of a context of {len(context)} "
            "characters; start must be at least 0 and below stop."
        )
    return first, last


def _spellings(context: str, texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts, and how the context spells those of them that it has."""
    spans = [_find(context, text) for text in texts if text]
    found = (context[slice(*span)] for span in spans if span is not None)
    return tuple(dict.fromkeys([*texts, *found]))


def _find(context: str, answer: str) -> tuple[int, int] | None:
    """Characters ``[start, stop)`` of the first occurrence of `answer` in whole letters."""
    start = first = context.find(answer)
    while start >= 0:
        stop = start + len(answer)
        if not _continues(context, start) and not _continues(context, stop):
            return start, stop
        start = context.find(answer, start + 1)
    found = _find_equivalent(context, answer)
    if found is not None or first < 0:
        return found
    # It is there, but for marks that answers may well leave out, such as Arabic vowels.
    return whole_letters(context, first, first + len(answer))


def _find_equivalent(context: str, answer: str) -> tuple[int, int] | None:
    """First occurrence of an answer whose accents are composed or decomposed otherwise."""
    wanted = normalize("NFD", answer)
    if wanted not in normalize("NFD", context):
        return None
    starts = [i for i in range(len(context)) if not _continues(context, i)]
    letters = [normalize("NFD", context[i:j]) for i, j in pairwise([*starts, len(context)])]
    decomposed = "".join(letters)
    ends = accumulate(map(len, letters), initial=0)
    origin = dict(zip(ends, [*starts, len(context)], strict=True))
    place = decomposed.find(wanted)
    while place >= 0:
        start, stop = origin.get(place), origin.get(place + len(wanted))
        if start is not None and stop is not None:
            return start, stop
        place = decomposed.find(wanted, place + 1)
    return None


def _continues(text: str, place: int) -> bool:
    """Whether the character at `place` belongs to the letter before it."""
    if not 0 < place < len(text) or text[place] < _FIRST_MARK:
        return False
    return category(text[place]).startswith("M") or _JAMO[0] <= text[place] <= _JAMO[1]
