"""Language-model heads give the probabilities of transformers' own models."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional

from sktransfer.encoders import EncoderHandle, resolve_encoder
from sktransfer.encoders.lm_heads import HeadForm, new_lm_head
from sktransfer.nn.lm_head import LMHead, LMHeadShape

transformers = pytest.importorskip("transformers")

WIDTH = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
DISTIL = {"vocab_size": 64, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
GPT = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}
GPT |= {"bos_token_id": 0, "eos_token_id": 0}
DECODER = {**WIDTH, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1}
UNTIED = {"tie_word_embeddings": False}
MODERN = WIDTH | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MODERN |= {"cls_token_id": 1, "sep_token_id": 2}
SMALL = {"embedding_size": 8}
MASKED = "AutoModelForMaskedLM"
CAUSAL = "AutoModelForCausalLM"
# name: (configuration class, its arguments, kind of model, whether it has a table of its own)
CASES = {
    "bert": ("BertConfig", WIDTH, MASKED, False),
    "bert-relu": ("BertConfig", WIDTH | {"hidden_act": "relu"}, MASKED, False),
    "bert-untied": ("BertConfig", WIDTH | UNTIED, MASKED, True),
    "roberta": ("RobertaConfig", WIDTH | {"pad_token_id": 1}, MASKED, False),
    "camembert": ("CamembertConfig", WIDTH | {"pad_token_id": 1}, MASKED, False),
    "mpnet": ("MPNetConfig", WIDTH | {"pad_token_id": 1}, MASKED, False),
    "distilbert": ("DistilBertConfig", DISTIL, MASKED, False),
    "modernbert": ("ModernBertConfig", MODERN, MASKED, False),
    "albert": ("AlbertConfig", WIDTH | SMALL, MASKED, False),
    "electra": ("ElectraConfig", WIDTH | SMALL, MASKED, False),
    "deberta": ("DebertaV2Config", WIDTH, MASKED, False),
    "gpt2": ("GPT2Config", GPT, CAUSAL, False),
    "gpt2-untied": ("GPT2Config", GPT | UNTIED, CAUSAL, True),
    "llama": ("LlamaConfig", DECODER, CAUSAL, True),
    "llama-tied": ("LlamaConfig", DECODER | {"tie_word_embeddings": True}, CAUSAL, False),
    "gpt-neox": ("GPTNeoXConfig", WIDTH, CAUSAL, True),
    "phi": ("PhiConfig", DECODER | UNTIED, CAUSAL, True),
}


def random_model(config_name, arguments, kind):
    """A model all of whose parameters differ from their first values."""
    config = getattr(transformers, config_name)(**arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, kind).from_config(config).eval()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def write_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {f"w{number}": number for number in range(64)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


def batch():
    token_ids = torch.arange(4, 36).reshape(4, 8)
    return token_ids, torch.ones_like(token_ids)


@torch.no_grad()
def log_probabilities(encoder):
    states = encoder(*batch())[0].flatten(0, 1)
    return encoder.lm_head.log_probabilities(states, encoder.token_embedding().weight)


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    *made, has_table = CASES[request.param]
    model = random_model(*made)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder, model, has_table


def test_probabilities_are_those_of_transformers(case):
    folder, model, has_table = case
    encoder, _ = resolve_encoder(folder).load(lm_head=True)
    token_ids, mask = batch()
    with torch.no_grad():
        logits = model(input_ids=token_ids, attention_mask=mask).logits.flatten(0, 1)
    expected = functional.log_softmax(logits, dim=1)
    assert expected.std() > 0.1
    torch.testing.assert_close(log_probabilities(encoder), expected, rtol=1e-4, atol=1e-4)
    assert encoder.lm_head.shape.has_table is has_table
    assert all(parameter.requires_grad for parameter in encoder.lm_head.parameters())
    assert not encoder.lm_head.training


def test_without_asking_there_is_no_head(case):
    folder, *_ = case
    encoder, _ = resolve_encoder(folder).load()
    assert encoder.lm_head is None
    assert not any(key.startswith("lm_head") for key in encoder.state_dict())


def test_round_through_memory_pickle_and_folder(case, tmp_path):
    encoder, tokenizer = resolve_encoder(case[0]).load(lm_head=True)
    expected = log_probabilities(encoder)
    handle = EncoderHandle.from_modules(encoder, tokenizer, name="with head")
    handle.save(tmp_path / "saved")
    handles = [handle, pickle.loads(pickle.dumps(handle)), resolve_encoder(tmp_path / "saved")]
    for again, _ in (handle.load(lm_head=True) for handle in handles):
        assert torch.equal(log_probabilities(again), expected)
        assert again.lm_head.shape == encoder.lm_head.shape
        assert again.max_length == encoder.max_length
    assert all(handle.load()[0].lm_head is None for handle in handles)


@pytest.mark.parametrize(
    ("config_name", "arguments"),
    [
        ("BertConfig", WIDTH),
        ("ModernBertConfig", MODERN),
        ("GPT2Config", GPT),
        ("LlamaConfig", DECODER),
    ],
)
def test_bare_model_has_no_head(config_name, arguments, tmp_path):
    random_model(config_name, arguments, "AutoModel").save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    assert resolve_encoder(tmp_path).load(lm_head=True)[0].lm_head is None


@pytest.mark.parametrize(
    ("config_name", "arguments", "kind"),
    [
        # A classifier's head is named as the first half of ModernBERT's own.
        ("ModernBertConfig", MODERN, "AutoModelForSequenceClassification"),
        ("Gemma2Config", DECODER | {"head_dim": 8, "final_logit_softcapping": 30.0}, CAUSAL),
        ("BertConfig", WIDTH | {"hidden_act": "mish"}, MASKED),
        ("MobileBertConfig", WIDTH | {"embedding_size": 8, "intra_bottleneck_size": 16}, MASKED),
        (
            "T5Config",
            {"vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2}
            | {"num_heads": 2},
            "AutoModelForSeq2SeqLM",
        ),
    ],
)
def test_other_heads_are_left_out(config_name, arguments, kind, tmp_path):
    random_model(config_name, arguments, kind).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    assert resolve_encoder(tmp_path).load(lm_head=True)[0].lm_head is None


def test_old_names_of_the_norm(tmp_path):
    from safetensors.torch import load_file, save_file

    model = random_model("BertConfig", WIDTH, MASKED)
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    expected = log_probabilities(resolve_encoder(tmp_path).load(lm_head=True)[0])
    path = tmp_path / "model.safetensors"
    renamed = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for key, value in load_file(path).items()
    }
    assert any("predictions.transform.LayerNorm.gamma" in key for key in renamed)
    save_file(renamed, path)
    again, _ = resolve_encoder(tmp_path).load(lm_head=True)
    assert torch.equal(log_probabilities(again), expected)


def test_loading_a_head_leaves_the_global_generators(tmp_path):
    random_model("BertConfig", WIDTH, MASKED).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    state = torch.random.get_rng_state()
    encoder, tokenizer = resolve_encoder(tmp_path).load(lm_head=True)
    EncoderHandle.from_modules(encoder, tokenizer, name="copy").load(lm_head=True)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_new_head_of_a_bidirectional_encoder_starts_from_the_embeddings(tiny_encoder):
    encoder, _ = resolve_encoder(tiny_encoder).load()
    encoder.lm_head = head = new_lm_head(encoder)
    states = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    expected = functional.layer_norm(functional.gelu(states), (32,), eps=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(head.transform(states), expected)
    assert head.bias.eq(0).all()
    assert "lm_head.transform.0.weight" in encoder.state_dict()
    assert encoder.blueprint()().lm_head.shape == head.shape


def test_new_head_of_a_decoder_has_a_bias_only(tiny_decoder):
    encoder, _ = resolve_encoder(tiny_decoder).load()
    head = new_lm_head(encoder)
    assert [name for name, _ in head.named_parameters()] == ["bias"]
    assert head.shape.n_tokens == encoder.token_embedding().num_embeddings


def test_new_head_between_two_widths_is_drawn(tmp_path):
    random_model("AlbertConfig", WIDTH | SMALL, "AutoModel").save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    encoder, _ = resolve_encoder(tmp_path).load()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first = new_lm_head(encoder)
        torch.manual_seed(3)
        second = new_lm_head(encoder)
    assert first.transform[0].weight.shape == (8, 16)
    assert 0.01 < first.transform[0].weight.std() < 0.03
    assert torch.equal(first.transform[0].weight, second.transform[0].weight)


def test_digest_covers_the_head(tiny_decoder):
    encoder, tokenizer = resolve_encoder(tiny_decoder).load()
    bare = EncoderHandle.from_modules(encoder, tokenizer, name="bare")
    encoder.lm_head = new_lm_head(encoder)
    headed = EncoderHandle.from_modules(encoder, tokenizer, name="headed")
    assert bare != headed
    shape = headed.load(lm_head=True)[0].lm_head.shape
    digests = set()
    for cutoffs in [(10, 20), (10, 30)]:
        head = LMHead(LMHeadShape(32, 32, shape.n_tokens, cutoffs=cutoffs))
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.zero_()
        encoder.lm_head = head
        digests.add(EncoderHandle.from_modules(encoder, tokenizer, name="cut").digest)
    assert len(digests) == 2


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu", "silu"])
def test_form_round(activation):
    form = HeadForm(LMHeadShape(8, 4, 20, has_transform=True, cutoffs=(3, 9)), activation)
    assert HeadForm.from_json(form.to_json()) == form
    assert HeadForm.of(form.build()) == form
    assert HeadForm.of(copy.deepcopy(form.build())) == form


def test_no_form_without_a_head():
    assert HeadForm.of(None) is None
