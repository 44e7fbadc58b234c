"""Test error on whole training sets, TREC-6 (ULMFiT's 3.6%) first, with one published setting.

python benchmarks/headline.py             # the test sets, a row per set and seed
python benchmarks/headline.py --select    # other settings, on a held-out tenth of train
"""

import argparse
import csv
import datetime
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import _data
import numpy as np
from _provenance import cpu_model, versions
from sklearn.model_selection import train_test_split

from sktransfer import TransferTextClassifier

# The defaults.
SETTING: dict[str, Any] = {}
CANDIDATES: tuple[dict[str, Any], ...] = (
    {},
    {"max_epochs": 5},
    {"max_epochs": 8},
    {"max_epochs": 5, "learning_rate": 5e-4},
    {"max_epochs": 5, "layer_decay": 0.9},
    {"max_epochs": 5, "trainable_layers": "all"},
)
SEEDS = {"trec6": (0, 1, 2), "dbpedia14": (0,), "subj": (0,), "sms_spam": (0,)}
RESULTS = Path(__file__).parent / "results" / "headline.csv"
COLUMNS = (
    "set",
    "split",
    "seed",
    "parameters",
    "n_train",
    "n_test",
    "accuracy",
    "error",
    "fit_s",
    "fit_cpu_s",
    "threads",
    "cpu",
    "date",
    "versions",
)


def as_text(parameters: dict[str, Any]) -> str:
    inside = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
    return f"TransferTextClassifier({inside})"


def score(
    parameters: dict[str, Any], seed: int, train: _data.Rows, test: _data.Rows
) -> dict[str, Any]:
    start, cpu_start = time.perf_counter(), time.process_time()
    model = TransferTextClassifier(**parameters, random_state=seed)
    model.fit(train.texts, train.labels)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    accuracy = float(np.mean(model.predict(test.texts) == test.labels))
    return {
        "seed": seed,
        "parameters": as_text(parameters),
        "n_train": len(train.texts),
        "n_test": len(test.texts),
        "accuracy": round(accuracy, 5),
        "error": round(1 - accuracy, 5),
        "fit_s": round(seconds, 1),
        "fit_cpu_s": round(cpu_seconds, 1),
        "threads": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def held_out(name: str, seed: int) -> tuple[_data.Rows, _data.Rows]:
    """Nine tenths and a tenth of the training rows; the test set has no say in the setting."""
    rows = _data.load(name, "train")
    kept, held = train_test_split(
        np.arange(len(rows.texts)), test_size=0.1, stratify=rows.labels, random_state=seed
    )
    return _data.take(rows, kept), _data.take(rows, held)


def read() -> list[dict[str, str]]:
    if not RESULTS.exists():
        return []
    with open(RESULTS, newline="") as file:
        return list(csv.DictReader(file))


def run(name: str, split: str, seed: int, parameters: dict[str, Any]) -> None:
    """Add one row to the CSV, unless it is there."""
    key = {"set": name, "split": split, "seed": str(seed), "parameters": as_text(parameters)}
    if any(key.items() <= row.items() for row in read()):
        return
    if split == "validation":
        train, test = held_out(name, seed)
    else:
        train, test = _data.load(name, "train"), _data.load(name, "test")
    row = {"set": name, "split": split, **score(parameters, seed, train, test)}
    is_new = not RESULTS.exists()
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)
    print(
        f"{name} {split} seed {seed} {row['parameters']}: error {100 * row['error']:.2f}%",
        flush=True,
    )


def summary() -> str:
    errors: dict[tuple[str, str, str], list[float]] = {}
    for row in read():
        errors.setdefault((row["split"], row["set"], row["parameters"]), []).append(
            100 * float(row["error"])
        )
    lines = ["| split | set | setting | error % | seeds |", "| --- | --- | --- | --- | --- |"]
    for (split, name, parameters), found in sorted(errors.items()):
        spread = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
        mean = statistics.mean(found)
        lines.append(f"| {split} | {name} | `{parameters}` | {mean:.2f}{spread} | {len(found)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Test error on whole training sets.")
    parser.add_argument("--select", action="store_true", help="score CANDIDATES on held-out train")
    parser.add_argument("--sets", default=",".join(SEEDS), metavar="SET,...")
    parser.add_argument("--seeds", metavar="0,1,2", help="default: three for trec6, one elsewhere")
    parser.add_argument("--report", action="store_true", help="print the CSV's table and stop")
    arguments = parser.parse_args()
    names = arguments.sets.split(",")
    if unknown := set(names) - set(SEEDS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SEEDS)}")
    chosen = tuple(int(seed) for seed in arguments.seeds.split(",")) if arguments.seeds else None
    if arguments.select:
        for parameters in CANDIDATES:
            for seed in chosen or (0,):
                run("trec6", "validation", seed, parameters)
    elif not arguments.report:
        for name in names:
            for seed in chosen or SEEDS[name]:
                run(name, "test", seed, SETTING)
    print(summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
