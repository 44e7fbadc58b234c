"""The training loop, what steers it, and the forward pass."""

from sktransfer.training._auxiliary import AuxiliaryLanguage
from sktransfer.training._forward import launch_features, pooled_features
from sktransfer.training._language import (
    LanguageLesson,
    MaskedLesson,
    NextTokenLesson,
    cross_entropy,
)
from sktransfer.training._loop import BestWeights, Lesson, Progress, TrainingResult, train
from sktransfer.training._parameters import TrainableModel, TrainingPlan, parameter_groups
from sktransfer.training._rows import Objective, RowLesson, TrainingData
from sktransfer.training._schedules import SCHEDULES, schedule_factor

__all__ = [
    "SCHEDULES",
    "AuxiliaryLanguage",
    "BestWeights",
    "LanguageLesson",
    "Lesson",
    "MaskedLesson",
    "NextTokenLesson",
    "Objective",
    "Progress",
    "RowLesson",
    "TrainableModel",
    "TrainingData",
    "TrainingPlan",
    "TrainingResult",
    "cross_entropy",
    "launch_features",
    "parameter_groups",
    "pooled_features",
    "schedule_factor",
    "train",
]
