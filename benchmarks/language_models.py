"""Language models trained on WikiText-2 alone, for the ablations: perplexity after every epoch.

python benchmarks/language_models.py --models MODELS awd_forward awd_backward gpt
python benchmarks/language_models.py --report

Each is saved to a folder of its name in MODELS, where ulmfit_ablation.py and gpt_ablation.py read
it; one that was interrupted goes on (its seconds are then those of the last part). The sizes are
for two processor cores; ``--large`` is for a GPU. Rates were chosen by the training loss of the
first steps, dropout and epochs beforehand. The test text is scored after every epoch; nothing is
selected by it.
"""

import argparse
import csv
import datetime
import math
import time
from pathlib import Path
from typing import Any

import _data
from _provenance import cpu_model, versions

from sktransfer import LanguageModel

RESULTS = Path(__file__).parent / "results" / "language_models.csv"
COLUMNS = (
    *(
        "model",
        "epoch",
        "train_perplexity",
        "test_perplexity",
        "n_parameters",
        "fit_s",
        "fit_cpu_s",
    ),
    *("threads", "cpu", "date", "parameters", "versions"),
)
COMMON: dict[str, Any] = {
    "tokens": "word",
    "vocab_size": None,
    "min_frequency": 1,
    "random_state": 0,
    "verbose": 1,
}
AWD = {"architecture": "awd_lstm", "embedding_size": 256, "hidden_size": 384, "n_layers": 3}
AWD |= {"max_length": 70, "max_epochs": 6}
SMALL: dict[str, dict[str, Any]] = {
    "awd_forward": AWD,
    "awd_backward": {**AWD, "direction": "backward"},
    "gpt": {
        "architecture": "gpt",
        "hidden_size": 256,
        "n_layers": 4,
        "n_heads": 4,
        "max_length": 128,
        "max_epochs": 6,
    },
}
LARGE_AWD = {"embedding_size": 400, "hidden_size": 1152, "dropout": 0.4, "max_epochs": 60}
LARGE = {
    "awd_forward": {**AWD, **LARGE_AWD},
    "awd_backward": {**AWD, **LARGE_AWD, "direction": "backward"},
    "gpt": {**SMALL["gpt"], "hidden_size": 512, "n_layers": 8, "n_heads": 8, "max_epochs": 60},
}


def per_word(loss: float, model: LanguageModel, texts: Path) -> float:
    """Perplexity a word and end of line, whatever special tokens a model has besides."""
    import gzip

    with gzip.open(texts, "rt", encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    words = sum(len(line.split()) for line in lines)
    tokenizer = model.tokenizer_
    extra = len(tokenizer.prefix) + len(tokenizer.suffix)
    return math.exp(loss * (words + extra * len(lines)) / (words + len(lines)))


def run(name: str, parameters: dict[str, Any], models: Path, output: Path) -> None:
    import torch

    train, test = (_data.data_root() / "wikitext2" / f"{part}.txt.gz" for part in ("train", "test"))
    model = LanguageModel(**COMMON, **parameters, checkpoint=models / f"{name}.checkpoint")
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(train, X_val=test)
    seconds = round(time.perf_counter() - wall), round(time.process_time() - cpu)
    model.save(models / name)
    n_parameters = sum(weights.numel() for weights in model.model_.encoder.parameters())
    rows = [
        {
            "model": name,
            "epoch": epoch,
            "train_perplexity": f"{per_word(loss, model, train):.1f}",
            "test_perplexity": f"{per_word(-score, model, test):.1f}",
            "n_parameters": n_parameters,
            "fit_s": seconds[0],
            "fit_cpu_s": seconds[1],
            "threads": torch.get_num_threads(),
            "cpu": cpu_model(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "parameters": str(parameters),
            "versions": versions(),
        }
        for epoch, (loss, score) in enumerate(
            zip(model.loss_curve_, model.validation_scores_, strict=True), start=1
        )
    ]
    append(output, COLUMNS, rows)


def append(output: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """Add rows to a CSV file, with its header where it is new."""
    output.parent.mkdir(parents=True, exist_ok=True)
    is_new = not output.exists()
    with output.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def report() -> None:
    with RESULTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    print("| model | parameters, millions | test perplexity after each epoch | fit, processor s |")
    print("| --- | --- | --- | --- |")
    for name in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == name]
        curve = ", ".join(row["test_perplexity"] for row in own)
        millions = int(own[0]["n_parameters"]) / 1e6
        print(f"| {name} | {millions:.1f} | {curve} | {own[0]['fit_cpu_s']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SMALL)}; all by default")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--large", action="store_true", help="the sizes for a GPU")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if arguments.report:
        report()
        return
    unknown = {*arguments.names} - {*SMALL}
    if unknown:
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    for name in arguments.names or SMALL:
        run(name, (LARGE if arguments.large else SMALL)[name], arguments.models, arguments.output)


if __name__ == "__main__":
    main()
