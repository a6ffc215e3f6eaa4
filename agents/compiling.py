"""Functions of tensors made fast: compiled, and on a GPU captured as one CUDA graph."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch
from torch._inductor.runtime.cache_dir_utils import cache_dir

LONG_TRAINING = 100_000
"""A run of at least so many agent steps is compiled, which takes some seconds."""

_WARM_UPS = 3
"""Calls on a GPU before the capture; they compile and let the libraries allocate what they need."""

_CPU_OPTIONS: dict[str, Any] = {
    # Nothing changes but numbers, and the generated code asserts the shapes: asking at each call
    # whether anything else has changed takes as long as a small network.
    "guard_filter_fn": lambda guards: [False] * len(guards),
    # By way of the exponential function tanh takes a fifth of the time, and errs by 1e-7.
    "cpp.use_decompose_tanh": True,
}


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """Compile a method that takes tensors of constant shapes.

    On a GPU the function must keep what it changes in the same tensors; its result is overwritten
    by the next call. Without a C++ compiler on a CPU the function is returned as it is.
    """
    if device.type == "cuda":
        return _Captured(torch.compile(_copied(function), dynamic=False, fullgraph=True))
    if shutil.which("g++") is None:
        return function
    own = _copied(function)
    return _marked(torch.compile(own, dynamic=False, fullgraph=True, options=_CPU_OPTIONS))


_numbers = count()


def _copied(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method with code of its own, for torch keeps what it compiled by a function's code, and would
    take what was compiled for one agent for another's."""
    owner, plain = function.__self__, function.__func__  # type: ignore[attr-defined]
    code = plain.__code__.replace(co_name=f"{plain.__name__}_{next(_numbers)}")
    copy = FunctionType(code, plain.__globals__, code.co_name, None, plain.__closure__)
    return MethodType(copy, owner)


def _marked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled function whose first call, which compiles, leaves a mark on the disk meanwhile."""
    called = False

    def call(*inputs: torch.Tensor | None) -> Any:
        nonlocal called
        if called:
            return function(*inputs)
        cache = Path(cache_dir())
        cache.mkdir(parents=True, exist_ok=True)
        forget_half_written(cache)
        mark = cache / f"compiling-{os.getpid()}"
        mark.touch()
        result = function(*inputs)
        mark.unlink(missing_ok=True)
        called = True
        return result

    return call


def forget_half_written(cache: Path) -> None:
    """Delete what processes that were killed while they compiled may have left half written in the
    cache: the next one to load such a library would crash."""
    for mark in cache.glob("compiling-*"):
        process = mark.name.partition("-")[2]
        if not process.isdigit() or _alive(int(process)):
            continue
        with suppress(FileNotFoundError):  # another process does the same at this moment
            since = mark.stat().st_mtime
            for library in cache.rglob("*.so"):
                with suppress(FileNotFoundError):
                    if library.stat().st_mtime >= since:
                        library.unlink()
            mark.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class _Captured:
    """A function whose work on the GPU is recorded once, then replayed without Python."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._calls = 0
        self._inputs: tuple[torch.Tensor | None, ...] = ()
        self._result: Any = None

    def __call__(self, *inputs: torch.Tensor | None) -> Any:
        self._calls += 1
        if self._calls <= _WARM_UPS:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                result = self._function(*inputs)
            torch.cuda.current_stream().wait_stream(stream)
            return result
        if self._result is None:
            self._inputs = tuple(None if x is None else x.clone() for x in inputs)
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._result = self._function(*self._inputs)
        for place, given in zip(self._inputs, inputs, strict=True):
            if place is not None and given is not None:
                place.copy_(given)
        self._graph.replay()
        return self._result
