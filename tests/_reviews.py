"""Made-up reviews in the words of the tiny encoders, easy enough for a few epochs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIGNALS = {
    "bad": "awful terrible boring poor worst hate wrong dull sad weak".split(),  # noqa: SIM905
    "good": "best nice happy excellent wonderful fun brilliant perfect".split(),  # noqa: SIM905
    "money": "market bank price stock trade tax cash company".split(),  # noqa: SIM905
}
_FILLERS = "the movie was and with a story it actor scene in time".split()  # noqa: SIM905


def reviews(
    n_rows: int, *, n_classes: int = 2, seed: int = 0, n_fillers: int = 3
) -> tuple[list[str], NDArray[np.str_]]:
    """Texts and their labels, as many of each class as of the others."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.resize(list(_SIGNALS)[:n_classes], n_rows))
    texts = []
    for label in labels:
        words = [*rng.choice(_SIGNALS[label], 3), *rng.choice(_FILLERS, n_fillers)]
        texts.append(" ".join(rng.permutation(words)))
    return texts, labels
