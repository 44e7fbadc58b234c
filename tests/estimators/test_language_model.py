"""What LanguageModel promises, on tiny networks and texts of a simple grammar."""

from __future__ import annotations

import gzip
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sktransfer import LanguageModel, TransferTextClassifier
from sktransfer.encoders import resolve_encoder, seal_folder

SUBJECTS = "father mother child doctor".split()  # noqa: SIM905
VERBS = "saw took made found".split()  # noqa: SIM905
OBJECTS = "water milk bread fish".split()  # noqa: SIM905
ROOT = Path(__file__).resolve().parents[1]

# What suits texts of a few words; the defaults, meant for real ones, may move without these tests.
TINY = {
    "embedding_size": 16,
    "hidden_size": 16,
    "n_layers": 2,
    "n_heads": 2,
    "max_length": 16,
    "batch_size": 8,
    "vocab_size": 400,
    "max_epochs": 2,
    "learning_rate": 0.02,
    "precision": "float32",
    "device": "cpu",
    "random_state": 0,
}
NETWORKS = {
    "forward": {"architecture": "awd_lstm"},
    "backward": {"architecture": "awd_lstm", "direction": "backward"},
    "both": {"architecture": "awd_lstm", "direction": "both"},
    "gpt": {"architecture": "gpt", "learning_rate": 0.005},
    "bert": {"architecture": "bert", "learning_rate": 0.005, "mask_fraction": 0.3},
}


def grammar(n_texts: int, *, seed: int = 0) -> list[str]:
    """Sentences whose every word but the nouns is known from the one before."""
    rng = np.random.default_rng(seed)
    return [
        f"the {rng.choice(SUBJECTS)} {rng.choice(VERBS)} some {rng.choice(OBJECTS)} today"
        for _ in range(n_texts)
    ]


def shuffled(texts: list[str]) -> list[str]:
    rng = np.random.default_rng(1)
    return [" ".join(rng.permutation(text.split())) for text in texts]


TEXTS, NEW = grammar(80), grammar(30, seed=1)


def make(kind: str = "forward", **parameters) -> LanguageModel:
    return LanguageModel(**{**TINY, **NETWORKS[kind], **parameters})


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request) -> LanguageModel:
    """A model of each kind that knows the grammar; no test changes it."""
    n_epochs = 12 if request.param == "gpt" else 30
    return make(request.param, max_epochs=n_epochs).fit(TEXTS)


@pytest.fixture(scope="module")
def fitted() -> LanguageModel:
    """A model after two epochs; no test changes it."""
    return make().fit(TEXTS)


def test_training_lowers_the_perplexity_below_that_of_shuffled_text(trained):
    before = clone(trained).set_params(max_epochs=0).fit(TEXTS)
    assert before.loss_curve_ == []
    perplexity = trained.perplexity(NEW)
    assert 1 < perplexity < 0.5 * before.perplexity(NEW)
    assert perplexity < 0.7 * trained.perplexity(shuffled(NEW))
    assert trained.score(NEW) == pytest.approx(-np.log(perplexity))
    assert trained.score(NEW) == trained.score(NEW)


def test_fitted_attributes(trained):
    n_directions = 2 if trained.direction == "both" else 1
    assert trained.n_iter_ == trained.max_epochs
    assert len(trained.loss_curve_) == n_directions * trained.n_iter_
    assert trained.loss_curve_[-1] < trained.loss_curve_[-trained.n_iter_]
    assert (trained.validation_scores_, trained.best_epoch_) == ([], None)
    assert (trained.n_features_in_, trained.device_) == (1, "cpu")
    assert not any(module.training for module in trained.model_.modules())


def test_transform_gives_the_mean_state(trained):
    features = trained.transform(NEW)
    width = trained.encoder_.load()[0].hidden_size
    assert features.shape == (30, width)
    assert features.dtype == np.float32
    names = trained.get_feature_names_out()
    assert names.tolist() == [f"languagemodel{number}" for number in range(width)]
    assert_allclose(trained.transform(NEW[:3]), features[:3], atol=1e-5)
    encoder, tokenizer = trained.encoder_.load()
    content = tokenizer.encode([NEW[0]])[0].tolist()
    ids = torch.tensor([[*tokenizer.prefix, *content, *tokenizer.suffix]])
    with torch.inference_mode():
        states = encoder(ids, torch.ones_like(ids))[0][0]
    means = [states.mean(dim=0), states[len(tokenizer.prefix) :][: len(content)].mean(dim=0)]
    assert any(np.allclose(features[0], mean.numpy(), atol=1e-4) for mean in means)


def test_frames_come_out_of_transform(fitted):
    frame = clone(fitted).set_output(transform="pandas").fit(TEXTS).transform(NEW)
    assert list(frame.columns) == list(fitted.get_feature_names_out())
    assert_array_equal(frame.to_numpy(), fitted.transform(NEW))


def test_copies_are_the_same_model(trained, tmp_path):
    trained.save(tmp_path / "model")
    copies = [pickle.loads(pickle.dumps(trained)), LanguageModel.load(tmp_path / "model")]
    for copy in copies:
        assert copy.get_params() == trained.get_params()
        assert copy.score(NEW) == trained.score(NEW)
        assert_array_equal(copy.transform(NEW), trained.transform(NEW))
        assert copy.loss_curve_ == trained.loss_curve_
        assert copy.n_iter_ == trained.n_iter_
        assert hasattr(copy, "generate") is hasattr(trained, "generate")
    assert clone(trained).get_params() == trained.get_params()
    assert not hasattr(clone(trained), "model_")
    # The folder is an encoder for other estimators.
    encoder, _ = resolve_encoder(tmp_path / "model").load()
    assert encoder.hidden_size == trained.encoder_.load()[0].hidden_size
    copies[1].save(tmp_path / "model")  # written over


def test_the_encoder_serves_a_classifier(trained):
    # Nouns stand for one another; what the model knows is the order of the words.
    texts, labels = [*TEXTS, *shuffled(TEXTS)], np.repeat(["plain", "mixed"], len(TEXTS))
    classifier = TransferTextClassifier(
        trained.encoder_, C=1e3, max_epochs=0, lexical_weight=0.0, label_texts=None
    ).fit(texts, labels)
    assert classifier.score([*NEW, *shuffled(NEW)], np.repeat(["plain", "mixed"], 30)) > 0.8


def test_a_further_model_goes_on_from_the_encoder(fitted):
    again = LanguageModel(fitted.encoder_, **{**TINY, "max_epochs": 0}).fit(TEXTS)
    assert again.score(NEW) == pytest.approx(fitted.score(NEW), rel=1e-5)
    further = LanguageModel(fitted.encoder_, **{**TINY, "learning_rate": None}).fit(TEXTS)
    assert further.score(NEW) > fitted.score(NEW)


def test_generation_depends_on_the_random_state_alone(trained):
    if trained.architecture == "bert" or trained.direction == "backward":
        assert not hasattr(trained, "generate")
        return
    world = torch.get_rng_state(), str(np.random.get_state())
    texts = [trained.generate("the father", 6, random_state=seed) for seed in (0, 0, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 2
    assert all(text.startswith("the father") for text in texts)
    likeliest = {trained.generate("the father", 8, temperature=0.0) for _ in range(3)}
    assert len(likeliest) == 1
    assert trained.generate(n_tokens=3, temperature=0.0).strip()
    if trained.architecture == "awd_lstm":
        assert likeliest.pop().split()[2] in VERBS
    assert (torch.get_rng_state().equal(world[0]), str(np.random.get_state())) == (True, world[1])


def test_generation_is_there_before_fit_where_it_will_be():
    for kind in NETWORKS:
        assert hasattr(make(kind), "generate") is (kind in ("forward", "both", "gpt"))
    assert not hasattr(LanguageModel(), "generate")
    with pytest.raises(NotFittedError):
        make().generate()


@pytest.mark.parametrize("parameters", [{"n_tokens": 0}, {"temperature": -1.0}])
def test_bad_parameters_of_generation_are_refused(fitted, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        fitted.generate("the", **parameters)


def test_a_decoder_without_special_tokens_generates(tiny_decoder):
    model = LanguageModel(tiny_decoder, **{**TINY, "max_epochs": 1, "learning_rate": 1e-3})
    model.fit(TEXTS)
    assert model.generate("the father", 3, random_state=0).startswith("the father")
    with pytest.raises(ValueError, match="prompt"):
        model.generate("", 3)


@pytest.mark.parametrize("name", ["tiny_encoder", "tiny_decoder"])
def test_a_checkpoint_is_adapted(request, name):
    encoder = request.getfixturevalue(name)
    parameters = {**TINY, "max_length": 32, "learning_rate": 3e-3, "max_epochs": 4}
    before = LanguageModel(encoder, **{**parameters, "max_epochs": 0}).fit(TEXTS)
    after = LanguageModel(encoder, **parameters).fit(TEXTS)
    assert after.perplexity(NEW) < 0.5 * before.perplexity(NEW)
    assert after.encoder_.name == resolve_encoder(encoder).name


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """TEXTS in one file, in two, and compressed."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "all.txt").write_text("\n".join(TEXTS) + "\n", "utf-8")
    (folder / "part1.txt").write_text("\n".join(TEXTS[:30]), "utf-8")
    (folder / "part2.txt").write_text("\n".join([*TEXTS[30:], "", " "]), "utf-8")
    with gzip.open(folder / "all.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\r\n".join(TEXTS))
    return folder


class Stream:
    """Texts that are read anew at each pass; it counts them."""

    def __init__(self) -> None:
        self.n_passes = 0

    def __iter__(self):
        self.n_passes += 1
        yield from TEXTS


SOURCES = {
    "file": lambda folder: str(folder / "all.txt"),
    "path": lambda folder: folder / "all.txt",
    "glob": lambda folder: str(folder / "part*.txt"),
    "gz": lambda folder: str(folder / "all.txt.gz"),
    "stream": lambda folder: Stream(),
    "generator": lambda folder: (text for text in TEXTS),
    "array": lambda folder: np.array(TEXTS),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_what_a_list_gives(fitted, folder, source):
    X = source(folder)
    model = make().fit(X)
    assert model.loss_curve_ == fitted.loss_curve_
    assert model.score(source(folder)) == fitted.score(TEXTS)
    if isinstance(X, Stream):
        assert X.n_passes > 1


def bad_inputs(tmp: Path) -> dict:
    return {
        "one string": (("the father",), {}, "file"),
        "missing file": ((str(tmp / "none.txt"),), {}, "none.txt"),
        "missing path": ((tmp / "none.txt",), {}, "none.txt"),
        "folder": ((tmp,), {}, "folder"),
        "no match": ((str(tmp / "*.none"),), {}, "none"),
        "number in row": (([*TEXTS[:3], 3],), {}, "[Rr]ow 3"),
        "missing in row": (([*TEXTS[:3], None],), {}, "[Rr]ow 3"),
        "numbers": ((np.arange(4.0),), {}, "text"),
        "empty": (([],), {}, "X"),
        "blank": ((["", " "],), {}, "X has no text"),
        "None": ((None,), {}, "X"),
        "number": ((3,), {}, "X"),
        "rare words": ((["a b c"],), {}, "min_frequency"),
        "bad X_val": ((TEXTS, None, [3]), {}, "X_val"),
        "no X_val": ((TEXTS,), {"early_stopping": True}, "early_stopping=True needs X_val"),
        "backward gpt": ((TEXTS,), {"architecture": "gpt", "direction": "backward"}, "direction"),
        "backward bert": ((TEXTS,), {"architecture": "bert", "direction": "both"}, "direction"),
        "backward checkpoint": ((TEXTS,), {"architecture": None, "direction": "both"}, "direction"),
        "heads": ((TEXTS,), {"architecture": "gpt", "n_heads": 3}, "hidden_size=16.*n_heads=3"),
        "small vocabulary": ((TEXTS,), {"architecture": "gpt", "vocab_size": 50}, "vocab_size=50"),
        "no encoder": ((TEXTS,), {"architecture": None, "encoder": str(tmp / "no")}, "encoder"),
        "checkpoint file": ((TEXTS,), {"checkpoint": tmp / "file"}, "checkpoint.*is a file"),
    }


@pytest.mark.parametrize("name", bad_inputs(Path("somewhere")))
def test_bad_input_is_refused_and_the_model_stays(fitted, tmp_path, name):
    (tmp_path / "file").write_text("")
    arguments, parameters, match = bad_inputs(tmp_path)[name]
    model = pickle.loads(pickle.dumps(fitted)).set_params(**parameters)
    before = dict(vars(model))
    with pytest.raises((TypeError, ValueError), match=match):
        model.fit(*arguments)
    assert vars(model) == before
    assert model.set_params(**fitted.get_params()).score(NEW) == fitted.score(NEW)
    fresh = make(**parameters)
    with pytest.raises((TypeError, ValueError), match=match):
        fresh.fit(*arguments)
    assert not hasattr(fresh, "model_")


BAD_PARAMETERS = {
    "encoder": 3,
    "architecture": "lstm",
    "direction": "up",
    "tokens": "letters",
    "vocab_size": 1,
    "min_frequency": 0,
    "embedding_size": 0,
    "hidden_size": 0,
    "n_layers": 0,
    "n_heads": 0,
    "dropout": 1.0,
    "mask_fraction": 0.0,
    "whole_words": "yes",
    "max_length": 1,
    "trainable_layers": -1,
    "gradual_unfreezing": "yes",
    "max_epochs": "auto",
    "batch_size": 0,
    "learning_rate": 0.0,
    "layer_decay": 0.0,
    "weight_decay": -1.0,
    "schedule": "none",
    "warmup_fraction": 1.0,
    "early_stopping": "yes",
    "n_iter_no_change": 0,
    "checkpoint": 3,
    "checkpoint_seconds": -1.0,
    "device": "abacus",
    "precision": "float8",
    "random_state": "zero",
    "verbose": -1,
}


def test_every_parameter_is_checked():
    assert BAD_PARAMETERS.keys() == LanguageModel().get_params().keys()


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS.items())
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_parameters_are_refused_by_name(name, value, method):
    with pytest.raises(ValueError, match=f"{name}"):
        getattr(make(**{name: value}), method)(TEXTS)


@pytest.mark.parametrize("method", ["score", "perplexity", "transform", "save"])
def test_unfitted_says_so(method):
    with pytest.raises(NotFittedError):
        getattr(make(), method)(TEXTS)


@pytest.mark.parametrize("name", ["score", "perplexity"])
def test_nothing_to_score_is_an_error(fitted, name):
    with pytest.raises(ValueError, match="X has no text"):
        getattr(fitted, name)([""])


def test_a_loss_beyond_numbers_stops_the_fit():
    model = make(learning_rate=1e30, warmup_fraction=0.0, schedule="constant")
    with pytest.raises(FloatingPointError, match="learning_rate"):
        model.fit(TEXTS)
    assert not hasattr(model, "model_")


@pytest.mark.parametrize("kind", ["both", "gpt", "bert"])
def test_the_seed_decides(kind):
    first, second, other = (make(kind, random_state=s, max_epochs=1) for s in (0, 0, 1))
    world = torch.get_rng_state(), str(np.random.get_state())
    first, second, other = (model.fit(TEXTS) for model in (first, second, other))
    scores = [model.score(NEW) for model in (first, second, other)]
    assert scores[0] == scores[1] != scores[2]
    assert first.loss_curve_ == second.loss_curve_
    assert (torch.get_rng_state().equal(world[0]), str(np.random.get_state())) == (True, world[1])


def test_verbose_reports_epochs_on_stderr(capfd):
    make(verbose=1).fit(TEXTS, X_val=NEW)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("epoch") == 2
    make().fit(TEXTS)
    assert capfd.readouterr() == ("", "")


def test_validation_texts_are_watched():
    model = make().fit(TEXTS, X_val=NEW)
    assert len(model.validation_scores_) == 2
    assert model.validation_scores_[-1] == pytest.approx(model.score(NEW))
    assert model.loss_curve_ == make().fit(TEXTS).loss_curve_


def test_early_stopping_goes_back_to_the_best_epoch():
    model = make(early_stopping=True, n_iter_no_change=2, max_epochs=60, learning_rate=0.05)
    model.fit(TEXTS[:10], X_val=NEW)
    assert model.n_iter_ < 60
    assert model.n_iter_ == model.best_epoch_ + 2
    assert model.score(NEW) == pytest.approx(max(model.validation_scores_), rel=1e-5)


def test_partial_fit_learns_part_by_part():
    model = make().partial_fit(TEXTS[:40])
    first, tokenizer = model.score(NEW), model.tokenizer_
    for _ in range(6):
        model.partial_fit(TEXTS[40:])
    assert model.score(NEW) > first
    assert model.tokenizer_ is tokenizer
    assert len(model.loss_curve_) == 1


def test_partial_fit_goes_on_from_fit(fitted):
    model = pickle.loads(pickle.dumps(fitted)).partial_fit(TEXTS)
    assert model.score(NEW) > fitted.score(NEW)
    assert model.tokenizer_.encode(NEW)[0].tolist() == fitted.tokenizer_.encode(NEW)[0].tolist()


def press_ctrl_c(monkeypatch, at_step: int) -> None:
    """Send this process SIGINT, as the terminal does, within the given optimizer step."""
    step, count = torch.optim.AdamW.step, 0

    def counted(self, *args, **kwargs):
        nonlocal count
        count += 1
        if count == at_step:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)


@pytest.mark.parametrize("kind", ["forward", "both", "bert"])
def test_ctrl_c_keeps_what_there_is(kind, monkeypatch, tmp_path):
    model = make(kind, max_epochs=20, checkpoint=tmp_path, checkpoint_seconds=0)
    press_ctrl_c(monkeypatch, at_step=25)
    with pytest.raises(KeyboardInterrupt, match=r"Ctrl-C.* with the weights so far"):
        model.fit(TEXTS)
    # Five to ten steps an epoch; the second direction is not begun.
    assert len(model.loss_curve_) <= 5
    assert model.score(NEW) > clone(model).set_params(max_epochs=0, checkpoint=None).fit(
        TEXTS
    ).score(NEW)
    assert list(tmp_path.rglob("*.safetensors"))
    assert not any(module.training for module in model.model_.modules())


def test_ctrl_c_goes_back_to_the_best_weights(monkeypatch):
    model = make(max_epochs=20)
    press_ctrl_c(monkeypatch, at_step=25)
    with pytest.raises(KeyboardInterrupt, match="best weights"):
        model.fit(TEXTS, X_val=NEW)
    assert model.score(NEW) == pytest.approx(max(model.validation_scores_), rel=1e-5)


KILLED = """
import sys
from tests.estimators.test_language_model import TEXTS, make
import torch, time
step, count = torch.optim.AdamW.step, 0
def slow(self, *args, **kwargs):
    global count
    count += 1
    if count == int(sys.argv[3]):
        print("there", flush=True)
        time.sleep(600)
    return step(self, *args, **kwargs)
torch.optim.AdamW.step = slow
make(sys.argv[1], checkpoint=sys.argv[2], checkpoint_seconds=0, max_epochs=6).fit(TEXTS)
"""


@pytest.mark.parametrize("kind", ["both", "gpt"])
def test_a_killed_fit_goes_on(kind, tmp_path):
    folder = tmp_path / "state"
    whole = make(kind, max_epochs=6).fit(TEXTS)
    n_steps = 25 if kind == "gpt" else 45
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, kind, str(folder), str(n_steps)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
        finally:
            process.send_signal(signal.SIGKILL)
    assert list(folder.rglob("checkpoint.safetensors"))
    with pytest.raises(ValueError, match=r"another training.*max_epochs.*Delete"):
        make(kind, max_epochs=7, checkpoint=folder).fit(TEXTS)
    with pytest.raises(ValueError, match=r"another training.*texts"):
        make(kind, max_epochs=6, checkpoint=folder).fit([*TEXTS, TEXTS[0]])
    calls = []
    resumed = make(kind, max_epochs=6, checkpoint=folder, checkpoint_seconds=0)
    with pytest.MonkeyPatch.context() as patch:
        step = torch.optim.AdamW.step
        patch.setattr(torch.optim.AdamW, "step", lambda *a, **k: (calls.append(1), step(*a, **k)))
        resumed.fit(TEXTS)
    assert resumed.perplexity(NEW) == pytest.approx(whole.perplexity(NEW), rel=0.01)
    assert len(resumed.loss_curve_) == len(whole.loss_curve_)
    assert len(calls) > 3
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_broken_checkpoint_says_so(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"cannot be read.*Delete it"):
        make(checkpoint=tmp_path).fit(TEXTS)


def test_a_finished_fit_leaves_no_checkpoint(tmp_path, fitted):
    model = make(checkpoint=tmp_path / "new", checkpoint_seconds=0).fit(TEXTS)
    assert model.score(NEW) == fitted.score(NEW)
    assert list((tmp_path / "new").iterdir()) == []
    model.partial_fit(TEXTS)
    assert list((tmp_path / "new").iterdir()) == []


def test_load_says_what_is_missing(tmp_path, fitted):
    with pytest.raises(ValueError, match=r"no saved estimator: estimator\.json"):
        LanguageModel.load(tmp_path)
    fitted.save(tmp_path / "model")
    file = tmp_path / "model" / "estimator.json"
    file.write_text(file.read_text().replace('"LanguageModel"', '"Other"'))
    with pytest.raises(ValueError, match=r"estimator\.json has changed .* the folder is damaged"):
        LanguageModel.load(tmp_path / "model")
    seal_folder(tmp_path / "model")
    with pytest.raises(ValueError, match="holds a 'Other', which is unknown"):
        LanguageModel.load(tmp_path / "model")


def test_parameters_of_numpy_are_saved(tmp_path):
    make(max_epochs=np.int64(1), max_length=np.int64(12)).fit(TEXTS).save(tmp_path / "model")
    loaded = LanguageModel.load(tmp_path / "model")
    assert (loaded.max_epochs, loaded.max_length) == (1, 12)


def test_callbacks_see_working_copies():
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")

    class Recorder:
        """Keeps the models that it is given."""

        def __init__(self) -> None:
            self.events: list[tuple[str, str]] = []
            self.scores: list[float] = []
            self.models: list[LanguageModel] = []

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            self.events.append(("begin", context.task_name))

        def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
            self.events.append(("end", context.task_name))
            self.scores.append(fitted_estimator.score(NEW))
            self.models.append(fitted_estimator)

    for kind in ("both", "bert"):
        recorder, expected = Recorder(), make(kind).fit(TEXTS)
        model = make(kind).set_callbacks(recorder).fit(TEXTS)
        epochs = [("begin", "epoch"), ("end", "epoch")] * (4 if kind == "both" else 2)
        assert recorder.events == [("begin", "fit"), *epochs, ("end", "fit")]
        assert model.score(NEW) == expected.score(NEW) == recorder.scores[-1]
        assert len(set(recorder.scores[:-1])) == len(recorder.scores) - 1
        # The first epoch's does not move on with the training.
        assert recorder.models[0].score(NEW) == recorder.scores[0]
