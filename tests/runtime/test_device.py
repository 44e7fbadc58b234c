from __future__ import annotations

import multiprocessing
import sys

import pytest
import torch

from sktransfer.runtime import (
    autocast,
    is_out_of_memory,
    resolve_device,
    resolve_precision,
    token_budget,
    trim_memory,
    width_multiple,
)
from sktransfer.runtime import device as device_module

CPU = torch.device("cpu")


def test_auto_prefers_the_accelerator() -> None:
    expected = "cuda" if torch.cuda.is_available() else CPU.type
    assert resolve_device("auto").type in {expected, "mps"}


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", ""])
def test_unusable_devices_are_named(device: str) -> None:
    with pytest.raises(ValueError, match=f"device='{device}'"):
        resolve_device(device)


def test_precision_follows_the_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_it, dtype in [(True, torch.bfloat16), (False, torch.float32)]:
        monkeypatch.setattr(device_module, "_cpu_has_bfloat16", lambda has_it=has_it: has_it)
        assert resolve_precision("auto", CPU, training=True) is dtype
        assert resolve_precision("auto", CPU, training=False) is torch.float32
        assert resolve_precision("bfloat16", CPU, training=False) is torch.bfloat16
        assert resolve_precision("float32", CPU, training=True) is torch.float32


def test_precision_follows_what_onednn_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    for limit in ("", "DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_AMX"):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert resolve_precision("auto", CPU, training=True) is torch.bfloat16
    for limit in ("AVX2", "avx2", "AVX512_CORE", "SSE41"):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert resolve_precision("auto", CPU, training=True) is torch.float32


def test_autocast_changes_only_what_it_is_asked_to() -> None:
    matrix = torch.ones(2, 2)
    with autocast(CPU, torch.float32, training=False):
        assert (matrix @ matrix).dtype is torch.float32
    with autocast(CPU, torch.bfloat16, training=False):
        assert (matrix @ matrix).dtype is torch.bfloat16


def test_memory_errors_are_told_from_others() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_every_device_has_a_budget() -> None:
    for training in (True, False):
        budget = token_budget(CPU, training=training)
        assert budget >= 512
        assert token_budget(torch.device("xpu"), training=training) == budget


def test_widths_are_few_where_each_costs_memory() -> None:
    assert width_multiple(CPU, torch.bfloat16) > 1
    assert width_multiple(CPU, torch.float32) == 1
    narrow = width_multiple(torch.device("cuda"), torch.float32)
    assert 1 < narrow < width_multiple(torch.device("cuda"), torch.float32, captured=True)


def test_freed_memory_goes_back_to_the_system() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    if sys.platform != "linux":
        pytest.skip("reads /proc")
    blocks = [torch.ones(25_000) for _ in range(1000)]
    keep = blocks[::100]
    held = resident()
    del blocks
    trim_memory()
    assert len(keep) == 10
    assert held - resident() > 50e6


def test_jobs_are_spread_over_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda", 2)
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())
    for pid in (7, 8):
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        assert resolve_device("auto") == torch.device("cuda", pid % 4)


def _threads(_: int) -> tuple[int, bool]:
    return torch.get_num_threads(), multiprocessing.parent_process() is not None


def test_jobs_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    from joblib import Parallel, cpu_count, delayed

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = Parallel(n_jobs=2)(delayed(_threads)(number) for number in range(2))
    assert sum(threads for threads, _ in found) <= max(2, cpu_count())
    assert all(is_child for _, is_child in found), "the jobs' GPUs would all be the same"
