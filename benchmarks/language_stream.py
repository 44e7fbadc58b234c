"""A corpus of 200 MB through `LanguageModel.fit`: peak memory; and a training that was killed.

python benchmarks/language_stream.py stream     # 200 MB, a small AWD-LSTM
python benchmarks/language_stream.py killed     # 8 MB: SIGKILL in the middle, then fit again

The text is that of WikiText-2 and IMDb's unlabeled reviews, over and over, in a temporary file.
"""

import argparse
import datetime
import gzip
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import _data
import pandas as pd
from _provenance import cpu_model, versions
from language_models import append

RESULTS = Path(__file__).parent / "results" / "language_stream.csv"
COLUMNS = ("run", "megabytes", "texts", "fit_s", "fit_cpu_s", "peak_mb", "base_mb", "perplexity")
COLUMNS += ("threads", "cpu", "date", "parameters", "versions")
MODEL: dict[str, Any] = {
    "architecture": "awd_lstm",
    "embedding_size": 32,
    "hidden_size": 64,
    "n_layers": 1,
    "vocab_size": 10_000,
    "batch_size": 256,
    "max_length": 64,
    "random_state": 0,
}
# Hundreds of megabytes in minutes: the network is not what is shown here.
TINY = {"embedding_size": 16, "hidden_size": 16, "vocab_size": 2_000, "batch_size": 128}


def texts() -> Iterator[str]:
    with gzip.open(_data.data_root() / "wikitext2" / "train.txt.gz", "rt") as file:
        lines = [line.strip() for line in file if line.strip()]
    reviews = pd.read_parquet(_data.data_root() / "imdb_unsup" / "train.parquet")["text"]
    yield from cycle(chain(lines, (" ".join(review.split()) for review in reviews)))


def write(path: Path, megabytes: int) -> int:
    count, size = 0, 0
    with path.open("w", encoding="utf-8") as file:
        for text in texts():
            size += file.write(text + "\n")
            count += 1
            if size >= megabytes * 1_000_000:
                return count
    return count


def peak() -> float:
    """Most memory that the process ever had, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit(
    corpus: Path, parameters: dict[str, Any], checkpoint: Path | None, seconds: float, queue: Any
) -> None:
    from sktransfer import LanguageModel

    model = LanguageModel(**parameters, checkpoint=checkpoint, checkpoint_seconds=seconds)
    # torch and transformers are there before the texts are.
    LanguageModel(**parameters).fit(["some words of a text"] * 8)
    base, wall, cpu = peak(), time.perf_counter(), time.process_time()
    model.fit(corpus)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    most = peak()
    with gzip.open(_data.data_root() / "wikitext2" / "valid.txt.gz", "rt") as file:
        perplexity = model.perplexity([line for line in file if line.strip()])
    queue.put((*spent, most, base, perplexity))


def start(
    corpus: Path, parameters: dict[str, Any], checkpoint: Path | None, seconds: float
) -> tuple[Any, Any]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=fit, args=(corpus, parameters, checkpoint, seconds, queue))
    process.start()
    return process, queue


def record(
    run: str,
    megabytes: int,
    n_texts: int,
    measured: tuple[float, ...],
    parameters: dict[str, Any],
) -> None:
    import torch

    wall, cpu, most, base, perplexity = measured
    row = {
        "run": run,
        "megabytes": megabytes,
        "texts": n_texts,
        "fit_s": round(wall),
        "fit_cpu_s": round(cpu),
        "peak_mb": round(most),
        "base_mb": round(base),
        "perplexity": f"{perplexity:.3f}",
        "threads": torch.get_num_threads(),
        "cpu": cpu_model(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "parameters": str(parameters),
        "versions": versions(),
    }
    print(row, flush=True)
    append(RESULTS, COLUMNS, [row])


def stream(folder: Path, megabytes: int) -> None:
    corpus = folder / "corpus.txt"
    count = write(corpus, megabytes)
    parameters = MODEL | TINY
    process, queue = start(corpus, parameters, None, 0)
    measured = queue.get()
    process.join()
    record("stream", megabytes, count, measured, parameters)


def killed(folder: Path, megabytes: int) -> None:
    corpus = folder / "corpus.txt"
    count = write(corpus, megabytes)
    process, queue = start(corpus, MODEL, None, 0)
    whole = queue.get()
    process.join()
    record("uninterrupted", megabytes, count, whole, MODEL)
    checkpoint = folder / "checkpoint"
    process, queue = start(corpus, MODEL, checkpoint, 1.0)
    file = checkpoint / "checkpoint.safetensors"
    while not file.exists():
        time.sleep(0.1)
    time.sleep(whole[0] / 2)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process, queue = start(corpus, MODEL, checkpoint, 1.0)
    measured = queue.get()
    process.join()
    record("killed and resumed", megabytes, count, measured, MODEL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=("stream", "killed"))
    parser.add_argument("--megabytes", type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.run == "stream":
            stream(Path(folder), arguments.megabytes or 200)
        else:
            killed(Path(folder), arguments.megabytes or 8)


if __name__ == "__main__":
    main()
