"""LanguageModel."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if

from sktransfer.encoders import (
    DEFAULT_ENCODER,
    EncoderHandle,
    SentenceSettings,
    resolve_encoder,
)
from sktransfer.estimators.docstrings import documented
from sktransfer.estimators.encoding import BaseEncoderEstimator, draw_seed, predicting
from sktransfer.estimators.loading import load
from sktransfer.estimators.parameters import TRAINING, Constraints
from sktransfer.estimators.sklearn_private import Interval, StrOptions, fit_context
from sktransfer.fitting.callbacks import FitCallbacks, with_callbacks
from sktransfer.fitting.pretraining import (
    SCORING_SEED,
    CheckpointSettings,
    PretrainingJob,
    run_pretraining,
)
from sktransfer.inputs import RowFormat, TextFormat
from sktransfer.language.build import (
    ARCHITECTURES,
    PretrainingStart,
    Sizes,
    directions_of,
    from_checkpoint,
    from_scratch,
    learning_rate_for,
)
from sktransfer.language.corpus import Corpus, check_corpus
from sktransfer.language.generate import continue_text
from sktransfer.language.train import BATCH_SIZE, LanguageContext, LanguageTask, cross_entropy_of
from sktransfer.runtime import (
    isolated_seed,
    resolve_device,
    resolve_precision,
    usual_numerics,
)
from sktransfer.training import TrainingPlan


def _is_causal(model: LanguageModel) -> bool:
    return model._reads_forward()


@documented
class LanguageModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEncoderEstimator):
    """Language model of raw texts: a checkpoint adapted to them, or a network of your own.

    No labels are needed. What it learned is for other estimators: its `encoder_` is an `encoder`
    for any of them. A bidirectional checkpoint learns to fill in masked tokens [1]_, a causal one
    to predict the next token; with `architecture` a network is trained from scratch, its
    vocabulary with it.

    Parameters
    ----------
    encoder : str, path or EncoderHandle, default="all-MiniLM-L6-v2"
        Pretrained encoder to adapt; not read if `architecture` is given.
    architecture : {"awd_lstm", "gpt", "bert"} or None, default=None
        Network to train from scratch: the weight-dropped LSTM of ULMFiT [2]_ [3]_, a decoder with
        learned positions as GPT-1 [4]_, or a bidirectional encoder as BERT [1]_.
    direction : {"forward", "backward", "both"}, default="forward"
        Whether an AWD-LSTM reads texts from their start, from their end, or whether one is
        trained for each, whose states `encoder_` joins.
    tokens : {"auto", "word", "bpe", "wordpiece"}, default="auto"
        What the vocabulary of a new network consists of: what white space separates, byte pairs
        or word pieces. ``"auto"`` takes words for an AWD-LSTM, pairs for a GPT and pieces for a
        BERT.
    vocab_size : int or None, default=30000
        Most tokens of the vocabulary; None means no limit.
    min_frequency : int, default=2
        Least occurrences of a token of the vocabulary.
    embedding_size : int, default=256
        Width of the embeddings and of the top layer of an AWD-LSTM.
    hidden_size : int, default=384
        Width of the other layers, or of all of a transformer.
    n_layers : int, default=3
        Layers of a new network.
    n_heads : int, default=6
        Attention heads of a transformer.
    dropout : float, default=0.1
        Dropout rate of a new network. Those of an AWD-LSTM stand to each other as in ULMFiT,
        which has 0.4.
    mask_fraction : float, default=0.15
        Share of the tokens that a bidirectional encoder is to fill in.
    whole_words : bool, default=False
        Whether all tokens of a word are masked together.
    max_length : int, default=128
        Tokens of a window, or of a step of back-propagation through time.
    trainable_layers : int, "all" or None, default="all"
        Layers that train, counted from the top: None is all but the embeddings.
    max_epochs : int, default=1
        Passes over the texts.
    batch_size : int or "auto", default="auto"
        Windows, or token streams, of a step; ``"auto"`` is 32.
    learning_rate : float or None, default=None
        Peak learning rate of the top layer. None is 1e-4 for a pretrained transformer and 1e-3
        for one from scratch, 1e-3 and 2e-3 for an AWD-LSTM.
    checkpoint : str, path or None, default=None
        Folder to write the state of the training to. A later `fit` with the same parameters and
        texts goes on from there, after a crash too; a `fit` that ends removes it. Of the best
        weights that early stopping would keep, only those of the later part compete. None writes
        nothing.
    checkpoint_seconds : float, default=300
        Least time between two writings.

    Attributes
    ----------
    encoder_ : EncoderHandle
        Handle to the trained encoder with its language-model head: an `encoder` for another
        estimator, or for a further `LanguageModel`.
    sentence_settings_ : SentenceSettings
        Pooling and prompt of the checkpoint that the training started from.

    See Also
    --------
    TransferTextClassifier : Adapts its encoder by itself with ``adapt_epochs``.

    References
    ----------
    .. [1] Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
       Understanding", 2019, arXiv:1810.04805.
    .. [2] Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018,
       arXiv:1801.06146.
    .. [3] Merity et al., "Regularizing and Optimizing LSTM Language Models", 2018,
       arXiv:1708.02182.
    .. [4] Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018.

    Examples
    --------
    >>> from sktransfer import LanguageModel, TransferTextClassifier
    >>> texts = ["the cat sat on the mat", "the dog sat on the cat", "a dog ate the mat"] * 20
    >>> lm = LanguageModel(
    ...     architecture="awd_lstm", embedding_size=16, hidden_size=16, max_epochs=2, random_state=0
    ... ).fit(texts)
    >>> lm.perplexity(texts) < 20
    True
    >>> clf = TransferTextClassifier(lm.encoder_, pooling="concat", max_epochs=0)
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **TRAINING,
        "architecture": [StrOptions(set(ARCHITECTURES)), None],
        "direction": [StrOptions({"forward", "backward", "both"})],
        "tokens": [StrOptions({"auto", "word", "bpe", "wordpiece"})],
        "vocab_size": [Interval(Integral, 8, None, closed="left"), None],
        "min_frequency": [Interval(Integral, 1, None, closed="left")],
        "embedding_size": [Interval(Integral, 1, None, closed="left")],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "mask_fraction": [Interval(Real, 0, 1, closed="neither")],
        "whole_words": ["boolean"],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "learning_rate": [*TRAINING["learning_rate"], None],
        "checkpoint": [None, str, os.PathLike],
        "checkpoint_seconds": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        encoder: str | os.PathLike[str] | EncoderHandle = DEFAULT_ENCODER,
        *,
        architecture: Literal["awd_lstm", "gpt", "bert"] | None = None,
        direction: Literal["forward", "backward", "both"] = "forward",
        tokens: Literal["auto", "word", "bpe", "wordpiece"] = "auto",
        vocab_size: int | None = 30_000,
        min_frequency: int = 2,
        embedding_size: int = 256,
        hidden_size: int = 384,
        n_layers: int = 3,
        n_heads: int = 6,
        dropout: float = 0.1,
        mask_fraction: float = 0.15,
        whole_words: bool = False,
        max_length: int = 128,
        trainable_layers: int | Literal["all"] | None = "all",
        gradual_unfreezing: bool = False,
        max_epochs: int = 1,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float | None = None,
        layer_decay: float = 1.0,
        weight_decay: float = 0.01,
        schedule: str = "linear",
        warmup_fraction: float = 0.1,
        early_stopping: bool = False,
        n_iter_no_change: int = 3,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_seconds: float = 300.0,
        device: str = "auto",
        precision: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.encoder = encoder
        self.architecture = architecture
        self.direction = direction
        self.tokens = tokens
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.dropout = dropout
        self.mask_fraction = mask_fraction
        self.whole_words = whole_words
        self.max_length = max_length
        self.trainable_layers = trainable_layers
        self.gradual_unfreezing = gradual_unfreezing
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup_fraction = warmup_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.checkpoint = checkpoint
        self.checkpoint_seconds = checkpoint_seconds
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        tags.target_tags.required = False
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X: Any, y: Any = None, X_val: Any = None) -> Self:
        """Learn the language of texts.

        Ctrl-C raises KeyboardInterrupt from a fitted model, which has the weights so far, or the
        best so far if there is `X_val`.

        Parameters
        ----------
        X : iterable of str, str or path
            Texts; or a text file, or a glob of text files (``"corpus/*.txt"``, also ``.gz``)
            with a text a line, which are streamed and never held in memory. An object that
            gives the texts anew at each ``iter()`` is streamed, too; a generator is read into
            memory.
        y : None
            Ignored.
        X_val : iterable of str, str or path, default=None
            Texts to score after each epoch.

        Returns
        -------
        self : object
            The fitted model.

        Raises
        ------
        ValueError
            If a text, file or parameter cannot be used; the message names it.
        TypeError
            If a text is not a string.
        FloatingPointError
            If the loss is not finite. As after every error, the model stays as it was.
        """
        if isinstance(X, Iterator):  # callbacks read X again
            X = list(X)
        corpus = self._corpus(X, reset=True)
        fitted = self._as_fitted_to(X, 1)
        watched = None if X_val is None else fitted._corpus(X_val, name="X_val")
        if self.early_stopping and watched is None:
            raise ValueError("early_stopping=True needs X_val, the texts to score, in fit.")
        seed = draw_seed(self.random_state)
        callbacks = FitCallbacks(self, X, y, None, 1)
        with usual_numerics(), isolated_seed(seed, resolve_device(self.device)):
            start = self._start(corpus)
            job = PretrainingJob(
                start,
                corpus,
                watched,
                self._plan(start),
                self._language_task(),
                self._fit_parameters(),
                seed,
                CheckpointSettings.of(self.get_params(deep=False)),
            )
            result = run_pretraining(job, callbacks)
        callbacks.end_fit(result.attributes)
        self._adopt(result.attributes, X, 1, result.interruption)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Pass once over a part of the texts, at a constant learning rate.

        Parameters
        ----------
        X : iterable of str, str or path
            As in `fit`. The vocabulary of a new network is that of the first part.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The model.
        """
        self._validate_params()
        corpus = self._corpus(X, reset=not hasattr(self, "model_"))
        seed = draw_seed(self.random_state)
        with usual_numerics(), isolated_seed(seed, resolve_device(self.device)):
            if hasattr(self, "model_"):
                encoders = directions_of(copy.deepcopy(self.model_.encoder))
                start = PretrainingStart(
                    self.encoder_name_, self.tokenizer_, encoders, self.sentence_settings_
                )
            else:
                start = self._start(corpus)
            plan = replace(self._plan(start), n_epochs=1, schedule="constant", warmup_fraction=0.0)
            # No checkpoint, because it is short.
            job = PretrainingJob(
                start, corpus, None, plan, self._language_task(), self._fit_parameters(), seed
            )
            result = run_pretraining(job)
        self._adopt(result.attributes, X, 1, result.interruption)
        return self

    @predicting
    def score(self, X: Any, y: Any = None) -> float:
        """Minus the cross-entropy per token, in nats: higher is better.

        A causal model predicts each token from those before it in the same step of `max_length`
        tokens (an AWD-LSTM from all before it); a bidirectional one the same tokens at every
        call, masked at random.

        Parameters
        ----------
        X : iterable of str, str or path
            Texts, as in `fit`.
        y : None
            Ignored.

        Returns
        -------
        float
            Average over the tokens, those that end a text included.
        """
        corpus = self._corpus(X)
        device = resolve_device(self.device)
        dtype = resolve_precision(self.precision, device, training=False)
        context = LanguageContext(self.tokenizer_, self._language_task(), device, dtype)
        directions = directions_of(self.model_.encoder)
        return -float(
            np.mean([cross_entropy_of(one, corpus, context, SCORING_SEED) for one in directions])
        )

    def perplexity(self, X: Any) -> float:
        """Exponential of the cross-entropy per token: among how many tokens the model wavers.

        Parameters
        ----------
        X : iterable of str, str or path
            Texts, as in `fit`.

        Returns
        -------
        float
            At least 1; of a bidirectional model that of the masked tokens. Perplexities compare
            models of one vocabulary only.
        """
        return math.exp(-self.score(X))

    @predicting
    def transform(self, X: Any) -> NDArray[np.float32]:
        """Mean state of each text.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, hidden_size), float32
            Features, as of a `TransferTextVectorizer` with the `encoder_`.
        """
        return self._predictor().features(self._check_rows(X, reset=False))

    @available_if(_is_causal)
    @predicting
    def generate(
        self,
        prompt: str = "",
        n_tokens: int = 50,
        *,
        temperature: float = 1.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> str:
        """Continue a text, to inspect what the model has learned.

        Parameters
        ----------
        prompt : str, default=""
            How the text begins.
        n_tokens : int, default=50
            Most tokens to add; the text may end before.
        temperature : float, default=1.0
            Below 1 likely tokens become likelier; 0 takes the likeliest.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        str
            The prompt and its continuation.
        """
        if n_tokens < 1 or temperature < 0:
            raise ValueError(
                f"generate needs n_tokens of at least 1 and a temperature of at least 0, got "
                f"n_tokens={n_tokens!r}, temperature={temperature!r}."
            )
        rng = np.random.default_rng(draw_seed(random_state))
        encoder = directions_of(self.model_.encoder)[0]
        return continue_text(
            encoder, self.tokenizer_, prompt, n_tokens, temperature=temperature, rng=rng
        )

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        weights: Literal["auto", "full"] = "full",
        dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    ) -> None:
        """Write the fitted model to a folder, without pickle.

        With all of its weights, the folder is an `encoder` for every estimator as well.

        Parameters
        ----------
        folder : str or path
            Made if it is not there; must be empty or hold a saved estimator.
        weights : {"auto", "full"}, default="full"
            As in the other estimators.
        dtype : {"float32", "float16", "bfloat16"}, default="float32"
            As in the other estimators.
        """
        super().save(folder, weights=weights, dtype=dtype)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote, as `sktransfer.load` does.

        Parameters
        ----------
        folder : str or path
            What `save` was given.

        Returns
        -------
        LanguageModel
            The fitted model, on the CPU.
        """
        model = load(folder)
        if not isinstance(model, cls):
            raise ValueError(
                f"folder={str(folder)!r} holds a {type(model).__name__}, not a {cls.__name__}."
            )
        return model

    def _corpus(self, X: Any, *, name: str = "X", reset: bool = False) -> Corpus:
        """Texts of `X` for training."""
        if not reset:
            self._check_names(X, name)
        return check_corpus(X, name=name)

    def _row_format(self) -> RowFormat:
        return TextFormat()

    def _sentence_settings(self) -> SentenceSettings:
        settings: SentenceSettings = self.sentence_settings_
        return settings

    @property
    def _n_features_out(self) -> int:
        return int(self.model_.head.linear.in_features)

    def _reads_forward(self) -> bool:
        if hasattr(self, "model_"):
            return directions_of(self.model_.encoder)[0].is_causal
        return self.architecture in ("awd_lstm", "gpt") and self.direction != "backward"

    def _start(self, corpus: Corpus) -> PretrainingStart:
        """Tokenizer and encoders before the training."""
        if self.architecture is None:
            if self.direction != "forward":
                raise ValueError(
                    f"direction={self.direction!r} is for architecture='awd_lstm'; a checkpoint "
                    "has the direction that it was trained with."
                )
            return from_checkpoint(resolve_encoder(self.encoder))
        sizes = Sizes(
            self.embedding_size,
            self.hidden_size,
            self.n_layers,
            self.n_heads,
            self.max_length,
            self.dropout,
        )
        return from_scratch(
            self.architecture,
            corpus,
            sizes,
            direction=self.direction,
            tokens=self.tokens,
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
        )

    def _plan(self, start: PretrainingStart) -> TrainingPlan:
        rate = self.learning_rate
        if rate is None:
            is_new = self.architecture is not None
            rate = learning_rate_for(start.encoders[0], from_scratch=is_new)
        return TrainingPlan(
            n_epochs=int(self.max_epochs),
            batch_size=self._language_task().batch_size,
            learning_rate=rate,
            layer_decay=self.layer_decay,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warmup_fraction=self.warmup_fraction,
            trainable_layers=self.trainable_layers,
            gradual_unfreezing=self.gradual_unfreezing,
        )

    def _language_task(self) -> LanguageTask:
        size = BATCH_SIZE if self.batch_size == "auto" else self.batch_size
        return LanguageTask(int(size), self.max_length, self.mask_fraction, self.whole_words)
