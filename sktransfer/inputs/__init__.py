"""Inputs: check texts, tokenize them to ragged windows, and collate batches.

What needs torch or scikit-learn is loaded when it is first asked for, so that importing this
package imports neither.
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
from sktransfer.inputs.columns import check_columns, encode_columns, shorten_longest
from sktransfer.inputs.fast_tokenizer import FastTokenizer
from sktransfer.inputs.formats import RowFormat, TextFormat
from sktransfer.inputs.grouping import epoch_batches, split_by_tokens
from sktransfer.inputs.labels import label_words
from sktransfer.inputs.padding import PaddedWindows, pad_rows
from sktransfer.inputs.passages import PassageFormat, encode_passages
from sktransfer.inputs.prompts import prompt_of, prompted, unprompted
from sktransfer.inputs.rows import (
    EncodedRows,
    ScoredUnits,
    distinct,
    encode_rows,
    join_ranges,
)
from sktransfer.inputs.texts import Row, check_texts, is_missing
from sktransfer.inputs.tokens import Tokenizer, content_ids
from sktransfer.inputs.words import WordFormat, check_tags, check_tags_of_words, check_words

if TYPE_CHECKING:
    from sktransfer.inputs.batches import Batch, collate_rows, collate_windows
    from sktransfer.inputs.targets import (
        check_class_weight,
        check_indicators,
        check_labels,
        check_numbers,
        check_weights,
        label_array,
    )

__all__ = [
    "Batch",
    "ChoiceFormat",
    "EncodedRows",
    "FastTokenizer",
    "PaddedWindows",
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
    "pad_rows",
    "prompt_of",
    "prompted",
    "shorten_longest",
    "split_by_tokens",
    "unprompted",
    "whole_letters",
]

_LAZY = {
    "Batch": "batches",
    "check_class_weight": "targets",
    "check_indicators": "targets",
    "check_labels": "targets",
    "check_numbers": "targets",
    "check_weights": "targets",
    "collate_rows": "batches",
    "collate_windows": "batches",
    "label_array": "targets",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
