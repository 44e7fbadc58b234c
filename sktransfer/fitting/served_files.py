"""Files of an exported estimator, which are read without PyTorch."""

from typing import Literal, NotRequired, TypedDict

FORMAT = 2
DOCUMENT_FILE = "serving.json"
NETWORK_FILE = "network.onnx"
TOKENIZER_FILE = "tokenizer.json"
LEXICAL_FILE = "lexical.npz"
WORDS_FILE = "lexical_words.json"
FILES = (DOCUMENT_FILE, NETWORK_FILE, TOKENIZER_FILE, LEXICAL_FILE, WORDS_FILE)
# Weights of networks above 2 GB.
WEIGHTS_FILE = f"{NETWORK_FILE}.data"


class Reading(TypedDict):
    """How rows of X become token ids."""

    n_columns: int
    max_length: int
    long_texts: Literal["window", "truncate"]
    symmetric: bool
    bi_encoder: bool
    missing: Literal["error", "empty"]
    prompt: str
    pad_id: int
    special_tokens: bool


class Labels(TypedDict):
    """Classes, and the dtype of their array."""

    values: list[str | int | float | bool]
    dtype: str


class Output(TypedDict):
    """What the network's outputs mean.

    Classes of either kind have `labels`; `is_flat` tells whether there is a single number per row,
    and `normalize` whether features have unit length.
    """

    kind: Literal["classes", "multilabel", "numbers", "features"]
    labels: NotRequired[Labels]
    is_flat: NotRequired[bool]
    normalize: NotRequired[bool]


class Document(TypedDict):
    """Content of `DOCUMENT_FILE`."""

    format: int
    version: str
    estimator: str
    reading: Reading
    output: Output
    has_lexical: bool
