"""Measurements in processes of their own."""

import os

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def child_environment(threads: int) -> dict[str, str]:
    """Environment of a process on `threads` threads, without a network."""
    return {
        **os.environ,
        **dict.fromkeys(_THREADS, str(threads)),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
    }
