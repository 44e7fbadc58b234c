"""What goes in: texts checked, encoded to ragged windows, put into batches.

The batch functions need torch and live in :mod:`sktransfer.inputs._batches` and
:mod:`sktransfer.inputs._masking`; they are loaded when first asked for, so that importing this
package imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sktransfer.inputs._answers import (
    accepted_texts,
    answer_f1,
    answer_match,
    answer_words,
    check_answers,
    locate_answers,
    whole_letters,
)
from sktransfer.inputs._choices import ChoiceForm
from sktransfer.inputs._columns import check_columns, encode_columns
from sktransfer.inputs._corpus import (
    Corpus,
    TokenizedCorpus,
    TokenizedText,
    WordTokenizer,
    check_corpus,
)
from sktransfer.inputs._forms import Form, TextForm
from sktransfer.inputs._labels import label_words
from sktransfer.inputs._lanes import LaneBlock, balanced_run, lanes
from sktransfer.inputs._passages import PassageForm, encode_passages
from sktransfer.inputs._rows import (
    EncodedRows,
    RowTokenizer,
    Units,
    distinct,
    encode_rows,
    join_ranges,
)
from sktransfer.inputs._targets import (
    check_class_weight,
    check_indicators,
    check_labels,
    check_numbers,
    check_weights,
    label_array,
)
from sktransfer.inputs._texts import Row, check_texts, is_missing
from sktransfer.inputs._tokens import content_ids
from sktransfer.inputs._words import WordForm, check_tags, check_tags_of_words, check_words

if TYPE_CHECKING:
    from sktransfer.inputs._batches import (
        Batch,
        collate_rows,
        collate_windows,
        epoch_batches,
        split_by_tokens,
    )
    from sktransfer.inputs._lexical import LexicalColumns, LexicalVectorizer
    from sktransfer.inputs._masking import MaskableBatch, mask_tokens, masked_windows, n_windows

__all__ = [
    "Batch",
    "ChoiceForm",
    "Corpus",
    "EncodedRows",
    "Form",
    "LaneBlock",
    "LexicalColumns",
    "LexicalVectorizer",
    "MaskableBatch",
    "PassageForm",
    "Row",
    "RowTokenizer",
    "TextForm",
    "TokenizedCorpus",
    "TokenizedText",
    "Units",
    "WordForm",
    "WordTokenizer",
    "accepted_texts",
    "answer_f1",
    "answer_match",
    "answer_words",
    "balanced_run",
    "check_answers",
    "check_class_weight",
    "check_columns",
    "check_corpus",
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
    "lanes",
    "locate_answers",
    "mask_tokens",
    "masked_windows",
    "n_windows",
    "split_by_tokens",
    "whole_letters",
]

_LAZY = {
    "Batch": "_batches",
    "collate_rows": "_batches",
    "collate_windows": "_batches",
    "epoch_batches": "_batches",
    "split_by_tokens": "_batches",
    "LexicalColumns": "_lexical",
    "LexicalVectorizer": "_lexical",
    "MaskableBatch": "_masking",
    "mask_tokens": "_masking",
    "masked_windows": "_masking",
    "n_windows": "_masking",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
