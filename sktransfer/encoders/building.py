"""Build networks of transformers from a configuration, with uninitialized parameters."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sktransfer.encoders.checks import (
    check_size,
)
from sktransfer.runtime import isolated_seed

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

CPU = torch.device("cpu")


def read_config(folder: Path) -> PreTrainedConfig:
    from transformers import AutoConfig

    with quiet_transformers():
        try:
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # whatever it makes of a damaged file
            raise ValueError(
                f"encoder: transformers cannot read {folder / 'config.json'}. An architecture "
                f"with code of its own is never run. ({first_line(error)})"
            ) from error
    # Otherwise decoders would cache keys and values that are never used.
    config.use_cache = False
    return config


def build_model(config: PreTrainedConfig) -> PreTrainedModel:
    """The architecture, its parameters unset, in float32."""
    from transformers import AutoModel

    # Annotated nowhere in transformers.
    from_config: Callable[..., PreTrainedModel] = AutoModel.from_config
    with quiet_transformers(), isolated_seed(0, CPU), _NoRandomInit():
        try:
            # An untrained pooler would be weight that never learns.
            return from_config(config, dtype=torch.float32, add_pooling_layer=False)
        except TypeError:
            return from_config(config, dtype=torch.float32)


def checked_build(config: PreTrainedConfig, n_bytes: int, path: Path) -> PreTrainedModel:
    """Like `build_model`, but raise a ValueError if `path`, its config.json, is invalid."""
    try:
        with torch.device("meta"):
            check_size(build_model(config), n_bytes, path)
        return build_model(config)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        if str(path) in str(error):
            raise
        raise ValueError(
            f"encoder: no network can be built from {path}. ({first_line(error)})"
        ) from error


def text_half(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder of an encoder-decoder, else the model itself."""
    if getattr(model.config, "is_encoder_decoder", False):
        half: PreTrainedModel = model.get_encoder()
        return half
    return model


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class _NoRandomInit(TorchFunctionMode):
    """Skips random initialization, because the weights of a checkpoint replace it."""

    _drawn = frozenset(
        f"{name}_"
        for name in (
            "normal",
            "uniform",
            "trunc_normal",
            "kaiming_normal",
            "kaiming_uniform",
            "xavier_normal",
            "xavier_uniform",
        )
    )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func.__name__ not in self._drawn:
            return func(*args, **kwargs)
        tensor: Tensor = args[0] if args else kwargs["tensor"]
        # Not left as it is: draws from a truncated normal are repeated while out of bounds.
        tensor.detach().fill_(kwargs.get("mean", args[1] if len(args) > 1 else 0.0))
        return tensor


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep this thread's transformers from logging, whatever its verbosity."""
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        return record.thread != thread or not record.name.startswith("transformers")

    loggers = [logging.getLogger("transformers"), logging.getLogger()]
    handlers = [handler for logger in loggers for handler in logger.handlers]
    for handler in handlers:
        handler.addFilter(keep)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(keep)
