"""Windows for masked language modeling, and the tokens to be predicted in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs.grouping import BUCKET_BATCHES, epoch_batches
from sktransfer.inputs.tokens import Tokenizer
from sktransfer.language.corpus import TokenizedText

_MASKED = 0.8
_REPLACED = 0.1


@dataclass(frozen=True, eq=False)
class MaskableBatch:
    """Windows of texts, padded to one length, as they are before masking.

    Attributes
    ----------
    token_ids : ndarray of int64, shape (n_windows, n_tokens)
    attention_mask : ndarray of int64, shape (n_windows, n_tokens)
        1 at a token, 0 at padding.
    maskable : ndarray of bool, shape (n_windows, n_tokens)
        Where tokens of the text are, rather than special tokens or padding.
    words : ndarray of int32, shape (n_windows, n_tokens), or None
        Number of the word of each token, -1 where there is none; None if the texts have no words.
    """

    token_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    maskable: NDArray[np.bool_]
    words: NDArray[np.int32] | None = None


def mask_tokens(
    token_ids: NDArray[np.int64],
    maskable: NDArray[np.bool_],
    words: NDArray[np.int32] | None,
    *,
    mask_id: int,
    n_tokens: int,
    share: float = 0.15,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the tokens to be predicted and corrupt them, as BERT does (Devlin et al. 2019).

    Of the drawn tokens 80 % become the mask token, 10 % a random token of the vocabulary, and
    10 % stay as they are.

    Parameters
    ----------
    token_ids : ndarray of int64, shape (n_windows, n_tokens)
        Tokens of a batch; left as they are.
    maskable : ndarray of bool, shape (n_windows, n_tokens)
        The tokens of which some are drawn.
    words : ndarray of int32, shape (n_windows, n_tokens), or None
        Number of the word of each token within its window: all tokens of a word are drawn
        together. A token whose number is negative is a word alone. With None each token is drawn
        by itself.
    mask_id : int
        Id of the mask token.
    n_tokens : int
        Number of tokens of the vocabulary.
    share : float, default=0.15
        Part of the tokens, or words, of the batch that is drawn; never less than one, if there is
        any.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    corrupted : ndarray of int64, shape (n_windows, n_tokens)
        The tokens that the model is to see.
    targets : ndarray of int64, shape (n_windows, n_tokens)
        The tokens that it is to predict, -1 at all others.

    Raises
    ------
    ValueError
        If `share` is not in (0, 1], `mask_id` is not in the vocabulary, or the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.language.masking import mask_tokens
    >>> ids = np.arange(40).reshape(2, 20)
    >>> corrupted, targets = mask_tokens(
    ...     ids, ids > 9, None, mask_id=4, n_tokens=50, rng=np.random.default_rng(0)
    ... )
    >>> int((targets >= 0).sum()), bool((corrupted == ids)[targets < 0].all())
    (4, True)
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share} must be above 0 and at most 1.")
    if not 0 <= mask_id < n_tokens:
        raise ValueError(f"mask_id={mask_id} is not in a vocabulary of {n_tokens} tokens.")
    for name, values in (("maskable", maskable), ("words", words)):
        if values is not None and values.shape != token_ids.shape:
            raise ValueError(
                f"{name} has the shape {values.shape}, but token_ids has {token_ids.shape}; "
                "they must be the same."
            )
    places = np.flatnonzero(maskable)
    if words is not None:
        places = _draw(_word_keys(places, words), share, rng, places)
    else:
        places = _draw(places, share, rng, places)
    corrupted, targets = token_ids.copy(), np.full(token_ids.shape, -1, dtype=np.int64)
    targets.flat[places] = token_ids.flat[places]
    fate = rng.random(len(places))
    corrupted.flat[places[fate < _MASKED]] = mask_id
    replaced = places[(fate >= _MASKED) & (fate < _MASKED + _REPLACED)]
    corrupted.flat[replaced] = rng.integers(n_tokens, size=len(replaced))
    return corrupted, targets


def masked_windows(
    texts: Iterable[TokenizedText],
    *,
    tokenizer: Tokenizer,
    max_length: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[MaskableBatch]:
    """Cut texts into windows and batch windows of like length, for one epoch.

    A text that is too long for one window becomes the fewest consecutive ones, of nearly equal
    length and without overlap. Every window is in one batch. The windows are shuffled among some
    fifty batches at a time, so that no more than these are in memory.

    Parameters
    ----------
    texts : iterable of TokenizedText
        Ids without special tokens; a text without any has no window.
    tokenizer : Tokenizer
        Gives the special tokens around each window and the padding.
    max_length : int
        Most tokens of a window, special tokens included.
    batch_size : int
        Windows of a batch; fewer in the last ones. There are ``ceil(n_windows / batch_size)``.
    rng : numpy.random.Generator
        Source of the shuffling.

    Returns
    -------
    iterator of MaskableBatch
        The batches, each as wide as its longest window.

    Raises
    ------
    ValueError
        If `max_length` leaves no room for text, or `batch_size` is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.language.corpus import TokenizedText
    >>> from sktransfer.language.masking import masked_windows
    >>> class Letters:
    ...     pad_id, prefix, suffix, separator = 0, (1,), (2,), (2,)
    >>> text = TokenizedText(np.array([7, 8, 9], dtype=np.int32))
    >>> (batch,) = masked_windows(
    ...     [text], tokenizer=Letters(), max_length=4, batch_size=8, rng=np.random.default_rng(0)
    ... )
    >>> sorted(batch.token_ids.tolist())
    [[1, 7, 2, 0], [1, 8, 9, 2]]
    """
    body = _body(max_length, len(tokenizer.prefix) + len(tokenizer.suffix))
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1.")
    return _shuffled(_cut(texts, body), tokenizer, batch_size, rng)


def n_windows(lengths: NDArray[np.integer], max_length: int, n_special: int) -> int:
    """Windows that `masked_windows` makes of texts.

    Parameters
    ----------
    lengths : ndarray of int, shape (n_texts,)
        Tokens of each text, special tokens not counted.
    max_length : int
        Most tokens of a window, special tokens included.
    n_special : int
        Special tokens of a window.

    Returns
    -------
    int
        Number of windows.

    Raises
    ------
    ValueError
        If `max_length` leaves no room for text.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.language.masking import n_windows
    >>> n_windows(np.array([3, 9]), max_length=6, n_special=2)
    4
    """
    return int((-(-np.asarray(lengths, dtype=np.int64) // _body(max_length, n_special))).sum())


def _body(max_length: int, n_special: int) -> int:
    """Tokens of a text in a window."""
    if max_length <= n_special:
        raise ValueError(
            f"max_length={max_length} leaves no room for text beside the encoder's {n_special} "
            f"special tokens; use at least {n_special + 1}."
        )
    return max_length - n_special


def _word_keys(places: NDArray[np.intp], words: NDArray[np.int32]) -> NDArray[np.int64]:
    """A number for each word of the batch, at each of `places`."""
    numbers = words.flat[places].astype(np.int64)
    window = places // words.shape[1]
    keys = window * (numbers.max(initial=0) + 1) + numbers
    return np.where(numbers < 0, -1 - places, keys)


def _draw(
    keys: NDArray[np.integer], share: float, rng: np.random.Generator, places: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Those of `places` whose keys are drawn."""
    if not len(keys):
        return places
    kinds, unit = np.unique(keys, return_inverse=True)
    is_drawn = np.zeros(len(kinds), dtype=np.bool_)
    n_drawn = max(round(share * len(kinds)), 1)
    is_drawn[rng.choice(len(kinds), n_drawn, replace=False, shuffle=False)] = True
    return places[is_drawn[unit]]


def _cut(texts: Iterable[TokenizedText], body: int) -> Iterator[TokenizedText]:
    for text in texts:
        n_tokens = len(text.ids)
        if 0 < n_tokens <= body:
            yield text
            continue
        count = -(-n_tokens // body)
        for number in range(count):
            part = slice(number * n_tokens // count, (number + 1) * n_tokens // count)
            yield TokenizedText(text.ids[part], None if text.words is None else text.words[part])


def _shuffled(
    windows: Iterator[TokenizedText],
    tokenizer: Tokenizer,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[MaskableBatch]:
    # The bucket of epoch_batches(), so that its batches are full ones.
    capacity = BUCKET_BATCHES * batch_size
    is_last = False
    while not is_last:
        held = list(islice(windows, capacity))
        is_last = len(held) < capacity
        lengths = np.fromiter((len(window.ids) for window in held), np.int64, len(held))
        for batch in epoch_batches(lengths, batch_size, rng):
            yield _collate([held[row] for row in batch.tolist()], tokenizer)


def _collate(windows: list[TokenizedText], tokenizer: Tokenizer) -> MaskableBatch:
    prefix, suffix = tokenizer.prefix, tokenizer.suffix
    lengths = np.array([len(window.ids) for window in windows])[:, None]
    n_tokens = len(prefix) + int(lengths.max()) + len(suffix)
    place = np.arange(n_tokens) - len(prefix)
    maskable = (place >= 0) & (place < lengths)
    is_token = place < lengths + len(suffix)
    token_ids = np.full(is_token.shape, tokenizer.pad_id, dtype=np.int64)
    token_ids[:, : len(prefix)] = prefix
    token_ids[maskable] = np.concatenate([window.ids for window in windows])
    token_ids[is_token & (place >= lengths)] = np.tile(suffix, len(windows))
    words: NDArray[np.int32] | None = None
    numbers = [window.words for window in windows if window.words is not None]
    if len(numbers) == len(windows):
        words = np.full(is_token.shape, -1, dtype=np.int32)
        words[maskable] = np.concatenate(numbers)
    return MaskableBatch(token_ids, is_token.astype(np.int64), maskable, words)
