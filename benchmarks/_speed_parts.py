"""What `speed.py` measures, each part in a process of its own."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _data
import _systems
import numpy as np

OURS = "sktransfer"


PADDED = "transformers, padded"


N_FOLDS = 5


BATCH_SIZE = 16


TRAINABLE_LAYERS = 2


CANDIDATES = {
    "learning_rate": [1e-4, 3e-4, 1e-3],
    "layer_decay": [0.7, 0.9],
    "max_epochs": [1, 2],
}


# Of the search at a constant rate, whose longer trainings begin with the shorter ones.
CONTINUED_CANDIDATES = {
    "learning_rate": [1e-4, 3e-4],
    "layer_decay": [0.7, 0.9],
    "max_epochs": [1, 2, 3],
}


N_CS = 12


FINETUNE_EPOCHS = 3


FINETUNE_LENGTHS = {"trec6": 128, "imdb": 256}


PREDICT_SET = "20newsgroups_strict"


PREDICT_BATCH = 32


# Calls of `calls`: the set, and the texts per call. Small calls are repeated with other texts.
CALLS = {
    **{f"questions, {size} per call": ("trec6", size) for size in (1, 4, 16, 64, 500)},
    "posts, 200 per call": (PREDICT_SET, 200),
}


CALL_TEXTS = 64


FLAT_ROWS = 60


FLAT_CACHE_BYTES = 64 << 20


FLAT_NOTED = (1, 10, 20, 30, 40, 50)


# What must be installed for a system; it is left out where that is missing.
NEEDS = {
    "skorch": ("skorch",),
    "skorch, padded to 128": ("skorch",),
    "onnxruntime": ("onnxruntime", "onnxscript"),
}


@dataclass(frozen=True)
class Job:
    """One process: what it measures and how much of it."""

    part: str
    system: str
    setting: str
    repeat: int
    size: int
    candidates: int
    device: str
    threads: int


@dataclass
class Measured:
    """One row's figures; `n_passes` are the texts that the work read, each time that it did."""

    setting: str
    n_texts: int
    n_passes: int
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_mb: int | None = None
    score: float | None = None
    steps: int = 0
    trained_parameters: int = 0
    cache_mb: float | None = None
    resident_mb: float | None = None
    gpu_peak_mb: float | None = None
    gpu_mb: float | None = None
    device: str = ""


def processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def watch_steps(measured: Measured) -> Any:
    """Count the steps of any optimizer of PyTorch, and what the first of them trains.

    Systems are compared on the same work, and this shows whether it was.
    """
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def note(optimizer: Any, _arguments: Any, _keywords: Any) -> None:
        measured.steps += 1
        if measured.steps == 1:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            measured.trained_parameters = sum(
                p.numel() for p in parameters if p.requires_grad and p.grad is not None
            )

    return register_optimizer_step_post_hook(note)


@contextlib.contextmanager
def timed(job: Job, n_texts: int, n_passes: int) -> Iterator[Measured]:
    """Fill in the cost of the block, by the wall clock and of the processor."""
    import torch

    measured = Measured(job.setting, n_texts, n_passes)
    on_gpu = job.device != "cpu"
    if on_gpu:
        torch.zeros(1, device=job.device)  # starting CUDA is nobody's own time
        torch.cuda.synchronize()
    handle = watch_steps(measured)
    wall, cpu = time.perf_counter(), processor_seconds()
    yield measured
    if on_gpu:
        torch.cuda.synchronize()
    measured.seconds = round(time.perf_counter() - wall, 4)
    measured.cpu_s = round(processor_seconds() - cpu, 4)
    handle.remove()
    measured.peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    measured.device = torch.cuda.get_device_name() if on_gpu else "cpu"
    if on_gpu:
        measured.gpu_peak_mb = round(torch.cuda.max_memory_allocated() / 2**20, 1)
        measured.gpu_mb = round(torch.cuda.memory_allocated() / 2**20, 1)


def import_ours() -> None:
    _systems.import_modules(_systems.SkTransfer({}, 0))


def import_all(*modules: str) -> None:
    for module in modules:
        importlib.import_module(module)


def accuracy(found: Sequence[Any], labels: Sequence[Any]) -> float:
    return round(float(np.mean(np.asarray(found) == np.asarray(labels))), 5)


def questions(size: int, seed: int = 0) -> _data.Rows:
    """`size` training questions of TREC-6."""
    rows = _data.load("trec6", "train")
    order = np.random.default_rng(seed).permutation(len(rows.texts))
    return _data.take(rows, order[:size])


def folds(rows: _data.Rows) -> list[Any]:
    """The same folds for every system, whatever it takes as labels."""
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    return list(splitter.split(rows.texts, rows.labels))


def grid_candidates(job: Job) -> list[dict[str, Any]]:
    from sklearn.model_selection import ParameterGrid

    values = CONTINUED_CANDIDATES if job.part == "continued" else CANDIDATES
    return list(ParameterGrid(values))[: job.candidates]


def apply_cache(job: Job) -> None:
    from sktransfer.runtime import set_cache_budget

    if "caches off" in job.system:
        set_cache_budget(0)


def our_classifier(job: Job, **parameters: Any) -> Any:
    """`TransferTextClassifier` of the job's device, with what the name of the system says."""
    import_ours()
    from sktransfer import TransferTextClassifier

    apply_cache(job)
    variants: dict[str, dict[str, Any]] = {
        "float32": {"precision": "float32"},
        "lexical_weight=0": {"lexical_weight": 0.0},
        "truncated": {"long_texts": "truncate"},
    }
    for name, more in variants.items():
        if name in job.system:
            parameters.update(more)
    return TransferTextClassifier(**parameters, random_state=job.repeat, device=job.device)


def searched(job: Job, rows: _data.Rows) -> tuple[Any, list[dict[str, Any]], Any]:
    """Estimator, candidates under its names and labels in its form."""
    found = grid_candidates(job)
    schedule = "constant" if job.part == "continued" else "linear"
    names, codes = np.unique(rows.labels, return_inverse=True)
    if job.system.startswith(OURS):
        ours = our_classifier(job, trainable_layers=TRAINABLE_LAYERS, batch_size=BATCH_SIZE)
        if schedule == "constant":
            ours.set_params(schedule=schedule, warmup_fraction=0.0, warm_start=True)
        return ours, found, rows.labels
    if job.system.startswith("trainer"):
        import_all(*_systems.PlainFineTune.modules)
        trainer = _systems.TrainerClassifier(
            trainable_layers=TRAINABLE_LAYERS,
            batch_size=BATCH_SIZE,
            schedule=schedule,
            bf16="bfloat16" in job.system,
        )
        return trainer, found, rows.labels
    import_all("torch", "skorch.hf", "transformers.models.bert.modeling_bert")
    import torch

    torch.manual_seed(0)
    pipeline = _systems.skorch_pipeline(
        len(names),
        TRAINABLE_LAYERS,
        job.device,
        batch_size=BATCH_SIZE,
        is_trimmed="padded" not in job.system,
    )
    steps = -(-len(codes) * (N_FOLDS - 1) // N_FOLDS // BATCH_SIZE)
    return (
        pipeline,
        [_systems.skorch_parameters(one, steps, schedule=schedule) for one in found],
        codes,
    )


def measure_grid(job: Job) -> list[Measured]:
    """A search over rates, decays and epochs, the two top layers trained."""
    from sklearn.model_selection import GridSearchCV

    rows = questions(job.size)
    estimator, candidates, labels = searched(job, rows)
    grid = [{name: [value] for name, value in one.items()} for one in candidates]
    splits = folds(rows)
    n_epochs = sum(one["max_epochs"] for one in grid_candidates(job))
    n_passes = n_epochs * sum(len(train) for train, _ in splits)
    search = GridSearchCV(estimator, grid, cv=splits, refit=False, error_score="raise")
    with timed(job, len(rows.texts), n_passes) as measured:
        search.fit(rows.texts, labels)
    measured.score = round(float(search.best_score_), 5)
    return [with_cache(job, measured)]


def with_cache(job: Job, measured: Measured) -> Measured:
    if job.system.startswith(OURS):
        from sktransfer.runtime import cache

        measured.cache_mb = round(cache.n_bytes / 2**20, 1)
    return measured


def measure_heads(job: Job) -> list[Measured]:
    """A search over C on features that stay, beside reading the texts once."""
    from sklearn.model_selection import GridSearchCV

    rows = questions(job.size)
    if job.system == "encode once":
        return [encode_once(job, rows)]
    classifier = our_classifier(job, trainable_layers=0)
    values = np.logspace(-1, 2, N_CS)[: job.candidates]
    splits = folds(rows)
    n_passes = len(values) * sum(len(train) for train, _ in splits)
    search = GridSearchCV(
        classifier, {"C": values.tolist()}, cv=splits, refit=False, error_score="raise"
    )
    with timed(job, len(rows.texts), n_passes) as measured:
        search.fit(rows.texts, rows.labels)
    measured.score = round(float(search.best_score_), 5)
    return [with_cache(job, measured)]


def encode_once(job: Job, rows: _data.Rows) -> Measured:
    """The least that any such search must do: each text passes through the encoder once."""
    import_ours()
    from sktransfer import TransferTextVectorizer
    from sktransfer.runtime import set_cache_budget

    set_cache_budget(0)
    with timed(job, len(rows.texts), len(rows.texts)) as measured:
        TransferTextVectorizer(device=job.device).fit_transform(rows.texts)
    return measured


def finetune_rows(job: Job) -> tuple[str, _data.Rows, _data.Rows]:
    """Set, rows to train on and rows to score on; `job.size`, if not 0, cuts both."""
    name = job.setting.split(",")[0]
    train = _data.load(name, "train") if name == "trec6" else _data.draw(name, "1500", 0)
    test = _data.test_rows(name)
    if job.size:
        train, test = (_data.take(rows, np.arange(job.size)) for rows in (train, test))
    return name, train, test


def measure_finetune(job: Job) -> list[Measured]:
    """One fit of all layers, and its accuracy, which is not in the time."""
    name, train, test = finetune_rows(job)
    if job.system.startswith(OURS):
        model = our_classifier(
            job,
            trainable_layers=None,
            max_epochs=FINETUNE_EPOCHS,
            batch_size=BATCH_SIZE,
            max_length=FINETUNE_LENGTHS[name],
        )
    else:
        model = _systems.PlainFineTune(1e-4, FINETUNE_EPOCHS, job.repeat)
        _systems.import_modules(model)
    n_passes = FINETUNE_EPOCHS * len(train.texts)
    with timed(job, len(train.texts), n_passes) as measured:
        model.fit(train.texts, train.labels)
    found = model.classes_[model.predict_proba(test.texts).argmax(axis=1)]
    measured.score = accuracy(found, test.labels)
    return [with_cache(job, measured)]


def newsgroups(size: int, tokenizer: Any) -> _data.Rows:
    """Test posts cut to the length that all systems read, each only once."""
    import resources

    rows = _data.load(PREDICT_SET, "test")
    texts = resources.cut(rows.texts[:size], tokenizer)
    first = {text: place for place, text in reversed(list(enumerate(texts)))}
    places = np.array(sorted(first.values()))
    return _data.Rows([texts[place] for place in places], rows.labels[places])


def fitted_predictor(job: Job, name: str) -> Any:
    """A classifier whose predictions cost what any other's do: what was learned plays no part."""
    import resources

    few = _data.draw(name, "8", 0)
    model = our_classifier(job, max_epochs=0, max_length=resources.MAX_LENGTH)
    return model.fit(few.texts, few.labels)


def onnx_reader(job: Job, name: str) -> Callable[[list[str]], Any]:
    """Labels from ONNX Runtime, texts of like length together; tokenizing is in it."""
    import onnxruntime

    model = fitted_predictor(job, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classifier.onnx"
        model.to_onnx(path)
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def read(texts: list[str]) -> Any:
        order = np.argsort([len(text) for text in texts], kind="stable")
        labels = np.empty(len(texts), dtype=model.classes_.dtype)
        for start in range(0, len(order), PREDICT_BATCH):
            chunk = order[start : start + PREDICT_BATCH]
            inputs = model.onnx_inputs([texts[place] for place in chunk])
            labels[chunk] = model.classes_[session.run(["scores"], inputs)[0].argmax(axis=1)]
        return labels

    return read


def sentence_encoder(job: Job) -> Any:
    import_all("sentence_transformers", "transformers.models.bert.modeling_bert")
    import resources
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(_systems.encoder_folder(), device=job.device)
    encoder.max_seq_length = resources.MAX_LENGTH
    return encoder


def padded_reader() -> Callable[[list[str]], Any]:
    """Bare forward passes over batches padded to their longest text; tokenizing is in it."""
    import resources
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(_systems.encoder_folder()).eval()
    tokenizer = AutoTokenizer.from_pretrained(_systems.encoder_folder())

    def read(texts: list[str]) -> Any:
        with torch.inference_mode():
            for start in range(0, len(texts), PREDICT_BATCH):
                batch = texts[start : start + PREDICT_BATCH]
                inputs = tokenizer(
                    batch,
                    padding=True,
                    truncation=True,
                    max_length=resources.MAX_LENGTH,
                    return_tensors="pt",
                )
                model(**inputs)

    return read


def reader(job: Job, name: str) -> Callable[[list[str]], Any]:
    """Function that reads texts of the set `name` with the system of the job."""
    from sktransfer.runtime import set_cache_budget

    set_cache_budget(0)
    if job.system == "onnxruntime":
        return onnx_reader(job, name)
    if job.system.startswith(OURS):
        return fitted_predictor(job, name).predict
    if job.system == PADDED:
        return padded_reader()
    encoder = sentence_encoder(job)
    return lambda texts: encoder.encode(texts, show_progress_bar=False)


def measure_predict(job: Job) -> list[Measured]:
    """Texts a second of a fitted model; the peers only encode."""
    from transformers import AutoTokenizer

    rows = newsgroups(job.size, AutoTokenizer.from_pretrained(_systems.encoder_folder()))
    read = reader(job, PREDICT_SET)
    read(rows.texts[:PREDICT_BATCH])
    with timed(job, len(rows.texts), len(rows.texts)) as measured:
        found = read(rows.texts)
    if job.system != "sentence-transformers":
        measured.score = accuracy(found, rows.labels)
    if job.system == "onnxruntime":
        measured.peak_mb = None  # it would be that of writing the graph
    return [measured]


def measure_calls(job: Job) -> list[Measured]:
    """Calls with `job.size` texts each, one after the other, until there are enough."""
    from transformers import AutoTokenizer

    name, _ = CALLS[job.setting]
    n_calls = max(1, CALL_TEXTS // job.size)
    if name == PREDICT_SET:
        tokenizer = AutoTokenizer.from_pretrained(_systems.encoder_folder())
        texts = newsgroups(n_calls * job.size, tokenizer).texts
    else:
        texts = _data.load(name, "test").texts
    calls = [texts[start : start + job.size] for start in range(0, n_calls * job.size, job.size)]
    read = reader(job, name)
    for call in calls:
        read(call)
    with timed(job, job.size, sum(map(len, calls))) as measured:
        for call in calls:
            read(call)
    return [measured]


def measure_growth(job: Job) -> list[Measured]:
    """A head on frozen features of more and more texts, no two of them equal."""
    rows = _data.load("trec6", "train")
    copies, places = np.divmod(np.arange(job.size), len(rows.texts))
    texts = [f"{rows.texts[place]} {copy}" for copy, place in zip(copies, places, strict=True)]
    classifier = our_classifier(job, trainable_layers=0, lexical_weight=0.0)
    with timed(job, len(texts), len(texts)) as measured:
        classifier.fit(texts, rows.labels[places])
    return [with_cache(job, measured)]


def measure_flat(job: Job) -> list[Measured]:
    """Resident memory as one process searches again and again, on other rows each time."""
    import psutil
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    from sktransfer.runtime import set_cache_budget

    set_cache_budget(FLAT_CACHE_BYTES)
    classifier = our_classifier(job, trainable_layers=TRAINABLE_LAYERS, max_epochs=1)
    process, found = psutil.Process(), []
    splitter = StratifiedKFold(2, shuffle=True, random_state=0)
    for number in range(1, job.size + 1):
        rows = questions(FLAT_ROWS, seed=number)
        search = GridSearchCV(
            classifier, {"learning_rate": [1e-4, 3e-4]}, cv=splitter, error_score="raise"
        )
        with timed(job, FLAT_ROWS, 3 * FLAT_ROWS) as measured:
            search.fit(rows.texts, rows.labels)
        measured.score = round(float(search.best_score_), 5)
        if number in (*FLAT_NOTED, job.size):
            measured.setting = f"{job.setting}, after {number}"
            measured.resident_mb = round(process.memory_info().rss / 2**20, 1)
            found.append(with_cache(job, measured))
    return found


@dataclass(frozen=True)
class Part:
    """A part's function and systems: `extra` ones run only where they are asked for."""

    measure: Callable[[Job], list[Measured]]
    systems: tuple[str, ...] = (OURS,)
    extra: tuple[str, ...] = ()


OFF = f"{OURS}, caches off"


PARTS = {
    "grid": Part(
        measure_grid,
        (OURS, OFF, "skorch", "trainer"),
        (f"{OURS}, float32", "skorch, padded to 128", "trainer, bfloat16"),
    ),
    "continued": Part(measure_grid, (OURS, OFF, "skorch", "trainer")),
    "heads": Part(measure_heads, (OURS, f"{OURS}, lexical_weight=0", "encode once"), (OFF,)),
    "finetune": Part(
        measure_finetune,
        (f"{OURS}, truncated", "trainer"),  # which cut a text at the same length
        (OURS, f"{OURS}, truncated, float32"),
    ),
    "predict": Part(measure_predict, (OURS, "sentence-transformers", "onnxruntime")),
    "calls": Part(measure_calls, (OURS, "sentence-transformers", PADDED)),
    "growth": Part(measure_growth),
    "flat": Part(measure_flat),
}
