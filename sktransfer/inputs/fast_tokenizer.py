"""The package's tokenizer, a thin wrapper of the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tokenizers


class FastTokenizer:
    """Tokenizer of a `tokenizer.json`, without its own padding and truncation.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
        Taken over: its padding and truncation are switched off.
    pad_id : int
        Id for the end of shorter windows.
    special_tokens : bool, default=True
        Whether windows carry the special tokens that the post-processor adds.

    Attributes
    ----------
    prefix, suffix : tuple of int
        Ids of the special tokens around a window.
    separator : tuple of int
        Ids between two columns of a row.
    mask_id : int or None
        Id of the mask token.
    unknown_id : int or None
        Id of the token for what the vocabulary lacks.
    n_tokens : int
        Size of the vocabulary, special tokens included.

    Examples
    --------
    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> backend = Tokenizer(models.WordLevel({"[UNK]": 0, "good": 1}, unk_token="[UNK]"))
    >>> backend.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> FastTokenizer(backend, pad_id=0).encode(["good film"])
    [array([1, 0], dtype=int32)]
    """

    def __init__(
        self, backend: tokenizers.Tokenizer, *, pad_id: int, special_tokens: bool = True
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self.pad_id = pad_id
        self.prefix, self.suffix = _special_ids(backend) if special_tokens else ((), ())
        self.separator = _separator_ids(backend, self.suffix) if special_tokens else ()

    @property
    def mask_id(self) -> int | None:
        """Id of [MASK] or <mask>, None in a vocabulary without either."""
        return self._first_id("[MASK]", "<mask>")

    @property
    def unknown_id(self) -> int | None:
        """Id of <unk> or [UNK], None in a vocabulary that spells everything."""
        return self._first_id("<unk>", "[UNK]")

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary, special tokens included."""
        return int(self.backend.get_vocab_size())

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Ids of each text in full: no special tokens, never truncated, never padded."""
        # "fast" leaves out the character offsets, which nobody here reads.
        encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def encode_spans(
        self, texts: Sequence[str]
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int64]]]:
        """Ids of each text as `encode` gives them, and the characters (n_tokens, 2) of each."""
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=False)
        ids = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        spans = [np.array(e.offsets, dtype=np.int64).reshape(-1, 2) for e in encodings]
        return ids, spans

    def encode_words(
        self, texts: Sequence[str]
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]]:
        """Ids of each text as `encode` gives them, and the number of each token's word.

        Words are what the pre-tokenizer of the file splits a text into, numbered from 0. Without
        a pre-tokenizer, and for special tokens within a text, each token is a word of its own.
        """
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=False)
        ids = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        if self.backend.pre_tokenizer is None:
            return ids, [np.arange(len(row), dtype=np.int32) for row in ids]
        return ids, [_word_numbers(encoding.word_ids) for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the tokens, without special ones."""
        return str(self.backend.decode([int(number) for number in ids], skip_special_tokens=True))

    def _first_id(self, *tokens: str | None) -> int | None:
        """Id of the first of the tokens that is in the vocabulary."""
        ids = (self.backend.token_to_id(token) for token in tokens if token is not None)
        return next((number for number in ids if number is not None), None)

    def __repr__(self) -> str:
        return f"FastTokenizer({self.backend.get_vocab_size()} tokens)"

    def __deepcopy__(self, memo: dict[int, Any]) -> FastTokenizer:
        return self


def _word_numbers(word_ids: list[int | None]) -> NDArray[np.int32]:
    marks = np.array([-1 if word is None else word for word in word_ids], dtype=np.int64)
    is_start = np.ones(len(marks), dtype=bool)
    is_start[1:] = (marks[1:] != marks[:-1]) | (marks[1:] < 0)
    return (np.cumsum(is_start) - 1).astype(np.int32)


def _separator_ids(backend: tokenizers.Tokenizer, suffix: tuple[int, ...]) -> tuple[int, ...]:
    """Ids that the post-processor puts between the texts of a pair."""
    content = backend.encode("a", add_special_tokens=False).ids
    pair = backend.encode("a", "a", add_special_tokens=True).ids
    starts = [i for i in range(len(pair)) if pair[i : i + len(content)] == content]
    between = tuple(pair[starts[0] + len(content) : starts[-1]]) if len(starts) > 1 else ()
    # A decoder's post-processor puts nothing there; its end of text divides as well.
    return between or suffix


def _special_ids(backend: tokenizers.Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids that the post-processor puts before and after a text."""
    # A visible text marks where the two parts meet; an empty one would not.
    content = backend.encode("a", add_special_tokens=False).ids
    window = backend.encode("a", add_special_tokens=True).ids
    for start in range(len(window) - len(content) + 1):
        stop = start + len(content)
        if window[start:stop] == content:
            return tuple(window[:start]), tuple(window[stop:])
    raise ValueError(
        "encoder: the post-processor of its tokenizer.json changes the text itself; "
        "only special tokens before and after a text are supported."
    )
