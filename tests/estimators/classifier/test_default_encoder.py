"""The real default encoder."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sktransfer import TransferTextClassifier
from sktransfer.encoders import resolve_encoder

from .rows import LABELS, NEW_TEXTS, TEXTS

SENTENCES = [
    ("the striker scored twice in the second half", "sport"),
    ("our goalkeeper saved a penalty", "sport"),
    ("the team won the league title", "sport"),
    ("he ran the marathon in record time", "sport"),
    ("simmer the onions in butter until soft", "food"),
    ("whisk the eggs with a little sugar", "food"),
    ("roast the chicken for an hour", "food"),
    ("season the soup with salt and pepper", "food"),
]


OTHER_WORDS = [
    ("tennis final went to five sets", "sport"),
    ("late equaliser silenced that crowd", "sport"),
    ("knead dough, then let it rest", "food"),
    ("slice tomatoes, drizzle olive oil", "food"),
]


@pytest.mark.parametrize("max_epochs", [0, "auto"])
def test_default_encoder_understands_words_it_was_not_shown(minilm, max_epochs):
    classifier = TransferTextClassifier(max_epochs=max_epochs, device="cpu", random_state=0)
    classifier.fit(*zip(*SENTENCES, strict=True))
    texts, labels = zip(*OTHER_WORDS, strict=True)
    assert classifier.score(texts, labels) == 1.0
    assert classifier.encoder_name_ == "minilm-classification"


def test_default_encoder_is_the_pretrained_one_with_a_delta(minilm):
    name = TransferTextClassifier().encoder
    own, pretrained = (
        resolve_encoder(name).load_shared()[0],
        resolve_encoder(minilm).load_shared()[0],
    )
    changed = [
        part
        for (part, weight), other in zip(
            own.named_parameters(), pretrained.parameters(), strict=True
        )
        if not torch.equal(weight, other)
    ]
    assert changed
    assert all(".layer." in part and part.endswith("weight") for part in changed)


@pytest.mark.parametrize(
    ("labels", "are_read"),
    [(("negative", "positive"), True), (("ham", "spam"), True), (("DESC", "ENTY"), False)],
)
def test_labels_are_read_if_the_encoder_knows_them(minilm, labels, are_read):
    y = np.where(LABELS == "good", *labels)
    read, unread = (
        TransferTextClassifier(
            minilm, max_epochs=0, device="cpu", random_state=0, label_texts=label_texts
        )
        .fit(TEXTS, y)
        .predict_proba(NEW_TEXTS)
        for label_texts in ("auto", None)
    )
    assert np.array_equal(read, unread) is not are_read


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        # A rare word is not read, and does not silence the others.
        (
            ("negative", "positive", "antagonistic"),
            {"negative": "negative", "positive": "positive"},
        ),
        (("LABEL_1", "LABEL_2", "spam"), {}),
        # "HUM" happens to be a word, but most of these are abbreviations.
        (("HUM", "DESC", "ENTY"), {}),
        ((0, 1, 2), {}),
    ],
)
def test_each_label_is_looked_at(minilm, labels, texts, capsys):
    y = np.array(labels, dtype=object if isinstance(labels[0], str) else int)
    classifier = TransferTextClassifier(minilm, max_epochs=0, device="cpu", verbose=1)
    classifier.fit(["one text", "another text", "a third"], y)
    assert classifier.label_texts_ == texts
    written = capsys.readouterr().err
    assert ("labels read as texts: 'negative' as 'negative', " in written) == bool(texts)


def test_default_encoder_does_not_mix_up_a_batch(minilm):
    texts, labels = zip(*SENTENCES, strict=True)
    classifier = TransferTextClassifier(minilm, max_epochs=1, device="cpu", random_state=0)
    classifier.fit(texts, labels)
    batch = [*texts, "", "very long " * 400]
    alone = np.concatenate([classifier.predict_proba([text]) for text in batch])
    assert_allclose(classifier.predict_proba(batch), alone, rtol=1e-4)


def test_default_encoder_is_saved_once(minilm):
    texts, labels = zip(*SENTENCES, strict=True)
    classifier = TransferTextClassifier(minilm, max_epochs=0, device="cpu").fit(texts, labels)
    # 22.7 million float32 weights make 91 MB.
    assert len(pickle.dumps(classifier)) < 100e6
