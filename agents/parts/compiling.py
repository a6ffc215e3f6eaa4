"""Compilation of functions of tensors, and their capture as CUDA graphs on a GPU."""

import importlib
import os
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch

LONG_TRAINING = 100_000
"""Trainings of at least this many agent steps are compiled, which takes some seconds."""

_WARM_UPS = 3
"""Calls on a GPU before the capture, which compile and let libraries allocate memory."""

_CPU_OPTIONS: dict[str, Any] = {
    # Compile the calls between kernels too: in Python they take a twelfth of an update.
    "cpp_wrapper": True,
    # tanh from the exponential function takes a fifth of the time and errs by 1e-7.
    "cpp.use_decompose_tanh": True,
    # Do not test the compiler's vector instructions: that starts three processes that load torch.
    "cpp.vec_isa_ok": True,
}


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """Compile a method of tensors.

    The method must keep its state in the same tensors and return a tensor or a tuple of tensors. All calls
    must have inputs of the same shapes and dtypes. On a GPU the next call overwrites the result. If there
    is no working compiler for the CPU, the method runs uncompiled.
    """
    if device.type == "cuda":
        return _Captured(torch.compile(_copied(function), dynamic=False, fullgraph=True))
    if shutil.which("g++") is None:
        return function
    importlib.import_module("torch._inductor.compile_fx")  # now, not within the first call
    return _Kernel(_copied(function))


_numbers = count()


def _copied(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method with a code object of its own: torch caches compiled functions by their code, and would
    use one agent's for another."""
    owner, plain = function.__self__, function.__func__  # type: ignore[attr-defined]
    code = plain.__code__.replace(co_name=f"{plain.__name__}_{next(_numbers)}")
    copy = FunctionType(code, plain.__globals__, code.co_name, None, plain.__closure__)
    return MethodType(copy, owner)


class _Kernel:
    """A method whose first call compiles it, and whose later calls go straight to the compiled kernel.

    The guards that `torch.compile` checks at each call take nearly as long as a small network. Here only
    the inputs may change, and of them only the numbers: their shapes and dtypes are checked, since the
    kernel would read wrong memory otherwise.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._call: Callable[..., Any] = self._first
        self._kernel: Callable[..., Any] = function
        self._arguments: list[Any] = []
        """All tensors the kernel takes; those that are not inputs stay the same."""
        self._places: list[tuple[int, int, torch.dtype, torch.Size]] = []
        """For each input that the kernel reads: its place among these, its number, dtype and shape."""
        self._single = False
        self._results: list[int] = []
        """The results of the method: numbers of the kernel's outputs, or −1 − i where it returns input i."""

    def __call__(self, *inputs: torch.Tensor | None) -> Any:
        return self._call(*inputs)

    def _quickly(self, *inputs: torch.Tensor | None) -> Any:
        arguments = self._arguments.copy()
        for place, i, dtype, shape in self._places:
            x = arguments[place] = inputs[i]
            if x is None or x.dtype is not dtype or x.shape != shape:
                now = None if x is None else f"{x.dtype} of {tuple(x.shape)}"
                raise TypeError(
                    f"{self._function.__name__} was compiled for {dtype} of {tuple(shape)} as input {i}, and"
                    f" is called with {now}"
                )
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
            with _mark(), _many_compilations():
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
            (place, -1 - number[id(x)], x.dtype, x.shape)
            for place, x in enumerate(self._arguments)
            if id(x) in number
        ]
        number |= {id(x): k for k, x in enumerate(outputs)}
        self._results = [number[id(x)] for x in ([result] if self._single else result)]
        return result


def _many_compilations() -> AbstractContextManager[Any]:
    """Let a process compile any number of agents: torch counts them all as versions of one function, and
    refuses the ninth."""
    import torch._dynamo.config  # takes a second

    many = 1 << 20
    return torch._dynamo.config.patch(recompile_limit=many, accumulated_recompile_limit=many)


@contextmanager
def _mark() -> Iterator[None]:
    """Leave a mark on the disk while something is compiled."""
    from torch._inductor.runtime.cache_dir_utils import (  # takes seconds
        cache_dir,
        default_cache_dir,
    )

    cache = Path(cache_dir())
    cache.mkdir(parents=True, exist_ok=True)
    # Headers are always in the default folder.
    forget_half_written(cache, {cache, Path(default_cache_dir())})
    mark = cache / f"compiling-{os.getpid()}"
    mark.touch()
    yield
    mark.unlink(missing_ok=True)


def forget_half_written(cache: Path, folders: Collection[Path]) -> None:
    """Delete libraries and headers in these folders that may be incomplete, because a process was killed
    while it compiled and left its mark in the cache; loading them would crash."""
    for mark in cache.glob("compiling-*"):
        process = mark.name.partition("-")[2]
        if not process.isdigit() or _alive(int(process)):
            continue
        with suppress(FileNotFoundError):  # another process does the same right now
            since = mark.stat().st_mtime
            for file in (file for folder in folders for file in folder.rglob("*")):
                with suppress(FileNotFoundError):
                    if file.suffix in (".so", ".gch") and file.stat().st_mtime >= since:
                        file.unlink()
            mark.unlink()


def _alive(process: int) -> bool:
    if os.name == "nt":  # where that would be Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class _Captured:
    """A method whose work on the GPU is recorded as a graph once, then replayed without Python."""

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
            with torch.cuda.stream(stream), _many_compilations():
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
