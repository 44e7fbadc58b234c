"""The tables of `speed.py`."""

from pathlib import Path
from typing import Any

import numpy as np
from _speed_parts import OURS

REPORTED = {
    "seconds": "s",
    "cpu_s": "processor s",
    "ratio": f"time / {OURS}'s",
    "texts_per_s": "texts/s",
    "peak_mb": "peak MB",
    "score": "score",
    "steps": "steps",
    "trained_parameters": "trained parameters",
    "cache_mb": "cache MB",
    "resident_mb": "resident MB",
    "gpu_peak_mb": "GPU peak MB",
    "gpu_mb": "GPU MB after",
}


def our_time(times: Any, setting: str) -> float:
    """Time of our first system in a setting."""
    own = [
        time
        for (where, system), time in times.items()
        if where == setting and system.startswith(OURS)
    ]
    return own[0] if own else np.nan


def markdown(path: Path) -> str:
    """Tables of medians over the repeats, one a part, machine and number of threads.

    Times are compared by processor time on one thread of a CPU, because the wall clock of a shared
    machine also counts the neighbors, and by the wall clock elsewhere.
    """
    import _report
    import pandas as pd

    rows = pd.read_csv(path)
    blocks = ["# Speed"]
    kinds = ["part", "device", "threads", "cpu"]
    for (part, device, threads, cpu), group in rows.groupby(kinds, sort=False):
        by_processor = device == "cpu" and threads == 1
        clock = "processor time" if by_processor else "wall clock"
        medians = group.groupby(["setting", "system"], sort=False)
        table = medians[[name for name in REPORTED if name != "ratio"]].median()
        time_column = table["cpu_s" if by_processor else "seconds"]
        table["ratio"] = [
            value / our_time(time_column, setting) for (setting, _), value in time_column.items()
        ]
        kept = [name for name in REPORTED if table[name].fillna(0).any()]
        lines = [
            [setting, system, str(count), *(figure(table.loc[setting, system][c], c) for c in kept)]
            for (setting, system), count in medians.size().items()
        ]
        machine = cpu if device == "cpu" else device
        title = f"## {part}\n\n{machine}, {threads} thread(s), ratio by {clock}"
        header = ["setting", "system", "repeats", *(REPORTED[name] for name in kept)]
        blocks += [title, _report._table(header, lines)]
    return "\n\n".join(blocks)


def figure(value: float, column: str) -> str:
    if np.isnan(value):
        return "–"
    digits = {"score": 4, "ratio": 2, "seconds": 2, "cpu_s": 2, "texts_per_s": 1}.get(column, 0)
    return f"{value:,.{digits}f}"
