"""Select the rows of a comparison and split them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from sktransfer.inputs import is_missing

Budget = int | str

# Each class keeps two texts for training whatever is drawn, and one to test on.
_MIN_TRAIN_TEXTS = 2
_MIN_TEXTS = _MIN_TRAIN_TEXTS + 1
_MAX_TEST_ROWS = 400
_MOST_NAMED = 5


@dataclass(frozen=True)
class UsableRows:
    """Rows that can be used in a comparison.

    Attributes
    ----------
    positions : ndarray of int, shape (n_rows,)
        Where they stand in X and y.
    labels : ndarray of shape (n_rows,)
        Their labels.
    copy_of : ndarray of int, shape (n_rows,)
        Number of their text, from 0; copies of a text have the same.
    """

    positions: NDArray[np.intp]
    labels: NDArray[Any]
    copy_of: NDArray[np.intp]

    def take(self, kept: NDArray[np.bool_]) -> UsableRows:
        """The rows `kept`, with their texts renumbered."""
        copy_of = np.unique(self.copy_of[kept], return_inverse=True)[1]
        return UsableRows(self.positions[kept], self.labels[kept], copy_of)

    def class_of_texts(self) -> NDArray[np.intp]:
        """Code of the most frequent class of each text."""
        codes = np.unique(self.labels, return_inverse=True)[1]
        counts = np.zeros((self.copy_of.max() + 1, codes.max() + 1), dtype=np.intp)
        np.add.at(counts, (self.copy_of, codes), 1)
        return np.asarray(counts.argmax(axis=1))


@dataclass(frozen=True)
class Split:
    """Positions of the test rows, and of the training rows in the order budgets use them."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]


def usable_rows(X: Any, labels: NDArray[Any], notes: list[str]) -> UsableRows:
    """Leave out rows that cannot be split, and report them in `notes`.

    Raises
    ------
    ValueError
        If a text is missing, or fewer than two classes are left.
    """
    texts = [_comparable(item) for item in _items(X, len(labels))]
    for row, text in enumerate(texts):
        if is_missing(text):
            raise ValueError(f"X is missing in row {row} ({text}). Fill it, or leave the row out.")
    numbers: dict[Hashable, int] = {}
    copy_of = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.intp)
    rows = UsableRows(np.arange(len(labels)), labels, copy_of)
    blank = np.array([text == "" for text in texts], dtype=bool)
    if blank.any():
        n_blank, first = _counted(blank.sum(), "row"), blank.argmax()
        notes.append(f"Left out {n_blank} with a blank text, the first of them row {first}.")
        rows = rows.take(~blank)
    rows = _without_rare_classes(rows, notes)
    _note_copies(rows, notes)
    return rows


def draw_split(rows: UsableRows, n_test: int, rng: np.random.RandomState) -> Split:
    """A stratified test set and an order of the other rows, without copies across the two.

    Any beginning of the training rows has the classes in proportion, after two texts of each
    class; further copies of a text come last.
    """
    order = _stratified_order(rows.class_of_texts(), rng)
    # If copies of a text have different labels, the most frequent one comes first.
    majority = np.unique(rows.labels)[rows.class_of_texts()][rows.copy_of]
    by_text = np.lexsort((rows.labels != majority, rows.copy_of))
    members = np.split(by_text, np.cumsum(np.bincount(rows.copy_of))[:-1])
    n_reserved = _MIN_TRAIN_TEXTS * len(np.unique(rows.labels))
    tested: list[int] = []
    n_rows = 0
    for text in order[n_reserved:][::-1].tolist():
        if n_rows + len(members[text]) <= n_test or not tested:
            tested.append(text)
            n_rows += len(members[text])
    is_tested = np.zeros(len(members), dtype=bool)
    is_tested[tested] = True
    trained = [members[text] for text in order.tolist() if not is_tested[text]]
    most = max(map(len, trained))
    train = [rows_of[copy] for copy in range(most) for rows_of in trained if copy < len(rows_of)]
    test = np.concatenate([members[text] for text in tested])
    return Split(rows.positions[train], rows.positions[test])


def check_test_size(test_size: float | int | None, rows: UsableRows) -> int:
    """Number of test rows asked for, or by default a quarter of the rows, at most 400."""
    n_rows = len(rows.labels)
    most = n_rows - _MIN_TRAIN_TEXTS * len(np.unique(rows.labels))
    if test_size is None:
        return max(1, min(_MAX_TEST_ROWS, n_rows // 4, most))
    if is_count(test_size):
        n_test = int(test_size)
    elif isinstance(test_size, float) and 0 < test_size < 1:
        n_test = round(test_size * n_rows)
    else:
        raise ValueError(f"test_size must be an integer or a share below 1; got {test_size!r}.")
    if not 1 <= n_test <= most:
        raise ValueError(
            f"test_size={test_size!r} is {n_test} of {n_rows} rows; it must leave "
            f"{_MIN_TRAIN_TEXTS} rows per class for training: between 1 and {most} rows."
        )
    return n_test


def check_budgets(
    budgets: Sequence[Budget], n_train: int, n_classes: int, notes: list[str]
) -> dict[Budget, int]:
    """Requested budgets and their numbers of labels, ascending; changes go to `notes`."""
    least = _MIN_TRAIN_TEXTS * n_classes
    if isinstance(budgets, str) or not budgets:
        raise ValueError(f"budgets must be a list of integers or 'all'; got {budgets!r}.")
    sizes: dict[Budget, int] = {}
    for budget in budgets:
        if budget == "all":
            sizes[budget] = n_train
        elif is_count(budget):
            asked = int(budget)
            sizes[budget] = min(max(asked, least), n_train)
            if asked > n_train:
                notes.append(f"Budget {asked:,} cut to the {n_train:,} rows there are to train on.")
            elif asked < least:
                notes.append(f"Budget {asked:,} raised to {least:,}: two labels for each class.")
        else:
            raise ValueError(f"budgets must be integers of at least 1, or 'all'; got {budget!r}.")
    # Two budgets that came out the same would be the same fits twice.
    distinct = {n_labels: budget for budget, n_labels in reversed(sizes.items())}
    return {distinct[n_labels]: n_labels for n_labels in sorted(distinct)}


def is_count(value: object) -> bool:
    """Whether `value` is an integer of at least 1."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


class DealtFolds(BaseCrossValidator):
    """Stratified folds for very few rows: each class is distributed over the folds in turn.

    StratifiedKFold warns about, or refuses, classes with fewer rows than folds, which a budget of
    two labels per class cannot avoid.
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


def _items(X: Any, n_rows: int) -> list[Any]:
    """Rows of X as Python objects; row numbers where rows cannot be compared."""
    if isinstance(X, list | tuple):
        return list(X)
    frame = nw.from_native(X, allow_series=True, pass_through=True)
    if isinstance(frame, nw.Series):
        return list(frame.to_list())
    if isinstance(frame, nw.DataFrame):
        return list(frame.iter_rows())
    if hasattr(X, "to_pylist"):
        return list(X.to_pylist())
    return X.tolist() if isinstance(X, np.ndarray) else list(range(n_rows))


def _comparable(item: Any) -> Any:
    """A key that is equal for texts with the same words, ignoring case and spacing."""
    if isinstance(item, str):
        return " ".join(item.split()).casefold()
    if isinstance(item, list | tuple):
        cells = tuple(map(_comparable, item))
        return cells[0] if len(cells) == 1 else cells
    return item if isinstance(item, Hashable) else repr(item)


def _without_rare_classes(rows: UsableRows, notes: list[str]) -> UsableRows:
    """Rows of the classes with enough distinct texts to be split."""
    classes, counts = np.unique(rows.labels, return_counts=True)
    n_texts = np.zeros(len(classes), dtype=np.intp)
    if len(rows.labels):
        n_texts = np.bincount(rows.class_of_texts(), minlength=len(classes))
    rare = n_texts < _MIN_TEXTS
    if (~rare).sum() < 2:
        n_large = int((~rare).sum())
        raise ValueError(
            f"A comparison needs two classes with at least {_MIN_TEXTS} different texts each; of "
            f"the classes in y ({len(classes)}), {n_large} {'has' if n_large else 'have'} as many."
        )
    if rare.any():
        named = [f"{name} ({n})" for name, n in zip(classes[rare], counts[rare], strict=True)]
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        notes.append(
            f"Left out {_counted(counts[rare].sum(), 'row')} of {_counted(len(named), 'class')} "
            f"with fewer than {_MIN_TEXTS} different texts: {', '.join(named[:_MOST_NAMED])}{more}."
        )
        rows = rows.take(~np.isin(rows.labels, classes[rare]))
    return rows


def _note_copies(rows: UsableRows, notes: list[str]) -> None:
    n_copies = np.bincount(rows.copy_of)
    is_copied = n_copies > 1
    if not is_copied.any():
        return
    codes = np.unique(rows.labels, return_inverse=True)[1]
    text_of_label = np.unique(np.column_stack([rows.copy_of, codes]), axis=0)[:, 0]
    in_conflict = np.bincount(text_of_label) > 1
    note = (
        f"{_counted(is_copied.sum(), 'text')} with copies, {n_copies[is_copied].sum():,} rows in "
        "all: the copies of a text are kept on the same side of each split"
    )
    if in_conflict.any():
        note += (
            f"; {in_conflict.sum():,} of these texts, {n_copies[in_conflict].sum():,} rows, have "
            "conflicting labels"
        )
    notes.append(f"{note}.")


def _stratified_order(classes: NDArray[np.intp], rng: np.random.RandomState) -> NDArray[np.intp]:
    """A random order in which every prefix and suffix is stratified.

    The first members of every class come first of all: no beginning that is long enough lacks
    one.
    """
    shuffled = rng.permutation(len(classes))
    codes = classes[shuffled]
    position = np.empty(len(codes))
    for index in range(codes.max() + 1):
        members = np.flatnonzero(codes == index)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
        position[members[:_MIN_TRAIN_TEXTS]] = np.arange(-_MIN_TRAIN_TEXTS, 0)
    return shuffled[np.argsort(position, kind="stable")]


def _counted(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
