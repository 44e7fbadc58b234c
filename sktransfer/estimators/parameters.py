"""Constraints of the parameters that several estimators share."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any

import joblib

from sktransfer.encoders import EncoderHandle
from sktransfer.estimators.sklearn_private import Interval, StrOptions
from sktransfer.nn import POOLINGS
from sktransfer.training import SCHEDULES

Constraints = dict[str, list[Any]]

_MEMORY = [None, str, os.PathLike, joblib.Memory]

# All estimators.
TRAINING: Constraints = {
    "encoder": [str, os.PathLike, EncoderHandle],
    "max_length": [Interval(Integral, 8, None, closed="left")],
    "trainable_layers": [StrOptions({"all"}), Interval(Integral, 0, None, closed="left"), None],
    "gradual_unfreezing": ["boolean"],
    "max_epochs": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "layer_decay": [Interval(Real, 0, 1, closed="right")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "schedule": [StrOptions(set(SCHEDULES))],
    "warmup_fraction": [Interval(Real, 0, 1, closed="left")],
    "early_stopping": ["boolean"],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "device": [str],
    "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}

# Estimators that learn targets.
SUPERVISED: Constraints = {
    **TRAINING,
    "trainable_layers": [*TRAINING["trainable_layers"], StrOptions({"auto"})],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "warm_start": ["boolean"],
}

# Estimators of rows with one or several texts.
TEXT: Constraints = {
    "pooling": [StrOptions({"auto", *POOLINGS})],
    "prompt": [str],
    "long_texts": [StrOptions({"window", "truncate"})],
    "symmetric": ["boolean"],
    "missing": [StrOptions({"error", "empty"})],
    "memory": _MEMORY,
}

# Estimators that predict one target per row of text.
PREDICTION: Constraints = {
    "pooling_layers": [Interval(Integral, 1, None, closed="left")],
    "lexical_weight": [Interval(Real, 0, 1, closed="both")],
    "head_init": [StrOptions({"probe", "random"})],
    "head_refit": ["boolean"],
    "C": [Interval(Real, 0, None, closed="neither")],
    "adapt_epochs": [Interval(Integral, 0, None, closed="left")],
    "lm_weight": [Interval(Real, 0, None, closed="left")],
}
