"""Few pairs of texts: the default, and a cross-encoder, on rows of MRPC, SNLI and STS-B.

python benchmarks/pairs.py --core 0
python benchmarks/pairs.py --sets stsb --sizes 100 --seeds 0 1 2
"""

import argparse
import csv
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _data import data_root
from _provenance import provenance

RESULTS = Path(__file__).parent / "results" / "pairs.csv"
SETS = ("mrpc", "snli_small", "stsb")
SIZES = (30, 100, 300, 1000)
_MOST_TEST = 1500
COLUMNS = ("set", "n_train", "seed", "pair_encoder", "chosen", "n_test", "measure", "value")
COLUMNS += ("fit_cpu_s", "threads", "cpu", "date", "command", "versions")


def rows(name: str, split: str, most: int | None = None) -> tuple[pd.DataFrame, pd.Series]:
    frame = pd.read_parquet(data_root() / name / f"{split}.parquet")
    if most is not None and len(frame) > most:
        frame = frame.sample(most, random_state=0)
    return frame[["text_a", "text_b"]], frame["label"]


def measures(name: str, model: Any, X: pd.DataFrame, y: pd.Series) -> dict[str, float]:
    from scipy.stats import pearsonr
    from sklearn.metrics import accuracy_score, log_loss

    if name == "stsb":
        return {"pearson": float(pearsonr(model.predict(X), y).statistic)}
    probabilities = model.predict_proba(X)
    predicted = model.classes_[probabilities.argmax(axis=1)]
    loss = log_loss(y, probabilities, labels=model.classes_)
    return {"accuracy": float(accuracy_score(y, predicted)), "log_loss": float(loss)}


def measure(name: str, size: int, seed: int, pair_encoder: str) -> Iterator[dict[str, Any]]:
    import sktransfer

    X, y = rows(name, "train")
    chosen = np.random.default_rng(seed).permutation(len(X))[:size]
    kind = sktransfer.TransferTextRegressor if name == "stsb" else sktransfer.TransferTextClassifier
    model = kind(pair_encoder=pair_encoder, symmetric=name != "snli_small", random_state=seed)
    start = time.process_time()
    model.fit(X.iloc[chosen], y.iloc[chosen])
    fitted = time.process_time()
    X_test, y_test = rows(name, "test", _MOST_TEST)
    found = measures(name, model, X_test, y_test)
    for kind_of, value in found.items():
        yield {
            "set": name,
            "n_train": size,
            "seed": seed,
            "pair_encoder": pair_encoder,
            "chosen": model.pair_encoder_,
            "n_test": len(X_test),
            "measure": kind_of,
            "value": round(value, 4),
            "fit_cpu_s": round(fitted - start, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="Few pairs: the default and a cross-encoder.")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--pair-encoders", nargs="+", default=["auto", "cross"])
    parser.add_argument("--core", type=int, help="pin the fits to this core")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    import torch

    torch.set_num_threads(1)
    same = {"threads": 1, **provenance()}
    is_new = not arguments.output.exists()
    with arguments.output.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        cases = itertools.product(
            arguments.seeds, arguments.sizes, arguments.sets, arguments.pair_encoders
        )
        for seed, size, name, pair_encoder in cases:
            for row in measure(name, size, seed, pair_encoder):
                writer.writerow({**row, **same})
                file.flush()
                print(*(row[column] for column in COLUMNS[:9]), flush=True)


if __name__ == "__main__":
    main()
