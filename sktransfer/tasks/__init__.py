"""What a target means: one small file a task."""

from sktransfer.tasks._classification import ClassificationTask
from sktransfer.tasks._protocol import LinearWeights, Task

__all__ = ["ClassificationTask", "LinearWeights", "Task"]
