"""What the parameters of the training do."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer.encoders import resolve_encoder

from .rows import LABELS, NEW_LABELS, NEW_TEXTS, TEXTS


def changed_parts(classifier) -> dict[str, bool]:
    """Whether fine-tuning moved the embeddings and each layer, from the input side."""
    fresh, _ = resolve_encoder(classifier.encoder).load()
    tuned = classifier.model_.encoder

    def moved(before, after) -> bool:
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        return any(not torch.equal(old, new) for old, new in pairs)

    parts = {"embeddings": (fresh.embedding_modules(), tuned.embedding_modules())}
    parts |= {
        f"layer {number}": ([old], [new])
        for number, (old, new) in enumerate(zip(fresh.layers(), tuned.layers(), strict=True))
    }
    return {
        name: any(moved(old, new) for old, new in zip(before, after, strict=True))
        for name, (before, after) in parts.items()
    }


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max", "concat"])
def test_poolings(make, pooling):
    classifier = make(pooling=pooling, lexical_weight=0.0, max_epochs=3).fit(TEXTS, LABELS)
    width = classifier.model_.head.linear.in_features
    assert width == (3 * 32 if pooling == "concat" else 32)
    assert classifier.score(TEXTS, LABELS) > 0.7


def test_poolings_of_a_decoder(make, tiny_decoder):
    classifier = make(encoder=tiny_decoder, pooling="last").fit(TEXTS, LABELS)
    assert classifier.score(TEXTS, LABELS) > 0.7


@pytest.mark.parametrize("schedule", ["linear", "slanted_triangular", "cosine", "constant"])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.5])
def test_schedules(make, schedule, warmup_fraction):
    classifier = make(
        head_init="random",
        learning_rate=3e-3,
        schedule=schedule,
        warmup_fraction=warmup_fraction,
        max_epochs=5,
    ).fit(TEXTS, LABELS)
    assert classifier.loss_curve_[-1] < classifier.loss_curve_[0]


@pytest.mark.parametrize(
    ("trainable_layers", "expected"),
    [
        (None, {"embeddings": False, "layer 0": True, "layer 1": True}),
        ("all", {"embeddings": True, "layer 0": True, "layer 1": True}),
        (0, {"embeddings": False, "layer 0": False, "layer 1": False}),
        (1, {"embeddings": False, "layer 0": False, "layer 1": True}),
        (99, {"embeddings": False, "layer 0": True, "layer 1": True}),
    ],
)
@pytest.mark.parametrize("gradual_unfreezing", [False, True])
def test_trainable_layers(make, trainable_layers, expected, gradual_unfreezing):
    classifier = make(
        trainable_layers=trainable_layers,
        gradual_unfreezing=gradual_unfreezing,
        max_epochs=3,
        warmup_fraction=0.0,
    )
    assert changed_parts(classifier.fit(TEXTS, LABELS)) == expected


def test_gradual_unfreezing_starts_at_the_top(make):
    classifier = make(
        gradual_unfreezing=True, max_epochs=2, early_stopping=True, n_iter_no_change=1
    )
    # Perfect from the first epoch on: the second, in which the lower layer trains, is undone.
    classifier.fit(TEXTS, LABELS, X_val=["perfect best", "awful terrible"], y_val=["good", "bad"])
    assert classifier.best_epoch_ == 1
    assert changed_parts(classifier) == {"embeddings": False, "layer 0": False, "layer 1": True}


def test_random_head(make):
    probe = make(max_epochs=0, lexical_weight=0.0).fit(TEXTS, LABELS)
    untrained = make(max_epochs=0, lexical_weight=0.0, head_init="random").fit(TEXTS, LABELS)
    trained = make(max_epochs=20, lexical_weight=0.0, head_init="random", learning_rate=5e-3).fit(
        TEXTS, LABELS
    )
    assert probe.score(TEXTS, LABELS) > 0.8
    assert untrained.score(TEXTS, LABELS) < 0.8
    assert trained.score(TEXTS, LABELS) > 0.8


def test_a_frozen_encoder_with_a_probe_needs_no_epochs(make):
    classifier = make(trainable_layers=0, max_epochs="auto").fit(TEXTS, LABELS)
    assert classifier.n_iter_ == 0
    assert classifier.loss_curve_ == []
    assert classifier.score(TEXTS, LABELS) > 0.8


@pytest.mark.skipif(find_spec("wordllama") is None, reason="wordllama is not installed")
def test_an_encoder_without_layers_needs_no_epochs(make):
    table = make(encoder="wordllama", max_epochs="auto")
    assert table.fit(TEXTS, LABELS).n_iter_ == 0
    assert table.set_params(trainable_layers="all").fit(TEXTS, LABELS).n_iter_ > 0


def test_lexical_weight(make):
    models = [make(lexical_weight=weight).fit(TEXTS, LABELS) for weight in (0.0, 0.5, 1.0)]
    assert models[0].lexical_ is None
    none, half, full = (model.decision_function(NEW_TEXTS) for model in models)
    assert not np.array_equal(none, full)
    assert_allclose(half, (none + full) / 2, rtol=1e-4, atol=1e-5)


def test_a_label_text_is_two_more_rows_of_its_class(make):
    parameters = {"max_epochs": 0, "lexical_weight": 0.3}
    read = make(label_texts="auto", **parameters).fit(TEXTS, LABELS)
    rows = [*TEXTS, *["bad", "good"] * 2], [*LABELS, *["bad", "good"] * 2]
    written = make(label_texts=None, **parameters).fit(*rows)
    assert_array_equal(read.predict_proba(NEW_TEXTS), written.predict_proba(NEW_TEXTS))
    unread = make(label_texts=None, **parameters).fit(TEXTS, LABELS)
    assert not np.array_equal(read.predict_proba(NEW_TEXTS), unread.predict_proba(NEW_TEXTS))


def test_label_texts_of_codes(make):
    codes = (LABELS == "good").astype(int)
    plain, silent, told = (
        make(max_epochs=0, label_texts=label_texts).fit(TEXTS, codes).predict_proba(NEW_TEXTS)
        for label_texts in ("auto", None, {0: "bad", 1: "good", 2: "in no fold"})
    )
    assert_array_equal(plain, silent)
    words = make(max_epochs=0, label_texts="auto").fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    assert_array_equal(told, words)


@pytest.mark.parametrize(
    ("label_texts", "error", "message"),
    [
        ({"good": 3}, TypeError, r"label_texts\['good'\] must be a string, got 3"),
        ({"nice": "nice"}, ValueError, "label_texts has none of the labels of y"),
    ],
)
def test_wrong_label_texts_are_refused(make, label_texts, error, message):
    classifier = make(label_texts=label_texts)
    with pytest.raises(error, match=message):
        classifier.fit(TEXTS, LABELS)
    assert not hasattr(classifier, "model_")


def test_head_refit(make):
    parameters = {"lexical_weight": 0.0, "learning_rate": 1e-3, "max_epochs": 3}
    refitted, trained = (
        make(head_refit=refit, **parameters).fit(TEXTS, LABELS) for refit in (True, False)
    )
    for model in (refitted, trained):
        assert model.score(NEW_TEXTS, NEW_LABELS) > 0.8
    pairs = zip(
        refitted.model_.encoder.parameters(), trained.model_.encoder.parameters(), strict=True
    )
    assert all(torch.equal(one, other) for one, other in pairs)
    weights = [model.model_.head.linear.weight for model in (refitted, trained)]
    assert not torch.equal(*weights)


def test_contrastive_weight(make):
    plain = make(contrastive_weight=0.0).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    contrastive = make(contrastive_weight=1.0).fit(TEXTS, LABELS)
    assert not np.array_equal(contrastive.predict_proba(NEW_TEXTS), plain)
    assert contrastive.score(NEW_TEXTS, NEW_LABELS) > 0.8
    # One row of each class, and one class alone, leave nothing to pull together or apart.
    make(batch_size=2).fit(["good best", "bad worst"], ["good", "bad"])
    make().partial_fit(["good best", "best"], ["good", "good"], classes=["bad", "good"])


def test_layer_decay_slows_the_lower_layers(make):
    fresh, _ = resolve_encoder(make().encoder).load()

    def distance(layer_decay: float) -> float:
        classifier = make(layer_decay=layer_decay).fit(TEXTS, LABELS)
        pairs = zip(
            fresh.layers()[0].parameters(),
            classifier.model_.encoder.layers()[0].parameters(),
            strict=True,
        )
        return sum(float((old - new).detach().abs().sum()) for old, new in pairs)

    assert distance(0.1) < distance(1.0) / 2


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_precisions_agree(make, precision):
    expected = make(precision="float32").fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    classifier = make(precision=precision).fit(TEXTS, LABELS)
    assert classifier.predict_proba(NEW_TEXTS).dtype == np.float32
    assert_allclose(classifier.predict_proba(NEW_TEXTS), expected, atol=0.05)


def test_batch_size_beyond_the_rows(make):
    assert make(batch_size=1000).fit(TEXTS, LABELS).n_iter_ == 2
    assert make(batch_size=1, max_epochs=1).fit(TEXTS[:8], LABELS[:8]).n_iter_ == 1
