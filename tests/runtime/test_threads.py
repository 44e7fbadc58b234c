import os
import subprocess
import sys

import pytest

# In a process of its own: the workers of a test run have one thread each.
SCRIPT = """
import threading
import numpy
from threadpoolctl import threadpool_info
from sktransfer.runtime import one_blas_thread

def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}

before = blas_threads()
"""
INSIDE = """
with one_blas_thread():
    assert blas_threads() == {1}
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == {1}
"""
ERROR = """
try:
    with one_blas_thread():
        raise KeyError
except KeyError:
    pass
"""
OVERLAP = """
import time

seen = set()

def block():
    for _ in range(50):
        with one_blas_thread():
            seen.update(blas_threads())
            time.sleep(0)

threads = [threading.Thread(target=block) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert seen == {1}, seen
"""


@pytest.mark.parametrize("body", [INSIDE, ERROR, OVERLAP], ids=["inside", "error", "overlap"])
def test_one_thread_inside_and_the_others_after(body):
    threads = {"OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    script = f"{SCRIPT}{body}\nassert blas_threads() == before, (before, blas_threads())"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **threads}, check=True)
