"""Functions of tensors made fast: compiled, and on a GPU captured as one CUDA graph."""

import importlib
import os
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch
from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir

LONG_TRAINING = 100_000
"""A run of at least so many agent steps is compiled, which takes some seconds."""

_WARM_UPS = 3
"""Calls on a GPU before the capture; they compile and let the libraries allocate what they need."""

_CPU_OPTIONS: dict[str, Any] = {
    # What calls the kernels is compiled as well: Python takes a twelfth of an update between them.
    "cpp_wrapper": True,
    # By way of the exponential function tanh takes a fifth of the time, and errs by 1e-7.
    "cpp.use_decompose_tanh": True,
    # A g++ that has torch's libraries to build against knows the processors of its time: trying that
    # takes three processes that each load torch, at every start.
    "cpp.vec_isa_ok": True,
}


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """Compile a method that takes tensors of constant shapes.

    The function must keep what it changes in the same tensors, and give a tensor or a tuple of
    them. On a GPU the result is overwritten by the next call. Where a CPU's compiler is missing or
    fails, the function runs as it is.
    """
    if device.type == "cuda":
        return _Captured(torch.compile(_copied(function), dynamic=False, fullgraph=True))
    if shutil.which("g++") is None:
        return function
    importlib.import_module("torch._inductor.compile_fx")  # now, not within the first call
    return _Kernel(_copied(function))


_numbers = count()


def _copied(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method with code of its own, for torch keeps what it compiled by a function's code, and would
    take what was compiled for one agent for another's."""
    owner, plain = function.__self__, function.__func__  # type: ignore[attr-defined]
    code = plain.__code__.replace(co_name=f"{plain.__name__}_{next(_numbers)}")
    copy = FunctionType(code, plain.__globals__, code.co_name, None, plain.__closure__)
    return MethodType(copy, owner)


class _Kernel:
    """A function whose first call compiles it; those after it call what the compiler made.

    `torch.compile` asks at each call where the function's tensors are and whether anything has changed
    since. Nothing does but numbers, and the asking takes nearly as long as acting by a small network.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._call: Callable[..., Any] = self._first
        self._kernel: Callable[..., Any] = function
        self._arguments: list[Any] = []
        """All tensors that the kernel takes; those that are not inputs stay where they are."""
        self._places: list[tuple[int, int]] = []
        """Where in these which input goes."""
        self._single = False
        self._results: list[int] = []
        """The function's results: numbers of the kernel's outputs, or −1 - i where it gives input i back."""

    def __call__(self, *inputs: torch.Tensor | None) -> Any:
        return self._call(*inputs)

    def _quickly(self, *inputs: torch.Tensor | None) -> Any:
        arguments = self._arguments.copy()
        for place, i in self._places:
            arguments[place] = inputs[i]
        outputs = self._kernel(*arguments)
        results = tuple(outputs[k] if k >= 0 else inputs[-1 - k] for k in self._results)
        return results[0] if self._single else results

    def _first(self, *inputs: torch.Tensor | None) -> Any:
        from torch._dynamo.exc import BackendCompilerFailed  # takes a second to import

        outputs: list[torch.Tensor] = []

        def backend(graph: torch.fx.GraphModule, examples: list[Any]) -> Callable[..., Any]:
            kernel = self._kernel = torch._inductor.compile(graph, examples, options=_CPU_OPTIONS)

            def call(*arguments: Any) -> Any:
                self._arguments = list(arguments)
                outputs[:] = kernel(*arguments)
                return outputs

            return call

        quick = torch.compile(self._function, dynamic=False, fullgraph=True, backend=backend)
        try:
            with _mark():
                result = quick(*inputs)
        except BackendCompilerFailed as error:  # before anything was computed
            message = str(error).splitlines()
            reason = next((line for line in message if "error:" in line), message[0])
            warnings.warn(
                f"compiling fails, so learning is slower than it could be: {reason}", stacklevel=2
            )
            self._call = self._function
            return self._function(*inputs)
        self._call = self._quickly
        self._single = isinstance(result, torch.Tensor)
        number = {id(x): -1 - i for i, x in enumerate(inputs) if x is not None}
        self._places = [
            (p, -1 - number[id(x)]) for p, x in enumerate(self._arguments) if id(x) in number
        ]
        number |= {id(x): k for k, x in enumerate(outputs)}
        self._results = [number[id(x)] for x in ([result] if self._single else result)]
        return result


@contextmanager
def _mark() -> Iterator[None]:
    """Leaves a mark on the disk while something is compiled."""
    cache = Path(cache_dir())
    cache.mkdir(parents=True, exist_ok=True)
    # Headers lie in a folder of their own, whatever else the user has moved.
    forget_half_written(cache, {cache, Path(default_cache_dir())})
    mark = cache / f"compiling-{os.getpid()}"
    mark.touch()
    yield
    mark.unlink(missing_ok=True)


def forget_half_written(cache: Path, folders: Collection[Path]) -> None:
    """Delete libraries and headers that processes which were killed while they compiled, and left their
    mark in the cache, may have left half written in these folders: the next one would crash on them."""
    for mark in cache.glob("compiling-*"):
        process = mark.name.partition("-")[2]
        if not process.isdigit() or _alive(int(process)):
            continue
        with suppress(FileNotFoundError):  # another process does the same at this moment
            since = mark.stat().st_mtime
            for file in (file for folder in folders for file in folder.rglob("*")):
                with suppress(FileNotFoundError):
                    if file.suffix in (".so", ".gch") and file.stat().st_mtime >= since:
                        file.unlink()
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
