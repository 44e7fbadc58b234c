"""How language models are built, trained and scored, for `LanguageModel` and `adapt_epochs`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sktransfer.encoders import (
    Encoder,
    EncoderHandle,
    LSTMEncoder,
    Tokenizer,
    TwoWayEncoder,
    new_lm_head,
    new_lstm,
    new_transformer,
)
from sktransfer.inputs import Row
from sktransfer.language.checkpoint import Checkpoint
from sktransfer.language.corpus import Corpus, TokenizedCorpus, check_corpus
from sktransfer.language.objectives import (
    LanguageObjective,
    MaskedObjective,
    NextTokenObjective,
    cross_entropy,
)
from sktransfer.language.vocabulary import train_tokenizer
from sktransfer.nn import LanguageNetwork, LMHead, frequency_cutoffs, own_weights
from sktransfer.runtime import device_memory
from sktransfer.training import TrainingPlan, TrainingResult, train

ARCHITECTURES = ("awd_lstm", "gpt", "bert")
Tokens = Literal["word", "bpe", "wordpiece"]
_TOKENS: dict[str, Tokens] = {"awd_lstm": "word", "gpt": "bpe", "bert": "wordpiece"}


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network that is trained from scratch."""

    embedding_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    max_length: int
    dropout: float


@dataclass(frozen=True)
class PretrainingStart:
    """What a training starts from: a tokenizer, and an encoder for each reading direction."""

    name: str
    tokenizer: Tokenizer
    encoders: list[Encoder]


@dataclass(frozen=True)
class LanguageTask:
    """What is predicted, in which portions.

    Attributes
    ----------
    batch_size, length : int
        Windows or streams of a step, and tokens of each.
    mask_fraction : float
        Share of the tokens that a bidirectional encoder predicts.
    whole_words : bool
        Whether all tokens of a word are hidden together.
    """

    batch_size: int
    length: int
    mask_fraction: float = 0.15
    whole_words: bool = False


# Streams or windows of a step.
BATCH_SIZE = 32
# A new head on a trained encoder has everything to learn.
_NEW_HEAD_FACTOR = 10.0
# What its bias starts from, and what counts for a token that is not among them.
_COUNTED_TOKENS, _UNSEEN_COUNT = 1_000_000, 0.1


def learning_rate_for(encoder: Encoder, *, from_scratch: bool) -> float:
    """Peak rate: a trained network keeps what it knows at a lower one."""
    if encoder.is_recurrent:
        return 2e-3 if from_scratch else 1e-3
    return 1e-3 if from_scratch else 1e-4


@dataclass(frozen=True)
class LanguageRun:
    """Tokenizer, task, device and precision of one training or scoring."""

    tokenizer: Tokenizer
    task: LanguageTask
    device: torch.device
    dtype: torch.dtype


def from_checkpoint(handle: EncoderHandle) -> PretrainingStart:
    """A pretrained encoder, with its own language-model head where it has one."""
    encoder, tokenizer = handle.load_shared(lm_head=True)
    return PretrainingStart(handle.name, tokenizer, directions_of(encoder))


def from_scratch(
    architecture: Literal["awd_lstm", "gpt", "bert"],
    corpus: Corpus,
    sizes: Sizes,
    *,
    direction: Literal["forward", "backward", "both"],
    tokens: Tokens | Literal["auto"],
    vocab_size: int | None,
    min_frequency: int,
) -> PretrainingStart:
    """Vocabulary of `corpus`, and random weights drawn from PyTorch's generator as it is."""
    if direction != "forward" and architecture != "awd_lstm":
        raise ValueError(f"direction={direction!r} is for architecture='awd_lstm' only.")
    tokenizer = train_tokenizer(
        corpus,
        architecture=architecture,
        tokens=_TOKENS[architecture] if tokens == "auto" else tokens,
        vocab_size=vocab_size,
        min_frequency=min_frequency,
    )
    if architecture != "awd_lstm":
        transformer = new_transformer(
            architecture,
            n_tokens=tokenizer.n_tokens,
            hidden_size=sizes.hidden_size,
            n_layers=sizes.n_layers,
            n_heads=sizes.n_heads,
            max_length=sizes.max_length,
            dropout=sizes.dropout,
            pad_id=tokenizer.pad_id,
        )
        if architecture == "gpt":  # every token is predicted, and ids go by frequency
            head = with_lm_head(transformer).lm_head
            assert head is not None
            cutoffs = frequency_cutoffs(tokenizer.n_tokens)
            transformer.lm_head = LMHead(replace(head.shape, cutoffs=cutoffs))
        return PretrainingStart(architecture, tokenizer, [transformer])
    ways = ("forward", "backward") if direction == "both" else (direction,)
    encoders: list[Encoder] = [
        new_lstm(
            n_tokens=tokenizer.n_tokens,
            embedding_size=sizes.embedding_size,
            hidden_size=sizes.hidden_size,
            n_layers=sizes.n_layers,
            dropout=sizes.dropout,
            reads_backward=way == "backward",
        )
        for way in ways
    ]
    return PretrainingStart(architecture, tokenizer, encoders)


def adapted(
    handle: EncoderHandle,
    texts: Sequence[Row],
    unlabeled: Any,
    n_epochs: int,
    max_length: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
    rng: np.random.Generator,
) -> tuple[Encoder, Tokenizer]:
    """Encoder of `handle` after language modelling on `texts` and `unlabeled` ones.

    The second stage of ULMFiT (Howard and Ruder 2018, section 3.2).
    """
    known = [text for row in texts for text in ([row] if isinstance(row, str) else row) if text]
    extra: Iterable[str] = ()
    if unlabeled is not None:
        extra = check_corpus(unlabeled, name="unlabeled")
    corpus = Corpus(_Joined(known, extra))
    start = from_checkpoint(handle)
    for encoder in start.encoders:
        plan = TrainingPlan(
            n_epochs=n_epochs,
            batch_size=BATCH_SIZE,
            learning_rate=learning_rate_for(encoder, from_scratch=False),
            layer_decay=1.0,
            weight_decay=0.01,
            schedule="linear",
            warmup_fraction=0.1,
            trainable_layers="all",
            gradual_unfreezing=False,
        )
        run = LanguageRun(start.tokenizer, LanguageTask(BATCH_SIZE, max_length), device, dtype)
        result = train_language(encoder, corpus, run, plan, rng=rng, on_epoch_end=lambda *_: False)
        if result.interrupted:
            raise KeyboardInterrupt
    return joined(start.encoders), start.tokenizer


def with_lm_head(encoder: Encoder) -> Encoder:
    """`encoder` itself, with a new language-model head if it had none."""
    if encoder.lm_head is None:
        encoder.lm_head = new_lm_head(encoder)
    return encoder


def directions_of(encoder: Encoder) -> list[Encoder]:
    """The encoders, one a reading direction, that `encoder` consists of."""
    if not isinstance(encoder, TwoWayEncoder):
        return [encoder]
    return [*encoder.directions_apart()]


def joined(encoders: list[Encoder]) -> Encoder:
    """One encoder of one or two directions."""
    if len(encoders) == 1:
        return encoders[0]
    first, second = encoders
    assert isinstance(first, LSTMEncoder)
    assert isinstance(second, LSTMEncoder)
    return TwoWayEncoder(first, second)


def train_language(
    encoder: Encoder,
    corpus: Corpus,
    run: LanguageRun,
    plan: TrainingPlan,
    *,
    rng: np.random.Generator,
    on_epoch_end: Callable[[int, float], bool],
    checkpoint: Checkpoint | None = None,
) -> TrainingResult:
    """Train `encoder` and its head on `corpus`, in place, in the package's one loop."""
    is_new = encoder.lm_head is None
    network = _network(encoder)
    objective = _objective(network, corpus, run)
    if is_new:
        plan = replace(plan, head_factor=_NEW_HEAD_FACTOR)
        with torch.no_grad():
            network.head.bias.copy_(_log_frequencies(objective.texts, run.tokenizer.n_tokens))
    if checkpoint is not None:
        own_weights(network.parameters())
    progress = None if checkpoint is None else checkpoint.restore(network)
    with device_memory.holding(network, run.device):
        return train(
            network,
            objective,
            plan,
            device=run.device,
            rng=rng,
            on_epoch_end=on_epoch_end,
            on_step_end=None if checkpoint is None else checkpoint.watch(network),
            progress=progress,
        )


def cross_entropy_of(encoder: Encoder, corpus: Corpus, run: LanguageRun, seed: int) -> float:
    """Mean loss of the tokens of `corpus`, in nats; what is hidden depends on `seed` alone."""
    return scorer(device_memory.on(encoder, run.device), corpus, run, seed)()


def scorer(encoder: Encoder, corpus: Corpus, run: LanguageRun, seed: int) -> Callable[[], float]:
    """Function that gives the same of the present `encoder`, which lies on its device.

    The tokens of `corpus` are kept from call to call, if they are few.
    """
    objective = _objective(_network(encoder), corpus, run)
    return lambda: cross_entropy(objective, seed)


@torch.inference_mode()
def continue_text(
    encoder: Encoder,
    tokenizer: Tokenizer,
    prompt: str,
    n_tokens: int,
    *,
    temperature: float,
    rng: np.random.Generator,
) -> str:
    """`prompt` and up to `n_tokens` tokens that a causal `encoder` draws after it."""
    network = _network(encoder)
    ids = [*tokenizer.prefix, *tokenizer.encode([prompt])[0].tolist()]
    if not ids:  # a text begins where another one ends
        ids = list(tokenizer.suffix)
    if not ids:
        raise ValueError("prompt is empty, and the encoder has no token that begins a text.")
    unsaid = {*tokenizer.prefix, *tokenizer.separator, tokenizer.pad_id} - {*tokenizer.suffix}
    if tokenizer.unknown_id is not None:
        unsaid.add(tokenizer.unknown_id)
    state, unread = None, ids
    for _ in range(n_tokens):
        if isinstance(encoder, LSTMEncoder):
            layers, state = encoder.read(torch.tensor([unread]), state)
            last = layers[-1][:, -1]
        else:
            window = torch.tensor([ids[-encoder.max_length :]])
            last = encoder(window, torch.ones_like(window))[0][:, -1]
        chosen = _draw(network.log_probabilities(last)[0], unsaid, temperature, rng)
        if chosen in tokenizer.suffix:
            break
        ids.append(chosen)
        unread = [chosen]
    return tokenizer.decode([i for i in ids if i not in tokenizer.suffix])


@dataclass(frozen=True)
class _Joined:
    """Some texts and then others, read anew at each pass."""

    first: Iterable[str]
    second: Iterable[str]

    def __iter__(self) -> Iterator[str]:
        yield from self.first
        yield from self.second


def _log_frequencies(texts: TokenizedCorpus, n_tokens: int) -> Tensor:
    """Logarithms of the shares of tokens (n_tokens,) in the first `texts`: where a bias starts."""
    counts, left = np.full(n_tokens, _UNSEEN_COUNT), _COUNTED_TOKENS
    for text in texts:
        np.add.at(counts, text.ids, 1)
        left -= len(text.ids)
        if left < 0:
            break
    return torch.from_numpy(np.log(counts / counts.sum())).float()


def _draw(
    log_probabilities: Tensor, unsaid: set[int], temperature: float, rng: np.random.Generator
) -> int:
    log_probabilities = log_probabilities.double()
    log_probabilities[sorted(unsaid)] = -torch.inf
    if not temperature:
        return int(log_probabilities.argmax())
    probabilities = torch.softmax(log_probabilities / temperature, dim=0).numpy()
    return int(rng.choice(len(probabilities), p=probabilities))


def _network(encoder: Encoder) -> LanguageNetwork:
    """`encoder` with its language-model head, or a new one where it has none."""
    return LanguageNetwork(with_lm_head(encoder))


def _objective(
    network: LanguageNetwork, corpus: Corpus, run: LanguageRun
) -> LanguageObjective[Any]:
    """What `network` is trained on, or scored by: hidden tokens, or the next ones."""
    encoder = network.encoder
    assert isinstance(encoder, Encoder)
    task, length = run.task, min(run.task.length, encoder.max_length)
    if encoder.is_causal or encoder.is_recurrent:
        return NextTokenObjective(
            network,
            TokenizedCorpus(corpus, run.tokenizer),
            run.tokenizer,
            n_streams=task.batch_size,
            length=length,
            device=run.device,
            dtype=run.dtype,
        )
    return MaskedObjective(
        network,
        TokenizedCorpus(corpus, run.tokenizer, words=task.whole_words),
        run.tokenizer,
        batch_size=task.batch_size,
        max_length=length,
        share=task.mask_fraction,
        device=run.device,
        dtype=run.dtype,
    )
