"""Docstrings of parameters and attributes that estimators share, written once."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import TypeVar

Estimator = TypeVar("Estimator", bound=type)

_PARAMETERS = """
encoder : str, path or EncoderHandle
    Pretrained encoder: an alias, a local folder, a Hugging Face id (``"name@revision"``
    pins it) or a handle such as another estimator's `encoder_`.
pooling : {"auto", "mean", "cls", "last", "max", "concat"}
    How the hidden states of the tokens are pooled into one vector. ``"auto"`` is what the
    checkpoint was trained with, if its files say so as those of sentence-transformers do;
    otherwise the mean, for decoders the last token, and for AWD-LSTMs ``"concat"``: the
    concatenation of last, max and mean pooling of ULMFiT (Howard and Ruder, 2018,
    arXiv:1801.06146).
prompt : str
    Text before each text, such as ``"query: "``, or ``""`` for none. ``"auto"`` is what the
    checkpoint expects: the default prompt in its ``config_sentence_transformers.json``, or the
    one called "classification".
pooling_layers : int
    Number of last layers whose pooled, L2-normalized states are averaged.
long_texts : {"window", "truncate"}
    Whether texts longer than `max_length` are read whole, in overlapping windows that are pooled
    together (in training at most four windows per step, drawn anew each epoch), or truncated,
    with a warning. Rows of several texts are always truncated, the longest text first.
pair_encoder : {"auto", "cross", "bi"}
    How the two texts of a row are encoded: in one sequence (a cross-encoder), or each alone, so
    that their vectors are compared (a bi-encoder; Reimers and Gurevych, 2019, "Sentence-BERT").
    If there are at most 1,000 rows, or no layer is trained, ``"auto"`` takes the one whose linear
    probe has the lower cross-validated loss; otherwise, in `partial_fit`, and for multilabel
    targets, the cross-encoder. A bi-encoder is trained only if `max_epochs` is a number.
symmetric : bool
    Whether the order of several texts has no meaning, as for similarity and paraphrases. A
    cross-encoder reads them in both orders and averages the features (Radford et al., 2018,
    "Improving Language Understanding by Generative Pre-Training", section 3.3).
missing : {"error", "empty"}
    Whether a missing text (None, NaN, NA) is an error or an empty text.
lexical_weight : float
    Weight of the TF-IDF model's scores relative to the network's, from 0 (off) to 1.
head_init : {"probe", "random"}
    Initialization of the head: the linear model on frozen features, or random weights.
head_refit : bool
    Whether the head is refitted on the fine-tuned features.
C : float
    Inverse regularization strength of the linear probe.
adapt_epochs : int
    Epochs of language-model fine-tuning on the training texts (and on the `unlabeled` texts given
    to `fit`) before anything else: the second stage of ULMFiT (Howard and Ruder, 2018).
lm_weight : float
    Weight of an auxiliary language-model loss on the training texts, added to the loss of the
    task; 0.5 in GPT-1 (Radford et al., 2018).
memory : None, str, path or joblib.Memory
    Folder in which states of frozen layers and features of the encoder are cached for other
    processes, as in scikit-learn's Pipeline; None writes nothing. Fits in one process share
    them in any case (see `sktransfer.runtime.set_cache_budget`).
max_length : int
    Maximum number of tokens of a window, bounded by what the encoder can read.
trainable_layers : int, "auto", "all" or None
    Number of layers to fine-tune, counted from the top: None is all layers but the embeddings,
    ``"all"`` includes them, 0 leaves the encoder frozen. ``"auto"`` is the upper two thirds, or all
    for at most 64 rows and with gradual unfreezing.
gradual_unfreezing : bool
    Whether layers are unfrozen one by one from the top, one per epoch (Howard and
    Ruder, 2018).
max_epochs : int or "auto"
    Number of passes over the training rows; ``"auto"`` chooses more for fewer rows. With 0 only
    the head is fitted, on frozen features.
batch_size : int or "auto"
    Rows per optimizer step, whatever the memory of the device; ``"auto"`` is 16, or 32 for at
    most 64 rows.
learning_rate : float
    Peak learning rate of the head and the top layer.
layer_decay : float
    Factor of the learning rate from each layer to the one below (Howard and Ruder, 2018).
weight_decay : float
    Decoupled weight decay of weight matrices.
schedule : {"adaptive", "linear", "slanted_triangular", "cosine", "constant"}
    Schedule of the learning rate after the warmup. ``"adaptive"`` decreases it linearly to zero
    as ``"linear"`` does, but ends the training early if the loss stops falling: once an epoch has
    lowered it by at most a hundredth of its decrease so far, as many epochs follow as there were.
warmup_fraction : float
    Fraction of the steps over which the learning rate rises linearly.
early_stopping : bool
    Whether to stop training when the validation score no longer improves, and to keep the weights
    of the best epoch.
validation_fraction : float
    Fraction of the rows held out for early stopping, unless `X_val` is passed to `fit`.
n_iter_no_change : int
    Number of epochs without improvement after which early stopping ends the training.
warm_start : bool
    Whether `fit` continues from the weights of the previous fit.
device : str
    ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    A fitted `model_` is on the CPU.
precision : {"auto", "float32", "bfloat16"}
    Precision of matrix products; ``"auto"`` trains in bfloat16 where the hardware computes faster
    with it, and predicts in float32.
random_state : int, RandomState instance or None
    Controls the order of the rows, dropout and the validation split.
verbose : int
    If positive, one line per epoch is written to standard error, and a terminal or a notebook shows
    a progress bar while many texts are read, in `fit` and in predictions.
"""

_ATTRIBUTES = """
task_ : Task
    Encoding of the targets, loss and decoding.
model_ : TransferModel
    Fine-tuned PyTorch module, on the CPU.
tokenizer_ : Tokenizer
    Tokenizer of the encoder.
encoder_ : EncoderHandle
    Handle to the fine-tuned encoder.
loss_curve_ : list of float
    Mean training loss per epoch.
validation_scores_ : list of float
    Score on the validation rows after each epoch, if there are any.
best_epoch_ : int or None
    Epoch with the best validation score, counted from 1.
n_iter_ : int
    Number of epochs trained.
device_ : str
    Device of the last fit.
n_features_in_ : int
    Number of columns of `X`.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the columns of `X`, if it has any.
"""


def documented(estimator: Estimator) -> Estimator:
    """Add the shared parameters and attributes to the docstring of an estimator.

    Its own entries stay as they are; the others follow the signature, with its defaults.
    """
    document = inspect.cleandoc(estimator.__doc__ or "")
    shared = _entries(_PARAMETERS)
    own = _entries(_section(document, "Parameters"))
    written = []
    for name, parameter in inspect.signature(estimator).parameters.items():
        default = repr(parameter.default).replace("'", '"')
        entry = own.get(name) or _with_default(shared[name], default)
        written.append(entry)
    attributes = [*_entries(_section(document, "Attributes")).values()]
    attributes += _entries(_ATTRIBUTES).values()
    document = _replace(document, "Parameters", "\n".join(written))
    document = _replace(document, "Attributes", "\n".join(attributes))
    # Indented and closed as in a source file, which is what numpydoc's validation reads.
    estimator.__doc__ = textwrap.indent(document.rstrip(), "    ").lstrip() + "\n    "
    return estimator


def _with_default(entry: str, default: str) -> str:
    first, _, rest = entry.partition("\n")
    return f"{first}, default={default}\n{rest}"


def _entries(text: str) -> dict[str, str]:
    """Entries `name : type` of a section, by name."""
    parts = re.split(r"^(?=\w+ : )", text.strip("\n"), flags=re.MULTILINE)
    return {part.partition(" : ")[0]: part.rstrip() for part in parts if part.strip()}


def _section(document: str, title: str) -> str:
    found = _pattern(title).search(document)
    return found[2] if found else ""


def _replace(document: str, title: str, body: str) -> str:
    return _pattern(title).sub(lambda found: f"{found[1]}{body}\n\n", document, count=1)


def _pattern(title: str) -> re.Pattern[str]:
    rule = "-" * len(title)
    return re.compile(
        rf"^({title}\n{rule}\n)(.*?)\n*(?=^\w[\w ]*\n---|\Z)", re.MULTILINE | re.DOTALL
    )
