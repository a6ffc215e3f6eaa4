"""The contents of `run.toml`: what a run was asked for, versions, machine."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import tomllib
import typing
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
import tomli_w
import torch
from pydantic import AfterValidator, Field, ValidationError, with_config
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

import fathom
from agents import PACKAGES
from fathom.arguments import nearest
from fathom.errors import FathomError, one_sentence
from fathom.evaluation import MAX_ENVS
from fathom.files import Folder
from fathom.runs.options import MOST, Episodes, Keep, NumEnvs, Seed, Steps, Threads
from fathom.schema import STRICT, Plain, plain

FORMAT = 2
"""Version of the run folder's layout; other versions are refused."""
SWEEP_CONFIG = "sweep.toml"
"""In the folder of a sweep, whose runs lie in it."""
CONFIG = "run.toml"
MOST_CONFIG = 1 << 17
"""Bytes of a `run.toml`."""
_MOST_DOTS = 500
"""Dots in a line of it: the time that a dotted name takes grows with their square."""

_DISTRIBUTIONS = ("torch", "gymnasium", "numpy", "numba", "ale-py", "safetensors")

Value = str | int | float | bool
Text = Annotated[str, Field(max_length=10_000)]
_Value = Annotated[Value, AfterValidator(plain)]


@with_config(STRICT)
class InitialWeights(TypedDict):
    """Where the initial weights of a run are from."""

    run: Text
    """Folder of the run."""
    step: Annotated[int, Field(ge=0, le=MOST)]
    """Steps of its checkpoint."""
    part: NotRequired[Literal["encoder"]]
    """The encoder of images only, not the whole network."""


@with_config(STRICT)
class Change(TypedDict):
    """What `resume` changed."""

    step: Annotated[int, Field(ge=0, le=MOST)]
    """Agent steps from which on it holds."""
    name: Text
    before: Plain
    after: Plain


@dataclass(config=STRICT, kw_only=True)
class RunConfig:
    """All that was asked of a run, resolved in full: the contents of `run.toml`.

    A training has an agent and an environment, a fit a task and its data.
    """

    agent: Text = ""
    environment: Text = ""
    task: Text = ""
    data: Text = ""
    steps: Steps
    """Agent steps; of a fit, examples learnt from."""
    segment_steps: Steps
    """Of a fit, the examples of an epoch."""
    evaluation_episodes: Episodes = 0
    evaluation_envs: NumEnvs = MAX_ENVS
    early_stop: float | None = None
    keep: Keep = "latest"
    seed: Seed
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]
    threads: Threads
    preset: Text = ""
    record: bool = False
    keep_replay: bool = False
    weights: InitialWeights | None = None
    environment_arguments: dict[str, _Value] = field(default_factory=dict)
    """Texts are as they are typed: lists, dictionaries and null as JSON."""
    wrappers: list[Text] = field(default_factory=list)
    """References of the wrappers round the environment, the innermost first."""
    data_options: dict[str, _Value] = field(default_factory=dict)
    protocol: dict[str, Plain] = field(default_factory=dict)
    hyperparameters: dict[str, Plain] = field(default_factory=dict)
    versions: dict[str, Text] = field(default_factory=dict)
    machine: dict[str, _Value] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        if bool(self.agent) == bool(self.task) or not (self.environment or self.data):
            raise ValueError("it needs an agent and an environment, or a task and data")

    @property
    def is_fit(self) -> bool:
        """Whether this is the fit of a task, not the training of an agent."""
        return bool(self.task)

    @property
    def evaluates(self) -> bool:
        """Whether every segment is scored."""
        return self.is_fit or self.evaluation_episodes > 0

    @property
    def learner(self) -> str:
        """Name of the agent or the task."""
        return self.task or self.agent

    @property
    def source(self) -> str:
        """Reference of the environment or the data."""
        return self.data if self.is_fit else self.environment


def installed_versions(learner: str) -> dict[str, str]:
    """Versions of Fathom, Python and the libraries that results depend on."""
    versions = {"fathom": fathom.__version__, "python": platform.python_version()}
    for name in (*_DISTRIBUTIONS, *filter(None, [PACKAGES.get(learner)])):
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


def read_config(folder: Path) -> tuple[RunConfig, bytes]:
    """The `run.toml` of a run's folder, and its text as it is signed.

    Raises:
        FathomError: there is none, it cannot be right, or another version of Fathom wrote it.
    """
    path = folder / CONFIG
    if not folder.is_dir():
        raise FathomError(f"there is no run at {folder}")
    try:
        text = Folder(folder).read(CONFIG, MOST_CONFIG)
    except FileNotFoundError as error:
        if (folder / SWEEP_CONFIG).is_file():
            raise FathomError(
                f"{folder} is a sweep; name one of its runs, such as {folder}/t000-s0"
            ) from error
        raise FathomError(f"{folder} is not a run: it holds no {CONFIG}") from error
    except OSError as error:
        raise FathomError(f"{path} cannot be read: {error.strerror}") from error
    return parse_config(text, folder), text


def parse_config(text: bytes, folder: Path) -> RunConfig:
    """The contents of a `run.toml`; FathomError as for `read_config`."""
    path = folder / CONFIG
    if any(line.count(b".") > _MOST_DOTS for line in text.splitlines()):
        raise FathomError(f"{path} cannot be right: a line has more than {_MOST_DOTS} dots")
    try:
        table = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
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
            f"{folder} was written by a newer Fathom (format {version}, this one reads {FORMAT}): "
            "upgrade Fathom to use it"
        )
    try:
        return RunConfig(**table)
    except ValidationError as error:
        raise FathomError(f"{path} cannot be right: {one_sentence(error)}") from error


def to_toml(config: RunConfig) -> bytes:
    """The text of a `run.toml`, without what is empty."""
    table = {
        key: value
        for key, value in dataclasses.asdict(config).items()
        if value not in ("", {}, [], None)
    }
    return tomli_w.dumps(toml_value({"format": FORMAT, **table})).encode()


def toml_value(value: Any) -> Any:
    """What TOML can hold: tuples as lists, paths as text, None as the word "none"."""
    if isinstance(value, dict):
        return {str(key): toml_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [toml_value(item) for item in value]
    if value is None:
        return "none"
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, (str, bool, int, float)) else str(value)


def build_config(kind: type, table: dict[str, Any]) -> Any:
    """Make the config of an agent or a task from a table of hyperparameters, as TOML holds them.

    Args:
        kind: a pydantic dataclass.

    Raises:
        FathomError: a hyperparameter is unknown, or its value is refused.
    """
    hints = typing.get_type_hints(kind)
    fields = [item.name for item in dataclasses.fields(kind)]
    values = {}
    for key, value in table.items():
        if key not in fields:
            raise FathomError(f"there is no hyperparameter {key!r}{nearest(key, fields)}")
        if value == "none" and type(None) in typing.get_args(hints[key]):
            value = None
        if isinstance(value, int) and abs(value) > MOST:
            raise FathomError(f"{key} must be at most {MOST:,}, not {value}")
        values[key] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**values)
    except ValidationError as error:
        raise FathomError(one_sentence(error)) from error
    except (ValueError, TypeError) as error:
        raise FathomError(str(error)) from error


def check_hyperparameters(folder: Path, config: RunConfig, kind: type) -> None:
    """Raise FathomError, which names the file, where the hyperparameters in a run's `run.toml` are wrong."""
    try:
        build_config(kind, config.hyperparameters)
    except FathomError as error:
        raise FathomError(f"{folder / 'run.toml'} cannot be right: {error}") from error


def provenance(config: RunConfig) -> list[str]:
    """A line on initial weights that were another run's, and one for each change by `resume`."""
    lines = []
    if config.weights:
        run, step = config.weights["run"], config.weights["step"]
        part = "encoder of images" if "part" in config.weights else "weights"
        lines.append(f"starts from the {part} of {run} at step {step:,}")
    for one in config.changes:
        what = f"{one['name']} changed from {one['before']} to {one['after']}"
        lines.append(f"{what} at step {one['step']:,}")
    return lines


def changed_versions(config: RunConfig) -> list[str]:
    """A sentence for each library whose version differs from when the run began."""
    now = installed_versions(config.learner)
    return [
        f"the run began with {name} {before} and goes on with {now[name]}, so the results may differ"
        " from those of an uninterrupted run"
        for name, before in config.versions.items()
        if now.get(name, before) != before
    ]
