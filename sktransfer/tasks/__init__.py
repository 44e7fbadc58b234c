"""Tasks: losses and convex solutions, one file per task."""

from sktransfer.tasks.answers import AnswerTask
from sktransfer.tasks.choice import ChoiceTask
from sktransfer.tasks.classification import ClassificationTask, check_classes
from sktransfer.tasks.entities import tag_score
from sktransfer.tasks.logistic import logistic_regression
from sktransfer.tasks.multilabel import MultilabelTask
from sktransfer.tasks.protocol import BlendableTask, LinearWeights, Task
from sktransfer.tasks.regression import LOSSES, RegressionTask
from sktransfer.tasks.tagging import TaggingTask

__all__ = [
    "LOSSES",
    "AnswerTask",
    "BlendableTask",
    "ChoiceTask",
    "ClassificationTask",
    "LinearWeights",
    "MultilabelTask",
    "RegressionTask",
    "TaggingTask",
    "Task",
    "check_classes",
    "logistic_regression",
    "tag_score",
]
