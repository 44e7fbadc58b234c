"""Which words decided: importances of the words of a text for its prediction."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sktransfer.estimators.classifier import TransferTextClassifier
from sktransfer.estimators.regressor import TransferTextRegressor
from sktransfer.estimators.text import BaseTextEstimator
from sktransfer.fitting.saliency import token_importances
from sktransfer.inputs import Row
from sktransfer.runtime import usual_numerics

__all__ = ["WordImportanceDisplay", "WordImportances", "word_importances"]

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
# Background colors for and against the target, as red, green, blue.
_FOR, _AGAINST = (44, 160, 44), (214, 39, 40)


@dataclass(frozen=True, eq=False)
class WordImportances:
    """Importances of the words of one row.

    Attributes
    ----------
    texts : tuple of str
        The texts of the row, one unless it has several columns.
    target : object
        The label whose score is explained; of a regressor with several outputs, the number of
        the output, of one with a single output None.
    words : list of str
        Words in the order of the texts.
    columns : ndarray of shape (n_words,)
        Number of the text that each word stands in.
    spans : ndarray of shape (n_words, 2)
        First character of each word in its text, and the one behind its last.
    network, lexical : ndarray of shape (n_words,)
        By how much the word raises the score, by the network and by the TF-IDF model.
    """

    texts: tuple[str, ...]
    target: Any
    words: list[str]
    columns: NDArray[np.int64]
    spans: NDArray[np.int64]
    network: NDArray[np.float64]
    lexical: NDArray[np.float64]

    @property
    def importances(self) -> NDArray[np.float64]:
        """Importances by both models together, shape (n_words,)."""
        return self.network + self.lexical


@usual_numerics()
def word_importances(
    estimator: TransferTextClassifier | TransferTextRegressor,
    X: Any,
    target: Any = None,
    *,
    method: Literal["occlusion", "gradient"] = "occlusion",
    max_variants: int = 256,
) -> list[WordImportances]:
    """Importance of each word for the score of a label.

    By occlusion, the importance of a word is the difference that it makes: the score of the whole
    text minus that of the text without the word [1]_. By the gradient, it is the sum over its
    tokens of the integrated gradients of the network's score, on the way from a text of mask tokens
    to the text [2]_: 16 passes with their gradients per text, instead of one per word. What the
    TF-IDF model adds is always by occlusion. The score is the logit of the label minus the mean of
    those of the other labels (multilabel targets: the logit of the label; regression: the
    prediction), so that the importances by the network and by the TF-IDF model add up.

    Parameters
    ----------
    estimator : TransferTextClassifier or TransferTextRegressor
        Fitted.
    X : array-like of shape (n_samples,) or (n_samples, n_columns)
        Texts, as for `predict`.
    target : object, default=None
        The label to explain; of multilabel targets and of several outputs its number. None is the
        predicted label of each row, of multilabel targets the most probable one.
    method : {"occlusion", "gradient"}, default="occlusion"
        How the network's part is found. Words beyond the length to which a text is cut have no
        gradient. Recurrent encoders have none.
    max_variants : int, default=256
        Most variants of a text that are scored. In a text of more words, neighboring words are left
        out together, and share their importance equally.

    Returns
    -------
    list of WordImportances
        One per row.

    Raises
    ------
    TypeError
        If the estimator is of another class.
    ValueError
        If the estimator does not know `target`.

    References
    ----------
    .. [1] Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
       arXiv:1311.2901; for words Li et al., "Understanding Neural Networks through Representation
       Erasure", 2016, arXiv:1612.08220.
    .. [2] Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017,
       arXiv:1703.01365.

    Examples
    --------
    >>> from sktransfer import TransferTextClassifier
    >>> from sktransfer.inspection import word_importances
    >>> texts = ["a wonderful film", "a moving story", "dull and slow", "a waste of time"]
    >>> labels = ["good", "good", "bad", "bad"]
    >>> clf = TransferTextClassifier(max_epochs=0, random_state=0).fit(texts, labels)
    >>> (found,) = word_importances(clf, ["a wonderful plot"])
    >>> found.target, found.words[found.importances.argmax()]
    ('good', 'wonderful')
    """
    if not isinstance(estimator, (TransferTextClassifier, TransferTextRegressor)):
        raise TypeError(
            "word_importances explains a TransferTextClassifier or a TransferTextRegressor, got "
            f"{type(estimator).__name__}; of a pipeline, pass its last step and transformed texts."
        )
    check_is_fitted(estimator)
    if max_variants < 1:
        raise ValueError(f"max_variants must be at least 1, got {max_variants!r}.")
    if method not in ("occlusion", "gradient"):
        raise ValueError(f"method must be 'occlusion' or 'gradient', got {method!r}.")
    rows = estimator._check_rows(X, reset=False)
    outputs = _outputs(estimator, rows, target)
    return [
        _explained(estimator, row, output, label, max_variants, method)
        for row, (output, label) in zip(rows, outputs, strict=True)
    ]


class WordImportanceDisplay:
    """Colored texts and bars of word importances.

    Parameters
    ----------
    rows : list of WordImportances
        What `word_importances` gives.

    Attributes
    ----------
    ax_ : matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure
        After `plot`.

    Examples
    --------
    >>> from sktransfer.inspection import WordImportanceDisplay
    >>> WordImportanceDisplay.from_estimator(clf, texts)  # doctest: +SKIP
    """

    def __init__(self, rows: Sequence[WordImportances]) -> None:
        self.rows = list(rows)

    @classmethod
    def from_estimator(
        cls,
        estimator: TransferTextClassifier | TransferTextRegressor,
        X: Any,
        target: Any = None,
        *,
        method: Literal["occlusion", "gradient"] = "occlusion",
        max_variants: int = 256,
    ) -> Self:
        """Explain the predictions of an estimator.

        Parameters
        ----------
        estimator, X, target, method, max_variants
            As in `word_importances`.

        Returns
        -------
        WordImportanceDisplay
            Shows colored texts in a notebook; `plot` draws bars, `to_terminal` colors text.
        """
        return cls(word_importances(estimator, X, target, method=method, max_variants=max_variants))

    def plot(self, ax: Any = None, *, row: int = 0, n_words: int = 12) -> Self:
        """Draw the most important words of a row as bars, by network and TF-IDF model.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        row : int, default=0
            Number of the row.
        n_words : int, default=12
            Most words to draw.

        Returns
        -------
        WordImportanceDisplay
            Itself, with `ax_` and `figure_`.
        """
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots(layout="constrained")
        one = self.rows[row]
        chosen = np.argsort(-np.abs(one.importances), kind="stable")[:n_words][::-1]
        places = np.arange(len(chosen))
        ax.barh(places + 0.2, one.network[chosen], height=0.4, label="network")
        ax.barh(places - 0.2, one.lexical[chosen], height=0.4, label="TF-IDF")
        ax.set_yticks(places, [one.words[i] for i in chosen])
        ax.axvline(0, color="black", linewidth=0.8)
        name = "the prediction" if one.target is None else repr(one.target)
        ax.set_xlabel(f"change of the score of {name} by the word")
        ax.legend(frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def to_html(self) -> str:
        """The texts with each word colored: green for the target, red against it.

        Returns
        -------
        str
            A part of an HTML page; texts are escaped.
        """
        rows = []
        for one in self.rows:
            target = "" if one.target is None else f"<b>{html.escape(str(one.target))}</b>: "
            texts = " | ".join(
                _colored(one, column, html.escape, _html_word) for column in range(len(one.texts))
            )
            rows.append(f'<p style="line-height: 1.7">{target}{texts}</p>')
        return "<div>" + "".join(rows) + "</div>"

    def to_terminal(self) -> str:
        """The texts with each word colored by ANSI escape codes.

        Returns
        -------
        str
            A line per row.
        """
        rows = []
        for one in self.rows:
            target = "" if one.target is None else f"{one.target}: "
            texts = " | ".join(
                _colored(one, column, str, _terminal_word) for column in range(len(one.texts))
            )
            rows.append(target + texts)
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        return self.to_html()


def _outputs(
    estimator: BaseTextEstimator, rows: Sequence[Row], target: Any
) -> list[tuple[int, Any]]:
    """Number of the output to explain for each row, and its label."""
    if not rows:
        return []
    scores = estimator._score_rows(rows).scores
    if isinstance(estimator, TransferTextRegressor) or estimator.classes_.ndim == 2:
        n_outputs = scores.shape[1]
        if target is not None and target not in range(n_outputs):
            raise ValueError(f"target={target!r} is not one of the {n_outputs} outputs, from 0.")
        if n_outputs == 1:
            return [(0, None)] * len(rows)
        chosen = scores.argmax(axis=1) if target is None else np.full(len(rows), target)
        return [(int(output), int(output)) for output in chosen]
    classes = estimator.classes_.tolist()
    if target is None:
        return [(int(output), classes[output]) for output in scores.argmax(axis=1)]
    if target not in classes:
        raise ValueError(f"target={target!r} is not one of the labels {classes!r}.")
    return [(classes.index(target), target)] * len(rows)


def _explained(
    estimator: BaseTextEstimator,
    row: Row,
    output: int,
    label: Any,
    max_variants: int,
    method: Literal["occlusion", "gradient"],
) -> WordImportances:
    texts = (row,) if isinstance(row, str) else cast(tuple[str, ...], tuple(row))
    found = [
        (column, *word.span()) for column, text in enumerate(texts) for word in _WORD.finditer(text)
    ]
    places = np.array(found, dtype=np.int64).reshape(-1, 3)
    groups = np.array_split(np.arange(len(places)), min(len(places), max_variants) or 1)
    groups = [group for group in groups if len(group)]
    left = [_without(texts, places[group]) for group in groups]
    variants: list[Row] = [row, *(texts if len(texts) > 1 else texts[0] for texts in left)]
    if method == "gradient":
        network, lexical = _by_gradient(estimator, variants, places, output)
    else:
        network, lexical = _by_occlusion(estimator, variants, output)
        network = _shared(network, groups)
    return WordImportances(
        texts=texts,
        target=label,
        words=[texts[column][start:stop] for column, start, stop in places.tolist()],
        columns=places[:, 0],
        spans=places[:, 1:],
        network=network,
        lexical=_shared(lexical, groups),
    )


def _by_occlusion(
    estimator: BaseTextEstimator, variants: list[Row], output: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Difference of each variant, after the first, from it: by the network and by TF-IDF."""
    predictor = estimator._predictor()
    network, lexical = predictor.parts(variants)
    margins = _margin(estimator, predictor.blend(network, lexical), output)
    # What is left of the difference if the TF-IDF model still sees the whole text.
    whole = None if lexical is None else np.repeat(lexical[:1], len(network), axis=0)
    of_network = _margin(estimator, predictor.blend(network, whole), output)
    by_network = of_network[0] - of_network[1:]
    return by_network, margins[0] - margins[1:] - by_network


def _by_gradient(
    estimator: BaseTextEstimator, variants: list[Row], places: NDArray[np.int64], output: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Importance of each word by the network, and difference of each variant by TF-IDF."""
    predictor = estimator._predictor()
    # The explained score is an affine function of the network's scores and of the lexical ones.
    n_outputs = estimator.task_.n_outputs
    units = np.vstack([np.zeros(n_outputs), np.eye(n_outputs)]).astype(np.float32)
    zeros = None if predictor.lexical is None else np.zeros_like(units)
    margins = _margin(estimator, predictor.blend(units, zeros), output)
    tokens = token_importances(predictor, variants[0], margins[1:] - margins[0])
    network = np.zeros(len(places))
    for column, start, stop, importance in tokens:
        is_of = (places[:, 0] == column) & (places[:, 1] < stop) & (places[:, 2] > start)
        network[is_of] += importance
    if predictor.lexical is None:
        return network, np.zeros(len(variants) - 1)
    lexical = predictor.lexical.scores(variants)
    scores = _margin(estimator, predictor.blend(np.zeros_like(lexical), lexical), output)
    return network, scores[0] - scores[1:]


def _shared(values: NDArray[np.float64], groups: list[NDArray[np.intp]]) -> NDArray[np.float64]:
    """Value of each word of the groups, whose words share it equally."""
    sizes = np.array([len(group) for group in groups], dtype=np.intp)
    return np.repeat(values / np.maximum(sizes, 1), sizes)


def _without(texts: tuple[str, ...], places: NDArray[np.int64]) -> tuple[str, ...]:
    """The texts without the words at `places`."""
    left = list(texts)
    for column, start, stop in places[::-1].tolist():
        left[column] = left[column][:start] + left[column][stop:]
    return tuple(left)


def _margin(
    estimator: BaseTextEstimator, scores: NDArray[np.float32], output: int
) -> NDArray[np.float64]:
    """Score of an output; of one class of several, minus the mean of the others."""
    values = scores.astype(np.float64)
    if isinstance(estimator, TransferTextRegressor):
        decoded = np.asarray(estimator.task_.decode(scores), dtype=np.float64)
        return decoded.reshape(len(scores), -1)[:, output]
    if estimator.classes_.ndim == 2:
        return values[:, output]
    others = np.delete(values, output, axis=1)
    return np.asarray(values[:, output] - others.mean(axis=1))


def _colored(one: WordImportances, column: int, plain: Any, colored: Any) -> str:
    """A text with its words colored in proportion to the largest importance of the row."""
    largest = np.abs(one.importances).max(initial=0.0)
    parts, end = [], 0
    for word in np.flatnonzero(one.columns == column):
        start, stop = one.spans[word].tolist()
        share = one.importances[word] / largest if largest else 0.0
        parts += [plain(one.texts[column][end:start]), colored(one.words[word], share)]
        end = stop
    return "".join([*parts, plain(one.texts[column][end:])])


def _html_word(word: str, share: float) -> str:
    red, green, blue = _FOR if share > 0 else _AGAINST
    style = f"background: rgba({red}, {green}, {blue}, {abs(share):.2f})"
    return f'<span style="{style}" title="{share:+.2f}">{html.escape(word)}</span>'


def _terminal_word(word: str, share: float) -> str:
    if abs(share) < 0.1:
        return word
    # Towards white, as on paper.
    color = _FOR if share > 0 else _AGAINST
    red, green, blue = (round(255 - abs(share) * (255 - part)) for part in color)
    return f"\x1b[30;48;2;{red};{green};{blue}m{word}\x1b[0m"
