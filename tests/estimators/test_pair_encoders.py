"""Two texts of a row: read in one sequence, or each alone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax

import sktransfer
from sktransfer import TransferTextClassifier, TransferTextRegressor
from sktransfer.fitting import pairs
from sktransfer.inspection import word_importances

from .._reviews import reviews

WORDS = [text.split() for text in reviews(40, seed=5)[0]]
# The texts of a pair are alike or not; and a text in two parts.
ALIKE = np.arange(40) % 2
PAIRS = [
    (" ".join(WORDS[i]), " ".join(WORDS[i][::-1] if ALIKE[i] else WORDS[(i + 7) % 40]))
    for i in range(40)
]
REVIEWS, OPINIONS = reviews(40, seed=6)
PARTS = [(" ".join(text.split()[::2]), " ".join(text.split()[1::2])) for text in REVIEWS]


@pytest.fixture
def make(tiny_encoder):
    def build(kind=TransferTextClassifier, **parameters):
        settings = {"max_epochs": 0, "device": "cpu", "random_state": 0, "lexical_weight": 0}
        return kind(tiny_encoder, **{**settings, **parameters})

    return build


def test_texts_are_compared_where_it_tells_more(make):
    compared = make().fit(PAIRS, ALIKE)
    assert compared.pair_encoder_ == "bi"
    assert compared.score(PAIRS, ALIKE) > 0.9
    rows, targets = PAIRS[::2] + PAIRS[1::2], np.sort(ALIKE)
    numbers = make(TransferTextRegressor).fit(rows, targets)
    assert numbers.pair_encoder_ == "bi"
    assert make().fit(REVIEWS, OPINIONS).pair_encoder_ is None


@pytest.mark.parametrize("losses", [(0.5, 0.4), (0.4, 0.5), (0.4, 0.4)])
def test_the_probe_with_the_lower_loss_chooses(make, monkeypatch, losses):
    cross, bi = losses
    monkeypatch.setattr(
        pairs, "_loss", lambda context: bi if context.model.head.comparison else cross
    )
    assert make().fit(PARTS, OPINIONS).pair_encoder_ == ("bi" if bi < cross else "cross")


def test_the_loss_is_that_of_rows_which_the_probe_has_not_seen(make, monkeypatch):
    seen = {}
    scores_of = pairs.Probe.cross_validated_scores

    def watch(probe, C):
        found = scores_of(probe, C)
        comparison = probe._context.model.head.comparison
        seen[comparison] = found
        return found

    monkeypatch.setattr(pairs.Probe, "cross_validated_scores", watch)
    sktransfer.runtime.cache.clear()
    chosen = make().fit(PAIRS, ALIKE).pair_encoder_
    losses = {
        kind: -log_softmax(scores, axis=1)[np.arange(len(codes)), codes].mean()
        for kind, (scores, codes, _) in seen.items()
    }
    assert chosen == ("bi" if losses["ordered"] < losses[None] else "cross")


def test_many_pairs_train_a_cross_encoder(make, monkeypatch):
    monkeypatch.setattr(pairs, "_FEW_PAIRS", 39)
    assert make(max_epochs=1).fit(PAIRS, ALIKE).pair_encoder_ == "cross"
    assert make(max_epochs=0).fit(PAIRS, ALIKE).pair_encoder_ == "bi"
    assert make(max_epochs="auto", trainable_layers=0).fit(PAIRS, ALIKE).pair_encoder_ == "bi"
    assert make(max_epochs=1, pair_encoder="bi").fit(PAIRS, ALIKE).pair_encoder_ == "bi"


def test_a_part_of_many_pairs_is_enough_to_choose(make, monkeypatch):
    probed = []
    loss_of = pairs._loss
    monkeypatch.setattr(pairs, "_FEW_PAIRS", 21)
    monkeypatch.setattr(
        pairs, "_loss", lambda context: probed.append(context.rows.texts) or loss_of(context)
    )
    classifier = make().fit(PAIRS, ALIKE)
    assert [len(texts) for texts in probed] == [21, 21]
    assert {probed[0][0], probed[0][-1]} == {PAIRS[0], PAIRS[-1]}
    assert classifier.pair_encoder_ == "bi"
    assert classifier.score(PAIRS, ALIKE) > 0.9


def test_a_bi_encoder_is_trained_on_request_only(make):
    default = make(max_epochs="auto").fit(PAIRS, ALIKE)
    assert (default.pair_encoder_, default.n_iter_) == ("bi", 0)
    trained = make(max_epochs=2).fit(PAIRS, ALIKE)
    assert (trained.pair_encoder_, trained.n_iter_) == ("bi", 2)
    assert trained.mixing_coefficient_ == 0.5


def test_the_choice_draws_nothing(make):
    parameters = {"max_epochs": 2, "head_init": "random"}
    chosen = make(**parameters).fit(PAIRS, ALIKE)
    given = make(**parameters, pair_encoder=chosen.pair_encoder_).fit(PAIRS, ALIKE)
    assert_array_equal(chosen.predict_proba(PAIRS), given.predict_proba(PAIRS))


def test_where_there_is_no_choice(make):
    three = [(*pair, "the end") for pair in PAIRS]
    assert make().fit(three, ALIKE).pair_encoder_ is None
    several = np.column_stack([ALIKE, np.arange(40) % 3 == 0])
    assert make().fit(PAIRS, several).pair_encoder_ == "cross"
    partial = make().partial_fit(PAIRS, ALIKE, classes=[0, 1])
    assert partial.pair_encoder_ == "cross"
    with pytest.raises(ValueError, match="pair_encoder='bi' needs rows of two texts"):
        make(pair_encoder="bi").fit(three, ALIKE)
    with pytest.raises(ValueError, match="pair_encoder='bi' needs rows of two texts"):
        make(pair_encoder="bi").fit(REVIEWS, OPINIONS)


def test_classes_of_one_row_do_not_choose(make):
    assert make().fit(PAIRS[:3], ["a", "b", "c"]).pair_encoder_ == "cross"


def test_later_fits_read_as_the_first(make):
    first = make(pair_encoder="bi", max_epochs=1, warm_start=True).fit(PAIRS, ALIKE)
    again = first.set_params(pair_encoder="cross").fit(PAIRS, ALIKE)
    assert again.pair_encoder_ == "bi"
    assert again.partial_fit(PAIRS, ALIKE).pair_encoder_ == "bi"
    assert again.predict(PAIRS).shape == (40,)
    anew = again.set_params(warm_start=False).fit(PAIRS, ALIKE)
    assert anew.pair_encoder_ == "cross"


def test_a_symmetric_comparison_does_not_see_the_order(make):
    swapped = [pair[::-1] for pair in PAIRS]
    ordered = make(pair_encoder="bi").fit(PAIRS, ALIKE)
    assert not np.allclose(ordered.predict_proba(swapped), ordered.predict_proba(PAIRS))
    either = make(pair_encoder="bi", symmetric=True).fit(PAIRS, ALIKE)
    assert_allclose(either.predict_proba(swapped), either.predict_proba(PAIRS), rtol=1e-5)


@pytest.mark.parametrize("parameters", [{}, {"pooling": "concat"}, {"pooling_layers": 2}])
def test_a_pair_alone_scores_as_among_others(make, parameters):
    classifier = make(pair_encoder="bi", **parameters).fit(PAIRS, ALIKE)
    together = classifier.predict_proba(PAIRS)
    alone = np.concatenate([classifier.predict_proba([pair]) for pair in PAIRS[:5]])
    assert_allclose(alone, together[:5], atol=1e-6)


def test_a_text_of_many_pairs_is_read_once(make):
    classifier = make(pair_encoder="bi").fit(PAIRS, ALIKE)
    question = "which of these films is the best of the year"
    rows = [(question, second) for _, second in PAIRS]
    read = []
    handle = classifier.model_.encoder.token_embedding().register_forward_hook(
        lambda _module, inputs, _output: read.append(inputs[0].numel())
    )
    found = classifier.predict_proba(rows)
    handle.remove()
    assert 10 < sum(read) < 40  # the question; the features of the other texts are known
    alone = np.concatenate([classifier.predict_proba([row]) for row in rows[:3]])
    assert_allclose(found[:3], alone, atol=1e-6)


def test_each_text_has_the_whole_length(make):
    long = [(f"{first} " * 3, second) for first, second in PAIRS]
    with pytest.warns(UserWarning, match="texts are longer than max_length=16 tokens and were cut"):
        make(pair_encoder="bi", max_length=16).fit(long, ALIKE)


def test_it_survives_files_and_pickles(make, tmp_path):
    for symmetric in (False, True):
        classifier = make(pair_encoder="bi", symmetric=symmetric).fit(PAIRS, ALIKE)
        expected = classifier.predict_proba(PAIRS)
        folder = tmp_path / str(symmetric)
        classifier.save(folder)
        for found in (sktransfer.load(folder), pickle.loads(pickle.dumps(classifier))):
            assert found.pair_encoder_ == "bi"
            assert_array_equal(found.predict_proba(PAIRS), expected)


def test_it_is_exported(make, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from sktransfer import serving

    classifier = make(pair_encoder="bi", lexical_weight=0.3).fit(PAIRS, ALIKE)
    classifier.export(tmp_path)
    served = serving.load(tmp_path)
    assert_array_equal(served.predict(PAIRS), classifier.predict(PAIRS))
    assert_allclose(served.predict_proba(PAIRS), classifier.predict_proba(PAIRS), atol=1e-5)


@pytest.mark.parametrize("method", ["occlusion", "gradient"])
def test_words_of_both_texts_have_importances(make, method):
    classifier = make(pair_encoder="bi").fit(PAIRS, ALIKE)
    (found,) = word_importances(classifier, PAIRS[:1], method=method)
    assert found.words == [word for text in PAIRS[0] for word in text.split()]
    for column in (0, 1):
        assert found.network[found.columns == column].all()


def test_the_choice_is_reported(make, capsys):
    make(verbose=1).fit(PAIRS, ALIKE)
    assert "pair encoder: bi (cross-validated loss" in capsys.readouterr().err
