import subprocess
import sys

import pytest

from sktransfer.language.vocabulary import train_tokenizer

TEXTS = [
    "the good film was the best film",
    "the bad plot , and the worst acting",
    "Éternel films' <unk> acting",
    "zebra zebras number 10 and number 11",
]
KINDS = [
    (architecture, tokens)
    for architecture in ("awd_lstm", "gpt", "bert")
    for tokens in ("word", "bpe", "wordpiece")
]


def names(tokenizer):
    return [tokenizer.backend.id_to_token(number) for number in range(tokenizer.n_tokens)]


@pytest.mark.parametrize(("architecture", "tokens"), KINDS)
def test_ids_are_contiguous_and_specials_come_out(architecture, tokens):
    tokenizer = train_tokenizer(TEXTS, architecture=architecture, tokens=tokens)
    vocabulary = tokenizer.backend.get_vocab()
    assert sorted(vocabulary.values()) == list(range(tokenizer.n_tokens))

    def ids(*special):
        return tuple(vocabulary[name] for name in special)

    around = {
        "awd_lstm": ([], ["<eos>"], ["<eos>"], "<eos>"),
        "gpt": (["<s>"], ["<sep>"], ["<e>"], "<e>"),
        "bert": (["[CLS]"], ["[SEP]"], ["[SEP]"], "[PAD]"),
    }[architecture]
    assert tokenizer.prefix == ids(*around[0])
    assert tokenizer.separator == ids(*around[1])
    assert tokenizer.suffix == ids(*around[2])
    assert tokenizer.pad_id == vocabulary[around[3]]
    assert (tokenizer.mask_id is None) == (architecture != "bert")


def test_words_are_sorted_by_frequency_then_alphabet():
    tokenizer = train_tokenizer(TEXTS, architecture="awd_lstm", tokens="word")
    assert names(tokenizer)[:8] == [
        "<eos>", "<unk>", "the", "acting", "and", "film", "number", ",",
    ]  # fmt: skip
    rest = names(tokenizer)[7:]
    assert rest == sorted(rest)
    assert tokenizer.unknown_id == 1


def test_words_limits():
    frequent = train_tokenizer(TEXTS, architecture="awd_lstm", tokens="word", min_frequency=3)
    assert names(frequent) == ["<eos>", "<unk>", "the"]
    few = train_tokenizer(TEXTS, architecture="awd_lstm", tokens="word", vocab_size=4)
    assert names(few) == ["<eos>", "<unk>", "the", "acting"]


def test_unknown_word_of_the_texts_is_the_unknown_id():
    tokenizer = train_tokenizer(TEXTS, architecture="awd_lstm", tokens="word")
    (ids,) = tokenizer.encode(["the <unk> unheard film"])
    assert ids[1] == ids[2] == tokenizer.unknown_id
    assert tokenizer.decode([*ids, *tokenizer.suffix]) == "the <unk> <unk> film"


def test_bytes_know_every_text():
    tokenizer = train_tokenizer(TEXTS, architecture="gpt", tokens="bpe", vocab_size=300)
    assert tokenizer.n_tokens == 300
    text = "Ünheard  of, 日本\n films"
    (ids,) = tokenizer.encode([text])
    assert tokenizer.decode(ids) == text
    (last,) = tokenizer.encode([" the"])
    assert len(last) < len(" the")
    _, (spans,) = tokenizer.encode_spans(["a the"])
    assert all("a the"[start:stop].strip() for start, stop in spans)


def test_wordpieces_are_lower_case():
    tokenizer = train_tokenizer(TEXTS, architecture="bert", tokens="wordpiece", vocab_size=90)
    assert tokenizer.n_tokens <= 90
    assert names(tokenizer)[0] == "[PAD]"
    (first,), (second,) = tokenizer.encode(["Éternel FILM"]), tokenizer.encode(["eternel film"])
    assert first.tolist() == second.tolist()
    assert tokenizer.unknown_id not in first
    assert tokenizer.decode(first) == "eternel film"
    assert tokenizer.encode(["日"])[0].tolist() == [tokenizer.unknown_id]
    # Pieces are no special tokens: a text may hold their names.
    assert len(tokenizer.encode(["##a"])[0]) != 1


@pytest.mark.parametrize("tokens", ["word", "bpe", "wordpiece"])
def test_iterators_give_the_same(tokens):
    first = train_tokenizer(TEXTS, architecture="bert", tokens=tokens)
    second = train_tokenizer(iter(TEXTS), architecture="bert", tokens=tokens)
    assert first.backend.to_str() == second.backend.to_str()


def test_processes_give_the_same():
    """Hash tables are seeded anew in each process."""
    program = (
        "import hashlib; from sktransfer.language.vocabulary import train_tokenizer;"
        "texts = [f'ab{n % 7}x zebra{n % 5} q{n}' for n in range(60)];"
        "print(*[hashlib.md5(str(sorted(train_tokenizer(texts, architecture='gpt', tokens=t,"
        "vocab_size=v).backend.get_vocab().items())).encode()).hexdigest()"
        " for t, v in (('word', None), ('bpe', 300), ('wordpiece', 70))])"
    )
    command = [sys.executable, "-c", program]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != ""


@pytest.mark.parametrize("tokens", ["word", "bpe", "wordpiece"])
@pytest.mark.parametrize("texts", [[], [""], [" \n", ""]])
def test_no_words(texts, tokens):
    with pytest.raises(ValueError, match="texts hold no words at all"):
        train_tokenizer(texts, architecture="bert", tokens=tokens)


def test_no_frequent_words():
    with pytest.raises(ValueError, match="min_frequency=9"):
        train_tokenizer(TEXTS, architecture="awd_lstm", tokens="word", min_frequency=9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": "bpe", "vocab_size": 100}, "vocab_size=100 is too small"),
        ({"tokens": "wordpiece", "vocab_size": 5}, "vocab_size=5 is too small"),
        ({"tokens": "word", "vocab_size": 2}, "vocab_size=2 is too small"),
        ({"tokens": "letters"}, "tokens must be"),
        ({"tokens": "word", "architecture": "rnn"}, "architecture must be"),
        ({"tokens": "word", "min_frequency": 0}, "min_frequency must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(TEXTS, **({"architecture": "bert"} | arguments))


@pytest.mark.parametrize("tokens", ["word", "bpe", "wordpiece"])
def test_a_text_that_is_none(tokens):
    with pytest.raises(TypeError, match="Row 1 of texts is of type int"):
        train_tokenizer(["good", 3], architecture="bert", tokens=tokens)
    with pytest.raises(ValueError, match="wrap it in a list"):
        train_tokenizer("good", architecture="bert", tokens=tokens)
