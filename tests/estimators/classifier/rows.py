"""Rows and parameters that the tests of the classifier share."""

from ..._reviews import reviews

TEXTS, LABELS = reviews(40)
NEW_TEXTS, NEW_LABELS = reviews(30, seed=1)
TEXTS_3, LABELS_3 = reviews(48, n_classes=3)
# What suits the tiny encoder; the defaults, tuned on real ones, may move without these tests.
TINY = {
    "pooling_layers": 3,
    "batch_size": 16,
    "label_texts": None,
    "learning_rate": 3e-4,
    "max_epochs": 2,
    "device": "cpu",
    "random_state": 0,
}
