"""GPT-1's claims at a small size (Radford et al. 2018): pretraining, and the auxiliary LM loss.

python benchmarks/language_models.py --models MODELS gpt      # first
python benchmarks/gpt_ablation.py --models MODELS --seeds 0 1
python benchmarks/gpt_ablation.py --report

A decoder with the special tokens start, delimiter and extract, whose state at the last token is
classified. Pairs are one text with a delimiter; paraphrase is read in both orders.
"""

import argparse
import csv
import datetime
import statistics
import time
from functools import cache
from pathlib import Path
from typing import Any

import _data
import numpy as np
import pandas as pd
from _provenance import cpu_model, versions
from language_models import COMMON, SMALL, append
from sklearn.metrics import accuracy_score, log_loss
from ulmfit_ablation import PLAIN, words

from sktransfer import LanguageModel, TransferTextClassifier

RESULTS = Path(__file__).parent / "results" / "gpt_ablation.csv"
KEY = ("set", "labels", "seed", "system")
COLUMNS = (
    *KEY,
    *("n_test", "accuracy", "log_loss", "fit_s", "fit_cpu_s", "threads", "cpu", "date"),
    *("parameters", "versions"),
)
# Rows to fit: all, or the few of a small set.
SETS = {"trec6": 500, "mrpc": 3569, "sst2": 6916, "snli_small": 9842}
N_TEST = 2000
# As in the paper: three epochs, a linear fall of the rate, the auxiliary loss at 0.5.
GPT: dict[str, Any] = {
    **PLAIN,
    "pooling": "last",
    "schedule": "linear",
    "learning_rate": 5e-4,
    "max_epochs": 4,
}
SYSTEMS: dict[str, tuple[str, float]] = {
    "from scratch": ("scratch", 0.0),
    "from scratch, auxiliary loss": ("scratch", 0.5),
    "pretrained": ("general", 0.0),
    "pretrained, auxiliary loss": ("general", 0.5),
}


@cache
def frames(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    root = _data.data_root() / name
    train, test = (pd.read_parquet(root / f"{part}.parquet") for part in ("train", "test"))
    order = np.random.default_rng([11, seed]).permutation(len(train))[: SETS[name]]
    return train.iloc[order], test.iloc[:N_TEST]


def rows(frame: pd.DataFrame) -> Any:
    columns = [column for column in ("text", "text_a", "text_b") if column in frame]
    prepared = [[words(text) for text in frame[column]] for column in columns]
    return prepared[0] if len(prepared) == 1 else list(zip(*prepared, strict=True))


@cache
def encoder(models: Path, source: str, seed: int) -> Any:
    if source == "general":
        return LanguageModel.load(models / "gpt").encoder_
    blank = LanguageModel(**{**COMMON, **SMALL["gpt"], "max_epochs": 0, "random_state": seed})
    return blank.fit(_data.data_root() / "wikitext2" / "train.txt.gz").encoder_


def run(arguments: argparse.Namespace, name: str, seed: int, system: str) -> None:
    import torch

    source, lm_weight = SYSTEMS[system]
    train, test = frames(name, seed)
    parameters = {**GPT, "lm_weight": lm_weight, "symmetric": name == "mrpc"}
    classifier = TransferTextClassifier(
        encoder(arguments.models, source, seed), **{**parameters, "random_state": seed}
    )
    wall, cpu = time.perf_counter(), time.process_time()
    classifier.fit(rows(train), train["label"].to_numpy(dtype=str))
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    probabilities, labels = classifier.predict_proba(rows(test)), test["label"].to_numpy(dtype=str)
    predicted = classifier.classes_[probabilities.argmax(axis=1)]
    loss = log_loss(labels, probabilities.astype(float), labels=classifier.classes_)
    row = {
        "set": name,
        "labels": len(train),
        "seed": seed,
        "system": system,
        "n_test": len(test),
        "accuracy": f"{accuracy_score(labels, predicted):.4f}",
        "log_loss": f"{loss:.4f}",
        "fit_s": round(seconds[0]),
        "fit_cpu_s": round(seconds[1]),
        "threads": torch.get_num_threads(),
        "cpu": cpu_model(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "parameters": str({k: v for k, v in parameters.items() if k != "random_state"}),
        "versions": versions(),
    }
    print(*(row[key] for key in (*KEY, "accuracy", "log_loss", "fit_cpu_s")), flush=True)
    append(arguments.output, COLUMNS, [row])


def report(results: Path) -> None:
    with results.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    names = list(dict.fromkeys((row["set"], row["labels"]) for row in found))
    print("| accuracy % | " + " | ".join(f"{name}, {n} rows" for name, n in names) + " |")
    print("| --- |" + " --- |" * len(names))
    for system in dict.fromkeys(row["system"] for row in found):
        cells = []
        for name, _ in names:
            values = [
                100 * float(row["accuracy"])
                for row in found
                if (row["set"], row["system"]) == (name, system)
            ]
            each = ", ".join(f"{value:.1f}" for value in values)
            cells.append(f"{statistics.fmean(values):.1f} ({each})" if values else "–")
        print(f"| {system} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--sets", nargs="+", choices=[*SETS], default=[*SETS])
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--systems", nargs="+", choices=[*SYSTEMS], default=[*SYSTEMS])
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if arguments.report:
        report(arguments.output)
        return
    for seed in arguments.seeds:
        for name in arguments.sets:
            for system in arguments.systems:
                run(arguments, name, seed, system)


if __name__ == "__main__":
    main()
