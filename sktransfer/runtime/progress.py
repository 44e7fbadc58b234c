"""Progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with what is done and what there is to do.
Watch = Callable[[int, int], None]


@contextmanager
def progress_bar(description: str, *, shown: bool) -> Iterator[Watch | None]:
    """Show a bar with the time left in a terminal or a notebook while the block runs.

    Parameters
    ----------
    description : str
        What is being done.
    shown : bool
        Whether there is a bar; where standard error is a file, there is none.

    Yields
    ------
    callable or None
        ``watch(n_done, n_total)`` moves the bar; None if there is none.
    """
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield None
        return
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda n_done, n_total: bar.update(task, completed=n_done, total=n_total)
