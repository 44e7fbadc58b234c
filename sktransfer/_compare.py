"""Classifiers side by side on the same splits, at growing numbers of labels."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import BaseCrossValidator, GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_random_state, column_or_1d

from ._comparison_result import ComparisonResult, Row

__all__ = ["ComparisonProgress", "ComparisonResult", "compare"]

Budget = int | str

# Each class keeps two rows for training whatever is drawn, and one to test on.
_MIN_TRAIN_ROWS = 2
_MIN_ROWS = _MIN_TRAIN_ROWS + 1
_MAX_TEST_ROWS = 400


@dataclass(frozen=True)
class ComparisonProgress:
    """Where a comparison stands: what is fitted next, and about how long the rest takes.

    `seconds_left` is None until every estimator has been timed once; `estimator` is None at the
    end, when nothing is left to fit.
    """

    n_done: int
    n_total: int
    estimator: str | None
    n_labels: int
    repeat: int
    seconds_left: float | None


def compare(
    X: Any,
    y: Any,
    estimators: Mapping[str, Any] | None = None,
    *,
    budgets: Sequence[Budget] = (50, 200, "all"),
    n_repeats: int = 3,
    test_size: float | int | None = None,
    random_state: int | np.random.RandomState | None = 0,
    progress: Callable[[ComparisonProgress], None] | None = None,
) -> ComparisonResult:
    """Compare classifiers on the same splits, at growing numbers of labels.

    In each repeat a stratified test set is set aside; the estimators are fitted on the first
    labels of one stratified order of the rest, so that each budget contains the smaller ones.

    Parameters
    ----------
    X : sequence of str, or any rows that the estimators take
        The texts.
    y : array-like of shape (n_samples,)
        Their classes; each needs three rows at least.
    estimators : dict of str to estimator, default=None
        Name -> scikit-learn classifier; each is cloned before it is fitted. By default TF-IDF
        with logistic regression, tuned, against :class:`TransferTextClassifier`.
    budgets : sequence of int or "all", default=(50, 200, "all")
        How many labels to train on. A budget beyond the data, or below two labels a class, is
        moved to the nearest that can be had, with a note.
    n_repeats : int, default=3
        How many times to draw the test set and the labels.
    test_size : int or float, default=None
        Rows of the test set, or their share. None takes a quarter of the rows, at most 400.
    random_state : int, RandomState or None, default=0
        Seed of the draws, and of the default estimators.
    progress : callable, default=None
        Called with a :class:`ComparisonProgress` before each fit and at the end.

    Returns
    -------
    ComparisonResult
        The rows measured, their summary, table, plot and verdict. After Ctrl-C it holds what
        is known so far.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from sklearn.naive_bayes import MultinomialNB
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktransfer import compare
    >>> texts = ["a good day", "a bad day", "good food", "bad food"] * 10
    >>> labels = ["pos", "neg"] * 20
    >>> bayes = make_pipeline(CountVectorizer(), MultinomialNB())
    >>> result = compare(
    ...     texts, labels, {"majority": DummyClassifier(), "Bayes": bayes}, budgets=(10, "all")
    ... )
    >>> print(result.verdict()[-1])
    Over all, Bayes has the highest mean accuracy at all 2 budgets.
    """
    labels = _check_labels(X, y)
    if not _is_count(n_repeats):
        raise ValueError(f"n_repeats must be an integer of at least 1; got {n_repeats!r}.")
    rng = check_random_state(random_state)
    if estimators is None:
        estimators = default_estimators(random_state=int(rng.randint(2**31 - 1)))
    if not estimators:
        raise ValueError("estimators must be a dict of name -> classifier, with one at least.")
    n_test = _check_test_size(test_size, labels)
    result = ComparisonResult()
    sizes = _check_budgets(budgets, labels, n_test, result.notes)
    plan = [
        (repeat, budget, n_labels, name)
        for repeat in range(n_repeats)
        for budget, n_labels in sizes.items()
        for name in estimators
    ]
    orders = [_stratified_order(labels, rng) for _ in range(n_repeats)]
    with _interrupt_flag() as interrupted:
        try:
            for done, (repeat, budget, n_labels, name) in enumerate(plan):
                _report(progress, plan, done, result.rows)
                order = orders[repeat]
                measured = _fit_and_score(
                    estimators[name], X, labels, order[:n_labels], order[-n_test:]
                )
                # An estimator may answer Ctrl-C by keeping its best weights so far: what it
                # scores then says nothing about it.
                if interrupted.is_set():
                    raise KeyboardInterrupt
                place = {"estimator": name, "budget": budget, "n_labels": n_labels}
                result.rows.append({**place, "repeat": repeat, "n_test": n_test, **measured})
            _report(progress, plan, len(plan), result.rows)
        except KeyboardInterrupt:
            result.interrupted = True
            result.notes.append(f"Interrupted after {len(result.rows)} of {len(plan)} fits.")
    return result


def default_estimators(
    encoder: str | None = None, random_state: int | None = 0
) -> dict[str, BaseEstimator]:
    """The two that are compared when nothing is asked: tuned TF-IDF, and fine-tuning."""
    from ._classifier import TransferTextClassifier

    classifier = TransferTextClassifier(random_state=random_state)
    if encoder is not None:
        classifier.set_params(encoder=encoder)
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(max_iter=1000),
    )
    tuned = GridSearchCV(
        pipeline,
        {"logisticregression__C": [1, 10, 100]},
        cv=DealtFolds(n_splits=5, random_state=random_state),
    )
    return {
        "TF-IDF + LogisticRegression": tuned,
        "TransferTextClassifier": classifier,
    }


class DealtFolds(BaseCrossValidator):
    """Stratified folds for very few rows: each class is dealt over the folds in turn, like cards.

    StratifiedKFold warns about, or refuses, classes with fewer rows than folds, which a budget of
    two labels a class cannot avoid.
    """

    def __init__(self, n_splits: int = 5, random_state: int | None = None) -> None:
        self.n_splits = n_splits
        self.random_state = random_state

    def _iter_test_masks(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[Any]:
        classes = np.unique(y, return_inverse=True)[1]
        shuffled = check_random_state(self.random_state).permutation(len(classes))
        order = shuffled[np.argsort(classes[shuffled], kind="stable")]
        fold = np.empty(len(classes), dtype=np.intp)
        n_splits = self.get_n_splits(y=y)
        fold[order] = np.arange(len(classes)) % n_splits
        for index in range(n_splits):
            yield fold == index

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return self.n_splits if y is None else min(self.n_splits, len(y))


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def _check_labels(X: Any, y: Any) -> NDArray[Any]:
    labels: NDArray[Any] = column_or_1d(y)
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_rows != len(labels):
        raise ValueError(f"X has {n_rows} rows and y has {len(labels)}; they must be as many.")
    for row, label in enumerate(labels):
        if label is None or label != label:
            raise ValueError(f"y is missing in row {row}: {label}. Leave the row out.")
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise ValueError(
            f"y has {len(classes)} class{'' if len(classes) == 1 else 'es'}; "
            "a comparison needs at least 2."
        )
    rare = [f"{c} ({n})" for c, n in zip(classes, counts, strict=True) if n < _MIN_ROWS]
    if rare:
        more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
        raise ValueError(
            f"Each class needs at least {_MIN_ROWS} rows; too few of: {', '.join(rare[:5])}{more}. "
            "Leave these classes out or merge them."
        )
    return labels


def _check_test_size(test_size: float | int | None, labels: NDArray[Any]) -> int:
    n_rows = len(labels)
    most = n_rows - _MIN_TRAIN_ROWS * len(np.unique(labels))
    if test_size is None:
        return max(1, min(_MAX_TEST_ROWS, n_rows // 4, most))
    if _is_count(test_size):
        n_test = int(test_size)
    elif isinstance(test_size, float) and 0 < test_size < 1:
        n_test = round(test_size * n_rows)
    else:
        raise ValueError(f"test_size must be an integer or a share below 1; got {test_size!r}.")
    if not 1 <= n_test <= most:
        raise ValueError(
            f"test_size={test_size!r} is {n_test} of {n_rows} rows; it must leave "
            f"{_MIN_TRAIN_ROWS} rows a class for training: between 1 and {most} rows."
        )
    return n_test


def _check_budgets(
    budgets: Sequence[Budget], labels: NDArray[Any], n_test: int, notes: list[str]
) -> dict[Budget, int]:
    """Budget as asked -> number of labels, ascending; what had to be changed goes to `notes`."""
    most, least = len(labels) - n_test, _MIN_TRAIN_ROWS * len(np.unique(labels))
    if isinstance(budgets, str) or not budgets:
        raise ValueError(f"budgets must be a list of integers or 'all'; got {budgets!r}.")
    sizes: dict[Budget, int] = {}
    for budget in budgets:
        if budget == "all":
            sizes[budget] = most
        elif _is_count(budget):
            asked = int(budget)
            sizes[budget] = min(max(asked, least), most)
            if asked > most:
                notes.append(f"Budget {asked:,} cut to the {most:,} rows there are to train on.")
            elif asked < least:
                notes.append(f"Budget {asked:,} raised to {least:,}: two labels for each class.")
        else:
            raise ValueError(f"budgets must be integers of at least 1, or 'all'; got {budget!r}.")
    # Two budgets that came out the same would be the same fits twice.
    distinct = {n_labels: budget for budget, n_labels in reversed(sizes.items())}
    return {distinct[n_labels]: n_labels for n_labels in sorted(distinct)}


def _stratified_order(labels: NDArray[Any], rng: np.random.RandomState) -> NDArray[np.intp]:
    """A random order of the rows whose beginnings and ends all have the classes in proportion.

    The first rows of every class come first of all: no beginning that is long enough lacks one.
    """
    shuffled = rng.permutation(len(labels))
    classes = np.unique(labels, return_inverse=True)[1][shuffled]
    position = np.empty(len(labels))
    for index in range(classes.max() + 1):
        members = np.flatnonzero(classes == index)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
        position[members[:_MIN_TRAIN_ROWS]] = np.arange(-_MIN_TRAIN_ROWS, 0)
    return shuffled[np.argsort(position, kind="stable")]


def _fit_and_score(
    estimator: Any,
    X: Any,
    labels: NDArray[Any],
    train: NDArray[np.intp],
    test: NDArray[np.intp],
) -> Row:
    X_train, X_test, truth = _take(X, train), _take(X, test), labels[test]
    model = clone(estimator)
    start = time.perf_counter()
    model.fit(X_train, labels[train])
    fitted = time.perf_counter()
    predicted = model.predict(X_test)
    seconds = time.perf_counter() - fitted
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
        "log_loss": _log_loss(model, X_test, truth),
        "fit_seconds": fitted - start,
        "texts_per_second": len(test) / max(seconds, 1e-9),
    }


def _log_loss(model: Any, X: Any, truth: NDArray[Any]) -> float:
    if not hasattr(model, "predict_proba"):
        return math.nan
    # float32 rows need not sum to 1 as closely as scikit-learn's log_loss asks for.
    scores = np.asarray(model.predict_proba(X), dtype=np.float64)
    columns = np.searchsorted(model.classes_, truth)
    right = scores[np.arange(len(truth)), columns] / scores.sum(axis=1)
    return float(-np.log(np.clip(right, np.finfo(np.float64).eps, 1)).mean())


def _take(X: Any, rows: NDArray[np.intp]) -> Any:
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if hasattr(X, "take") and not hasattr(X, "__array__"):  # pyarrow
        return X.take(rows)
    if hasattr(X, "shape"):
        return X[rows]
    return [X[row] for row in rows]


def _report(
    progress: Callable[[ComparisonProgress], None] | None,
    plan: list[tuple[int, Budget, int, str]],
    done: int,
    rows: list[Row],
) -> None:
    if progress is None:
        return
    repeat, _, n_labels, name = plan[min(done, len(plan) - 1)]
    progress(
        ComparisonProgress(
            n_done=done,
            n_total=len(plan),
            estimator=name if done < len(plan) else None,
            n_labels=n_labels,
            repeat=repeat,
            seconds_left=_seconds_left([(n, name) for _, _, n, name in plan[done:]], rows),
        )
    )


def _seconds_left(fits: list[tuple[int, str]], rows: list[Row]) -> float | None:
    """Time of the fits to come, from those of the same estimator at the nearest budget."""
    measured: dict[str, dict[int, float]] = {}
    for row in rows:
        seconds = row["fit_seconds"] + 2 * row["n_test"] / row["texts_per_second"]
        measured.setdefault(row["estimator"], {})[row["n_labels"]] = seconds
    total = 0.0
    for n_labels, name in fits:
        if name not in measured:
            return None
        nearest = min(measured[name], key=lambda n: abs(math.log(n / n_labels)))
        # Time grows more slowly than the labels: a fit has its fixed costs and least steps.
        total += measured[name][nearest] * math.sqrt(n_labels / nearest)
    return total


@contextmanager
def _interrupt_flag() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, besides what it does otherwise, while the block runs."""
    flag = threading.Event()
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield flag
        return

    def handle(number: int, frame: FrameType | None) -> None:
        flag.set()
        previous(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, previous)
