"""A run: the folder that holds everything one training wrote.

Whatever happens to the process, the folder can be read afterwards. Every file is written under a
temporary name and moved into place, a checkpoint is a folder that appears whole, and the file
``latest`` names the newest checkpoint only once that is on the disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from agents.agent import AgentState
from fathom.arguments import nearest
from fathom.errors import FathomError
from fathom.files import (
    remove_folder,
    replace_file,
    reporting_disk_errors,
    sync_file,
    sync_folder,
    write_synced,
)
from fathom.runs.config import (
    FORMAT,
    RunConfig,
    installed_versions,
    machine,
    read_settings,
    write_settings,
)

KEPT_CHECKPOINTS = 3
_MAX_HEADER = 100_000_000
LOGS = "metrics.jsonl", "evaluations.jsonl"
_WEIGHTS, _STATE, _DESCRIPTION = "weights.safetensors", "state.safetensors", "state.json"


@dataclass
class Progress:
    """How far a run is."""

    segment: int = 0
    """Segments done."""
    steps: int = 0
    """Agent steps done, over all environments."""
    seconds: float = 0.0
    """Wall-clock seconds spent training, without evaluations."""


@dataclass
class Checkpoint:
    """A whole checkpoint, read back."""

    state: AgentState
    progress: Progress


class _Broken(Exception):
    """A checkpoint that cannot be used, and why."""


class Run:
    """One run's folder. Open one with :meth:`create` or :meth:`open`."""

    def __init__(self, folder: Path, settings: RunConfig) -> None:
        self.folder = folder
        self.settings = settings

    # -- the folder ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def replay(self) -> Path:
        """Where the agent keeps its bulky memory."""
        return self.folder / "replay"

    @property
    def videos(self) -> Path:
        """Where recorded episodes go."""
        return self.folder / "videos"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are, one folder each."""
        return self.folder / "checkpoints"

    @classmethod
    def create(cls, runs: Path, name: str | None, settings: RunConfig) -> Run:
        """Make the folder of a new run.

        Raises:
            FathomError: When the name is taken or is not one, or the folder cannot be written.
        """
        chosen = name if name is not None else free_name(runs, settings.environment, settings.agent)
        check_name(runs, chosen)
        folder = runs / chosen
        settings.versions = settings.versions or installed_versions(settings.agent)
        settings.machine = settings.machine or machine()
        try:
            runs.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=runs))
        except (FileExistsError, NotADirectoryError) as error:
            raise FathomError(f"{runs} is not a folder, so no run can be written there") from error
        except OSError as error:
            raise FathomError(f"no run can be written in {runs}: {error.strerror}") from error
        run = cls(temporary, settings)
        try:
            with reporting_disk_errors(folder, "make room and start again"):
                temporary.chmod(0o755)
                run.write_settings()
                run.checkpoints.mkdir()
                while True:
                    try:
                        os.rename(temporary, folder)
                        break
                    except OSError as error:
                        if not folder.exists():
                            raise
                        if name is not None:
                            raise _taken(folder) from error
                    # Another run took it meanwhile.
                    folder = runs / free_name(runs, settings.environment, settings.agent)
                sync_folder(runs)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        run.folder = folder
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open the folder of a run that exists.

        Raises:
            FathomError: When there is none, or a newer Fathom wrote it.
        """
        return cls(folder, read_settings(folder))

    def write_settings(self) -> None:
        """Write ``run.toml``."""
        write_settings(self.folder, self.settings)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from training this run meanwhile.

        Raises:
            FathomError: When another process holds it.
        """
        with reporting_disk_errors(self.folder):
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                raise FathomError(
                    f"the run {self.folder} is being trained by process {holder}"
                ) from error
            with reporting_disk_errors(self.folder):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            self._sweep()
            yield
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for parent in (self.folder, self.checkpoints):
            for path in parent.glob(".*.tmp"):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        path.unlink()

    # -- checkpoints --------------------------------------------------------------------------

    def save_checkpoint(self, number: int, state: AgentState, progress: Progress) -> None:
        """Write checkpoint ``number``, then make it the latest, then thin out the older ones.

        Raises:
            FathomError: When the disk is full; the checkpoint before is untouched.
        """
        with reporting_disk_errors(self.folder):
            # What is not done again must not be lost either.
            for filename in LOGS:
                sync_file(self.folder / filename)
            self.checkpoints.mkdir(exist_ok=True)
            target = self.checkpoints / f"{number:05d}"
            temporary = self.checkpoints / f".{target.name}.{os.getpid()}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            try:
                temporary.mkdir()
                checksums = {}
                for filename, tensors in ((_WEIGHTS, state.weights), (_STATE, state.tensors)):
                    data = safetensors.torch.save(
                        {
                            key: tensor.detach().to("cpu", copy=True).contiguous()
                            for key, tensor in tensors.items()
                        }
                    )
                    checksums[filename] = hashlib.sha256(data).hexdigest()
                    write_synced(temporary / filename, data)
                description = {
                    "format": FORMAT,
                    "checkpoint": number,
                    "files": checksums,
                    "numbers": {key: _plain_number(value) for key, value in state.numbers.items()},
                    "progress": dataclasses.asdict(progress),
                }
                description["sha256"] = _digest(description)
                write_synced(temporary / _DESCRIPTION, json.dumps(description, indent=1).encode())
                sync_folder(temporary)
                remove_folder(target)
                os.rename(temporary, target)
                sync_folder(self.checkpoints)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            replace_file(self.folder / "latest", f"{number:05d}\n".encode())
            for older in self.checkpoint_numbers():
                if older <= number - KEPT_CHECKPOINTS:
                    remove_folder(self.checkpoints / f"{older:05d}")

    def checkpoint_numbers(self) -> list[int]:
        """The checkpoints that are there, newest first, none later than ``latest``."""
        try:
            folders = list(self.checkpoints.iterdir())
        except OSError:
            folders = []
        numbers = sorted(
            (int(path.name) for path in folders if re.fullmatch(r"\d{5,}", path.name)), reverse=True
        )
        with contextlib.suppress(OSError, ValueError):
            latest = int((self.folder / "latest").read_text())
            numbers = [number for number in numbers if number <= latest]
        return numbers

    def load_checkpoint(
        self, warn: Callable[[str], None] | None = None, *, weights_only: bool = False
    ) -> Checkpoint | None:
        """Read the latest checkpoint that is whole; None when the run has written none yet.

        Args:
            warn: Told, in a sentence, about every checkpoint passed over because it is damaged.
            weights_only: Read only the network that acts, which is all that evaluation needs.

        Raises:
            FathomError: When there are checkpoints and none is whole.
        """
        for attempt in range(2):
            numbers = self.checkpoint_numbers()
            if not numbers:
                if (self.folder / "latest").exists():
                    raise FathomError(f"{self.folder} names a latest checkpoint but holds none")
                return None
            complaints = []
            for number in numbers:
                try:
                    checkpoint = self._read_checkpoint(number, weights_only)
                except _Broken as broken:
                    complaints.append(f"checkpoint {number} of {self.name} is damaged ({broken})")
                    continue
                if warn is not None:
                    for complaint in complaints:
                        warn(f"{complaint}; going back to checkpoint {number}")
                return checkpoint
            # A live training may have thinned these out meanwhile: look once more.
            if attempt == 0 and self.checkpoint_numbers() == numbers:
                break
        folders = [self.checkpoints / f"{number:05d}" for number in numbers]
        if any((at / _WEIGHTS).exists() for at in folders) and not any(
            (at / _STATE).exists() for at in folders
        ):
            raise FathomError(
                f"{self.folder} has the network that acts, but not what learning goes on from "
                f"({_STATE}): it can be evaluated and recorded, not resumed"
            )
        raise FathomError(f"no checkpoint of {self.folder} can be used: {'; '.join(complaints)}")

    def _read_checkpoint(self, number: int, weights_only: bool) -> Checkpoint:
        folder = self.checkpoints / f"{number:05d}"
        raw = _read(folder / _DESCRIPTION)
        try:
            description = json.loads(raw)
            stored = description.pop("sha256")
            if stored != _digest(description):
                raise _Broken(f"{_DESCRIPTION} does not match its checksum")
            if description["format"] > FORMAT:
                raise FathomError(
                    f"{folder} was written by a newer Fathom: upgrade Fathom to use it"
                )
            checksums = {
                filename: str(description["files"][filename]) for filename in (_WEIGHTS, _STATE)
            }
            numbers = dict(description["numbers"])
            progress = Progress(**description["progress"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _Broken(f"{_DESCRIPTION} cannot be read") from error
        weights = _read_tensors(folder / _WEIGHTS, checksums[_WEIGHTS])
        tensors = {} if weights_only else _read_tensors(folder / _STATE, checksums[_STATE])
        return Checkpoint(AgentState(weights=weights, tensors=tensors, numbers=numbers), progress)

    # -- the record of what happened ----------------------------------------------------------

    def log_metrics(self, line: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``; it must name its ``segment``."""
        self._append("metrics.jsonl", line)

    def log_evaluation(self, line: dict[str, Any]) -> None:
        """Add a line to ``evaluations.jsonl``; it must name its ``segment``."""
        self._append("evaluations.jsonl", line)

    def evaluations(self) -> list[dict[str, Any]]:
        """All evaluations so far."""
        lines = []
        with contextlib.suppress(FileNotFoundError):
            for line in (
                (self.folder / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
            ):
                with contextlib.suppress(ValueError):
                    lines.append(json.loads(line))
        return lines

    def _append(self, filename: str, line: dict[str, Any]) -> None:
        with reporting_disk_errors(self.folder), open(self.folder / filename, "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")

    def go_back(self, segment: int) -> None:
        """Forget everything after the end of ``segment`` segments: log lines and checkpoints."""
        with reporting_disk_errors(self.folder):
            for filename in LOGS:
                self._truncate(self.folder / filename, segment)
            later = [
                path
                for path in self.checkpoints.glob("[0-9]*")
                if path.name.isdigit() and int(path.name) > segment
            ]
            if later and (self.checkpoints / f"{segment:05d}").exists():
                replace_file(self.folder / "latest", f"{segment:05d}\n".encode())
            for path in later:
                remove_folder(path)

    @staticmethod
    def _truncate(path: Path, segment: int) -> None:
        """Keep the lines of the segments before this one; a line that a crash tore apart is of none."""
        if not path.exists():
            return
        with open(path, "rb") as file:
            lines = file.readlines()
        kept = [line for line in lines if line.endswith(b"\n") and 0 <= _segment_of(line) < segment]
        if len(kept) < len(lines):
            replace_file(path, b"".join(kept))


def _segment_of(line: bytes) -> int:
    try:
        return int(json.loads(line)["segment"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return -1


def _digest(description: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _plain_number(value: Any) -> int | float:
    if isinstance(value, (bool, int, np.integer, np.bool_)):
        return int(value)
    return float(value)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Broken(f"{path.name} cannot be read: {error.strerror}") from error


def _read_tensors(path: Path, checksum: str) -> dict[str, torch.Tensor]:
    data = _read(path)
    header = int.from_bytes(data[:8], "little")
    if len(data) < 9 or header > min(_MAX_HEADER, len(data) - 8) or data[8:9] != b"{":
        # Only now: a header of 3,456 bytes makes a sound file begin as a pickle does.
        if data[:2] == b"PK" or data[:1] == b"\x80":
            kind = "a zip archive" if data[:2] == b"PK" else "a pickle"
            raise _Broken(
                f"{path.name} is {kind}, which Fathom never opens because it could run code"
            )
        raise _Broken(f"{path.name} is truncated or no safetensors file")
    if hashlib.sha256(data).hexdigest() != checksum:
        raise _Broken(f"{path.name} does not match its checksum")
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # the library's own error type is not part of its public interface
        raise _Broken(f"{path.name} is no valid safetensors file") from error


def free_name(runs: Path, environment: str, agent: str) -> str:
    """A readable name that no run has yet, such as ``pong-dqn`` or ``pong-dqn-2``."""
    tail = re.split(r"[/:]", environment)[-1]
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"-v\d+$", "", tail).lower()).strip("-") or "run"
    base = f"{slug}-{agent}"
    name, count = base, 1
    while (runs / name).exists():
        count += 1
        name = f"{base}-{count}"
    return name


def check_name(runs: Path, name: str) -> None:
    """Raise FathomError unless a new run in ``runs`` may have this name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
        raise FathomError(
            f"{name!r} cannot name a run: use letters, digits, dots, dashes and underscores"
        )
    if os.path.lexists(runs / name):
        raise _taken(runs / name)


def _taken(folder: Path) -> FathomError:
    return FathomError(
        f"{folder} exists already: choose another --name, or go on with it by `fathom resume {folder}`"
    )


def find(reference: str, runs: Path) -> Run:
    """Open a run given by its path, or by its name under ``runs`` (or ``runs/reference``).

    Raises:
        FathomError: When there is no such run.
    """
    candidates = [Path(reference), runs / reference, runs / "reference" / reference]
    for folder in candidates:
        if os.path.isfile(folder / "run.toml"):  # `is_file` raises where the name is too long
            return Run.open(folder)
    for folder in candidates:
        if reference and os.path.isdir(folder):
            return Run.open(folder)
    names = sorted(
        path.parent.name for path in [*runs.glob("*/run.toml"), *runs.glob("reference/*/run.toml")]
    )
    raise FathomError(
        f"there is no run {reference!r}, neither as a path nor under {runs}{nearest(reference, names)}"
    )
