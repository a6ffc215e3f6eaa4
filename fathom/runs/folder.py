"""The folder that holds everything one training wrote.

Whatever happens to the process, the folder can be read afterwards. Every file is written under a
temporary name and moved into place, a checkpoint is a folder that appears whole, and the file `latest`
names the newest checkpoint only once that is on the disk.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import filelock

from agents.agent import AgentState
from fathom.arguments import nearest
from fathom.errors import FathomError
from fathom.files import (
    remove_folder,
    replace_file,
    reporting_disk_errors,
    sync_file,
    sync_folder,
)
from fathom.runs.checkpoint import (
    STATE,
    WEIGHTS,
    Checkpoint,
    DamagedCheckpointError,
    Progress,
    read_checkpoint,
    write_checkpoint,
)
from fathom.runs.config import (
    RunConfig,
    installed_versions,
    machine,
    read_config,
    write_config,
)

KEPT_CHECKPOINTS = 3
LOGS = "metrics.jsonl", "evaluations.jsonl"


class RunFolder:
    """The files of one run. Open one with `create`, `open` or `find`."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.folder = folder
        self.config = config
        """What was asked for: the contents of `run.toml`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    # -- the folder ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def replay(self) -> Path:
        """Folder of the agent's replay memory."""
        return self.folder / "replay"

    @property
    def videos(self) -> Path:
        """Folder of recorded episodes."""
        return self.folder / "videos"

    @property
    def pictures(self) -> Path:
        """Folder of a task's pictures."""
        return self.folder / "pictures"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, one folder each."""
        return self.folder / "checkpoints"

    @classmethod
    def create(
        cls,
        runs_dir: Path,
        name: str | None,
        config: RunConfig,
        initial: AgentState | None = None,
    ) -> Self:
        """Make the folder of a new run.

        Args:
            name: of the folder; made from what learns and where if not given.
            initial: written as checkpoint 0, which training starts from.

        Raises:
            FathomError: the name is taken or is not one, or the folder cannot be written.
        """
        chosen = name if name is not None else free_name(runs_dir, config)
        check_name(runs_dir, chosen)
        folder = runs_dir / chosen
        config.versions = config.versions or installed_versions(config.learner)
        config.machine = config.machine or machine()
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=runs_dir))
        except (FileExistsError, NotADirectoryError) as error:
            raise FathomError(
                f"{runs_dir} is not a folder, so no run can be written there"
            ) from error
        except OSError as error:
            raise FathomError(f"no run can be written in {runs_dir}: {error.strerror}") from error
        run = cls(temporary, config)
        try:
            with reporting_disk_errors(folder, "make room and start again"):
                temporary.chmod(0o755)
                run.write_config()
                run.checkpoints.mkdir()
                if initial is not None:
                    run.save_checkpoint(0, initial, Progress())
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
                    folder = runs_dir / free_name(runs_dir, config)
                sync_folder(runs_dir)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        run.folder = folder
        return run

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the folder of a run that exists.

        Raises:
            FathomError: there is none, or another version of Fathom wrote it.
        """
        return cls(folder, read_config(folder))

    @classmethod
    def find(cls, reference: str | Path, runs_dir: Path = Path("runs")) -> Self:
        """Open a run given by its path, or by its name under `runs_dir` (or its folder `reference`).

        Raises:
            FathomError: there is no such run.
        """
        candidates = [Path(reference), runs_dir / reference, runs_dir / "reference" / reference]
        for folder in candidates:
            if os.path.isfile(folder / "run.toml"):  # `is_file` raises where the name is too long
                return cls.open(folder)
        for folder in candidates:
            if str(reference) and os.path.isdir(folder):
                return cls.open(folder)
        names = sorted(path.name for path in run_folders(runs_dir))
        raise FathomError(
            f"there is no run {str(reference)!r}, neither as a path nor under {runs_dir}"
            f"{nearest(str(reference), names)}"
        )

    @classmethod
    def list(cls, runs_dir: Path = Path("runs")) -> list[Self]:
        """All runs under a folder and its folder `reference`, the last begun first; broken ones are
        left out."""
        runs = []
        for folder in run_folders(runs_dir):
            with contextlib.suppress(FathomError):
                runs.append(cls.open(folder))
        return sorted(runs, key=lambda run: (run.folder / "run.toml").stat().st_mtime, reverse=True)

    def write_config(self) -> None:
        """Write `run.toml`."""
        write_config(self.folder, self.config)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep everyone else, in this process or another, from training this run meanwhile.

        Raises:
            FathomError: someone else holds the lock.
        """
        lock = filelock.FileLock(self.folder / "lock", timeout=0, thread_local=False)
        try:
            with reporting_disk_errors(self.folder):
                lock.acquire()
        except filelock.Timeout as error:
            raise FathomError(
                f"the run {self.folder} is being trained already, by another process or thread"
            ) from error
        try:
            self._sweep()
            yield
        finally:
            lock.release()

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
        """Write checkpoint `number`, then make it the latest, then thin out the older ones.

        Raises:
            FathomError: the disk is full; the checkpoint before is untouched.
        """
        with reporting_disk_errors(self.folder):
            # Log lines of segments that are not done again must not be lost either.
            for filename in LOGS:
                sync_file(self.folder / filename)
            self.checkpoints.mkdir(exist_ok=True)
            write_checkpoint(self.checkpoints / f"{number:05d}", state, progress)
            replace_file(self.folder / "latest", f"{number:05d}\n".encode())
            best = self.best_checkpoint() if self.config.keep == "best" else None
            for older in self.checkpoint_numbers():
                if older <= number - KEPT_CHECKPOINTS and older != best:
                    remove_folder(self.checkpoints / f"{older:05d}")

    def checkpoint_numbers(self) -> builtins.list[int]:
        """The checkpoints that are there, newest first, none later than `latest`."""
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
                    checkpoint = read_checkpoint(self.checkpoints / f"{number:05d}", weights_only)
                except DamagedCheckpointError as damage:
                    complaints.append(f"checkpoint {number} of {self.name} is damaged ({damage})")
                    continue
                if warn is not None:
                    for complaint in complaints:
                        warn(f"{complaint}; going back to checkpoint {number}")
                return checkpoint
            # A live training may have thinned these out meanwhile: look once more.
            if attempt == 0 and self.checkpoint_numbers() == numbers:
                break
        folders = [self.checkpoints / f"{number:05d}" for number in numbers]
        if any((at / WEIGHTS).exists() for at in folders) and not any(
            (at / STATE).exists() for at in folders
        ):
            raise FathomError(
                f"{self.folder} has the network that acts, but not what learning goes on from "
                f"({STATE}): it can be evaluated and recorded, not resumed"
            )
        raise FathomError(f"no checkpoint of {self.folder} can be used: {'; '.join(complaints)}")

    def best_checkpoint(self) -> int | None:
        """Number of the checkpoint with the best evaluation, the first of them; None without any."""
        lines = [line for line in self.evaluations() if {"mean", "segment"} <= line.keys()]
        best = max(lines, key=lambda line: line["mean"], default=None)
        return None if best is None else best["segment"] + 1

    def trained_checkpoint(
        self, which: int | str = "latest", warn: Callable[[str], None] | None = None
    ) -> Checkpoint:
        """Read the network that acts.

        Args:
            which: "latest", "best" (of the run's own evaluations) or the step of a checkpoint.
            warn: as for `load_checkpoint`.

        Raises:
            FathomError: there is no such checkpoint.
        """
        if which == "latest":
            checkpoint = self.load_checkpoint(warn, weights_only=True)
            if checkpoint is None:
                raise FathomError(f"{self.folder} has no checkpoint yet")
            return checkpoint
        if which == "best" and self.config.is_fit:
            raise FathomError(f"{self.folder} is a fit, and only trainings have a best checkpoint")
        if which != "best" and not re.fullmatch(r"\d+", step := str(which).replace("_", "")):
            raise FathomError(f"a checkpoint is latest, best or the step of one, not {which!r}")
        numbers = self.checkpoint_numbers()
        best = self.best_checkpoint() if which == "best" else None
        if best is not None:
            numbers = sorted(numbers, key=lambda number: number != best)
        steps = []
        for number in numbers:
            try:
                checkpoint = read_checkpoint(self.checkpoints / f"{number:05d}", weights_only=True)
            except DamagedCheckpointError:
                continue
            steps.append(checkpoint.progress.steps)
            if number == best or (which != "best" and steps[-1] == int(step)):
                return checkpoint
        there = ", ".join(f"{step:,}" for step in sorted(steps)) or "none"
        wanted = f"of step {which}" if which != "best" else "with the best evaluation"
        cure = "; --keep best of train and resume keeps it" if which == "best" else ""
        raise FathomError(
            f"{self.folder} has no checkpoint {wanted}{cure} (steps of its checkpoints: {there})"
        )

    # -- the record of what happened ----------------------------------------------------------

    def log_metrics(self, line: dict[str, Any]) -> None:
        """Add a line to `metrics.jsonl`; it must name its `segment`."""
        self._append("metrics.jsonl", line)

    def log_evaluation(self, line: dict[str, Any]) -> None:
        """Add a line to `evaluations.jsonl`; it must name its `segment`."""
        self._append("evaluations.jsonl", line)

    def metrics(self) -> builtins.list[dict[str, Any]]:
        """Every report of the training so far: `steps`, `seconds`, losses, returns."""
        return self._lines("metrics.jsonl")

    def evaluations(self) -> builtins.list[dict[str, Any]]:
        """Every evaluation so far, as `Result.to_json` gives it, with `segment` and `steps`."""
        return self._lines("evaluations.jsonl")

    def _lines(self, filename: str) -> builtins.list[dict[str, Any]]:
        """The whole lines of a log."""
        lines = []
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / filename).read_text(encoding="utf-8").splitlines():
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


def run_folders(runs_dir: Path) -> list[Path]:
    """Every folder under `runs_dir` and its folder `reference` that holds a `run.toml`."""
    patterns = ("*/run.toml", "reference/*/run.toml")
    return [path.parent for pattern in patterns for path in runs_dir.glob(pattern)]


def free_name(runs_dir: Path, config: RunConfig) -> str:
    """A readable name that no run has yet, such as `pong-dqn` or `pong-dqn-2`."""
    tail = re.split(r"[/:]", config.source)[-1]
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"-v\d+$", "", tail).lower()).strip("-") or "run"
    base = config.learner if slug == config.learner else f"{slug}-{config.learner}"
    name, count = base, 1
    while (runs_dir / name).exists():
        count += 1
        name = f"{base}-{count}"
    return name


def check_name(runs_dir: Path, name: str) -> None:
    """Raise FathomError unless a new run in `runs_dir` may have this name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
        raise FathomError(
            f"{name!r} cannot name a run: use letters, digits, dots, dashes and underscores"
        )
    if os.path.lexists(runs_dir / name):
        raise _taken(runs_dir / name)


def _taken(folder: Path) -> FathomError:
    return FathomError(
        f"{folder} exists already: choose another --name, or go on with it by `fathom resume {folder}`"
    )
