"""scikit-learn's meta-estimators around the classifier, on raw text."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    permutation_test_score,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import SelfTrainingClassifier

from .._reviews import reviews


def upper(texts):
    """A preprocessing step; at module level, so that other processes find it."""
    return [text.upper() for text in texts]


def tfidf():
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


def column(texts):
    """Texts as scikit-learn's two-dimensional X: one column."""
    return np.array(texts, dtype=object).reshape(-1, 1)


# Composition and search.


def test_pipeline(classifier, train, test):
    pipeline = make_pipeline(FunctionTransformer(upper), classifier).fit(*train)
    assert pipeline.score(*test) > 0.8
    assert pipeline.predict_proba(test[0]).shape == (30, 2)
    assert list(pipeline.classes_) == ["bad", "good"]
    with pytest.raises(AttributeError):
        pipeline.transform  # noqa: B018


def test_pipeline_with_a_frame(classifier, train, test):
    frame = pd.DataFrame({"id": range(40), "text": train[0]})
    select = FunctionTransformer(lambda table: table["text"])
    pipeline = make_pipeline(select, classifier).fit(frame, train[1])
    assert pipeline.score(pd.DataFrame({"text": test[0]}), test[1]) > 0.8


def test_set_output_leaves_predictions_arrays(classifier, train, test):
    with sklearn.config_context(transform_output="pandas"):
        predicted = make_pipeline("passthrough", classifier).fit(*train).predict_proba(test[0])
    assert type(predicted) is np.ndarray
    assert not hasattr(classifier, "set_output")


def test_grid_search(classifier, train, test):
    grid = {"learning_rate": [1e-4, 1e-3], "layer_decay": [0.7, 0.9]}
    search = GridSearchCV(classifier, grid, cv=2, error_score="raise").fit(*train)
    assert set(search.best_params_) == set(grid)
    assert search.score(*test) > 0.8
    assert len(search.cv_results_["mean_test_score"]) == 4


def test_grid_search_in_a_pipeline(classifier, train, test):
    pipeline = Pipeline([("upper", FunctionTransformer(upper)), ("classify", classifier)])
    grid = {"classify__pooling": ["mean", "max"], "upper": ["passthrough"]}
    search = GridSearchCV(
        pipeline, grid, cv=2, scoring=["accuracy", "neg_log_loss", "roc_auc"], refit="neg_log_loss"
    )
    assert search.fit(*train).best_estimator_.score(*test) > 0.8


def test_grid_search_over_encoders(classifier, tiny_encoder, tiny_decoder, train):
    grid = {"encoder": [tiny_encoder, tiny_decoder]}
    search = GridSearchCV(classifier, grid, cv=2, error_score="raise").fit(*train)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_randomized_search_reports_a_failing_candidate(classifier, train):
    search = RandomizedSearchCV(
        classifier, {"learning_rate": [1e-3, -1.0]}, n_iter=2, cv=2, random_state=0
    )
    with (
        pytest.warns(sklearn.exceptions.FitFailedWarning, match="learning_rate"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        search.fit(*train)
    assert search.best_params_ == {"learning_rate": 1e-3}


def test_halving_grid_search(classifier, train, test):
    search = HalvingGridSearchCV(
        classifier, {"learning_rate": [1e-5, 1e-3]}, cv=2, factor=2, random_state=0
    ).fit(*train)
    assert search.n_iterations_ == 2
    assert search.score(*test) > 0.8


def test_halving_over_epochs(classifier, train):
    search = HalvingGridSearchCV(
        classifier,
        {"learning_rate": [1e-5, 1e-3]},
        resource="max_epochs",
        max_resources=4,
        min_resources=1,
        cv=2,
        factor=2,
        random_state=0,
    ).fit(*train)
    assert search.best_estimator_.n_iter_ == 2


def test_two_jobs_find_what_one_does(classifier, train):
    search = GridSearchCV(classifier, {"learning_rate": [1e-4, 1e-3]}, cv=2, error_score="raise")
    alone = clone(search).fit(*train)
    together = clone(search).set_params(n_jobs=2).fit(*train)
    assert_allclose(
        together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], atol=0.051
    )
    assert together.best_estimator_.score(*train) > 0.8


def test_two_threads_find_what_one_does(classifier, train):
    # Dropout draws from one generator for the whole process: threads take turns. Rounding alone
    # may differ, as threads leave their arrays at other places in memory.
    alone = cross_val_predict(classifier, *train, cv=4, method="predict_proba")
    with joblib.parallel_backend("threading", n_jobs=2):
        together = cross_val_predict(classifier, *train, cv=4, method="predict_proba", n_jobs=2)
    assert_allclose(together, alone, rtol=1e-5)


# Validation.


def test_cross_validation(classifier, train):
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    assert cross_val_score(classifier, *train, cv=folds, error_score="raise").mean() > 0.8
    probabilities = cross_val_predict(classifier, *train, cv=folds, method="predict_proba")
    assert probabilities.shape == (40, 2)
    assert probabilities.dtype == np.float32
    for method in ("decision_function", "predict_log_proba", "predict"):
        assert len(cross_val_predict(classifier, *train, cv=2, method=method)) == 40


def test_cross_validation_of_series(classifier, train):
    texts = pd.Series(train[0], index=np.arange(40) * 10)
    assert cross_val_score(classifier, texts, pd.Series(train[1], index=texts.index), cv=2).all()


def test_learning_curve(classifier, train):
    sizes, _, scores = learning_curve(
        classifier, *train, train_sizes=[8, 20], cv=2, shuffle=True, random_state=0
    )
    assert list(sizes) == [8, 20]
    assert np.isfinite(scores).all()


def test_incremental_learning_curve(classifier, train):
    sizes, _, scores = learning_curve(
        classifier,
        *train,
        train_sizes=[8, 20],
        cv=2,
        exploit_incremental_learning=True,
        shuffle=True,
        random_state=0,
    )
    assert list(sizes) == [8, 20]
    assert np.isfinite(scores).all()


def test_permutation_test(classifier, train):
    score, _, p_value = permutation_test_score(
        classifier.set_params(max_epochs=0), *train, cv=2, n_permutations=9, random_state=0
    )
    assert score > 0.8
    assert p_value <= 0.2


# Ensembles.


def test_stacking_beside_tfidf(classifier, train, test):
    members = [("transfer", classifier), ("tfidf", tfidf())]
    assert StackingClassifier(members, cv=2).fit(*train).score(*test) > 0.8


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_voting_beside_tfidf(classifier, train, test, voting):
    members = [("transfer", classifier), ("tfidf", tfidf())]
    assert VotingClassifier(members, voting=voting).fit(*train).score(*test) > 0.8


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibration(classifier, train, test, method):
    if method == "temperature" and sklearn.__version__ < "1.8":
        pytest.skip("scikit-learn calibrates by temperature from 1.8 on")
    calibrated = CalibratedClassifierCV(classifier, method=method, cv=2).fit(*train)
    assert calibrated.score(*test) > 0.8
    assert_allclose(calibrated.predict_proba(test[0]).sum(axis=1), 1, rtol=1e-5)


def test_calibration_of_a_frozen_model(classifier, train, test):
    frozen = FrozenEstimator(classifier.fit(*train))
    before = classifier.predict_proba(test[0])
    CalibratedClassifierCV(frozen, ensemble=False).fit(*test)
    assert_array_equal(classifier.predict_proba(test[0]), before)


def test_frozen_model_is_fitted_no_more(classifier, train, test):
    frozen = FrozenEstimator(classifier.fit(*train))
    assert clone(frozen).fit(test[0], test[1][::-1]).estimator is classifier
    members = [("transfer", frozen), ("tfidf", tfidf())]
    assert StackingClassifier(members, cv=2).fit(*train).score(*test) > 0.8


def test_tuned_threshold(classifier, train, test):
    tuned = TunedThresholdClassifierCV(classifier, scoring="balanced_accuracy", cv=2).fit(*train)
    assert tuned.score(*test) > 0.8
    assert 0 < tuned.best_threshold_ < 1


def test_bagging_takes_texts_as_a_column(classifier, train, test):
    bagging = BaggingClassifier(classifier, n_estimators=2, random_state=0)
    # scikit-learn checks X itself before any member sees it, and wants two dimensions.
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead"):
        bagging.fit(*train)
    bagging.fit(column(train[0]), train[1])
    assert bagging.score(column(test[0]), test[1]) > 0.8


def test_one_vs_rest(classifier, test):
    texts, labels = reviews(48, n_classes=3)
    model = OneVsRestClassifier(classifier).fit(texts, labels)
    assert list(model.classes_) == ["bad", "good", "money"]
    assert model.predict_proba(texts).shape == (48, 3)
    assert model.score(*test) > 0.8


def test_one_vs_rest_makes_it_multilabel(classifier, test):
    texts, labels = reviews(48, n_classes=3)
    indicator = np.column_stack([labels == "bad", labels != "money"]).astype(int)
    model = OneVsRestClassifier(classifier).fit(texts, indicator)
    assert model.multilabel_
    assert model.predict(test[0]).shape == (30, 2)


def by_row_number(texts, classifier):
    """The classifier for an X of row numbers, and that X.

    Some meta-estimators turn X into numbers before any member sees it. They can be handed the
    numbers of the rows, and the first step of a pipeline the texts.
    """
    look_up = FunctionTransformer(lambda rows: [texts[row] for row in rows[:, 0]])
    return make_pipeline(look_up, classifier), np.arange(len(texts)).reshape(-1, 1)


NUMBERS_ONLY = "could not convert string to float|Expected 2D array"


def test_one_vs_one_takes_row_numbers(classifier):
    texts, labels = reviews(48, n_classes=3)
    for X in (texts, column(texts)):
        with pytest.raises(ValueError, match=NUMBERS_ONLY):
            OneVsOneClassifier(classifier).fit(X, labels)
    member, rows = by_row_number(texts, classifier)
    assert OneVsOneClassifier(member).fit(rows, labels).score(rows, labels) > 0.8


def test_self_training_takes_row_numbers(classifier, train, test):
    texts = [*train[0], *test[0]]
    labels = np.r_[(train[1] == "good").astype(int), np.full(30, -1)]
    for X in (texts, column(texts)):
        with pytest.raises(ValueError, match=NUMBERS_ONLY):
            SelfTrainingClassifier(classifier).fit(X, labels)
    member, rows = by_row_number(texts, classifier)
    model = SelfTrainingClassifier(member, threshold=0.6).fit(rows, labels)
    assert (model.labeled_iter_ > 0).any()
    assert model.score(rows[40:], (test[1] == "good").astype(int)) > 0.8


def test_meta_estimators_that_leave_x_alone(classifier, train):
    classifier.set_params(max_epochs=0)
    targets = np.column_stack([train[1] == "good", np.arange(40) % 2]).astype(int)
    model = MultiOutputClassifier(classifier).fit(train[0], targets)
    assert model.predict(train[0]).shape == (40, 2)
    model = OutputCodeClassifier(classifier, code_size=2, random_state=0).fit(*train)
    assert model.predict(train[0]).shape == (40,)


# Metadata routing.


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_weights_and_validation_rows_are_routed_through_a_pipeline(classifier, train, test):
    weights = np.arange(40) % 4.0
    expected = clone(classifier).fit(
        upper(train[0]), train[1], sample_weight=weights, X_val=upper(test[0]), y_val=test[1]
    )
    classifier.set_fit_request(sample_weight=True, X_val=True, y_val=True)
    pipeline = Pipeline(
        [("upper", FunctionTransformer(upper)), ("classify", classifier)],
        transform_input=["X_val"],
    )
    pipeline.fit(*train, sample_weight=weights, X_val=test[0], y_val=test[1])
    assert_array_equal(pipeline.predict_proba(test[0]), expected.predict_proba(upper(test[0])))
    assert pipeline[-1].validation_scores_ == expected.validation_scores_
    assert len(pipeline[-1].validation_scores_) == 2


@pytest.mark.usefixtures("routing")
def test_weights_and_validation_rows_are_routed_through_a_search(classifier, train, test):
    classifier.set_fit_request(sample_weight=True, X_val=True, y_val=True)
    classifier.set_score_request(sample_weight=True)
    search = GridSearchCV(classifier, {"learning_rate": [1e-4, 1e-3]}, cv=2, error_score="raise")
    search.fit(*train, sample_weight=np.arange(40) % 4.0, X_val=test[0], y_val=test[1])
    assert len(search.best_estimator_.validation_scores_) == 2


@pytest.mark.usefixtures("routing")
def test_weights_nobody_asked_for_are_refused(classifier, train):
    with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="sample_weight"):
        GridSearchCV(classifier, {"C": [1.0]}, cv=2).fit(*train, sample_weight=np.ones(40))


def test_weights_in_a_pipeline_without_routing(classifier, train, test):
    weights = np.arange(40) % 4.0
    pipeline = Pipeline([("upper", FunctionTransformer(upper)), ("classify", classifier)])
    pipeline.fit(*train, classify__sample_weight=weights)
    expected = clone(classifier).fit(upper(train[0]), train[1], sample_weight=weights)
    assert_array_equal(pipeline.predict_proba(test[0]), expected.predict_proba(test[0]))


# Copies.


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_predictions(classifier, train, test, protocol):
    classifier.fit(*train)
    copy = pickle.loads(pickle.dumps(classifier, protocol=protocol))
    assert_array_equal(copy.predict_proba(test[0]), classifier.predict_proba(test[0]))
    assert copy.get_params() == classifier.get_params()
    copy.fit(*train)
    assert_array_equal(copy.predict_proba(test[0]), classifier.predict_proba(test[0]))


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib_keeps_predictions(classifier, train, test, tmp_path, mmap_mode):
    classifier.fit(*train)
    joblib.dump(classifier, tmp_path / "model.joblib")
    copy = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
    assert_array_equal(copy.predict_proba(test[0]), classifier.predict_proba(test[0]))


def test_pickle_of_a_warm_started_model_goes_on_alike(classifier, train, test):
    classifier.set_params(warm_start=True).fit(*train)
    copy = pickle.loads(pickle.dumps(classifier))
    for model in (classifier, copy):
        model.fit(*train)
    assert_array_equal(copy.predict_proba(test[0]), classifier.predict_proba(test[0]))


LOAD_ELSEWHERE = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    classifier, texts = pickle.load(file)
import torch
assert not torch.cuda.is_available()
np.save(sys.argv[2], classifier.set_params(device="auto").predict_proba(texts))
"""


def test_pickle_loads_where_there_is_no_gpu(classifier, train, test, tmp_path):
    classifier.set_params(device="auto").fit(*train)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps((classifier, test[0])))
    subprocess.run(
        [sys.executable, "-c", LOAD_ELSEWHERE, tmp_path / "model.pickle", tmp_path / "out.npy"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    classifier.set_params(device="cpu")
    expected = classifier.predict_proba(test[0])
    assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-4, atol=1e-6)


def test_clone_copies_no_weights(classifier, train):
    classifier.fit(*train)
    assert len(pickle.dumps(clone(classifier))) < 10_000
    tuned = clone(classifier).set_params(encoder=classifier.encoder_)
    copy = clone(tuned)
    assert copy.encoder is tuned.encoder
    # In one process a handle's weights are there once, however often it is unpickled.
    first, second = (pickle.loads(pickle.dumps(tuned)).encoder for _ in range(2))
    assert first == second == tuned.encoder
    assert first._source is second._source
    assert not hasattr(copy, "model_")


def test_a_tuned_encoder_goes_through_a_search(classifier, train, test):
    tuned = clone(classifier).set_params(encoder=classifier.fit(*train).encoder_)
    search = GridSearchCV(tuned, {"C": [0.1, 1.0]}, cv=2, error_score="raise").fit(*train)
    assert search.score(*test) > 0.8


# Display.


def test_repr_and_html(classifier, train):
    assert "learning_rate=0.1" in repr(classifier.set_params(learning_rate=0.1))
    for estimator in (classifier, clone(classifier).set_params(learning_rate=1e-3).fit(*train)):
        page = estimator._repr_html_()
        assert "TransferTextClassifier" in page
        assert "learning_rate" in page
    assert (
        "TransferTextClassifier" in make_pipeline(FunctionTransformer(), classifier)._repr_html_()
    )
