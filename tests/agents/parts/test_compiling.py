"""What makes functions of tensors fast must survive what happens to a machine."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch._dynamo.config

from agents.parts.compiling import compiled, forget_half_written


def test_what_a_killed_compiler_left_half_written_is_thrown_away(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    for name, time in [
        ("whole.so", 1), (f"compiling-{killed.pid}", 2), ("broken.so", 3),
        (f"compiling-{os.getpid()}", 4), ("compiling-nobody", 5), ("whole.h.gch", 1),
        ("broken.h.gch", 3), ("broken.h", 3),
    ]:  # fmt: skip
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    forget_half_written(tmp_path, {tmp_path})
    left = {path.name for path in tmp_path.iterdir()}
    marks = {f"compiling-{os.getpid()}", "compiling-nobody"}
    assert left == marks | {"whole.so", "whole.h.gch", "broken.h"}


@dataclass
class Scale:
    factor: float

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x.tanh()


def test_each_of_many_agents_is_compiled_for_itself() -> None:
    x = torch.linspace(-3, 3, 7)
    with torch._dynamo.config.patch(recompile_limit=1):  # torch's own limit is eight versions
        for factor in (1, 2):
            scale = Scale(float(factor))
            quick = compiled(scale.scaled, torch.device("cpu"))
            for _ in range(2):
                torch.testing.assert_close(quick(x), scale.scaled(x))


@pytest.mark.skipif(shutil.which("g++") is None, reason="nothing to break")
def test_what_cannot_be_compiled_here_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = f"""#!/bin/sh
        case "$*" in *--version*) exec {shutil.which("g++")} "$@";; esac
        echo "error: Python.h: no such file" >&2
        exit 1"""
    (tmp_path / "g++").write_text(broken)
    (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    scale, x = Scale(1.25), torch.linspace(-3, 3, 11)
    quick = compiled(scale.scaled, torch.device("cpu"))
    with pytest.warns(UserWarning, match="compiling fails.*Python.h"):
        first = quick(x)
    for result in (first, quick(x)):
        torch.testing.assert_close(result, scale.scaled(x))


@dataclass
class Learner:
    weight: torch.Tensor

    def learnt(
        self, x: torch.Tensor, given: torch.Tensor, absent: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert absent is None
        self.weight.add_(x.sum())
        return given, self.weight * x


def test_what_is_compiled_changes_what_it_holds_and_may_give_an_input_back() -> None:
    plain, learner = Learner(torch.ones(3)), Learner(torch.ones(3))
    quick = compiled(learner.learnt, torch.device("cpu"))
    for i in range(3):
        x, given = torch.arange(3.0) + i, torch.full((2,), float(i))
        same, product = quick(x, given, None)
        assert same is given
        torch.testing.assert_close(product, plain.learnt(x, given, None)[1])
        torch.testing.assert_close(learner.weight, plain.weight)
        plain.weight.mul_(2)  # what changes in between counts too
        learner.weight.mul_(2)


@pytest.mark.skipif(shutil.which("g++") is None, reason="nothing is compiled")
def test_a_kernel_refuses_inputs_of_another_dtype_or_shape_than_it_was_compiled_for() -> None:
    quick, x = compiled(Scale(1.5).scaled, torch.device("cpu")), torch.linspace(-3, 3, 7)
    quick(x)
    for wrong in (x.double(), x[:5], x.view(1, 7), x.int()):
        with pytest.raises(TypeError, match=r"compiled for torch.float32 of \(7,\) as input 0"):
            quick(wrong)
    torch.testing.assert_close(quick(x), 1.5 * x.tanh())
