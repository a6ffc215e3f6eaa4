"""The folder of a sweep: `sweep.toml` says what was asked, `journal.jsonl` what came out; its runs lie in it.

A sweep is signed like a run, for its runs are made from what `sweep.toml` names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from fathom.errors import FathomError, one_sentence
from fathom.files import Folder, reporting_disk_errors
from fathom.runs.config import MOST_CONFIG, Text, toml_value
from fathom.runs.folder import SWEEP_CONFIG, hold_lock, taken
from fathom.runs.options import NumEnvs, Seed, Threads
from fathom.runs.trust import is_signed, sign
from fathom.schema import STRICT, Plain
from fathom.sweeps.space import MOST_SEEDS, MOST_TRIALS

FORMAT = 1
CONFIG = SWEEP_CONFIG
JOURNAL, RESULT, PRESET = "journal.jsonl", "sweep.json", "best.toml"


@dataclass(config=STRICT, kw_only=True)
class SweepConfig:
    """All that was asked of a sweep: the contents of `sweep.toml`. It has an agent and an environment, or a task and data."""

    agent: Text = ""
    environment: Text = ""
    task: Text = ""
    data: Text = ""
    arguments: dict[str, Plain] = field(default_factory=dict)
    """Of the environment or the data."""
    preset: Text = ""
    options: dict[str, Plain] = field(default_factory=dict)
    """Options of the runs that are not the default."""
    hyperparameters: dict[str, Plain] = field(default_factory=dict)
    vary: Annotated[list[Text], Field(max_length=100)] = field(default_factory=list)
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=MOST_SEEDS)]
    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] | None = None
    """How many settings are sampled; None where all are listed."""
    seed: Seed = 0
    minimize: bool = False
    prune: bool = True
    generation: Annotated[int, Field(ge=1, le=MOST_TRIALS)]
    """Trials that are chosen together, before any of them has a result."""
    threads: Threads
    """Of each run."""
    jobs: NumEnvs
    """Runs at the same time."""
    ray: Text = ""
    """Address of the Ray cluster that trains; empty for this machine."""
    ray_gpus: Annotated[float, Field(ge=0, le=64)] = 0.0
    ray_memory: Annotated[float, Field(ge=0, le=4096)] = 0.0

    def __post_init__(self) -> None:
        if bool(self.agent) == bool(self.task) or not (self.environment or self.data):
            raise ValueError("it needs an agent and an environment, or a task and data")

    @property
    def is_fit(self) -> bool:
        """Whether tasks are fitted, not agents trained."""
        return bool(self.task)


_WHERE = ("generation", "threads", "jobs", "ray", "ray_gpus", "ray_memory")
"""Fields that say where and how many at a time; the same sweep may go on elsewhere."""


class SweepFolder:
    """The files of one sweep. Open one with `create` or `open`."""

    def __init__(self, folder: Path, config: SweepConfig, trusted: bool) -> None:
        self.folder, self.config, self.trusted = folder, config, trusted

    @property
    def files(self) -> Folder:
        """The folder as everything that reads and writes in it sees it."""
        return Folder(self.folder)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @classmethod
    def create(cls, runs_dir: Path, name: str, config: SweepConfig) -> SweepFolder:
        """Make a new sweep's folder, or open that of a sweep that was asked the same.

        Raises:
            FathomError: there is a run or another sweep of this name.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
            raise FathomError(
                f"{name!r} cannot name a sweep: use letters, digits, dots, dashes and underscores"
            )
        folder = runs_dir / name
        if (folder / CONFIG).is_file():
            before = cls.open(folder)
            if difference := _difference(before.config, config):
                raise FathomError(
                    f"{folder} is a sweep with other settings ({difference}): choose another --name, or go"
                    f" on with it by `fathom resume {folder}`"
                )
            where = {one: getattr(config, one) for one in ("jobs", "ray", "ray_gpus", "ray_memory")}
            config = dataclasses.replace(before.config, **where)
            if before.trusted and config != before.config:
                before.config = config
                before.write_config()
            return before
        if os.path.lexists(folder) and not _is_unfinished(folder):
            raise taken(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FathomError(f"no sweep can be written in {runs_dir}: {error.strerror}") from error
        made = cls(folder, config, trusted=True)
        made.write_config()
        return made

    @classmethod
    def open(cls, folder: Path, trust: bool = False) -> SweepFolder:
        """Open a sweep that exists.

        Args:
            trust: go on with it though this machine did not write its `sweep.toml`.

        Raises:
            FathomError: there is none, or it cannot be right.
        """
        path = folder / CONFIG
        try:
            text = Folder(folder).read(CONFIG, MOST_CONFIG)
            table = tomllib.loads(text.decode())
        except OSError as error:
            raise FathomError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise FathomError(f"{path} cannot be read: {error}") from error
        if table.pop("format", None) != FORMAT:
            raise FathomError(f"{path} was not written by this version of Fathom")
        try:
            config = SweepConfig(**table)
        except (ValidationError, TypeError) as error:
            what = one_sentence(error) if isinstance(error, ValidationError) else str(error)
            raise FathomError(f"{path} cannot be right: {what}") from error
        return cls(folder, config, trusted=trust or is_signed(Folder(folder), text))

    def check_trust(self) -> None:
        """Raise FathomError where the sweep is from elsewhere."""
        if not self.trusted:
            raise FathomError(
                f"{self.folder / CONFIG} was not written on this machine, or was changed since: look at it, and if"
                " you trust it, add --trust"
            )

    def write_config(self) -> None:
        """Write `sweep.toml` and sign it."""
        table = dataclasses.asdict(self.config)
        table = {key: value for key, value in table.items() if value not in ("", {}, [], None)}
        text = tomli_w.dumps(toml_value({"format": FORMAT, **table})).encode()
        with reporting_disk_errors(self.folder):
            sign(self.files, text, None)
            self.files.replace(CONFIG, text)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from working at this sweep meanwhile; FathomError where one does."""
        with contextlib.ExitStack() as stack:
            with reporting_disk_errors(self.folder):
                file = stack.enter_context(self.files.writing("lock", os.O_RDWR))
                try:
                    hold_lock(file)
                except BlockingIOError as error:
                    raise FathomError(
                        f"another process works at the sweep {self.folder} already"
                    ) from error
                for name in self.files.names():
                    if name.startswith(".new-"):  # a run that a killed sweep was making
                        shutil.rmtree(self.folder / name, ignore_errors=True)
            yield


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return os.path.isfile(folder / CONFIG)


def _is_unfinished(folder: Path) -> bool:
    """Whether a folder is what a killed sweep leaves that had not written its `sweep.toml`."""
    with contextlib.suppress(OSError):
        return folder.is_dir() and not set(os.listdir(folder)) - {"signature"}
    return False


def _difference(before: SweepConfig, after: SweepConfig) -> str:
    """The first setting in which two sweeps differ, with both values; empty where they are the same."""
    old, new = (toml_value(dataclasses.asdict(one)) for one in (before, after))
    for name in old:
        if name in _WHERE or old[name] == new[name]:
            continue
        if isinstance(old[name], dict):
            keys = sorted(old[name].keys() | new[name].keys())
            key = next(k for k in keys if old[name].get(k) != new[name].get(k))
            return f"{key} is {old[name].get(key)} there, and {new[name].get(key)} here"
        return f"{name} is {old[name]} there, and {new[name]} here"
    return ""
