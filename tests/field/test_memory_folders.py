"""Folders of `memory` that are damaged, crowded, shared or read by others."""

import os
import stat
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sktransfer import TransferTextClassifier, TransferTextVectorizer
from sktransfer.runtime import TensorCache, cache
from sktransfer.runtime import store as store_module

from .._reviews import reviews

TEXTS, LABELS = reviews(24, n_classes=2, seed=5)
NEW, _ = reviews(10, n_classes=2, seed=6)


@pytest.fixture(autouse=True)
def nothing_in_the_process():
    forget()
    yield
    forget()


def forget():
    """What a process that has just started knows."""
    cache.clear()
    store_module._shelf.cache_clear()


@pytest.fixture
def make(tiny_encoder, tmp_path):
    def build(**parameters):
        settings = {"max_epochs": 0, "random_state": 0, "device": "cpu", "memory": tmp_path}
        return TransferTextClassifier(tiny_encoder, **{**settings, **parameters})

    return build


def files(folder):
    return sorted(folder.rglob("*.safetensors"))


@pytest.mark.parametrize("settings", [{}, {"trainable_layers": 1, "max_epochs": 1}])
def test_a_flipped_bit_anywhere_changes_no_result(make, tmp_path, settings):
    expected = make(**settings).fit(TEXTS, LABELS).predict_proba(NEW)
    written = files(tmp_path)
    assert written
    rng = np.random.default_rng(0)
    for path in written:
        whole = path.read_bytes()
        places = [*range(0, 300, 11), *rng.integers(len(whole), size=25).tolist()]
        for place in places:
            damaged = bytearray(whole)
            damaged[place % len(whole)] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            forget()
            store_module.TensorCache(("any",), str(tmp_path))
            shelf = store_module._Shelf(path.parent)
            shelf.refresh()
            for tensors in map(shelf.get, shelf._places):
                assert all(torch.isfinite(tensor.float()).all() for tensor in tensors)
        path.write_bytes(damaged)
    forget()
    assert_array_equal(make(**settings).fit(TEXTS, LABELS).predict_proba(NEW), expected)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"{}", b"\xff" * 4096])
def test_junk_in_the_folder_is_passed_over(make, tmp_path, content):
    expected = make().fit(TEXTS, LABELS).predict_proba(NEW)
    for path in files(tmp_path):
        path.write_bytes(content)
    forget()
    assert_array_equal(make().fit(TEXTS, LABELS).predict_proba(NEW), expected)


def test_predictions_write_nothing(make, tmp_path, tiny_encoder):
    for settings in ({}, {"trainable_layers": 1, "max_epochs": 1}):
        model = make(**settings).fit(TEXTS, LABELS)
        before = files(tmp_path)
        for text in NEW:
            model.predict([text])
        assert files(tmp_path) == before
    vectorizer = TransferTextVectorizer(tiny_encoder, memory=tmp_path).fit(TEXTS)
    vectorizer.transform(NEW)
    assert len(files(tmp_path)) > len(before)


def test_files_and_mappings_are_few_however_often_something_is_put(tmp_path):
    folder = str(tmp_path)
    values = {number: (torch.full((2, 3), float(number)),) for number in range(300)}
    for number, tensors in values.items():
        TensorCache(("example",), folder).put({number: tensors})
    assert len(files(tmp_path)) <= 33
    forget()
    kept = TensorCache(("example",), folder)
    for number, (tensor,) in values.items():
        (found,) = kept.get(number)
        assert torch.equal(found, tensor)


def test_leftovers_of_killed_processes_are_removed(make, tmp_path):
    make().fit(TEXTS, LABELS)
    folder = files(tmp_path)[0].parent
    script = f"""
        import os, signal
        from pathlib import Path
        from sktransfer.runtime import write_file

        def killed(partial):
            partial.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

        write_file(Path({str(folder)!r}) / "x.safetensors", killed)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=60)
    assert list(folder.glob(".*.partial"))
    forget()
    make().fit(TEXTS, LABELS)
    assert not list(folder.glob(".*.partial"))


def test_the_mode_of_a_file_follows_the_umask(make, tmp_path):
    before = os.umask(0o027)
    try:
        make().fit(TEXTS, LABELS)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)} == {0o640}


def test_two_processes_share_a_folder(tmp_path, tiny_encoder):
    script = """
        import sys, time
        from sktransfer import TransferTextClassifier
        folder, encoder, start = sys.argv[1:]
        texts = [f"{word} film {number}" for number in range(30) for word in ("good", "bad")]
        time.sleep(max(0, float(start) - time.time()))
        for size in range(20, 61, 2):
            model = TransferTextClassifier(encoder, max_epochs=0, memory=folder, random_state=0)
            model.fit(texts[:size], [0, 1] * (size // 2))
        print(model.predict_proba(texts)[:, 1].sum().item())
    """
    arguments = [str(tmp_path), tiny_encoder, str(time.time() + 8)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert results[0][0] == results[1][0]
    assert files(tmp_path)
