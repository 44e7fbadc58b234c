"""What the tests of the contract share: a fast classifier and texts for it."""

from __future__ import annotations

import pytest

from sktransfer import TransferTextClassifier

from .._reviews import reviews


@pytest.fixture
def classifier(tiny_encoder) -> TransferTextClassifier:
    """Unfitted, two epochs on the tiny encoder."""
    return TransferTextClassifier(
        tiny_encoder,
        pooling_layers=3,
        learning_rate=3e-4,
        max_epochs=2,
        device="cpu",
        random_state=0,
    )


@pytest.fixture(scope="session")
def train():
    """Forty texts and their labels."""
    return reviews(40)


@pytest.fixture(scope="session")
def test():
    """Thirty texts that no model is fitted on, and their labels."""
    return reviews(30, seed=1)
