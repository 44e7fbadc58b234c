"""What a target means: one small file a task."""

from sktransfer.tasks._choice import ChoiceTask
from sktransfer.tasks._classification import ClassificationTask
from sktransfer.tasks._multilabel import MultilabelTask
from sktransfer.tasks._protocol import LinearWeights, Task
from sktransfer.tasks._regression import LOSSES, RegressionTask

__all__ = [
    "LOSSES",
    "ChoiceTask",
    "ClassificationTask",
    "LinearWeights",
    "MultilabelTask",
    "RegressionTask",
    "Task",
]
