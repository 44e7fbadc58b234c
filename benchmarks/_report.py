"""Markdown summary of `results/label_budgets.csv`: tables by budget, then the claims.

Two systems are compared on the draws that both have; times by processor time where both ran on one
thread (on a shared machine the wall clock also counts the neighbors), else by the wall clock.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

import _data
import _systems
import numpy as np
import pandas as pd

OURS = "sktransfer"
# The defaults without label words, which users with coded labels get.
CODES = "sktransfer_nolabeltexts"
TRAINERS = ("trainer_1e-4", "trainer_3e-4")
BEST_TRAINER = "trainer (better rate)"
# Systems from the delta, the same from plain MiniLM, and what they are called.
ENCODER_PAIRS = (
    (OURS, "sktransfer_plain", "default fit, words"),
    (CODES, "sktransfer_plain_nolabeltexts", "default fit, codes"),
    ("frozen_delta", "frozen", "frozen features"),
    ("setfit_delta", "setfit", "SetFit"),
)


def markdown(path: Path) -> str:
    rows = pd.read_csv(path, dtype={"budget": str})
    parts = [f"# Label budgets\n\n{len(rows)} fits, {_span(rows)}."]
    for budget in _data.BUDGETS:
        part = rows[rows["budget"] == budget]
        if len(part):
            main = part[
                part["system"].isin([*_systems.PEERS, *_systems.FURTHER_PEERS, OURS, CODES])
            ]
            ratios = [_ratios(main), _ratios(main, CODES)]
            parts += [f"## {_title(budget)}", _accuracies(main), *ratios, _ablations(part)]
    parts = [part for part in parts if part]
    parts += ["## What the encoder gives", _encoder_gains(rows)]
    parts += ["## Time of a fit", _times(rows)]
    parts += ["## Claims", "\n".join(_claims(rows))]
    return "\n\n".join(parts)


def _title(budget: str) -> str:
    return "1,500 labels" if budget == "1500" else f"{budget} labels per class"


def _span(rows: pd.DataFrame) -> str:
    threads = "/".join(str(number) for number in sorted(rows["threads"].unique()))
    machines = ", ".join(rows["cpu"].unique())
    return f"{machines}, {threads} thread(s), {rows['date'].min()} to {rows['date'].max()}"


def _table(header: list[str], lines: Iterable[list[str]]) -> str:
    return "\n".join(
        "| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines]
    )


def _accuracies(part: pd.DataFrame) -> str:
    """Mean accuracy (draws); the last row is over the sets that all systems have.

    Further peers, which were run on fewer sets, do not narrow them.
    """
    means = part.pivot_table(
        index="set", columns="system", values="accuracy", aggfunc=["mean", "size"]
    )
    sets = [name for name in _data.SETS if name in means.index]
    systems = list(means["mean"].columns)
    lines = []
    for name in sets:
        cells = []
        for system in systems:
            mean, draws = means.loc[name, ("mean", system)], means.loc[name, ("size", system)]
            cells.append("–" if pd.isna(mean) else f"{100 * mean:.1f} ({draws:.0f})")
        lines.append([name, *cells])
    common = means["mean"].dropna(subset=[s for s in systems if s not in _systems.FURTHER_PEERS])
    if len(common):
        averages = 100 * common.mean(skipna=False)
        cells = ["–" if pd.isna(averages[s]) else f"**{averages[s]:.1f}**" for s in systems]
        lines.append([f"**mean of {len(common)}**", *cells])
    return _table(["accuracy % (draws)", *systems], lines)


def _ratios(part: pd.DataFrame, ours: str = OURS) -> str:
    """How ours compares with each peer: accuracy, time of a fit, speed of predictions, log loss."""
    lines = []
    for peer in [name for name in part["system"].unique() if not name.startswith(OURS)]:
        both = paired(part, peer, ours)
        if both.empty:
            continue
        wins = int((both["log_loss_ours"] < both["log_loss_peer"]).sum())
        gain = _gain(both)
        time = both["fit_ours"].sum() / both["fit_peer"].sum()
        lines.append(
            [
                peer,
                f"{len(both)}",
                f"{gain.mean():+.1f} ({gain.min():+.1f} to {gain.max():+.1f})",
                f"{time:.2f} (worst {both['fit_ratio'].max():.2f})",
                f"{(both['predict_ours'] / both['predict_peer']).median():.2f}",
                f"{wins} of {len(both)}",
            ]
        )
    header = [f"{ours} against", "sets", "accuracy points", "fit time, ratio"]
    return _table([*header, "texts/s, ratio", "log loss lower"], lines) if lines else ""


def _ablations(part: pd.DataFrame) -> str:
    """What each variant changes against the defaults."""
    lines = []
    variants = [name for name in part["system"].unique() if name.startswith(f"{OURS}_")]
    for variant in variants:
        both = paired(part, OURS, variant)
        gain = _gain(both)
        if both.empty:
            continue
        ratio = both["fit_ours"].sum() / both["fit_peer"].sum()
        loss = (both["log_loss_ours"] - both["log_loss_peer"]).mean()
        sets = ", ".join(f"{name} {value:+.1f}" for name, value in gain.items())
        lines.append([variant, f"{gain.mean():+.1f}", f"{loss:+.3f}", f"{ratio:.2f}", sets])
    header = ["ablation, against the defaults", "accuracy points", "log loss", "fit time, ratio"]
    return _table([*header, "points by set"], lines) if lines else ""


def _encoder_gains(rows: pd.DataFrame) -> str:
    """What systems gain by the delta, on the draws of both encoders."""
    lines = []
    for budget, (ours, plain, kind) in itertools.product(_data.BUDGETS, ENCODER_PAIRS):
        both = paired(rows[rows["budget"] == budget], plain, ours)
        if len(both) < 2:
            continue
        gain = _gain(both)
        fewest, most = int(both["draws"].min()), int(both["draws"].max())
        draws = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        extremes = [f"{name} {gain[name]:+.1f}" for name in (gain.idxmin(), gain.idxmax())]
        accuracies = [f"{100 * both[f'accuracy_{side}'].mean():.1f}" for side in ("peer", "ours")]
        lines.append(
            [
                f"{kind}, {_title(budget)}",
                f"{len(both)} ({draws})",
                *accuracies,
                f"{gain.mean():+.1f} ± {gain.sem():.1f}",
                *extremes,
                *(f"{both[f'log_loss_{side}'].mean():.3f}" for side in ("peer", "ours")),
            ]
        )
    header = ["", "sets (draws)", "plain MiniLM", "with the delta", "difference", "worst set"]
    return _table([*header, "best set", "log loss, plain", "with the delta"], lines)


def _times(rows: pd.DataFrame) -> str:
    """Processor seconds of a fit on one thread, over the sets that all systems of a budget have.

    Of the rows of the processor that has most of them.
    """
    systems = [*_systems.PEERS, OURS, CODES]
    rows = rows[_processor(rows["cpu"]) == _processor(rows["cpu"]).mode()[0]]
    single = rows[(rows["threads"] == 1) & rows["system"].isin(systems)]
    lines = []
    for budget in _data.BUDGETS:
        part = single[single["budget"] == budget]
        means = part.pivot_table(index="set", columns="system", values="fit_cpu_s").dropna()
        cells = []
        for system in systems:
            found = means.get(system)
            if found is None or found.empty:
                cells.append("–")
            else:
                cells.append(f"{found.median():.1f} ({found.min():.1f} to {found.max():.1f})")
        lines.append([_title(budget), f"{len(means)}", *cells])
    return _table(["processor s: median (range)", "sets", *systems], lines)


def _processor(cpu: pd.Series) -> pd.Series:
    """Names of processors, without their instructions."""
    return cpu.str.split(",").str[0]


def paired(part: pd.DataFrame, peer: str, ours: str = OURS) -> pd.DataFrame:
    """One row per set: means of the two systems over the draws that both have.

    Times are those of draws that both had on the same processor.
    """
    keys = ["set", "draw"]
    left, right = part[part["system"] == ours], part[part["system"] == peer]
    both = left.merge(right, on=keys, suffixes=("_ours", "_peer"))
    single = (both["threads_ours"] == 1) & (both["threads_peer"] == 1)
    for side in ("ours", "peer"):
        both[f"fit_{side}"] = both[f"fit_cpu_s_{side}"].where(single, both[f"fit_s_{side}"])
        both[f"predict_{side}"] = both[f"predict_texts_cpu_s_{side}"].where(
            single, both[f"predict_texts_s_{side}"]
        )
    timed = [f"{what}_{side}" for what in ("fit", "predict") for side in ("ours", "peer")]
    both.loc[_processor(both["cpu_ours"]) != _processor(both["cpu_peer"]), timed] = np.nan
    measures = ("accuracy", "log_loss", "fit", "predict")
    numbers = [f"{measure}_{side}" for measure in measures for side in ("ours", "peer")]
    means = both.groupby("set")[numbers].mean()
    means["fit_ratio"] = means["fit_ours"] / means["fit_peer"]
    means["draws"] = both.groupby("set").size()
    return means.reindex([name for name in _data.SETS if name in means.index])


def _better_trainer(part: pd.DataFrame) -> pd.DataFrame:
    """`part` and, as one more system, the plain fine-tune at its better rate on each set."""
    tuned = part[part["system"].isin(TRAINERS)]
    keep = []
    for _, group in tuned.groupby("set"):
        best = group.groupby("system")["accuracy"].mean().idxmax()
        keep.append(group[group["system"] == best].assign(system=BEST_TRAINER))
    return pd.concat([part, *keep], ignore_index=True)


def _claim(passed: bool, text: str, n_sets: int, of: int = len(_data.SETS)) -> str:
    verdict = "not measured" if n_sets == 0 else "pass" if passed else "**FAIL**"
    missing = "" if n_sets >= of else f" (only {n_sets} of {of} sets measured)"
    return f"- {verdict}: {text}{missing}"


def _gain(both: pd.DataFrame) -> pd.Series:
    return 100 * (both["accuracy_ours"] - both["accuracy_peer"])


def _claims(rows: pd.DataFrame) -> list[str]:
    by_budget = {budget: rows[rows["budget"] == budget] for budget in _data.BUDGETS}
    return [
        *(_safety(rows, system) for system in (OURS, CODES)),
        *(_above_tfidf(budget, part) for budget, part in by_budget.items() if len(part)),
        *_against_setfit(by_budget["8"]),
        *_above_every_peer(by_budget["64"]),
        *_against_trainer(_better_trainer(by_budget["1500"])),
        _log_loss(by_budget["1500"]),
    ]


def _safety(rows: pd.DataFrame, system: str) -> str:
    """Fits below frozen features of the same rows, at up to 64 labels per class."""
    few = rows[rows["budget"] != "1500"]
    keys = ["set", "budget", "draw"]
    ours, frozen = few[few["system"] == system], few[few["system"] == "frozen"]
    both = ours.merge(frozen, on=keys, suffixes=("_ours", "_frozen"))
    gain = 100 * (both["accuracy_ours"] - both["accuracy_frozen"])
    below = int((gain < -2).sum())
    blind = int((ours["log_loss"] > np.log(ours["n_classes"])).sum())
    text = (
        f"{system}: {below} of {len(both)} fits more than 2 points below frozen features (asked: "
        f"one in twenty), the worst by {min(0, gain.min()):+.1f} (asked: -6); log loss above that "
        f"of even odds in {blind} of {len(ours)} (asked: 0)"
    )
    passed = below * 20 <= len(both) and gain.min() >= -6 and not blind
    return _claim(passed, text, len(both), 1)


def _above_tfidf(budget: str, part: pd.DataFrame) -> str:
    gain = _gain(paired(part, "tfidf"))
    losses = ", ".join(f"{name} {value:+.1f}" for name, value in gain[gain <= 0].items())
    text = f"{_title(budget)}: above TF-IDF on every set; not above on: {losses or 'none'}"
    return _claim(bool((gain > 0).all()), text, len(gain))


def _against_setfit(part: pd.DataFrame) -> list[str]:
    both = paired(part, "setfit")
    gain = _gain(both).mean()
    limit = both["fit_peer"].where(both["fit_peer"] < 15, both["fit_peer"] / 5)
    over = both["fit_ours"] > limit
    slow = ", ".join(
        f"{name} {both.loc[name, 'fit_ours']:.1f} s (allowed {limit[name]:.1f})"
        for name in both.index[over]
    )
    speed = both["predict_ours"] / both["predict_peer"]
    speeds = f"texts/s ratio: median {speed.median():.2f}, least {speed.min():.2f}"
    start = "8 labels per class"
    return [
        _claim(gain >= 1, f"{start}: {gain:+.2f} points against SetFit (asked: +1)", len(both)),
        _claim(
            not slow, f"{start}: fit within the time allowed; over it: {slow or 'none'}", len(both)
        ),
        _claim(bool(speed.min() >= 1), f"{start}: predicts as fast as SetFit; {speeds}", len(both)),
    ]


def _above_every_peer(part: pd.DataFrame) -> list[str]:
    lines = []
    for peer in [name for name in part["system"].unique() if not name.startswith(OURS)]:
        both = paired(part, peer)
        gain = _gain(both).mean()
        text = f"64 labels per class: {gain:+.2f} points against {peer} over {len(both)} sets"
        # SetFit is asked for on the sets of at most six classes only.
        lines.append(_claim(gain > 0, text, len(both), 6 if peer == "setfit" else len(_data.SETS)))
    return lines


def _against_trainer(part: pd.DataFrame) -> list[str]:
    both = paired(part, BEST_TRAINER)
    gain = _gain(both).mean()
    total = both["fit_ours"].sum() / both["fit_peer"].sum()
    worst = both["fit_ratio"].max()
    points = f"1,500 labels: {gain:+.2f} points against the plain fine-tune at its better rate"
    time = f"1,500 labels: {total:.2f} of its time in all, worst set {worst:.2f} (asked: 0.75)"
    return [_claim(gain >= 0, points, len(both)), _claim(worst <= 0.75, time, len(both))]


def _log_loss(part: pd.DataFrame) -> str:
    both = paired(part, "tfidf")
    wins = int((both["log_loss_ours"] < both["log_loss_peer"]).sum())
    text = f"1,500 labels: log loss below TF-IDF's on {wins} of {len(both)} sets (asked: 8)"
    return _claim(wins >= 8, text, len(both))
