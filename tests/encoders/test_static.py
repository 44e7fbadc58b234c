from importlib.util import find_spec

import numpy as np
import pytest
import torch

from sktransfer import TransferTextVectorizer
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


def write_model2vec(folder, tensors, config='{"model_type": "model2vec", "normalize": true}'):
    """A checkpoint as model2vec writes it, over seven tokens."""
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    save_file(tensors, folder / "model.safetensors")
    words = ("[PAD]", "[UNK]", "good", "bad", "film", "the", "plot")
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(config)


@pytest.mark.parametrize("config", ['{"model_type": "model2vec"}', '{"max_length": 512}'])
def test_model2vec_checkpoints_load(tmp_path, config):
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.normal(size=(4, 3))).half()
    mapping = torch.tensor([0, 0, 1, 2, 3, 0, 3])
    weights = torch.from_numpy(rng.uniform(size=7))
    tensors = {"embeddings": rows, "mapping": mapping, "weights": weights}
    write_model2vec(tmp_path, tensors, config)
    features = TransferTextVectorizer(str(tmp_path)).fit_transform(["good film", "plot qqq bad"])
    table = rows.float().numpy()[mapping.numpy()] * weights.float().numpy()[:, None]
    # Unknown words are left out.
    expected = np.stack([table[[2, 4]].mean(0), table[[6, 3]].mean(0)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(features, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"vectors": torch.zeros(7, 2)}, "no table"),
        ({"embeddings": torch.zeros(6, 2)}, "6 embeddings"),
        ({"embeddings": torch.full((7, 2), torch.nan)}, "NaN"),
        ({"embeddings": torch.zeros(7, 2), "weights": torch.ones(6)}, "6"),
        ({"embeddings": torch.zeros(7, 2), "mapping": torch.full((7,), 7)}, "does not have"),
    ],
)
def test_broken_tables_are_refused(tmp_path, tensors, message):
    write_model2vec(tmp_path, tensors)
    with pytest.raises(ValueError, match=message):
        resolve_encoder(tmp_path).load()


def test_a_model2vec_folder_without_weights_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "model2vec"}')
    with pytest.raises(ValueError, match=r"no model\.safetensors"):
        resolve_encoder(tmp_path)
