"""The training loop, what steers it, and the forward pass."""

from sktransfer.training._forward import pooled_features
from sktransfer.training._loop import BestWeights, TrainingData, TrainingResult, train
from sktransfer.training._parameters import TrainingPlan, parameter_groups
from sktransfer.training._schedules import SCHEDULES, schedule_factor

__all__ = [
    "SCHEDULES",
    "BestWeights",
    "TrainingData",
    "TrainingPlan",
    "TrainingResult",
    "parameter_groups",
    "pooled_features",
    "schedule_factor",
    "train",
]
