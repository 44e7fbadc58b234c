"""Memory over 30 fits, import time, and prediction speed against sentence-transformers.

python benchmarks/resources.py [memory] [import] [predict]
"""

import argparse
import csv
import datetime
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _data
import _systems
from _provenance import cpu_model, versions

RESULTS = Path(__file__).parent / "results" / "resources.csv"
COLUMNS = ("part", "measure", "value", "unit", "bar", "threads", "cpu", "date", "versions")
Measure = tuple[str, float, str, str]
N_FITS = 30
MAX_LENGTH = 256


def measure_memory() -> list[Measure]:
    """Resident memory after each of 30 fits, on other rows each time, in this one process."""
    import psutil

    from sktransfer import TransferTextClassifier

    process = psutil.Process()
    after = []
    for seed in range(N_FITS):
        rows = _data.draw("trec6", "8", seed)
        model = TransferTextClassifier(max_epochs=2, random_state=seed)
        model.fit(rows.texts, rows.labels).predict(rows.texts)
        after.append(process.memory_info().rss / 2**20)
        print(f"fit {seed + 1}: {after[-1]:.0f} MB", flush=True)
    return [
        ("resident after fit 1", after[0], "MB", ""),
        ("resident after fit 10", after[9], "MB", ""),
        (f"resident after fit {N_FITS}", after[-1], "MB", ""),
        (f"growth, fit 1 to {N_FITS}", after[-1] - after[0], "MB", "< 50"),
    ]


def import_time(module: str) -> float:
    """Milliseconds of `import module` in fresh interpreters: the median of 5."""
    times = []
    for _ in range(5):
        command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
        child = subprocess.run(command, capture_output=True, text=True, check=True)
        # A line reads "import time: self [us] | cumulative | package"; the package itself comes
        # after what it imports.
        lines = [line.split("|") for line in child.stderr.splitlines()]
        own = next(line for line in reversed(lines) if line[-1].strip() == module)
        parents = [line for line in lines if line[-1].strip() == module.split(".")[0]]
        times.append(max(int(line[1]) for line in [own, *parents]) / 1000)
    return statistics.median(times)


def measure_import() -> list[Measure]:
    base, own = import_time("sklearn.base"), import_time("sktransfer")
    return [
        ("import sklearn.base", base, "ms", ""),
        ("import sktransfer", own, "ms", ""),
        ("difference", own - base, "ms", "<= 50"),
    ]


def cut(texts: list[str], tokenizer: Any) -> list[str]:
    """The texts up to the last token that fits, so that both sides read the same."""
    encoded = tokenizer(texts, truncation=True, max_length=MAX_LENGTH, return_offsets_mapping=True)
    ends = [max(end for _, end in offsets) for offsets in encoded["offset_mapping"]]
    return [text[:end] for text, end in zip(texts, ends, strict=True)]


def speeds(texts: list[str], runs: dict[str, Callable[[list[str]], Any]]) -> dict[str, list[float]]:
    """Texts per second of each run, by the wall clock and by processor time: medians of 3."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for call in runs.values():
        call(texts[:32])
    for _ in range(3):
        for name, call in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call(texts)
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: [len(texts) / statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in seconds.items()
    }


def measure_predict() -> list[Measure]:
    from sentence_transformers import SentenceTransformer

    from sktransfer import TransferTextClassifier
    from sktransfer.runtime import cache_budget

    peer = SentenceTransformer(_systems.encoder_folder())
    peer.max_seq_length = MAX_LENGTH
    measures: list[Measure] = []
    for name, size in (("trec6", 1000), ("20newsgroups_strict", 200)):
        rows = _data.draw(name, "8", 0)
        # Speed does not depend on what was learned.
        model = TransferTextClassifier(max_epochs=0, max_length=MAX_LENGTH, random_state=0)
        model.fit(rows.texts, rows.labels)
        test, train = _data.load(name, "test").texts, _data.load(name, "train").texts
        # Each text once: `predict` reads equal texts only once, which is no measure of speed.
        texts = list(dict.fromkeys(cut([*test, *train][:size], peer.tokenizer)))
        # What was read once is not to be found again.
        with cache_budget(0):
            found = speeds(
                texts,
                {
                    "predict": model.predict,
                    "encode": lambda batch: peer.encode(batch, show_progress_bar=False),
                },
            )
        for clock, column in (("wall", 0), ("processor", 1)):
            own, other = found["predict"][column], found["encode"][column]
            measures += [
                (f"{name}: TransferTextClassifier.predict, {clock}", own, "texts/s", ""),
                (f"{name}: sentence-transformers encode, {clock}", other, "texts/s", ""),
                (f"{name}: ratio, {clock}", own / other, "", ">= 1"),
            ]
    return measures


PARTS: dict[str, Callable[[], list[Measure]]] = {
    "import": measure_import,
    "memory": measure_memory,
    "predict": measure_predict,
}


def write(part: str, measures: list[Measure]) -> None:
    """Put the part's rows in the place of its former ones."""
    common = {
        "part": part,
        "threads": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    rows: list[dict[str, Any]] = []
    if RESULTS.exists():
        with open(RESULTS, newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["part"] != part]
    for measure, value, unit, bar in measures:
        rows.append(
            {**common, "measure": measure, "value": f"{value:.2f}", "unit": unit, "bar": bar}
        )
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory, import time and prediction speed.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    chosen = parser.parse_args().parts or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    for part in chosen:
        measures = PARTS[part]()
        write(part, measures)
        for measure, value, unit, bar in measures:
            print(f"{measure}: {value:.1f} {unit}{f' (asked: {bar})' if bar else ''}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
