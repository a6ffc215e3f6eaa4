"""What was asked of a run, and on what machine: its ``run.toml``."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import math
import os
import platform
import re
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

import fathom
from agents import PACKAGES
from fathom.arguments import RANGES, nearest
from fathom.errors import FathomError
from fathom.files import replace_file

FORMAT = 2
"""Version of the run folder's layout; a folder with a newer one is refused."""

_DISTRIBUTIONS = ("torch", "gymnasium", "numpy", "numba", "ale-py", "safetensors")

Value = str | int | float | bool


@dataclass
class RunConfig:
    """All that was asked of a run, resolved in full: the contents of ``run.toml``."""

    environment: str
    """The world; of a fit, its data."""
    agent: str
    """What learns: an agent, or the task of a fit."""
    steps: int
    """Agent steps; of a fit, examples learnt from, so that a segment is an epoch."""
    segment_steps: int
    evaluation_episodes: int
    seed: int
    device: str
    threads: int
    preset: str = ""
    record: bool = False
    keep_replay: bool = False
    environment_arguments: dict[str, Value] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Value] = field(default_factory=dict)


def installed_versions(agent: str) -> dict[str, str]:
    """Versions of Fathom, Python and the libraries that an agent's results depend on."""
    versions = {"fathom": fathom.__version__, "python": platform.python_version()}
    for name in (*_DISTRIBUTIONS, *filter(None, [PACKAGES.get(agent)])):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def machine() -> dict[str, Value]:
    """A short description of this machine."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        words = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        facts = {key.strip(): value.strip() for key, _, value in (w.partition(":") for w in words)}
        # A cloud hides the model's name, but not the numbers that tell the generation.
        if {"model name", "cpu family", "model"} <= facts.keys():
            processor = "{model name}, family {cpu family}, model {model}".format(**facts)
    described: dict[str, Value] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count() or 1,
    }
    if torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name()
    return described


def read_settings(folder: Path) -> RunConfig:
    """Read the ``run.toml`` of a run's folder.

    Raises:
        FathomError: When there is none, it cannot be right, or a newer Fathom wrote it.
    """
    path = folder / "run.toml"
    if not folder.is_dir():
        raise FathomError(f"there is no run at {folder}")
    if not path.is_file():
        raise FathomError(f"{folder} is not a run: it holds no run.toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise FathomError(f"{path} cannot be read: {error}") from error
    version = table.pop("format", None)
    if type(version) is not int or version < 1:
        raise FathomError(f"{path} is not the description of a run: it names no format")
    if version < FORMAT:
        raise FathomError(
            f"{folder} was written by Fathom 0.1 (format {version}), whose options had other names: "
            "train it again, or open it with Fathom 0.1"
        )
    if version > FORMAT:
        raise FathomError(
            f"{folder} was written by a newer Fathom (format {version}, this one reads up to "
            f"{FORMAT}): upgrade Fathom to use it"
        )
    known = {item.name for item in dataclasses.fields(RunConfig)}
    needed = {
        item.name
        for item in dataclasses.fields(RunConfig)
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    }
    if missing := sorted(needed - table.keys()):
        raise FathomError(f"{path} lacks {', '.join(missing)}")
    hints = typing.get_type_hints(RunConfig)
    for key, value in table.items():
        kind = typing.get_origin(hints.get(key)) or hints.get(key)
        if isinstance(kind, type) and (
            not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        ):
            raise FathomError(
                f"{path} has {value!r} for {key}, which should be of type {kind.__name__}"
            )
    if unknown := sorted(table.keys() - known):
        raise FathomError(f"{path} has {', '.join(unknown)}, which no run has")
    for key in sorted(RANGES.keys() & known):
        least, most = RANGES[key]
        if not least <= table[key] <= most:
            raise FathomError(
                f"{path} has {table[key]} for {key}, which must lie in {least:,} to {most:,}"
            )
    if not re.fullmatch(r"cpu|cuda(:\d+)?", table["device"]):
        raise FathomError(f"{path} has {table['device']!r} for device, which is cpu or cuda")
    return RunConfig(**table)


def write_settings(folder: Path, settings: RunConfig) -> None:
    """Write ``run.toml``."""
    table = {"format": FORMAT, **dataclasses.asdict(settings)}
    replace_file(folder / "run.toml", tomli_w.dumps(_for_toml(table)).encode())


def _for_toml(value: Any) -> Any:
    """What TOML can hold: tuples as lists, paths as text, None as the word "none"."""
    if isinstance(value, dict):
        return {str(key): _for_toml(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_for_toml(item) for item in value]
    if value is None:
        return "none"
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, (str, bool, int, float)) else str(value)


def build_config(kind: type, table: dict[str, Any]) -> Any:
    """Make an agent's config from a table of hyperparameters, as read from TOML.

    Raises:
        FathomError: When a hyperparameter is unknown or its value is refused.
    """
    fields = {item.name: item for item in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in fields:
            raise FathomError(f"there is no hyperparameter {key!r}{nearest(key, list(fields))}")
        if value == "none" and type(None) in typing.get_args(hints[key]):
            value = None
        elif isinstance(value, list):
            value = tuple(value)
        elif hints[key] is float and type(value) is int:
            value = float(value)
        if not _fits(value, hints[key]):
            raise FathomError(f"the hyperparameter {key} cannot be {value!r}")
        values[key] = value
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise FathomError(str(error)) from error


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from TOML is of the type that a hyperparameter is annotated with."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if hint is float:
        return type(value) is float and math.isfinite(value)
    return type(value) is (type(None) if hint is None else origin or hint)
