"""Inputs: check texts, tokenize them to ragged windows, and collate batches.

The batch functions need torch and live in :mod:`sktransfer.inputs.batches`; they are loaded when
first asked for, so that importing this package imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sktransfer.inputs.answers import (
    accepted_texts,
    answer_f1,
    answer_match,
    answer_words,
    check_answers,
    locate_answers,
    whole_letters,
)
from sktransfer.inputs.choices import ChoiceFormat
from sktransfer.inputs.columns import check_columns, encode_columns
from sktransfer.inputs.formats import RowFormat, TextFormat
from sktransfer.inputs.labels import label_words
from sktransfer.inputs.passages import PassageFormat, encode_passages
from sktransfer.inputs.prompts import prompt_of, prompted, unprompted
from sktransfer.inputs.rows import (
    EncodedRows,
    ScoredUnits,
    distinct,
    encode_rows,
    join_ranges,
)
from sktransfer.inputs.targets import (
    check_class_weight,
    check_indicators,
    check_labels,
    check_numbers,
    check_weights,
    label_array,
)
from sktransfer.inputs.texts import Row, check_texts, is_missing
from sktransfer.inputs.tokens import Tokenizer, content_ids
from sktransfer.inputs.words import WordFormat, check_tags, check_tags_of_words, check_words

if TYPE_CHECKING:
    from sktransfer.inputs.batches import (
        Batch,
        collate_rows,
        collate_windows,
        epoch_batches,
        split_by_tokens,
    )

__all__ = [
    "Batch",
    "ChoiceFormat",
    "EncodedRows",
    "PassageFormat",
    "Row",
    "RowFormat",
    "ScoredUnits",
    "TextFormat",
    "Tokenizer",
    "WordFormat",
    "accepted_texts",
    "answer_f1",
    "answer_match",
    "answer_words",
    "check_answers",
    "check_class_weight",
    "check_columns",
    "check_indicators",
    "check_labels",
    "check_numbers",
    "check_tags",
    "check_tags_of_words",
    "check_texts",
    "check_weights",
    "check_words",
    "collate_rows",
    "collate_windows",
    "content_ids",
    "distinct",
    "encode_columns",
    "encode_passages",
    "encode_rows",
    "epoch_batches",
    "is_missing",
    "join_ranges",
    "label_array",
    "label_words",
    "locate_answers",
    "prompt_of",
    "prompted",
    "split_by_tokens",
    "unprompted",
    "whole_letters",
]

_LAZY = {
    "Batch": "batches",
    "collate_rows": "batches",
    "collate_windows": "batches",
    "epoch_batches": "batches",
    "split_by_tokens": "batches",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
