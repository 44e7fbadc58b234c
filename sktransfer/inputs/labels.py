"""Labels read as texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

_SEPARATORS = re.compile(r"[\W_]+")
_WORD_BREAKS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_LETTERS = re.compile(r"[\W\d_]+")
# The usual short forms of polarity, which an encoder's vocabulary spells in pieces.
_POLARITIES = {"neg": "negative", "neu": "neutral", "pos": "positive"}


def label_words(labels: Sequence[Any]) -> dict[Any, str]:
    """Labels as the words they are made of.

    Parameters
    ----------
    labels : sequence
        Distinct labels.

    Returns
    -------
    dict of label to str
        A text for each label that consists of words. Codes have none: labels that are not strings,
        those with fewer than two letters, and those that differ from another one in digits only.

    Examples
    --------
    >>> from sktransfer.inputs import label_words
    >>> label_words(["sci.space", "MeanOfTransportation", "lost_card"]).values()
    dict_values(['sci space', 'mean of transportation', 'lost card'])
    >>> label_words(["neg", "neu", "pos"]).values()
    dict_values(['negative', 'neutral', 'positive'])
    >>> label_words(["class_1", "class_2", "other", 7])
    {'other': 'other'}
    """
    letters = {
        label: _NO_LETTERS.sub("", label).lower() for label in labels if isinstance(label, str)
    }
    counts = Counter(letters.values())
    words = {
        label: _SEPARATORS.sub(" ", _WORD_BREAKS.sub(" ", label)).strip().lower()
        for label, found in letters.items()
        if len(found) >= 2 and counts[found] == 1
    }
    # One of them alone may stand for something else, such as a part of speech.
    if {"neg", "pos"} <= set(words.values()):
        words = {label: _POLARITIES.get(word, word) for label, word in words.items()}
    return words
