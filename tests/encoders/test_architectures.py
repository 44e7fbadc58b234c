"""Every architecture: blocks and embeddings found, states right, weights round through a folder."""

import pytest
import torch
from torch import nn

from sktransfer.encoders import EncoderHandle, resolve_encoder
from sktransfer.encoders.transformer import blocks, input_modules

transformers = pytest.importorskip("transformers")

WIDTH = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
DECODER = {**WIDTH, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1}
DECODER |= {"eos_token_id": 2}
# name: (configuration class, its arguments, blocks, is_causal, max_length)
CASES = {
    "bert": ("BertConfig", WIDTH, 3, False, 40),
    "roberta": ("RobertaConfig", WIDTH | {"pad_token_id": 1}, 3, False, 38),
    "mpnet": ("MPNetConfig", WIDTH | {"pad_token_id": 1}, 3, False, 38),
    "electra": ("ElectraConfig", WIDTH | {"embedding_size": 8}, 3, False, 40),
    "albert": (
        "AlbertConfig",
        WIDTH | {"embedding_size": 8, "num_hidden_groups": 1},
        1,
        False,
        40,
    ),
    "distilbert": (
        "DistilBertConfig",
        {
            "vocab_size": 64,
            "dim": 16,
            "n_layers": 3,
            "n_heads": 2,
            "hidden_dim": 32,
            "max_position_embeddings": 40,
        },
        3,
        False,
        40,
    ),
    "modernbert": (
        "ModernBertConfig",
        WIDTH
        | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        | {"cls_token_id": 1, "sep_token_id": 2},
        3,
        False,
        40,
    ),
    "deberta": (
        "DebertaV2Config",
        WIDTH
        | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
        | {"norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False},
        3,
        False,
        40,
    ),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": 64, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40}
        | {"bos_token_id": 0, "eos_token_id": 0},
        3,
        True,
        40,
    ),
    "llama": ("LlamaConfig", DECODER, 3, True, 40),
    "qwen": ("Qwen2Config", DECODER, 3, True, 40),
    # Two blocks: as many as each block has parts in a list of its own.
    "t5": (
        "T5Config",
        {"vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
        2,
        False,
        1 << 20,
    ),
    "bart": (
        "BartConfig",
        {"vocab_size": 64, "d_model": 16, "encoder_layers": 3, "decoder_layers": 2}
        | {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32}
        | {"decoder_ffn_dim": 32, "max_position_embeddings": 40},
        3,
        False,
        40,
    ),
}


# They have relative positions, or take no position ids.
NOT_PACKED = {"BartModel", "DebertaV2Model", "MPNetModel", "T5Model"}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """The handle of a saved checkpoint, the model that was saved, and what to expect."""
    config_name, arguments, *expected = CASES[request.param]
    config = getattr(transformers, config_name)(**arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(config).eval()
    # Biases and norms too, so that any that is not loaded shows.
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return resolve_encoder(folder), model, expected


def write_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {f"w{number}": number for number in range(64)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


def batch():
    token_ids = torch.arange(4, 36).reshape(4, 8)
    return token_ids, torch.ones_like(token_ids)


def test_properties(case):
    handle, _, (n_blocks, is_causal, max_length) = case
    encoder, _ = handle.load()
    assert encoder.hidden_size == 16
    assert encoder.is_causal is is_causal
    assert encoder.max_length == max_length
    assert len(encoder.layers()) == n_blocks


def test_states_are_those_of_transformers(case):
    handle, model, _ = case
    encoder, _ = handle.load()
    token_ids, mask = batch()
    half = model.get_encoder() if model.config.is_encoder_decoder else model
    with torch.no_grad():
        expected = half(input_ids=token_ids, attention_mask=mask)[0]
        torch.testing.assert_close(encoder(token_ids, mask)[0], expected, rtol=1e-4, atol=1e-5)


def test_padding_leaves_the_states_of_a_window(case):
    handle, _, _ = case
    encoder, tokenizer = handle.load()
    token_ids, mask = batch()
    padded_ids = nn.functional.pad(token_ids, (0, 8), value=tokenizer.pad_id)
    padded_mask = nn.functional.pad(mask, (0, 8))
    with torch.no_grad():
        alone = encoder(token_ids, mask)[0]
        padded = encoder(padded_ids, padded_mask)[0][:, :8]
    torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-4)


def test_every_parameter_in_a_layer_or_an_embedding_learns(case):
    handle, _, _ = case
    encoder, _ = handle.load()
    # Not the sum: that of a normalized state is a constant, whose gradient is zero.
    encoder(*batch())[0].square().sum().backward()
    for part in [*encoder.layers(), *encoder.embedding_modules()]:
        assert any(parameter.grad is not None for parameter in part.parameters())
    grouped = [
        {id(parameter) for parameter in part.parameters()}
        for part in [*encoder.layers(), *encoder.embedding_modules()]
    ]
    assert len(set().union(*grouped)) == sum(map(len, grouped)), "a parameter in two groups"
    embeddings = [module for module in encoder.modules() if isinstance(module, nn.Embedding)]
    everything = set().union(*grouped)
    assert all(id(module.weight) in everything for module in embeddings)


def test_memory_handle_rebuilds_the_same_states(case):
    handle, _, _ = case
    encoder, tokenizer = handle.load()
    copied = EncoderHandle.from_modules(encoder, tokenizer, name="copied")
    again, _ = copied.load()
    with torch.no_grad():
        assert torch.equal(again(*batch())[0], encoder(*batch())[0])
    assert type(again.model) is type(encoder.model)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_packed_windows_have_the_states_of_windows_apart(case, n_layers):
    handle, model, _ = case
    encoder, _ = handle.load()
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 7), (1, 5), (3, 2)]
    groups = [
        (
            torch.randint(4, 64, shape, generator=generator),
            torch.randint(0, 2, shape, generator=generator),
        )
        for shape in shapes
    ]
    n_layers = min(n_layers, len(encoder.layers()))
    with torch.no_grad():
        packed = encoder.packed(groups, n_layers)
        assert (packed is None) is (type(model).__name__ in NOT_PACKED)
        for (token_ids, segments), found in zip(groups, packed or [], strict=packed is not None):
            apart = encoder(token_ids, torch.ones_like(token_ids), n_layers, segments)
            torch.testing.assert_close(found, apart, rtol=1e-4, atol=1e-5)


def padded_windows():
    """More tokens than any of these models has positions."""
    generator = torch.Generator().manual_seed(0)
    token_ids, segments = torch.randint(4, 64, (2, 7, 13), generator=generator)
    lengths = torch.tensor([13, 2, 7, 5, 13, 9, 1])
    mask = (torch.arange(13) < lengths[:, None]).long()
    return token_ids * mask, mask, (segments > 30).long() * mask


def gradients_of(encoder, states, mask):
    encoder.zero_grad()
    sum((part * mask[..., None]).square().sum() for part in states).backward()
    return {name: part.grad for name, part in encoder.named_parameters() if part.grad is not None}


@pytest.mark.parametrize("multiple", [1, 32])
def test_without_padding_states_and_gradients_are_the_same(case, multiple):
    handle, model, _ = case
    encoder, _ = handle.load()
    token_ids, mask, segments = padded_windows()
    n_layers = min(2, len(encoder.layers()))
    unpadding = encoder.unpadding(mask, multiple)
    assert (unpadding is None) is (type(model).__name__ in NOT_PACKED)
    if unpadding is not None:
        n_tokens = encoder.inputs(token_ids, mask, segments, unpadding)["input_ids"].shape[1]
        assert n_tokens == {1: 50, 32: 64}[multiple]
    expected = encoder(token_ids, mask, n_layers, segments)
    wanted = gradients_of(encoder, expected, mask)
    found = encoder.unpadded(token_ids, mask, n_layers, segments, multiple=multiple)
    for part, other in zip(found, expected, strict=True):
        places = mask.bool()
        torch.testing.assert_close(part[places], other[places], rtol=1e-4, atol=1e-5)
    for name, gradient in gradients_of(encoder, found, mask).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-3, atol=1e-3, msg=name)


def test_without_padding_there_is_nothing_to_leave_out(tmp_path):
    encoder, _ = saved(tmp_path, transformers.BertConfig(**WIDTH)).load()
    mask = torch.ones(4, 8)
    assert encoder.unpadding(mask) is None
    assert encoder.unpadding(mask, 32) is None
    assert encoder.unpadding(mask[:3], 32) is not None
    encoder.train()  # which layers can share a sequence is seen without their dropout
    assert encoder.unpadding(torch.tensor([[1, 1], [1, 0]])) is not None
    assert all(part.training for part in encoder.modules())


def test_no_packing_beyond_a_sliding_window(tmp_path):
    arguments = CASES["modernbert"][1] | {"local_attention": 26}
    encoder, _ = saved(tmp_path, transformers.ModernBertConfig(**arguments)).load()
    ids = torch.arange(4, 36)
    with torch.no_grad():
        assert encoder.packed([(ids[:6].view(1, 6), None), (ids[:4].view(1, 4), None)]) is not None
        assert encoder.packed([(ids[:14].view(2, 7), None), (ids[:4].view(1, 4), None)]) is None
    token_ids, mask, _ = padded_windows()
    assert torch.equal(encoder.unpadded(token_ids, mask)[0], encoder(token_ids, mask)[0])


def saved(folder, config):
    transformers.AutoModel.from_config(config).eval().save_pretrained(folder)
    write_tokenizer(folder)
    return resolve_encoder(folder)


def test_no_layer_without_a_module_list():
    assert blocks(nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2))) == []


def test_parallel_lists_are_one_stack():
    class Parallel(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(3, 2)
            self.attentions = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
            self.feed_forwards = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))

    model = Parallel()
    first, *_ = found = blocks(model)
    assert len(found) == 3
    assert set(first) == {model.attentions[0], model.feed_forwards[0]}
    assert input_modules(model) == [model.embedding]


# T5's first layer makes the positions of all others; ALBERT has one block.
WHOLE_ONLY = ("t5", "albert")


def test_halves_together_are_the_whole(case, request):
    handle, _, (n_blocks, _, _) = case
    encoder, _ = handle.load()
    token_ids, mask = batch()
    mask[0, 5:] = 0
    inputs = encoder.inputs(token_ids, mask)
    assert encoder.split(0) is None
    assert encoder.split(n_blocks) is None
    name = request.node.callspec.params["case"]
    for depth in range(1, n_blocks):
        split = encoder.split(depth)
        assert (split is None) is (name in WHOLE_ONLY)
        if split is None:
            continue
        n_states = n_blocks - depth + 1
        with torch.no_grad():
            lower = split.lower(inputs)[0]
            upper = split.upper(lower, inputs, n_states)
            whole = encoder(token_ids, mask, n_states)
        assert len(upper) == n_states
        for found, expected in zip(upper, whole, strict=True):
            assert torch.equal(found, expected)
        # Not the whole again: what the upper half is given decides.
        with torch.no_grad():
            other = split.upper(lower + 1, inputs)[0]
        assert not torch.equal(other, upper[0])


def test_halves_share_the_weights_and_train(case):
    handle, _, (n_blocks, _, _) = case
    encoder, _ = handle.load()
    split = encoder.split(n_blocks - 1)
    if split is None:
        return
    token_ids, mask = batch()
    inputs = encoder.inputs(token_ids, mask)
    with torch.no_grad():
        lower = split.lower(inputs)[0]
    split.upper(lower, inputs)[0].square().sum().backward()
    top, *others = encoder.layers()[::-1]
    assert any(parameter.grad is not None for parameter in top.parameters())
    assert all(parameter.grad is None for layer in others for parameter in layer.parameters())
    with torch.no_grad():
        before = split.upper(lower, inputs)[0]
        for parameter in top.parameters():
            parameter.mul_(0.5)
        assert not torch.equal(before, split.upper(lower, inputs)[0])
        assert torch.equal(split.upper(lower, inputs)[0], encoder(token_ids, mask)[0])
