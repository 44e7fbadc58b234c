import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sktransfer.encoders import Encoder, EncoderHandle, resolve_encoder

sklearn_base = pytest.importorskip("sklearn.base")


class ToyTokenizer:
    pad_id, prefix, suffix = 0, (), ()

    def encode(self, texts):
        return [np.array([len(word) for word in text.split()], dtype=np.int32) for text in texts]


class ToyEncoder(Encoder):
    """No blueprint of its own, and a buffer that state dicts leave out."""

    def __init__(self):
        super().__init__()
        self.hidden_size, self.max_length, self.is_causal = 4, 16, False
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Embedding(20, 4, _weight=torch.randn(20, 4, generator=generator))
        self.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, token_ids, attention_mask, n_layers=1, segment_ids=None):
        return (self.embedding(token_ids) * self.scale,)

    def embedding_modules(self):
        return [self.embedding]

    def layers(self):
        return []

    def token_embedding(self):
        return self.embedding


@pytest.fixture
def toy():
    return EncoderHandle.from_modules(ToyEncoder(), ToyTokenizer(), name="toy")


def states(encoder):
    token_ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        return encoder(token_ids, torch.ones_like(token_ids))[0]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, sklearn_base.clone])
def test_copies_are_the_handle_itself(tiny_encoder, toy, copied):
    for handle in (resolve_encoder(tiny_encoder), toy):
        assert copied(handle) is handle
        assert copied([handle])[0] is handle


def test_loads_are_fresh_and_independent(tiny_encoder, tiny_decoder, toy):
    for handle in (resolve_encoder(tiny_encoder), resolve_encoder(tiny_decoder), toy):
        first, _ = handle.load()
        expected = states(first)
        with torch.no_grad():
            for parameter in first.parameters():
                parameter.zero_()
        first.requires_grad_(False).train()
        second, _ = handle.load()
        assert torch.equal(states(second), expected)
        assert not second.training
        assert all(value.requires_grad for value in second.parameters())
        assert {value.dtype for value in second.parameters()} == {torch.float32}


def test_load_leaves_the_global_generators(tiny_encoder):
    encoder, tokenizer = resolve_encoder(tiny_encoder).load()
    in_memory = EncoderHandle.from_modules(encoder, tokenizer, name="copied")
    state = torch.random.get_rng_state()
    resolve_encoder(tiny_encoder).load()
    in_memory.load()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_handle_keeps_the_weights_of_its_making():
    encoder = ToyEncoder()
    handle = EncoderHandle.from_modules(encoder, ToyTokenizer(), name="toy")
    before = states(encoder)
    with torch.no_grad():
        encoder.embedding.weight.zero_()
    assert torch.equal(states(handle.load()[0]), before)


def test_half_precision_becomes_float32():
    handle = EncoderHandle.from_modules(ToyEncoder().half(), ToyTokenizer(), name="toy")
    encoder, _ = handle.load()
    assert encoder.embedding.weight.dtype == encoder.scale.dtype == torch.float32


def test_equality_is_by_content(tiny_encoder, tiny_decoder, toy):
    same = EncoderHandle.from_modules(ToyEncoder(), ToyTokenizer(), name="other name")
    assert same == toy
    assert hash(same) == hash(toy)
    other = ToyEncoder()
    with torch.no_grad():
        other.embedding.weight[0, 0] += 1
    assert EncoderHandle.from_modules(other, ToyTokenizer(), name="toy") != toy
    assert resolve_encoder(tiny_encoder) == resolve_encoder(tiny_encoder)
    assert resolve_encoder(tiny_encoder) != resolve_encoder(tiny_decoder)
    assert toy != "toy"


def test_pickle_of_a_folder_holds_no_weights(tiny_encoder):
    handle = resolve_encoder(tiny_encoder)
    pickled = pickle.dumps(handle)
    assert len(pickled) < 1_000
    assert pickle.loads(pickled) == handle


def test_pickle_of_a_memory_handle_holds_the_weights_once(tiny_encoder):
    encoder, tokenizer = resolve_encoder(tiny_encoder).load()
    handle = EncoderHandle.from_modules(encoder, tokenizer, name="adapted")
    pickled = pickle.dumps([handle, handle])
    n_bytes = sum(value.numel() * 4 for value in encoder.state_dict().values())
    assert len(pickled) < n_bytes + 60_000
    first, second = pickle.loads(pickled)
    assert first is second
    assert first == handle
    assert first.name == "adapted"
    assert torch.equal(states(first.load()[0]), states(encoder))


def test_unpickled_handles_share_their_weights(toy):
    first, second = (pickle.loads(pickle.dumps(toy)) for _ in range(2))
    assert first._source is second._source is toy._source


def test_memory_handle_survives_its_process(toy, tmp_path):
    # A fresh process has nothing to share: the weights must be in the bytes.
    from sktransfer.encoders import handle as handle_module

    pickled = pickle.dumps(toy)
    kept = dict(handle_module._sources)
    handle_module._sources.clear()
    try:
        again = pickle.loads(pickled)
        assert again._source is not toy._source
        assert again == toy
        assert torch.equal(states(again.load()[0]), states(toy.load()[0]))
    finally:
        handle_module._sources.update(kept)


def test_encoder_modules_pickle(tiny_encoder, tiny_decoder):
    for folder in (tiny_encoder, tiny_decoder):
        encoder, tokenizer = resolve_encoder(folder).load()
        pickled = pickle.dumps((encoder, tokenizer))
        n_bytes = sum(value.numel() * 4 for value in encoder.parameters())
        assert len(pickled) < n_bytes + 120_000
        again, tokens = pickle.loads(pickled)
        assert torch.equal(states(again), states(encoder))
        assert np.array_equal(tokens.encode(["good"])[0], tokenizer.encode(["good"])[0])


def test_immutable(toy):
    with pytest.raises(AttributeError, match="immutable"):
        toy.name = "other"
    with pytest.raises(AttributeError, match="immutable"):
        del toy._name


def test_repr_is_short(toy):
    assert repr(toy) == "EncoderHandle('toy')"


def test_from_modules_wants_an_encoder():
    with pytest.raises(TypeError, match="encoder must be an Encoder module, got Linear"):
        EncoderHandle.from_modules(nn.Linear(2, 2), ToyTokenizer(), name="linear")
