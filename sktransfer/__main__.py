"""The command line: ``python -m sktransfer compare``."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from sktransfer.comparison.result import ComparisonResult

_DESCRIPTION = """\
Compare a tuned TF-IDF + LogisticRegression with TransferTextClassifier on the
same splits, at growing numbers of labels: accuracy, macro-F1, log loss, fit time
and speed, and who won by how much. Without FILE, on the docstrings of the
scientific Python packages installed here; on two cores that takes about four
minutes.
"""
_EPILOG = """\
examples:
  python -m sktransfer compare
  python -m sktransfer compare reviews.csv
  python -m sktransfer compare mails.jsonl --text body --label folder
  python -m sktransfer compare spam.csv --no-header --text 2 --label 1
  python -m sktransfer compare mails.parquet --budgets 100,all --output results
"""
_ERROR = 2
_INTERRUPTED = 130
# Errors whose message is meant for a user.
_EXPLAINED = (ValueError, TypeError, ImportError, OSError)
_MOST_JOBS = 4
_RESULTS = ("comparison.csv", "learning_curve.png")
# A table written to a file or a pipe needs no terminal's width.
_PLAIN_WIDTH = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 (an error) or 130 (Ctrl-C)."""
    parsed = _parser().parse_args(arguments)
    try:
        return _compare(parsed)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the output goes to a pager, or to head, that has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - a user reads one line, whatever went wrong
        if parsed.debug:
            traceback.print_exc()
        message = " ".join(str(error).split())
        if not (message and isinstance(error, _EXPLAINED)):
            message = f"{type(error).__name__}: {message} (--debug shows where)"
        sys.stderr.write(f"sktransfer: {message}\n")
        return _ERROR


class _OneLineParser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, without the usage message."""

    def error(self, message: str) -> NoReturn:
        self.exit(_ERROR, f"sktransfer: {message} (see {self.prog} --help)\n")


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
        help="a .csv, .tsv, .json, .jsonl or .parquet file; .csv and .tsv with a header",
    )
    add("--text", metavar="COL", help="the column of texts (default: guessed, and printed)")
    add("--label", metavar="COL", help="the column of labels (default: guessed, and printed)")
    add("--no-header", action="store_true", help="the columns of FILE are called 1, 2, ...")
    add("--encoding", metavar="NAME", help="encoding of FILE (default: UTF-8, or detected)")
    add(
        "--budgets",
        type=_budgets,
        default=(50, 200, "all"),
        metavar="N,N,...",
        help="labels to train on; 'all' is the whole training part (default: 50,200,all)",
    )
    add("--repeats", type=_count, default=3, metavar="N", help="draws to average over (default: 3)")
    add(
        "--jobs",
        type=_count,
        metavar="N",
        help="fits at the same time, each in a process (default: one per processor, at most "
        f"{_MOST_JOBS}; 1 with a GPU)",
    )
    add("--seed", type=int, default=0, metavar="N", help="seed of the draws (default: 0)")
    add("--encoder", metavar="NAME", help="encoder of TransferTextClassifier (default: its own)")
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="write comparison.csv (a row per fit) and learning_curve.png there, if neither is "
        "there yet; without it nothing is written",
    )
    add("--debug", action="store_true", help="show the traceback of an error")
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
    # Fail before the fits rather than after them.
    if arguments.output is not None:
        _make_folder(arguments.output)
    texts, labels = _load(arguments, out)

    from sktransfer.comparison.compare import compare, default_estimators
    from sktransfer.encoders import resolve_encoder

    if arguments.encoder is not None:
        resolve_encoder(arguments.encoder)

    estimators = default_estimators(arguments.encoder, random_state=arguments.seed)
    result = compare(
        texts,
        labels,
        estimators,
        budgets=arguments.budgets,
        n_repeats=arguments.repeats,
        random_state=arguments.seed,
        n_jobs=arguments.jobs or _default_jobs(),
        verbose=1,
    )
    _show(result, out)
    if result.rows:
        _write(result, arguments.output, out)
    return _INTERRUPTED if result.interrupted else 0


def _default_jobs() -> int:
    """Fits at the same time: on a CPU, two fits on one processor each are faster than one on two.

    Each process takes about a gigabyte.
    """
    import joblib

    from sktransfer.runtime import resolve_device

    return 1 if resolve_device("auto").type == "cuda" else min(joblib.cpu_count(), _MOST_JOBS)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output {folder} cannot be made a folder: {error.strerror}.") from error
    for name in _RESULTS:
        if (folder / name).exists():
            raise ValueError(
                f"--output {folder}: {name} is already there, and would be overwritten; give "
                "another folder."
            )


def _load(arguments: argparse.Namespace, out: Console) -> tuple[Sequence[str], Sequence[Any]]:
    if arguments.file is None:
        for option in ("text", "label", "encoding", "no_header"):
            if getattr(arguments, option):
                name = option.replace("_", "-")
                raise ValueError(f"--{name} says how to read FILE, and no FILE was given.")
        from sktransfer.datasets import load_docstrings

        docstrings = load_docstrings()
        names = docstrings.target_names
        _say(
            out,
            f"{len(docstrings.data):,} docstring sentences of the installed packages, "
            f"{len(names)} classes: {', '.join(names)}.",
        )
        return list(docstrings.data), [names[index] for index in docstrings.target]

    from sktransfer.comparison.columns import read_labeled_texts

    read = read_labeled_texts(
        arguments.file,
        arguments.text,
        arguments.label,
        encoding=arguments.encoding,
        has_header=not arguments.no_header,
    )
    guessed = [option for option in ("text", "label") if getattr(arguments, option) is None]
    _say(
        out,
        f"{arguments.file}: {read.n_rows:,} rows, {len(read.texts):,} texts in column "
        f"{read.text_column!r}, {len(set(read.labels))} classes in column {read.label_column!r}"
        + (f" (guessed; --{' and --'.join(guessed)} to choose)." if guessed else "."),
    )
    for note in read.notes:
        _say(out, f"Note: {note}")
    return read.texts, read.labels


def _say(out: Console, line: str) -> None:
    """Print a line without interpreting markup, which may be part of a label or name."""
    out.print(line, highlight=False, markup=False, emoji=False)


def _show(result: ComparisonResult, out: Console) -> None:
    for note in result.notes:
        _say(out, f"Note: {note}")
    if not result.rows:
        return
    repeats = max(row["repeat"] for row in result.rows) + 1
    header, *body = result.table()
    sizes = sorted({f"{row['n_test']:,}" for row in result.rows})
    tests = f"{' to '.join([sizes[0], *sizes[1:][-1:]])} test texts"
    title = f"Mean ± sd of {repeats} repeats, {tests} each" if repeats > 1 else tests
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left", no_wrap=bool(index))
    for cells, following in zip(body, [*body[1:], None], strict=True):
        table.add_row(*cells, end_section=following is None or following[1] != cells[1])
    out.print(table)
    for sentence in result.verdict():
        _say(out, sentence)


def _write(result: ComparisonResult, folder: Path | None, out: Console) -> None:
    if folder is None:
        _say(out, "Nothing was written; --output DIR keeps the rows and the plot.")
        return
    rows, plot = (folder / name for name in _RESULTS)
    result.to_csv(rows)
    written = [str(rows)]
    try:
        result.plot(plot)
        written.append(str(plot))
    except ImportError as error:
        _say(out, f"No plot was drawn. {error}")
    out.print(f"Written: {', '.join(written)}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        # A terminal without "±" shows a question mark, and no traceback after minutes of fitting.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    raise SystemExit(main())
