"""Encoders written to folders and read again, bit by bit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer.encoders import EncoderHandle, resolve_encoder
from sktransfer.encoders.awd_lstm import BidirectionalLSTMEncoder, new_lstm
from sktransfer.encoders.from_scratch import new_transformer
from sktransfer.encoders.lm_heads import new_lm_head
from sktransfer.encoders.static import StaticEncoder
from sktransfer.language.vocabulary import train_tokenizer

TEXTS = ["the good film was the best film", "the bad plot and the worst acting"]


def new_handle(kind, seed=0):
    """Handle in memory of an encoder with random weights and a head."""
    architecture, tokens = {
        "gpt": ("gpt", "bpe"),
        "bert": ("bert", "wordpiece"),
    }.get(kind, ("awd_lstm", "word"))
    tokenizer = train_tokenizer(TEXTS, architecture=architecture, tokens=tokens)
    n_tokens = tokenizer.n_tokens
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind in ("gpt", "bert"):
            encoder = new_transformer(
                kind,
                n_tokens=n_tokens,
                hidden_size=16,
                n_layers=2,
                n_heads=2,
                max_length=24,
                dropout=0.1,
                pad_id=tokenizer.pad_id,
            )
        elif kind == "static":
            encoder = StaticEncoder(n_tokens, 6)
            nn.init.normal_(encoder.embedding.weight)
            encoder.lm_head = new_lm_head(encoder)
        else:
            sizes = {"embedding_size": 6, "hidden_size": 8, "n_layers": 2, "dropout": 0.1}
            ways = [
                new_lstm(n_tokens=n_tokens, reads_backward=backward, **sizes)
                for backward in (False, True)
            ]
            encoder = BidirectionalLSTMEncoder(*ways) if kind == "both" else ways[0]
    return EncoderHandle.from_modules(encoder, tokenizer, name=kind)


def outputs(handle):
    encoder, tokenizer = handle.load(lm_head=True)
    (ids,) = tokenizer.encode(TEXTS[:1])
    window = torch.tensor([[*tokenizer.prefix, *ids.tolist(), *tokenizer.suffix]])
    with torch.no_grad():
        (states,) = encoder(window, torch.ones_like(window))
        if encoder.lm_head is None:
            return [states]
        table = encoder.token_embedding().weight
        return [states, encoder.lm_head.log_probabilities(states[0], table)]


KINDS = ["gpt", "bert", "static", "forward", "both"]


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind, tmp_path):
    handle = new_handle(kind)
    handle.save(tmp_path / "parent" / "saved")
    again = resolve_encoder(tmp_path / "parent" / "saved")
    for one, two in zip(outputs(handle), outputs(again), strict=True):
        assert torch.equal(one, two)
    (first, tokens), (second, tokens_again) = (h.load(lm_head=True) for h in (handle, again))
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(second.state_dict()[k], v) for k, v in first.state_dict().items())
    assert (first.max_length, first.is_causal) == (second.max_length, second.is_causal)
    for name in ("pad_id", "prefix", "suffix", "separator", "mask_id", "unknown_id", "n_tokens"):
        assert getattr(tokens, name) == getattr(tokens_again, name)
    assert np.array_equal(tokens.encode(TEXTS)[1], tokens_again.encode(TEXTS)[1])
    assert not any("lm_head" in key for key in again.load()[0].state_dict())
    # Of a file source the same once more.
    again.save(tmp_path / "copy")
    assert resolve_encoder(tmp_path / "copy").digest == again.digest


def test_no_partial_files_and_no_pickle(tmp_path):
    new_handle("gpt").save(tmp_path / "gpt")
    new_handle("forward").save(tmp_path / "forward")
    common = {"digests.json", "model.safetensors", "tokenizer.json"}
    standard = {"config.json", "tokenizer_config.json", "modules.json", "1_Pooling", *common}
    assert {path.name for path in (tmp_path / "gpt").iterdir()} == standard
    assert {path.name for path in (tmp_path / "forward").iterdir()} == {"manifest.json", *common}


@pytest.mark.parametrize("name", ["tiny_encoder", "tiny_decoder"])
def test_checkpoint_of_transformers(name, request, tmp_path):
    from transformers import AutoModel

    folder = request.getfixturevalue(name)
    resolve_encoder(folder).save(tmp_path)
    before, after = (outputs(resolve_encoder(place)) for place in (folder, tmp_path))
    assert torch.equal(before[0], after[0])
    window = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(window)[0]
        assert torch.equal(AutoModel.from_pretrained(tmp_path).eval()(window)[0], expected)


@pytest.mark.parametrize("config_name", ["T5Config", "BartConfig"])
def test_encoder_of_an_encoder_decoder(config_name, tmp_path):
    import transformers

    arguments = {"vocab_size": 64, "d_model": 16}
    if config_name == "T5Config":
        arguments |= {"d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    else:
        arguments |= {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2}
        arguments |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    config = getattr(transformers, config_name)(**arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "whole")
    tokenizer = train_tokenizer(TEXTS, architecture="awd_lstm", tokens="word")
    tokenizer.backend.save(str(tmp_path / "whole" / "tokenizer.json"))
    handle = resolve_encoder(tmp_path / "whole")
    handle.save(tmp_path / "half")
    again = resolve_encoder(tmp_path / "half")
    assert torch.equal(outputs(handle)[0], outputs(again)[0])
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < sizes[1]


def test_saved_before_is_written_over(tmp_path):
    for kind, seed in [("gpt", 0), ("forward", 0), ("bert", 0), ("bert", 1)]:
        handle = new_handle(kind, seed)
        handle.save(tmp_path)
        assert torch.equal(outputs(resolve_encoder(tmp_path))[0], outputs(handle)[0])


def test_other_content_is_left_alone(tiny_encoder, tmp_path):
    handle = new_handle("static")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other content \(notes\.txt\)"):
        handle.save(notes)
    assert [path.name for path in notes.iterdir()] == ["notes.txt"]
    checkpoint = Path(shutil.copytree(tiny_encoder, tmp_path / "checkpoint"))
    with pytest.raises(ValueError, match="holds other content"):
        handle.save(checkpoint)
    with pytest.raises(ValueError, match="is a file"):
        handle.save(notes / "notes.txt")


def test_encoder_without_a_form(tmp_path):
    from tests.toys import LetterTokenizer

    encoder, _ = new_handle("static").load()
    handle = EncoderHandle.from_modules(encoder, LetterTokenizer(), name="letters")
    with pytest.raises(ValueError, match="a LetterTokenizer cannot be saved"):
        handle.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, and this version"),
        ({"architecture": "evil"}, "names the architecture 'evil'"),
        ({"settings": None}, "do not fit its manifest"),
    ],
)
def test_manifest_of_another_kind(change, message, tmp_path):
    new_handle("static").save(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (tmp_path / "digests.json").unlink()  # the change is meant
    with pytest.raises(ValueError, match=message):
        resolve_encoder(tmp_path).load()


def test_damaged_folders(tmp_path):
    new_handle("static").save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"model\.safetensors has changed since digests\.json"):
        resolve_encoder(tmp_path).load()
    (tmp_path / "digests.json").unlink()
    with pytest.raises(ValueError, match=r"do not fit its manifest\.json"):
        resolve_encoder(tmp_path).load()
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="is not an encoder's manifest"):
        resolve_encoder(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        resolve_encoder(tmp_path)


def test_new_transformers():
    gpt, _ = new_handle("gpt").load(lm_head=True)
    assert gpt.is_causal
    assert gpt.max_length == 24
    assert len(gpt.layers()) == 2
    assert gpt.lm_head.shape.has_transform is False
    bert, _ = new_handle("bert").load(lm_head=True)
    assert not bert.is_causal
    assert 0.01 < bert.lm_head.transform[0].weight.std() < 0.03
    assert new_handle("bert") == new_handle("bert")
    assert new_handle("bert") != new_handle("bert", seed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "rnn"}, "kind must be"),
        ({"n_heads": 3}, "hidden_size=16 must be a multiple of n_heads=3"),
        ({"pad_id": 50}, "pad_id=50 must be one of the 50 tokens"),
    ],
)
def test_bad_sizes(arguments, message):
    sizes = {"n_tokens": 50, "hidden_size": 16, "n_layers": 1, "n_heads": 2, "max_length": 8}
    given = {"kind": "gpt", "dropout": 0.1, "pad_id": 0} | sizes | arguments
    kind = given.pop("kind")
    with pytest.raises(ValueError, match=message):
        new_transformer(kind, **given)
