"""The embedded data set: a real classification problem that needs no download."""

from __future__ import annotations

import importlib
import re
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils import Bunch

__all__ = ["load_docstrings"]

_SKLEARN = (
    "calibration",
    "cluster",
    "compose",
    "covariance",
    "cross_decomposition",
    "datasets",
    "decomposition",
    "discriminant_analysis",
    "dummy",
    "ensemble",
    "feature_extraction",
    "feature_extraction.image",
    "feature_extraction.text",
    "feature_selection",
    "gaussian_process",
    "gaussian_process.kernels",
    "impute",
    "inspection",
    "isotonic",
    "kernel_approximation",
    "kernel_ridge",
    "linear_model",
    "manifold",
    "mixture",
    "model_selection",
    "multiclass",
    "multioutput",
    "naive_bayes",
    "neighbors",
    "neural_network",
    "pipeline",
    "preprocessing",
    "random_projection",
    "semi_supervised",
    "svm",
    "tree",
    "utils",
)

# Class -> the modules whose public names belong to it. The neighbors are chosen to overlap in
# vocabulary (linear algebra lives in four of them), so that word counts alone do not solve it.
_CLASSES: dict[str, tuple[str, ...]] = {
    "numpy": ("numpy", "numpy.fft", "numpy.linalg", "numpy.random"),
    "scipy.linalg": ("scipy.linalg", "scipy.linalg.interpolative"),
    "scipy.ndimage": ("scipy.ndimage",),
    "scipy.optimize": ("scipy.optimize",),
    "scipy.signal": ("scipy.signal", "scipy.signal.windows"),
    "scipy.sparse": ("scipy.sparse", "scipy.sparse.csgraph", "scipy.sparse.linalg"),
    "scipy.special": ("scipy.special",),
    "scipy.stats": ("scipy.stats", "scipy.stats.contingency", "scipy.stats.qmc"),
    "sklearn": tuple(f"sklearn.{name}" for name in _SKLEARN),
    "sklearn.metrics": ("sklearn.metrics", "sklearn.metrics.cluster", "sklearn.metrics.pairwise"),
    "torch.nn": ("torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils"),
}

_DESCR = """\
Docstrings of the scientific Python stack
-----------------------------------------

Each sample is the first sentence of the docstring of one public function or class of NumPy,
SciPy, scikit-learn or PyTorch, without signatures and markup; the target is the package it
belongs to. The sentences are read from the packages installed here, so their number changes a
little with their versions. A sentence that stands in two packages is left out.

    Samples   {n_samples}
    Classes   {n_classes}: {classes}
"""

_SIGNATURE = re.compile(r"[\w.]+\(")
_DIRECTIVE = re.compile(r"\.\. |[-=~#>*:]")
_ROLE = re.compile(r":[a-zA-Z:]+:`(?:[^`<]*<)?[~!]?([^`>]*)>?`")
_LINK = re.compile(r"\s*<https?:[^>]*>_*")
_DOTTED = re.compile(r"\b(?:numpy|np|scipy|sklearn|torch)(?:\.\w+)*\.(\w+)")
_EMPHASIS = re.compile(r"(?<!\w)(\*{1,2})(\w[^*]*)\1(?!\w)")
_MARKUP = re.compile(r"`|\\(?:text|math(?:bf|bb|cal|rm))\b|[\\{}]")
_ALIAS = re.compile(r"(?:an )?alias (?:for|of|to)\b|see\b", re.IGNORECASE)
_PACKAGE_NAME = re.compile(r"numpy|scipy|scikit|sklearn|torch", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bal)(?<!\betc)[.:](?=\s+[A-Z(]|\s*$)"
)


def load_docstrings(*, return_X_y: bool = False) -> Any:  # noqa: N803
    """Load the docstring sentences of the installed scientific stack (classification).

    Given the first sentence of a docstring ("Compute the determinant of an
    array"), tell the package it comes from. Nothing is downloaded: the sentences are read from
    the NumPy, SciPy, scikit-learn and PyTorch that are installed.

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (n_samples,), dtype object
            The sentences, in a fixed order.
        target : ndarray of shape (n_samples,)
            The class of each sentence, an index into `target_names`.
        target_names : list of str
            The names of the classes.
        DESCR : str
            The full description of the data set.

    (data, target) : tuple if ``return_X_y`` is True
        The first two of these alone.

    Examples
    --------
    >>> from sktransfer.datasets import load_docstrings
    >>> docstrings = load_docstrings()
    >>> docstrings.target_names[:3]
    ['numpy', 'scipy.linalg', 'scipy.ndimage']
    >>> len(docstrings.data) == len(docstrings.target)
    True
    """
    homes: dict[str, set[int]] = {}
    for index, modules in enumerate(_CLASSES.values()):
        for text in _summaries(modules):
            homes.setdefault(text, set()).add(index)
    # A sentence with two homes has no right answer.
    rows = [(text, found.pop()) for text, found in homes.items() if len(found) == 1]
    data = np.array([text for text, _ in rows], dtype=object)
    target = np.array([index for _, index in rows], dtype=np.intp)
    if return_X_y:
        return data, target
    names = list(_CLASSES)
    description = _DESCR.format(n_samples=len(data), n_classes=len(names), classes=", ".join(names))
    return Bunch(data=data, target=target, target_names=names, DESCR=description)


def _summaries(modules: tuple[str, ...]) -> Iterator[str]:
    """Yield the summary sentence of each public function and class, in order of name."""
    for module_name in modules:
        # Old aliases warn when they are looked up; that is their package's business.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            members = list(_public_members(importlib.import_module(module_name)))
        for name, member in members:
            text = summary_sentence(member.__doc__, name)
            if text is not None:
                yield text


def _public_members(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    package = module.__name__.partition(".")[0]
    listed = getattr(module, "__all__", None)
    names = listed if listed is not None else [n for n in vars(module) if not n.startswith("_")]
    for name in sorted(set(names)):
        try:
            member = getattr(module, name)
        except (AttributeError, ImportError):  # listed, but experimental or removed
            continue
        home = getattr(member, "__module__", None) or package
        # Without __all__, a module's names include what it imported from elsewhere.
        if not callable(member) or home.partition(".")[0] != package:
            continue
        if isinstance(getattr(member, "__doc__", None), str):
            yield name, member


def summary_sentence(docstring: str, name: str) -> str | None:
    """The first sentence of a docstring: no signature, no markup, no paths that name a package.

    None where the docstring says nothing (a bare signature, an alias, fewer than three words) or
    gives the package away by its name.
    """
    text = _first_prose(docstring)
    text = _LINK.sub("", _ROLE.sub(r"\1", text))
    text = _EMPHASIS.sub(r"\2", _DOTTED.sub(r"\1", text))
    text = " ".join(_MARKUP.sub("", text).split())
    # "erf: the error function" would hand over the answer to whoever knows the name.
    text = re.sub(rf"^{re.escape(name)}\s*[:\u2013-]\s+", "", text, flags=re.IGNORECASE)
    end = _SENTENCE_END.search(text)
    text = text[: end.start()] if end else text
    unusable = _ALIAS.match(text) or _PACKAGE_NAME.search(text) or len(text.split()) < 3
    return None if unusable else text


def _first_prose(docstring: str) -> str:
    """The first paragraph that is neither a signature nor a directive."""
    for paragraph in re.split(r"\n\s*\n", docstring.strip()):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        while lines and _SIGNATURE.match(lines[0]):
            depth = 0
            while lines:  # a signature may run over several lines
                line = lines.pop(0)
                depth += line.count("(") - line.count(")")
                if depth <= 0:
                    break
        if lines and not _DIRECTIVE.match(lines[0]):
            return " ".join(lines)
    return ""
