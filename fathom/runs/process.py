"""What a training sets up in its process: seeds, threads, repeatable arithmetic."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numba
import numpy as np
import torch

from fathom.errors import FathomError
from fathom.evaluation import EVALUATION_SEED

if TYPE_CHECKING:
    from fathom.runs.config import RunConfig

BUILDING = 1 << 32
"""Segment number that seeds the construction of a learner."""

_TRAINING_SEEDS = EVALUATION_SEED - (1 << 20)
"""Training draws its seeds below this, so that a seed for each environment still fits."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of mallopt's options in <malloc.h>

_lock = threading.RLock()


def segment_seed(run_seed: int, segment: int) -> int:
    """Seed every global random generator for a segment; gives the seed for its environments."""
    sequence = np.random.SeedSequence([run_seed, segment])
    python, numpy, pytorch, environments = (int(word) for word in sequence.generate_state(4))
    random.seed(python)
    np.random.seed(numpy)
    torch.manual_seed(pytorch)
    return environments % _TRAINING_SEEDS


@contextlib.contextmanager
def random_generators() -> Iterator[None]:
    """Own the global random generators of the process, and put them back afterwards.

    They belong to the whole process, so other threads wait: a training holds them for one segment at a
    time.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with _lock, torch.random.fork_rng(devices):
        python, numpy = random.getstate(), np.random.get_state()
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextlib.contextmanager
def threads_for(config: RunConfig) -> Iterator[None]:
    """Compute with the threads of a run, as far as there are cores; the number is put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(config.threads, os.cpu_count() or 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def training_process(config: RunConfig) -> Iterator[None]:
    """`prepare`, and the number of PyTorch's threads put back afterwards."""
    before = torch.get_num_threads()
    prepare(config.threads, config.device)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepare(threads: int, device: str) -> None:
    """Threads, repeatable results, memory that is kept.

    glibc gives large freed blocks back to the system at once, and the page faults of taking them
    anew cost a quarter of an update of the Nature network; told not to, it keeps them.
    """
    torch.set_flush_denormal(True)
    # Numba first: starting its threads sets OpenMP's number for the whole process.
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise FathomError("this run trains on a CUDA device, and there is none on this machine")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def training_device(asked: str) -> str:
    """Where a new run learns; "auto" takes a GPU where there is one."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise FathomError("there is no CUDA device on this machine; use --device cpu")
    return asked


def inference_device(config: RunConfig, asked: str) -> str:
    """Where a run's network computes when it is used: where asked, by default where it learnt."""
    if asked not in ("auto", "cpu", "cuda"):
        raise FathomError(f"device must be auto, cpu or cuda, not {asked!r}")
    device = config.device if asked == "auto" else asked
    if device.startswith("cuda") and not torch.cuda.is_available():
        if asked != "auto":
            raise FathomError("there is no CUDA device on this machine")
        return "cpu"
    return device


@contextlib.contextmanager
def reporting_memory_errors() -> Iterator[None]:
    """Turn running out of main memory, or of a GPU's, into a sentence."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message = str(error)
        of_memory = "llocate memory" in message or "out of memory" in message
        if isinstance(error, RuntimeError) and not of_memory:
            raise
        raise FathomError(
            "this asks for more memory than there is: choose a smaller network, fewer environments or"
            " smaller batches"
        ) from error
