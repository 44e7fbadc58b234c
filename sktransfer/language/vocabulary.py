"""Tokenizers learned from texts, for encoders that are trained from scratch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sktransfer.inputs.fast_tokenizer import FastTokenizer

if TYPE_CHECKING:
    import tokenizers

_UNKNOWN_WORD = "<unk>"
_UNKNOWN_PIECE = "[UNK]"
_N_BYTES = 256
# Where no vocab_size is given; words have no such limit.
_N_PIECES = 30_000
_MOST_CHARACTERS = 1_000


@dataclass(frozen=True)
class SpecialTokens:
    """Special tokens of an architecture.

    Attributes
    ----------
    prefix, separator, suffix : tuple of str
        Tokens before a text, between the two texts of a pair, and after it.
    pad : str
        Token that fills shorter windows; may be one of the others.
    mask : str, optional
        The mask token.
    """

    prefix: tuple[str, ...]
    separator: tuple[str, ...]
    suffix: tuple[str, ...]
    pad: str
    mask: str | None = None

    def names(self) -> list[str]:
        """All tokens, each once, the padding first."""
        mask = () if self.mask is None else (self.mask,)
        tokens = (self.pad, *self.prefix, *self.separator, *self.suffix, *mask)
        return list(dict.fromkeys(tokens))


SPECIAL_TOKENS = {
    "awd_lstm": SpecialTokens((), ("<eos>",), ("<eos>",), pad="<eos>"),
    # The start, delimiter and end of GPT-1's inputs.
    "gpt": SpecialTokens(("<s>",), ("<sep>",), ("<e>",), pad="<e>"),
    "bert": SpecialTokens(("[CLS]",), ("[SEP]",), ("[SEP]",), pad="[PAD]", mask="[MASK]"),
}


def train_tokenizer(
    texts: Iterable[str],
    *,
    architecture: Literal["awd_lstm", "gpt", "bert"],
    tokens: Literal["word", "bpe", "wordpiece"],
    vocab_size: int | None = None,
    min_frequency: int = 1,
) -> FastTokenizer:
    """Learn the vocabulary of texts.

    The same texts give the same vocabulary.

    Parameters
    ----------
    texts : iterable of str
        Read once, for "wordpiece" twice: an iterator is held in memory then.
    architecture : {"awd_lstm", "gpt", "bert"}
        Decides on the special tokens.
    tokens : {"word", "bpe", "wordpiece"}
        Words between white space, sorted by falling frequency and then by the alphabet; GPT-2's
        pieces of bytes, to which no text is unknown; or BERT's pieces of lower-case words.
    vocab_size : int, optional
        Most tokens, special ones included. By default 30,000 pieces, or all words.
    min_frequency : int, default=1
        How often a word, or the pair that a piece is merged of, has to occur.

    Returns
    -------
    FastTokenizer
        Its ids are 0 to `n_tokens` - 1, those of special tokens first.

    Raises
    ------
    TypeError
        If a text is not a str.
    ValueError
        If the texts hold no word that is frequent enough, or `vocab_size` is too small for
        the special tokens and the alphabet.

    Examples
    --------
    >>> tokenizer = train_tokenizer(
    ...     ["a good film", "a bad film"], architecture="awd_lstm", tokens="word"
    ... )
    >>> tokenizer.n_tokens
    6
    >>> tokenizer.encode(["a good plot"])
    [array([2, 5, 1], dtype=int32)]
    """
    if architecture not in SPECIAL_TOKENS:
        raise ValueError(
            f"architecture must be one of {', '.join(SPECIAL_TOKENS)}, got {architecture!r}."
        )
    if isinstance(texts, str):
        raise ValueError("texts must be an iterable of texts, got a single str; wrap it in a list.")
    if min_frequency < 1:
        raise ValueError(f"min_frequency must be at least 1, got {min_frequency}.")
    special = SPECIAL_TOKENS[architecture]
    if tokens == "word":
        backend = _train_words(texts, special, vocab_size, min_frequency)
    elif tokens == "bpe":
        backend = _train_bpe(texts, special, vocab_size or _N_PIECES, min_frequency)
    elif tokens == "wordpiece":
        backend = _train_wordpiece(texts, special, vocab_size or _N_PIECES, min_frequency)
    else:
        raise ValueError(f"tokens must be 'word', 'bpe' or 'wordpiece', got {tokens!r}.")
    pad_id = backend.token_to_id(special.pad)
    assert pad_id is not None
    return FastTokenizer(backend, pad_id=pad_id)


def _train_words(
    texts: Iterable[str], special: SpecialTokens, vocab_size: int | None, min_frequency: int
) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    first = list(dict.fromkeys([special.pad, _UNKNOWN_WORD, *special.names()]))
    _check_size(vocab_size, len(first) + 1)
    counter = Tokenizer(models.WordLevel(unk_token=_UNKNOWN_WORD))
    counter.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(
        vocab_size=1 << 40, min_frequency=min_frequency, special_tokens=[], show_progress=False
    )
    counter.train_from_iterator(_checked(texts), trainer)
    counts: dict[str, int] = counter.get_vocab()
    words = [word for word in sorted(counts, key=counts.__getitem__) if word not in first]
    if not words:
        raise ValueError(
            f"texts hold no word with at least min_frequency={min_frequency} occurrences: give "
            "more texts, or a lower min_frequency."
        )
    names = [*first, *words][:vocab_size]
    vocabulary = {name: number for number, name in enumerate(names)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN_WORD))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Not the unknown word, which a decoded text shows.
    backend.add_special_tokens(special.names())
    backend.post_processor = _template(special, backend)
    return backend


def _train_bpe(
    texts: Iterable[str], special: SpecialTokens, vocab_size: int, min_frequency: int
) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    _check_size(vocab_size, len(special.names()) + _N_BYTES)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=special.names(),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(_checked(texts), trainer)
    # The first leaves the space out of the spans of characters, as GPT-2's does.
    parts = [processors.ByteLevel(trim_offsets=True), _template(special, backend)]
    backend.post_processor = processors.Sequence(parts)
    return backend


def _train_wordpiece(
    texts: Iterable[str], special: SpecialTokens, vocab_size: int, min_frequency: int
) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer, decoders, models, trainers

    if iter(texts) is texts:
        texts = list(texts)
    first = list(dict.fromkeys([special.pad, _UNKNOWN_PIECE, *special.names()]))
    _check_size(vocab_size, len(first) + 2)
    room = vocab_size - len(first)
    alphabet, continuing = _alphabet(_checked(texts), min(_MOST_CHARACTERS, room // 2))
    learner = _as_bert(Tokenizer(models.WordPiece(unk_token=_UNKNOWN_PIECE)))
    trainer = trainers.WordPieceTrainer(
        vocab_size=room,
        min_frequency=min_frequency,
        # Met in the order of a hash table, these would get other ids in every process, and
        # equally frequent pairs would be merged in another order.
        special_tokens=[f"##{character}" for character in continuing],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner.train_from_iterator(_checked(texts), trainer)
    numbers: dict[str, int] = learner.get_vocab()
    pieces = [piece for piece in sorted(numbers, key=numbers.__getitem__) if piece not in first]
    vocabulary = {name: number for number, name in enumerate([*first, *pieces])}
    backend = _as_bert(Tokenizer(models.WordPiece(vocabulary, unk_token=_UNKNOWN_PIECE)))
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(first)
    backend.post_processor = _template(special, backend)
    return backend


def _alphabet(texts: Iterable[str], n_most: int) -> tuple[list[str], list[str]]:
    """The most frequent characters, and those of them that can continue a word."""
    from tokenizers import Tokenizer, models

    bert = _as_bert(Tokenizer(models.WordPiece()))
    raw: Counter[str] = Counter()
    for text in texts:
        raw.update(text)
    counts: Counter[str] = Counter()
    for character, count in raw.items():
        for part in "".join(bert.normalizer.normalize_str(character).split()):
            counts[part] += count
    frequent = sorted(sorted(counts), key=counts.__getitem__, reverse=True)[:n_most]
    alphabet = sorted(frequent)
    splits = bert.pre_tokenizer.pre_tokenize_str
    return alphabet, [
        character
        for character in alphabet
        if len(splits(bert.normalizer.normalize_str(f"a{character}"))) == 1
    ]


def _as_bert(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    from tokenizers import normalizers, pre_tokenizers

    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend


def _template(special: SpecialTokens, backend: tokenizers.Tokenizer) -> Any:
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(
        single=[*special.prefix, "$A", *special.suffix],
        pair=[*special.prefix, "$A", *special.separator, "$B:1", *special.suffix],
        special_tokens=[(name, backend.token_to_id(name)) for name in special.names()],
    )


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """The texts; at their end an error where none held a word."""
    has_words = False
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"Row {number} of texts is of type {type(text).__name__}, not str.")
        has_words = has_words or bool(text.strip())
        yield text
    if not has_words:
        raise ValueError("texts hold no words at all: there is no vocabulary to learn.")


def _check_size(vocab_size: int | None, least: int) -> None:
    if vocab_size is not None and vocab_size < least:
        raise ValueError(
            f"vocab_size={vocab_size} is too small: special tokens and alphabet take {least}."
        )
