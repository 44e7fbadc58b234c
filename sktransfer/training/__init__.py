"""The training loop, its schedules and optimizer, and the forward pass."""

from sktransfer.training.data import EncodedDataset
from sktransfer.training.forward import launch_features, pooled_features
from sktransfer.training.loop import BestWeights, Progress, TrainingObjective, TrainingResult, train
from sktransfer.training.parameters import TrainableModel, TrainingPlan, parameter_groups
from sktransfer.training.rows import RowLoss, RowObjective
from sktransfer.training.schedules import SCHEDULES, schedule_factor, stopped_falling

__all__ = [
    "SCHEDULES",
    "BestWeights",
    "EncodedDataset",
    "Progress",
    "RowLoss",
    "RowObjective",
    "TrainableModel",
    "TrainingObjective",
    "TrainingPlan",
    "TrainingResult",
    "launch_features",
    "parameter_groups",
    "pooled_features",
    "schedule_factor",
    "stopped_falling",
    "train",
]
