"""What PyTorch's dynamic int8 would do to predictions: accuracy and time, beside float32.

python benchmarks/int8.py --sets sst2 trec6
"""

import argparse
import copy
import csv
import time
import warnings
from pathlib import Path
from typing import Any

import _data
import numpy as np
from _provenance import provenance

RESULTS = Path(__file__).parent / "results" / "int8.csv"


def predicted(model: Any, rows: _data.Rows) -> dict[str, Any]:
    start = time.process_time()
    found = model.predict(rows.texts)
    seconds = time.process_time() - start
    accuracy = float(np.mean(found == np.asarray(rows.labels)))
    return {
        "accuracy": round(accuracy, 4),
        "cpu_texts_per_s": round(len(rows.texts) / seconds, 1),
    }


def quantised(model: Any) -> Any:
    """A copy whose matrix products are in int8."""
    import torch
    from torch.ao.quantization import quantize_dynamic

    smaller = copy.deepcopy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all of it is deprecated
        smaller.model_.encoder = quantize_dynamic(
            smaller.model_.encoder, {torch.nn.Linear}, dtype=torch.qint8
        )
    smaller.model_.base = None
    return smaller


def main() -> None:
    parser = argparse.ArgumentParser(description="Predictions in int8.")
    parser.add_argument("--sets", nargs="+", choices=_data.SETS, default=list(_data.SETS))
    parser.add_argument("--budget", choices=_data.BUDGETS, default="64")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    import torch

    from sktransfer import TransferTextClassifier

    torch.set_num_threads(1)
    same = {"threads": 1, **provenance()}
    with open(arguments.output, "w", newline="") as file:
        writer: csv.DictWriter[str] | None = None
        for seed in range(arguments.seeds):
            for name in arguments.sets:
                train, test = _data.draw(name, arguments.budget, seed), _data.test_rows(name)
                model = TransferTextClassifier(random_state=seed, device="cpu")
                model.fit(train.texts, train.labels)
                for precision, own in (("float32", model), ("int8", quantised(model))):
                    found = predicted(own, test)
                    row = {
                        "set": name,
                        "budget": arguments.budget,
                        "seed": seed,
                        "precision": precision,
                        **found,
                        **same,
                    }
                    if writer is None:
                        writer = csv.DictWriter(file, [*row], lineterminator="\n")
                        writer.writeheader()
                    writer.writerow(row)
                    file.flush()
                    print(f"{name}, seed {seed}, {precision}: {found}", flush=True)


if __name__ == "__main__":
    main()
