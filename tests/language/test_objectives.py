from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from sktransfer.encoders import Encoder, new_lm_head, new_lstm
from sktransfer.language.corpus import TokenizedCorpus, check_corpus
from sktransfer.language.objectives import MaskedObjective, NextTokenObjective, cross_entropy
from sktransfer.nn import LanguageNetwork
from sktransfer.training import Progress, TrainingResult, train
from tests.toys import VOCABULARY, LetterTokenizer, ToyEncoder
from tests.training.test_parameters import PLAN

CPU = torch.device("cpu")
# After each letter comes the next one of its alphabet: a model of the last letter is enough.
TEXTS = ["abcdefg" * n for n in (1, 3, 2, 4, 1, 2, 5, 3)]
FIT = replace(PLAN, n_epochs=8, learning_rate=0.02, layer_decay=1.0, trainable_layers="all")
KINDS = ["lstm", "backward lstm", "attending", "masked"]


class Tokens(LetterTokenizer):
    """Letters that end with a special token, and may be hidden."""

    suffix = (38,)
    mask_id = 39


def objective_of(
    kind: str, *, dropout: float = 0.0, texts: list[str] = TEXTS
) -> NextTokenObjective | MaskedObjective:
    encoder: Encoder
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if "lstm" in kind:
            encoder = new_lstm(
                n_tokens=VOCABULARY,
                embedding_size=8,
                hidden_size=12,
                n_layers=2,
                dropout=dropout,
                reads_backward="backward" in kind,
            )
        else:
            encoder = ToyEncoder(dropout=dropout)
            encoder.is_causal = kind == "attending"
            encoder.lm_head = new_lm_head(encoder)
    tokenizer = Tokens()
    network = LanguageNetwork(encoder).eval()
    corpus = TokenizedCorpus(check_corpus(texts), tokenizer)
    where = {"device": CPU, "dtype": torch.float32}
    if kind == "masked":
        return MaskedObjective(
            network, corpus, tokenizer, batch_size=4, max_length=12, share=0.3, **where
        )
    return NextTokenObjective(network, corpus, tokenizer, n_streams=4, length=5, **where)


def fitted(
    objective: NextTokenObjective | MaskedObjective,
    plan=FIT,
    *,
    on_step_end: Callable[[int, Callable[[], Progress]], None] | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    return train(
        objective.network,
        objective,
        plan,
        device=CPU,
        rng=np.random.default_rng(0),
        on_epoch_end=lambda epoch, loss: False,
        on_step_end=on_step_end,
        progress=progress,
    )


def weights_of(objective: NextTokenObjective | MaskedObjective) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in objective.network.parameters()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [1, 7, 11])
def test_the_gradient_does_not_depend_on_the_token_budget(kind: str, budget: int) -> None:
    whole, parts = objective_of(kind), objective_of(kind)
    pairs = zip(
        whole.epoch(np.random.default_rng(1)), parts.epoch(np.random.default_rng(1)), strict=True
    )
    for number, (step, same) in enumerate(pairs):
        expected = whole.gradient(step, 10**9, np.random.default_rng(number))
        found = parts.gradient(same, budget, np.random.default_rng(number))
        assert found.count == expected.count
        torch.testing.assert_close(found.total, expected.total)
        for state, other in zip(parts.state(), whole.state(), strict=True):
            torch.testing.assert_close(state, other)
    assert number >= 3
    assert bool(whole.state()) is ("lstm" in kind)
    for (name, p), q in zip(
        parts.network.named_parameters(), whole.network.parameters(), strict=True
    ):
        assert p.grad is not None, name
        torch.testing.assert_close(p.grad, q.grad)


def test_the_state_is_carried_to_the_next_step() -> None:
    objective, alone = objective_of("lstm"), objective_of("lstm")
    first, second, *_ = objective.epoch(np.random.default_rng(0))
    objective.gradient(first, 10**9, np.random.default_rng(0))
    after = objective.gradient(second, 10**9, np.random.default_rng(0)).total
    fresh = alone.gradient(second, 10**9, np.random.default_rng(0)).total
    assert not torch.allclose(after, fresh)
    objective.epoch(np.random.default_rng(0))
    assert objective.state() == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls(kind: str) -> None:
    objective = objective_of(kind)
    before = cross_entropy(objective, 0)
    # Position-wise layers know no neighbors: the masked one learns how frequent letters are.
    most = 0.95 if kind == "masked" else 0.7
    curve = fitted(objective).loss_curve
    assert len(curve) == 8
    assert curve[-1] < 0.95 * curve[0]
    assert cross_entropy(objective, 0) < most * before


@pytest.mark.parametrize("kind", ["lstm", "attending"])
def test_every_token_but_the_first_of_a_lane_is_predicted(kind: str) -> None:
    objective = objective_of(kind)
    rng = np.random.default_rng(0)
    assert objective.n_steps  # counts the tokens, so that they can be dealt evenly
    steps = list(objective.epoch(rng))
    assert len(steps[0].token_ids) == 4
    count = sum(objective.loss(step, rng).count for step in steps)
    assert count == sum(len(text) + 1 for text in TEXTS) - 4


def test_the_share_of_the_tokens_is_hidden() -> None:
    objective = objective_of("masked")
    steps = list(objective.epoch(np.random.default_rng(0)))
    assert len(steps) == objective.n_steps
    for step in steps:
        loss = objective.loss(step, np.random.default_rng(0))
        assert loss.count == max(1, round(0.3 * step.maskable.sum()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_of_an_epoch_are_known_before_it(kind: str) -> None:
    objective = objective_of(kind, texts=TEXTS * 10)
    n_steps = objective.n_steps
    assert len(list(objective.epoch(np.random.default_rng(0)))) == pytest.approx(n_steps, rel=0.1)
    assert objective.n_steps == n_steps


@pytest.mark.parametrize("n_letters", [3, 9, 70])
def test_the_steps_of_streamed_texts_are_estimated(n_letters: int) -> None:
    rng = np.random.default_rng(0)
    texts = ["a" * int(n) for n in rng.integers(1, 2 * n_letters, size=400)]
    objective = objective_of("masked", texts=texts)
    objective.texts = TokenizedCorpus(check_corpus(texts), objective.tokenizer, memory_tokens=10)
    estimated = objective.n_steps
    assert objective.texts.lengths is None
    assert len(list(objective.epoch(rng))) == pytest.approx(estimated, rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_cross_entropy_is_deterministic_and_leaves_the_modes(kind: str) -> None:
    objective = objective_of(kind, dropout=0.5)
    module = objective.network.encoder.layers()[0]
    module.train()
    generator = torch.get_rng_state()
    first = cross_entropy(objective, 3)
    assert cross_entropy(objective, 3) == first
    assert (cross_entropy(objective, 4) == first) is (kind != "masked")
    assert module.training
    assert not objective.network.training
    assert torch.equal(torch.get_rng_state(), generator)


def test_cross_entropy_is_the_mean_over_the_tokens() -> None:
    objective = objective_of("attending", texts=["abc"])
    ids = torch.tensor([*Tokens().encode(["abc"])[0].tolist(), 38])[None]
    encoder = objective.network.encoder
    states = encoder(ids, torch.ones_like(ids))[0][0, :-1]
    logs = objective.network.log_probabilities(states)
    expected = -logs[torch.arange(3), ids[0, 1:]].mean()
    assert cross_entropy(objective, 0) == pytest.approx(expected.item(), rel=1e-5)


def test_nothing_to_predict_is_an_error() -> None:
    class NoEnd(Tokens):
        suffix = ()

    objective = objective_of("attending", texts=["a"])
    objective.tokenizer = NoEnd()
    with pytest.raises(ValueError, match="X has no token to predict"):
        cross_entropy(objective, 0)


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    objective = objective_of("masked")
    with pytest.raises(ValueError, match="no mask token"):
        MaskedObjective(
            objective.network,
            objective.texts,
            LetterTokenizer(),
            batch_size=4,
            max_length=12,
            share=0.3,
            device=CPU,
            dtype=torch.float32,
        )


class StopError(Exception):
    """The process ends."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last_step", [2, 7])
def test_a_resumed_run_ends_as_one_that_never_stopped(kind: str, last_step: int) -> None:
    plan = replace(FIT, n_epochs=2)
    kept = {}

    def stop(step_number: int, take: Callable[[], Progress]) -> None:
        if step_number == last_step:
            kept["progress"] = copy.deepcopy(take())
            raise StopError

    whole, stopped = objective_of(kind, dropout=0.3), objective_of(kind, dropout=0.3)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = fitted(whole, plan).loss_curve
        torch.manual_seed(5)
        with pytest.raises(StopError):
            fitted(stopped, plan, on_step_end=stop)
        fresh = objective_of(kind, dropout=0.3)
        fresh.network.load_state_dict(stopped.network.state_dict())
        torch.manual_seed(6)  # of another process
        curve = fitted(fresh, plan, progress=kept["progress"]).loss_curve
    torch.testing.assert_close(weights_of(fresh), weights_of(whole), rtol=0, atol=0)
    assert curve == expected
