"""Compare classifiers on the same splits with increasing numbers of labels."""

from __future__ import annotations

import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from types import FrameType
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_random_state

from sktransfer.comparison.progress import ComparisonProgress, shown_progress
from sktransfer.comparison.result import METRICS, ComparisonResult, Row
from sktransfer.comparison.splits import (
    Budget,
    DealtFolds,
    Split,
    check_budgets,
    check_test_size,
    draw_split,
    is_count,
    usable_rows,
)
from sktransfer.inputs import label_array
from sktransfer.runtime import one_blas_thread


def compare(
    X: Any,
    y: Any,
    estimators: Mapping[str, Any] | None = None,
    *,
    budgets: Sequence[Budget] = (50, 200, "all"),
    n_repeats: int = 3,
    test_size: float | int | None = None,
    random_state: int | np.random.RandomState | None = 0,
    n_jobs: int | None = None,
    progress: Callable[[ComparisonProgress], None] | None = None,
    verbose: int = 0,
) -> ComparisonResult:
    """Compare classifiers on the same splits with increasing numbers of labels.

    In each repeat a stratified test set is set aside; the estimators are fitted on the first
    labels of one stratified order of the rest, so that each budget contains the smaller ones.
    Copies of a text, up to case and spacing, are never on both sides.

    Parameters
    ----------
    X : sequence of str, or any rows that the estimators take
        The texts.
    y : array-like of shape (n_samples,)
        Their classes. Rows of a class with fewer than three different texts are left out, as are
        blank texts, with a note.
    estimators : dict of str to estimator, default=None
        Name -> scikit-learn classifier; each is cloned before it is fitted. By default TF-IDF
        with logistic regression, tuned, against :class:`TransferTextClassifier`.
    budgets : sequence of int or "all", default=(50, 200, "all")
        How many labels to train on. A budget beyond the data, or below two labels per class, is
        moved to the nearest that can be had, with a note.
    n_repeats : int, default=3
        How many times to draw the test set and the labels.
    test_size : int or float, default=None
        Rows of the test set, or their share. None takes a quarter of the rows, at most 400.
    random_state : int, RandomState or None, default=0
        Seed of the draws, and of the default estimators.
    n_jobs : int or None, default=None
        Fits that run at the same time, in processes that share the processors; None is one, unless
        in a :obj:`joblib.parallel_config` context, -1 one per processor. Each fit then takes
        longer than alone, which its seconds show.
    progress : callable, default=None
        Called with a :class:`ComparisonProgress` before each fit, or with several jobs after
        each, and at the end.
    verbose : int, default=0
        1 shows a progress bar with the time left, or one line per fit where standard error is
        neither a terminal nor a notebook. Ignored if `progress` is given.

    Returns
    -------
    ComparisonResult
        The rows measured, their summary, table, plot and verdict. After Ctrl-C it holds what
        is known so far. A fit that raises is a row, too, with its error, and the others go on.

    Raises
    ------
    ValueError
        If a parameter, a text or a label cannot be used.
    Exception
        The first error of an estimator, if every fit failed.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from sklearn.naive_bayes import MultinomialNB
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktransfer import compare
    >>> texts = [f"a {word} day {number}" for number in range(20) for word in ("good", "bad")]
    >>> labels = ["pos", "neg"] * 20
    >>> bayes = make_pipeline(CountVectorizer(), MultinomialNB())
    >>> result = compare(
    ...     texts, labels, {"majority": DummyClassifier(), "Bayes": bayes}, budgets=(10, "all")
    ... )
    >>> print(result.verdict()[-1])
    Over all, Bayes has the highest mean accuracy at all 2 budgets.
    """
    if isinstance(X, Iterator):
        X = list(X)
    labels = label_array(y)
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_rows != len(labels):
        raise ValueError(f"X has {n_rows} rows and y has {len(labels)}; they must be as many.")
    if not is_count(n_repeats):
        raise ValueError(f"n_repeats must be an integer of at least 1; got {n_repeats!r}.")
    rng = check_random_state(random_state)
    if estimators is None:
        estimators = default_estimators(random_state=int(rng.randint(2**31 - 1)))
    if not estimators:
        raise ValueError("estimators must be a dict of name -> classifier, with one at least.")
    result = ComparisonResult()
    rows = usable_rows(X, labels, result.notes)
    n_test = check_test_size(test_size, rows)
    splits = [draw_split(rows, n_test, rng) for _ in range(n_repeats)]
    n_train = min(len(split.train) for split in splits)
    sizes = check_budgets(budgets, n_train, len(np.unique(rows.labels)), result.notes)
    fits = [
        _Fit(name, repeat, budget, n_labels)
        for repeat in range(n_repeats)
        for budget, n_labels in sizes.items()
        for name in estimators
    ]
    jobs = [
        delayed(_measured)(fit.n_labels, estimators[fit.estimator], X, labels, splits[fit.repeat])
        for fit in fits
    ]
    measured = Parallel(n_jobs=n_jobs, return_as="generator", pre_dispatch="n_jobs")(jobs)
    shown = shown_progress() if verbose and progress is None else nullcontext(progress)
    with shown as watch:
        report = partial(_report, watch, fits, effective_n_jobs(n_jobs))
        _run(fits, measured, result, report)
    return result


@dataclass(frozen=True)
class _Fit:
    """One fit of the comparison: the estimator, the draw and the number of labels."""

    estimator: str
    repeat: int
    budget: Budget
    n_labels: int


def _run(
    fits: list[_Fit],
    measured: Generator[tuple[Row, Exception | None]],
    result: ComparisonResult,
    report: Callable[[list[Row]], None],
) -> None:
    """Append the rows of the fits, as they come, to `result`."""
    errors: list[Exception] = []
    with _interrupt_flag() as interrupted:
        try:
            for fit in fits:
                report(result.rows)
                row, error = next(measured)
                # Some estimators, such as scikit-learn's MLPClassifier, answer Ctrl-C by ending
                # their training: what they score then says nothing about them.
                if interrupted.is_set():
                    raise KeyboardInterrupt
                if error is not None:
                    errors.append(error)
                result.rows.append({**asdict(fit), **row})
            report(result.rows)
        except BaseException as error:
            # A terminal's Ctrl-C ends the processes of the other fits as well.
            if not (interrupted.is_set() or isinstance(error, KeyboardInterrupt)):
                raise
            result.interrupted = True
            result.notes.append(f"Interrupted after {len(result.rows)} of {len(fits)} fits.")
        finally:
            with warnings.catch_warnings(action="ignore"):  # that fits were cancelled
                measured.close()
    if errors and len(errors) == len(result.rows):
        raise errors[0]
    result.notes += _failures(result.rows)


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _failures(rows: list[Row]) -> list[str]:
    """A note for each estimator and number of labels that failed."""
    failed: dict[tuple[str, int], list[str]] = {}
    for row in rows:
        if row["error"]:
            failed.setdefault((row["estimator"], row["n_labels"]), []).append(row["error"])
    return [
        f"{name} failed at {n_labels:,} labels"
        + (f" in {len(errors)} repeats" if len(errors) > 1 else "")
        + f": {errors[0]}"
        for (name, n_labels), errors in failed.items()
    ]


def default_estimators(
    encoder: str | None = None, random_state: int | None = 0
) -> dict[str, BaseEstimator]:
    """The estimators that are compared by default: tuned TF-IDF and fine-tuning."""
    from sktransfer.estimators.classifier import TransferTextClassifier

    classifier = TransferTextClassifier(random_state=random_state)
    if encoder is not None:
        classifier.set_params(encoder=encoder)
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(max_iter=1000),
    )
    tuned = SingleThreadedSearch(
        pipeline,
        {"logisticregression__C": [1, 10, 100]},
        cv=DealtFolds(n_splits=5, random_state=random_state),
        error_score="raise",
    )
    return {
        "TF-IDF + LogisticRegression": tuned,
        "TransferTextClassifier": classifier,
    }


class SingleThreadedSearch(GridSearchCV):
    """Grid search over small linear models, which several BLAS threads slow down."""

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Run the search with one BLAS thread."""
        with one_blas_thread():
            super().fit(X, y, **params)
        return self


def _measured(
    n_labels: int, estimator: Any, X: Any, labels: NDArray[Any], split: Split
) -> tuple[Row, Exception | None]:
    """Row of a fit to the first labels of a split, and its error."""
    train, test = split.train[:n_labels], split.test
    row: Row = {"n_test": len(test), "error": ""}
    try:
        return row | _fit_and_score(estimator, X, labels, train, test), None
    except Exception as error:  # noqa: BLE001 - what it raises is what it measured
        return row | {**dict.fromkeys(METRICS, math.nan), "error": _in_one_line(error)}, error


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
    fits: list[_Fit],
    n_jobs: int,
    rows: list[Row],
) -> None:
    if progress is None:
        return
    done = len(rows)
    seconds_left = _seconds_left(fits[done:], rows)
    following = fits[min(done, len(fits) - 1)]
    progress(
        ComparisonProgress(
            n_done=done,
            n_total=len(fits),
            estimator=following.estimator if done < len(fits) else None,
            n_labels=following.n_labels,
            repeat=following.repeat,
            seconds_left=None if seconds_left is None else seconds_left / n_jobs,
        )
    )


def _seconds_left(fits: list[_Fit], rows: list[Row]) -> float | None:
    """Estimated time of the remaining fits, from the same estimator at the nearest budget."""
    measured: dict[str, dict[int, float]] = {}
    for row in rows:
        # An estimator that failed is assumed to fail again immediately.
        seconds = 0.0
        if not row["error"]:
            seconds = row["fit_seconds"] + 2 * row["n_test"] / row["texts_per_second"]
        measured.setdefault(row["estimator"], {})[row["n_labels"]] = seconds
    total = 0.0
    for fit in fits:
        if fit.estimator not in measured:
            return None
        known = measured[fit.estimator]
        nearest = min(known, key=lambda n: abs(math.log(n / fit.n_labels)))
        # Time grows more slowly than the number of labels: fits have fixed costs and minimum steps.
        total += known[nearest] * math.sqrt(fit.n_labels / nearest)
    return total


@contextmanager
def _interrupt_flag() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets in the block, in addition to its usual effect."""
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
