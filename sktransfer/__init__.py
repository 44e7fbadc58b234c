"""Transfer learning for text with scikit-learn's interface."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sktransfer import datasets
    from sktransfer.comparison.compare import compare
    from sktransfer.comparison.result import ComparisonResult
    from sktransfer.encoders import EncoderHandle, available_encoders
    from sktransfer.estimators.answer_extractor import TransferAnswerExtractor
    from sktransfer.estimators.choice_classifier import TransferChoiceClassifier
    from sktransfer.estimators.classifier import TransferTextClassifier
    from sktransfer.estimators.language_model import LanguageModel
    from sktransfer.estimators.loading import load
    from sktransfer.estimators.pickling import skops_trusted_types
    from sktransfer.estimators.regressor import TransferTextRegressor
    from sktransfer.estimators.token_classifier import TransferTokenClassifier
    from sktransfer.estimators.vectorizer import TransferTextVectorizer

__version__ = "0.1.0.dev0"

__all__ = [
    "ComparisonResult",
    "EncoderHandle",
    "LanguageModel",
    "TransferAnswerExtractor",
    "TransferChoiceClassifier",
    "TransferTextClassifier",
    "TransferTextRegressor",
    "TransferTextVectorizer",
    "TransferTokenClassifier",
    "__version__",
    "available_encoders",
    "compare",
    "datasets",
    "load",
    "skops_trusted_types",
]

_HOME = {
    "ComparisonResult": "sktransfer.comparison.result",
    "EncoderHandle": "sktransfer.encoders",
    "LanguageModel": "sktransfer.estimators.language_model",
    "TransferAnswerExtractor": "sktransfer.estimators.answer_extractor",
    "TransferChoiceClassifier": "sktransfer.estimators.choice_classifier",
    "TransferTextClassifier": "sktransfer.estimators.classifier",
    "TransferTextRegressor": "sktransfer.estimators.regressor",
    "TransferTextVectorizer": "sktransfer.estimators.vectorizer",
    "TransferTokenClassifier": "sktransfer.estimators.token_classifier",
    "available_encoders": "sktransfer.encoders",
    "compare": "sktransfer.comparison.compare",
    "datasets": "sktransfer.datasets",
    "load": "sktransfer.estimators.loading",
    "skops_trusted_types": "sktransfer.estimators.pickling",
}

# Importing torch takes seconds, so a public name loads its module at first use (PEP 562). Type
# checkers read the imports above instead: to them a module-level __getattr__ would allow any name.
if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(_HOME[name])
        value = module if name == "datasets" else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
