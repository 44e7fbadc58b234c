"""Every estimator on real sets: pairs, regression, multilabel, choices, tags, answers.

python benchmarks/tasks.py                        # the test sets, two seeds each
python benchmarks/tasks.py --sets stsb --seeds 0
python benchmarks/tasks.py --validate --sets stsb --parameters '{"max_epochs": 5}'
python benchmarks/tasks.py --features              # frozen features, on the sets of label_budgets
python benchmarks/tasks.py --report
"""

import argparse
import csv
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import _data
import _systems
import numpy as np
from _provenance import cpu_model, versions
from _task_report import read, report
from _task_sets import BENCHMARKS, MAX_LENGTH, _emotions, read_split

import sktransfer

RESULTS = Path(__file__).parent / "results" / "tasks.csv"


VALIDATION = Path(__file__).parent / "results" / "tasks_validation.csv"


KEY = ("set", "seed", "estimator", "parameters")


COLUMNS = (
    *KEY,
    "n_train",
    "n_test",
    "measure",
    "value",
    "bar",
    "fit_s",
    "fit_cpu_s",
    "predict_s",
    "predict_cpu_s",
    "threads",
    "cpu",
    "date",
    "versions",
)


SEEDS = (0, 1)


def run(
    name: str, seed: int, parameters: dict[str, Any], *, validate: bool
) -> list[dict[str, Any]]:
    """Fit and score; a row for each measure."""
    benchmark = BENCHMARKS[name]
    split = read_split(name, seed, validate=validate)
    if benchmark.rows is _emotions:
        _emotions(split.train)
    model = getattr(sktransfer, benchmark.estimator)(**parameters, random_state=seed)
    X, y = benchmark.rows(split.train)
    clocks = [now()]
    model.fit(X, y)
    clocks.append(now())
    measures = benchmark.measure(model, split, benchmark.rows)
    clocks.append(now())
    row = {
        "set": name,
        "seed": seed,
        "estimator": benchmark.estimator,
        "parameters": json.dumps(parameters),
        "n_train": len(split.train),
        "n_test": len(split.test),
    }
    common = {**seconds(clocks), **machine()}
    return [
        {**row, **measured(measure, value, benchmark.bars.get(measure, "")), **common}
        for measure, value in measures.items()
    ]


def machine() -> dict[str, Any]:
    return {
        "threads": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def cosine() -> list[dict[str, Any]]:
    """Frozen cosine of the same encoder on STS-B, which no fit stands behind."""
    from scipy.stats import pearsonr

    split = read_split("stsb", 0, validate=False)
    clocks = [now()]
    vectorizer = sktransfer.TransferTextVectorizer().fit(split.train["text_a"])
    clocks.append(now())
    first, second = (vectorizer.transform(split.test[column]) for column in ("text_a", "text_b"))
    clocks.append(now())
    row = {
        "set": "stsb",
        "seed": 0,
        "estimator": "cosine of TransferTextVectorizer, frozen",
        "parameters": "{}",
        "n_train": 0,
        "n_test": len(split.test),
    }
    value = float(pearsonr((first * second).sum(axis=1), split.test["label"])[0])
    return [{**row, **measured("pearson", value, ""), **seconds(clocks), **machine()}]


def frozen_features(name: str, seed: int) -> list[dict[str, Any]]:
    """Frozen features and logistic regression: ours, and sentence-transformers', on one draw.

    Both read the first 256 tokens. Of equal texts ours computes one; every text here is distinct.
    """
    import warnings

    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    train, test = _data.draw(name, "64", seed), _data.test_rows(name)
    peer = SentenceTransformer(_systems.encoder_folder(), device="cpu")
    peer.max_seq_length = MAX_LENGTH
    ours = sktransfer.TransferTextVectorizer(max_length=MAX_LENGTH, long_texts="truncate")
    ours.fit(train.texts[:1])
    encoders = {
        "TransferTextVectorizer, frozen + LogisticRegression": ours.transform,
        "sentence-transformers + LogisticRegression": lambda texts: peer.encode(
            texts, normalize_embeddings=True, show_progress_bar=False
        ),
    }
    rows = []
    for system, encode in encoders.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*were cut")
            encode(train.texts[:32])
            clocks = [now()]
            model = LogisticRegression(C=10, max_iter=2000).fit(encode(train.texts), train.labels)
            clocks.append(now())
            features = encode(list(dict.fromkeys(test.texts)))
            clocks.append(now())
        place = {text: number for number, text in enumerate(dict.fromkeys(test.texts))}
        predicted = model.predict(features[[place[text] for text in test.texts]])
        row = {
            "set": name,
            "seed": seed,
            "estimator": system,
            "parameters": json.dumps({"max_length": MAX_LENGTH, "labels a class": 64}),
            "n_train": len(train.texts),
            "n_test": len(test.texts),
        }
        speed = len(features) / (clocks[2][1] - clocks[1][1])
        common = {**seconds(clocks), **machine()}
        rows += [
            {**row, **measured("accuracy", float(np.mean(predicted == test.labels)), ""), **common},
            {**row, **measured("texts per processor second", speed, ""), **common},
        ]
    return rows


def now() -> tuple[float, float]:
    """Wall clock and processor time."""
    return time.perf_counter(), time.process_time()


def seconds(clocks: list[tuple[float, float]]) -> dict[str, str]:
    """Columns of a fit and a prediction between three readings of the clocks."""
    (fit_s, fit_cpu_s), (predict_s, predict_cpu_s) = np.diff(np.array(clocks), axis=0)
    return {
        "fit_s": f"{fit_s:.0f}",
        "fit_cpu_s": f"{fit_cpu_s:.0f}",
        "predict_s": f"{predict_s:.1f}",
        "predict_cpu_s": f"{predict_cpu_s:.1f}",
    }


def measured(measure: str, value: float, bar: float | str) -> dict[str, Any]:
    return {"measure": measure, "value": f"{value:.4f}", "bar": bar}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Put rows in the place of those of the same fit."""
    text = [{column: str(row[column]) for column in COLUMNS} for row in rows]
    keys = {tuple(row[part] for part in KEY) for row in text}
    kept = [row for row in read(path) if tuple(row[part] for part in KEY) not in keys]
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *text])
    partial.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", default=",".join(BENCHMARKS), metavar="SET,...")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), metavar="0,1,...")
    parser.add_argument("--validate", action="store_true", help="score on validation rows")
    parser.add_argument("--parameters", type=json.loads, help="setting to validate, as JSON")
    parser.add_argument("--report", action="store_true", help="print the table and stop")
    parser.add_argument("--output", type=Path, help="CSV to write to; default: in results/")
    parser.add_argument("--features", action="store_true", help="frozen features and their peer")
    arguments = parser.parse_args()
    if arguments.parameters is not None and not arguments.validate:
        parser.error("--parameters is for --validate: a setting is not chosen on test rows")
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    output = arguments.output or (VALIDATION if arguments.validate else RESULTS)
    if arguments.features:
        for name in _data.SETS:
            record(output, frozen_features(name, seeds[0]))
    elif not arguments.report:
        names = arguments.sets.split(",")
        if "stsb" in names and not arguments.validate:
            record(output, cosine())
        for name in names:
            parameters = arguments.parameters
            if parameters is None:
                parameters = BENCHMARKS[name].parameters
            for seed in seeds:
                record(output, run(name, seed, parameters, validate=arguments.validate))
    if not arguments.validate:
        print(report(RESULTS))
    return 0


def record(path: Path, rows: list[dict[str, Any]]) -> None:
    write(path, rows)
    for row in rows:
        print(*(row[column] for column in (*KEY, "measure", "value")), flush=True)


if __name__ == "__main__":
    sys.exit(main())
