"""Device, precision, random state, memory and caches."""

from sktransfer.runtime.byte_cache import (
    ByteCache,
    cache,
    cache_budget,
    set_cache_budget,
    unique_key,
)
from sktransfer.runtime.device import (
    autocast,
    is_out_of_memory,
    moved,
    resolve_device,
    resolve_precision,
    sequence_multiple,
    token_budget,
    trim_memory,
    width_multiple,
    window_multiple,
)
from sktransfer.runtime.files import (
    refuse_other_content,
    remove_leftovers,
    replaced_folder,
    write_file,
)
from sktransfer.runtime.graphs import Graphs, Inputs
from sktransfer.runtime.kernels import cpu_kernels_enabled, set_cpu_kernels
from sktransfer.runtime.locks import ForkSafeLock
from sktransfer.runtime.numerics import place_key, usual_numerics
from sktransfer.runtime.progress import Watch, progress_bar
from sktransfer.runtime.resident_models import DeviceMemory, device_memory
from sktransfer.runtime.seeds import isolated_seed, rng_state, set_rng_state
from sktransfer.runtime.stack import find_stack_level
from sktransfer.runtime.store import TensorCache, Tensors, check_folder
from sktransfer.runtime.threads import one_blas_thread
from sktransfer.runtime.workers import WorkerGroup, data_parallel, worker_group

__all__ = [
    "ByteCache",
    "DeviceMemory",
    "ForkSafeLock",
    "Graphs",
    "Inputs",
    "TensorCache",
    "Tensors",
    "Watch",
    "WorkerGroup",
    "autocast",
    "cache",
    "cache_budget",
    "check_folder",
    "cpu_kernels_enabled",
    "data_parallel",
    "device_memory",
    "find_stack_level",
    "is_out_of_memory",
    "isolated_seed",
    "moved",
    "one_blas_thread",
    "place_key",
    "progress_bar",
    "refuse_other_content",
    "remove_leftovers",
    "replaced_folder",
    "resolve_device",
    "resolve_precision",
    "rng_state",
    "sequence_multiple",
    "set_cache_budget",
    "set_cpu_kernels",
    "set_rng_state",
    "token_budget",
    "trim_memory",
    "unique_key",
    "usual_numerics",
    "width_multiple",
    "window_multiple",
    "worker_group",
    "write_file",
]
