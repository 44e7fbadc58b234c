"""The tables of `tasks.py`."""

import csv
import statistics
from pathlib import Path

import _data
from _task_sets import BENCHMARKS


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def report(path: Path) -> str:
    """Tables of the test figures against their bars, and of frozen features against their peer."""
    rows = read(path)
    return "\n\n".join(table for table in (task_table(rows), feature_table(rows)) if table)


def task_table(rows: list[dict[str, str]]) -> str:
    lines = [
        "| set | estimator | rows to fit | measure | asked | mean | each seed | fit, processor s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in BENCHMARKS:
        found: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row in rows:
            if row["set"] == name:
                found.setdefault((row["estimator"], row["measure"]), []).append(row)
        for (estimator, measure), same in found.items():
            values = [float(row["value"]) for row in same]
            fit = statistics.mean(float(row["fit_cpu_s"]) for row in same)
            each = ", ".join(f"{value:.3f}" for value in values)
            lines.append(
                f"| {name} | {estimator} | {same[0]['n_train']} | {measure} "
                f"| {same[0]['bar'] or '–'} | {statistics.mean(values):.3f} | {each} | {fit:.0f} |"
            )
    return "\n".join(lines)


def feature_table(rows: list[dict[str, str]]) -> str:
    lines = [
        "| set | accuracy %, ours | sentence-transformers | ours, texts/s | the other |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in _data.SETS:
        value = {
            (row["estimator"].startswith("Transfer"), row["measure"]): float(row["value"])
            for row in rows
            if row["set"] == name
        }
        if not value:
            continue
        accuracy, speed = "accuracy", "texts per processor second"
        lines.append(
            f"| {name} | {100 * value[True, accuracy]:.1f} | {100 * value[False, accuracy]:.1f} "
            f"| {value[True, speed]:.0f} | {value[False, speed]:.0f} |"
        )
    return "\n".join(lines)
