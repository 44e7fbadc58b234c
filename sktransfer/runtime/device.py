"""Device, precision and memory policy."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from sktransfer.runtime.attention import EfficientAttention
from sktransfer.runtime.kernels import CPUTraining, cpu_kernels_enabled
from sktransfer.runtime.torch_private import cpu_has_amx, cpu_has_avx512_bf16
from sktransfer.runtime.workers import local_rank

# Padded tokens per pass. On a CPU, batches that fit into its caches are a third faster; in
# training, one pass per batch saves a second one. A GPU with 8 GB still holds a base-size encoder
# with these, and they are halved if memory runs out.
_TRAINING_TOKENS = {"cpu": 8192, "mps": 8192, "cuda": 32768}
_INFERENCE_TOKENS = {"cpu": 1024, "mps": 16384, "cuda": 32768}

# Values of ONEDNN_MAX_CPU_ISA that disable bfloat16 instructions in oneDNN.
_ISA_WITHOUT_BFLOAT16 = frozenset(
    ("sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2", "avx512_core", "avx512_core_vnni")
)


def resolve_device(device: str) -> torch.device:
    """Turn the parameter ``device`` into an available device.

    Parameters
    ----------
    device : str
        ``"auto"`` (CUDA, else Apple's MPS, else CPU) or any PyTorch device string. Jobs in
        processes of their own are spread over several CUDA devices.

    Returns
    -------
    torch.device
        An available device; ``"cuda"`` keeps the current CUDA device.

    Raises
    ------
    ValueError
        If the string is not a device, or the machine lacks it.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", _cuda_index())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device={device!r} is not a device; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'."
        ) from None
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(resolved.type, False):
        raise ValueError(f"device={device!r} is not available on this machine; use device='auto'.")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r}: this machine has {torch.cuda.device_count()} CUDA device(s)."
        )
    return resolved


def _cuda_index() -> int:
    """The current device; in a process that another one started, one by its number."""
    n_devices = torch.cuda.device_count()
    rank = local_rank()
    if rank is not None:
        return rank % n_devices
    if n_devices > 1 and multiprocessing.parent_process() is not None:
        return os.getpid() % n_devices  # jobs that are started together follow each other
    return int(torch.cuda.current_device())


def resolve_precision(precision: str, device: torch.device, *, training: bool) -> torch.dtype:
    """Turn the parameter ``precision`` into the dtype of the matrix products.

    ``"auto"`` trains in bfloat16 where products are faster in it, and predicts in float32, so that
    a text's score does not depend on the texts beside it.
    """
    if precision == "float32":
        return torch.float32
    if precision == "bfloat16":
        return torch.bfloat16
    if not training:
        return torch.float32
    if device.type == "cuda":
        # Older chips emulate it, slower than float32.
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if is_native else torch.float32
    if device.type == "cpu" and _cpu_gains_from_bfloat16():
        return torch.bfloat16
    return torch.float32


def _cpu_gains_from_bfloat16() -> bool:
    """Whether oneDNN multiplies bfloat16 faster than float32.

    It does with AMX, and with AVX-512 on AMD's processors. With AVX-512 on Intel's, products take
    twice as long in bfloat16 as in float32, and virtual machines often have no AMX.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").lower()
    if limit in _ISA_WITHOUT_BFLOAT16:
        return False
    if cpu_has_amx() and (limit in ("", "all", "default") or "amx" in limit):
        return True
    return cpu_has_avx512_bf16() and not _is_intel()


@functools.cache
def _is_intel() -> bool:
    try:
        # The vendor is in the first lines; reading all of it is slow on machines with many cores.
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            description = lines.read(1024)
    except OSError:
        description = platform.processor()
    return "GenuineIntel" in description


@contextlib.contextmanager
def autocast(device: torch.device, dtype: torch.dtype, *, training: bool) -> Iterator[None]:
    """Context in which matrix products run in `dtype`, of a pass of training or of another one."""
    with contextlib.ExitStack() as stack:
        if dtype is not torch.float32:
            stack.enter_context(torch.autocast(device.type, dtype=dtype))
            if device.type == "cuda":
                stack.enter_context(EfficientAttention())
        if training and device.type == "cpu" and cpu_kernels_enabled():
            stack.enter_context(CPUTraining())
        yield


def trim_memory() -> None:
    """Give memory of the CPU that nothing refers to back to the system."""
    # glibc keeps what large batches needed; over many fits of uneven texts it adds up.
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None


def token_budget(device: torch.device, *, training: bool) -> int:
    """Padded tokens that one pass takes on `device` unless memory runs out."""
    budgets = _TRAINING_TOKENS if training else _INFERENCE_TOKENS
    return budgets.get(device.type, budgets["cpu"])


def width_multiple(device: torch.device, dtype: torch.dtype, *, captured: bool = False) -> int:
    """Multiple of tokens to which batches are padded.

    oneDNN compiles, and keeps, code for each shape of a bfloat16 product on the CPU: fewer
    widths take less memory, for a little padding. Passes that a GPU has `captured` cost about
    the same whatever their width, but each width costs a capture.
    """
    if device.type == "cuda":
        return 32 if captured else 8
    return 8 if device.type == "cpu" and dtype is torch.bfloat16 else 1


def sequence_multiple(device: torch.device, dtype: torch.dtype) -> int | None:
    """Multiple of tokens to which an unpadded training step is filled up; None pads its windows.

    On a GPU, padded batches have few different shapes, which are captured.
    """
    if device.type != "cpu":
        return None
    return 32 if dtype is torch.bfloat16 else 1


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`tensor` on `device`, without waiting for what that has yet to do."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def window_multiple(device: torch.device) -> int:
    """Multiple of windows to which batches of long rows are filled up."""
    return 8 if device.type == "cuda" else 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the device, or the CPU's allocator, had no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in message or "can't allocate memory" in message
    )
