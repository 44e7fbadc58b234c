"""How far a comparison is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class ComparisonProgress:
    """Progress of a comparison: the next fit and the estimated time left.

    `seconds_left` is None until every estimator has been timed once; `estimator` is None at the
    end, when nothing is left to fit.
    """

    n_done: int
    n_total: int
    estimator: str | None
    n_labels: int
    repeat: int
    seconds_left: float | None


@contextmanager
def shown_progress() -> Iterator[Callable[[ComparisonProgress], None]]:
    """A progress bar in a terminal or a notebook, otherwise one line per fit; on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield _print
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None, left="")

        def update(state: ComparisonProgress) -> None:
            bar.update(
                task,
                completed=state.n_done,
                total=state.n_total,
                description=_doing(state),
                left=_time_left(state),
            )

        yield update


def _print(state: ComparisonProgress) -> None:
    if state.estimator is not None:
        line = f"[{state.n_done + 1}/{state.n_total}] {_doing(state)}, {_time_left(state)}\n"
        sys.stderr.write(line)
        sys.stderr.flush()


def _doing(state: ComparisonProgress) -> str:
    if state.estimator is None:
        return "done"
    return f"repeat {state.repeat + 1}, {state.n_labels:,} labels: {state.estimator}"


def _time_left(state: ComparisonProgress) -> str:
    if state.seconds_left is None:
        return "estimating the time left"
    minutes, seconds = divmod(round(state.seconds_left), 60)
    return f"about {minutes}:{seconds:02d} left"
