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
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _data
import _systems
import numpy as np
import pandas as pd
from _provenance import cpu_model, versions

import sktransfer

RESULTS = Path(__file__).parent / "results" / "tasks.csv"
VALIDATION = Path(__file__).parent / "results" / "tasks_validation.csv"
KEY = ("set", "seed", "estimator", "parameters")
MAX_LENGTH = 256
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

# Named measures of a fitted model on held-out rows.
Measures = dict[str, float]


@dataclass(frozen=True)
class Split:
    """Rows to fit, rows to choose a threshold on if the measure has one, rows to score."""

    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class Benchmark:
    """A set, the estimator for it, its setting (chosen on train and valid), and the bars."""

    estimator: str
    rows: Callable[[pd.DataFrame], tuple[Any, Any]]
    measure: Callable[[Any, Split, Callable[[pd.DataFrame], tuple[Any, Any]]], Measures]
    bars: dict[str, float]
    parameters: dict[str, Any] = field(default_factory=dict)
    file: str | None = None
    most_train: int | None = None
    most_test: int | None = None


def _pairs(frame: pd.DataFrame) -> tuple[Any, Any]:
    return frame[["text_a", "text_b"]], frame["label"].to_numpy()


def _texts(column: str) -> Callable[[pd.DataFrame], tuple[Any, Any]]:
    return lambda frame: (frame["text"], frame[column].to_numpy(dtype=float))


EMOTIONS: list[str] = []


def _emotions(frame: pd.DataFrame) -> tuple[Any, Any]:
    from sklearn.preprocessing import MultiLabelBinarizer

    if not EMOTIONS:
        EMOTIONS.extend(sorted({label for labels in frame["labels"] for label in labels}))
    return frame["text"], MultiLabelBinarizer(classes=EMOTIONS).fit_transform(frame["labels"])


# Of COPA the question is "cause" or "effect"; the words are those that join the sentences.
_JOINTS = {"cause": "This happened because:", "effect": "As a result:"}


def _choices(frame: pd.DataFrame) -> tuple[Any, Any]:
    contexts = [
        f"{context} {_JOINTS.get(question, question)}".strip()
        for context, question in zip(frame["context"], frame["question"], strict=True)
    ]
    width = max(map(len, frame["choices"]))
    rows = [
        [context, *choices, *[None] * (width - len(choices))]
        for context, choices in zip(contexts, frame["choices"], strict=True)
    ]
    return rows, frame["label"].to_numpy()


def _tags(frame: pd.DataFrame) -> tuple[Any, Any]:
    return [list(words) for words in frame["tokens"]], [list(tags) for tags in frame["ner"]]


def _answers(frame: pd.DataFrame) -> tuple[Any, Any]:
    spans = [
        (start, start + len(text))
        for start, text in zip(frame["answer_start"], frame["answer_text"], strict=True)
    ]
    return frame[["question", "context"]], spans


def _pearson(model: Any, split: Split, rows: Any) -> Measures:
    from scipy.stats import pearsonr

    X, y = rows(split.test)
    return {"pearson": float(pearsonr(model.predict(X), y)[0])}


def _accuracy(model: Any, split: Split, rows: Any) -> Measures:
    X, y = rows(split.test)
    return {"accuracy": float(np.mean(model.predict(X) == y))}


def _accuracy_f1(model: Any, split: Split, rows: Any) -> Measures:
    from sklearn.metrics import accuracy_score, f1_score

    X, y = rows(split.test)
    predicted = model.predict(X)
    positive = max(set(y))
    return {
        "accuracy": float(accuracy_score(y, predicted)),
        "f1": float(f1_score(y, predicted, pos_label=positive)),
    }


def _r2(model: Any, split: Split, rows: Any) -> Measures:
    return {"r2": float(model.score(*rows(split.test)))}


def _micro_f1(model: Any, split: Split, rows: Any) -> Measures:
    """Micro-averaged F1 at the one threshold that is best on the validation rows."""
    from sklearn.metrics import f1_score

    X, y = rows(split.valid)
    probabilities = model.predict_proba(X)
    thresholds = np.arange(0.1, 0.61, 0.02)
    found = [f1_score(y, probabilities > t, average="micro") for t in thresholds]
    X, y = rows(split.test)
    chosen = model.predict_proba(X) > thresholds[int(np.argmax(found))]
    return {"micro_f1": float(f1_score(y, chosen, average="micro"))}


def _entity_f1(model: Any, split: Split, rows: Any) -> Measures:
    return {"entity_f1": float(model.score(*rows(split.test)))}


def _token_f1(model: Any, split: Split, rows: Any) -> Measures:
    X, y = rows(split.test)
    return {
        "token_f1": float(model.score(X, y)),
        "exact_match": float(model.exact_match_score(X, y)),
    }


BENCHMARKS: dict[str, Benchmark] = {
    "stsb": Benchmark(
        "TransferTextRegressor", _pairs, _pearson, {"pearson": 0.84}, {"symmetric": True}
    ),
    "mrpc": Benchmark(
        "TransferTextClassifier",
        _pairs,
        _accuracy_f1,
        {"accuracy": 0.82, "f1": 0.87},
        {"symmetric": True},
    ),
    "snli_small": Benchmark("TransferTextClassifier", _pairs, _accuracy, {"accuracy": 0.76}),
    "imdb_stars": Benchmark(
        "TransferTextRegressor",
        _texts("stars"),
        _r2,
        {"r2": 0.72},
        file="imdb",
        most_train=4000,
        most_test=2000,
    ),
    "sentiment_intensity": Benchmark("TransferTextRegressor", _texts("label"), _r2, {"r2": 0.68}),
    "goemotions": Benchmark(
        "TransferTextClassifier", _emotions, _micro_f1, {"micro_f1": 0.57}, most_train=20_000
    ),
    "copa": Benchmark("TransferChoiceClassifier", _choices, _accuracy, {"accuracy": 0.58}),
    "openbookqa": Benchmark("TransferChoiceClassifier", _choices, _accuracy, {"accuracy": 0.38}),
    "wnut17": Benchmark("TransferTokenClassifier", _tags, _entity_f1, {"entity_f1": 0.36}),
    "squad_sample": Benchmark(
        "TransferAnswerExtractor", _answers, _token_f1, {"token_f1": 0.45}, {"max_epochs": 4}
    ),
}


def read_split(name: str, seed: int, *, validate: bool) -> Split:
    """Rows of a set; to validate, the validation rows stand in for the test rows.

    Sets without validation rows lend a fifth of their training rows.
    """
    benchmark = BENCHMARKS[name]
    folder = _data.data_root() / (benchmark.file or name)
    train = pd.read_parquet(folder / "train.parquet")
    if (folder / "valid.parquet").exists():
        valid = pd.read_parquet(folder / "valid.parquet")
    else:
        order = np.random.default_rng(0).permutation(len(train))
        held = order[: min(len(order) // 5, benchmark.most_test or 2000)]
        valid = train.iloc[np.sort(held)]
        if validate:
            train = train.drop(index=train.index[held])
    if benchmark.most_train is not None:
        train = train.sample(min(benchmark.most_train, len(train)), random_state=seed)
    test = valid if validate else pd.read_parquet(folder / "test.parquet")
    if benchmark.most_test is not None and len(test) > benchmark.most_test:
        test = test.sample(benchmark.most_test, random_state=0)
    return Split(train, valid, test)


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


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


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


def report() -> str:
    """Tables of the test figures against their bars, and of frozen features against their peer."""
    rows = read(RESULTS)
    return "\n\n".join(table for table in (task_table(rows), feature_table(rows)) if table)


def task_table(rows: list[dict[str, str]]) -> str:
    lines = [
        "| set | estimator | rows to fit | measure | asked | mean | each seed | fit, processor s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in BENCHMARKS:
        found: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row in rows:
            if row["set"] == name:
                found.setdefault((row["estimator"], row["measure"]), []).append(row)
        for (estimator, measure), same in found.items():
            values = [float(row["value"]) for row in same]
            fit = statistics.mean(float(row["fit_cpu_s"]) for row in same)
            each = ", ".join(f"{value:.3f}" for value in values)
            lines.append(
                f"| {name} | {estimator} | {same[0]['n_train']} | {measure} "
                f"| {same[0]['bar'] or '–'} | {statistics.mean(values):.3f} | {each} | {fit:.0f} |"
            )
    return "\n".join(lines)


def feature_table(rows: list[dict[str, str]]) -> str:
    lines = [
        "| set | accuracy %, ours | sentence-transformers | ours, texts/s | the other |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in _data.SETS:
        value = {
            (row["estimator"].startswith("Transfer"), row["measure"]): float(row["value"])
            for row in rows
            if row["set"] == name
        }
        if not value:
            continue
        accuracy, speed = "accuracy", "texts per processor second"
        lines.append(
            f"| {name} | {100 * value[True, accuracy]:.1f} | {100 * value[False, accuracy]:.1f} "
            f"| {value[True, speed]:.0f} | {value[False, speed]:.0f} |"
        )
    return "\n".join(lines)


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
        print(report())
    return 0


def record(path: Path, rows: list[dict[str, Any]]) -> None:
    write(path, rows)
    for row in rows:
        print(*(row[column] for column in (*KEY, "measure", "value")), flush=True)


if __name__ == "__main__":
    sys.exit(main())
