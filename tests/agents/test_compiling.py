"""What makes functions of tensors fast must survive what happens to a machine."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from agents.compiling import compiled, forget_half_written


def test_what_a_killed_compiler_left_half_written_is_thrown_away(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    for name, time in [
        ("whole.so", 1), (f"compiling-{killed.pid}", 2), ("broken.so", 3),
        (f"compiling-{os.getpid()}", 4), ("compiling-nobody", 5),
    ]:  # fmt: skip
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    forget_half_written(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"whole.so", f"compiling-{os.getpid()}", "compiling-nobody"}


@dataclass
class Scale:
    factor: float

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x.tanh()


def test_each_agent_is_compiled_for_itself() -> None:
    x = torch.linspace(-3, 3, 7)
    for factor in range(1, 3):
        scale = Scale(float(factor))
        quick = compiled(scale.scaled, torch.device("cpu"))
        for _ in range(2):
            torch.testing.assert_close(quick(x), scale.scaled(x))
