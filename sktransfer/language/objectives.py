"""Language modeling objectives of the training loop, and their evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from sktransfer.encoders import LSTMEncoder, Tokenizer
from sktransfer.inputs import split_by_tokens
from sktransfer.language.corpus import TokenizedCorpus
from sktransfer.language.masking import MaskableBatch, mask_tokens, masked_windows, n_windows
from sktransfer.language.streams import StreamBlock, balanced_run, token_streams
from sktransfer.nn import LanguageNetwork, LayerState
from sktransfer.runtime import autocast, width_multiple
from sktransfer.training.loop import StepLoss, TrainingObjective

# Tokens per run of a stream if the total number of tokens is unknown.
_RUN_TOKENS = 2048

Step = TypeVar("Step")


class LanguageObjective(TrainingObjective[Step], Protocol[Step]):
    """Language modeling objective, with what evaluation needs in addition to the loop."""

    network: LanguageNetwork
    texts: TokenizedCorpus

    def loss(self, step: Step, rng: np.random.Generator) -> StepLoss:
        """Loss of a step without a gradient."""


class NextTokenObjective:
    """Text in parallel streams, each token predicted from those before it.

    A recurrent encoder goes on from the state that the step before left, with gradients inside
    of a step only (truncated back-propagation through time); an attending one sees the tokens
    of its step.

    Parameters
    ----------
    network : LanguageNetwork
        What is trained.
    texts : TokenizedCorpus
        Read once an epoch, in order.
    tokenizer : Tokenizer
        Gives the tokens around a text.
    n_streams, length : int
        A step has at most so many streams of so many tokens.
    device, dtype : torch.device, torch.dtype
        Where the network lies and the precision of its matrix products.
    """

    def __init__(
        self,
        network: LanguageNetwork,
        texts: TokenizedCorpus,
        tokenizer: Tokenizer,
        *,
        n_streams: int,
        length: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.network, self.texts, self.tokenizer = network, texts, tokenizer
        self.n_streams, self.length = n_streams, length
        self.device, self.dtype = device, dtype
        self._state: list[LayerState] | None = None
        self._run_tokens: int | None = None

    @property
    def n_steps(self) -> int:
        return max(1, -(-self.texts.n_tokens // (self.n_streams * self.length)))

    def epoch(self, rng: np.random.Generator) -> Iterator[StreamBlock]:
        self._state = None
        if self._run_tokens is None:  # the same in every epoch, and after a resumption
            self._run_tokens = _RUN_TOKENS
            if self.texts.is_exact:
                self._run_tokens = balanced_run(self.texts.n_tokens, self.n_streams)
        encoder = self.network.encoder
        return token_streams(
            (text.ids for text in self.texts),
            prefix=self.tokenizer.prefix,
            suffix=self.tokenizer.suffix,
            n_streams=self.n_streams,
            length=self.length,
            run_tokens=self._run_tokens,
            reverse=isinstance(encoder, LSTMEncoder) and encoder.reads_backward,
        )

    def state(self) -> list[Tensor]:
        return [part for layer in self._state or [] for part in layer]

    def load_state(self, state: list[Tensor]) -> None:
        moved = [part.to(self.device) for part in state]
        self._state = list(zip(moved[::2], moved[1::2], strict=True)) or None

    def least_tokens(self, step: StreamBlock) -> int:
        return int(step.token_ids.shape[1])

    def gradient(self, step: StreamBlock, token_budget: int, rng: np.random.Generator) -> StepLoss:
        """Add the gradient of the mean loss of the tokens of a block."""
        n_streams, length = step.token_ids.shape
        count = int((step.targets >= 0).sum())
        total = torch.zeros((), device=self.device)
        reached = []
        n_parts = min(n_streams, -(-n_streams * length // token_budget))
        for part in np.array_split(np.arange(n_streams), n_parts):
            loss, state = self._read(step, part)
            (loss / max(count, 1)).backward()
            total += loss.detach()
            reached.append(state)
        self._state = _join(reached)
        return StepLoss(total, count)

    @torch.no_grad()
    def sample_loss(self, step: StreamBlock, rng: np.random.Generator) -> Tensor:
        """Loss of the first stream of a block."""
        return self._read(step, np.arange(1))[0]

    @torch.inference_mode()
    def loss(self, step: StreamBlock, rng: np.random.Generator) -> StepLoss:
        """Loss of a block, in reading order as well."""
        total, self._state = self._read(step, np.arange(len(step.token_ids)))
        return StepLoss(total, int((step.targets >= 0).sum()))

    def _read(
        self, step: StreamBlock, part: np.ndarray[tuple[int], np.dtype[np.intp]]
    ) -> tuple[Tensor, list[LayerState] | None]:
        """Sum of the losses of some streams, and the state after them."""
        token_ids = torch.from_numpy(step.token_ids[part]).to(self.device)
        targets = torch.from_numpy(step.targets[part]).to(self.device)
        encoder, reached = self.network.encoder, None
        with autocast(self.device, self.dtype, training=True):
            if isinstance(encoder, LSTMEncoder):
                before = self._state
                if before is not None:
                    first, stop = int(part[0]), int(part[-1]) + 1
                    before = [(h[:, first:stop], c[:, first:stop]) for h, c in before]
                every, reached = encoder.read(token_ids, before)
                states = every[-1]
            else:
                states = encoder(token_ids, torch.ones_like(token_ids))[0]
            return self.network.losses(states, targets).sum(), reached


class MaskedObjective:
    """Texts in windows, some of whose tokens are masked and predicted from both sides.

    Parameters
    ----------
    network : LanguageNetwork
        What is trained.
    texts : TokenizedCorpus
        Read once an epoch.
    tokenizer : Tokenizer
        Has a mask token.
    batch_size : int
        Windows of a step.
    max_length : int
        Most tokens of a window.
    share : float
        Share of the tokens that is masked.
    device, dtype : torch.device, torch.dtype
        Where the network lies and the precision of its matrix products.
    """

    def __init__(
        self,
        network: LanguageNetwork,
        texts: TokenizedCorpus,
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        max_length: int,
        share: float,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        if tokenizer.mask_id is None:
            raise ValueError(
                "encoder: its tokenizer has no mask token, so that no masked language model can "
                "be trained; take an encoder that was trained with one, or a causal decoder."
            )
        self.network, self.texts, self.tokenizer = network, texts, tokenizer
        self.batch_size, self.max_length, self.share = batch_size, max_length, share
        self.device, self.dtype = device, dtype
        self.mask_id: int = tokenizer.mask_id

    @property
    def n_steps(self) -> int:
        n_special = len(self.tokenizer.prefix) + len(self.tokenizer.suffix)
        n_tokens = self.texts.n_tokens  # a pass that keeps the lengths, if the texts are not many
        lengths = self.texts.lengths
        if lengths is None:
            n_texts = self.texts.corpus.n_texts
            n_content = n_tokens - n_texts * n_special
            # The last window of a text is half full on average.
            halves = n_texts // 2 + n_content // max(1, self.max_length - n_special)
            count = max(n_texts, halves)
        else:
            count = n_windows(lengths, self.max_length, n_special)
        return max(1, -(-count // self.batch_size))

    def epoch(self, rng: np.random.Generator) -> Iterator[MaskableBatch]:
        return masked_windows(
            self.texts,
            tokenizer=self.tokenizer,
            max_length=self.max_length,
            batch_size=self.batch_size,
            rng=np.random.default_rng(rng.integers(2**63)),
        )

    def state(self) -> list[Tensor]:
        return []

    def load_state(self, state: list[Tensor]) -> None:
        pass

    def least_tokens(self, step: MaskableBatch) -> int:
        return int(step.token_ids.shape[1])

    def gradient(
        self, step: MaskableBatch, token_budget: int, rng: np.random.Generator
    ) -> StepLoss:
        """Add the gradient of the mean loss of the masked tokens of a batch."""
        token_ids, targets = self._mask(step, rng)
        count = int((targets >= 0).sum())
        total = torch.zeros((), device=self.device)
        lengths = np.full(len(token_ids), token_ids.shape[1])
        for part in split_by_tokens(lengths, token_budget):
            loss = self._read(token_ids[part], step.attention_mask[part], targets[part])
            (loss / count).backward()
            total += loss.detach()
        return StepLoss(total, count)

    @torch.no_grad()
    def sample_loss(self, step: MaskableBatch, rng: np.random.Generator) -> Tensor:
        """Loss of the window of a batch with the most masked tokens."""
        token_ids, targets = self._mask(step, rng)
        most = (targets >= 0).sum(axis=1).argmax(keepdims=True)
        return self._read(token_ids[most], step.attention_mask[most], targets[most])

    @torch.inference_mode()
    def loss(self, step: MaskableBatch, rng: np.random.Generator) -> StepLoss:
        """Loss of the masked tokens of a batch."""
        token_ids, targets = self._mask(step, rng)
        return StepLoss(
            self._read(token_ids, step.attention_mask, targets), int((targets >= 0).sum())
        )

    def _mask(
        self, step: MaskableBatch, rng: np.random.Generator
    ) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int64]], ...]:
        return mask_tokens(
            step.token_ids,
            step.maskable,
            step.words,
            mask_id=self.mask_id,
            n_tokens=self.tokenizer.n_tokens,
            share=self.share,
            rng=rng,
        )

    def _read(
        self,
        token_ids: np.ndarray[tuple[int, int], np.dtype[np.int64]],
        attention_mask: np.ndarray[tuple[int, int], np.dtype[np.int64]],
        targets: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    ) -> Tensor:
        missing = -token_ids.shape[1] % width_multiple(self.device, self.dtype)
        ids, mask, wanted = (
            torch.from_numpy(np.pad(part, ((0, 0), (0, missing)), constant_values=fill)).to(
                self.device
            )
            for part, fill in (
                (token_ids, self.tokenizer.pad_id),
                (attention_mask, 0),
                (targets, -1),
            )
        )
        encoder = self.network.encoder
        with autocast(self.device, self.dtype, training=True):
            states = encoder(ids, mask)[0]
            return self.network.losses(states, wanted).sum()


def cross_entropy(objective: LanguageObjective[Step], seed: int) -> float:
    """Mean loss of the tokens that a pass over the texts of `objective` predicts, in nats.

    What is drawn (the masked tokens of a masked model) depends on `seed` alone. The network is
    read as in prediction, whatever mode it is in, and left in that mode.
    """
    network = objective.network
    modes = {module: module.training for module in network.modules()}
    network.eval()
    rng = np.random.default_rng(seed)
    total, count = 0.0, 0
    try:
        for step in objective.epoch(rng):
            loss = objective.loss(step, rng)
            total += float(loss.total)
            count += loss.count
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not count:
        raise ValueError("X has no token to predict: give texts of two words and more.")
    return total / count


def _join(parts: list[list[LayerState] | None]) -> list[LayerState] | None:
    """State of all streams from those of consecutive parts."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    return [
        (torch.cat([h for h, _ in layer], dim=1), torch.cat([c for _, c in layer], dim=1))
        for layer in zip(*present, strict=True)
    ]
