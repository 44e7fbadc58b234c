from __future__ import annotations

import pickle

import pytest
import torch

from sktransfer.encoders import (
    BidirectionalLSTMEncoder,
    Encoder,
    EncoderHandle,
    LSTMEncoder,
    new_lstm,
    resolve_encoder,
)
from sktransfer.language.vocabulary import train_tokenizer
from sktransfer.nn import LMHead, LMHeadShape

LENGTHS = [11, 3, 7]
KINDS = ["forward", "backward", "both"]


def lstm(*, reads_backward: bool = False, hidden_size: int = 8, seed: int = 0) -> LSTMEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return new_lstm(
            n_tokens=20,
            embedding_size=6,
            hidden_size=hidden_size,
            n_layers=2,
            dropout=0.4,
            reads_backward=reads_backward,
        ).eval()


def encoder_of(kind: str) -> Encoder:
    if kind == "both":
        return BidirectionalLSTMEncoder(lstm(), lstm(reads_backward=True, seed=1)).eval()
    return lstm(reads_backward=kind == "backward")


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(1, 20, (3, 11), generator=generator)
    mask = (torch.arange(11) < torch.tensor(LENGTHS)[:, None]).long()
    return ids * mask, mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk_length", [1, 4, 11])
def test_chunks_do_not_change_the_states(kind: str, chunk_length: int) -> None:
    encoder = encoder_of(kind)
    expected = encoder(*windows())[0]
    encoder.set_chunk_length(chunk_length)
    torch.testing.assert_close(encoder(*windows())[0], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_change_the_states_of_a_row(kind: str) -> None:
    encoder, (ids, mask) = encoder_of(kind), windows()
    together = encoder(ids, mask)[0]
    for row, length in enumerate(LENGTHS):
        alone = encoder(ids[row : row + 1, :length], mask[row : row + 1, :length])[0][0]
        torch.testing.assert_close(together[row, :length], alone)


def test_backward_is_forward_on_the_text_turned_around() -> None:
    forward, backward = lstm(), lstm(reads_backward=True)
    ids, mask = windows()
    states = backward(ids[:1], mask[:1])[0]
    torch.testing.assert_close(states, forward(ids[:1].flip(1), mask[:1])[0].flip(1))
    assert not torch.allclose(states, forward(ids[:1], mask[:1])[0])
    assert forward.is_causal
    assert (backward.is_causal, backward.n_backward, forward.n_backward) == (False, 6, 0)


def test_two_ways_are_joined_token_by_token() -> None:
    both, batch = encoder_of("both"), windows()
    assert isinstance(both, BidirectionalLSTMEncoder)
    states = both(*batch)[0]
    forward, backward = both.directions_apart()
    torch.testing.assert_close(states[:, :, :6], forward(*batch)[0], rtol=0, atol=0)
    torch.testing.assert_close(states[:, :, 6:], backward(*batch)[0], rtol=0, atol=0)
    assert (both.hidden_size, both.n_backward, both.is_causal) == (12, 6, False)
    assert len(both.layers()) == 2
    placed = {id(p) for m in [*both.layers(), *both.embedding_modules()] for p in m.parameters()}
    both.drop_lm_heads()
    assert placed == {id(p) for p in both.parameters()}


def test_layers_of_unequal_width_cannot_be_pooled_together() -> None:
    with pytest.raises(ValueError, match="pooling_layers at 1"):
        lstm()(*windows(), n_layers=2)
    states = lstm(hidden_size=6)(*windows(), n_layers=3)
    assert [tuple(layer.shape) for layer in states] == [(3, 11, 6)] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_handle_comes_back_bit_equal(kind: str, tmp_path) -> None:
    encoder = encoder_of(kind)
    texts = [" ".join(f"w{number}" for number in range(18))]
    tokenizer = train_tokenizer(texts, architecture="awd_lstm", tokens="word")
    handle = EncoderHandle.from_modules(encoder, tokenizer, name="mine")
    handle.save(tmp_path / "saved")
    copies = [pickle.loads(pickle.dumps(handle)), resolve_encoder(tmp_path / "saved")]
    expected = encoder.state_dict()
    assert copies[0] == handle
    for copy in copies:
        again, read = copy.load(lm_head=True)
        assert again.state_dict().keys() == expected.keys()
        for name, value in again.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
        torch.testing.assert_close(again(*windows())[0], encoder(*windows())[0], rtol=0, atol=0)
        assert read.encode(texts)[0].tolist() == tokenizer.encode(texts)[0].tolist()
        bare, _ = copy.load()
        assert not any("lm_head" in name for name, _ in bare.named_parameters())


def test_cutoffs_are_kept(tmp_path) -> None:
    encoder = lstm()
    encoder.lm_head = LMHead(LMHeadShape(6, 6, 20, cutoffs=(5, 9)))
    tokenizer = train_tokenizer(["a b"], architecture="awd_lstm", tokens="word")
    EncoderHandle.from_modules(encoder, tokenizer, name="mine").save(tmp_path)
    again, _ = resolve_encoder(tmp_path).load(lm_head=True)
    assert again.lm_head is not None
    assert again.lm_head.shape.cutoffs == (5, 9)
