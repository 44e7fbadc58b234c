"""Token ids of texts; each text is tokenized once per process."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Tokenizer(Protocol):
    """Turns texts into token ids; picklable and safe to share between threads.

    Attributes
    ----------
    pad_id : int
        Id that fills the end of shorter windows; a legal row of the embedding table.
    prefix, suffix : tuple of int
        Ids of the special tokens before and after every window, for example [CLS] and [SEP].
    separator : tuple of int
        Ids of the special tokens between two columns of a row.
    mask_id : int or None
        Id of the mask token.
    unknown_id : int or None
        Id of the token that stands for what the vocabulary lacks.
    n_tokens : int
        Size of the vocabulary, special tokens included.
    """

    pad_id: int
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    separator: tuple[int, ...]

    @property
    def mask_id(self) -> int | None: ...

    @property
    def unknown_id(self) -> int | None: ...

    @property
    def n_tokens(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Ids of each text in full: no special tokens, never truncated, never padded."""

    def encode_spans(
        self, texts: Sequence[str]
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int64]]]:
        """Ids of each text as `encode` gives them, and the characters (n_tokens, 2) of each."""

    def encode_words(
        self, texts: Sequence[str]
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]]:
        """Ids of each text as `encode` gives them, and the number of each token's word."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the tokens, without special ones."""


_keys: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def content_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[NDArray[np.int32]]:
    """Ids of each text, read-only; known texts are taken from the cache.

    Parameters
    ----------
    tokenizer : Tokenizer
        Always gives the same ids for the same text.
    texts : sequence of str
        Texts.

    Returns
    -------
    list of ndarray of int32
        What ``tokenizer.encode(texts)`` gives.

    Examples
    --------
    >>> class Letters:
    ...     def encode(self, texts):
    ...         return [np.array([ord(c) for c in t], dtype=np.int32) for t in texts]
    >>> [ids.tolist() for ids in content_ids(Letters(), ["ab", "c"])]
    [[97, 98], [99]]
    """
    if "torch" not in sys.modules:  # the cache's home imports it, and serving does without
        return tokenizer.encode(texts)
    from sktransfer.runtime import cache, unique_key

    if not cache.budget:
        return tokenizer.encode(texts)
    key = _keys.setdefault(tokenizer, unique_key())
    found = [cache.get(("tokens", key, text)) for text in texts]
    missing = [place for place, ids in enumerate(found) if ids is None]
    if missing:
        made = tokenizer.encode([texts[place] for place in missing])
        for place, ids in zip(missing, made, strict=True):
            ids.flags.writeable = False
            found[place] = ids
            text = texts[place]
            cache.put(("tokens", key, text), ids, n_bytes=ids.nbytes + len(text))
    return found
