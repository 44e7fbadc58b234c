from __future__ import annotations

import numpy as np
import pytest
import torch

from sktransfer.encoders import BidirectionalLSTMEncoder, Encoder, new_lm_head, new_lstm
from sktransfer.inputs import collate_rows, encode_rows
from sktransfer.inputs.batches import Batch
from sktransfer.language.auxiliary import AuxiliaryLanguage
from sktransfer.nn import Head, TransferModel
from sktransfer.training import EncodedDataset, RowObjective
from tests.toys import VOCABULARY, LetterTokenizer, ToyEncoder, letter_rows
from tests.training.test_loop import cross_entropy

CPU = torch.device("cpu")
WORDS = ["abcdef", "ba", "cabac", "fedcbafed", "ab", "dcd"]
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])
KINDS = ["forward", "backward", "both", "attending", "masked"]


class Marked(LetterTokenizer):
    prefix, suffix, separator, mask_id = (36,), (37,), (38,), 39


def lstm(reads_backward: bool) -> Encoder:
    return new_lstm(
        n_tokens=VOCABULARY,
        embedding_size=6,
        hidden_size=8,
        n_layers=2,
        dropout=0.0,
        reads_backward=reads_backward,
    )


def encoder_of(kind: str) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "both":
            return BidirectionalLSTMEncoder(lstm(False), lstm(True)).eval()
        if kind in ("forward", "backward"):
            return lstm(kind == "backward").eval()
        encoder = ToyEncoder()
        encoder.is_causal = kind == "attending"
        encoder.lm_head = new_lm_head(encoder)
        return encoder.eval()


def batch_of(words: list[str], tokenizer: LetterTokenizer) -> Batch:
    rows = encode_rows(words, tokenizer, max_length=16, long_texts="window")
    return collate_rows(rows, np.arange(len(words)), tokenizer.pad_id)


def gradients(kind: str, weight: float | None, budget: int) -> dict[str, torch.Tensor]:
    """Gradient of one step over all rows."""
    encoder, tokenizer = encoder_of(kind), Marked()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = Head(encoder.hidden_size, 2, scale=5.0, dropout=0.0)
    model = TransferModel(encoder, head, pooling="mean", n_layers=1).eval()
    rows = letter_rows(WORDS, max_length=16)
    data = EncodedDataset(WORDS, rows, LABELS, np.ones(6), np.ones(6), 0)
    objective = RowObjective(
        model,
        data,
        cross_entropy,
        6,
        device=CPU,
        dtype=torch.float32,
        auxiliary=None if weight is None else AuxiliaryLanguage(encoder, tokenizer, weight),
    )
    loss = objective.gradient(np.arange(6), budget, np.random.default_rng(0))
    assert loss.count == 6
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_causal_targets_are_the_next_tokens() -> None:
    for kind in ("forward", "attending"):
        batch = batch_of(["abc", "a"], Marked())
        (targets,) = AuxiliaryLanguage(encoder_of(kind), Marked(), 1.0).targets(batch, None).tokens
        a, b, c = Marked().encode(["abc"])[0].tolist()
        assert targets.tolist() == [[a, b, c, 37, -1], [a, 37, -1, -1, -1]]


def test_backward_targets_are_the_tokens_before() -> None:
    batch = batch_of(["abc", "a"], Marked())
    cloze = AuxiliaryLanguage(encoder_of("backward"), Marked(), 1.0).targets(batch, None)
    a, b, c = Marked().encode(["abc"])[0].tolist()
    assert cloze.token_ids is None
    assert cloze.tokens[0].tolist() == [[-1, 36, a, b, c], [-1, 36, a, -1, -1]]
    assert cloze.count == 6


def test_each_of_two_ways_predicts_what_it_has_not_read() -> None:
    batch, encoder = batch_of(WORDS, Marked()), encoder_of("both")
    both = AuxiliaryLanguage(encoder, Marked(), 2.0)
    cloze = both.targets(batch, np.random.default_rng(0))
    states = encoder(batch.token_ids, batch.attention_mask)[0]
    losses = []
    for way, targets in zip(encoder.directions_apart(), cloze.tokens, strict=True):
        alone = AuxiliaryLanguage(way, Marked(), 2.0)
        own = alone.targets(batch, np.random.default_rng(0))
        torch.testing.assert_close(own.tokens[0], targets)
        losses.append(alone.loss(batch, own, way(batch.token_ids, batch.attention_mask)[0]))
    torch.testing.assert_close(both.loss(batch, cloze, states), sum(losses) / 2)


def test_masked_targets_are_tokens_of_the_texts() -> None:
    batch, auxiliary = (
        batch_of(WORDS, Marked()),
        AuxiliaryLanguage(encoder_of("masked"), Marked(), 1),
    )
    content = batch.attention_mask.bool() & (batch.token_ids < 36)
    met = torch.zeros_like(content)
    for seed in range(60):
        cloze = auxiliary.targets(batch, np.random.default_rng(seed))
        chosen = cloze.tokens[0] >= 0
        met |= chosen
        torch.testing.assert_close(cloze.tokens[0][chosen], batch.token_ids[chosen])
        torch.testing.assert_close(cloze.token_ids[~chosen], batch.token_ids[~chosen])
        assert cloze.count == round(0.15 * int(content.sum()))
    assert torch.equal(met, content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_of_zero_is_none_at_all(kind: str) -> None:
    without, zero = gradients(kind, None, 10**9), gradients(kind, 0.0, 10**9)
    for name, gradient in without.items():
        torch.testing.assert_close(zero[name], gradient)
    some = gradients(kind, 0.5, 10**9)
    assert any(not torch.allclose(some[name], gradient) for name, gradient in without.items())
    heads = [name for name in some if "lm_head" in name]
    assert heads
    assert all(bool(some[name].any()) for name in heads)


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize("budget", [9, 20])
def test_parts_of_a_batch_add_up_to_its_gradient(kind: str, budget: int) -> None:
    whole, parts = gradients(kind, 0.5, 10**9), gradients(kind, 0.5, budget)
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


def test_parts_of_a_masked_batch_hide_tokens_too() -> None:
    parts = gradients("masked", 0.5, 9)
    assert all(bool(g.any()) for name, g in parts.items() if "lm_head" in name)


def test_an_encoder_that_cannot_hide_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lm_weight: .* mask token"):
        AuxiliaryLanguage(encoder_of("masked"), LetterTokenizer(), 0.5)
