"""TF-IDF with sample weights."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix, hstack

from sktransfer.inputs.texts import Row

# scikit-learn's `token_pattern`.
_WORD = re.compile(r"(?u)\b\w\w+\b")


class LexicalVectorizer:
    """TF-IDF of word unigrams and bigrams whose document frequencies are weighted.

    A row of weight 2 counts exactly as the same row twice, a row of weight 0 as no row. Words are
    scikit-learn's, lower-cased; term frequencies are sublinear, ``1 + log(tf)``; ``idf`` is
    smooth; rows have length 1, or 0 where no term is known.

    Parameters
    ----------
    max_features : int or None, default=None
        Keep the terms that occur in the most rows (by weight; of equals words before pairs of
        words, each in alphabetical order).

    Attributes
    ----------
    words_ : list of str
        The words in alphabetical order; they are the first columns.
    pairs_ : ndarray of int64, shape (n_pairs, 2)
        The pairs of neighboring words, as positions in ``words_``; the other columns.
    idf_ : ndarray of float32, shape (n_terms,)
        Inverse document frequency of each column.

    Examples
    --------
    >>> from sktransfer.fitting.tfidf import LexicalVectorizer
    >>> lexical = LexicalVectorizer()
    >>> lexical.fit_transform(["good film", "bad film"], [1.0, 2.0]).shape
    (2, 5)
    >>> lexical.get_feature_names_out().tolist()
    ['bad', 'film', 'good', 'bad film', 'good film']
    """

    words_: list[str]
    pairs_: NDArray[np.int64]
    idf_: NDArray[np.float32]

    def __init__(self, max_features: int | None = None) -> None:
        self.max_features = max_features

    def fit_transform(
        self, texts: Sequence[str], sample_weight: ArrayLike | None = None
    ) -> csr_matrix:
        """Learn terms and their frequencies; return the TF-IDF of the texts.

        Parameters
        ----------
        texts : sequence of str
            One text a row.
        sample_weight : array-like of float, shape (n_rows,), default=None
            Not negative; None weighs all rows 1.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_rows, n_terms)
            The same as ``transform(texts)`` gives.
        """
        self.__dict__.pop("_index", None)
        weight = np.ones(len(texts)) if sample_weight is None else np.asarray(sample_weight, float)
        found: defaultdict[str, int] = defaultdict()
        found.default_factory = found.__len__
        ids, row_of_word = _split_words(texts, found.__getitem__)
        words = sorted(found)
        rank = np.empty(len(words), dtype=np.int64)
        rank[[found[word] for word in words]] = np.arange(len(words))
        ids = rank[ids]

        row_of_pair, keys = _neighbors(ids, row_of_word, len(words))
        pair_keys, pair_columns = np.unique(keys, return_inverse=True)
        counts = _count(
            np.concatenate([row_of_word, row_of_pair]),
            np.concatenate([ids, len(words) + pair_columns]),
            (len(texts), len(words) + len(pair_keys)),
        )
        frequency = np.bincount(
            counts.indices,
            weights=np.repeat(weight, np.diff(counts.indptr)),
            minlength=counts.shape[1],
        )
        kept = np.flatnonzero(frequency)
        if self.max_features is not None:
            most_first = np.argsort(-frequency[kept], kind="stable")
            kept = np.sort(kept[most_first[: self.max_features]])
        # A word is in at least the rows of its pairs and stands before them: it is kept with them.
        kept_words = kept[kept < len(words)]
        kept_keys = pair_keys[kept[len(kept_words) :] - len(words)]
        pairs = np.stack(np.divmod(kept_keys, max(len(words), 1)), axis=1)
        self.words_ = [words[i] for i in kept_words.tolist()]
        self.pairs_ = np.searchsorted(kept_words, pairs)
        idf = np.log((1 + weight.sum()) / (1 + frequency[kept])) + 1
        self.idf_ = idf.astype(np.float32)
        return self._weigh(counts[:, kept])

    def transform(self, texts: Sequence[str]) -> csr_matrix:
        """Return the TF-IDF of texts; unknown terms are passed over.

        Parameters
        ----------
        texts : sequence of str
            One text a row.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_rows, n_terms)
            Rows without any known term are zero.
        """
        n_words = len(self.words_)
        known, pair_keys = self._index
        ids, row_of_word = _split_words(texts, known.__getitem__)
        row_of_pair, keys = _neighbors(ids, row_of_word, n_words)
        places = np.searchsorted(pair_keys, keys)
        is_pair = np.append(pair_keys, -1)[places] == keys
        is_word = ids >= 0
        return self._weigh(
            _count(
                np.concatenate([row_of_word[is_word], row_of_pair[is_pair]]),
                np.concatenate([ids[is_word], n_words + places[is_pair]]),
                (len(texts), len(self.idf_)),
            )
        )

    def get_feature_names_out(self) -> NDArray[np.object_]:
        """Return the term of each column.

        Returns
        -------
        ndarray of str objects, shape (n_terms,)
            Words, then pairs of words joined by a space.
        """
        pairs = [f"{self.words_[a]} {self.words_[b]}" for a, b in self.pairs_.tolist()]
        return np.array([*self.words_, *pairs], dtype=object)

    @cached_property
    def _index(self) -> tuple[dict[str, int], NDArray[np.int64]]:
        """Column of each word, and the keys of the pairs: not made anew for each prediction."""
        known = _Columns({word: column for column, word in enumerate(self.words_)})
        return known, self.pairs_[:, 0] * len(self.words_) + self.pairs_[:, 1]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_index"}

    def _weigh(self, counts: csr_matrix) -> csr_matrix:
        values = (1 + np.log(counts.data)) * self.idf_[counts.indices]
        row_of_value = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        norms = np.sqrt(np.bincount(row_of_value, weights=values**2, minlength=counts.shape[0]))
        counts.data = (values / norms[row_of_value]).astype(np.float32)
        return counts


class _Columns(dict[str, int]):
    """-1 for a word that has no column."""

    def __missing__(self, word: str) -> int:
        return -1


class LexicalColumns:
    """TF-IDF of rows of one or more texts.

    A pair is compared word by word: ``|a - b|`` and ``a * b`` of the TF-IDF of its texts. More
    columns stand side by side.

    Parameters
    ----------
    max_features : int or None, default=None
        See `LexicalVectorizer`.
    """

    def __init__(self, max_features: int | None = None) -> None:
        self.vectorizer = LexicalVectorizer(max_features)

    def fit_transform(self, rows: Sequence[Row], sample_weight: ArrayLike) -> csr_matrix:
        """Learn the terms of all columns together; return the columns of the rows."""
        texts, n_columns = _by_column(rows)
        weight = np.tile(np.asarray(sample_weight, float), n_columns)
        return _side_by_side(self.vectorizer.fit_transform(texts, weight), n_columns)

    def transform(self, rows: Sequence[Row]) -> csr_matrix:
        """Return the columns of the rows; unknown terms are passed over."""
        texts, n_columns = _by_column(rows)
        return _side_by_side(self.vectorizer.transform(texts), n_columns)


def _by_column(rows: Sequence[Row]) -> tuple[list[str], int]:
    """Return the texts of the first column, then those of the second, ...; how many columns."""
    columns = list(zip(*((row,) if isinstance(row, str) else row for row in rows), strict=True))
    return [text for column in columns for text in column], len(columns)


def _side_by_side(texts: csr_matrix, n_columns: int) -> csr_matrix:
    if n_columns == 1:
        return texts
    n_rows = texts.shape[0] // n_columns
    blocks = [texts[number * n_rows : (number + 1) * n_rows] for number in range(n_columns)]
    if n_columns == 2:
        first, second = blocks
        blocks = [abs(first - second), first.multiply(second)]
    return csr_matrix(hstack(blocks))


def _split_words(
    texts: Sequence[str], look_up: Callable[[str], int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the id of each word of all texts, and its row."""
    ids: list[int] = []
    ends = [0]
    for text in texts:
        ids.extend(map(look_up, _WORD.findall(text.lower())))
        ends.append(len(ids))
    rows = np.repeat(np.arange(len(texts)), np.diff(ends))
    return np.array(ids, dtype=np.int64), rows


def _neighbors(
    ids: NDArray[np.int64], rows: NDArray[np.int64], n_words: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and the key of each pair of known words side by side in a row."""
    first, second = ids[:-1], ids[1:]
    is_pair = (rows[:-1] == rows[1:]) & (first >= 0) & (second >= 0)
    return rows[:-1][is_pair], first[is_pair] * n_words + second[is_pair]


def _count(
    rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]
) -> csr_matrix:
    ones: NDArray[Any] = np.ones(len(rows), dtype=np.float32)
    counts = csr_matrix((ones, (rows, columns)), shape=shape)
    counts.sort_indices()  # sums run in one order, whichever way the columns were found
    return counts
