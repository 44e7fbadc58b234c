"""Draw the plots of the pages from the committed CSVs.

python benchmarks/draw.py
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

HERE = Path(__file__).parent
IMAGES = HERE.parent / "docs" / "images"
PHASES = (
    "loading",
    "tokenizing",
    "frozen layers",
    "features",
    "linear models",
    "word counts",
    "training: forward",
    "training: backward",
    "training: optimizer",
    "training: rest",
    "other",
)


def where_time_goes(rows: pd.DataFrame) -> Figure:
    """A bar for each fit, cut into phases."""
    cases = list(rows["fit"].unique())
    figure = Figure(figsize=(9, 1.2 + 0.75 * len(cases)), layout="constrained")
    axes = figure.subplots()
    colors = mpl.color_sequences["tab20"]
    for row, (fit, turn) in enumerate((fit, turn) for fit in cases for turn in ("first", "again")):
        own = rows[(rows["fit"] == fit) & (rows["turn"] == turn)].set_index("phase")["cpu_s"]
        start, total = 0.0, own.sum()
        for color, phase in zip(colors, PHASES, strict=False):
            share = 100 * own.get(phase, 0.0) / total
            axes.barh(row, share, left=start, color=color, label="" if row else phase)
            start += share
        axes.text(101, row, f"{total:.1f} s", va="center")
    names = [f"{fit}, {turn}" for fit in cases for turn in ("first", "again")]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xlabel("% of the processor time of fit, one core")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def growth(rows: pd.DataFrame) -> Figure:
    """Time and peak memory by the number of texts."""
    rows = rows[rows["part"] == "growth"].groupby("n_texts")[["cpu_s", "peak_mb"]].median()
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, (column, label) in zip(
        figure.subplots(ncols=2),
        {"cpu_s": "processor seconds of fit", "peak_mb": "peak memory, MB"}.items(),
        strict=True,
    ):
        axes.plot(rows.index, rows[column], "o-", label="measured")
        if column == "cpu_s":
            per_text = rows[column].iloc[-1] / rows.index[-1]
            axes.plot(rows.index, per_text * rows.index, ":", label="in proportion to the texts")
            axes.set_yscale("log")
            axes.legend(frameon=False)
        else:
            axes.set_ylim(0)
        axes.set_xscale("log")
        axes.set_xticks(rows.index)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
        axes.set_xlabel("texts")
        axes.set_ylabel(label)
    return figure


def against_frozen(rows: pd.DataFrame) -> Figure:
    """Accuracy of each fit minus that of frozen features on the same rows."""
    keys = ["set", "budget", "draw"]
    frozen = rows[rows["system"] == "frozen"].set_index(keys)["accuracy"]
    measured = set(frozen.index.get_level_values("budget"))
    budgets = [budget for budget in ("4", "8", "16", "64") if budget in measured]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(ncols=2, sharey=True)
    names = {"sktransfer": "labels are words", "sktransfer_nolabeltexts": "labels are codes"}
    for axes, (system, title) in zip(panels, names.items(), strict=True):
        own = rows[rows["system"] == system].set_index(keys)["accuracy"]
        gain = (100 * (own - frozen)).dropna().reset_index()
        for place, budget in enumerate(budgets):
            values = gain[gain["budget"] == budget]["accuracy"].sort_values()
            spread = [
                0.6 * (number / max(len(values) - 1, 1) - 0.5) for number in range(len(values))
            ]
            axes.plot([place + part for part in spread], values, "o", markersize=4, alpha=0.7)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.axhline(-2, color="black", linewidth=0.8, linestyle=":")
        axes.set_xticks(range(len(budgets)), budgets)
        axes.set_xlabel("labels per class")
        axes.set_title(title)
    panels[0].set_ylabel("points above frozen features")
    return figure


def accuracy_by_labels(rows: pd.DataFrame) -> Figure:
    """Mean accuracy of the sets that every system was run on, and the spread of the draws."""
    names = {
        "tfidf": "TF-IDF + logistic regression",
        "frozen": "frozen features",
        "setfit": "SetFit",
        "sktransfer": "sktransfer",
    }
    sets = ["sst2", "trec6", "subj", "uci_sentences", "sms_spam"]
    budgets = {"8": "8 per class", "64": "64 per class", "1500": "1,500"}
    rows = rows[rows["set"].isin(sets)]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, (system, name) in enumerate(names.items()):
        own = rows[rows["system"] == system].groupby(["budget", "set"])["accuracy"]
        table = pd.DataFrame({"mean": own.mean(), "spread": own.std()}).reset_index()
        known = [b for b in budgets if (table["budget"] == b).sum() == len(sets)]
        of_budget = table.groupby("budget")[["mean", "spread"]].mean().loc[known]
        places = [list(budgets).index(budget) + 0.04 * (number - 1.5) for budget in known]
        axes.errorbar(
            places,
            100 * of_budget["mean"],
            yerr=100 * of_budget["spread"].fillna(0),
            marker="o",
            capsize=3,
            label=name,
        )
    axes.set_xticks(range(len(budgets)), budgets.values())
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy, %, mean of five sets")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Plots of the pages.")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--images", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    arguments.images.mkdir(parents=True, exist_ok=True)
    # The same CSV gives the same file.
    mpl.rcParams["svg.hashsalt"] = "sktransfer"
    for name, draw, source in (
        ("where_time_goes", where_time_goes, "where_time_goes.csv"),
        ("growth", growth, "speed.csv"),
        ("against_frozen", against_frozen, "label_budgets.csv"),
        ("accuracy_by_labels", accuracy_by_labels, "label_budgets.csv"),
    ):
        figure = draw(pd.read_csv(arguments.results / source, dtype={"budget": str}))
        figure.savefig(arguments.images / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
