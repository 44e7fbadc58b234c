"""Seeds, and what a fit leaves alone."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from .rows import LABELS, LABELS_3, NEW_LABELS, NEW_TEXTS, TEXTS, TEXTS_3


def test_the_seed_decides(make, fitted):
    again = make().fit(TEXTS, LABELS)
    assert_array_equal(again.predict_proba(NEW_TEXTS), fitted.predict_proba(NEW_TEXTS))
    other = make(random_state=1).fit(TEXTS, LABELS)
    assert not np.array_equal(other.predict_proba(NEW_TEXTS), fitted.predict_proba(NEW_TEXTS))
    unseeded = [make(random_state=None).fit(TEXTS, LABELS) for _ in range(2)]
    first, second = (model.predict_proba(NEW_TEXTS) for model in unseeded)
    assert not np.array_equal(first, second)


def test_a_random_state_instance_moves_on(make):
    state = np.random.RandomState(0)
    first = make(random_state=state).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    second = make(random_state=state).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("random_state", [0, None])
def test_the_world_stays_as_it_was(make, random_state, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def world():
        loggers = [logging.getLogger(), *map(logging.getLogger, ("transformers", "sktransfer"))]
        return {
            "torch": torch.get_rng_state().tolist(),
            "numpy": str(np.random.get_state()),
            "random": random.getstate(),
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "files": os.listdir(),
            "loggers": [(logger.level, list(logger.handlers)) for logger in loggers],
            "dtype": torch.get_default_dtype(),
            "gradients": torch.is_grad_enabled(),
            "threads": torch.get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "interrupt": signal.getsignal(signal.SIGINT),
            "python threads": threading.active_count(),
        }

    make(random_state=random_state).fit(TEXTS[:8], LABELS[:8])  # lazy imports are done with
    before = world()
    capfd.readouterr()
    classifier = make(random_state=random_state, early_stopping=True)
    classifier.fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
    classifier.partial_fit(TEXTS, LABELS)
    assert world() == before
    assert capfd.readouterr() == ("", "")


def test_verbose_reports_epochs_on_stderr(make, capfd):
    make(verbose=1).fit(TEXTS, LABELS, X_val=NEW_TEXTS, y_val=NEW_LABELS)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("epoch") == 2
    assert "loss" in err
    assert "validation" in err


def test_predict_changes_nothing(fitted):
    before = set(vars(fitted))
    state = {name: value.clone() for name, value in fitted.model_.state_dict().items()}
    fitted.predict_proba(NEW_TEXTS)
    assert set(vars(fitted)) == before
    assert all(
        torch.equal(state[name], value) for name, value in fitted.model_.state_dict().items()
    )


def test_fit_does_not_write_into_its_input(make):
    X, y = np.array(TEXTS, dtype=object), LABELS.copy()
    weights = np.arange(40.0)
    for array in (X, y, weights):
        array.setflags(write=False)
    make(early_stopping=True).fit(X, y, sample_weight=weights)


def test_a_loss_beyond_numbers_stops_the_fit(make):
    classifier = make(
        learning_rate=1e30, precision="float32", warmup_fraction=0.0, schedule="constant"
    )
    with pytest.raises(FloatingPointError, match="learning_rate"):
        classifier.fit(TEXTS, LABELS)
    assert not hasattr(classifier, "model_")
    with pytest.raises(NotFittedError):
        classifier.predict(TEXTS)


def test_a_failed_fit_leaves_the_fitted_estimator_alone(make, monkeypatch):
    classifier = make().fit(TEXTS, LABELS)
    before, attributes = classifier.predict_proba(NEW_TEXTS), dict(vars(classifier))
    with pytest.raises(ValueError, match="row 0"):
        classifier.fit(TEXTS_3, [None, *LABELS_3[1:]])
    with pytest.raises(ValueError, match=r"[Rr]ow 1"):
        classifier.fit(pd.DataFrame({"text": ["good", None]}), ["good", "bad"])
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", lambda self, *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            classifier.fit(TEXTS_3, LABELS_3)
        with pytest.raises(ZeroDivisionError):
            classifier.partial_fit(TEXTS, LABELS)
        with pytest.raises(ZeroDivisionError):
            classifier.set_params(warm_start=True).fit(TEXTS, LABELS)
    classifier.set_params(warm_start=False)
    assert_array_equal(classifier.predict_proba(NEW_TEXTS), before)
    assert dict(vars(classifier)) == attributes
