"""Time and memory of searches, fits and predictions, beside skorch, the `Trainer` and others.

Every measurement is a process of its own and becomes rows of the CSV; within a repeat the systems
take turns, so that a machine that slows down does so for all of them:

    python benchmarks/speed.py grid heads --core 0
    python benchmarks/speed.py grid --systems sktransfer "trainer, bfloat16" --repeats 1
    python benchmarks/speed.py finetune predict calls growth flat --device cuda
    python benchmarks/speed.py --report
"""

import argparse
import contextlib
import csv
import datetime
import fcntl
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _processes import child_environment
from _provenance import commit, cpu_model, provenance, versions
from _speed_parts import CALLS, FINETUNE_LENGTHS, N_CS, N_FOLDS, NEEDS, PARTS, PREDICT_SET, Job
from _speed_report import markdown
from label_budgets import read_rows

RESULTS = Path(__file__).parent / "results" / "speed.csv"


COLUMNS = (
    "part",
    "system",
    "setting",
    "repeat",
    "n_texts",
    "seconds",
    "cpu_s",
    "texts_per_s",
    "cpu_texts_per_s",
    "peak_mb",
    "score",
    "steps",
    "trained_parameters",
    "cache_mb",
    "resident_mb",
    "gpu_peak_mb",
    "gpu_mb",
    "threads",
    "device",
    "cpu",
    "date",
    "command",
    "versions",
    "commit",
)


def run_in_child(job: Job, core: int | None) -> list[dict[str, Any]] | None:
    """A fresh process for a measurement keeps its time and its peak of memory its own."""
    environment = {
        **child_environment(job.threads),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONWARNINGS": "ignore",
    }
    if job.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""  # or the Trainer would take it
    command = [sys.executable, str(Path(__file__).resolve()), "--one", json.dumps(asdict(job))]
    if core is not None:
        command += ["--core", str(core)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if child.returncode:
        print("\n".join(child.stderr.splitlines()[-15:]), flush=True)
        return None
    found: list[dict[str, Any]] = json.loads(child.stdout.splitlines()[-1])
    return found


def measure_here(job: Job, core: int | None) -> None:
    """What the child does: measure, and print the figures as the last line."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    import torch

    torch.set_num_threads(job.threads)
    print(json.dumps([asdict(found) for found in PARTS[job.part].measure(job)]))


def all_versions() -> str:
    found = [versions()]
    for name in ("accelerate", "skorch", "onnxruntime"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name}={importlib.metadata.version(name)}")
    return " ".join(found)


def as_row(job: Job, found: dict[str, Any]) -> dict[str, Any]:
    n_passes, cpu_s = found.pop("n_passes"), found["cpu_s"]
    return {
        "part": job.part,
        "system": job.system,
        "repeat": job.repeat,
        **found,
        "texts_per_s": round(n_passes / found["seconds"], 1),
        "cpu_texts_per_s": round(n_passes / cpu_s, 1) if cpu_s else None,
        "threads": job.threads,
        **provenance(),
        "versions": all_versions(),
        "commit": commit(),
    }


def append(output: Path, rows: list[dict[str, Any]]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "a", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if file.seek(0, os.SEEK_END) == 0:
            writer.writeheader()
        writer.writerows(rows)


def is_done(output: Path, job: Job) -> bool:
    """Whether the CSV has the job; a part that gives several rows adds to its setting."""
    for row in read_rows(output):
        is_same = all(row[name] == str(getattr(job, name)) for name in ("part", "system", "repeat"))
        has_setting = f"{row['setting']}, after".startswith(f"{job.setting}, after")
        on_same = (row["device"] == "cpu") == (job.device == "cpu")
        on_same = on_same and row["threads"] == str(job.threads) and row["cpu"] == cpu_model()
        if is_same and has_setting and on_same:
            return True
    return False


def run(jobs: list[Job], output: Path, core: int | None, resume: bool) -> int:
    failures = 0
    for number, job in enumerate(jobs, 1):
        name = f"{job.part} | {job.setting} | {job.system} | repeat {job.repeat}"
        note = f"[{number}/{len(jobs)}] {datetime.datetime.now():%H:%M:%S} {name}"
        if resume and is_done(output, job):
            print(f"{note}: in the CSV already", flush=True)
            continue
        found = run_in_child(job, core)
        if found is None:
            failures += 1
            print(f"{note}: FAILED", flush=True)
            continue
        rows = [as_row(job, one) for one in found]
        append(output, rows)
        last = rows[-1]
        figures = f"{last['seconds']:.2f} s, processor {last['cpu_s']:.2f} s"
        work = f"{last['texts_per_s']:.0f} texts/s, {last['steps']} steps, score {last['score']}"
        print(f"{note}: {figures}, {work}, peak {last['peak_mb']} MB", flush=True)
    return failures


def settings(part: str, arguments: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Setting, size and number of candidates of each measurement of a part."""
    rows = arguments.rows
    count = min(arguments.candidates or N_CS, N_CS)
    if part in ("grid", "continued", "heads"):
        size = rows or 1000
        return [(f"{count} candidates, {N_FOLDS} folds, {size} texts", size, count)]
    if part == "finetune":
        more = f", {rows} rows" if rows else ""
        sets = arguments.sets or FINETUNE_LENGTHS
        return [(f"{name}{more}", rows or 0, 0) for name in sets]
    if part == "predict":
        size = rows or 500
        return [(f"{PREDICT_SET}, {size} texts", size, 0)]
    if part == "calls":
        return [(setting, size, 0) for setting, (_, size) in CALLS.items()]
    if part == "growth":
        return [(f"{size} texts", size, 0) for size in arguments.sizes]
    return [(f"{arguments.fits} searches", arguments.fits, 0)]


def is_there(system: str, device: str) -> bool:
    if system == "onnxruntime" and device != "cpu":
        return False  # the graph is run by its processor's kernels here
    return all(importlib.util.find_spec(name) is not None for name in NEEDS.get(system, ()))


def plan(arguments: argparse.Namespace) -> list[Job]:
    jobs = []
    for part in arguments.parts:
        known = PARTS[part]
        wanted = arguments.systems or known.systems
        systems = [name for name in (*known.systems, *known.extra) if name in wanted]
        for repeat, (setting, size, count), system in itertools.product(
            range(arguments.repeats), settings(part, arguments), systems
        ):
            if not is_there(system, arguments.device):
                if repeat == 0:
                    print(f"{part}: {system} cannot be run here and is left out", flush=True)
                continue
            jobs.append(
                Job(
                    part,
                    system,
                    setting,
                    repeat,
                    size,
                    count,
                    arguments.device,
                    arguments.threads,
                )
            )
    return jobs


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory beside other packages.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--systems", nargs="+", metavar="SYSTEM", help="default: the main ones")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--core", type=int, help="pin the measurements to this core")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--rows", type=int, help="texts of searches (1000) and predict (500)")
    parser.add_argument("--sets", nargs="+", choices=FINETUNE_LENGTHS, help="of finetune")
    parser.add_argument("--candidates", type=int, help=f"of searches; default: {N_CS}")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1000, 4000, 16000, 64000], help="of growth"
    )
    parser.add_argument("--fits", type=int, default=50, help="searches of flat")
    parser.add_argument("--resume", action="store_true", help="skip what is in the CSV")
    parser.add_argument("--report", action="store_true", help="print the CSV's tables and stop")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    systems = {name for part in PARTS.values() for name in (*part.systems, *part.extra)}
    if unknown := set(arguments.systems or ()) - systems:
        parser.error(f"unknown: {'; '.join(sorted(unknown))}; known: {'; '.join(sorted(systems))}")
    if not (arguments.parts or arguments.report or arguments.one):
        parser.error(f"name a part: {', '.join(PARTS)}")
    return arguments


def main() -> int:
    arguments = parse()
    if arguments.one:
        measure_here(Job(**arguments.one), arguments.core)
        return 0
    if arguments.report:
        print(markdown(arguments.output))
        return 0
    return int(bool(run(plan(arguments), arguments.output, arguments.core, arguments.resume)))


if __name__ == "__main__":
    sys.exit(main())
