"""Language models trained in the package's one loop, and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sktransfer.encoders import Encoder
from sktransfer.inputs import Row, Tokenizer
from sktransfer.language.build import (
    PretrainingStart,
    joined,
    learning_rate_for,
    with_lm_head,
)
from sktransfer.language.checkpoint import Checkpoint
from sktransfer.language.corpus import Corpus, TokenizedCorpus, check_corpus
from sktransfer.language.objectives import (
    LanguageObjective,
    MaskedObjective,
    NextTokenObjective,
    cross_entropy,
)
from sktransfer.nn import LanguageNetwork, own_weights
from sktransfer.runtime import device_memory
from sktransfer.training import TrainingPlan, TrainingResult, train

# Windows or token streams of a step.
BATCH_SIZE = 32
# A new head on a pretrained encoder starts from scratch.
_NEW_HEAD_FACTOR = 10.0
# What its bias starts from, and what counts for a token that is not among them.
_COUNTED_TOKENS, _UNSEEN_COUNT = 1_000_000, 0.1


@dataclass(frozen=True)
class LanguageTask:
    """What is predicted, and the sizes of batches and windows.

    Attributes
    ----------
    batch_size, length : int
        Windows or streams of a step, and tokens of each.
    mask_fraction : float
        Share of the tokens that a bidirectional encoder predicts.
    whole_words : bool
        Whether all tokens of a word are masked together.
    """

    batch_size: int
    length: int
    mask_fraction: float = 0.15
    whole_words: bool = False


@dataclass(frozen=True)
class LanguageContext:
    """Tokenizer, task, device and precision of one training or scoring."""

    tokenizer: Tokenizer
    task: LanguageTask
    device: torch.device
    dtype: torch.dtype


def adaptation_corpus(texts: Sequence[Row], unlabeled: Any) -> Corpus:
    """The texts of labeled rows, then `unlabeled` ones."""
    known = [text for row in texts for text in ([row] if isinstance(row, str) else row) if text]
    extra: Iterable[str] = ()
    if unlabeled is not None:
        extra = check_corpus(unlabeled, name="unlabeled")
    return Corpus(_Joined(known, extra))


def adapted(
    start: PretrainingStart,
    corpus: Corpus,
    context: LanguageContext,
    n_epochs: int,
    rng: np.random.Generator,
) -> Encoder:
    """Encoder of `start` after language modeling on `corpus`.

    The second stage of ULMFiT (Howard and Ruder 2018, section 3.2).
    """
    for encoder in start.encoders:
        plan = TrainingPlan(
            n_epochs=n_epochs,
            batch_size=context.task.batch_size,
            learning_rate=learning_rate_for(encoder, from_scratch=False),
            layer_decay=1.0,
            weight_decay=0.01,
            schedule="linear",
            warmup_fraction=0.1,
            trainable_layers="all",
            gradual_unfreezing=False,
        )
        result = train_language(
            encoder, corpus, context, plan, rng=rng, on_epoch_end=lambda *_: False
        )
        if result.interrupted:
            raise KeyboardInterrupt
    return joined(start.encoders)


def train_language(
    encoder: Encoder,
    corpus: Corpus,
    context: LanguageContext,
    plan: TrainingPlan,
    *,
    rng: np.random.Generator,
    on_epoch_end: Callable[[int, float], bool],
    checkpoint: Checkpoint | None = None,
) -> TrainingResult:
    """Train `encoder` and its head on `corpus`, in place, in the package's one loop."""
    is_new = encoder.lm_head is None
    network = language_network(encoder)
    objective = _objective(network, corpus, context)
    if is_new:
        plan = replace(plan, head_factor=_NEW_HEAD_FACTOR)
        with torch.no_grad():
            network.head.bias.copy_(_log_frequencies(objective.texts, context.tokenizer.n_tokens))
    if checkpoint is not None:
        own_weights(network.parameters())
    progress = None if checkpoint is None else checkpoint.restore(network)
    with device_memory.holding(network, context.device):
        return train(
            network,
            objective,
            plan,
            device=context.device,
            rng=rng,
            on_epoch_end=on_epoch_end,
            on_step_end=None if checkpoint is None else checkpoint.watch(network),
            progress=progress,
        )


def cross_entropy_of(
    encoder: Encoder, corpus: Corpus, context: LanguageContext, seed: int
) -> float:
    """Mean loss of the tokens of `corpus`, in nats; the masked ones depend on `seed` alone."""
    return scorer(device_memory.on(encoder, context.device), corpus, context, seed)()


def scorer(
    encoder: Encoder, corpus: Corpus, context: LanguageContext, seed: int
) -> Callable[[], float]:
    """Function that computes `cross_entropy_of` for the current `encoder`.

    The tokens of `corpus` are kept from call to call, if they are few.
    """
    objective = _objective(language_network(encoder), corpus, context)
    return lambda: cross_entropy(objective, seed)


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


def language_network(encoder: Encoder) -> LanguageNetwork:
    """`encoder` with its language-model head, or a new one where it has none."""
    return LanguageNetwork(with_lm_head(encoder))


def _objective(
    network: LanguageNetwork, corpus: Corpus, context: LanguageContext
) -> LanguageObjective[Any]:
    """What `network` is trained on, or scored by: masked tokens, or the next ones."""
    encoder = network.encoder
    task, length = context.task, min(context.task.length, encoder.max_length)
    if encoder.is_causal or encoder.is_recurrent:
        return NextTokenObjective(
            network,
            TokenizedCorpus(corpus, context.tokenizer),
            context.tokenizer,
            n_streams=task.batch_size,
            length=length,
            device=context.device,
            dtype=context.dtype,
        )
    return MaskedObjective(
        network,
        TokenizedCorpus(corpus, context.tokenizer, words=task.whole_words),
        context.tokenizer,
        batch_size=task.batch_size,
        max_length=length,
        share=task.mask_fraction,
        device=context.device,
        dtype=context.dtype,
    )
