"""What the benchmarks share: candidates that take turns, measurements in processes of their own, the
machine, the versions, and results kept as JSON."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

RESULTS = Path(__file__).parent / "results"

Figure = TypeVar("Figure")


def timing_flags(description: str | None) -> argparse.ArgumentParser:
    """The command line of a benchmark that times for some seconds, in turns."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--turns", type=int, default=3, help="of each candidate")
    return parser


def in_turns(candidates: Mapping[str, Callable[[], Figure]], turns: int) -> dict[str, list[Figure]]:
    """Measure every candidate once, then all of them again: what a machine does beside it, it does to all."""
    figures: dict[str, list[Figure]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, measure in candidates.items():
            figures[name].append(measure())
    return figures


def apart(script: str, arguments: Sequence[str], threads: int) -> dict[str, Any]:
    """Run a benchmark in a process of its own, and read the JSON in its last line."""
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean, and its 95 % bootstrap interval."""
    drawn = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.mean(values)), float(low), float(high)


def versions(*packages: str) -> dict[str, str]:
    """The installed version of each package."""
    result = {}
    for name in packages:
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            result[name] = "not installed"
    return result


def machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Say what the figures were measured on."""
    from fathom.runs import config as settings

    return settings.machine() | {
        "threads": threads,
        "device": device,
        "python": platform.python_version(),
    }


def keep(path: Path, content: Mapping[str, Any]) -> None:
    """Write results, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)
