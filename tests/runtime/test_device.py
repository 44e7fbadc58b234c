from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

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
    for gains, dtype in [(True, torch.bfloat16), (False, torch.float32)]:
        monkeypatch.setattr(device_module, "_cpu_gains_from_bfloat16", lambda gains=gains: gains)
        assert resolve_precision("auto", CPU, training=True) is dtype
        assert resolve_precision("auto", CPU, training=False) is torch.float32
        assert resolve_precision("bfloat16", CPU, training=False) is torch.bfloat16
        assert resolve_precision("float32", CPU, training=True) is torch.float32


def set_chip(monkeypatch: pytest.MonkeyPatch, vendor: str, *instructions: str) -> None:
    monkeypatch.setattr(device_module, "_is_intel", lambda: vendor == "intel")
    for name in ("amx_tile", "avx512_bf16"):
        probe, has_it = f"_is_{name}_supported", name in instructions
        monkeypatch.setattr(torch.cpu, probe, lambda has_it=has_it: has_it, raising=False)


def test_cpus_train_in_the_faster_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    for vendor, instructions, dtype in [
        ("amd", (), torch.float32),
        ("amd", ("avx512_bf16",), torch.bfloat16),
        ("intel", (), torch.float32),
        ("intel", ("avx512_bf16",), torch.float32),  # half of the rate of float32
        ("intel", ("avx512_bf16", "amx_tile"), torch.bfloat16),
    ]:
        set_chip(monkeypatch, vendor, *instructions)
        assert resolve_precision("auto", CPU, training=True) is dtype


def test_precision_follows_what_onednn_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor, limit, dtype in [
        ("amd", "DEFAULT", torch.bfloat16),
        ("amd", "AVX512_CORE_BF16", torch.bfloat16),
        ("amd", "avx2", torch.float32),
        ("amd", "SSE41", torch.float32),
        ("intel", "", torch.bfloat16),
        ("intel", "ALL", torch.bfloat16),
        ("intel", "AVX512_CORE_AMX", torch.bfloat16),
        ("intel", "AVX512_CORE_BF16", torch.float32),
        ("intel", "AVX512_CORE", torch.float32),
        ("intel", "AVX2", torch.float32),
    ]:
        amx = ("amx_tile",) if vendor == "intel" else ()
        set_chip(monkeypatch, vendor, "avx512_bf16", *amx)
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert resolve_precision("auto", CPU, training=True) is dtype


@pytest.mark.parametrize(
    ("vendor", "is_intel"), [("GenuineIntel", True), ("AuthenticAMD", False), (None, False)]
)
def test_the_vendor_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str | None, is_intel: bool
) -> None:
    file = tmp_path / "cpuinfo"
    if vendor is not None:
        file.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    monkeypatch.setattr(device_module, "Path", lambda _: file)
    monkeypatch.setattr(device_module.platform, "processor", lambda: "arm")
    assert device_module._is_intel.__wrapped__() is is_intel


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
