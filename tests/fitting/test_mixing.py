"""Pretrained and fine-tuned weights are averaged (WiSE-FT)."""

import numpy as np
import pytest
import torch

from sktransfer import TransferTextClassifier

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


def test_labels_that_features_do_not_tell_apart_are_learned_half_way(tiny_encoder):
    noise = np.random.default_rng(0).permutation(LABELS)
    assert make(tiny_encoder).fit(TEXTS, noise).mixing_coefficient_ == pytest.approx(0.5)
    texts = [f"{word} {word} {word}" for word in ["good"] * 8 + ["money"] * 8]
    texts = [f"{text} {number}" for number, text in enumerate(texts)]
    assert make(tiny_encoder, C=1e4).fit(texts, LABELS).mixing_coefficient_ == 1


@pytest.mark.parametrize(
    "parameters",
    [{"early_stopping": True}, {"head_init": "random"}, {"max_epochs": 0}],
)
def test_other_fits_take_the_fine_tuned_weights(tiny_encoder, parameters):
    noise = np.random.default_rng(0).permutation(LABELS)
    assert make(tiny_encoder, **parameters).fit(TEXTS, noise).mixing_coefficient_ == 1


def test_multilabel_and_warm_start_take_the_fine_tuned_weights(tiny_encoder):
    targets = np.random.default_rng(0).integers(2, size=(16, 3))
    assert make(tiny_encoder).fit(TEXTS, targets).mixing_coefficient_ == 1
    noise = np.random.default_rng(0).permutation(LABELS)
    warm = make(tiny_encoder, warm_start=True).fit(TEXTS, noise)
    assert warm.mixing_coefficient_ < 1
    assert warm.fit(TEXTS, noise).mixing_coefficient_ == 1


def test_copies_and_order_of_rows_do_not_matter(tiny_encoder):
    noise = np.random.default_rng(0).permutation(LABELS)
    order = np.random.default_rng(1).permutation(16)
    fits = [
        make(tiny_encoder).fit(TEXTS, noise, sample_weight=np.arange(1, 17) % 2 + 1),
        make(tiny_encoder).fit(
            [TEXTS[i] for i in order], noise[order], sample_weight=(np.arange(1, 17) % 2 + 1)[order]
        ),
        make(tiny_encoder).fit(
            [*TEXTS, *TEXTS[::2]], np.append(noise, noise[::2]), sample_weight=np.ones(24)
        ),
    ]
    first, *others = (one.mixing_coefficient_ for one in fits)
    assert others == pytest.approx([first] * 2, abs=1e-6)
