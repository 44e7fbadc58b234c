"""Reproducible randomness that leaves the global generators as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from sktransfer.runtime.locks import ForkSafeLock

# PyTorch's dropout reads a generator shared by all threads of the process: two seeded blocks
# at the same time would draw from each other's stream and neither result could be repeated.
generator_lock = ForkSafeLock()


@contextlib.contextmanager
def isolated_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch for the block and restore its generators afterwards.

    Blocks of one process run one after the other, whatever the thread.
    """
    with generator_lock:
        saved = rng_state(device)
        try:
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            elif device.type == "mps":
                torch.mps.manual_seed(seed)
            yield
        finally:
            set_rng_state(saved, device)


def rng_state(device: torch.device) -> list[torch.Tensor]:
    """State of the CPU's generator and of the device's."""
    states = [torch.random.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def set_rng_state(states: list[torch.Tensor], device: torch.device) -> None:
    """Put back what `rng_state` returned."""
    torch.random.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states[1])
