"""Fits, predictions and searches on a GPU, beside the `Trainer` and sentence-transformers.

python benchmarks/gpu.py [fit trainer predict grid] [--output FILE]

All in one process, the device synchronized around each measurement; each part takes about a minute
on an H100. Without a GPU it runs on few rows, to check itself, and writes nothing.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _data
import _systems
import numpy as np
from _provenance import commit, provenance

COLUMNS = (
    *("part", "case", "system", "n_rows", "epochs", "steps", "seconds", "cpu_s", "texts_per_s"),
    *("tokens_per_s", "accuracy", "encodings", "gpu", "date", "commit", "command", "versions"),
)
RESULTS = Path(__file__).parent / "results" / "gpu.csv"


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def timed(run: Callable[[], Any], repeats: int = 1) -> tuple[float, float, Any]:
    """Seconds and processor seconds of a run, and what it gave."""
    import torch

    synchronize = torch.cuda.synchronize if has_gpu() else lambda: None
    synchronize()
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        found = run()
    synchronize()
    return (
        (time.perf_counter() - start) / repeats,
        (time.process_time() - cpu) / repeats,
        found,
    )


def some(rows: _data.Rows, size: int | None = None) -> _data.Rows:
    """All rows or a sample; where there is no GPU, thirty at most."""
    size = len(rows.texts) if size is None else size
    size = size if has_gpu() else min(size, 30)
    if size >= len(rows.texts):
        return rows
    return _data.take(rows, np.random.default_rng(0).permutation(len(rows.texts))[:size])


def cases() -> Iterator[tuple[str, _data.Rows, _data.Rows]]:
    """Name, training rows and test rows."""
    budgets = [("trec6", "8"), ("sst2", "8"), ("banking77", "8"), ("trec6", "64"), ("sst2", "64")]
    for name, budget in budgets:
        rows = _data.draw(name, budget, 0)
        yield f"{name}, {budget} per class", rows, some(_data.load(name, "test"))
    yield from whole_cases()


def whole_cases() -> Iterator[tuple[str, _data.Rows, _data.Rows]]:
    for name, size in (("trec6", None), ("sst2", None), ("imdb", 2000)):
        case = f"{name}, {'whole' if size is None else f'{size:,} rows'}"
        rows, test = (some(_data.load(name, split), size) for split in ("train", "test"))
        yield case, rows, test


def n_tokens(texts: list[str], length: int = 128) -> int:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(_systems.encoder_folder())
    return sum(min(len(ids), length) for ids in tokenizer(texts)["input_ids"])


def measure_fit() -> Iterator[dict[str, Any]]:
    from sktransfer import TransferTextClassifier
    from sktransfer.runtime import cache

    for case, train, test in cases() if has_gpu() else list(cases())[:1]:
        cache.clear()
        model = TransferTextClassifier(random_state=0)
        seconds, cpu, _ = timed(lambda model=model, rows=train: model.fit(rows.texts, rows.labels))
        yield {
            "case": case,
            "system": "sktransfer",
            "n_rows": len(train.texts),
            "epochs": model.n_iter_,
            "seconds": seconds,
            "cpu_s": cpu,
            "tokens_per_s": int(n_tokens(train.texts) * model.n_iter_ / seconds),
            "accuracy": model.score(test.texts, test.labels),
        }


def measure_trainer() -> Iterator[dict[str, Any]]:
    for case, train, test in whole_cases() if has_gpu() else list(whole_cases())[:1]:
        size, length = (32, 256) if case.startswith("imdb") else (16, 128)
        peer = _systems.PlainFineTune(
            1e-4, 3, 0, batch_size=size, max_length=length, bf16=has_gpu()
        )
        seconds, cpu, _ = timed(lambda peer=peer, rows=train: peer.fit(rows.texts, rows.labels))
        found = peer.classes_[peer.predict_proba(test.texts).argmax(1)]
        yield {
            "case": case,
            "system": f"Trainer, {'bf16' if has_gpu() else 'float32'}, batch {size}",
            "n_rows": len(train.texts),
            "epochs": 3,
            "steps": peer.n_steps,
            "seconds": seconds,
            "cpu_s": cpu,
            "tokens_per_s": int(n_tokens(train.texts, length) * 3 / seconds),
            "accuracy": float(np.mean(found == test.labels)),
        }


def measure_predict() -> Iterator[dict[str, Any]]:
    """Predictions of a probe, after a few of the same size; nothing is kept between them."""
    from sentence_transformers import SentenceTransformer

    from sktransfer import TransferTextClassifier
    from sktransfer.runtime import cache_budget

    rows = some(_data.load("sst2", "train"))
    peer = SentenceTransformer(_systems.encoder_folder())
    texts = _data.load("trec6", "test").texts + _data.load("sst2", "test").texts
    many = [f"{text} {number}" for number in range(9) for text in texts]
    with cache_budget(0):
        ours = TransferTextClassifier(max_epochs=0, random_state=0).fit(rows.texts, rows.labels)
        systems: dict[str, Callable[[list[str]], Any]] = {
            "sktransfer": ours.predict,
            "sentence-transformers": lambda part: peer.encode(part, show_progress_bar=False),
            "sentence-transformers, batch_size=512": lambda part: peer.encode(
                part, batch_size=512, show_progress_bar=False
            ),
        }
        for size, repeats in ((1, 20), (16, 20), (256, 5), (len(many) if has_gpu() else 30, 1)):
            for name, system in systems.items():
                part = many[:size]
                for _ in range(3):
                    system(part[:256])
                seconds, cpu, _ = timed(lambda run=system, part=part: run(part), repeats)
                case = f"{size:,} texts"
                speed = int(size / seconds)
                yield {
                    "case": case,
                    "system": name,
                    "seconds": seconds,
                    "cpu_s": cpu,
                    "texts_per_s": speed,
                }


def measure_grid() -> Iterator[dict[str, Any]]:
    from sklearn.model_selection import GridSearchCV

    from sktransfer import TransferTextClassifier, TransferTextVectorizer
    from sktransfer.runtime import cache

    rows = some(_data.load("trec6", "train"), 1000)
    searches: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "frozen, 10 C": ({"trainable_layers": 0}, {"C": np.logspace(-1, 2, 10)}),
        "two layers, 12 candidates": (
            {"trainable_layers": 2},
            {"learning_rate": [1e-4, 3e-4, 1e-3], "layer_decay": [0.7, 0.9], "max_epochs": [1, 2]},
        ),
    }
    for case, (parameters, grid) in searches.items() if has_gpu() else list(searches.items())[:1]:
        cache.clear()
        model = TransferTextClassifier(random_state=0, **parameters)
        search = GridSearchCV(model, grid, cv=5 if has_gpu() else 2, refit=False)
        seconds, cpu, _ = timed(lambda search=search: search.fit(rows.texts, rows.labels))
        cache.clear()
        once, _, _ = timed(lambda: TransferTextVectorizer().fit_transform(rows.texts))
        yield {
            "case": case,
            "system": "sktransfer",
            "n_rows": len(rows.texts),
            "seconds": seconds,
            "cpu_s": cpu,
            "accuracy": search.best_score_,
            "encodings": seconds / once,
        }


PARTS = {
    "fit": measure_fit,
    "trainer": measure_trainer,
    "predict": measure_predict,
    "grid": measure_grid,
}


def circumstances() -> dict[str, str]:
    import torch

    found = provenance()
    cpu = found.pop("cpu")
    gpu = torch.cuda.get_device_name() if has_gpu() else cpu
    return {**found, "gpu": gpu, "commit": commit()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=[*PARTS], help=f"of {', '.join(PARTS)}")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    common = circumstances()
    for part in options.parts:
        for row in PARTS[part]():
            print(part, {name: row[name] for name in COLUMNS if name in row}, flush=True)
            if has_gpu():
                is_new = not options.output.is_file()
                with options.output.open("a", newline="") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    if is_new:
                        writer.writeheader()
                    writer.writerow({"part": part, **row, **common})


if __name__ == "__main__":
    main()
