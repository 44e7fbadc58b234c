from __future__ import annotations

import socket
import threading

import pytest
import torch
import torch.distributed as dist

from sktransfer.runtime import WorkerGroup, data_parallel, worker_group


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment of the only process that a launcher started."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }.items():
        monkeypatch.setenv(name, value)


def test_without_a_launcher_there_is_one_process() -> None:
    with data_parallel() as group:
        assert group == WorkerGroup(0, 1) == worker_group()
        assert group.is_single
        assert not dist.is_initialized()


def test_the_block_opens_and_closes_the_process_group(launched: None) -> None:
    def fail() -> None:
        with data_parallel() as group:
            assert dist.is_initialized()
            assert worker_group() is group
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not dist.is_initialized()
    assert worker_group() == WorkerGroup()


def test_a_process_group_that_is_there_stays_open(launched: None) -> None:
    dist.init_process_group("gloo")
    try:
        with data_parallel():
            pass
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_other_threads_do_not_share_their_fits(launched: None) -> None:
    seen = []
    with data_parallel() as group:
        thread = threading.Thread(target=lambda: seen.append(worker_group()))
        thread.start()
        thread.join()
        assert seen[0] is not group


def test_one_process_agrees_with_itself() -> None:
    group, numbers = WorkerGroup(), torch.tensor([1.0, 2.0])
    group.add_up(numbers)
    group.take_first(numbers)
    assert numbers.tolist() == [1, 2]
    assert group.agreed(5) == group.total(5) == 5
    assert group.is_same(2**60)
