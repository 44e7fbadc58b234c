from importlib.util import find_spec

import numpy as np
import pytest
import torch

from sktransfer.encoders import available_encoders, resolve_encoder
from sktransfer.encoders import resolve as resolve_module
from sktransfer.encoders.static import StaticTable


@pytest.fixture
def table(tmp_path):
    """Source over a table of five rows in half precision."""
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    save_file({"embedding.weight": torch.arange(10).reshape(5, 2).half()}, tmp_path / "table")
    vocabulary = {"<s>": 0, "[UNK]": 1, "good": 2, "bad": 3, "film": 4}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return StaticTable(tmp_path / "table", tmp_path / "tokenizer.json")


def test_states_are_rows_of_the_table(table):
    encoder, tokenizer = table.load()
    (token_ids,) = tokenizer.encode(["good film"])
    assert (tokenizer.prefix, tokenizer.suffix) == ((), ())
    window = torch.from_numpy(token_ids).long()[None]
    (states,) = encoder(window, torch.ones_like(window))
    assert states.dtype == torch.float32
    assert states.tolist() == [[[4.0, 5.0], [8.0, 9.0]]]


def test_everything_is_embedding(table):
    encoder, _ = table.load()
    assert encoder.layers() == []
    (embedding,) = encoder.embedding_modules()
    assert {id(value) for value in encoder.parameters()} == {id(embedding.weight)}
    assert (encoder.hidden_size, encoder.max_length, encoder.is_causal) == (2, 512, False)


def test_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(resolve_module, "_package_root", lambda module: None)
    with pytest.raises(ValueError, match=r"pip install \"sktransfer\[offline\]\""):
        resolve_encoder("wordllama")
    assert "wordllama" not in available_encoders()


@pytest.mark.skipif(find_spec("wordllama") is None, reason="wordllama is not installed")
def test_wordllama():
    handle = resolve_encoder("wordllama")
    assert "wordllama" in available_encoders()
    encoder, tokenizer = handle.load()
    assert encoder.embedding.weight.shape == (32_000, 256)
    assert torch.isfinite(encoder.embedding.weight).all()
    hello, empty = tokenizer.encode(["hello world", ""])
    assert np.array_equal(hello, [22172, 3186])
    assert len(empty) <= 1
