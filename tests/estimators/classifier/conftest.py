"""The classifier on the tiny encoder."""

from __future__ import annotations

import pytest

from sktransfer import TransferTextClassifier

from .rows import LABELS, TEXTS, TINY


@pytest.fixture
def make(tiny_encoder):
    """Classifier on the tiny encoder, two epochs unless told otherwise."""

    def build(**parameters) -> TransferTextClassifier:
        return TransferTextClassifier(**{"encoder": tiny_encoder, **TINY, **parameters})

    return build


@pytest.fixture(scope="package")
def fitted(tiny_encoder):
    """A fitted classifier that no test changes."""
    return TransferTextClassifier(tiny_encoder, **TINY).fit(TEXTS, LABELS)
