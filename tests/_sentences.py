"""Made-up sentences of tagged words, in the words of the tiny encoders."""

from __future__ import annotations

import numpy as np

# Entities of one word, and the two words of longer ones: random encoders hardly tell the context.
_WORDS = {
    "PER": ("father mother doctor".split(), "old young".split(), "friend actor".split()),  # noqa: SIM905
    "LOC": ("city river house".split(), "green dark".split(), "church school".split()),  # noqa: SIM905
}
_OTHERS = "the was and with to saw".split()  # noqa: SIM905


def sentences(n_rows: int, *, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences of unlike length, and tags of their words in the BIO scheme."""
    rng = np.random.default_rng(seed)
    rows, tags = [], []
    for _ in range(n_rows):
        pairs = [("the", "O")]
        for kind in rng.choice(["PER", "LOC", "O"], rng.integers(2, 7), p=[0.3, 0.3, 0.4]):
            if kind == "O":
                pairs.append((rng.choice(_OTHERS), "O"))
                continue
            single, first, second = _WORDS[kind]
            if rng.random() < 0.5:
                pairs += [(rng.choice(first), f"B-{kind}"), (rng.choice(second), f"I-{kind}")]
            else:
                pairs.append((rng.choice(single), f"B-{kind}"))
        rows.append([str(word) for word, _ in pairs])
        tags.append([tag for _, tag in pairs])
    return rows, tags
