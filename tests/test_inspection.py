"""Importances of words, and how they are shown."""

import re
import warnings
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from sktransfer import (
    LanguageModel,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
)
from sktransfer.fitting.saliency import _integrated_gradients, _is_content, token_importances
from sktransfer.inputs import collate_rows
from sktransfer.inspection import WordImportanceDisplay, word_importances
from tests._reviews import reviews

TEXTS, LABELS = reviews(60)
FAST = {"max_epochs": 0, "device": "cpu", "random_state": 0, "label_texts": None}


@pytest.fixture(scope="module")
def classifier(tiny_encoder):
    return TransferTextClassifier(tiny_encoder, **FAST).fit(TEXTS, LABELS)


def test_the_deciding_word_comes_first(classifier):
    texts = ["the film was wonderful", "the worst movie"]
    good, bad = word_importances(classifier, texts)
    assert (good.target, bad.target) == ("good", "bad")
    assert good.words[good.importances.argmax()] == "wonderful"
    assert bad.words[bad.importances.argmax()] == "worst"
    for one, text in zip((good, bad), texts, strict=True):
        assert [text[start:stop] for start, stop in one.spans.tolist()] == one.words
        assert one.columns.tolist() == [0] * len(one.words)


def test_importance_is_the_difference_that_a_word_makes(classifier):
    text = "the film was wonderful"
    (found,) = word_importances(classifier, [text], "bad")
    whole = classifier.decision_function([text])[0]  # of "good" over "bad"
    for word, importance in zip(found.words, found.importances, strict=True):
        without = classifier.decision_function([text.replace(word, "")])[0]
        assert importance == pytest.approx(without - whole, abs=1e-4)
    # The other label has the opposite ones.
    (other,) = word_importances(classifier, [text], "good")
    np.testing.assert_allclose(other.network, -found.network, atol=1e-5)
    np.testing.assert_allclose(other.lexical, -found.lexical, atol=1e-5)


def test_parts_are_those_of_each_model(tiny_encoder):
    text = "the film was wonderful"
    alone = TransferTextClassifier(tiny_encoder, lexical_weight=0, **FAST).fit(TEXTS, LABELS)
    both = TransferTextClassifier(tiny_encoder, lexical_weight=0.5, **FAST).fit(TEXTS, LABELS)
    (network,), (together,) = (word_importances(one, [text], "good") for one in (alone, both))
    np.testing.assert_allclose(together.network, network.network, atol=1e-5)
    assert not network.lexical.any()
    assert together.lexical[together.words.index("wonderful")] > 0


def test_deleting_important_words_lowers_the_score_more(classifier):
    texts = reviews(20, seed=3)[0]
    rng = np.random.default_rng(0)
    top, chance = [], []
    for text, one in zip(texts, word_importances(classifier, texts), strict=True):
        first, any_word = one.importances.argmax(), rng.integers(len(one.words))
        for chosen, scores in ((first, top), (any_word, chance)):
            start, stop = one.spans[chosen]
            left = text[:start] + text[stop:]
            column = classifier.classes_.tolist().index(one.target)
            before, after = classifier.predict_proba([text, left])[:, column]
            scores.append(before - after)
    assert np.mean(top) > np.mean(chance) + 0.02


def test_multiclass_multilabel_pairs_and_regression(tiny_encoder):
    classes = np.array(["a", "b", "c"] * 20)
    three = TransferTextClassifier(tiny_encoder, **FAST).fit(TEXTS, classes)
    assert word_importances(three, TEXTS[:1], "b")[0].target == "b"

    indicators = np.stack([LABELS == "good", LABELS == "bad", LABELS != ""], axis=1).astype(int)
    indicators[::7, 2] = 0
    several = TransferTextClassifier(tiny_encoder, **FAST).fit(TEXTS, indicators)
    (found,) = word_importances(several, ["a wonderful film"], 0)
    assert found.target == 0
    assert found.words[found.importances.argmax()] == "wonderful"
    assert word_importances(several, ["a wonderful film"], 1)[0].importances[1] < 0
    assert word_importances(several, ["a wonderful film"])[0].target == 2

    pairs = [("the film", text) for text in TEXTS]
    paired = TransferTextClassifier(tiny_encoder, **FAST).fit(pairs, LABELS)
    (found,) = word_importances(paired, [("the film", "was wonderful")], "good")
    assert found.words == ["the", "film", "was", "wonderful"]
    assert found.columns.tolist() == [0, 0, 1, 1]
    assert found.texts == ("the film", "was wonderful")

    numbers = np.where(LABELS == "good", 2.0, -2.0)
    regressor = TransferTextRegressor(tiny_encoder, max_epochs=0, device="cpu").fit(TEXTS, numbers)
    (found,) = word_importances(regressor, ["a wonderful film"])
    assert found.target is None
    whole, without = regressor.predict(["a wonderful film", "a  film"])
    assert found.importances[1] == pytest.approx(whole - without, abs=1e-4)


def test_words_of_a_long_text_are_left_out_together(classifier):
    text = " ".join(["the film was good"] * 40)
    (found,) = word_importances(classifier, [text], max_variants=8)
    assert len(found.words) == 160
    assert len(np.unique(found.importances.round(12))) <= 8


@pytest.mark.parametrize("text", ["", "...", "😀 !"])
def test_a_text_without_words_has_none(classifier, text):
    (found,) = word_importances(classifier, [text])
    assert found.words == []
    assert found.importances.shape == (0,)
    display = WordImportanceDisplay([found])
    assert text in display.to_terminal()


def test_wrong_input_is_refused(classifier, tiny_encoder):
    with pytest.raises(NotFittedError):
        word_importances(TransferTextClassifier(tiny_encoder), ["a"])
    with pytest.raises(TypeError, match="got TransferTextVectorizer"):
        word_importances(TransferTextVectorizer(tiny_encoder).fit(["a"]), ["a"])
    with pytest.raises(ValueError, match="target='fair' is not one of the labels"):
        word_importances(classifier, ["a"], "fair")
    with pytest.raises(ValueError, match="max_variants must be at least 1"):
        word_importances(classifier, ["a"], max_variants=0)
    with pytest.raises(TypeError, match="Row 0 of X"):
        word_importances(classifier, [3])


def test_display(classifier):
    mpl.use("Agg")
    texts = ["the film was <b>wonderful</b>", "the worst & ugly"]
    good, bad = (word_importances(classifier, texts, label) for label in ("good", "bad"))
    display = WordImportanceDisplay([good[0], bad[1]])
    assert len(WordImportanceDisplay.from_estimator(classifier, texts).rows) == 2
    page = display._repr_html_()
    assert "&lt;" in page
    assert "&amp;" in page
    assert re.search(r"rgba\(44, 160, 44, 1\.00\)[^>]*>wonderful<", page)
    assert "\x1b[30;48;2;44;160;44mwonderful\x1b[0m" in display.to_terminal()
    assert re.sub(r"\x1b\[[\d;]*m", "", display.to_terminal()).splitlines() == [
        f"good: {texts[0]}",
        f"bad: {texts[1]}",
    ]
    assert display.plot(row=1, n_words=3) is display
    assert [tick.get_text() for tick in display.ax_.get_yticklabels()][-1] in ("worst", "ugly")
    assert display.figure_ is display.ax_.figure


def test_minilm_finds_the_deciding_word(minilm):
    texts = ["a wonderful film", "a moving story", "dull and slow", "a waste of time"] * 2
    classifier = TransferTextClassifier(minilm, max_epochs=0, device="cpu", random_state=0)
    classifier.fit(texts, ["good", "good", "bad", "bad"] * 2)
    good, bad = word_importances(classifier, ["what a wonderful evening", "such a dull afternoon"])
    assert good.words[good.importances.argmax()] == "wonderful"
    assert bad.words[bad.importances.argmax()] == "dull"


@pytest.mark.parametrize("text", ["the film was wonderful", "a wonderful film " * 40])
def test_gradients_add_up_to_the_difference_from_a_masked_text(classifier, text):
    predictor = classifier._predictor()
    weights = np.array([-1.0, 1.0])
    row = predictor.encode([text])
    values = _integrated_gradients(predictor, row, weights)
    batch = collate_rows(row, np.arange(1), predictor.tokenizer.pad_id)
    is_content = _is_content(row, batch)
    masked = batch.token_ids.masked_fill(is_content, predictor.tokenizer.mask_id)
    with torch.no_grad():
        scores = [
            float((predictor.model(one)[0].double().numpy() * weights).sum())
            for one in (batch, replace(batch, token_ids=masked))
        ]
    assert values.sum() == pytest.approx(scores[0] - scores[1], rel=0.05, abs=0.01)
    assert not values[~is_content.numpy()].any()
    tokens = token_importances(predictor, text, weights)
    _, (spans,) = predictor.tokenizer.encode_spans([text])
    assert [(start, stop) for _, start, stop, _ in tokens] == [tuple(span) for span in spans]
    assert all(parameter.grad is None for parameter in predictor.model.parameters())


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("max_length", [16, 128])
def test_gradients_of_pairs(tiny_encoder, symmetric, max_length):
    pairs = [(text, "a film about " + text) for text in TEXTS]
    settings = {"symmetric": symmetric, "max_length": max_length, "lexical_weight": 0}
    regressor = TransferTextRegressor(tiny_encoder, max_epochs=0, device="cpu", **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # texts that are cut
        regressor.fit(pairs, np.where(LABELS == "good", 1.0, 0.0))
        (found,) = word_importances(regressor, pairs[:1], method="gradient")
    assert found.words == [word for text in pairs[0] for word in re.findall(r"\w+", text)]
    assert np.isfinite(found.network).all()
    assert set(found.columns) == {0, 1}
    assert found.network[found.columns == 1].any()
    assert (found.network == 0).any() == (max_length == 16)


def test_gradients_agree_with_occlusion_on_the_deciding_word(classifier):
    texts = reviews(20, seed=3)[0]
    by_gradient = word_importances(classifier, texts, method="gradient")
    by_occlusion = word_importances(classifier, texts)
    agreement = []
    for one, other in zip(by_gradient, by_occlusion, strict=True):
        assert (one.target, one.words) == (other.target, other.words)
        np.testing.assert_allclose(one.lexical, other.lexical, atol=1e-5)
        agreement.append(np.corrcoef(one.network, other.network)[0, 1])
    assert np.mean(agreement) > 0.3


def test_gradients_of_other_encoders(tmp_path):
    sizes = {"embedding_size": 8, "hidden_size": 8, "n_layers": 1, "max_epochs": 1}
    lstm = LanguageModel(architecture="awd_lstm", max_length=16, **sizes).fit(TEXTS).encoder_
    fitted = TransferTextClassifier(lstm, **FAST, max_length=16).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="not supported for recurrent encoders"):
        word_importances(fitted, ["a wonderful film"], method="gradient")
    with pytest.raises(ValueError, match="method must be 'occlusion' or 'gradient'"):
        word_importances(fitted, ["a"], method="lime")


def test_gradients_of_several_labels_and_of_a_prompt(tiny_encoder):
    several = np.stack([LABELS == "good", LABELS == "bad"], axis=1).astype(int)
    several[::7] = 1
    fitted = TransferTextClassifier(tiny_encoder, prompt="about: ", **FAST).fit(TEXTS, several)
    (found,) = word_importances(fitted, ["a wonderful film"], 0, method="gradient")
    assert found.words[found.importances.argmax()] == "wonderful"
