"""Immutable reference to the weights of an encoder, used as a parameter of estimators."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import weakref
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from sktransfer.encoders.saving import saved_encoder
from sktransfer.encoders.sentence_settings import SentenceSettings
from sktransfer.inputs.tokens import Tokenizer
from sktransfer.nn import own_weights
from sktransfer.nn.encoder import Encoder
from sktransfer.runtime import ForkSafeLock, cache, device_memory, unique_key, usual_numerics
from sktransfer.runtime.module_copies import copy_module


class EncoderSource(Protocol):
    """Where a handle's modules come from; immutable and picklable."""

    @property
    def digest(self) -> str: ...

    @property
    def cache_key(self) -> str: ...

    @property
    def settings(self) -> SentenceSettings: ...

    def load(self, *, lm_head: bool = False) -> tuple[Encoder, Tokenizer]: ...


class EncoderHandle:
    """Immutable reference to a pretrained encoder and its tokenizer.

    Copying, cloning or pickling a handle never copies weights that lie in a file. Two handles
    are equal when their contents are.

    Parameters
    ----------
    name : str
        What to call the encoder in messages and representations.
    source : EncoderSource
        Where the modules come from.

    See Also
    --------
    sktransfer.encoders.resolve_encoder : The handle of a name or a folder.

    Examples
    --------
    >>> from sktransfer.encoders import resolve_encoder
    >>> handle = resolve_encoder("all-MiniLM-L6-v2")  # doctest: +SKIP
    >>> encoder, tokenizer = handle.load()  # doctest: +SKIP
    >>> encoder.hidden_size  # doctest: +SKIP
    384
    """

    __slots__ = ("__weakref__", "_name", "_source")

    _name: str
    _source: EncoderSource

    def __init__(self, name: str, source: EncoderSource) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_source", source)

    @classmethod
    def from_modules(
        cls,
        encoder: Encoder,
        tokenizer: Tokenizer,
        *,
        name: str,
        settings: SentenceSettings | None = None,
    ) -> EncoderHandle:
        """Handle to a copy of the current weights of `encoder` in memory.

        Parameters
        ----------
        encoder : Encoder
            Its weights are copied once; training it further leaves the handle as it is.
        tokenizer : Tokenizer
            Shared, not copied.
        name : str
            What to call the encoder in messages.
        settings : SentenceSettings, default=None
            Pooling and prompt that go with the encoder.

        Returns
        -------
        EncoderHandle
        """
        if not isinstance(encoder, Encoder):
            raise TypeError(f"encoder must be an Encoder module, got {type(encoder).__name__}.")
        weights = {
            key: _plain_copy(value) for key, value in encoder.state_dict(keep_vars=False).items()
        }
        # Weights alone do not tell the cutoffs of a softmax from others.
        head = encoder.lm_head
        shape = None if head is None else asdict(head.shape)
        settings = settings or SentenceSettings()
        form = json.dumps([encoder.manifest(), shape, asdict(settings)], sort_keys=True)
        source = ModuleSource(encoder.blueprint(), weights, tokenizer, form=form, settings=settings)
        return cls(name, source)

    @property
    def name(self) -> str:
        """What the encoder is called."""
        return self._name

    @property
    def source(self) -> EncoderSource:
        """Where the modules come from."""
        return self._source

    @property
    def settings(self) -> SentenceSettings:
        """Pooling and prompt that the encoder was trained with, where that is known."""
        return self._source.settings

    @property
    def cache_key(self) -> str:
        """Key that identifies the content within this process, without reading it."""
        return self._source.cache_key

    @property
    def digest(self) -> str:
        """SHA-256 over the weights, the configuration and the tokenizer."""
        return self._source.digest

    @usual_numerics()
    def load(self, *, lm_head: bool = False) -> tuple[Encoder, Tokenizer]:
        """Fresh modules, independent of earlier loads.

        Parameters
        ----------
        lm_head : bool, default=False
            Whether the encoder comes with its own language-model head. Where it has none that
            can be read, its `lm_head` is None all the same.

        Returns
        -------
        encoder : Encoder
            On the CPU, in float32 and eval mode.
        tokenizer : Tokenizer
            The tokenizer that the encoder was trained with.

        Raises
        ------
        ValueError
            If the files have gone or do not fit together.
        """
        encoder, tokenizer = self.load_shared(lm_head=lm_head)
        own_weights(encoder.parameters())
        return encoder, tokenizer

    @usual_numerics()
    def load_shared(
        self, *, lm_head: bool = False, device: torch.device | None = None
    ) -> tuple[Encoder, Tokenizer]:
        """Like `load`, but with weights that are shared within the process.

        No parameter may be written to, by training or otherwise, before `own_weights` of
        `sktransfer.nn` has given it storage of its own; the training loop does so.

        Parameters
        ----------
        lm_head : bool, default=False
            As in `load`.
        device : torch.device, default=None
            Where the weights are to be, too, for all models that start from them.

        Returns
        -------
        encoder : Encoder
            On the CPU, in float32 and eval mode.
        tokenizer : Tokenizer
            The tokenizer that the encoder was trained with.
        """
        key = ("weights", self._source.cache_key, lm_head)
        modules = cache.remembered(
            key,
            functools.partial(self._read, lm_head),
            lambda modules: sum(p.nbytes for p in modules[0].parameters()),
        )
        encoder, tokenizer = modules
        if device is not None and cache.get(key) is modules:
            device_memory.on(encoder, device)
        shared: dict[int, Any] = {id(p): nn.Parameter(p.data) for p in encoder.parameters()}
        return copy_module(encoder, shared), tokenizer

    def _read(self, lm_head: bool) -> tuple[Encoder, Tokenizer]:
        encoder, tokenizer = self._source.load(lm_head=lm_head)
        encoder.float().eval().requires_grad_(True)
        return encoder, tokenizer

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the encoder to a folder that can be given as `encoder` on any machine.

        Transformers become a checkpoint as Hugging Face's libraries read it, with the
        language-model head, if there is one, beside the weights; other encoders become a
        manifest beside theirs. Nothing in the folder can run code.

        Parameters
        ----------
        folder : str or path-like
            Is made if there is none. One that holds an encoder saved before is written over.

        Raises
        ------
        ValueError
            If the folder holds anything else, or the encoder has no form in files.
        """
        encoder, tokenizer = self.load_shared(lm_head=True)
        with saved_encoder(encoder, tokenizer, self.settings, Path(folder).expanduser()):
            pass

    def __repr__(self) -> str:
        return f"EncoderHandle({self._name!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EncoderHandle):
            return NotImplemented
        return self._source is other._source or self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __copy__(self) -> EncoderHandle:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> EncoderHandle:
        return self

    def __sklearn_clone__(self) -> EncoderHandle:
        return self

    def __reduce__(self) -> tuple[type[EncoderHandle], tuple[str, EncoderSource]]:
        return type(self), (self._name, self._source)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"EncoderHandle is immutable: cannot set {name!r}.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"EncoderHandle is immutable: cannot delete {name!r}.")


class ModuleSource:
    """Weights in memory and a function that builds their encoder.

    Parameters
    ----------
    blueprint : callable
        Builds the encoder with its parameters unset.
    weights : dict of str to Tensor
        State dict on the CPU; never written to.
    tokenizer : Tokenizer
        The encoder's tokenizer.
    digest : str, optional
        Where it is known already.
    form : str, default=""
        What else than weights and tokenizer the digest covers.
    settings : SentenceSettings, optional
        Pooling and prompt that go with the encoder.
    """

    def __init__(
        self,
        blueprint: Callable[[], Encoder],
        weights: dict[str, Tensor],
        tokenizer: Tokenizer,
        digest: str | None = None,
        form: str = "",
        settings: SentenceSettings | None = None,
    ) -> None:
        self._blueprint = blueprint
        self._weights = weights
        self._tokenizer = tokenizer
        self._digest = digest
        self._form = form
        self.settings = settings or SentenceSettings()
        self._key = f"module {unique_key()}"

    @property
    def cache_key(self) -> str:
        """Tells the content from others of this process, without reading it."""
        return self._key

    @property
    def digest(self) -> str:
        if self._digest is None:
            self._digest = self._compute_digest()
        with _lock:
            _sources.setdefault(self._digest, self)
        return self._digest

    def load(self, *, lm_head: bool = False) -> tuple[Encoder, Tokenizer]:
        encoder = self._blueprint()
        _assign_weights(encoder, self._weights)
        if not lm_head:
            encoder.drop_lm_heads()
        return encoder, self._tokenizer

    def _compute_digest(self) -> str:
        sha = hashlib.sha256(pickle.dumps(self._tokenizer, protocol=5))
        sha.update(self._form.encode())
        for key in sorted(self._weights):
            value = self._weights[key]
            sha.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            sha.update(value.reshape(-1).view(torch.uint8).numpy().data)
        return sha.hexdigest()

    def __getstate__(self) -> NoReturn:
        # Pickle does not ask for it; skops does, and would end the process at the first tensor.
        raise TypeError(
            "encoder: a handle to weights in memory has no form in files of skops; save the "
            "encoder with its method `save`, and give the folder as encoder."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        from safetensors.torch import save

        packed = save(self._weights)
        return _shared_source, (
            self.digest,
            self._blueprint,
            packed,
            self._tokenizer,
            self.settings,
        )


_sources: weakref.WeakValueDictionary[str, ModuleSource] = weakref.WeakValueDictionary()
_lock = ForkSafeLock()


def _shared_source(
    digest: str,
    blueprint: Callable[[], Encoder],
    packed: bytes,
    tokenizer: Tokenizer,
    settings: SentenceSettings,
) -> ModuleSource:
    """The source with this digest, so that unpickling twice keeps one copy of the weights."""
    from safetensors.torch import load

    with _lock:
        source = _sources.get(digest)
        if source is None:
            source = ModuleSource(blueprint, load(packed), tokenizer, digest, settings=settings)
            _sources[digest] = source
    return source


def _assign_weights(encoder: Encoder, weights: dict[str, Tensor]) -> None:
    """Make `weights` the parameters of `encoder` without copying them."""
    state = encoder.state_dict()
    if state.keys() != weights.keys():
        raise ValueError("encoder: its weights are not those of its architecture.")
    parameters = dict(encoder.named_parameters())  # each of tied ones once
    for name, value in weights.items():
        if name in parameters:
            parameters[name].data = value
        elif name in dict(encoder.named_buffers()):
            state[name].copy_(value)


def _plain_copy(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    copied = tensor.detach().to("cpu", dtype, copy=True)
    return copied.contiguous()
