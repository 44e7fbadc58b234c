"""The delta of the encoder "minilm-classification": its training, and what it changes.

    python benchmarks/classification_encoder.py train CHECKOUTS delta.safetensors [--seed 0 ...]
    python benchmarks/classification_encoder.py evaluate [--rows 1500]

`train` adds low-rank matrices to all linear layers of MiniLM and trains them alone, by supervised
contrast over the labelings of `_classification_data.py`, whose label names are texts of a class,
and a softmax for each; the similarities of the pretrained encoder are a target beside it. Half an
hour on one core that multiplies bfloat16. `evaluate` compares frozen features with those of plain
MiniLM on *training rows* of sets that were not trained on; test rows are not read. Default fits
from both, on test rows, are systems of `label_budgets.py`.
"""

import argparse
import copy
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _classification_data
import _data
import _systems
import numpy as np
import pandas as pd
import torch
from _provenance import commit, provenance
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

RESULTS = Path(__file__).parent / "results" / "classification_encoder.csv"
ENCODERS = (_systems.PLAIN, _systems.DELTA)
SETS = (
    *("sst2", "subj", "trec6", "trec50", "sms_spam", "banking77", "uci_sentences", "tweet_irony"),
    *("hate_davidson", "dbpedia14"),
)
# Of the product in training; delta.json says how much of it is added later.
SCALE = 2.0
TEMPERATURE = 0.07
WIDTH = 48
CLASSES_PER_STEP = 20


class LowRank(nn.Module):
    """A linear layer with a trained product of low rank beside its frozen weight."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear
        self.down = nn.Parameter(torch.randn(rank, linear.in_features) / linear.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, states: Tensor) -> Tensor:
        down, up = self.down.to(states.dtype), self.up.to(states.dtype)
        return self.linear(states) + SCALE * functional.linear(functional.linear(states, down), up)


@dataclass(frozen=True)
class Labeling:
    """Classes of some of the texts, and where the class names lie among the texts."""

    places: NDArray[np.intp]
    codes: NDArray[np.intp]
    members: list[NDArray[np.intp]]
    names: NDArray[np.intp]


class Texts:
    """Distinct texts as token ids."""

    def __init__(self, frames: dict[str, pd.DataFrame], tokenizer: Any, device: str) -> None:
        self.device = device
        names = {readable(name) for frame in frames.values() for name in frame["label"].unique()}
        texts = sorted(names.union(*(frame["text"] for frame in frames.values())))
        self.place = {text: place for place, text in enumerate(texts)}
        self.ids = tokenizer(texts, truncation=True, max_length=WIDTH)["input_ids"]
        self.lengths = np.array([len(ids) for ids in self.ids])

    def labeling(self, frame: pd.DataFrame) -> Labeling:
        classes, codes = np.unique(frame["label"], return_inverse=True)
        return Labeling(
            np.array([self.place[text] for text in frame["text"]]),
            codes,
            [np.flatnonzero(codes == code) for code in range(len(classes))],
            np.array([self.place[readable(name)] for name in classes]),
        )

    def embed(self, model: nn.Module, places: NDArray[np.intp]) -> Tensor:
        """Normalized mean-pooled embeddings; texts of similar lengths are padded together."""
        order = np.argsort(self.lengths[places], kind="stable")
        vectors = [self._embed(model, places[part]) for part in np.array_split(order, 5)]
        return torch.cat(vectors)[torch.from_numpy(np.argsort(order, kind="stable"))]

    def _embed(self, model: nn.Module, places: NDArray[np.intp]) -> Tensor:
        rows = [torch.tensor(self.ids[place]) for place in places]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)
        mask = (ids != 0).long()
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return functional.normalize(mean, dim=-1)


def readable(name: str) -> str:
    return name.replace("_", " ")


def contrast(vectors: Tensor, classes: Tensor) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, arXiv:2004.11362)."""
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    scores = (vectors @ vectors.T / TEMPERATURE).masked_fill(itself, -1e9)
    alike = (classes[:, None] == classes[None]) & ~itself
    log_shares = scores - scores.logsumexp(1, keepdim=True)
    n_alike = alike.sum(1)
    losses = -(log_shares * alike).sum(1) / n_alike.clamp(min=1)
    return losses[n_alike > 0].mean()


def distance(now: Tensor, then: Tensor) -> Tensor:
    """How far the similarities of a batch have moved."""
    itself = 1e9 * torch.eye(len(now), device=now.device)
    log_now = functional.log_softmax(now @ now.T / 0.05 - itself, 1)
    return functional.kl_div(
        log_now, functional.softmax(then @ then.T / 0.05 - itself, 1), reduction="batchmean"
    )


class Training:
    """Encoder, labelings and optimizer of one training, in bfloat16."""

    def __init__(self, options: argparse.Namespace) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.options = options
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(options.seed)
        self.rng = np.random.default_rng(options.seed)
        folder = _systems.encoder_folder()
        frames = _classification_data.labelings(options.checkouts)
        self.texts = Texts(frames, AutoTokenizer.from_pretrained(folder), self.device)
        self.labelings = {name: self.texts.labeling(frames[name]) for name in sorted(frames)}
        pretrained = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).to(self.device)
        self.model = copy.deepcopy(pretrained).train().requires_grad_(False)
        self.layers = self._added()
        with torch.no_grad():
            parts = np.array_split(np.arange(len(self.texts.ids)), 60)
            pretrained.eval()
            self.before = torch.cat([self.texts.embed(pretrained, part) for part in parts])
        sizes = {name: len(labeling.members) for name, labeling in self.labelings.items()}
        self.heads = nn.ModuleDict({name: nn.Linear(384, size) for name, size in sizes.items()})
        self.heads.to(self.device)
        self.weights = [part for low in self.layers.values() for part in (low.down, low.up)]
        groups = [
            {"params": self.weights, "lr": options.rate},
            {"params": self.heads.parameters(), "lr": 3e-3},
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def _added(self) -> dict[str, LowRank]:
        """Low-rank matrices, by the names of the linear layers that they are added to."""
        names = {id(module): name for name, module in self.model.named_modules()}
        layers = {}
        for parent in list(self.model.encoder.layer.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    low = LowRank(child, self.options.rank).to(self.device)
                    layers[names[id(child)]] = low
                    setattr(parent, name, low)
        return layers

    def step(self, number: int) -> float:
        steps = self.options.steps
        factor = min(1.0, (number + 1) / (0.06 * steps + 1)) * (1 - number / steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        drawn = {name: self._draw(labeling) for name, labeling in self.labelings.items()}
        places = np.concatenate([places for places, _, _ in drawn.values()])
        vectors = self.texts.embed(self.model, places)
        loss, start = vectors.new_zeros(()), 0
        for name, (part, codes, n_texts) in drawn.items():
            targets = torch.from_numpy(codes).to(self.device)
            own = vectors[start : start + len(part)]
            scores = self.heads[name](8 * own[:n_texts])
            loss = loss + contrast(own, targets)
            loss = loss + 0.5 * functional.cross_entropy(scores, targets[:n_texts])
            start += len(part)
        weight = self.options.distill * len(self.labelings) / 5
        loss = loss + weight * distance(vectors, self.before[torch.from_numpy(places)])
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss)

    def _draw(self, labeling: Labeling) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
        """Places and classes of some texts and of their label names, and how many are texts."""
        n_classes = min(len(labeling.members), CLASSES_PER_STEP)
        chosen = self.rng.choice(len(labeling.members), n_classes, replace=False)
        each = max(2, self.options.texts // n_classes)
        index = np.concatenate([self.rng.choice(labeling.members[c], each) for c in chosen])
        places = np.concatenate([labeling.places[index], labeling.names[chosen]])
        return places, np.concatenate([labeling.codes[index], chosen]), len(index)

    def save(self, path: Path) -> None:
        from safetensors.torch import save_file

        tensors = {
            f"{name}.{part}": getattr(low, part).detach().half().cpu().contiguous()
            for name, low in self.layers.items()
            for part in ("down", "up")
        }
        save_file(tensors, path)


def train(options: argparse.Namespace) -> None:
    training, start = Training(options), time.perf_counter()
    for number in range(options.steps):
        loss = training.step(number)
        if number % 100 == 99:
            print(f"step {number + 1}: loss {loss:.2f}, {time.perf_counter() - start:.0f} s")
    training.save(options.output)


def drawn_rows(
    labels: NDArray[np.str_], budget: int, draw: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of `budget` rows per class, and of up to 600 others."""
    rng = np.random.default_rng(1000 * draw + budget)
    classes = np.unique(labels)
    parts = [rng.permutation(np.flatnonzero(labels == name))[:budget] for name in classes]
    index = np.concatenate(parts)
    return index, rng.permutation(np.setdiff1d(np.arange(len(labels)), index))[:600]


def scored(
    features: NDArray[np.float64], labels: NDArray[np.str_], budget: int, draw: int
) -> dict[str, float]:
    """Accuracy and log loss of a logistic regression on other rows of the same split."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    classes = np.unique(labels)
    index, rest = drawn_rows(labels, budget, draw)
    model = LogisticRegression(C=10, max_iter=300).fit(features[index], labels[index])
    probabilities = model.predict_proba(features[rest])
    return {
        "accuracy": float(np.mean(classes[probabilities.argmax(1)] == labels[rest])),
        "log_loss": float(log_loss(labels[rest], probabilities, labels=classes)),
    }


def evaluated(n_rows: int) -> Iterator[dict[str, Any]]:
    from sktransfer import TransferTextVectorizer

    for name in SETS:
        rows = _data.load(name, "train")
        rows = _data.take(rows, np.random.default_rng(0).permutation(len(rows.texts))[:n_rows])
        n_classes = len(np.unique(rows.labels))
        budgets = [(8, draw) for draw in range(5)] + [(64, draw) for draw in range(2)]
        for encoder in ENCODERS:
            vectorizer = TransferTextVectorizer(encoder, long_texts="truncate")
            features = np.asarray(vectorizer.fit_transform(rows.texts), dtype=float)
            features /= np.linalg.norm(features, axis=1, keepdims=True)
            for budget, draw in budgets:
                if budget * n_classes <= len(rows.texts) // 2:
                    found = scored(features, rows.labels, budget, draw)
                    yield {"set": name, "encoder": encoder, "budget": budget, "draw": draw, **found}


def evaluate(options: argparse.Namespace) -> None:
    common = {"rows": options.rows, **provenance(), "commit": commit()}
    with options.output.open("w", newline="") as file:
        writer = None
        for row in evaluated(options.rows):
            writer = writer or csv.DictWriter(file, [*row, *common])
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow({**row, **common})
            file.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train")
    training.add_argument("checkouts", type=Path)
    training.add_argument("output", type=Path)
    training.add_argument("--steps", type=int, default=400)
    training.add_argument("--rank", type=int, default=16)
    training.add_argument("--rate", type=float, default=1e-3)
    training.add_argument("--distill", type=float, default=1.0)
    training.add_argument("--texts", type=int, default=20, help="of each labeling in a step")
    training.add_argument("--seed", type=int, default=1)
    training.set_defaults(run=train)
    evaluation = commands.add_parser("evaluate")
    evaluation.add_argument("--rows", type=int, default=1500)
    evaluation.add_argument("--output", type=Path, default=RESULTS)
    evaluation.set_defaults(run=evaluate)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
