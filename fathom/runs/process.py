"""What a training sets up in its process: seeds, threads, repeatable arithmetic."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import random
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from fathom.errors import FathomError
from fathom.evaluation import EVALUATION_SEED

if TYPE_CHECKING:
    from fathom.runs.config import RunConfig

BUILDING = 1 << 32
"""Segment number that seeds the construction of a learner."""

MISFITS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a learner may raise that is given the state, or the metadata, of another one."""

_TRAINING_SEEDS = EVALUATION_SEED - (1 << 20)
"""Training draws its seeds below this, so that a seed for each environment still fits."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of mallopt's options in <malloc.h>

_TOO_LARGE = (
    "this asks for more memory than there is: choose a smaller network, fewer environments or smaller"
    " batches"
)

_lock = threading.RLock()


def misfit(error: Exception) -> str:
    """One of `MISFITS` as a line."""
    text = " ".join(str(error).split()).rstrip(".:")
    return text if type(error) is ValueError else f"{type(error).__name__}: {text}"


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


_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye}


class MemoryLimit(TorchFunctionMode):
    """Refuses to make tensors of more than `most` bytes together inside the context, before they take memory.

    Raises:
        FathomError: with `complaint`.
    """

    def __init__(self, most: int, complaint: str) -> None:
        super().__init__()
        self._left, self._complaint = most, complaint

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES:
            shape = args or (kwargs.get("size", ()),)
            if func is torch.full:
                shape = shape[:1]
            sizes = [
                int(n) for part in shape for n in (part if isinstance(part, Sequence) else [part])
            ]
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            self._left -= math.prod(sizes) * dtype.itemsize
            if self._left < 0:
                raise FathomError(self._complaint)
        return func(*args, **kwargs)


def network_limit(weights: int | None) -> MemoryLimit:
    """What building a network may take.

    Args:
        weights: bytes of the weights that it is built for; None for a new network, which may take as much as
            the machine has.
    """
    if weights is None:
        return MemoryLimit(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), _TOO_LARGE)
    complaint = "its run.toml asks for a far larger network than the one in its checkpoint"
    return MemoryLimit(16 * weights + (64 << 20), complaint)


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
        raise FathomError(_TOO_LARGE) from error
