"""Checkpoints, so that training can resume after the process was killed."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from sktransfer.runtime import find_stack_level, remove_leftovers, write_file
from sktransfer.training import Progress

_FILE = "checkpoint.safetensors"
_FORMAT = 1


class Checkpoint:
    """One file that holds the state of a training, replaced in one move.

    Parameters
    ----------
    folder : Path
        Where it lies; made if it is not there.
    identity : dict of str to str
        What is trained, on which texts. A file of something else is an error.
    seconds : float
        Least time between two writings.
    """

    def __init__(self, folder: Path, identity: dict[str, str], *, seconds: float) -> None:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"checkpoint={str(folder)!r} is a file; give a folder.")
        self.folder, self.identity, self.seconds = folder, identity, seconds
        self._written = perf_counter()

    @property
    def file(self) -> Path:
        """The file of the state."""
        return self.folder / _FILE

    def restore(self, model: nn.Module) -> Progress | None:
        """Put the weights of the file into `model` and give the rest; None where there is none."""
        content = self._read()
        if content is None:
            return None
        tensors, notes = content
        model.load_state_dict(_under("model.", tensors))
        optimizer = notes["optimizer"]
        optimizer["state"] = _unflatten(_under("optimizer.", tensors))
        return Progress(
            **notes["progress"],
            optimizer=optimizer,
            generators=_in_order(_under("generator.", tensors)),
            objective_state=_in_order(_under("objective_state.", tensors)),
        )

    def note(self, name: str) -> str | None:
        """What was kept under `name` beside the state."""
        content = self._read()
        return None if content is None else content[1]["notes"].get(name)

    def watch(
        self, model: nn.Module, notes: dict[str, str] | None = None
    ) -> Callable[[int, Callable[[], Progress]], None]:
        """Function for the loop that writes the file from time to time.

        Where it cannot be written, such as on a full disk, it warns.
        """
        from safetensors import SafetensorError

        def on_step_end(_: int, take: Callable[[], Progress]) -> None:
            if perf_counter() - self._written >= self.seconds:
                try:
                    self.write(model, take(), notes or {})
                except (OSError, SafetensorError) as error:
                    warnings.warn(
                        f"checkpoint={str(self.folder)!r} cannot be written ({error}): the "
                        "training goes on without it.",
                        UserWarning,
                        stacklevel=find_stack_level(),
                    )
                self._written = perf_counter()

        return on_step_end

    def write(self, model: nn.Module, progress: Progress, notes: dict[str, str]) -> None:
        """Replace the file."""
        from safetensors.torch import save_file

        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        for number, values in progress.optimizer["state"].items():
            for name, value in values.items():
                tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
        for name in ("generator", "objective_state"):
            listed = progress.generators if name == "generator" else progress.objective_state
            tensors |= {f"{name}.{number}": tensor for number, tensor in enumerate(listed)}
        scalars = {
            field.name: getattr(progress, field.name)
            for field in fields(progress)
            if field.name not in ("optimizer", "generators", "objective_state")
        }
        document = {
            "format": _FORMAT,
            "identity": self.identity,
            "progress": scalars,
            "optimizer": {"param_groups": progress.optimizer["param_groups"]},
            "notes": notes,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        text = json.dumps(document)
        metadata = {"sktransfer": text, "checksum": _checksum(text, plain)}
        write_file(self.file, lambda partial: save_file(plain, partial, metadata=metadata))

    def remove(self) -> None:
        """Delete the file."""
        self.file.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        from safetensors import SafetensorError, safe_open

        if self.folder.is_dir():
            remove_leftovers(self.folder, _FILE)
        if not self.file.is_file():
            return None
        try:
            with safe_open(self.file, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if _checksum(metadata["sktransfer"], tensors) != metadata["checksum"]:
                raise ValueError("its content is damaged")
            document = json.loads(metadata["sktransfer"])
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"checkpoint={str(self.folder)!r}: {self.file.name} cannot be read ({error}). "
                "Delete it to start anew."
            ) from error
        differing = [
            name for name, value in self.identity.items() if document["identity"].get(name) != value
        ]
        if document["format"] != _FORMAT or differing:
            raise ValueError(
                f"checkpoint={str(self.folder)!r} is of another training: it differs in "
                f"{', '.join(differing) or 'its format'}. Delete the folder to start anew, or "
                "name another."
            )
        return tensors, document


def _checksum(text: str, tensors: dict[str, Tensor]) -> str:
    content = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _in_order(tensors: dict[str, Tensor]) -> list[Tensor]:
    return [tensors[key] for key in sorted(tensors, key=int)]


def _unflatten(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, field = name.partition(".")
        state.setdefault(int(number), {})[field] = value
    return state
