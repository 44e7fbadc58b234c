"""A checkpoint's own pooling and prompt are honored."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sktransfer import LanguageModel, TransferTextClassifier, TransferTextVectorizer
from sktransfer.encoders import SentenceSettings, resolve_encoder
from sktransfer.encoders.sentence_settings import read_settings, settings_documents

TEXTS = [
    "the good film",
    "a bad, boring movie with no plot at all",
    "money and the market",
    "bread",
]
SHORT = {"precision": "float32", "random_state": 0}


def write(folder, name, content):
    path = Path(folder) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def with_settings(folder, target, pooling, prompts=None, default=None):
    """Copy of a checkpoint with the files of sentence-transformers."""
    shutil.copytree(folder, target)
    encoder, _ = resolve_encoder(folder).load()
    for name, content in settings_documents(SentenceSettings("mean"), encoder).items():
        write(target, name, content)
    write(target, "1_Pooling/config.json", {"word_embedding_dimension": 32, **pooling})
    if prompts is not None:
        content = {"prompts": prompts, "default_prompt_name": default}
        write(target, "config_sentence_transformers.json", content)
    return str(target)


@pytest.mark.parametrize(
    ("pooling", "prompts", "default"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, None, None),
        ({"pooling_mode": "max"}, None, None),
        ({"pooling_mode": "lasttoken"}, None, None),
        ({"pooling_mode_mean_tokens": True}, {"query": "find: "}, "query"),
        ({"pooling_mode": "mean"}, {"Classification": "what is it about: ", "query": "q: "}, None),
        ({"pooling_mode": ["cls"]}, {"query": "find: "}, None),
    ],
)
def test_features_are_those_of_sentence_transformers(
    tiny_encoder, tmp_path, pooling, prompts, default
):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = with_settings(tiny_encoder, tmp_path / "encoder", pooling, prompts, default)
    peer = sentence_transformers.SentenceTransformer(folder, device="cpu")
    prompt = None if not prompts or default else prompts.get("Classification")
    expected = peer.encode(TEXTS, prompt=prompt)
    features = TransferTextVectorizer(folder, **SHORT).fit_transform(TEXTS)
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize("prompt", ["", "read: "])
def test_parameters_go_before_the_checkpoint(tiny_encoder, tmp_path, prompt):
    folder = with_settings(
        tiny_encoder, tmp_path / "encoder", {"pooling_mode": "cls"}, {"q": "find: "}, "q"
    )
    chosen = TransferTextVectorizer(folder, pooling="mean", prompt=prompt, **SHORT)
    plain = TransferTextVectorizer(tiny_encoder, **SHORT)
    texts = [prompt + text for text in TEXTS]
    np.testing.assert_allclose(chosen.fit_transform(TEXTS), plain.fit_transform(texts), atol=1e-6)


def test_each_window_of_a_long_text_has_the_prompt(tiny_encoder):
    vectorizer = TransferTextVectorizer(tiny_encoder, prompt="find: ", max_length=16, **SHORT)
    vectorizer.fit(TEXTS)
    rows = vectorizer._predictor().encode([" ".join(["good film"] * 30)])
    tokenizer = vectorizer.tokenizer_
    assert len(rows.windows) > 1
    assert len(tokenizer.prefix) > 2
    for window in rows.windows:
        assert tuple(window[: len(tokenizer.prefix)]) == tokenizer.prefix
        assert len(window) <= 16


def test_decoders_pool_the_last_token_and_lstms_concatenate(tiny_encoder, tiny_decoder):
    pooled = {
        name: TransferTextVectorizer(encoder, **SHORT).fit(TEXTS).model_.pooling
        for name, encoder in {
            "encoder": tiny_encoder,
            "decoder": tiny_decoder,
            "lstm": LanguageModel(
                architecture="awd_lstm", embedding_size=8, hidden_size=8, max_epochs=1
            )
            .fit(TEXTS)
            .encoder_,
        }.items()
    }
    assert pooled == {"encoder": "mean", "decoder": "last", "lstm": "concat"}


def test_a_fit_keeps_and_hands_on_pooling_and_prompt(tiny_encoder, tmp_path):
    folder = with_settings(
        tiny_encoder, tmp_path / "encoder", {"pooling_mode": "cls"}, {"q": "find: "}, "q"
    )
    clf = TransferTextClassifier(folder, max_epochs=1, **SHORT).fit(TEXTS, [0, 1, 0, 1])
    assert (clf.model_.pooling, clf.tokenizer_.prompt) == ("cls", "find: ")
    handle = clf.encoder_
    assert handle.settings == SentenceSettings("cls", "find: ")
    expected = TransferTextVectorizer(handle, **SHORT).fit_transform(TEXTS)
    handle.save(tmp_path / "saved")
    saved = resolve_encoder(tmp_path / "saved")
    assert saved.settings == handle.settings
    np.testing.assert_allclose(
        TransferTextVectorizer(saved, **SHORT).fit_transform(TEXTS), expected, atol=1e-6
    )
    adapted = LanguageModel(folder, max_epochs=1, random_state=0).fit(TEXTS)
    assert adapted.encoder_.settings == handle.settings
    adapted.save(tmp_path / "model")
    assert LanguageModel.load(tmp_path / "model").encoder_.settings == handle.settings


def test_manifests_keep_pooling_and_prompt(tmp_path):
    lm = LanguageModel(architecture="awd_lstm", embedding_size=8, hidden_size=8, max_epochs=1)
    encoder = lm.fit(TEXTS).encoder_
    clf = TransferTextClassifier(encoder, pooling="max", prompt="so: ", max_epochs=1, **SHORT)
    clf.fit(TEXTS, [0, 1, 0, 1]).encoder_.save(tmp_path / "saved")
    assert resolve_encoder(tmp_path / "saved").settings == SentenceSettings("max", "so: ")
    path = tmp_path / "saved" / "manifest.json"
    document = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(document | {"pooling": "median"}), "utf-8")
    with pytest.raises(ValueError, match="pooling='median'"):
        _ = resolve_encoder(tmp_path / "saved").settings


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"modules.json": "["}, r"modules\.json cannot be read"),
        ({"1_Pooling/config.json": "[]"}, "not a JSON object"),
        ({"1_Pooling/config.json": None}, r"config\.json is missing"),
        ({"1_Pooling/config.json": '{"pooling_mode": "weightedmean"}'}, "weightedmean.*choose"),
        ({"1_Pooling/config.json": '{"pooling_mode": ["cls", "mean"]}'}, "cls and mean"),
        ({"config_sentence_transformers.json": "{"}, "cannot be read"),
        (
            {"modules.json": '[{"type": "models.Pooling", "path": "../1_Pooling"}]'},
            "not a folder beside it",
        ),
    ],
)
def test_broken_files_are_refused_in_one_line(tiny_encoder, tmp_path, files, message):
    folder = with_settings(tiny_encoder, tmp_path / "encoder", {"pooling_mode": "cls"})
    for name, content in files.items():
        path = Path(folder) / name
        if content is None:
            path.unlink()
        else:
            path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        TransferTextVectorizer(folder).fit(TEXTS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["weightedmean", ["cls", "mean"]])
def test_a_pooling_that_is_not_supported_can_be_replaced(tiny_encoder, tmp_path, mode):
    folder = with_settings(
        tiny_encoder, tmp_path / "encoder", {"pooling_mode": mode}, {"q": "a: "}, "q"
    )
    chosen = TransferTextVectorizer(folder, pooling="mean", **SHORT).fit(TEXTS)
    assert (chosen.model_.pooling, chosen.tokenizer_.prompt) == ("mean", "a: ")
    resolve_encoder(folder).save(tmp_path / "saved")


def test_files_without_poolings_say_nothing(tmp_path):
    assert read_settings(tmp_path) == SentenceSettings()
    write(tmp_path, "modules.json", [{"type": "models.Transformer", "path": ""}, 3])
    write(tmp_path, "config_sentence_transformers.json", {"prompts": {"query": "q: "}})
    assert read_settings(tmp_path) == SentenceSettings()


def test_a_saved_decoder_pools_its_last_token(tiny_decoder, tmp_path):
    handle = resolve_encoder(tiny_decoder)
    handle.save(tmp_path)
    assert read_settings(tmp_path).pooling == "last"
    expected = TransferTextVectorizer(handle, **SHORT).fit_transform(TEXTS)
    saved = TransferTextVectorizer(str(tmp_path), **SHORT).fit_transform(TEXTS)
    np.testing.assert_allclose(saved, expected, atol=1e-6)


def test_a_pooling_that_sentence_transformers_lacks_is_left_out(tiny_encoder):
    encoder, _ = resolve_encoder(tiny_encoder).load()
    assert settings_documents(SentenceSettings("concat"), encoder) == {}
