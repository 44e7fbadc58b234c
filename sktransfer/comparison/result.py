"""The result of a comparison: rows, summary, table, plot and verdict."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from importlib.util import find_spec
from os import PathLike
from typing import Any

import numpy as np

Row = dict[str, Any]

METRICS = ("accuracy", "macro_f1", "log_loss", "fit_seconds", "texts_per_second")
_COLUMNS = ("estimator", "budget", "n_labels", "repeat", "n_test", *METRICS, "error")


@dataclass
class ComparisonResult:
    """What :func:`compare` measured: rows, summary, plot and verdict; ``print`` gives a table.

    Parameters
    ----------
    rows : list of dict
        One row per fit: estimator, budget, n_labels, repeat, n_test, accuracy, macro_f1, log_loss
        (NaN where the estimator has no probabilities), fit_seconds, texts_per_second, and error:
        what a fit that failed raised, empty for the others. A failed fit's metrics are NaN.
    notes : list of str
        What was done differently from what was asked, such as rows left out, a budget cut to the
        data at hand, or a fit that failed.
    interrupted : bool, default=False
        True if Ctrl-C stopped the comparison; `rows` then holds the fits that were completed.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from sktransfer import compare
    >>> texts, labels = [f"text {number}" for number in range(24)], ["pos", "neg", "pos"] * 8
    >>> result = compare(texts, labels, {"majority": DummyClassifier()}, budgets=[6, "all"])
    >>> [(line["n_labels"], line["n_repeats"]) for line in result.summary()]
    [(6, 3), (18, 3)]
    """

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    def summary(self) -> list[Row]:
        """Mean and standard deviation over repeats, for each budget and estimator.

        Returns
        -------
        list of dict
            With estimator, budget, n_labels, n_repeats, and ``<metric>_mean`` and
            ``<metric>_std`` of each metric (sample deviation; NaN after a single repeat). Fits
            that failed are not counted; where all did, n_repeats is 0 and the metrics are NaN.
        """
        groups: dict[tuple[int, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row["n_labels"], row["estimator"]), []).append(row)
        order = list(dict.fromkeys(row["estimator"] for row in self.rows))
        summary = []
        for (n_labels, name), group in sorted(
            groups.items(), key=lambda item: (item[0][0], order.index(item[0][1]))
        ):
            completed = [row for row in group if not row.get("error")]
            line: Row = {
                "estimator": name,
                "budget": group[0]["budget"],
                "n_labels": n_labels,
                "n_repeats": len(completed),
            }
            for metric in METRICS:
                values = np.array([row[metric] for row in completed], dtype=float)
                line[f"{metric}_mean"] = float(values.mean()) if len(values) else math.nan
                line[f"{metric}_std"] = float(values.std(ddof=1)) if len(values) > 1 else math.nan
            summary.append(line)
        return summary

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the raw rows, one per fit, to a CSV file.

        Parameters
        ----------
        path : str or path-like
            The file to write.
        """
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)

    def to_frame(self) -> Any:
        """The raw rows as a data frame.

        Returns
        -------
        pandas.DataFrame
            One row per fit.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas: pip install pandas, or use rows, a list of dicts."
            ) from error
        return pandas.DataFrame(self.rows, columns=list(_COLUMNS))

    def verdict(self) -> list[str]:
        """Describe in plain sentences which estimator won, by how much, and where it is worse.

        Returns
        -------
        list of str
            One sentence a budget, and one over all budgets.
        """
        by_budget: dict[int, list[Row]] = {}
        for line in self.summary():
            if not line["n_repeats"]:
                continue
            by_budget.setdefault(line["n_labels"], []).append(line)
        complete = {n: lines for n, lines in by_budget.items() if len(lines) > 1}
        if not complete:
            return ["Nothing to compare yet: no budget has been fitted by two estimators."]
        sentences = [self._sentence(n, lines) for n, lines in complete.items()]
        if len(complete) > 1:
            sentences.append(
                _over_all([_by_accuracy(it)[0]["estimator"] for it in complete.values()])
            )
        return sentences

    def plot(self, target: Any, *, metric: str = "accuracy") -> Any:
        """Draw the learning curves: the mean over repeats, with its standard deviation.

        Parameters
        ----------
        target : path-like or matplotlib Axes
            The image file to write, or the axes to draw into.
        metric : {"accuracy", "macro_f1", "log_loss", "fit_seconds", "texts_per_second"}, \
                default="accuracy"
            What to draw against the number of labels.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn into.
        """
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {metric!r}.")
        if isinstance(target, str | PathLike):
            figure = self._figure(metric)
            figure.savefig(target, dpi=150)
            return figure.axes[0]
        self._draw(target, metric)
        return target

    def _figure(self, metric: str) -> Any:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "The plot needs matplotlib: pip install 'sktransfer[plots]'."
            ) from error
        # A bare Figure needs no display and leaves pyplot's global state alone.
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        self._draw(figure.add_subplot(), metric)
        return figure

    def _repr_html_(self) -> str:
        """Table, verdict and, with matplotlib, the plot for notebooks."""
        header, *body = self.table()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        lines = [
            "".join(f"<td>{escape(cell)}</td>" for cell in cells)  # names may hold any character
            for cells in body
        ]
        parts = [
            f"<table><thead><tr>{head}</tr></thead>",
            "<tbody>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody></table>",
            *(f"<p>{escape(sentence)}</p>" for sentence in [*self.verdict(), *self.notes]),
        ]
        if self.rows and find_spec("matplotlib") is not None:
            image = io.StringIO()
            self._figure("accuracy").savefig(image, format="svg")
            svg = image.getvalue()
            parts.append(f"<div>{svg[svg.index('<svg') :]}</div>")
        return "".join(parts)

    def _draw(self, axes: Any, metric: str) -> None:
        summary = self.summary()
        for name in dict.fromkeys(line["estimator"] for line in summary):
            lines = [line for line in summary if line["estimator"] == name]
            axes.errorbar(
                [line["n_labels"] for line in lines],
                [line[f"{metric}_mean"] for line in lines],
                yerr=np.nan_to_num([line[f"{metric}_std"] for line in lines]),
                marker="o",
                capsize=3,
                label=name,
            )
        ticks = sorted({line["n_labels"] for line in summary})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("labels")
        axes.set_ylabel(metric.replace("_", " "))
        axes.grid(alpha=0.3)
        axes.legend()

    def _sentence(self, n_labels: int, lines: list[Row]) -> str:
        best, second, *others = _by_accuracy(lines)
        wins, n_pairs = self._wins(n_labels, best["estimator"], second["estimator"])
        gap = 100 * (best["accuracy_mean"] - second["accuracy_mean"])
        names = (
            f"{best['estimator']} ({100 * best['accuracy_mean']:.1f}%)",
            (f"{second['estimator']} ({100 * second['accuracy_mean']:.1f}%)"),
        )
        if gap < 0.05:
            text = f"At {n_labels:,} labels {names[0]} and {names[1]} are level in accuracy"
        else:
            verb = "beats" if wins == n_pairs else "is ahead of"
            text = (
                f"At {n_labels:,} labels {names[0]} {verb} {names[1]} by {gap:.1f} points of "
                "accuracy"
            )
            text += f", in {wins} of {n_pairs} repeats" if n_pairs > 1 else ""
        if losses := _losses(best, second):
            text += f"; {best['estimator']} loses on {' and '.join(losses)}"
        rest = [
            f"{line['estimator']} reaches {100 * line['accuracy_mean']:.1f}%" for line in others
        ]
        return "; ".join([text, *rest]) + "."

    def _wins(self, n_labels: int, first: str, second: str) -> tuple[int, int]:
        """Number of repeats in which the first is more accurate, of those both completed."""
        scores: dict[str, dict[int, float]] = {first: {}, second: {}}
        for row in self.rows:
            is_asked = row["n_labels"] == n_labels and row["estimator"] in scores
            if is_asked and not row.get("error"):
                scores[row["estimator"]][row["repeat"]] = row["accuracy"]
        shared = scores[first].keys() & scores[second].keys()
        return sum(scores[first][r] > scores[second][r] for r in shared), len(shared)

    def __str__(self) -> str:
        header, *body = self.table()
        widths = [max(len(cells[i]) for cells in [header, *body]) for i in range(len(header))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ).rstrip()
            for cells in [header, *body]
        )

    def table(self) -> list[list[str]]:
        """The summary as cells of text.

        Returns
        -------
        list of list of str
            The header, then a line for each budget and estimator.
        """
        header = "estimator", "labels", "accuracy %", "macro-F1 %", "log loss", "fit s", "texts/s"
        return [list(header), *map(_cells, self.summary())]


def _cells(line: Row) -> list[str]:
    start = [line["estimator"], f"{line['n_labels']:,}"]
    if not line["n_repeats"]:
        return [*start, "failed", *["-"] * 4]
    return [
        *start,
        _percent(line, "accuracy"),
        _percent(line, "macro_f1"),
        "-" if math.isnan(line["log_loss_mean"]) else f"{line['log_loss_mean']:.3f}",
        f"{line['fit_seconds_mean']:.1f}",
        f"{line['texts_per_second_mean']:,.0f}",
    ]


def _by_accuracy(lines: list[Row]) -> list[Row]:
    return sorted(lines, key=lambda line: line["accuracy_mean"], reverse=True)


def _over_all(leaders: list[str]) -> str:
    """One sentence on which estimator leads at how many budgets."""
    first, *others = Counter(leaders).most_common()
    if not others:
        return f"Over all, {first[0]} has the highest mean accuracy at all {first[1]} budgets."
    if others[0][1] == first[1]:
        shares = ", ".join(f"{name} leads at {count}" for name, count in (first, *others))
        return f"Over all, a draw: of {len(leaders)} budgets {shares}."
    return (
        f"Over all, {first[0]} has the highest mean accuracy at {first[1]} of the "
        f"{len(leaders)} budgets."
    )


def _losses(best: Row, second: Row) -> list[str]:
    """Criteria on which the more accurate of two estimators is worse, with both figures."""
    losses = []
    for metric, name in (("macro_f1", "macro-F1"), ("log_loss", "log loss")):
        sign = 1 if metric == "log_loss" else -1
        mine, theirs = best[f"{metric}_mean"], second[f"{metric}_mean"]
        if sign * (mine - theirs) > 0.0005:
            losses.append(f"{name} ({mine:.3f} against {theirs:.3f})")
    mine, theirs = best["fit_seconds_mean"], second["fit_seconds_mean"]
    # Differences that nobody notices are not losses.
    if mine > 1.1 * theirs and mine - theirs > 0.05:
        losses.append(f"fit time ({mine:.1f} s against {theirs:.1f} s)")
    mine, theirs = best["texts_per_second_mean"], second["texts_per_second_mean"]
    if mine < 0.9 * theirs:
        losses.append(f"prediction speed ({mine:,.0f} texts/s against {theirs:,.0f})")
    return losses


def _percent(line: Row, metric: str) -> str:
    mean, std = 100 * line[f"{metric}_mean"], 100 * line[f"{metric}_std"]
    return f"{mean:.1f}" if math.isnan(std) else f"{mean:.1f} ± {std:.1f}"
