"""Pretrained and fine-tuned weights are averaged (WiSE-FT)."""

import numpy as np
import pytest
import torch

from sktransfer import TransferTextClassifier
from sktransfer.fitting.probe import Probe

GOOD = ["good", "best", "nice", "happy", "excellent", "wonderful", "fun", "perfect"]
BAD = ["bad", "awful", "terrible", "boring", "poor", "worst", "hate", "ugly"]
TEXTS = [f"the {word} film" for word in GOOD + BAD]
LABELS = np.repeat([1, 0], 8)


def make(encoder, **parameters):
    defaults = {"max_epochs": 2, "device": "cpu", "precision": "float32", "random_state": 0}
    return TransferTextClassifier(encoder, **{**defaults, **parameters})


def weights_of(classifier):
    return {name: value.detach() for name, value in classifier.model_.encoder.named_parameters()}


@pytest.mark.parametrize("head_refit", [True, False])
def test_weights_lie_between_pretrained_and_fine_tuned(tiny_encoder, head_refit):
    fits = {
        share: make(
            tiny_encoder, mixing_coefficient=share, trainable_layers=1, head_refit=head_refit
        ).fit(TEXTS, LABELS)
        for share in (0.25, 1.0)
    }
    probe = make(tiny_encoder, max_epochs=0).fit(TEXTS, LABELS)
    start, mixed, tuned = (weights_of(one) for one in (probe, fits[0.25], fits[1.0]))
    moved = [name for name in start if not torch.equal(start[name], tuned[name])]
    assert moved
    for name, value in mixed.items():
        torch.testing.assert_close(value, start[name] + 0.25 * (tuned[name] - start[name]))
        if name not in moved:
            assert torch.equal(value, start[name])
    assert fits[0.25].mixing_coefficient_ == 0.25


def test_shared_weights_are_not_written_to(tiny_encoder):
    before = make(tiny_encoder, max_epochs=0).fit(TEXTS, LABELS).predict_proba(TEXTS)
    make(tiny_encoder, mixing_coefficient=0.5).fit(TEXTS, LABELS)
    after = make(tiny_encoder, max_epochs=0).fit(TEXTS, LABELS).predict_proba(TEXTS)
    np.testing.assert_array_equal(before, after)


def test_few_rows_go_half_way(tiny_encoder, monkeypatch):
    assert make(tiny_encoder).fit(TEXTS, LABELS).mixing_coefficient_ == 0.5
    monkeypatch.setattr("sktransfer.fitting.mixing._FEW_ROWS", 15)
    assert make(tiny_encoder).fit(TEXTS, LABELS).mixing_coefficient_ == 0.75


def test_the_head_is_regularized_as_its_weights_are_averaged(tiny_encoder, monkeypatch):
    solved = []
    solve = Probe.solve_head

    def watch(probe, C, **others):
        solved.append(C)
        solve(probe, C, **others)

    monkeypatch.setattr(Probe, "solve_head", watch)
    for share in (1.0, 0.5):
        make(tiny_encoder, C=16.0, mixing_coefficient=share).fit(TEXTS, LABELS)
    # Of the probe, and of the refit: that of fine-tuned features of two classes, and half way.
    assert solved == pytest.approx([16, 1, 16, 4])
    monkeypatch.setattr("sktransfer.fitting.mixing._FEW_ROWS", 15)
    solved.clear()
    make(tiny_encoder, C=16.0).fit(TEXTS, LABELS)
    assert solved == [16, 1]


def test_pairs_take_the_fine_tuned_weights(tiny_encoder):
    pairs = [(text, text[::-1]) for text in TEXTS]
    assert make(tiny_encoder).fit(pairs, LABELS).mixing_coefficient_ == 1


@pytest.mark.parametrize(
    "parameters",
    [{"early_stopping": True}, {"head_init": "random"}, {"max_epochs": 0}],
)
def test_other_fits_take_the_fine_tuned_weights(tiny_encoder, parameters):
    assert make(tiny_encoder, **parameters).fit(TEXTS, LABELS).mixing_coefficient_ == 1


def test_multilabel_and_warm_start_take_the_fine_tuned_weights(tiny_encoder):
    targets = np.random.default_rng(0).integers(2, size=(16, 3))
    assert make(tiny_encoder).fit(TEXTS, targets).mixing_coefficient_ == 1
    warm = make(tiny_encoder, warm_start=True).fit(TEXTS, LABELS)
    assert warm.mixing_coefficient_ == 0.5
    assert warm.fit(TEXTS, LABELS).mixing_coefficient_ == 1
