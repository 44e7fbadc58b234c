"""TransferTextClassifier beside its peers at 8 and 64 labels per class and at 1,500 labels.

Every fit runs in a process of its own and becomes one row of the CSV; finished rows are skipped, so
a run can be stopped and taken up again, and several runners (one per core) can share the work:

    python benchmarks/label_budgets.py --sets trec6,sst2 --budgets 8 --systems sktransfer,setfit
    python benchmarks/label_budgets.py --core 1 --threads 1
    python benchmarks/label_budgets.py --report
"""

import argparse
import contextlib
import csv
import datetime
import fcntl
import hashlib
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _data
import _systems
from _processes import child_environment
from _provenance import cpu_model, versions

RESULTS = Path(__file__).parent / "results" / "label_budgets.csv"
KEY = ("set", "budget", "draw", "system")
COLUMNS = (
    *KEY,
    "n_train",
    "n_classes",
    "accuracy",
    "macro_f1",
    "log_loss",
    "fit_s",
    "fit_cpu_s",
    "predict_texts_s",
    "predict_texts_cpu_s",
    "peak_mb",
    "threads",
    "cpu",
    "date",
    "versions",
)
Job = tuple[str, str, str, str]


def run_one(job: Job) -> dict[str, Any]:
    """Fit and score one system in this process; the clock starts after the imports."""
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    name, budget, draw, system_name = job
    train, test = _data.draw(name, budget, int(draw)), _data.test_rows(name)
    system = _systems.build(system_name, budget, int(draw))
    _systems.import_modules(system)
    # Processor time beside the wall clock: on a shared machine only the first is the system's own.
    start, cpu_start = time.perf_counter(), time.process_time()
    system.fit(train.texts, train.labels)
    fitted, cpu_fitted = time.perf_counter(), time.process_time()
    probabilities = system.predict_proba(test.texts)
    predicted, cpu_predicted = time.perf_counter(), time.process_time()
    # float32 rows sum to 1 only within 1e-7 or so, at which log_loss warns.
    probabilities = probabilities.astype(float) / probabilities.sum(
        axis=1, keepdims=True, dtype=float
    )
    labels = system.classes_[probabilities.argmax(axis=1)]
    return {
        "n_train": len(train.texts),
        "n_classes": len(system.classes_),
        "accuracy": round(accuracy_score(test.labels, labels), 5),
        "macro_f1": round(f1_score(test.labels, labels, average="macro"), 5),
        "log_loss": round(log_loss(test.labels, probabilities, labels=system.classes_), 5),
        "fit_s": round(fitted - start, 3),
        "fit_cpu_s": round(cpu_fitted - cpu_start, 3),
        "predict_texts_s": round(len(test.texts) / (predicted - fitted), 1),
        "predict_texts_cpu_s": round(len(test.texts) / (cpu_predicted - cpu_fitted), 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "threads": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def run_in_child(job: Job, threads: int, core: int | None) -> dict[str, Any] | None:
    """A fresh process per fit keeps peak memory and time clean."""
    environment = child_environment(threads)
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--one",
        *job,
        "--threads",
        str(threads),
    ]
    if core is not None:
        command += ["--core", str(core)]
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode:
        return None
    measured: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return {**dict(zip(KEY, job, strict=True)), **measured, "threads": threads}


def lock_folder(output: Path) -> Path:
    place = hashlib.sha256(str(output.resolve()).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"sktransfer-benchmarks-{place}"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def claim(output: Path, job: Job) -> Iterator[bool]:
    """Hold a job for one runner; the lock goes with its process, so a killed one leaves none."""
    with open(lock_folder(output) / "_".join(job), "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def read_rows(output: Path) -> list[dict[str, str]]:
    if not output.exists():
        return []
    with open(output, newline="") as handle:
        return list(csv.DictReader(handle))


def write_row(output: Path, row: dict[str, Any]) -> None:
    """Add a row, or put it in the place of the one with its key; readers never see half a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(lock_folder(output) / "rows", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        text = {column: str(row[column]) for column in COLUMNS}
        rows = [old for old in read_rows(output) if any(old[part] != text[part] for part in KEY)]
        partial = output.with_suffix(".csv.partial")
        with open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows([*rows, text])
        partial.replace(output)


def is_done(output: Path, job: Job) -> bool:
    return any(tuple(row[part] for part in KEY) == job for row in read_rows(output))


def run(jobs: list[Job], output: Path, threads: int, core: int | None, redo: bool) -> int:
    failures = 0
    for number, job in enumerate(jobs, 1):
        with claim(output, job) as is_ours:
            if not is_ours or (is_done(output, job) and not redo):
                continue
            start = time.perf_counter()
            row = run_in_child(job, threads, core)
            note = f"[{number}/{len(jobs)}] {datetime.datetime.now():%H:%M:%S} {' '.join(job)}"
            if row is None:
                failures += 1
                print(f"{note} FAILED after {time.perf_counter() - start:.0f} s", flush=True)
                continue
            write_row(output, row)
            scores = f"accuracy {row['accuracy']:.4f} log loss {row['log_loss']:.3f}"
            cost = (
                f"{row['fit_s']:.1f} s, {row['predict_texts_s']:.0f} texts/s, {row['peak_mb']} MB"
            )
            print(f"{note} {scores} fit {cost}", flush=True)
    return failures


def plan(arguments: argparse.Namespace) -> list[Job]:
    jobs = []
    for budget, name, draw, system in itertools.product(
        arguments.budgets, arguments.sets, arguments.draws, arguments.systems
    ):
        n_classes = len(set(_data.load(name, "train").labels)) if system == "setfit" else 0
        if _systems.is_planned(system, budget, n_classes):
            jobs.append((name, budget, draw, system))
    return jobs


def split(text: str) -> list[str]:
    return text.split(",")


def parse() -> argparse.Namespace:
    systems = [*_systems.PEERS, "sktransfer", "sktransfer_nolabeltexts"]
    parser = argparse.ArgumentParser(description="Fit TransferTextClassifier and its peers.")
    parser.add_argument("--sets", type=split, default=list(_data.SETS), metavar="SET,...")
    budgets = ["4", "8", "64", "1500"]
    parser.add_argument("--budgets", type=split, default=budgets, metavar="4,8,16,64,1500")
    parser.add_argument("--draws", type=split, default=["0", "1", "2"], metavar="0,1,2")
    parser.add_argument("--systems", type=split, default=systems, metavar="SYSTEM,...")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--core", type=int, help="pin the fits to this core")
    parser.add_argument("--redo", action="store_true", help="fit again what is in the CSV")
    parser.add_argument("--report", action="store_true", help="print the CSV's tables and stop")
    parser.add_argument("--one", nargs=4, metavar=KEY, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for chosen, known in (
        (arguments.sets, _data.SETS),
        (arguments.budgets, _data.BUDGETS),
        (arguments.systems, _systems.SYSTEMS),
    ):
        if unknown := set(chosen) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return arguments


def main() -> int:
    arguments = parse()
    if arguments.one:
        if arguments.core is not None:
            os.sched_setaffinity(0, {arguments.core})
        import torch

        torch.set_num_threads(arguments.threads)
        print(json.dumps(run_one(tuple(arguments.one))))
        return 0
    if arguments.report:
        import _report

        print(_report.markdown(arguments.output))
        return 0
    failures = run(
        plan(arguments), arguments.output, arguments.threads, arguments.core, arguments.redo
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
