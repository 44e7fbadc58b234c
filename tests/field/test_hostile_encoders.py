"""Folders of encoders that are broken or hostile: one line that names the file, and at once."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from sktransfer.encoders import resolve_encoder


@pytest.fixture
def folder(tiny_encoder, tmp_path):
    # A process that has the same content already must not read it elsewhere, either.
    resolve_encoder(tiny_encoder).load()
    copied = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, copied)
    return copied


def write(name, content):
    def change(folder):
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)

    return change


def config(**values):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values), encoding="utf-8")

    return change


def index(weight_map):
    def change(folder):
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        content = weight_map if isinstance(weight_map, str) else json.dumps(weight_map)
        (folder / "model.safetensors.index.json").write_text(content, encoding="utf-8")

    return change


def weights(**changes):
    def change(folder):
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
        for kind, value in changes.items():
            if kind == "value":
                tensors[name][3, 3] = value
            elif kind == "rows":
                tensors[name] = tensors[name][:value].clone()
            elif kind == "drop":
                tensors = {n: t for n, t in tensors.items() if value not in n}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lying_header(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes((2**62).to_bytes(8, "little") + content[8:])


def linked(name):
    def change(folder):
        outside = folder.parent / "outside"
        shutil.copy(folder / name, outside)
        (folder / name).unlink()
        (folder / name).symlink_to(outside)

    return change


def pipe(folder):
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")


def ids_beyond(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["vocab"]["beyond"] = 10**6
    path.write_text(json.dumps(content), encoding="utf-8")


SHARD = "part.safetensors"
HOSTILE = {
    "tokenizer empty": (write("tokenizer.json", ""), "tokenizer.json"),
    "tokenizer junk": (write("tokenizer.json", b"\x80\x81junk"), "tokenizer.json"),
    "tokenizer a list": (write("tokenizer.json", "[]"), "tokenizer.json"),
    "tokenizer a number": (write("tokenizer.json", "3"), "tokenizer.json"),
    "tokenizer without a model": (write("tokenizer.json", "{}"), "tokenizer.json"),
    "tokenizer of another shape": (
        write("tokenizer.json", '{"model": {"type": "X"}}'),
        "tokenizer",
    ),
    "tokenizer without tokens": (
        write("tokenizer.json", '{"model": {"type": "BPE", "vocab": {}, "merges": []}}'),
        "encoder",
    ),
    "tokenizer nested deeply": (write("tokenizer.json", "[" * 100_000), "tokenizer.json"),
    "tokenizer with ids beyond the embeddings": (ids_beyond, "1000000"),
    "tokenizer a pipe": (pipe, "tokenizer.json"),
    "tokenizer gone": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
    "tokenizer_config a list": (write("tokenizer_config.json", "[]"), "tokenizer_config.json"),
    "tokenizer_config junk": (write("tokenizer_config.json", "{"), "tokenizer_config.json"),
    "index without weight_map": (index("{}"), "index.json"),
    "index a list": (index("[]"), "index.json"),
    "index junk": (index("{"), "index.json"),
    "index of lists": (index({"weight_map": {"a": [SHARD]}}), "index.json"),
    "index of numbers": (index({"weight_map": {"a": 3}}), "index.json"),
    "index with weight_map a list": (index({"weight_map": [SHARD]}), "index.json"),
    "index with an absolute path": (index({"weight_map": {"a": "/etc/passwd"}}), "index.json"),
    "index with ..": (index({"weight_map": {"a": "../outside"}}), "index.json"),
    "index with .. inside": (index({"weight_map": {"a": "x/../../outside"}}), "index.json"),
    "index of nothing": (index({"weight_map": {"a": " "}}), "index.json"),
    "index of a file that is not there": (index({"weight_map": {"a": "none"}}), "none"),
    "weights NaN": (weights(value=float("nan")), "word_embeddings.weight"),
    "weights infinite": (weights(value=float("inf")), "word_embeddings.weight"),
    "weights truncated": (truncated, "model.safetensors"),
    "weights with a header that lies": (lying_header, "model.safetensors"),
    "weights empty": (write("model.safetensors", b""), "model.safetensors"),
    "weights junk": (write("model.safetensors", b"junk" * 50), "model.safetensors"),
    "weights of fewer tokens": (weights(rows=10), "encoder"),
    "weights of fewer layers": (weights(drop="layer.1."), "encoder"),
    "weights a link elsewhere": (linked("model.safetensors"), "model.safetensors"),
    "config a link elsewhere": (linked("config.json"), "config.json"),
    "config junk": (write("config.json", "{"), "config.json"),
    "config a list": (write("config.json", "[1]"), "config.json"),
    "config empty": (write("config.json", ""), "config.json"),
    "config without a model_type": (write("config.json", "{}"), "config.json"),
    "config of an unknown model": (config(model_type="none-such"), "config.json"),
    "config of terabytes wide": (config(hidden_size=10**9), "config.json"),
    "config of terabytes deep": (config(num_hidden_layers=10**9), "config.json"),
    "config of many layers": (config(num_hidden_layers=10**5), "config.json"),
    "config of a huge vocabulary": (config(vocab_size=10**12), "config.json"),
    "config of a large vocabulary": (config(vocab_size=10**7, hidden_size=8192), "config.json"),
    "config of huge positions": (config(max_position_embeddings=10**15), "config.json"),
    "config of a huge inner size": (config(intermediate_size=10**10), "config.json"),
    "config with a negative size": (config(hidden_size=-32), "encoder"),
    "config with no size": (config(hidden_size=0), "encoder"),
    "config with text for a number": (config(hidden_size="wide"), "config.json"),
    "config with null": (config(num_hidden_layers=None), "config.json"),
    "config with a list for a number": (config(num_attention_heads=[2]), "config.json"),
    "config with heads that do not divide": (config(num_attention_heads=7), "config.json"),
    "config of another size": (config(hidden_size=64), "encoder"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_one_clear_line_at_once(folder, name):
    change, named = HOSTILE[name]
    change(folder)
    start = time.process_time()
    with pytest.raises(ValueError, match="encoder") as caught:
        resolve_encoder(folder).load()
    assert time.process_time() - start < 3
    message = str(caught.value)
    assert "\n" not in message
    assert named in message
    assert str(folder) in message
    assert len(message) < 1500


def test_nothing_outside_of_the_folder_is_opened(folder, tmp_path):
    canary = tmp_path / "outside"
    canary.write_bytes((folder / "model.safetensors").read_bytes())
    index({"weight_map": {"a": "../outside", "b": str(canary)}})(folder)
    script = f"""
        import sys
        opened = []
        sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else 0)
        from sktransfer.encoders import resolve_encoder
        try:
            resolve_encoder({str(folder)!r}).load()
        except ValueError:
            pass
        else:
            raise SystemExit("it was read")
        assert not [path for path in opened if {str(canary)!r} in path or "/outside" in path]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)


def test_a_snapshot_of_links_to_blobs_is_read(tiny_encoder, tmp_path):
    """As the Hugging Face cache lays its folders out."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for path in Path(tiny_encoder).iterdir():
        shutil.copy(path, blobs / path.name)
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    encoder, _ = resolve_encoder(snapshot).load()
    expected, _ = resolve_encoder(tiny_encoder).load()
    for found, wanted in zip(encoder.parameters(), expected.parameters(), strict=True):
        assert torch.equal(found, wanted)


def test_loads_that_overlap_leave_transformers_bars_as_they_were(tiny_encoder):
    from concurrent.futures import ThreadPoolExecutor

    import transformers.utils.logging as transformers_logging

    assert transformers_logging.is_progress_bar_enabled()
    seen = []
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(resolve_encoder(tiny_encoder).load) for _ in range(24)]
        while not all(load.done() for load in loads):
            seen.append(transformers_logging.is_progress_bar_enabled())
    for load in loads:
        load.result()
    assert all(seen)
    assert transformers_logging.is_progress_bar_enabled()
