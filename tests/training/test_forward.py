from __future__ import annotations

import numpy as np
import pytest
import torch

from sktransfer.encoders import resolve_encoder
from sktransfer.inputs.batches import collate_rows
from sktransfer.runtime import device_memory
from sktransfer.runtime.torch_private import prepack
from sktransfer.training import pooled_features
from sktransfer.training.frozen import LEAST_TOKENS, computed, prepacked_on_cpu
from tests._rounding import assert_same_numbers
from tests.toys import ToyEncoder, letter_rows, toy_model

TEXTS = ["abc" * 20, "b", "hello", "xyz" * 7, "", "b"]
CPU = torch.device("cpu")


def features(model, rows, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return pooled_features(model, rows, 0, device=CPU, dtype=dtype)


@pytest.mark.parametrize("max_length", [512, 9])
def test_rows_come_back_in_order_with_windows_pooled(max_length: int) -> None:
    rows = letter_rows(TEXTS, max_length=max_length)
    model = toy_model(ToyEncoder(), n_layers=2)
    found = features(model, rows)
    for row in range(len(TEXTS)):
        alone = model.features(collate_rows(rows, np.array([row]), 0))[0]
        torch.testing.assert_close(found[row], alone)


@pytest.fixture
def plain_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes go through the model itself, as on processors without prepacked weights."""
    monkeypatch.setattr(device_memory, "budget", 0)


@pytest.mark.usefixtures("plain_weights")
def test_out_of_memory_halves_the_batch() -> None:
    rows = letter_rows([f"{number:010}" for number in range(9)])
    plain = toy_model()
    expected = features(plain, rows)
    assert max(plain.encoder.passes) > 64
    small = toy_model()
    small.encoder.most_tokens = 64
    torch.testing.assert_close(features(small, rows), expected)


def test_one_window_too_large_raises() -> None:
    model = toy_model()
    model.encoder.most_tokens = 10
    with pytest.raises(torch.OutOfMemoryError):
        features(model, letter_rows(TEXTS))


def test_modes_are_restored_and_dropout_is_off() -> None:
    model = toy_model(ToyEncoder(dropout=0.9))
    model.train()
    model.encoder.blocks[0].eval()
    rows = letter_rows(TEXTS)
    torch.testing.assert_close(features(model, rows), features(model, rows), rtol=0, atol=0)
    assert model.training
    assert not model.encoder.blocks[0].training
    assert model.encoder.blocks[1].training


@pytest.mark.usefixtures("plain_weights")
def test_groups_are_halved_until_they_fit() -> None:
    tried: list[int] = []

    def compute(group: np.ndarray) -> int:
        tried.append(len(group))
        if len(group) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (a toy)")
        return int(group.sum())

    done = list(computed([np.arange(5), np.array([7])], compute, torch.device("cpu")))
    assert [group.tolist() for group, _ in done] == [[0, 1], [2], [3, 4], [7]]
    assert [result for _, result in done] == [1, 2, 7, 7]
    assert tried == [5, 2, 3, 1, 2, 1]

    def never(group: np.ndarray) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        list(computed([np.arange(3)], never, torch.device("cpu")))

    def broken(group: np.ndarray) -> None:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="mismatch"):
        list(computed([np.arange(3)], broken, torch.device("cpu")))


@pytest.mark.usefixtures("plain_weights")
def test_windows_of_several_lengths_share_a_pass(tiny_encoder: str, monkeypatch) -> None:
    encoder, _ = resolve_encoder(tiny_encoder).load()
    model = toy_model(encoder)
    n_tokens: list[int] = []
    read = encoder.model.forward

    def watched(**inputs):
        n_tokens.append(inputs["input_ids"].numel())
        return read(**inputs)

    rows = letter_rows(["a bird", "two", "birds sing", "two", "a longer line of letters"])
    expected = torch.cat([features(model, letter_rows([text])) for text in ["two", "birds sing"]])
    monkeypatch.setattr(encoder.model, "forward", watched)
    found = features(model, rows)
    assert n_tokens == [int(rows.lengths.sum())]
    assert_same_numbers(found[1:3].numpy(), expected.numpy())
    # Of fewer tokens than a matrix product takes another path for, the rest is filled up.
    features(model, letter_rows(["two"]))
    assert n_tokens[1:] == [LEAST_TOKENS]


@pytest.mark.skipif(prepack is None, reason="no prepacked weights on this processor")
def test_a_short_text_is_not_filled_up_where_products_round_alike(tiny_encoder: str) -> None:
    encoder, _ = resolve_encoder(tiny_encoder).load()
    model = toy_model(encoder)
    rows = letter_rows(["a bird", "two", "birds sing", "two", "a longer line of letters"])
    packed = prepacked_on_cpu(model, CPU, torch.float32)
    assert packed is not model
    assert packed.encoder is prepacked_on_cpu(model, CPU, torch.float32).encoder
    n_tokens: list[int] = []
    read = packed.encoder.model.forward

    def watched(**inputs):
        n_tokens.append(inputs["input_ids"].numel())
        return read(**inputs)

    packed.encoder.model.forward = watched
    found = features(model, rows)
    (alone,) = features(model, letter_rows(["two"]))
    assert n_tokens == [int(rows.lengths.sum()), int(rows.lengths[1])]
    assert int(rows.lengths[1]) < LEAST_TOKENS
    assert torch.equal(found[1], alone)


@pytest.mark.usefixtures("plain_weights")
def test_windows_that_cannot_be_packed_are_not_padded(tiny_encoder: str, monkeypatch) -> None:
    encoder, _ = resolve_encoder(tiny_encoder).load()
    model = toy_model(encoder)
    rows = letter_rows([n * "letter" for n in range(1, 9)])
    assert rows.lengths.sum() > encoder.max_length, "one pack alone"
    packed = features(model, rows)
    n_refused = 0
    forward = type(encoder).forward

    def refuse(groups, n_layers=1):
        nonlocal n_refused
        n_refused += 1

    def without_padding(ids, mask, *args, **kwargs):
        assert mask.all()
        return forward(encoder, ids, mask, *args, **kwargs)

    monkeypatch.setattr(encoder, "packed", refuse)
    monkeypatch.setattr(encoder, "forward", without_padding)
    assert_same_numbers(features(model, rows).numpy(), packed.numpy())
    assert n_refused == 1
