"""Where the time of a fit goes, phase by phase, on one core.

Four fits (only a head, the two top layers, the default, and one epoch of 20 Newsgroups), each
twice in a process: the second finds in the cache what the first has left there.

    python benchmarks/where_time_goes.py
"""

import argparse
import contextlib
import csv
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _data
import _systems
import numpy as np
from _provenance import provenance

RESULTS = Path(__file__).parent / "results" / "where_time_goes.csv"
COLUMNS = ("fit", "turn", "phase", "cpu_s", "n_texts", "threads", "cpu", "date", "command")
COLUMNS += ("versions",)
OTHER = "other"
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "TREC-6, head only": ("trec6", 1000, {"max_epochs": 0}),
    "TREC-6, top two layers": ("trec6", 1000, {"trainable_layers": 2, "max_epochs": 3}),
    "TREC-6, default": ("trec6", 1000, {}),
    "20 Newsgroups, one epoch": ("20newsgroups_strict", 200, {"max_epochs": 1}),
}


class Stopwatch:
    """Processor time of functions by phase; a phase inside another is not counted in that one."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._open: list[str] = [OTHER]
        self._since = time.process_time()

    def switch(self) -> None:
        now = time.process_time()
        self.spent[self._open[-1]] += now - self._since
        self._since = now

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.switch()
        self._open.append(name)
        try:
            yield
        finally:
            self.switch()
            self._open.pop()

    def timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            with self.phase(name):
                return function(*arguments, **keywords)

        return call


def watched() -> list[tuple[Any, str, str]]:
    """Owner, name and phase of the functions that the clock looks at."""
    import torch
    from torch import nn

    from sktransfer.encoders import EncoderHandle
    from sktransfer.fitting import context, fit, probe
    from sktransfer.tasks import ClassificationTask
    from sktransfer.training import forward, frozen, loop, rows

    return [
        (context, "resolve_encoder", "loading"),
        (EncoderHandle, "load_shared", "loading"),
        (context.FitContext, "encode", "tokenizing"),
        (frozen.FrozenLayerCache, "_compute", "frozen layers"),
        (rows.RowObjective, "_pass", "training: forward"),
        (torch.Tensor, "backward", "training: backward"),
        (nn.utils, "clip_grad_norm_", "training: optimizer"),
        (torch.optim.AdamW, "step", "training: optimizer"),
        (forward._Pass, "_encode", "features"),
        (ClassificationTask, "solve", "linear models"),
        (fit, "fit_lexical", "word counts"),
        (probe, "pooled_features", "features"),
        (loop._Run, "_step", "training: rest"),
    ]


@contextlib.contextmanager
def watching() -> Iterator[Stopwatch]:
    stopwatch = Stopwatch()
    with contextlib.ExitStack() as stack:
        for owner, name, phase in watched():
            function = getattr(owner, name)
            setattr(owner, name, stopwatch.timed(function, phase))
            stack.callback(setattr, owner, name, function)
        yield stopwatch
        stopwatch.switch()


def measure(name: str) -> Iterator[dict[str, Any]]:
    from sktransfer import TransferTextClassifier
    from sktransfer.runtime import cache

    data, size, parameters = CASES[name]
    rows = _data.load(data, "train")
    rows = _data.take(rows, np.random.default_rng(0).permutation(len(rows.texts))[:size])
    cache.clear()
    for turn in ("first", "again"):
        classifier = TransferTextClassifier(**parameters, random_state=0, device="cpu")
        with watching() as stopwatch:
            classifier.fit(rows.texts, rows.labels)
        for phase, seconds in stopwatch.spent.items():
            yield {
                "fit": name,
                "turn": turn,
                "phase": phase,
                "cpu_s": round(seconds, 4),
                "n_texts": size,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description="Processor time of a fit by phase.")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    _systems.import_modules(_systems.SkTransfer({}, 0))
    same = {"threads": 1, **provenance()}
    with open(arguments.output, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in arguments.cases:
            for row in measure(name):
                writer.writerow({**row, **same})
                print(f"{row['fit']}, {row['turn']}: {row['phase']} {row['cpu_s']:.2f} s")


if __name__ == "__main__":
    main()
