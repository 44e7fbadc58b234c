"""Masking: BERT's shares, whole words, each window once an epoch."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sktransfer.language.corpus import TokenizedText
from sktransfer.language.masking import mask_tokens, masked_windows, n_windows

MASK = 4


def make_tokenizer(n_prefix=1, n_suffix=1):
    return SimpleNamespace(pad_id=0, prefix=(1, 5)[:n_prefix], suffix=(2, 3)[:n_suffix])


def make_texts(lengths, words=False):
    """Texts of ids that count up from 100."""
    stops = np.cumsum([100, *lengths])
    ids = [np.arange(a, b, dtype=np.int32) for a, b in pairwise(stops)]
    return [TokenizedText(part, part - 100 if words else None) for part in ids]


def draw(token_ids, maskable, words=None, seed=0, **parameters):
    parameters = {"mask_id": MASK, "n_tokens": 1000, **parameters}
    rng = np.random.default_rng(seed)
    return mask_tokens(token_ids, maskable, words, rng=rng, **parameters)


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(1, 30), st.floats(0.01, 1), st.integers(0, 2**32))
def test_only_maskable_tokens_are_touched(n_rows, n_columns, share, seed):
    rng = np.random.default_rng(seed)
    token_ids = rng.integers(1000, size=(n_rows, n_columns))
    maskable = rng.random(token_ids.shape) < 0.7
    before = token_ids.copy()
    corrupted, targets = draw(token_ids, maskable, seed=seed, share=share)
    assert np.array_equal(token_ids, before)
    chosen = targets >= 0
    assert not (chosen & ~maskable).any()
    assert np.array_equal(targets[chosen], token_ids[chosen])
    assert np.array_equal(corrupted[~chosen], token_ids[~chosen])
    n_maskable = int(maskable.sum())
    assert chosen.sum() == (max(round(share * n_maskable), 1) if n_maskable else 0)
    again = draw(token_ids, maskable, seed=seed, share=share)
    assert np.array_equal(again[0], corrupted)
    assert np.array_equal(again[1], targets)


def test_shares_are_those_of_bert():
    token_ids = np.random.default_rng(0).integers(10, 1000, size=(200, 200))
    corrupted, targets = draw(token_ids, np.ones_like(token_ids, dtype=bool))
    chosen = targets >= 0
    assert chosen.mean() == 0.15
    is_mask, is_same = corrupted[chosen] == MASK, corrupted[chosen] == targets[chosen]
    assert abs(is_mask.mean() - 0.8) < 0.02
    assert abs(is_same.mean() - 0.1) < 0.02
    random = corrupted[chosen][~is_mask & ~is_same]
    assert random.min() < 50
    assert 950 < random.max() < 1000
    # Every place is as likely as any other.
    assert abs(chosen[:, :100].mean() - 0.15) < 0.01
    assert abs(chosen[:100].mean() - 0.15) < 0.01


def test_words_are_chosen_whole():
    rng = np.random.default_rng(1)
    token_ids = rng.integers(10, 1000, size=(60, 90))
    words = np.cumsum(rng.random(token_ids.shape) < 0.4, axis=1).astype(np.int32)
    maskable = np.ones_like(token_ids, dtype=bool)
    maskable[:, [0, -1]] = False
    chosen = draw(token_ids, maskable, words)[1] >= 0
    assert not chosen[:, [0, -1]].any()
    kinds = [
        (row, word) for row in range(60) for word in np.unique(words[row][maskable[row]]).tolist()
    ]
    parts = [chosen[row][(words[row] == word) & maskable[row]] for row, word in kinds]
    assert all(part.all() or not part.any() for part in parts)
    assert sum(bool(part.any()) for part in parts) == round(0.15 * len(kinds))
    # The same number stands for other words in other windows.
    assert {chosen[row][words[row] == 5].any() for row in range(60)} == {True, False}
    assert abs(chosen[maskable].mean() - 0.15) < 0.03


def test_tokens_without_a_word_are_chosen_alone():
    token_ids = np.arange(100, 140).reshape(2, 20)
    words = np.full(token_ids.shape, -1, dtype=np.int32)
    _, targets = draw(token_ids, np.ones_like(token_ids, dtype=bool), words, share=0.25)
    assert (targets >= 0).sum() == 10


def test_one_token_at_least_is_chosen():
    token_ids = np.array([[1, 50, 2]])
    _, targets = draw(token_ids, np.array([[False, True, False]]), share=0.01)
    assert targets.tolist() == [[-1, 50, -1]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"share": 0.0}, "share=0.0"),
        ({"share": 1.5}, "share=1.5"),
        ({"mask_id": 1000}, "mask_id=1000 is not in a vocabulary"),
        ({"maskable": np.ones((1, 4), bool)}, "maskable has the shape"),
        ({"words": np.ones((3, 3), np.int32)}, "words has the shape"),
    ],
)
def test_bad_parameters_of_masking_are_named(changed, message):
    given = {"token_ids": np.ones((1, 3), np.int64), "maskable": np.ones((1, 3), bool)}
    with pytest.raises(ValueError, match=message):
        draw(**(given | changed))


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 40), max_size=60),
    st.integers(3, 20),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(0, 2),
)
def test_windows_hold_every_token_once(lengths, body, batch_size, n_prefix, n_suffix):
    tokenizer = make_tokenizer(n_prefix, n_suffix)
    n_special = n_prefix + n_suffix
    texts = make_texts(lengths, words=True)
    shape = {"max_length": body + n_special, "batch_size": batch_size}
    rng = np.random.default_rng(0)
    batches = list(masked_windows(iter(texts), tokenizer=tokenizer, rng=rng, **shape))
    content = []
    for batch in batches:
        rows = zip(batch.token_ids, batch.attention_mask, batch.maskable, batch.words, strict=True)
        for ids, mask, maskable, words in rows:
            n_tokens = int(mask.sum())
            assert n_tokens <= body + n_special
            assert (ids[n_tokens:] == 0).all()
            assert not mask[n_tokens:].any()
            inner = slice(n_prefix, n_tokens - n_suffix)
            window = ids[inner]
            assert np.array_equal(np.flatnonzero(maskable), np.arange(n_tokens)[inner])
            expected = [*tokenizer.prefix, *window, *tokenizer.suffix]
            assert ids[:n_tokens].tolist() == expected
            assert np.array_equal(np.diff(window), np.ones(len(window) - 1))
            assert np.array_equal(words[maskable], window - 100)
            assert (words[~maskable] == -1).all()
            content.append(window)
    counted = np.sort(np.concatenate([[], *content]))
    assert np.array_equal(counted, np.arange(100, 100 + sum(lengths)))
    assert len(content) == n_windows(np.array(lengths, dtype=int), body + n_special, n_special)
    assert len(batches) == -(-len(content) // batch_size)


def test_windows_of_a_text_are_nearly_equal_and_do_not_cross_texts():
    (batch,) = masked_windows(
        make_texts([11, 3]),
        tokenizer=make_tokenizer(),
        max_length=7,
        batch_size=8,
        rng=np.random.default_rng(0),
    )
    assert sorted(batch.maskable.sum(axis=1)) == [3, 3, 4, 4]
    starts = sorted(batch.token_ids[:, 1])
    assert starts == [100, 103, 107, 111]
    assert batch.words is None
    assert batch.token_ids.dtype == batch.attention_mask.dtype == np.int64
    assert batch.maskable.dtype == np.bool_


def test_batches_waste_little_and_differ_between_epochs():
    rng = np.random.default_rng(0)
    texts = make_texts(rng.integers(1, 200, size=1000))
    shape = {"tokenizer": make_tokenizer(), "max_length": 128, "batch_size": 16}
    first, second = (list(masked_windows(texts, rng=rng, **shape)) for _ in range(2))
    n_tokens = sum(int(batch.attention_mask.sum()) for batch in first)
    assert sum(batch.token_ids.size for batch in first) < 1.15 * n_tokens
    assert not np.array_equal(first[0].token_ids, second[0].token_ids)


def test_few_windows_are_read_at_a_time():
    n_read = 0

    def endless():
        nonlocal n_read
        while True:
            n_read += 1
            yield TokenizedText(np.full(3, 9, dtype=np.int32))

    stream = masked_windows(
        endless(),
        tokenizer=make_tokenizer(),
        max_length=8,
        batch_size=2,
        rng=np.random.default_rng(0),
    )
    for number in range(1, 200):
        assert len(next(stream).token_ids) == 2
        assert n_read <= 2 * number + 100


def test_bad_sizes_of_windows_are_named_at_once():
    tokenizer, rng = make_tokenizer(), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"max_length=2 leaves no room.*use at least 3"):
        masked_windows([], tokenizer=tokenizer, max_length=2, batch_size=1, rng=rng)
    with pytest.raises(ValueError, match="batch_size=0 must be"):
        masked_windows([], tokenizer=tokenizer, max_length=9, batch_size=0, rng=rng)
    with pytest.raises(ValueError, match="max_length=2 leaves no room"):
        n_windows(np.array([3]), max_length=2, n_special=2)
