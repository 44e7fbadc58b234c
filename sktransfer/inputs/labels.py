"""Labels read as texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_SEPARATORS = re.compile(r"[\W_]+")
_WORD_BREAKS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_LETTERS = re.compile(r"[\W\d_]+")
# The usual short forms of polarity, which an encoder's vocabulary spells in pieces.
_POLARITIES = {"neg": "negative", "neu": "neutral", "pos": "positive"}


def label_words(labels: Sequence[Any]) -> list[str] | None:
    """Labels as the words they are made of.

    Parameters
    ----------
    labels : sequence
        Distinct labels.

    Returns
    -------
    list of str or None
        A text for each label; None if the labels are codes rather than words: not all of them
        strings, one with fewer than two letters, or two that differ in digits only.

    Examples
    --------
    >>> from sktransfer.inputs import label_words
    >>> label_words(["sci.space", "MeanOfTransportation", "lost_card"])
    ['sci space', 'mean of transportation', 'lost card']
    >>> label_words(["neg", "neu", "pos"])
    ['negative', 'neutral', 'positive']
    >>> label_words(["class_1", "class_2"]) is None
    True
    """
    if not all(isinstance(label, str) for label in labels):
        return None
    letters = [_NO_LETTERS.sub("", label).lower() for label in labels]
    if min(map(len, letters)) < 2 or len(set(letters)) < len(letters):
        return None
    words = [_SEPARATORS.sub(" ", _WORD_BREAKS.sub(" ", label)).strip().lower() for label in labels]
    # One of them alone may stand for something else, such as a part of speech.
    if {"neg", "pos"} <= set(words):
        words = [_POLARITIES.get(word, word) for word in words]
    return words
