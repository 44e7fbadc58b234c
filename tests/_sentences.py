"""Made-up sentences of tagged words, in the words of the tiny encoders."""

from __future__ import annotations

import numpy as np

# "old" and "green" start an entity of two words.
_WORDS = {
    "PER": ("old", "father mother doctor president boy friend actor player".split()),  # noqa: SIM905
    "LOC": ("green", "city river house farm mountain church school sea".split()),  # noqa: SIM905
}
_OTHERS = "the was and with a in time to saw at went found".split()  # noqa: SIM905


def sentences(n_rows: int, *, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences of unlike length, and tags of their words in the BIO scheme."""
    rng = np.random.default_rng(seed)
    rows, tags = [], []
    for _ in range(n_rows):
        pairs = [("the", "O")]
        for kind in rng.choice(["PER", "LOC", "O"], rng.integers(2, 7), p=[0.25, 0.25, 0.5]):
            if kind == "O":
                pairs.append((rng.choice(_OTHERS), "O"))
                continue
            first, nouns = _WORDS[kind]
            if rng.random() < 0.5:
                pairs += [(first, f"B-{kind}"), (rng.choice(nouns), f"I-{kind}")]
            else:
                pairs.append((rng.choice(nouns), f"B-{kind}"))
        rows.append([str(word) for word, _ in pairs])
        tags.append([tag for _, tag in pairs])
    return rows, tags
