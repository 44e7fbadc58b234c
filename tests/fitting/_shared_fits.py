"""Fits that the processes of torchrun share: python _shared_fits.py ENCODER OUTPUT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from sktransfer import TransferTextClassifier, TransferTokenClassifier
from sktransfer.runtime import data_parallel

GOOD = ["good", "best", "nice", "happy", "excellent", "wonderful", "fun", "perfect"]
BAD = ["bad", "awful", "terrible", "boring", "poor", "worst", "hate", "ugly"]
TEXTS = [f"the {word} film {'and ' * (number % 5)}" for number, word in enumerate(GOOD + BAD)]
LABELS = np.repeat(["good", "bad"], 8)
TAGS = [["A" if len(word) > 3 else "O" for word in text.split()] for text in TEXTS]
COMMON: dict[str, Any] = {
    "device": "cpu",
    "precision": "float32",
    "random_state": 0,
    "max_epochs": 2,
    "batch_size": 5,
}


def weights_of(estimator: Any) -> np.ndarray:
    """Weights of the network, without those that attention does not depend on."""
    parts = [
        weights.detach().numpy().ravel()
        for name, weights in estimator.model_.named_parameters()
        if not name.endswith("key.bias")
    ]
    return np.concatenate(parts)


def fits(encoder: str) -> dict[str, np.ndarray]:
    classifier = TransferTextClassifier(encoder, **COMMON)
    found = {
        "classifier": weights_of(classifier.fit(TEXTS, LABELS)),
        "codes": weights_of(classifier.set_params(label_texts=None).fit(TEXTS, LABELS)),
    }
    classifier.set_params(early_stopping=True, max_epochs=4).fit(TEXTS, LABELS)
    found["early stopping"] = weights_of(classifier)
    head = TransferTextClassifier(encoder, **COMMON, trainable_layers=0, head_init="random")
    found["head"] = weights_of(head.fit(TEXTS, LABELS))
    words = [text.split() for text in TEXTS]
    found["tags"] = weights_of(TransferTokenClassifier(encoder, **COMMON).fit(words, TAGS))
    return found


def main() -> None:
    encoder, output = sys.argv[1:]
    with data_parallel() as group:
        found: dict[str, Any] = fits(encoder)
        unseeded = TransferTextClassifier(encoder, **COMMON | {"random_state": None})
        found["without a seed"] = weights_of(unseeded.fit(TEXTS, LABELS))
        try:
            TransferTextClassifier(encoder, **COMMON).fit(TEXTS, np.roll(LABELS, group.rank))
        except ValueError as error:
            found["error"] = str(error)
    Path(output).mkdir(exist_ok=True)
    np.savez(Path(output, f"{group.rank}.npz"), **found)


if __name__ == "__main__":
    main()
