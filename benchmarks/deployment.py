"""Size of a fitted classifier in each form, and what a fresh process needs to predict with it.

python benchmarks/deployment.py --core 0
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _processes import child_environment
from _provenance import commit, provenance

RESULTS = Path(__file__).parent / "results" / "deployment.csv"
SET, BUDGET = "trec6", "8"
N_TEXTS = 100
MODELS: dict[str, dict[str, Any]] = {
    "probe": {"max_epochs": 0},
    "two layers": {"trainable_layers": 2},
    "default": {},
}


def load_joblib(path: str) -> Any:
    import joblib

    return joblib.load(path)


def load_saved(path: str) -> Any:
    import sktransfer

    return sktransfer.load(path)


def load_exported(path: str) -> Any:
    from sktransfer import serving

    return serving.load(path, n_threads=1)


def load_skops(path: str) -> Any:
    import skops.io

    from sktransfer import skops_trusted_types

    return skops.io.load(path, trusted=skops_trusted_types())


def load_mlflow(path: str) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(path)


def write_joblib(model: Any, path: str) -> None:
    import joblib

    joblib.dump(model, path)


def write_skops(model: Any, path: str) -> None:
    import skops.io

    skops.io.dump(model, path)


def write_mlflow(model: Any, path: str) -> None:
    import mlflow.sklearn

    from sktransfer import skops_trusted_types

    mlflow.sklearn.save_model(
        model,
        path,
        skops_trusted_types=skops_trusted_types(),
        pip_requirements=["sktransfer"],
    )


FORMS: dict[str, tuple[Callable[[Any, str], None], Callable[[str], Any]]] = {
    "joblib": (write_joblib, load_joblib),
    "save": (lambda model, path: model.save(path), load_saved),
    "save, weights='full'": (lambda model, path: model.save(path, weights="full"), load_saved),
    "skops": (write_skops, load_skops),
    "MLflow": (write_mlflow, load_mlflow),
    "export": (lambda model, path: model.export(path), load_exported),
}


def predict_here(form: str, path: str, texts: list[str]) -> dict[str, Any]:
    """What a fresh process does; `time.time` of the parent was taken before it started."""
    started = float(os.environ["STARTED"])
    model = FORMS[form][1](path)
    loaded = time.time()
    model.predict(texts[:1])
    predicted = time.time()
    resident_kb = next(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    return {
        "load_s": round(loaded - started, 3),
        "first_prediction_s": round(predicted - started, 3),
        "resident_mb": round(resident_kb / 1024),
        "labels": [str(label) for label in model.predict(texts)],
    }


def n_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def in_fresh_process(form: str, path: Path, texts: list[str], core: int | None) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), "--load", form, str(path)]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    environment = {**child_environment(1), "STARTED": repr(time.time()), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command,
        env=environment,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(name: str, repeats: int, core: int | None, folder: Path) -> list[dict[str, Any]]:
    import _data

    from sktransfer import TransferTextClassifier

    texts = _data.load(SET, "test").texts[:N_TEXTS]
    few = _data.draw(SET, BUDGET, 0)
    model = TransferTextClassifier(random_state=0, **MODELS[name]).fit(few.texts, few.labels)
    expected = [str(label) for label in model.predict(texts)]
    rows = []
    for form, (write, _) in FORMS.items():
        path = folder / "model"
        write(model, str(path))
        found = [in_fresh_process(form, path, texts, core) for _ in range(repeats)]
        row: dict[str, Any] = {"model": name, "form": form, "mb": round(n_bytes(path) / 1e6, 2)}
        for column in ("load_s", "first_prediction_s", "resident_mb"):
            row[column] = round(statistics.median(one[column] for one in found), 3)
        row["same_labels"] = all(one["labels"] == expected for one in found)
        rows.append(row)
        print(*row.values(), flush=True)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Sizes and start-up times of fitted classifiers.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--core", type=int, help="pin the processes that predict to this core")
    parser.add_argument("--load", nargs=2, metavar=("FORM", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        print(json.dumps(predict_here(*arguments.load, json.load(sys.stdin))))
        return
    made = {"n_repeats": arguments.repeats, **provenance(), "commit": commit()}
    with TemporaryDirectory() as folder:
        rows = [
            row | made
            for name in MODELS
            for row in measure(name, arguments.repeats, arguments.core, Path(folder))
        ]
    with open(arguments.output, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
