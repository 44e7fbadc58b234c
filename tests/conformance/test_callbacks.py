"""Epochs as subtasks of fit, for scikit-learn's callbacks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sktransfer import TransferTextClassifier

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")


class Recorder:
    """Writes down the tasks; asks to stop after an epoch if told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.events: list[tuple[str, str, int]] = []
        self.stop_after = stop_after
        self.fitted: list[TransferTextClassifier] = []
        self.seen = None

    def setup(self, estimator, context):
        self.events.append(("setup", context.task_name, context.task_id))

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.task_name, context.task_id))

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.events.append(("end", context.task_name, context.task_id))
        self.fitted.append(fitted_estimator)
        self.seen = (X, y, metadata)
        return context.task_name == "epoch" and self.stop_after == context.task_id + 1


def epochs(n_epochs: int) -> list[tuple[str, str, int]]:
    return [(event, "epoch", epoch) for epoch in range(n_epochs) for event in ("begin", "end")]


def test_epochs_are_subtasks_of_fit(classifier, train):
    recorder = Recorder()
    classifier.set_callbacks(recorder).fit(*train)
    assert recorder.events == [
        ("setup", "fit", 0),
        ("begin", "fit", 0),
        *epochs(2),
        ("end", "fit", 0),
        ("teardown", "fit", 0),
    ]


def test_a_probe_has_no_epochs(classifier, train):
    recorder = Recorder()
    classifier.set_params(max_epochs=0).set_callbacks(recorder).fit(*train)
    assert [event for event, _, _ in recorder.events] == ["setup", "begin", "end", "teardown"]


def test_callbacks_do_not_change_the_model(classifier, train, test):
    expected = clone(classifier).fit(*train).predict_proba(test[0])
    monitored = classifier.set_callbacks(callback.ScoringMonitor(scoring="accuracy"))
    assert_array_equal(monitored.fit(*train).predict_proba(test[0]), expected)


def test_hooks_see_the_data_and_a_working_estimator(classifier, train, test):
    recorder = Recorder()
    weights = np.arange(1.0, 41.0)
    classifier.set_callbacks(recorder).fit(*train, sample_weight=weights)
    X, y, metadata = recorder.seen
    assert list(X) == train[0]
    assert_array_equal(y, train[1])
    assert_array_equal(metadata["sample_weight"], weights)
    first, last, whole = (model.predict_proba(test[0]) for model in recorder.fitted)
    assert not np.array_equal(first, last)
    assert_array_equal(whole, classifier.predict_proba(test[0]))
    # Each is a copy: the first epoch's does not move on with the training.
    assert recorder.fitted[0].model_ is not classifier.model_
    assert {model.encoder_.name for model in recorder.fitted} == {classifier.encoder_.name}


def test_hooks_see_the_history(classifier, train, test):
    recorder = Recorder()
    classifier.set_params(max_epochs=3).set_callbacks(recorder)
    classifier.fit(*train, X_val=test[0], y_val=test[1])
    for n_epochs, model in enumerate(recorder.fitted[:-1], start=1):
        assert model.loss_curve_ == classifier.loss_curve_[:n_epochs]
        assert model.validation_scores_ == classifier.validation_scores_[:n_epochs]
        assert model.n_iter_ == n_epochs
        assert model.best_epoch_ <= n_epochs
        assert model.device_ == classifier.device_


def test_a_generator_is_a_list_to_the_hooks(classifier, train):
    monitor = callback.ScoringMonitor(scoring="accuracy")
    classifier.set_callbacks(monitor).fit((text for text in train[0]), train[1])
    assert all(row["accuracy"] > 0.8 for row in monitor.get_logs().data)


def test_a_callback_can_stop_the_training(classifier, train):
    recorder = Recorder(stop_after=1)
    classifier.set_params(max_epochs=5).set_callbacks(recorder).fit(*train)
    assert classifier.n_iter_ == 1
    assert recorder.events[2:-2] == epochs(1)


def test_early_stopping_ends_the_subtasks(classifier, train):
    recorder = Recorder()
    classifier.set_params(max_epochs=9, early_stopping=True, n_iter_no_change=1)
    classifier.set_callbacks(recorder).fit(*train)
    assert classifier.n_iter_ < 9
    assert recorder.events[2:-2] == epochs(classifier.n_iter_)


def test_teardown_follows_a_failure(classifier, train):
    recorder = Recorder()
    classifier.set_params(learning_rate=1e30, precision="float32", schedule="constant")
    with pytest.raises(FloatingPointError):
        classifier.set_callbacks(recorder).fit(*train)
    assert recorder.events[0] == ("setup", "fit", 0)
    assert recorder.events[-1] == ("teardown", "fit", 0)
    assert not hasattr(classifier, "_callback_fit_ctx")


def test_an_interrupt_in_a_hook_keeps_the_model(classifier, train):
    class Interrupter(Recorder):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == "epoch":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        classifier.set_params(max_epochs=5).set_callbacks(Interrupter()).fit(*train)
    assert classifier.n_iter_ == 1
    assert classifier.score(*train) > 0.8


def test_scoring_monitor(classifier, train):
    monitor = callback.ScoringMonitor(scoring=["accuracy", "neg_log_loss"])
    classifier.set_callbacks(monitor).fit(*train)
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows] == ["fit", "epoch", "epoch"]
    assert all(np.isfinite(row["neg_log_loss"]) for row in rows)
    assert rows[0]["accuracy"] == pytest.approx(classifier.score(*train))


def test_scoring_monitor_of_the_candidates_of_a_search(classifier, train):
    monitor = callback.ScoringMonitor(scoring="accuracy")
    classifier.set_callbacks(monitor)
    search_in(classifier).fit(*train)
    (log,) = monitor.get_logs(select="all")
    assert log.estimator_name == "GridSearchCV"
    assert sum(row["task_name"] == "epoch" for row in log.data) == 5 * 2


@pytest.fixture
def wide_terminal(monkeypatch):
    """Room for the bars' names, which rich cuts at the width of the terminal."""
    monkeypatch.setenv("COLUMNS", "200")


def search_in(classifier, *, in_pipeline=False, n_jobs=None):
    """Two candidates on two folds, and the last fit on all rows: five fits."""
    grid = {"C": [0.1, 1.0]}
    if in_pipeline:
        classifier = Pipeline([("nothing", "passthrough"), ("classify", classifier)])
        grid = {"classify__C": grid["C"]}
    return GridSearchCV(classifier, grid, cv=2, n_jobs=n_jobs, error_score="raise")


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_the_epochs_appear_within_a_search(classifier, train, in_pipeline):
    class Propagated(Recorder):
        max_propagation_depth = None

    recorder = Propagated()
    search_in(classifier, in_pipeline=in_pipeline).set_callbacks(recorder).fit(*train)
    assert [event for event in recorder.events if event[1] == "epoch"] == 5 * epochs(2)


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_progress_bar_over_a_search(classifier, train, capsys, wide_terminal, in_pipeline):
    search = search_in(classifier, in_pipeline=in_pipeline)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(*train)
    bars = capsys.readouterr().out.splitlines()
    assert any("GridSearchCV - fit" in bar for bar in bars)
    assert sum("TransferTextClassifier - fit" in bar for bar in bars) == 5
    assert all("100%" in bar for bar in bars if bar.strip())


def test_progress_bar_with_two_processes(classifier, train, capsys, wide_terminal):
    search = search_in(classifier, n_jobs=2).set_callbacks(callback.ProgressBar()).fit(*train)
    bars = capsys.readouterr().out.splitlines()
    assert sum("TransferTextClassifier - fit" in bar for bar in bars) == 5
    assert hasattr(search, "best_estimator_")


def test_a_monitored_classifier_can_be_pickled(classifier, train, test):
    classifier.set_callbacks(callback.ScoringMonitor(scoring="accuracy")).fit(*train)
    copy = pickle.loads(pickle.dumps(classifier))
    assert_array_equal(copy.predict(test[0]), classifier.predict(test[0]))
