"""Folders of saved encoders in the libraries that people read them with."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer import TransferTextVectorizer
from sktransfer.encoders import resolve_encoder

TEXTS = ["a good film", "the worst story of the year, and a bad one", "happy"]


def test_autotokenizer_has_the_special_tokens(tiny_encoder, tmp_path):
    from transformers import AutoTokenizer

    resolve_encoder(tiny_encoder).save(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.cls_token, tokenizer.sep_token) == ("[CLS]", "[SEP]")
    assert (tokenizer.pad_token, tokenizer.mask_token) == ("[PAD]", "[MASK]")
    assert tokenizer.unk_token == "[UNK]"
    ours = resolve_encoder(tiny_encoder).load()[1]
    for text, ids in zip(TEXTS, ours.encode(TEXTS), strict=True):
        assert tokenizer(text)["input_ids"] == [*ours.prefix, *ids.tolist(), *ours.suffix]
    batch = tokenizer(TEXTS, padding=True)
    assert len({len(ids) for ids in batch["input_ids"]}) == 1


def test_modules_of_sentence_transformers_are_named(tiny_encoder, tmp_path):
    resolve_encoder(tiny_encoder).save(tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text(encoding="utf-8"))
    assert [module["type"].rpartition(".")[2] for module in modules] == [
        "Transformer",
        "Pooling",
        "Normalize",
    ]
    pooling = json.loads((tmp_path / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    assert pooling["word_embedding_dimension"] == 32
    assert [name for name, value in pooling.items() if value is True] == [
        "pooling_mode_mean_tokens"
    ]
    assert_allclose(
        TransferTextVectorizer(str(tmp_path)).fit_transform(TEXTS),
        TransferTextVectorizer(tiny_encoder).fit_transform(TEXTS),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["tiny_encoder", "minilm"])
def test_sentence_transformers_gives_our_features(name, request, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    handle = resolve_encoder(request.getfixturevalue(name))
    handle.save(tmp_path)
    model = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    ours = TransferTextVectorizer(handle).fit_transform(TEXTS)
    assert_allclose(np.asarray(model.encode(TEXTS)), ours, atol=1e-5)
