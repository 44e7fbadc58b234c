"""Scores of a fine-tuned classifier are divided by a temperature."""

import weakref

import numpy as np
import pytest
from scipy.special import softmax

from sktransfer import TransferTextClassifier
from sktransfer.fitting import fit
from sktransfer.fitting.probe import Probe, _folds
from sktransfer.fitting.temperature import _best_temperature
from sktransfer.runtime import cache
from tests.fitting.test_mixing import LABELS, TEXTS, make


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_scores_were_drawn_at_is_found(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    codes = np.array([rng.choice(3, p=row) for row in softmax(logits, axis=1)])
    found = _best_temperature(logits * temperature, codes, np.ones(len(codes)))
    assert found == pytest.approx(temperature, rel=0.1)


def test_the_temperature_of_a_probe_is_bounded():
    scores, codes = np.eye(4), np.arange(4)
    assert _best_temperature(scores, codes, np.ones(4)) == pytest.approx(0.25, rel=1e-3)
    assert _best_temperature(-scores, codes, np.ones(4)) == pytest.approx(5, rel=1e-3)


def test_rows_of_a_class_are_spread_over_the_folds():
    codes = np.array([2, 0, 1, 0, 0, 2, 0, 0, 0, 0])
    folds = _folds(codes)
    assert sorted(folds[codes == 0]) == [0, 0, 1, 1, 2, 3, 4]
    assert sorted(folds[codes == 2]) == [0, 1]
    assert folds[codes == 1] == [-1]


def cross_validated(monkeypatch, encoder, texts, labels):
    """Arguments of the solver, and what cross-validation gives."""
    solved, found = [], []
    scores_of, solve = Probe.cross_validated_scores, Probe._solve

    def watch(probe, C):
        solved.clear()  # without the probe
        found.append(scores_of(probe, C))
        return found[-1]

    def note(probe, inputs, targets, weights, C):
        solved.append((inputs, targets.numpy()))
        return solve(probe, inputs, targets, weights, C)

    cache.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Probe, "cross_validated_scores", watch)
        patch.setattr(Probe, "_solve", note)
        make(encoder, label_texts=None).fit(texts, labels)
    return solved[:-1], found[0]  # without the refit


def test_no_row_is_scored_by_a_model_that_has_seen_it(tiny_encoder, monkeypatch):
    solved, (scores, codes, weights) = cross_validated(monkeypatch, tiny_encoder, TEXTS, LABELS)
    assert [len(inputs) for inputs, _ in solved] == [12, 12, 12, 14, 14]
    assert all(set(targets) == {0, 1} for _, targets in solved)
    seen = np.concatenate([inputs for inputs, _ in solved])
    _, n_times = np.unique(seen, axis=0, return_counts=True)
    np.testing.assert_array_equal(n_times, np.full(16, 4))
    np.testing.assert_array_equal(np.sort(codes), np.sort(LABELS))
    assert scores.shape == (16, 2)
    np.testing.assert_array_equal(weights, np.ones(16))


def test_one_fold_of_many_rows_is_enough(tiny_encoder, monkeypatch):
    monkeypatch.setattr("sktransfer.fitting.probe._MANY_ROWS", 15)
    solved, (scores, codes, _) = cross_validated(monkeypatch, tiny_encoder, TEXTS, LABELS)
    assert [len(inputs) for inputs, _ in solved] == [12]
    assert scores.shape == (4, 2)
    assert sorted(codes) == [0, 0, 1, 1]


def test_the_features_of_the_probe_are_not_kept_during_the_training(tiny_encoder, monkeypatch):
    probes, alive = weakref.WeakSet(), []
    monkeypatch.setattr(
        fit, "score_temperature", lambda _, probe: probes.add(probe) or float(len(probes))
    )
    monkeypatch.setattr(
        fit,
        "_fine_tune",
        lambda *args, train=fit._fine_tune: alive.append(len(probes)) or train(*args),
    )
    make(tiny_encoder).fit(TEXTS, LABELS)
    assert alive == [0]


def test_a_class_of_one_row_or_without_weight_says_nothing(tiny_encoder, monkeypatch):
    labels = ["a", *LABELS[1:].astype(str)]
    _, (_, codes, _) = cross_validated(monkeypatch, tiny_encoder, TEXTS, labels)
    np.testing.assert_array_equal(np.sort(codes), np.sort(LABELS[1:]))
    lonely = make(tiny_encoder, label_texts=None).fit(TEXTS[:3], ["a", "b", "c"])
    assert lonely.temperature_ == 1.25
    weightless = make(tiny_encoder, label_texts=None, class_weight={"a": 0, "b": 1})
    assert weightless.fit(TEXTS[:4], ["a", "a", "a", "b"]).temperature_ == 1.25


def test_scores_are_divided_by_it(tiny_encoder, monkeypatch):
    scores = {}
    for divisor in (1.0, 2.0):
        monkeypatch.setattr(fit, "score_temperature", lambda *_, t=divisor: t)
        classifier = make(tiny_encoder).fit(TEXTS, LABELS)
        assert classifier.lexical_ is not None
        assert classifier.temperature_ == divisor
        scores[divisor] = classifier.decision_function(TEXTS[::3])
    np.testing.assert_allclose(2 * scores[2.0], scores[1.0], rtol=1e-5, atol=1e-6)


def test_labels_at_random_are_predicted_with_less_confidence(tiny_encoder):
    rng = np.random.default_rng(0)
    texts = [*TEXTS, *(f"{text} again" for text in TEXTS)]
    clear = make(tiny_encoder).fit(texts, [*LABELS, *LABELS])
    vague = make(tiny_encoder).fit(texts, rng.permutation([*LABELS, *LABELS]))
    assert clear.temperature_ < vague.temperature_
    assert vague.temperature_ > 1.25


@pytest.mark.parametrize(
    "parameters",
    [
        {"early_stopping": True},
        {"head_init": "random"},
        {"head_refit": False},
        {"max_epochs": 0},
    ],
)
def test_other_fits_keep_their_scores(tiny_encoder, parameters):
    assert make(tiny_encoder, **parameters).fit(TEXTS, LABELS).temperature_ == 1


@pytest.mark.parametrize(("of_probe", "expected"), [(0.25, 1.25), (4.0, 2.5)])
def test_scores_of_pairs_do_not_become_more_certain(tiny_encoder, monkeypatch, of_probe, expected):
    monkeypatch.setattr("sktransfer.fitting.temperature._best_temperature", lambda *_: of_probe)
    cache.clear()
    pairs = [(text, text[::-1]) for text in TEXTS]
    classifier = make(tiny_encoder).fit(pairs, LABELS)
    assert classifier.temperature_ == expected
    assert classifier.mixing_coefficient_ == 1


def test_other_rows_keep_their_scores(tiny_encoder):
    targets = np.random.default_rng(0).integers(2, size=(16, 3))
    assert make(tiny_encoder).fit(TEXTS, targets).temperature_ == 1
    partial = make(tiny_encoder).partial_fit(TEXTS, LABELS, classes=[0, 1])
    assert partial.temperature_ == 1


def test_a_search_estimates_it_once_per_set_of_rows(tiny_encoder, monkeypatch):
    calls = []
    scores_of = Probe.cross_validated_scores
    monkeypatch.setattr(
        Probe, "cross_validated_scores", lambda *args: calls.append(1) or scores_of(*args)
    )
    texts = [f"{text} today" for text in TEXTS]
    for learning_rate in (1e-4, 1e-3):
        TransferTextClassifier(
            tiny_encoder, max_epochs=1, learning_rate=learning_rate, random_state=0
        ).fit(texts, LABELS)
    assert len(calls) == 1
