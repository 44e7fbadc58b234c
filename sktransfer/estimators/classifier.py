"""TransferTextClassifier."""

from __future__ import annotations

import os
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags

from sktransfer.encoders import CLASSIFICATION_ENCODER, EncoderHandle
from sktransfer.estimators.base import check_task, weights_of
from sktransfer.estimators.docstrings import documented
from sktransfer.estimators.encoding import predicting
from sktransfer.estimators.exporting import labels_of
from sktransfer.estimators.parameters import Constraints
from sktransfer.estimators.sklearn_private import Interval, StrOptions
from sktransfer.estimators.targets import ClassTargets
from sktransfer.estimators.text import BaseTextEstimator
from sktransfer.fitting.served_files import Output
from sktransfer.inputs import check_labels
from sktransfer.tasks import MultilabelTask


@documented
class TransferTextClassifier(ClassifierMixin, BaseTextEstimator):
    """Text classifier fine-tuned from a pretrained language model.

    A logistic regression on the features of the frozen encoder, the linear probe, initializes the
    head, and encoder and head are then fine-tuned together. The scores of a linear model on TF-IDF
    features are added.

    Parameters
    ----------
    lexical_weight : float, default=0.3
        Weight of the TF-IDF model's scores beside the network's, from 0 (off) to 1.
    head_refit : bool, default=True
        Whether the head is refitted on the fine-tuned features, and its probabilities are
        calibrated by temperature scaling [5]_. The temperature is set by the cross-validated log
        loss of the linear probe and changes no prediction; it is 1 for multilabel targets, with
        early stopping, in a warm start, and with ``head_init="random"``. With many classes the
        trained head can be better.
    label_texts : "auto", dict or None, default="auto"
        What the labels mean, in words: the text of a label counts as two more training rows of
        its class, which helps when rows are few [1]_. ``"auto"`` reads labels that are words
        (``"lost_card"`` as "lost card", ``"neg"`` beside ``"pos"`` as "negative") and leaves
        codes (numbers, ``"class_1"``) alone, and labels that take the encoder's vocabulary more
        than 1.5 tokens per word, as abbreviations do (``"ENTY"``). If less than half of the
        labels are readable, none is read. A dict gives the text of each label, such as
        ``{0: "negative", 1: "positive"}``; None is off. Rows of several texts and multilabel
        targets have none.
    class_weight : dict, list of dicts, "balanced" or None, default=None
        Weights of the classes, as in scikit-learn. For multilabel targets a list of a dict
        ``{0: weight, 1: weight}`` for each label.
    contrastive_weight : float, default=1.0
        Weight of a contrastive loss beside the cross-entropy: rows of a batch are pulled towards
        those of their class and away from the others [2]_. It holds up to 16 rows per class and
        falls in proportion beyond. Where there are no more rows and no label texts, the loss is
        the squared error of cosines: 1 within a class and 0 between classes [3]_. 0 is off;
        multilabel targets have none.

    mixing_coefficient : float or "auto", default="auto"
        Share of the fine-tuned weights in their average with the pretrained ones, after which the
        head is refitted: weight-space ensembling (WiSE-FT) [4]_. 1 takes the fine-tuned weights as
        they are. ``"auto"`` is 0.5 for at most 40 rows and 0.75 for more, because a fine-tune
        memorizes some of its rows. It is 1 for several texts in one sequence and multilabel
        targets, with early stopping, in a warm start, and with ``head_init="random"``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or (n_labels, 2)
        Labels, sorted. For multilabel targets ``[0, 1]`` for each label.
    label_texts_ : dict
        The text that each label was read as, without those that were not.
    mixing_coefficient_ : float
        The mixing coefficient that was used.
    temperature_ : float
        Temperature that the scores were divided by: above 1, probabilities are less certain than
        those of the refitted head, below 1 more certain.
    pair_encoder_ : {"cross", "bi"} or None
        How the two texts of a row were encoded; None for other rows.
    lexical_ : LexicalChannel or None
        The TF-IDF model.

    References
    ----------
    .. [1] Chang et al., "Importance of Semantic Representation: Dataless Classification", AAAI
       2008.
    .. [2] Gunel et al., "Supervised Contrastive Learning for Pre-trained Language Model
       Fine-tuning", 2021, arXiv:2011.01403.
    .. [3] Tunstall et al., "Efficient Few-Shot Learning Without Prompts", 2022, arXiv:2209.11055.
    .. [4] Wortsman et al., "Robust Fine-tuning of Zero-shot Models", CVPR 2022, arXiv:2109.01903.
    .. [5] Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.

    Examples
    --------
    >>> from sktransfer import TransferTextClassifier
    >>> texts = ["a wonderful film", "a moving story", "dull and slow", "a waste of time"]
    >>> labels = ["good", "good", "bad", "bad"]
    >>> clf = TransferTextClassifier(max_epochs=0, random_state=0).fit(texts, labels)
    >>> clf.predict(["what a beautiful movie", "boring"])
    array(['good', 'bad'], dtype='<U4')
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseTextEstimator._parameter_constraints,
        "label_texts": [dict, StrOptions({"auto"}), None],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "contrastive_weight": [Interval(Real, 0, None, closed="left")],
        "mixing_coefficient": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        encoder: str | os.PathLike[str] | EncoderHandle = CLASSIFICATION_ENCODER,
        *,
        label_texts: dict[Any, str] | Literal["auto"] | None = "auto",
        class_weight: dict[Any, float] | list[dict[int, float]] | Literal["balanced"] | None = None,
        contrastive_weight: float = 1.0,
        mixing_coefficient: float | Literal["auto"] = "auto",
        pooling: str = "auto",
        prompt: str = "auto",
        pooling_layers: int = 1,
        long_texts: Literal["window", "truncate"] = "window",
        pair_encoder: Literal["auto", "cross", "bi"] = "auto",
        symmetric: bool = False,
        missing: Literal["error", "empty"] = "error",
        lexical_weight: float = 0.3,
        head_init: str = "probe",
        head_refit: bool = True,
        C: float = 10.0,
        adapt_epochs: int = 0,
        lm_weight: float = 0.0,
        memory: str | os.PathLike[str] | joblib.Memory | None = None,
        max_length: int = 128,
        trainable_layers: int | Literal["all", "auto"] | None = "auto",
        gradual_unfreezing: bool = False,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 3e-4,
        layer_decay: float = 0.8,
        weight_decay: float = 0.01,
        schedule: str = "adaptive",
        warmup_fraction: float = 0.1,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        warm_start: bool = False,
        device: str = "auto",
        precision: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.encoder = encoder
        self.pooling = pooling
        self.prompt = prompt
        self.pooling_layers = pooling_layers
        self.long_texts = long_texts
        self.pair_encoder = pair_encoder
        self.symmetric = symmetric
        self.missing = missing
        self.lexical_weight = lexical_weight
        self.head_init = head_init
        self.head_refit = head_refit
        self.C = C
        self.adapt_epochs = adapt_epochs
        self.lm_weight = lm_weight
        self.memory = memory
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
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose
        self.label_texts = label_texts
        self.class_weight = class_weight
        self.contrastive_weight = contrastive_weight
        self.mixing_coefficient = mixing_coefficient

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

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
        given = None if classes is None else np.unique(check_labels(classes, name="classes"))
        if not hasattr(self, "model_"):
            if given is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            known = given
        else:
            known = self.classes_
            if given is not None and not np.array_equal(known, given):
                raise ValueError(
                    f"classes={classes!r} is not the same as on the last call to partial_fit: "
                    f"{list(known)!r}."
                )
        reset = not hasattr(self, "model_")
        targets = self._targets(y)
        rows = self._check_training_rows(X, y, sample_weight, targets, reset=reset)
        if rows.y.ndim == 2:
            raise ValueError("partial_fit learns one label per row; pass multilabel y to fit.")
        task = targets.task_of(known, len(rows))
        check_task(task, targets, rows, sample_weight)
        self._continue(rows, task, targets, X)
        return self

    @predicting
    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable label of each text, or all labels that are more probable than not.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples,), or of 0 and 1 of shape (n_samples, n_labels)
            Labels.
        """
        scores = self._scores(X)
        labels: NDArray[Any] = self.task_.decode(scores)
        return labels

    @predicting
    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
            Columns in the order of `classes_`; of multilabel targets the probability of each
            label.
        """
        scores = self._scores(X)
        values: NDArray[np.float32] = self.task_.probabilities(scores)
        return values

    @predicting
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
        scores = self._scores(X)
        values: NDArray[np.float32] = self.task_.log_probabilities(scores)
        return values

    @predicting
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
        values: NDArray[np.float32] = self.task_.decision(scores)
        return values

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy; for multilabel targets, the share of rows with all labels right.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            Between 0 and 1.
        """
        y = self._targets(y).check(y)
        return float(super().score(X, y, weights_of(sample_weight, len(y))))

    def _served_output(self) -> Output:
        is_multilabel = isinstance(self.task_, MultilabelTask)
        return {
            "kind": "multilabel" if is_multilabel else "classes",
            "labels": labels_of(self.classes_),
        }

    def _targets(self, y: Any) -> ClassTargets:
        known = self.classes_ if self.warm_start and hasattr(self, "model_") else None
        return ClassTargets(self.label_texts, self.class_weight, self.contrastive_weight, known)
