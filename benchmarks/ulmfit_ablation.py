"""ULMFiT part by part (Howard and Ruder 2018), with language models of WikiText-2.

python benchmarks/language_models.py --models MODELS awd_forward awd_backward      # first
python benchmarks/ulmfit_ablation.py --models MODELS --sets trec6 imdb --seeds 0 1
python benchmarks/ulmfit_ablation.py --models MODELS --sets imdb --labels 500
python benchmarks/ulmfit_ablation.py --adapt --seeds 0 1     # MiniLM adapted to raw reviews
python benchmarks/ulmfit_ablation.py --validate ...          # rows of train in the place of test
python benchmarks/ulmfit_ablation.py --report

The target language model reads the training texts of the set, without labels (IMDb: a sample of
4,000 and no others), once a seed; the classifiers then see 100, 500 or 2,000 of the labels. The
rates were chosen on training rows of each set that no classifier here saw (see README.md).
"""

import argparse
import csv
import datetime
import json
import re
import statistics
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import _data
import numpy as np
from _provenance import cpu_model, versions
from language_models import AWD, COMMON, append
from sklearn.metrics import accuracy_score, log_loss

from sktransfer import LanguageModel, TransferTextClassifier

RESULTS = Path(__file__).parent / "results" / "ulmfit_ablation.csv"
KEY = ("set", "labels", "seed", "system")
COLUMNS = (
    *KEY,
    *("n_unlabeled", "n_test", "accuracy", "log_loss", "fit_s", "fit_cpu_s", "threads", "cpu"),
    *("date", "parameters", "versions"),
)
LABELS = (100, 500, 2000)
N_TEST = {"imdb": 2000, "trec6": 500}
N_LANGUAGE = {"imdb": 4000, "trec6": 6000}
LANGUAGE_EPOCHS = {"imdb": 1, "trec6": 10}
EPOCHS = {100: 15, 500: 8, 2000: 4}
# The network of the paper and nothing else of this package: no probe, no TF-IDF, no label texts.
PLAIN: dict[str, Any] = {
    "pooling": "concat",
    "head_init": "random",
    "head_refit": False,
    "lexical_weight": 0.0,
    "label_texts": None,
    "contrastive_weight": 0.0,
    "trainable_layers": "all",
    "layer_decay": 1.0,
    "schedule": "constant",
    "learning_rate": 1e-3,
    "precision": "bfloat16",
}
DISCRIMINATIVE = {"layer_decay": 1 / 2.6}
# Of the top layer, where the rates fall from layer to layer.
RATES = {"imdb": 3e-3, "trec6": 1e-2}
SLANTED: dict[str, Any] = {"schedule": "slanted_triangular", "warmup_fraction": 0.1}
ULMFIT = {**DISCRIMINATIVE, **SLANTED, "gradual_unfreezing": True}


@dataclass(frozen=True)
class System:
    """A row of the ablation: where the encoders come from, and what is switched on."""

    encoder: str
    parameters: dict[str, Any] = field(default_factory=dict)
    directions: tuple[str, ...] = ("forward",)


SYSTEMS = {
    "from scratch": System("scratch"),
    "pretrained": System("general"),
    "+ LM fine-tuning": System("target"),
    "+ discriminative": System("target", DISCRIMINATIVE),
    "+ slanted triangular": System("target", DISCRIMINATIVE | SLANTED),
    "+ gradual unfreezing": System("target", ULMFIT),
    "bidirectional": System("target", ULMFIT, ("forward", "backward")),
}


def words(text: str) -> str:
    """Text with its words and punctuation apart, as in WikiText-2."""
    text = re.sub(r"(\d),(\d)", r"\1 @,@ \2", text)
    text = re.sub(r"(\w)-(?=\w)", r"\1 @-@ ", text)
    text = re.sub(r"(\w)'(?=\w)", r"\1 '", text)
    return re.sub(r"([.,!?()\[\]\";:*/&$%]|--)", r" \1 ", text)


@cache
def texts_of(name: str, split: str) -> _data.Rows:
    rows = _data.load(name, split)
    return _data.Rows([words(text) for text in rows.texts], rows.labels)


def drawn(name: str, n_labels: int, seed: int) -> tuple[_data.Rows, _data.Rows]:
    """Labeled rows of a seed, and as many others to choose settings on."""
    rows = texts_of(name, "train")
    order = np.random.default_rng([7, seed]).permutation(len(rows.texts))
    return _data.take(rows, order[:n_labels]), _data.take(rows, order[-1000:])


@cache
def encoder(models: Path, name: str, source: str, direction: str, seed: int) -> Any:
    """Encoder of a system: random, of WikiText-2, or fine-tuned on the texts of a set."""
    if source == "scratch":
        blank = LanguageModel(**{**COMMON, **AWD, "max_epochs": 0, "random_state": seed})
        train = _data.data_root() / "wikitext2" / "train.txt.gz"
        return blank.set_params(direction=direction).fit(train).encoder_
    folder = models / f"awd_{direction}"
    if source == "general":
        return LanguageModel.load(folder).encoder_
    rows = texts_of(name, "train")
    order = np.random.default_rng([7, seed]).permutation(len(rows.texts))
    target = LanguageModel(
        folder,
        max_length=70,
        max_epochs=LANGUAGE_EPOCHS[name],
        layer_decay=1 / 2.6,
        random_state=seed,
        **SLANTED,
    )
    return target.fit([rows.texts[i] for i in order[: N_LANGUAGE[name]]]).encoder_


def run(arguments: argparse.Namespace, name: str, n_labels: int, seed: int, label: str) -> None:
    system = SYSTEMS[label]
    train, valid = drawn(name, n_labels, seed)
    test = valid if arguments.validate else _data.sample(texts_of(name, "test"), name, N_TEST[name])
    parameters = {**PLAIN, "max_epochs": EPOCHS[n_labels], **system.parameters}
    if "layer_decay" in system.parameters:
        parameters["learning_rate"] = RATES[name]
    parameters |= {"random_state": seed, **arguments.parameters}
    wall, cpu, scores = 0.0, 0.0, []
    for direction in system.directions:
        source = encoder(arguments.models, name, system.encoder, direction, seed)
        classifier = TransferTextClassifier(source, **parameters)
        wall, cpu = wall - time.perf_counter(), cpu - time.process_time()
        classifier.fit(train.texts, train.labels)
        wall, cpu = wall + time.perf_counter(), cpu + time.process_time()
        scores.append(classifier.predict_proba(test.texts))
    row = {"set": name, "labels": len(train.texts), "seed": seed, "system": label}
    row["n_unlabeled"] = N_LANGUAGE[name] if system.encoder == "target" else 0
    record(
        arguments, row, classifier.classes_, np.mean(scores, axis=0), test, (wall, cpu), parameters
    )


def adapt(arguments: argparse.Namespace, n_labels: int, seed: int) -> None:
    """MiniLM on IMDb, its language model adapted to raw reviews first or not."""
    rows, valid = _raw(n_labels, seed)
    test = _data.sample(_data.load("imdb", "test"), "imdb", arguments.n_test)
    test = valid if arguments.validate else test
    for label, source in (
        ("MiniLM", "all-MiniLM-L6-v2"),
        ("MiniLM, adapt_epochs=1", adapted(arguments.n_reviews)),
    ):
        wall, cpu = time.perf_counter(), time.process_time()
        classifier = TransferTextClassifier(source, random_state=seed)
        classifier.fit(rows.texts, rows.labels)
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        row = {"set": "imdb", "labels": n_labels, "seed": seed, "system": label}
        row["n_unlabeled"] = 0 if label == "MiniLM" else arguments.n_reviews
        probabilities = classifier.predict_proba(test.texts)
        record(arguments, row, classifier.classes_, probabilities, test, seconds, {})


def _raw(n_labels: int, seed: int) -> tuple[_data.Rows, _data.Rows]:
    rows = _data.load("imdb", "train")
    order = np.random.default_rng([7, seed]).permutation(len(rows.texts))
    return _data.take(rows, order[:n_labels]), _data.take(rows, order[-500:])


@cache
def adapted(n_reviews: int) -> Any:
    """What adapt_epochs=1 does, once for all label budgets: the labeled texts are left out."""
    import pandas as pd

    frame = pd.read_parquet(_data.data_root() / "imdb_unsup" / "train.parquet")
    texts = frame["text"].tolist()[:n_reviews]
    before = time.process_time()
    model = LanguageModel(random_state=0, verbose=1).fit(texts)
    print(f"adapted to {n_reviews} reviews in {time.process_time() - before:.0f} processor s")
    return model.encoder_


def record(
    arguments: argparse.Namespace,
    row: dict[str, Any],
    classes: Any,
    probabilities: Any,
    test: _data.Rows,
    seconds: tuple[float, float],
    parameters: dict[str, Any],
) -> None:
    import torch

    accuracy = accuracy_score(test.labels, classes[probabilities.argmax(axis=1)])
    row |= {
        "n_test": len(test.texts),
        "accuracy": f"{accuracy:.4f}",
        "log_loss": f"{log_loss(test.labels, probabilities.astype(float), labels=classes):.4f}",
        "fit_s": round(seconds[0]),
        "fit_cpu_s": round(seconds[1]),
        "threads": torch.get_num_threads(),
        "cpu": cpu_model(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "parameters": str({k: v for k, v in parameters.items() if k != "random_state"}),
        "versions": versions(),
    }
    print(*(row[key] for key in (*KEY, "accuracy", "log_loss", "fit_cpu_s")), flush=True)
    if not arguments.validate:
        append(arguments.output, COLUMNS, [row])


def report(results: Path) -> None:
    with results.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        budgets = sorted({int(row["labels"]) for row in own})
        print(f"| {name}, accuracy % | " + " | ".join(f"{n} labels" for n in budgets) + " |")
        print("| --- |" + " --- |" * len(budgets))
        order = [*SYSTEMS, "MiniLM", "MiniLM, adapt_epochs=1"]
        for system in sorted({row["system"] for row in own}, key=order.index):
            cells = []
            for budget in budgets:
                found = [
                    100 * float(row["accuracy"])
                    for row in own
                    if row["system"] == system and int(row["labels"]) == budget
                ]
                each = ", ".join(f"{value:.1f}" for value in found)
                cells.append(f"{statistics.fmean(found):.1f} ({each})" if found else "–")
            print(f"| {system} | " + " | ".join(cells) + " |")
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--sets", nargs="+", choices=[*N_TEST], default=[*N_TEST])
    parser.add_argument("--labels", nargs="+", type=int, default=LABELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--systems", nargs="+", choices=[*SYSTEMS], default=[*SYSTEMS])
    parser.add_argument(
        "--parameters", type=json.loads, default={}, help="JSON, for trials with --validate"
    )
    parser.add_argument("--adapt", action="store_true")
    parser.add_argument("--n-reviews", type=int, default=25_000)
    parser.add_argument("--n-test", type=int, default=2_000)
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if arguments.report:
        report(arguments.output)
        return
    for seed in arguments.seeds:
        if arguments.adapt:
            for n_labels in (100, 500):
                adapt(arguments, n_labels, seed)
            continue
        for name in arguments.sets:
            for n_labels in arguments.labels:
                for system in arguments.systems:
                    run(arguments, name, n_labels, seed, system)


if __name__ == "__main__":
    main()
