"""Which rows or windows are computed together."""

import numpy as np
from numpy.typing import NDArray

BUCKET_BATCHES = 50
_LENGTH_NOISE = 0.1


def epoch_batches(
    lengths: NDArray[np.integer], batch_size: int, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Draw the batches of one epoch: every row once, rows of like length together.

    Rows are shuffled into buckets of some fifty batches, sorted by length within a bucket and cut;
    the batches come in random order. Batches at the end share their rows evenly, so that none is
    left with a single row.

    Parameters
    ----------
    lengths : ndarray of int, shape (n_rows,)
        Tokens of each row.
    batch_size : int
        Most rows of a batch.
    rng : numpy.random.Generator
        Source of the shuffling.

    Returns
    -------
    list of ndarray of int
        Row numbers of each batch.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import epoch_batches
    >>> batches = epoch_batches(np.array([3, 90, 4, 80]), 2, np.random.default_rng(0))
    >>> sorted(sorted(batch.tolist()) for batch in batches)
    [[0, 2], [1, 3]]
    """
    lengths = np.asarray(lengths)
    order = rng.permutation(len(lengths))
    # Without noise a small set would be cut into the same batches in every epoch.
    keys = lengths[order] * (1 + _LENGTH_NOISE * rng.random(len(order)))
    bucket_size = BUCKET_BATCHES * batch_size
    batches: list[NDArray[np.intp]] = []
    for start in range(0, len(order), bucket_size):
        bucket = slice(start, start + bucket_size)
        rows = order[bucket][np.argsort(keys[bucket], kind="stable")]
        batches += np.array_split(rows, -(-len(rows) // batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


def split_by_tokens(lengths: NDArray[np.integer], token_budget: int) -> list[NDArray[np.intp]]:
    """Group items, longest first, so that no padded group exceeds a number of tokens.

    Parameters
    ----------
    lengths : ndarray of int, shape (n_items,)
        Tokens of each item.
    token_budget : int
        Most tokens of a group, padding included; a single item may exceed it.

    Returns
    -------
    list of ndarray of int
        Item numbers of each group; together each item once. ``out[np.concatenate(groups)] =
        results`` restores the order.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import split_by_tokens
    >>> [group.tolist() for group in split_by_tokens(np.array([8, 30, 8, 8]), 16)]
    [[1], [0, 2], [3]]
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    by_length = lengths[order].tolist()
    groups: list[NDArray[np.intp]] = []
    start = 0
    while start < len(order):
        stop = start + max(1, token_budget // max(int(by_length[start]), 1))
        groups.append(order[start:stop])
        start = stop
    return groups


def split_evenly(lengths: NDArray[np.integer], n_groups: int) -> list[NDArray[np.intp]]:
    """Group items, longest first, so that the groups have about the same number of tokens.

    Parameters
    ----------
    lengths : ndarray of int, shape (n_items,)
        Tokens of each item, at least one.
    n_groups : int
        Number of groups; those without an item are empty.

    Returns
    -------
    list of ndarray of int
        Item numbers of each group.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs.grouping import split_evenly
    >>> [group.tolist() for group in split_evenly(np.array([8, 30, 8, 8]), 2)]
    [[1], [0, 2, 3]]
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    ends = lengths[order].cumsum()
    group = ((ends - lengths[order] / 2) * n_groups / ends[-1]).astype(np.intp)
    return [order[group == number] for number in range(n_groups)]


def split_by_width(
    lengths: NDArray[np.integer], multiple: int, token_budget: int
) -> list[NDArray[np.intp]]:
    """Group items whose lengths round up to the same width, widest first.

    Those that fill the width are apart from those that need padding: attention without a mask may
    take another path, and a group's results should depend on nothing but the item.

    Parameters
    ----------
    lengths : ndarray of int, shape (n_items,)
        Tokens of each item.
    multiple : int
        Widths are multiples of it.
    token_budget : int
        Most tokens of a group, padding included; a single item may exceed it.

    Returns
    -------
    list of ndarray of int
        Item numbers of each group.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs.grouping import split_by_width
    >>> [group.tolist() for group in split_by_width(np.array([7, 30, 8, 9]), 8, 64)]
    [[1], [3], [2], [0]]
    """
    lengths = np.asarray(lengths)
    widths = -(-lengths // multiple) * multiple
    kinds = 2 * widths + (lengths == widths)
    groups: list[NDArray[np.intp]] = []
    for kind in np.unique(kinds)[::-1].tolist():
        items = np.flatnonzero(kinds == kind)
        n_items = max(1, token_budget // max(kind // 2, 1))
        groups += np.split(items, range(n_items, len(items), n_items))
    return groups
