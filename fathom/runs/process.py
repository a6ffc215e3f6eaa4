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
"""Stands for a segment's number while the learner is built."""

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
def training_process(config: RunConfig) -> Iterator[None]:
    """Set this process up to train, and put its random generators and threads back afterwards.

    The global random generators belong to the whole process, so its threads train one after the other.
    Trainings side by side need a process each.
    """
    with _lock:
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        threads = torch.get_num_threads()
        prepare(config.threads, config.device)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
            torch.set_num_threads(threads)


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
