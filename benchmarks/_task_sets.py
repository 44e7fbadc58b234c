"""The public sets of `tasks.py`: how each is read and scored."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import _data
import _systems
import numpy as np
import pandas as pd

MAX_LENGTH = 256


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
    # The classifier's own encoder was trained on it.
    "goemotions": Benchmark(
        "TransferTextClassifier",
        _emotions,
        _micro_f1,
        {"micro_f1": 0.57},
        {"encoder": _systems.PLAIN},
        most_train=20_000,
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
