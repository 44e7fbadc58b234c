import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sktransfer.encoders import resolve_encoder
from sktransfer.inputs.fast_tokenizer import FastTokenizer


def word_tokenizer(post_processor=None):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "<s>": 2, "</s>": 3, "good": 4, "film": 5}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["<s>", "</s>"])
    if post_processor is not None:
        from tokenizers.processors import TemplateProcessing

        specials = [("<s>", 2), ("</s>", 3)]
        backend.post_processor = TemplateProcessing(post_processor, special_tokens=specials)
    return backend


@pytest.mark.parametrize(
    ("template", "prefix", "suffix"),
    [
        (None, (), ()),
        ("<s> $A", (2,), ()),
        ("$A </s>", (), (3,)),
        ("<s> $A </s>", (2,), (3,)),
        ("<s> <s> $A </s>", (2, 2), (3,)),
    ],
)
def test_special_tokens(template, prefix, suffix):
    tokenizer = FastTokenizer(word_tokenizer(template), pad_id=0)
    assert (tokenizer.prefix, tokenizer.suffix) == (prefix, suffix)
    (ids,) = tokenizer.encode(["good film"])
    assert ids.tolist() == [4, 5]


def test_padding_and_truncation_of_the_file_are_off():
    backend = word_tokenizer()
    backend.enable_padding(length=8)
    backend.enable_truncation(4)
    tokenizer = FastTokenizer(backend, pad_id=0)
    assert [len(ids) for ids in tokenizer.encode(["good " * 9, "good", ""])] == [9, 1, 0]


def test_ids_are_int32_arrays():
    (ids,) = FastTokenizer(word_tokenizer(), pad_id=0).encode(["good"])
    assert isinstance(ids, np.ndarray)
    assert ids.dtype == np.int32


def test_no_texts():
    assert FastTokenizer(word_tokenizer(), pad_id=0).encode([]) == []


def test_pickle_and_copy():
    tokenizer = FastTokenizer(word_tokenizer("<s> $A"), pad_id=0)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert (again.prefix, again.pad_id) == (tokenizer.prefix, tokenizer.pad_id)
    assert np.array_equal(again.encode(["good film"])[0], [4, 5])
    assert copy.deepcopy(tokenizer) is tokenizer


def test_threads_share_it(tiny_encoder):
    _, tokenizer = resolve_encoder(tiny_encoder).load()
    texts = ["the good film", "a bad plot and a dull scene"] * 50
    expected = [ids.tolist() for ids in tokenizer.encode(texts)]
    with ThreadPoolExecutor(4) as pool:
        for encoded in pool.map(lambda _: tokenizer.encode(texts), range(16)):
            assert [ids.tolist() for ids in encoded] == expected


def test_tiny_encoder_knows_its_words(tiny_encoder, tiny_decoder):
    _, wordpiece = resolve_encoder(tiny_encoder).load()
    assert len(wordpiece.prefix) == len(wordpiece.suffix) == 1
    assert [len(ids) for ids in wordpiece.encode(["good", "zq", ""])] == [1, 2, 0]
    _, byte_level = resolve_encoder(tiny_decoder).load()
    assert (byte_level.prefix, byte_level.suffix) == ((), ())
    assert byte_level.encode([""])[0].size == 0


def test_vocabulary_without_tokenizer_json(tiny_encoder, tmp_path):
    import json
    import shutil
    from pathlib import Path

    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "plain"))
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    _, tokenizer = resolve_encoder(folder).load()
    _, expected = resolve_encoder(tiny_encoder).load()
    assert (tokenizer.prefix, tokenizer.suffix) == (expected.prefix, expected.suffix)
    text = "The movie was zorbing!"
    assert np.array_equal(tokenizer.encode([text])[0], expected.encode([text])[0])


def test_folder_without_any_tokenizer(tiny_encoder, tmp_path):
    import shutil
    from pathlib import Path

    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "bare"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"has no tokenizer\.json"):
        resolve_encoder(folder).load()


def test_words_of_wordpieces(tiny_encoder):
    _, tokenizer = resolve_encoder(tiny_encoder).load()
    texts = ["good zq, film", "", "a[MASK][MASK]"]
    ids, words = tokenizer.encode_words(texts)
    assert [row.tolist() for row in ids] == [row.tolist() for row in tokenizer.encode(texts)]
    assert words[0].tolist() == [0, 1, 1, 2, 3]
    assert words[1].shape == (0,)
    assert words[2].tolist() == [0, 1, 2]
    assert {row.dtype for row in (*ids, *words)} == {np.dtype(np.int32)}


def test_words_of_bytes(tiny_decoder):
    _, tokenizer = resolve_encoder(tiny_decoder).load()
    ((ids,), (words,)) = tokenizer.encode_words(["good zqx"])
    assert len(ids) == len(words) > 2
    assert words[0] == 0
    assert set(words.tolist()) == {0, 1}


def test_every_token_is_a_word_without_pre_tokenizer():
    backend = word_tokenizer()
    backend.pre_tokenizer = None
    backend.add_tokens(["good", "film"])
    _, (words,) = FastTokenizer(backend, pad_id=0).encode_words(["goodfilm"])
    assert words.tolist() == [0, 1]


def test_decode_leaves_special_tokens_out(tiny_encoder, tiny_decoder):
    _, wordpiece = resolve_encoder(tiny_encoder).load()
    ids = [*wordpiece.prefix, *wordpiece.encode(["good zq film"])[0], *wordpiece.suffix]
    assert wordpiece.decode(ids) == "good zq film"
    _, byte_level = resolve_encoder(tiny_decoder).load()
    assert byte_level.decode(byte_level.encode(["Ünïque text"])[0]) == "Ünïque text"


def test_known_ids(tiny_encoder, tiny_decoder):
    _, wordpiece = resolve_encoder(tiny_encoder).load()
    assert (wordpiece.mask_id, wordpiece.unknown_id) == (4, 1)
    assert wordpiece.n_tokens == wordpiece.backend.get_vocab_size()
    _, byte_level = resolve_encoder(tiny_decoder).load()
    assert (byte_level.mask_id, byte_level.unknown_id) == (None, None)
