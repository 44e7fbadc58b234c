"""Saves and checkpoints that are killed, interrupted or damaged: the old one or the new one."""

import json
import os
import shutil
import signal
import stat
import sys
import warnings

import numpy as np
import pytest
import torch

from sktransfer import LanguageModel, TransferTextClassifier
from sktransfer.encoders import resolve_encoder
from sktransfer.encoders.digests import _file_digest
from sktransfer.runtime import cache_budget

TEXTS = [f"the {a} saw the {b}" for a in ("father", "mother") for b in ("water", "milk", "fish")]
TINY = {
    "architecture": "awd_lstm",
    "embedding_size": 4,
    "hidden_size": 4,
    "n_layers": 1,
    "max_length": 16,
    "max_epochs": 1,
    "precision": "float32",
    "device": "cpu",
}
# What a process asks of the file system, as the interpreter's audit events call it.
OPERATIONS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def model(**parameters):
    return LanguageModel(**{**TINY, **parameters})


@pytest.fixture(scope="module")
def old():
    return model(random_state=0).fit(TEXTS)


@pytest.fixture(scope="module")
def new():
    return model(random_state=1).fit([*TEXTS, "the doctor took some bread"])


def in_child(work, at, act):
    """Do `work` in a forked child that calls `act` at an operation; whether it was reached."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) != 7
    count = 0

    def hook(event, arguments):
        nonlocal count
        # Others than ours: sockets of the test runner, say.
        if event in OPERATIONS and not (event == "open" and isinstance(arguments[0], int)):
            count += 1
            if count == at:
                act()

    sys.addaudithook(hook)
    code = 7
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work()
    except BaseException:  # noqa: BLE001 - a full disk, which is what is tried
        code = 3
    if count >= at:
        code = 3
    os._exit(code)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def full_disk():
    raise OSError(28, "No space left on device")


def until_done(work, act, check, most=200):
    """Repeat `work` with `act` at each operation in turn; return how many there are."""
    for at in range(1, most):
        reached = in_child(work, at, act)
        check()
        if not reached:
            return at - 1
    raise AssertionError("there is no end of operations")


@pytest.mark.parametrize("act", [kill, full_disk])
def test_a_save_that_is_killed_leaves_the_old_model_or_the_new_one(tmp_path, old, new, act):
    folder = tmp_path / "model"
    expected = {round(m.score(TEXTS), 6) for m in (old, new)}
    old.save(folder)
    found = set()

    def check():
        loaded = LanguageModel.load(folder)
        found.add(round(loaded.score(TEXTS), 6))
        assert found <= expected
        resolve_encoder(folder).load()
        old.save(folder)  # a full disk at an operation that may fail does not stop a save

    n_operations = until_done(lambda: new.save(folder), act, check)
    assert n_operations > 20
    assert found == expected
    # Leftovers are in nobody's way, and go.
    old.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_first_save_that_is_killed_is_not_loaded_and_can_be_made_again(tmp_path, old):
    folder = tmp_path / "model"

    def check():
        if folder.exists():
            LanguageModel.load(folder)
            shutil.rmtree(folder)

    assert until_done(lambda: old.save(folder), kill, check) > 10
    old.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_encoder_saved_over_another_is_one_of_them(tmp_path, old, new):
    folder = tmp_path / "encoder"
    digests = {handle.digest for handle in (old.encoder_, new.encoder_)}
    old.encoder_.save(folder)
    found = set()

    def check():
        encoder, tokenizer = resolve_encoder(folder).load(lm_head=True)
        found.add((tokenizer.n_tokens, len(encoder.token_embedding().weight)))

    until_done(lambda: new.encoder_.save(folder), kill, check)
    assert len(digests) == 2
    assert found == {(m.tokenizer_.n_tokens,) * 2 for m in (old, new)}


@pytest.mark.parametrize("act", [kill, full_disk])
def test_a_killed_checkpoint_is_the_old_one_or_the_new_one(tmp_path, act):
    def fit():
        model(random_state=0, max_epochs=4, checkpoint=tmp_path, checkpoint_seconds=0).fit(TEXTS)

    whole = model(random_state=0, max_epochs=4).fit(TEXTS).loss_curve_

    def check():
        resumed = model(random_state=0, max_epochs=4, checkpoint=tmp_path, checkpoint_seconds=9)
        assert resumed.fit(TEXTS).loss_curve_ == pytest.approx(whole)

    for at in range(1, 40, 3):
        in_child(fit, at, act)
        check()


def test_a_checkpoint_that_cannot_be_written_warns_and_training_goes_on(tmp_path, monkeypatch):
    from sktransfer.language import checkpoint as checkpoint_module

    def refuse(path, write):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "write_file", refuse)
    trained = model(random_state=0, checkpoint=tmp_path, checkpoint_seconds=0)
    with pytest.warns(UserWarning, match=r"cannot be written \(.*No space left.*goes on"):
        trained.fit(TEXTS)
    assert trained.n_iter_ == 1


def stopped(folder, **parameters):
    """Leave the checkpoint of a fit that was interrupted."""
    step, count = torch.optim.AdamW.step, 0

    def interrupted(self, *args, **kwargs):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    settings = {"max_epochs": 5, "random_state": 0, **parameters}
    begun = model(checkpoint=folder, checkpoint_seconds=0, **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            begun.fit(TEXTS)
    assert list(folder.iterdir())


OTHER_TEXTS = [text.replace("milk", "wine") for text in TEXTS]


@pytest.mark.parametrize(
    ("texts", "change", "differs"),
    [
        (OTHER_TEXTS, {}, "texts"),
        (TEXTS[::-1], {}, "texts"),
        (TEXTS, {"random_state": 1}, "random_state"),
        (TEXTS, {"random_state": None}, "random_state"),
        (TEXTS, {"learning_rate": 0.1}, "learning_rate"),
        (TEXTS, {"weight_decay": 0.5}, "weight_decay"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, texts, change, differs):
    stopped(tmp_path)
    settings = {"max_epochs": 5, "random_state": 0, **change}
    with pytest.raises(ValueError, match=f"of another training: it differs in .*{differs}"):
        model(checkpoint=tmp_path, **settings).fit(texts)
    model(checkpoint=tmp_path, max_epochs=5, random_state=0).fit(TEXTS)


def test_a_checkpoint_of_another_encoder_of_the_same_name_is_refused(tmp_path, old, new):
    folder, state = tmp_path / "encoder", tmp_path / "state"
    old.encoder_.save(folder)
    stopped(state, architecture=None, encoder=str(folder))
    model(random_state=9).fit(TEXTS).encoder_.save(folder)
    with pytest.raises(ValueError, match="of another training: it differs in encoder"):
        model(
            architecture=None,
            encoder=str(folder),
            checkpoint=state,
            max_epochs=5,
            random_state=0,
        ).fit(TEXTS)


def test_every_parameter_tells_a_checkpoint_from_others(tmp_path):
    from sktransfer.fitting.pretraining import (
        _FREE_PARAMETERS,
        CheckpointSettings,
        PretrainingJob,
        _checkpoints,
    )

    stopped(tmp_path)
    trained = model(checkpoint=tmp_path, max_epochs=5, random_state=0)
    assert _FREE_PARAMETERS == ("checkpoint", "checkpoint_seconds", "device", "verbose")
    parameters = trained.get_params(deep=False)
    names = set(parameters) - set(_FREE_PARAMETERS)
    corpus = trained._corpus(TEXTS)
    start = trained._start(corpus)
    job = PretrainingJob(
        start,
        corpus,
        None,
        trained._plan(start),
        trained._language_task(),
        trained._fit_parameters(),
        0,
        CheckpointSettings.of(parameters),
    )
    (checkpoint,) = _checkpoints(job)
    identity = checkpoint.identity
    assert names | {"texts", "X_val", "vocabulary"} == set(identity)


def flips(path, n_flips, seed=0):
    """Contents of a file with one bit flipped, at its start and anywhere."""
    whole, rng = path.read_bytes(), np.random.default_rng(seed)
    for place in [*range(0, min(len(whole), 200), 13), *rng.integers(len(whole), size=n_flips)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        _file_digest.cache_clear()  # as a new process; the file's time may be the same
        yield bytes(damaged)
    path.write_bytes(whole)
    _file_digest.cache_clear()


def test_a_flipped_bit_of_a_saved_model_is_an_error(tmp_path, old):
    old.save(tmp_path / "model")
    files = [path for path in (tmp_path / "model").iterdir() if path.name != "README.md"]
    for path in sorted(files):
        for content in flips(path, 10):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="model"):
                LanguageModel.load(tmp_path / "model")
    assert LanguageModel.load(tmp_path / "model").score(TEXTS) == pytest.approx(old.score(TEXTS))


def test_a_flipped_bit_of_a_saved_encoder_is_an_error(tmp_path, tiny_encoder):
    classifier = TransferTextClassifier(tiny_encoder, max_epochs=0).fit(TEXTS, [0, 1] * 3)
    classifier.encoder_.save(tmp_path)
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        for content in flips(path, 4):
            path.write_bytes(content)
            # Without what other tests have loaded of the same weights.
            with cache_budget(0), pytest.raises(ValueError, match=r"encoder|damaged|digests"):
                resolve_encoder(tmp_path).load()


def test_a_flipped_bit_of_a_checkpoint_is_an_error(tmp_path):
    stopped(tmp_path)
    (file,) = tmp_path.iterdir()
    for content in flips(file, 15):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read"):
            model(checkpoint=tmp_path, max_epochs=5, random_state=0).fit(TEXTS)


def test_modes_of_what_is_saved_follow_the_umask(tmp_path, old):
    before = os.umask(0o027)
    try:
        old.save(tmp_path / "model")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()}
    assert modes == {0o640}
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o750


def test_shards_in_subfolders_have_digests_of_their_own(tmp_path, tiny_encoder):
    from safetensors.torch import load_file, save_file

    digests = []
    for number in range(2):
        folder = tmp_path / str(number)
        shutil.copytree(tiny_encoder, folder)
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        (folder / "part").mkdir()
        tensors = {name: value + number for name, value in tensors.items()}
        save_file(tensors, folder / "part" / "one.safetensors", metadata={"format": "pt"})
        index = {"weight_map": dict.fromkeys(tensors, "part/one.safetensors")}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        digests.append(resolve_encoder(folder).digest)
    assert digests[0] != digests[1]
