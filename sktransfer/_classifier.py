"""TransferTextClassifier."""

from __future__ import annotations

import os
from typing import Any, Literal, Self

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._base import BaseTransferEstimator
from sktransfer._session import Session, TextRows
from sktransfer.encoders import DEFAULT_ENCODER, EncoderHandle, Tokenizer
from sktransfer.inputs import label_words
from sktransfer.tasks import ClassificationTask, Task

_CONTRASTED_ROWS = 16
# A label says more about its class than one row does.
_LABEL_TEXT_COPIES = 2
# An encoder that must spell labels in pieces ("des", "##c") does not know them: abbreviations.
_MOST_PIECES_PER_WORD = 1.5


class TransferTextClassifier(ClassifierMixin, BaseTransferEstimator):
    """Text classifier fine-tuned from a pretrained language model.

    A linear probe is solved on the frozen encoder's features, put into the head, and encoder
    and head are then fine-tuned together; a linear model on TF-IDF columns votes beside them.

    Parameters
    ----------
    encoder : str, path or EncoderHandle, default="all-MiniLM-L6-v2"
        Pretrained encoder: an alias, a local folder, a Hugging Face id (``"name@revision"``
        pins it) or a handle such as another estimator's `encoder_`.
    pooling : {"mean", "cls", "last", "max", "concat"}, default="mean"
        How the states of a text's tokens become one vector; ``"concat"`` is ULMFiT's last, max
        and mean [1]_.
    pooling_layers : int, default=1
        Number of last layers whose pooled, L2-normalised states are averaged.
    max_length : int, default=128
        Tokens that the encoder reads at once, at most what it can read.
    long_texts : {"window", "truncate"}, default="window"
        Longer texts are read whole in overlapping windows whose states are pooled together
        (while training, in at most four windows a step, drawn anew each epoch), or cut, with a
        warning. Rows of several texts are always cut to `max_length`, the longest text first.
    symmetric : bool, default=False
        Whether rows of several texts are read in both orders, whose features are averaged: for
        similarity and paraphrase [4]_.
    trainable_layers : int, "all" or None, default=None
        Layers that train, counted from the top: None is all but the embeddings, ``"all"``
        includes them, 0 leaves the encoder frozen.
    gradual_unfreezing : bool, default=False
        Whether layers join the training one by one, from the top, epoch by epoch [1]_.
    head_init : {"probe", "random"}, default="probe"
        Where the head starts: at the logistic regression on frozen features, or at random.
    head_refit : bool, default=True
        Whether the head is solved once more, on the fine-tuned features. With few classes its
        probabilities are less overconfident than the trained head's; with many the trained head
        can be better.
    C : float, default=10.0
        Inverse regularisation strength of the probe.
    max_epochs : int or "auto", default="auto"
        Passes over the rows; ``"auto"`` makes more of them the fewer rows there are. With 0 the
        probe alone is the model.
    batch_size : int or "auto", default="auto"
        Rows of one step of the optimiser, whatever the memory of the device; ``"auto"`` is 16, or
        32 where there are no more than 64 rows.
    learning_rate : float, default=3e-4
        Peak learning rate of the head and the top layer.
    layer_decay : float, default=0.8
        Factor on the rate from each layer to the one below [1]_.
    weight_decay : float, default=0.01
        Decoupled weight decay of weight matrices.
    contrastive_weight : float, default=1.0
        Weight of a supervised contrastive loss beside the cross-entropy: rows of a batch are
        pulled towards those of their class and away from the others [2]_. It holds up to 16
        rows a class and falls in proportion beyond. 0 is off.
    schedule : {"linear", "slanted_triangular", "cosine", "constant"}, default="linear"
        Learning rate after the warmup.
    warmup_fraction : float, default=0.1
        Share of the steps over which the rate rises.
    lexical_weight : float, default=0.3
        Weight of the TF-IDF model's scores beside the network's, from 0 (off) to 1.
    label_texts : "auto", dict or None, default="auto"
        What the labels mean, in words: the text of a label counts as two more training rows of
        its class, which helps when rows are few [3]_. ``"auto"`` reads labels that are words
        (``"lost_card"`` as "lost card", ``"neg"`` beside ``"pos"`` as "negative") and leaves
        codes (numbers, ``"class_1"``) alone, and labels that take the encoder's vocabulary more
        than 1.5 tokens a word, as abbreviations do (``"ENTY"``): all of them or none. A dict
        gives the text of each label, such as ``{0: "negative", 1: "positive"}``; None is off.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, as in scikit-learn.
    early_stopping : bool, default=False
        Whether to stop when the validation accuracy no longer grows and to keep the best
        epoch's weights, on which `head_refit` solves the head anew.
    validation_fraction : float, default=0.1
        Share of the rows held out for early stopping, stratified, unless `fit` is given
        `X_val`.
    n_iter_no_change : int, default=3
        Epochs without improvement before early stopping ends the training.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the fit before.
    memory : None, str, path or joblib.Memory, default=None
        Where to keep the frozen features of the probe between fits, as in scikit-learn's
        Pipeline; None keeps nothing.
    device : str, default="auto"
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        Weights rest on the CPU outside of `fit` and `predict`.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products; ``"auto"`` trains in bfloat16 where the chip has it and
        predicts in float32.
    random_state : int, RandomState instance or None, default=None
        Seed of row order, dropout and validation split.
    verbose : int, default=0
        If positive, a line an epoch goes to standard error.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    model_ : TransferModel
        Fine-tuned PyTorch module, on the CPU.
    tokenizer_ : Tokenizer
        Tokeniser of the encoder.
    encoder_ : EncoderHandle
        Handle to the fine-tuned encoder.
    lexical_ : LexicalChannel or None
        The TF-IDF model.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float
        Validation accuracy of the network after each epoch, if there were validation rows.
    best_epoch_ : int or None
        Epoch of the best validation accuracy, from 1.
    n_iter_ : int
        Epochs trained.
    device_ : str
        Device of the last fit.
    n_features_in_ : int
        Columns of text.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if `X` was a table.

    References
    ----------
    .. [1] Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification",
       2018, arXiv:1801.06146.
    .. [2] Gunel et al., "Supervised Contrastive Learning for Pre-trained Language Model
       Fine-tuning", 2021, arXiv:2011.01403.
    .. [3] Chang et al., "Importance of Semantic Representation: Dataless Classification", AAAI
       2008.
    .. [4] Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018.

    Examples
    --------
    >>> from sktransfer import TransferTextClassifier
    >>> texts = ["a wonderful film", "a moving story", "dull and slow", "a waste of time"]
    >>> labels = ["good", "good", "bad", "bad"]
    >>> clf = TransferTextClassifier(max_epochs=0, random_state=0).fit(texts, labels)
    >>> clf.predict(["what a beautiful movie", "boring"])
    array(['good', 'bad'], dtype='<U4')
    """

    def __init__(
        self,
        encoder: str | os.PathLike[str] | EncoderHandle = DEFAULT_ENCODER,
        *,
        pooling: str = "mean",
        pooling_layers: int = 1,
        max_length: int = 128,
        long_texts: str = "window",
        symmetric: bool = False,
        trainable_layers: int | Literal["all"] | None = None,
        gradual_unfreezing: bool = False,
        head_init: str = "probe",
        head_refit: bool = True,
        C: float = 10.0,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 3e-4,
        layer_decay: float = 0.8,
        weight_decay: float = 0.01,
        contrastive_weight: float = 1.0,
        schedule: str = "linear",
        warmup_fraction: float = 0.1,
        lexical_weight: float = 0.3,
        label_texts: dict[Any, str] | Literal["auto"] | None = "auto",
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        warm_start: bool = False,
        memory: str | os.PathLike[str] | joblib.Memory | None = None,
        device: str = "auto",
        precision: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.encoder = encoder
        self.pooling = pooling
        self.pooling_layers = pooling_layers
        self.max_length = max_length
        self.long_texts = long_texts
        self.symmetric = symmetric
        self.trainable_layers = trainable_layers
        self.gradual_unfreezing = gradual_unfreezing
        self.head_init = head_init
        self.head_refit = head_refit
        self.C = C
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self.contrastive_weight = contrastive_weight
        self.schedule = schedule
        self.warmup_fraction = warmup_fraction
        self.lexical_weight = lexical_weight
        self.label_texts = label_texts
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.memory = memory
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train one epoch on a batch of rows, at a constant learning rate.

        The lexical channel, the label texts and the head's refit belong to `fit`, which sees all
        rows at once, and stay out of estimators trained this way.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If `classes` is missing in the first call or differs in a later one, or `y` has a
            label outside of it.
        """
        self._validate_params()
        if not hasattr(self, "model_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            known = np.unique(self._check_targets(classes))
        else:
            known = self.classes_
            if classes is not None and not np.array_equal(known, np.unique(classes)):
                raise ValueError(
                    f"classes={classes!r} is not the same as on the last call to partial_fit: "
                    f"{list(known)!r}."
                )
        reset = not hasattr(self, "model_")
        rows = self._check_training_rows(X, y, sample_weight, reset=reset)
        self._continue(rows, self._task(known, len(rows.texts)), X)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable label of each text.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        scores = self._scores(X)
        return np.asarray(self.classes_[scores.argmax(axis=1)])

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
            Columns in the order of `classes_`.
        """
        return np.asarray(softmax(self._scores(X), axis=1))

    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """Logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
            Columns in the order of `classes_`.
        """
        return np.asarray(log_softmax(self._scores(X), axis=1))

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Scores before the softmax.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes), float32
            With two classes the score of the second over the first: the logit of its
            probability.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def _check_targets(self, y: Any) -> NDArray[Any]:
        labels: NDArray[Any] = np.asarray(column_or_1d(y, warn=True))
        # NumPy would make the word "nan" of a NaN in a list of strings.
        listed = isinstance(y, (list, tuple))
        if listed or labels.dtype.kind in "fO":
            for row, label in enumerate(y if listed else labels):
                if _is_missing(label):
                    raise ValueError(
                        f"Input y contains NaN or infinity: the label {label!r} in row {row} is "
                        "none. Drop the row or give it a label."
                    )
        check_classification_targets(labels)
        return labels

    def _make_task(self, y: NDArray[Any]) -> Task:
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                f"The number of classes has to be greater than one; got {len(classes)} class "
                f"in y: {list(classes)!r}."
            )
        if self.warm_start and hasattr(self, "model_"):
            unknown = np.setdiff1d(classes, self.classes_)
            if len(unknown):
                raise ValueError(
                    f"warm_start=True cannot learn the new classes {list(unknown)!r}; set "
                    "warm_start=False to fit from scratch."
                )
            classes = self.classes_
        return self._task(classes, len(y))

    def _task(self, classes: NDArray[Any], n_rows: int) -> ClassificationTask:
        # Contrast teaches what a class is while a few rows must show it; where there are many,
        # the cross-entropy does, and keeps the probabilities.
        share = min(1.0, _CONTRASTED_ROWS * len(classes) / n_rows)
        return ClassificationTask(classes, contrastive_weight=share * self.contrastive_weight)

    def _rows_of_targets(self, session: Session) -> TextRows:
        rows = session.rows
        # A label may say what a text is about, not how several stand to each other.
        if not isinstance(rows.texts[0], str):
            return rows
        labels = np.unique(rows.y)
        texts = self._texts_of(labels.tolist(), session.tokenizer)
        if not texts:
            return rows
        told = labels[[label in texts for label in labels.tolist()]]
        return rows.append(
            list(texts.values()) * _LABEL_TEXT_COPIES, np.tile(told, _LABEL_TEXT_COPIES)
        )

    def _texts_of(self, labels: list[Any], tokenizer: Tokenizer) -> dict[Any, str]:
        """Text of each label that has one, in the order of `labels`."""
        if self.label_texts is None:
            return {}
        if self.label_texts == "auto":
            words = label_words(labels)
            if words is None or _pieces_per_word(words, tokenizer) > _MOST_PIECES_PER_WORD:
                return {}
            return dict(zip(labels, words, strict=True))
        texts = {label: self.label_texts[label] for label in labels if label in self.label_texts}
        if not texts:
            raise ValueError(
                f"label_texts has none of the labels of y, {labels!r}; its keys are "
                f"{list(self.label_texts)!r}."
            )
        for label, text in texts.items():
            if not isinstance(text, str):
                raise TypeError(f"label_texts[{label!r}] must be a string, got {text!r}.")
        return texts

    def _target_weights(self, rows: TextRows) -> NDArray[np.float64]:
        if self.class_weight is None:
            return rows.weights
        classes, codes = np.unique(rows.y, return_inverse=True)
        if self.class_weight == "balanced":
            # By weight, not by count: a row of weight 2 is two rows.
            totals = np.bincount(codes, weights=rows.weights)
            factors = totals.sum() / (len(classes) * totals)
        else:
            factors = compute_class_weight(self.class_weight, classes=classes, y=rows.y)
        return np.asarray(rows.weights * factors[codes])

    def _split(self, rows: TextRows, seed: int) -> tuple[TextRows, TextRows]:
        positions = np.arange(len(rows.texts))
        try:
            train, held_out = train_test_split(
                positions,
                test_size=self.validation_fraction,
                random_state=seed,
                stratify=rows.y,
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True cannot hold out validation_fraction="
                f"{self.validation_fraction} of {len(positions)} rows ({error}) Pass X_val and "
                "y_val, raise validation_fraction, or set early_stopping=False."
            ) from None
        return rows.take(train), rows.take(held_out)

    def _task_attributes(self, task: Task) -> dict[str, Any]:
        assert isinstance(task, ClassificationTask)
        return {"classes_": task.classes}


def _pieces_per_word(texts: list[str], tokenizer: Tokenizer) -> float:
    n_pieces = sum(len(ids) for ids in tokenizer.encode(texts))
    return n_pieces / sum(len(text.split()) for text in texts)


def _is_missing(label: object) -> bool:
    """Whether a label is None, NaN, pandas' NA or infinite."""
    try:
        return label is None or bool(label != label) or label in (np.inf, -np.inf)
    except TypeError:  # NA has no truth value
        return True
