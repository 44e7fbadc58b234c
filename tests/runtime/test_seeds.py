from __future__ import annotations

import threading

import pytest
import torch

from sktransfer.runtime import isolated_seed

CPU = torch.device("cpu")


def test_same_seed_same_numbers_and_the_global_state_stays() -> None:
    before = torch.random.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        with isolated_seed(seed, CPU):
            draws.append(torch.rand(3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_state_is_restored_after_an_error() -> None:
    before = torch.random.get_rng_state()
    with pytest.raises(RuntimeError), isolated_seed(5, CPU):
        torch.rand(1) @ torch.rand(2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_threads_do_not_share_a_stream() -> None:
    draws: dict[int, list[float]] = {}

    def draw(number: int) -> None:
        with isolated_seed(7, CPU):
            draws[number] = [float(torch.rand(1)) for _ in range(200)]

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(numbers == draws[0] for numbers in draws.values())
