"""Prompts: what a checkpoint expects before each text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs.tokens import Tokenizer


class PromptedTokenizer:
    """A tokenizer whose windows begin with a prompt.

    The tokens of the prompt are part of the prefix, so that each window of a long text has them,
    and the text is tokenized as it is behind the prompt.

    Parameters
    ----------
    tokenizer : Tokenizer
        Tokenizer of the encoder.
    prompt : str
        Such as ``"query: "``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs.prompts import PromptedTokenizer
    >>> class Letters:
    ...     prefix, suffix, separator, pad_id = (1,), (2,), (), 0
    ...
    ...     def encode(self, texts):
    ...         return [np.array([ord(c) for c in t], dtype=np.int32) for t in texts]
    >>> tokenizer = PromptedTokenizer(Letters(), "a:")
    >>> tokenizer.prefix, tokenizer.encode(["b"])
    ((1, 97, 58), [array([98], dtype=int32)])
    """

    def __init__(self, tokenizer: Tokenizer, prompt: str) -> None:
        self.tokenizer, self.prompt = tokenizer, prompt
        # A space at its end may belong to the first token of the text.
        self._ids = tuple(tokenizer.encode([prompt.rstrip()])[0].tolist())
        self.pad_id = tokenizer.pad_id
        self.prefix = (*tokenizer.prefix, *self._ids)
        self.suffix, self.separator = tokenizer.suffix, tokenizer.separator

    @property
    def mask_id(self) -> int | None:
        """Id of the mask token."""
        return self.tokenizer.mask_id

    @property
    def unknown_id(self) -> int | None:
        """Id of the token for what the vocabulary lacks."""
        return self.tokenizer.unknown_id

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary, special tokens included."""
        return self.tokenizer.n_tokens

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Ids of each text behind the prompt, without those of the prompt."""
        n_prompt = len(self._ids)
        encoded = self.tokenizer.encode([self.prompt + text for text in texts])
        return [ids[n_prompt:] for ids in encoded]

    def encode_spans(
        self, texts: Sequence[str]
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int64]]]:
        """As those of the tokenizer itself."""
        return self.tokenizer.encode_spans(texts)

    def encode_words(
        self, texts: Sequence[str]
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]]:
        """As those of the tokenizer itself."""
        return self.tokenizer.encode_words(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the tokens, without special ones."""
        return self.tokenizer.decode(ids)

    def __repr__(self) -> str:
        return f"PromptedTokenizer({self.tokenizer!r}, {self.prompt!r})"


def prompted(tokenizer: Tokenizer, prompt: str) -> Tokenizer:
    """`tokenizer` with `prompt` instead of its present one."""
    base = unprompted(tokenizer)
    if not prompt:
        return base
    return tokenizer if prompt_of(tokenizer) == prompt else PromptedTokenizer(base, prompt)


def unprompted(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer without its prompt."""
    return tokenizer.tokenizer if isinstance(tokenizer, PromptedTokenizer) else tokenizer


def prompt_of(tokenizer: Tokenizer) -> str:
    """Prompt of a tokenizer, empty if it has none."""
    return tokenizer.prompt if isinstance(tokenizer, PromptedTokenizer) else ""
