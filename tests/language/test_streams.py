"""Streams: every token follows its own, none is lost, and little is held in memory."""

from __future__ import annotations

from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sktransfer.language.streams import balanced_run, token_streams


def make_texts(lengths):
    """Texts of ids that count up from 100, so that each token is told from all others."""
    stops = np.cumsum([100, *lengths])
    return [np.arange(a, b, dtype=np.int32) for a, b in pairwise(stops)]


def whole(text, prefix, suffix, reverse):
    tokens = [*prefix, *text.tolist(), *suffix]
    return tokens[::-1] if reverse else tokens


def read_streams(blocks):
    """Tokens of each stream, with what a model sees and predicts checked on the way."""
    blocks = list(blocks)
    if not blocks:
        return []
    assert len({len(block.token_ids) for block in blocks}) == 1
    inputs = np.concatenate([block.token_ids for block in blocks], axis=1)
    targets = np.concatenate([block.targets for block in blocks], axis=1)
    assert inputs.dtype == targets.dtype == np.int64
    sequences = []
    for ids, following in zip(inputs, targets, strict=True):
        n_targets = int((following >= 0).sum())
        assert (following[:n_targets] >= 0).all()
        assert (ids[n_targets:] == 0).all()
        assert np.array_equal(ids[1:n_targets], following[: max(n_targets - 1, 0)])
        sequences.append([*ids[:1].tolist(), *following[:n_targets].tolist()] if n_targets else [])
    return sequences


def split_texts(sequence, texts):
    """Numbers of the texts that a stream consists of; fails where it is made of anything else."""
    by_start = {text[0]: number for number, text in enumerate(texts)}
    numbers = []
    while sequence:
        number = by_start[sequence[0]]
        assert sequence[: len(texts[number])] == texts[number]
        sequence = sequence[len(texts[number]) :]
        numbers.append(number)
    return numbers


settings_of_streams = {
    "n_streams": st.integers(1, 6),
    "length": st.integers(1, 12),
    "run_tokens": st.integers(1, 40),
    "reverse": st.booleans(),
}


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 30), max_size=40), **settings_of_streams)
def test_every_token_is_read_once_in_whole_texts(lengths, n_streams, length, run_tokens, reverse):
    # Longer than one token each, so that no stream is without a target.
    texts = make_texts([size + 1 for size in lengths])
    shape = {"n_streams": n_streams, "length": length, "run_tokens": run_tokens, "reverse": reverse}
    sequences = read_streams(token_streams(iter(texts), prefix=(), suffix=(), **shape))
    expected = [whole(text, (), (), reverse) for text in texts]
    read = [split_texts(sequence, expected) for sequence in sequences]
    assert sorted(number for numbers in read for number in numbers) == list(range(len(texts)))
    assert all(numbers == sorted(numbers) for numbers in read)
    assert len(read) <= n_streams
    assert all(read)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 8), max_size=30),
    n_prefix=st.integers(0, 2),
    n_suffix=st.integers(0, 2),
    **settings_of_streams,
)
def test_special_tokens_surround_each_text(
    lengths, n_prefix, n_suffix, n_streams, length, run_tokens, reverse
):
    texts = make_texts(lengths)
    prefix, suffix = (1, 2)[:n_prefix], (3, 4)[:n_suffix]
    shape = {"n_streams": 1, "length": length, "run_tokens": run_tokens, "reverse": reverse}
    sequences = read_streams(token_streams(texts, prefix=prefix, suffix=suffix, **shape))
    expected = [token for text in texts for token in whole(text, prefix, suffix, reverse)]
    assert sequences == ([expected] if len(expected) > 1 else [])
    shape["n_streams"] = n_streams
    sequences = read_streams(token_streams(texts, prefix=prefix, suffix=suffix, **shape))
    missing = len(expected) - sum(map(len, sequences))
    # A stream of one token has nothing to predict.
    assert missing <= (n_streams if not sequences else sequences.count([]))
    assert {token for sequence in sequences for token in sequence} <= set(expected)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(2, 60), max_size=40), **settings_of_streams)
def test_blocks_are_full_until_the_end(lengths, n_streams, length, run_tokens, reverse):
    blocks = list(
        token_streams(
            make_texts(lengths),
            prefix=(),
            suffix=(),
            n_streams=n_streams,
            length=length,
            run_tokens=run_tokens,
            reverse=reverse,
        )
    )
    assert all(block.token_ids.shape[1] == length for block in blocks[:-1])
    assert all((block.targets[:, -1] >= 0).any() for block in blocks)
    n_targets = sum(int((block.targets >= 0).sum()) for block in blocks)
    n_rows = len(blocks[0].targets) if blocks else 0
    assert n_targets == sum(lengths) - n_rows


def test_runs_are_dealt_in_turn_and_go_on_in_any_stream():
    texts = [np.full(n, number) for number, n in enumerate([2, 2, 3, 2, 4], start=1)]
    blocks = list(token_streams(texts, prefix=(), suffix=(), n_streams=2, length=3, run_tokens=4))
    # Runs: 1 1 2 2, 3 3 3 4 4, 5 5 5 5.
    assert [block.token_ids.tolist() for block in blocks] == [
        [[1, 1, 2], [3, 3, 3]],
        [[2, 5, 5], [4, 0, 0]],
        [[5], [0]],
    ]
    assert [block.targets.tolist() for block in blocks] == [
        [[1, 2, 2], [3, 3, 4]],
        [[5, 5, 5], [4, -1, -1]],
        [[5], [-1]],
    ]


def test_a_long_text_is_a_run_of_its_own():
    texts = make_texts([3, 50, 3])
    sequences = read_streams(
        token_streams(texts, prefix=(), suffix=(), n_streams=3, length=7, run_tokens=10)
    )
    assert sequences == [text.tolist() for text in texts]


def test_lanes_without_a_run_are_dropped():
    texts = make_texts([5, 5])
    (block,) = token_streams(texts, prefix=(), suffix=(), n_streams=8, length=10, run_tokens=5)
    assert block.token_ids.shape == (2, 4)
    assert not list(token_streams([], prefix=(1,), suffix=(), n_streams=8, length=10, run_tokens=5))


def test_a_lane_of_one_token_has_nothing_to_predict():
    texts = [np.array([7]), np.array([8, 9])]
    (block,) = token_streams(texts, prefix=(), suffix=(), n_streams=2, length=4, run_tokens=1)
    assert block.token_ids.tolist() == [[0], [8]]
    assert block.targets.tolist() == [[-1], [9]]
    assert not list(
        token_streams(texts[:1], prefix=(), suffix=(), n_streams=2, length=4, run_tokens=1)
    )


def test_no_more_is_read_than_the_lanes_need():
    n_read = 0

    def endless():
        nonlocal n_read
        for number in count():
            text = np.full(7, number % 50)
            n_read += len(text)
            yield text

    stream = token_streams(
        endless(), prefix=(1,), suffix=(), n_streams=4, length=10, run_tokens=100
    )
    for number in range(1, 200):
        block = next(stream)
        assert block.token_ids.shape == (4, 10)
        assert n_read - number * 4 * 10 <= 4 * (100 + 8 + 10)


def test_balanced_lanes_end_at_about_the_same_time():
    rng = np.random.default_rng(0)
    texts = make_texts(rng.integers(5, 60, size=4000))
    n_tokens = sum(map(len, texts))
    run = balanced_run(n_tokens, 16)
    blocks = list(
        token_streams(texts, prefix=(), suffix=(), n_streams=16, length=35, run_tokens=run)
    )
    assert sum(block.targets.size for block in blocks) < 1.08 * n_tokens
    assert run > 4 * 35


def test_balanced_run_stays_within_its_bounds():
    assert balanced_run(0, 8) == balanced_run(3, 8) == 1
    assert balanced_run(10**12, 8) == 65_536
    assert balanced_run(16 * 8 * 100, 8) == 100


@pytest.mark.parametrize("name", ["n_streams", "length", "run_tokens"])
def test_bad_sizes_are_named_at_once(name):
    sizes = {"n_streams": 1, "length": 1, "run_tokens": 1, name: 0}
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        token_streams([], prefix=(), suffix=(), **sizes)
