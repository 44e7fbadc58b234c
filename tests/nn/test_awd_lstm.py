from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sktransfer.nn import AWDLSTM, LSTMDropout
from sktransfer.nn.awd_lstm import LockedDropout, WeightDropLSTM

NONE = LSTMDropout(0.0, 0.0, 0.0, 0.0, 0.0)
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]])


def network(dropout: LSTMDropout = NONE, *, n_tokens: int = 10) -> AWDLSTM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AWDLSTM(n_tokens, 6, 8, 2, dropout).eval()


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_two_pieces_with_carried_state_are_one_reading(cut: int) -> None:
    lstm = network()
    whole, end = lstm(IDS)
    first, state = lstm(IDS[:, :cut])
    second, last = lstm(IDS[:, cut:], state)
    for layer, start, rest in zip(whole, first, second, strict=True):
        torch.testing.assert_close(torch.cat([start, rest], dim=1), layer)
    for expected, reached in zip(end, last, strict=True):
        torch.testing.assert_close(reached, expected)
    fresh, _ = lstm(IDS[:, cut:])
    assert not torch.allclose(fresh[-1], second[-1])


def test_states_of_all_layers_and_no_gradient_into_the_step_before() -> None:
    states, reached = network().train()(IDS)
    assert [tuple(layer.shape) for layer in states] == [(2, 7, 6), (2, 7, 8), (2, 7, 6)]
    assert states[-1].requires_grad
    assert not any(part.requires_grad for layer in reached for part in layer)


@pytest.mark.parametrize("name", ["embedding", "input", "weight", "hidden", "output"])
def test_each_dropout_acts_while_training_only(name: str) -> None:
    # Enough words, so that some of those met are dropped.
    lstm = network(replace(NONE, **{name: 0.5}))
    expected = network()(IDS)[0][-1]
    torch.testing.assert_close(lstm(IDS)[0][-1], expected, rtol=0, atol=0)
    lstm.train()
    assert not torch.allclose(lstm(IDS)[0][-1], expected)
    assert not torch.allclose(lstm(IDS)[0][-1], lstm(IDS)[0][-1])


def test_no_dropout_trains_as_it_predicts() -> None:
    lstm = network()
    expected = lstm(IDS)[0][-1]
    torch.testing.assert_close(lstm.train()(IDS)[0][-1], expected)


def test_whole_words_are_dropped_at_all_their_places() -> None:
    lstm = network(replace(NONE, embedding=0.5), n_tokens=200).train()
    ids = torch.arange(200).repeat(1, 2)
    vectors = lstm.embed(ids)[:, 0]
    first, second = vectors[:200], vectors[200:]
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    dropped = (first == 0).all(dim=1)
    assert 60 < int(dropped.sum()) < 140
    torch.testing.assert_close(first[~dropped], 2 * lstm.embedding.weight[~dropped])


def test_a_locked_mask_is_the_same_over_time() -> None:
    dropout = LockedDropout(0.5).train()
    masked = dropout(torch.ones(5, 3, 100))
    torch.testing.assert_close(masked, masked[:1].expand(5, 3, 100), rtol=0, atol=0)
    assert set(masked.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(masked[0, 0], masked[0, 1])


def test_weight_drop_zeroes_recurrent_weights() -> None:
    layer = WeightDropLSTM(4, 4, weight_dropout=0.999, output_dropout=0.0)
    plain = torch.nn.LSTM(4, 4)
    plain.load_state_dict(layer.lstm.state_dict())
    inputs = torch.randn(6, 2, 4)
    torch.testing.assert_close(layer.eval()(inputs, None)[0], plain(inputs)[0])
    with torch.no_grad():
        plain.weight_hh_l0.zero_()
    torch.testing.assert_close(layer.train()(inputs, None)[0], plain(inputs)[0])
    # The weights themselves stay, and gradients reach them.
    assert bool(layer.lstm.weight_hh_l0.all())
    layer.weight_dropout = 0.5
    layer(inputs, None)[0].sum().backward()
    share = (layer.lstm.weight_hh_l0.grad == 0).float().mean()
    assert 0.25 < float(share) < 0.75


def test_rates_scale_together() -> None:
    assert LSTMDropout.scaled(0.4) == LSTMDropout(
        embedding=0.05, input=0.4, weight=0.5, hidden=pytest.approx(0.3), output=0.4
    )
    assert LSTMDropout.scaled(0.0) == NONE
    assert LSTMDropout.scaled(0.99).weight < 1
