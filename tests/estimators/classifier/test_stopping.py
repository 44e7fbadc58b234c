"""Early stopping, and Ctrl-C."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from ..._reviews import reviews
from .rows import LABELS, NEW_LABELS, NEW_TEXTS, TEXTS


def test_early_stopping_on_a_part_of_the_rows(make):
    classifier = make(early_stopping=True, max_epochs=30, n_iter_no_change=2)
    classifier.fit(TEXTS, LABELS)
    assert classifier.n_iter_ == len(classifier.validation_scores_) < 30
    assert classifier.n_iter_ == classifier.best_epoch_ + 2
    best = classifier.validation_scores_[classifier.best_epoch_ - 1]
    assert best == max(classifier.validation_scores_)


def noisy_validation():
    """Rows whose labels are chance, so that the score wanders from epoch to epoch."""
    rng = np.random.default_rng(3)
    return reviews(60, seed=9)[0], rng.choice(["bad", "good"], 60)


@pytest.mark.parametrize("gradual_unfreezing", [False, True])
def test_early_stopping_keeps_the_best_epoch(make, gradual_unfreezing):
    X_val, y_val = noisy_validation()
    classifier = make(
        early_stopping=True,
        gradual_unfreezing=gradual_unfreezing,
        max_epochs=8,
        n_iter_no_change=8,
        learning_rate=1e-3,
        schedule="linear",
        lexical_weight=0.0,
        head_refit=False,  # the scores are of the head as the epochs left it
        precision="float32",
    ).fit(TEXTS, LABELS, X_val=X_val, y_val=y_val)
    scores = classifier.validation_scores_
    assert len(set(scores)) > 1
    assert classifier.best_epoch_ == 1 + int(np.argmax(scores))
    assert classifier.score(X_val, y_val) == pytest.approx(max(scores))


def test_validation_rows_without_early_stopping_are_only_watched(make):
    plain = make().fit(TEXTS, LABELS)
    watched = make().fit(TEXTS, LABELS, X_val=NEW_TEXTS, y_val=NEW_LABELS)
    assert len(watched.validation_scores_) == 2
    assert_array_equal(watched.predict_proba(NEW_TEXTS), plain.predict_proba(NEW_TEXTS))


def test_too_few_rows_to_hold_out(make):
    with pytest.raises(ValueError, match="validation_fraction"):
        make(early_stopping=True).fit(TEXTS[:6], LABELS[:6])


def press_ctrl_c(monkeypatch, at_step: int) -> None:
    """Send this process SIGINT, as the terminal does, within the given optimizer step."""
    step, count = torch.optim.AdamW.step, 0

    def counted(self, *args, **kwargs):
        nonlocal count
        count += 1
        if count == at_step:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)


def test_ctrl_c_keeps_what_there_is(make, monkeypatch):
    classifier = make(max_epochs=10)
    press_ctrl_c(monkeypatch, at_step=8)  # 3 steps an epoch
    with pytest.raises(KeyboardInterrupt, match=r"epoch 3 of 10: .* with the weights so far"):
        classifier.fit(TEXTS, LABELS)
    assert classifier.n_iter_ == 2
    assert classifier.score(NEW_TEXTS, NEW_LABELS) > 0.8
    assert not any(module.training for module in classifier.model_.modules())


def test_ctrl_c_in_the_first_epoch_keeps_the_probe_or_better(make, monkeypatch):
    classifier = make(max_epochs=10)
    press_ctrl_c(monkeypatch, at_step=1)
    with pytest.raises(KeyboardInterrupt, match="epoch 1 of 10"):
        classifier.fit(TEXTS, LABELS)
    assert classifier.n_iter_ == 0
    assert classifier.score(NEW_TEXTS, NEW_LABELS) > 0.8


@pytest.mark.parametrize("early_stopping", [True, False])
def test_ctrl_c_goes_back_to_the_best_weights(make, monkeypatch, early_stopping):
    X_val, y_val = noisy_validation()
    classifier = make(
        early_stopping=early_stopping,
        max_epochs=20,
        n_iter_no_change=20,
        learning_rate=1e-3,
        schedule="linear",
        lexical_weight=0.0,
        head_refit=False,  # the scores are of the head as the epochs left it
        precision="float32",
    )
    press_ctrl_c(monkeypatch, at_step=3 * 8 + 2)
    with pytest.raises(KeyboardInterrupt, match="best weights"):
        classifier.fit(TEXTS, LABELS, X_val=X_val, y_val=y_val)
    assert len(classifier.validation_scores_) == 8
    assert classifier.score(X_val, y_val) == pytest.approx(max(classifier.validation_scores_))
