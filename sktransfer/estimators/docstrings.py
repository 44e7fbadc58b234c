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
pooling : {"mean", "cls", "last", "max", "concat"}
    How the states of a text's tokens become one vector; ``"concat"`` is the last, max and
    mean of ULMFiT (Howard and Ruder, 2018, arXiv:1801.06146).
pooling_layers : int
    Number of last layers whose pooled, L2-normalized states are averaged.
long_texts : {"window", "truncate"}
    Longer texts are read whole in overlapping windows whose states are pooled together
    (while training, in at most four windows per step, drawn anew each epoch), or cut, with a
    warning. Rows of several texts are always cut to `max_length`, the longest text first.
symmetric : bool
    Whether rows of several texts are read in both orders, whose features are averaged: for
    similarity and paraphrase (Radford et al., 2018, "Improving Language Understanding by
    Generative Pre-Training", section 3.3).
lexical_weight : float
    Weight of the TF-IDF model beside the network, from 0 (off) to 1.
head_init : {"probe", "random"}
    Where the head starts: at the linear model on frozen features, or at random.
head_refit : bool
    Whether the head is solved once more, on the fine-tuned features.
C : float
    Inverse regularization strength of the probe.
adapt_epochs : int
    Epochs of language modeling on the texts of the rows (and on `unlabeled` ones given to `fit`)
    before anything else: the target-task stage of ULMFiT (Howard and Ruder, 2018).
lm_weight : float
    Weight of an auxiliary language-model loss on the texts of the rows, beside the loss of the
    task; 0.5 in GPT-1 (Radford et al., 2018).
memory : None, str, path or joblib.Memory
    Folder in which states of frozen layers and features of the encoder are kept for other
    processes, as in scikit-learn's Pipeline; None writes nothing. Fits of one process share
    them in any case (see `sktransfer.runtime.set_cache_budget`).
max_length : int
    Tokens that the encoder reads at once, at most what it can read.
trainable_layers : int, "all" or None
    Layers that train, counted from the top: None is all but the embeddings, ``"all"``
    includes them, 0 leaves the encoder frozen.
gradual_unfreezing : bool
    Whether layers join the training one by one, from the top, epoch by epoch (Howard and
    Ruder, 2018).
max_epochs : int or "auto"
    Passes over the rows; ``"auto"`` makes more of them the fewer rows there are. With 0 only
    the head is solved, on frozen features.
batch_size : int or "auto"
    Rows of one step of the optimizer, whatever the memory of the device; ``"auto"`` is 16, or
    32 where there are no more than 64 rows.
learning_rate : float
    Peak learning rate of the head and the top layer.
layer_decay : float
    Factor on the rate from each layer to the one below (Howard and Ruder, 2018).
weight_decay : float
    Decoupled weight decay of weight matrices.
schedule : {"linear", "slanted_triangular", "cosine", "constant"}
    Learning rate after the warmup.
warmup_fraction : float
    Share of the steps over which the rate rises.
early_stopping : bool
    Whether to stop when the validation score no longer grows and to keep the best epoch's
    weights.
validation_fraction : float
    Share of the rows held out for early stopping, unless `fit` is given `X_val`.
n_iter_no_change : int
    Epochs without improvement before early stopping ends the training.
warm_start : bool
    Whether `fit` goes on from the weights of the fit before.
device : str
    ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    Weights rest on the CPU outside of `fit` and `predict`.
precision : {"auto", "float32", "bfloat16"}
    Precision of matrix products; ``"auto"`` trains in bfloat16 where the chip has it and
    predicts in float32.
random_state : int, RandomState instance or None
    Seed of row order, dropout and validation split.
verbose : int
    If positive, a line per epoch goes to standard error.
"""

_ATTRIBUTES = """
task_ : Task
    What the targets mean to the network: their coding, loss and scale.
model_ : TransferModel
    Fine-tuned PyTorch module, on the CPU.
tokenizer_ : Tokenizer
    Tokenizer of the encoder.
encoder_ : EncoderHandle
    Handle to the fine-tuned encoder.
loss_curve_ : list of float
    Mean training loss of each epoch.
validation_scores_ : list of float
    Score of the network on the validation rows after each epoch, if there were any.
best_epoch_ : int or None
    Epoch of the best validation score, from 1.
n_iter_ : int
    Epochs trained.
device_ : str
    Device of the last fit.
n_features_in_ : int
    Columns of X.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the columns, if `X` was a table with names.
"""


def documented(estimator: Estimator) -> Estimator:
    """Add to the docstring of an estimator what it shares with the others.

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
