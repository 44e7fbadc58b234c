"""Do the words that `word_importances` names decide? Deletion curves on three sets.

The most important words of a test text are deleted one after the other, and so are random ones; the
probability of the label that was predicted for the whole text should fall faster for the first. The
order "importance" is that by occlusion.

    python benchmarks/deletion.py
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import _data
import numpy as np
from _provenance import commit, provenance

from sktransfer import TransferTextClassifier
from sktransfer.inspection import WordImportances, word_importances

RESULTS = Path(__file__).parent / "results" / "deletion.csv"
SETS = ("sst2", "trec6", "subj")
N_TEXTS = 200
MOST_WORDS = 5


def deleted(one: WordImportances, order: Any, n_words: int) -> str:
    """The text without the first `n_words` of an order of its words."""
    (text,) = one.texts
    for start, stop in sorted(one.spans[order[:n_words]].tolist(), reverse=True):
        text = text[:start] + text[stop:]
    return text


def curves(name: str, seed: int) -> list[dict[str, Any]]:
    """Mean probability of the predicted label by the number of words deleted, in each order."""
    train, test = (
        _data.draw(name, "64", seed),
        _data.sample(_data.load(name, "test"), name, N_TEXTS),
    )
    classifier = TransferTextClassifier(random_state=seed).fit(train.texts, train.labels)
    explained = [one for one in word_importances(classifier, test.texts) if len(one.words) > 1]
    targets = [classifier.classes_.tolist().index(one.target) for one in explained]
    rng = np.random.default_rng(seed)
    by_gradient = word_importances(
        classifier, [one.texts[0] for one in explained], method="gradient"
    )
    orders = {
        "importance": [np.argsort(-one.importances, kind="stable") for one in explained],
        "gradient": [np.argsort(-one.importances, kind="stable") for one in by_gradient],
        "random": [rng.permutation(len(one.words)) for one in explained],
    }
    rows = []
    for order, chosen in orders.items():
        for n_words in range(MOST_WORDS + 1):
            texts = [deleted(one, o, n_words) for one, o in zip(explained, chosen, strict=True)]
            probabilities = classifier.predict_proba(texts)[np.arange(len(texts)), targets]
            mean = round(float(probabilities.mean()), 4)
            rows.append(
                {
                    "set": name,
                    "draw": seed,
                    "order": order,
                    "n_deleted": n_words,
                    "probability": mean,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Deletion curves of word importances.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    made = {"n_texts": N_TEXTS, **provenance(), "commit": commit()}
    rows = [row | made for name in SETS for row in curves(name, 0)]
    with open(arguments.output, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(row["set"], row["order"], row["n_deleted"], row["probability"])


if __name__ == "__main__":
    main()
