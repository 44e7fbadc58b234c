"""Data sets of the benchmarks, drawn and capped here so that every script sees the same rows."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

SETS = (
    "sst2",
    "trec6",
    "subj",
    "banking77",
    "uci_sentences",
    "sms_spam",
    "20newsgroups_strict",
    "imdb",
    "dbpedia14",
    "tweet_irony",
    "hate_davidson",
)
LONG_SETS = ("20newsgroups_strict", "imdb")
BUDGETS = ("4", "8", "16", "64", "1500")
_TOTAL_BUDGETS = ("1500",)


@dataclass(frozen=True)
class Rows:
    """Texts and their labels, in the same order."""

    texts: list[str]
    labels: npt.NDArray[np.str_]


def data_root() -> Path:
    """Folder of the sets: $SKTRANSFER_DATA, or `../shared/data` beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("SKTRANSFER_DATA", default))
    if not root.is_dir():
        raise SystemExit(f"No data sets at {root}; set SKTRANSFER_DATA to their folder.")
    return root


def load(name: str, split: str) -> Rows:
    frame = pd.read_parquet(data_root() / name / f"{split}.parquet", columns=["text", "label"])
    return Rows(frame["text"].tolist(), frame["label"].to_numpy(dtype=str))


def _generator(name: str, *parts: int) -> np.random.Generator:
    # crc32, not hash(): the same rows in every process and Python version.
    return np.random.default_rng([zlib.crc32(name.encode()), *parts])


def take(rows: Rows, indices: npt.NDArray[np.intp]) -> Rows:
    return Rows([rows.texts[i] for i in indices], rows.labels[indices])


def draw(name: str, budget: str, seed: int) -> Rows:
    """Training rows of one draw; a budget is labels per class, except 1500, which is a total.

    The total is shared out in proportion (largest remainder), with at least one row per class.
    """
    rows = load(name, "train")
    generator = _generator(name, int(budget), seed)
    classes, counts = np.unique(rows.labels, return_counts=True)
    if budget in _TOTAL_BUDGETS:
        quotas = _stratified_quotas(counts, int(budget))
    else:
        quotas = np.minimum(counts, int(budget))
    chosen = [
        generator.choice(np.flatnonzero(rows.labels == label), size=quota, replace=False)
        for label, quota in zip(classes, quotas, strict=True)
    ]
    return take(rows, generator.permutation(np.concatenate(chosen)))


def _stratified_quotas(counts: npt.NDArray[np.intp], total: int) -> npt.NDArray[np.intp]:
    if total >= counts.sum():
        return counts
    shares = counts * (total / counts.sum())
    quotas = np.maximum(np.floor(shares).astype(np.intp), 1)
    missing = total - int(quotas.sum())
    if missing > 0:
        quotas[np.argsort(-(shares - np.floor(shares)), kind="stable")[:missing]] += 1
    return quotas


def sample(rows: Rows, name: str, size: int) -> Rows:
    """At most `size` rows, the same ones in every run, in their order of the file."""
    if len(rows.texts) <= size:
        return rows
    indices = _generator(name).choice(len(rows.texts), size=size, replace=False)
    return take(rows, np.sort(indices))


def test_rows(name: str) -> Rows:
    """Test rows that every system and draw is scored on."""
    return sample(load(name, "test"), name, 1000 if name in LONG_SETS else 2000)
