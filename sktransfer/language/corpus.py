"""Texts for language modeling, in memory or in files, read again in each pass."""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import reprlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs.rows import _offsets
from sktransfer.inputs.texts import _check_encodable, _to_str, check_texts
from sktransfer.inputs.tokens import Tokenizer

# A tokenizer's transient objects are some hundred times larger than the ids that are kept.
_CHUNK_TEXTS = 4096
_CHUNK_CHARACTERS = 1_000_000
_SAMPLE_CHARACTERS = 1_000_000


class Corpus:
    """Texts that can be read as often as needed; texts of white space alone are left out.

    Parameters
    ----------
    texts : iterable of str
        Checked texts, which each ``iter(texts)`` gives from the first to the last.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts

    def __iter__(self) -> Iterator[str]:
        return (text for text in self._texts if text and not text.isspace())

    @property
    def n_texts(self) -> int:
        """Number of texts; the first call for it reads all of them."""
        return self._counts[0]

    @property
    def n_characters(self) -> int:
        """Number of characters of all texts; the first call for it reads all of them."""
        return self._counts[1]

    @property
    def digest(self) -> str:
        """Hash of all texts in their order; the first call for it reads all of them."""
        return self._counts[2]

    def chunks(self) -> Iterator[list[str]]:
        """Lists of consecutive texts: at most 4096 texts, and 1M characters or a single text."""
        chunk: list[str] = []
        n_characters = 0
        for text in self:
            is_full = len(chunk) == _CHUNK_TEXTS or n_characters + len(text) > _CHUNK_CHARACTERS
            if chunk and is_full:
                yield chunk
                chunk, n_characters = [], 0
            chunk.append(text)
            n_characters += len(text)
        if chunk:
            yield chunk

    @cached_property
    def _counts(self) -> tuple[int, int, str]:
        n_texts = n_characters = 0
        content = hashlib.blake2b(digest_size=16)
        for text in self:
            n_texts += 1
            n_characters += len(text)
            content.update(f"{len(text)} {text}".encode(errors="surrogatepass"))
        return n_texts, n_characters, content.hexdigest()


def check_corpus(X: Any, *, name: str = "X") -> Corpus:
    """Texts of a column, of files or of a stream, or an error that says which text is none.

    Parameters
    ----------
    X : str, path-like, list of path-like, array-like of str, or iterable of str
        - A `str` or path-like object is a text file, or a pattern such as ``"data/**/*.txt"``,
          whose files are read in the order of their names; a list of path-like objects, in its
          order. Each line is a text. The files are UTF-8, compressed where the name ends in
          ``.gz``, and are never in memory as a whole.
        - A list of `str` and every other container that `check_texts` takes is a column of texts.
        - Any other object without length that can be iterated over repeatedly is read anew at
          each pass. An iterator, which cannot, is read at once into memory.
    name : str, default="X"
        What error messages call `X`.

    Returns
    -------
    Corpus
        The texts. Those of a stream are checked as they are read.

    Raises
    ------
    ValueError
        If there is no such file, no text with characters, or a row that is not a text, as in
        `check_texts`. Iterating raises it for a line that is not UTF-8.
    TypeError
        If `X` or one of its rows has a type that cannot stand for a text.

    Examples
    --------
    >>> from sktransfer.language.corpus import check_corpus
    >>> corpus = check_corpus(["It was late.", "", "They left."])
    >>> list(corpus)
    ['It was late.', 'They left.']
    >>> corpus.n_texts, corpus.n_characters
    (2, 22)
    """
    if isinstance(X, Corpus):
        return X
    corpus = Corpus(_source(X, name))
    for _ in corpus:
        return corpus
    raise ValueError(f"{name} has no text with characters; give at least one.")


def _source(X: Any, name: str) -> Iterable[str]:
    if isinstance(X, (str, os.PathLike)):
        return _Files(_find_files(X, name))
    if isinstance(X, (list, tuple)) and X and isinstance(X[0], os.PathLike):
        for number, path in enumerate(X):
            if not isinstance(path, os.PathLike):
                raise TypeError(
                    f"Row {number} of {name} is of type {type(path).__name__}, but row 0 is a "
                    "path; pass texts alone, or paths alone."
                )
        return _Files([file for path in X for file in _find_files(path, name)])
    is_column = any(hasattr(X, part) for part in ("__len__", "__array__", "to_pylist"))
    if is_column or not hasattr(X, "__iter__") or iter(X) is X:
        return check_texts(X, name=name)
    return _Stream(X, name)


def _find_files(path: str | os.PathLike[Any], name: str) -> list[Path]:
    """Files of a path or pattern."""
    pattern = os.fsdecode(path)
    if os.path.isfile(pattern):
        return [Path(pattern)]
    if os.path.isdir(pattern):
        raise ValueError(
            f"{name}: {pattern} is a folder; name its files, for example "
            f"{os.path.join(pattern, '*.txt')!r}."
        )
    # No path has a null character, and glob() would fail at one.
    found = [] if "\0" in pattern else glob.glob(pattern, recursive=True)
    files = [Path(file) for file in sorted(found) if os.path.isfile(file)]
    if not files:
        hint = f"; a single {type(path).__name__} is a path: wrap one text in a list: [{name}]"
        raise ValueError(
            f"{name}: no file is called, or matches, {reprlib.repr(pattern)}"
            f"{hint if isinstance(path, str) else '; check the path'}."
        )
    return files


@dataclass(frozen=True)
class _Files:
    """The lines of text files."""

    paths: list[Path]

    def __iter__(self) -> Iterator[str]:
        for path in self.paths:
            yield from _lines(path)


def _lines(path: Path) -> Iterator[str]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        lines = enumerate(file, start=1)
        while True:
            try:
                number, line = next(lines)
            except StopIteration:
                return
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(
                    f"{path} is not a complete gzip file ({error}); compress it anew, or rename it "
                    "if it is not compressed."
                ) from error
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"Line {number} of {path} is not UTF-8 ({error.reason} at byte "
                    f"{error.start}); save the file as UTF-8."
                ) from error
            yield (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")


@dataclass(frozen=True)
class _Stream:
    """The rows of an object that is iterated over anew at each pass."""

    rows: Iterable[Any]
    name: str

    def __iter__(self) -> Iterator[str]:
        for index, row in enumerate(self.rows):
            if type(row) is str and row.isascii():
                yield row
                continue
            place = f"Row {index} of {self.name}"
            text = _to_str(row, place)
            _check_encodable(text, place)
            yield text


@dataclass(frozen=True, eq=False)
class TokenizedText:
    """Token ids of a text, without special tokens.

    Attributes
    ----------
    ids : ndarray of int32, shape (n_tokens,)
        Token ids; not to be written to.
    words : ndarray of int32, shape (n_tokens,), or None
        Number of the word of each token, if it was asked for.
    """

    ids: NDArray[np.int32]
    words: NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class _EncodedChunk:
    """Consecutive texts, end to end: an array per text would take more memory than short texts."""

    ids: NDArray[np.int32]
    words: NDArray[np.int32] | None
    start: NDArray[np.int64]

    def __iter__(self) -> Iterator[TokenizedText]:
        for start, stop in pairwise(self.start.tolist()):
            words = None if self.words is None else self.words[start:stop]
            yield TokenizedText(self.ids[start:stop], words)


class TokenizedCorpus:
    """Token ids of the texts of a corpus, one `TokenizedText` per text, in the order of the corpus.

    The ids of the first complete pass are kept if they are not too many; otherwise every pass
    tokenizes anew, chunk by chunk.

    Parameters
    ----------
    corpus : Corpus
        The texts.
    tokenizer : Tokenizer or Tokenizer
        Gives the ids; with `words` it needs `encode_words`.
    memory_tokens : int, default=20_000_000
        Most tokens that are kept, of four bytes each, or eight with `words`.
    words : bool, default=False
        Whether each token comes with the number of its word.

    Raises
    ------
    TypeError
        If `words` is asked of a tokenizer that does not know them.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.language.corpus import TokenizedCorpus, check_corpus
    >>> class Letters:
    ...     pad_id, prefix, suffix, separator = 0, (), (2,), (2,)
    ...
    ...     def encode(self, texts):
    ...         return [np.array([ord(c) for c in t], dtype=np.int32) for t in texts]
    >>> tokens = TokenizedCorpus(check_corpus(["ab", "c"]), Letters())
    >>> [text.ids.tolist() for text in tokens]
    [[97, 98], [99]]
    >>> tokens.n_tokens
    5
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: Tokenizer,
        *,
        memory_tokens: int = 20_000_000,
        words: bool = False,
    ) -> None:
        if words and not hasattr(tokenizer, "encode_words"):
            raise TypeError(
                f"tokenizer: {type(tokenizer).__name__} has no encode_words(), which words=True "
                "needs; leave words=False."
            )
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.memory_tokens = memory_tokens
        self.words = words
        self._kept: list[_EncodedChunk] | None = None
        self._counted: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[TokenizedText]:
        for chunk in self._encoded_chunks() if self._kept is None else self._kept:
            yield from chunk

    @property
    def is_exact(self) -> bool:
        """Whether `n_tokens` is counted, after a complete pass, rather than estimated."""
        return self._counted is not None

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """Tokens of each text, shape (n_texts,), special ones not counted; None if not kept."""
        if self._kept is None:
            return None
        return np.concatenate([np.diff(chunk.start) for chunk in self._kept])

    @property
    def n_tokens(self) -> int:
        """Tokens of all texts, each with prefix and suffix.

        Counted if there was a complete pass; a corpus that is likely to be kept is passed over
        for it. Otherwise estimated from its first million characters.
        """
        if self._counted is None and self.corpus.n_characters <= 4 * self.memory_tokens:
            for _ in self._encoded_chunks():
                pass
        n_texts, n_tokens = self._estimate if self._counted is None else self._counted
        return n_tokens + n_texts * (len(self.tokenizer.prefix) + len(self.tokenizer.suffix))

    def _encoded_chunks(self) -> Iterator[_EncodedChunk]:
        kept: list[_EncodedChunk] | None = [] if self._counted is None else None
        n_texts = n_tokens = 0
        for texts in self.corpus.chunks():
            chunk = self._encode(texts)
            n_texts += len(texts)
            n_tokens += len(chunk.ids)
            if kept is not None:
                kept.append(chunk)
                if n_tokens > self.memory_tokens:
                    kept = None
            yield chunk
        self._kept, self._counted = kept, (n_texts, n_tokens)

    def _encode(self, texts: list[str]) -> _EncodedChunk:
        numbers: list[NDArray[np.int32]] | None = None
        if self.words:
            contents, numbers = self.tokenizer.encode_words(texts)
        else:
            contents = self.tokenizer.encode(texts)
        lengths = np.fromiter(map(len, contents), np.int64, len(contents))
        words = None if numbers is None else _join(numbers)
        return _EncodedChunk(_join(contents), words, _offsets(lengths))

    @cached_property
    def _estimate(self) -> tuple[int, int]:
        """Texts and content tokens."""
        n_characters = n_tokens = 0
        for texts in self.corpus.chunks():
            n_characters += sum(map(len, texts))
            n_tokens += sum(map(len, self.tokenizer.encode(texts)))
            if n_characters >= _SAMPLE_CHARACTERS:
                break
        share = self.corpus.n_characters / max(n_characters, 1)
        return self.corpus.n_texts, round(n_tokens * share)


def _join(parts: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    joined = np.concatenate(parts, dtype=np.int32, casting="same_kind")
    # TensorCache for the next pass, which must not see what the reader of this one wrote.
    joined.flags.writeable = False
    return joined
