"""The command line: ``python -m sktransfer compare``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from ._compare import ComparisonProgress, ComparisonResult

_DESCRIPTION = """\
Compare a tuned TF-IDF + LogisticRegression with TransferTextClassifier on the
same splits, at growing numbers of labels: accuracy, macro-F1, log loss, fit time
and speed, and who won by how much. Without FILE, on the docstrings of the
scientific Python packages installed here; on two cores that takes about five
minutes if the processor has bfloat16 instructions, and about ten if it has not.
"""
_EPILOG = """\
examples:
  python -m sktransfer compare
  python -m sktransfer compare reviews.csv
  python -m sktransfer compare mails.jsonl --text body --label folder
  python -m sktransfer compare mails.parquet --budgets 100,all --output results
"""
_BAD_INPUT = 2
_INTERRUPTED = 130
# A table written to a file or a pipe needs no terminal's width.
_PLAIN_WIDTH = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 (bad input) or 130 (Ctrl-C)."""
    parsed = _parser().parse_args(arguments)
    try:
        return _compare(parsed)
    except (ValueError, TypeError, ImportError, OSError) as error:
        message = " ".join(str(error).split())
        sys.stderr.write(f"sktransfer: {message}\n")
        return _BAD_INPUT
    except KeyboardInterrupt:
        return _INTERRUPTED


class _OneLineParser(argparse.ArgumentParser):
    """Answers a wrong argument with one line, not with the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(_BAD_INPUT, f"sktransfer: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="python -m sktransfer", description="Transfer learning for text classification."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    compare = commands.add_parser(
        "compare",
        help="compare TF-IDF with TransferTextClassifier on your texts",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = compare.add_argument
    add(
        "file",
        nargs="?",
        metavar="FILE",
        help="a .csv, .tsv, .jsonl or .parquet file with a header",
    )
    add("--text", metavar="COL", help="the column of texts (default: the longest strings)")
    add("--label", metavar="COL", help="the column of labels (default: few values that repeat)")
    add(
        "--budgets",
        type=_budgets,
        default=(50, 200, "all"),
        metavar="N,N,...",
        help="labels to train on; 'all' is the whole training part (default: 50,200,all)",
    )
    add("--repeats", type=_count, default=3, metavar="N", help="draws to average over (default: 3)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the draws (default: 0)")
    add("--encoder", metavar="NAME", help="encoder of TransferTextClassifier (default: its own)")
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="write comparison.csv (a row per fit) and learning_curve.png there; without it "
        "nothing is written",
    )
    return parser


def _count(argument: str) -> int:
    if not (argument.isdecimal() and int(argument) > 0):
        raise argparse.ArgumentTypeError(f"{argument!r} is not a number of at least 1")
    return int(argument)


def _budgets(argument: str) -> tuple[int | str, ...]:
    budgets: list[int | str] = []
    for part in (part.strip() for part in argument.split(",")):
        if part != "all" and not (part.isdecimal() and int(part) > 0):
            raise argparse.ArgumentTypeError(f"{part!r} is neither a number of labels nor 'all'")
        budgets.append(part if part == "all" else int(part))
    return tuple(budgets)


def _compare(arguments: argparse.Namespace) -> int:
    out = Console()
    if not out.is_terminal:
        out = Console(width=max(out.width, _PLAIN_WIDTH))
    if arguments.output is not None:
        # Before the minutes of fitting, not after.
        try:
            arguments.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"--output {arguments.output} cannot be made a folder: {error.strerror}."
            ) from error
    texts, labels = _load(arguments, out)

    from ._compare import compare, default_estimators

    estimators = default_estimators(arguments.encoder, random_state=arguments.seed)
    with _progress() as progress:
        result = compare(
            texts,
            labels,
            estimators,
            budgets=arguments.budgets,
            n_repeats=arguments.repeats,
            random_state=arguments.seed,
            progress=progress,
        )
    _show(result, out)
    if result.rows:
        _write(result, arguments.output, out)
    return _INTERRUPTED if result.interrupted else 0


def _load(arguments: argparse.Namespace, out: Console) -> tuple[Sequence[str], Sequence[Any]]:
    if arguments.file is None:
        for option in ("text", "label"):
            if getattr(arguments, option) is not None:
                raise ValueError(f"--{option} names a column of FILE, and no FILE was given.")
        from .datasets import load_docstrings

        docstrings = load_docstrings()
        names = docstrings.target_names
        out.print(
            f"{len(docstrings.data):,} docstring sentences of the installed packages, "
            f"{len(names)} classes: {', '.join(names)}.",
            highlight=False,
        )
        return list(docstrings.data), [names[index] for index in docstrings.target]

    from ._reading import read_labelled_texts

    read = read_labelled_texts(arguments.file, arguments.text, arguments.label)
    guessed = [option for option in ("text", "label") if getattr(arguments, option) is None]
    out.print(
        f"{arguments.file}: {len(read.texts):,} texts in column {read.text_column!r}, "
        f"{len(set(read.labels))} classes in column {read.label_column!r}"
        + (f" (guessed; --{' and --'.join(guessed)} to choose)." if guessed else "."),
        highlight=False,
        markup=False,
    )
    return read.texts, read.labels


@contextmanager
def _progress() -> Iterator[Callable[[ComparisonProgress], None]]:
    """A live bar on a terminal, a line per fit elsewhere; both on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _print_progress
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


def _print_progress(state: ComparisonProgress) -> None:
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


def _show(result: ComparisonResult, out: Console) -> None:
    for note in result.notes:
        out.print(f"Note: {note}", highlight=False)
    if not result.rows:
        return
    repeats = max(row["repeat"] for row in result.rows) + 1
    header, *body = result.table()
    tests = f"{result.rows[0]['n_test']:,} test texts"
    title = f"Mean ± sd of {repeats} repeats, {tests} each" if repeats > 1 else tests
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left", no_wrap=bool(index))
    for cells, following in zip(body, [*body[1:], None], strict=True):
        table.add_row(*cells, end_section=following is None or following[1] != cells[1])
    out.print(table)
    for sentence in result.verdict():
        out.print(sentence, highlight=False, markup=False)


def _write(result: ComparisonResult, folder: Path | None, out: Console) -> None:
    if folder is None:
        out.print("Nothing was written; --output DIR keeps the rows and the plot.", highlight=False)
        return
    rows, plot = folder / "comparison.csv", folder / "learning_curve.png"
    result.to_csv(rows)
    written = [str(rows)]
    try:
        result.plot(plot)
        written.append(str(plot))
    except ImportError as error:
        out.print(f"No plot was drawn. {error}", highlight=False, markup=False)
    out.print(f"Written: {', '.join(written)}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(main())
