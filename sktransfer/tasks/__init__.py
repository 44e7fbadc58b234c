"""What a target means: one small file a task."""

from sktransfer.tasks._answers import AnswerTask
from sktransfer.tasks._classification import ClassificationTask
from sktransfer.tasks._multilabel import MultilabelTask
from sktransfer.tasks._protocol import LinearWeights, Task
from sktransfer.tasks._regression import LOSSES, RegressionTask

__all__ = [
    "LOSSES",
    "AnswerTask",
    "ClassificationTask",
    "LinearWeights",
    "MultilabelTask",
    "RegressionTask",
    "Task",
]
