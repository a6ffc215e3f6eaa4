"""The folder that holds everything one training wrote.

Whatever happens to the process, the folder can be read afterwards. Every file is written under a
temporary name and moved into place, a checkpoint is a folder that appears whole, and the file `latest`
names the newest checkpoint only once that is on the disk.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from agents.agent import AgentState
from fathom.arguments import nearest
from fathom.errors import FathomError
from fathom.files import Folder, lock_file, reporting_disk_errors, sync_folder
from fathom.runs.checkpoint import (
    STATE,
    WEIGHTS,
    Checkpoint,
    DamagedCheckpointError,
    Progress,
    read_checkpoint,
    read_progress,
    write_checkpoint,
)
from fathom.runs.config import (
    CONFIG,
    MOST_CONFIG,
    SWEEP_CONFIG,
    RunConfig,
    installed_versions,
    machine,
    read_config,
    to_toml,
)
from fathom.runs.options import MOST
from fathom.runs.trust import is_signed, sign
from fathom.schema import Plain, read_json

KEPT_CHECKPOINTS = 3
_LOCK_ATTEMPTS = 3
METRICS, EVALUATIONS = LOGS = "metrics.jsonl", "evaluations.jsonl"

_MOST_LOG, _MOST_WALKED, _MOST_LINE = 1 << 28, 1 << 32, 1 << 24
"""Bytes of a log that is read as a whole, of one that is walked through, and of a line."""
_TEMPORARY = re.compile(r"\..+\.[0-9]+(\.old)?\.tmp")
"""Names that a process gives to what it is writing or removing."""

_Count = Annotated[int, Field(ge=0, le=MOST)]
_Number = int | float
_MetricsLine = TypeAdapter(dict[str, _Number], config=ConfigDict(strict=True, allow_inf_nan=False))


class _EvaluationLine(BaseModel):
    """What every line of `evaluations.jsonl` has; the rest is shown as it is."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
    __pydantic_extra__: dict[str, Plain]

    segment: _Count
    steps: _Count
    mean: float
    interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    episodes: _Count = 0
    examples: _Count = 0
    score: str = "return"
    measures: dict[str, float] = {}
    table: list[list[str | int | float | None]] = []

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.episodes and not self.examples:
            raise ValueError("nothing was counted")
        if len({len(row) for row in self.table} | {0}) > 2 or [] in self.table:
            raise ValueError("the rows of the table differ in length")
        return self


_Evaluation = TypeAdapter(_EvaluationLine)


class LogPosition:
    """How far a log was read. A log that was cut back, as by `go_back`, is read again from its start."""

    def __init__(self) -> None:
        self.file, self.byte = 0, 0
        self.starts = 0
        """How often reading began at the start; what was kept of a reading before is out of date."""

    def start_again(self, file: int) -> None:
        """Go to the start of a file of this number."""
        self.file, self.byte = file, 0
        self.starts += 1


class RunFolder:
    """The files of one run. Open one with `create`, `open` or `find`.

    Args:
        signed: this machine wrote its `run.toml`.
        trust: the user trusts it wherever it is from.
    """

    def __init__(
        self, folder: Path, config: RunConfig, *, signed: bool = False, trust: bool = False
    ) -> None:
        self.folder = folder
        self.config = config
        """What was asked for: the contents of `run.toml`."""
        self.signed, self.trust = signed, trust

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    # -- the folder ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def files(self) -> Folder:
        """The folder as everything that reads, writes and removes in it sees it."""
        return Folder(self.folder)

    @property
    def trusted(self) -> bool:
        """Whether what `run.toml` names may be imported, started and read; see `fathom.runs.trust`."""
        return self.signed or self.trust

    @property
    def replay(self) -> Path:
        """Folder of the agent's replay memory."""
        return self.folder / "replay"

    @property
    def videos(self) -> Path:
        """Folder of recorded episodes."""
        return self.folder / "videos"

    @property
    def transitions(self) -> Path:
        """Folder of recorded transitions, a data set of Minari."""
        return self.folder / "transitions"

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
        chosen = name if name is not None else free_name(runs_dir, config.source, config.learner)
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
        # Trusted even where it cannot be signed: the user has just typed what it names.
        run = cls(temporary, config, signed=True, trust=True)
        try:
            with reporting_disk_errors(folder, "make room and start again"):
                temporary.chmod(0o755)
                run.write_config()
                (run.files / "checkpoints").make()
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
                            raise taken(folder) from error
                    # Another run took it meanwhile.
                    folder = runs_dir / free_name(runs_dir, config.source, config.learner)
                sync_folder(runs_dir)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        run.folder = folder
        return run

    @classmethod
    def open(cls, folder: Path, trust: bool = False) -> Self:
        """Open the folder of a run that exists.

        Args:
            trust: let a run from elsewhere import, start and read what its `run.toml` names.

        Raises:
            FathomError: there is none, or another version of Fathom wrote it.
        """
        config, text = read_config(folder)
        return cls(folder, config, signed=is_signed(Folder(folder), text), trust=trust)

    @classmethod
    def find(
        cls, reference: str | Path, runs_dir: Path = Path("runs"), trust: bool = False
    ) -> Self:
        """Open a run given by its path, or by its name under `runs_dir` (or its folder `reference`).

        Raises:
            FathomError: there is no such run.
        """
        candidates = [Path(reference), runs_dir / reference, runs_dir / "reference" / reference]
        for folder in candidates:
            if os.path.isfile(folder / CONFIG):  # `is_file` raises where the name is too long
                return cls.open(folder, trust)
        for folder in candidates:
            if str(reference) and os.path.isdir(folder):
                return cls.open(folder, trust)
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
        return sorted(runs, key=lambda run: os.path.getmtime(run.folder / CONFIG), reverse=True)

    def write_config(self) -> None:
        """Write `run.toml`, and sign it where it is trusted; `signed` then says whether it is."""
        text = to_toml(self.config)
        if self.trusted:
            before = self.files.read(CONFIG, MOST_CONFIG) if self.files.kind(CONFIG) else None
            self.signed = sign(self.files, text, before if self.signed else None)
        self.files.replace(CONFIG, text)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep everyone else, in this process or another, from training this run meanwhile.

        Raises:
            FathomError: someone else holds the lock, or the file system has none.
        """
        with contextlib.ExitStack() as stack:
            with reporting_disk_errors(self.folder):
                file = stack.enter_context(self.files.writing("lock", os.O_RDWR))
                try:
                    hold_lock(file)
                except BlockingIOError as error:
                    raise FathomError(
                        f"the run {self.folder} is being trained already, by another process or thread"
                    ) from error
                except OSError as error:
                    if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                        raise
                    raise FathomError(
                        f"the file system of {self.folder} has no locks, which keep two trainings of one run"
                        " apart: train in a --runs-dir on a local disk"
                    ) from error
                self._sweep()
            yield

    def is_training(self) -> bool:
        """Whether somebody trains this run now; for a moment this holds a shared lock."""
        with contextlib.suppress(FileNotFoundError), self.files.reading("lock", _MOST_LINE) as file:
            return file.is_locked()
        return False

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for files in (self.files, self.files / "checkpoints"):
            for name in filter(_TEMPORARY.fullmatch, files.names()):
                with contextlib.suppress(OSError):
                    files.remove(name)

    # -- checkpoints --------------------------------------------------------------------------

    def save_checkpoint(self, number: int, state: AgentState, progress: Progress) -> None:
        """Write checkpoint `number`, then make it the latest, then thin out the older ones.

        Raises:
            FathomError: the disk is full; the checkpoint before is untouched.
        """
        with reporting_disk_errors(self.folder):
            # Log lines of segments that are not done again must not be lost either.
            for filename in LOGS:
                self.files.sync(filename)
            checkpoints = self.files / "checkpoints"
            checkpoints.make()
            write_checkpoint(checkpoints, number, state, progress)
            self.files.replace("latest", f"{number:05d}\n".encode())
            best = self.best_checkpoint() if self.config.keep == "best" else None
            for older in self.checkpoint_numbers():
                if older <= number - KEPT_CHECKPOINTS and older != best:
                    checkpoints.remove(f"{older:05d}")

    def checkpoint_numbers(self) -> builtins.list[int]:
        """The checkpoints that are there, newest first, none later than `latest`."""
        numbers = self._numbered()
        with contextlib.suppress(OSError, ValueError):
            latest = int(self.files.read("latest", 100))
            numbers = [number for number in numbers if number <= latest]
        return numbers

    def _numbered(self) -> builtins.list[int]:
        """The numbers of all folders of checkpoints, newest first."""
        try:
            names = (self.files / "checkpoints").names()
        except OSError:
            names = []
        numbers = [int(name) for name in names if re.fullmatch("[0-9]{5,12}", name)]
        return sorted({number for number in numbers if f"{number:05d}" in names}, reverse=True)

    def progress(self) -> Progress:
        """How far the latest checkpoint with a readable description is; nothing done where there is none.

        Raises:
            FathomError: there are checkpoints, and none has one.
        """
        complaint = ""
        for number in self.checkpoint_numbers():
            try:
                return read_progress(self.files / "checkpoints", number)
            except DamagedCheckpointError as damage:
                complaint = complaint or f"checkpoint {number} is damaged: {damage}"
        if complaint:
            raise FathomError(f"no checkpoint of {self.folder} can be used: {complaint}")
        return Progress()

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
                if self.files.kind("latest") is not None:
                    raise FathomError(f"{self.folder} names a latest checkpoint but holds none")
                return None
            complaints = []
            for number in numbers:
                try:
                    checkpoint = read_checkpoint(self.files / "checkpoints", number, weights_only)
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
        folders = [self.files / "checkpoints" / f"{number:05d}" for number in numbers]
        there = [at.names() for at in folders]
        without_state = any(WEIGHTS in names for names in there) and not any(
            STATE in names for names in there
        )
        if without_state and not weights_only:
            use = "can predict" if self.config.is_fit else "recorded"
            raise FathomError(
                f"{self.folder} has the weights, but not what learning goes on from ({STATE}): it can be"
                f" evaluated and {use}, not resumed"
            )
        raise FathomError(f"no checkpoint of {self.folder} can be used: {'; '.join(complaints)}")

    def best_checkpoint(self) -> int | None:
        """Number of the checkpoint with the best evaluation, the first of them; None without any.

        Scores from before the environment was changed follow other rules and do not count.
        """
        changes = [one["step"] for one in self.config.changes if one["name"].startswith("env.")]
        since = max(changes, default=-1)
        lines = [line for line in self.evaluations() if line["steps"] > since]
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
        step = str(which).replace("_", "")
        if which != "best" and not re.fullmatch(r"[0-9]{1,16}", step):
            raise FathomError(f"a checkpoint is latest, best or the step of one, not {which!r}")
        numbers = self.checkpoint_numbers()
        best = self.best_checkpoint() if which == "best" else None
        if best is not None:
            numbers = sorted(numbers, key=lambda number: number != best)
        steps = []
        for number in numbers:
            try:
                checkpoint = read_checkpoint(self.files / "checkpoints", number, weights_only=True)
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

    def weights_bytes(self) -> int | None:
        """The size of the network that acts, in the latest checkpoint that is whole; None without any."""
        checkpoint = self.load_checkpoint(weights_only=True)
        return None if checkpoint is None else checkpoint.weights_bytes

    # -- the record of what happened ----------------------------------------------------------

    def log_metrics(self, line: dict[str, Any]) -> None:
        """Add a line to `metrics.jsonl`; it must name its `segment`."""
        self._append(METRICS, line)

    def log_evaluation(self, line: dict[str, Any]) -> None:
        """Add a line to `evaluations.jsonl`; it must name its `segment`."""
        self._append(EVALUATIONS, line)

    def metrics(self) -> builtins.list[dict[str, Any]]:
        """Every report of the training so far: `steps`, `seconds`, losses, returns."""
        return self._lines(METRICS, _MetricsLine)

    def evaluations(self) -> builtins.list[dict[str, Any]]:
        """Every evaluation so far, as `Result.to_json` gives it, with `segment` and `steps`."""
        return self._lines(EVALUATIONS, _Evaluation)

    def new_metrics(self, position: LogPosition) -> Iterator[dict[str, Any]]:
        """The reports since a position, as `metrics` gives them; it moves on when all are read."""
        return self._new_lines(METRICS, _MetricsLine, position)

    def new_evaluations(self, position: LogPosition) -> Iterator[dict[str, Any]]:
        """The evaluations since a position, as `evaluations` gives them; it moves on when all are read."""
        return self._new_lines(EVALUATIONS, _Evaluation, position)

    def last_metrics(self) -> dict[str, Any] | None:
        """The last report; None without one. Only the end of the log is read."""
        return self._last_line(METRICS, _MetricsLine)

    def last_evaluation(self) -> dict[str, Any] | None:
        """The last evaluation; None without one. Only the end of the log is read."""
        return self._last_line(EVALUATIONS, _Evaluation)

    def _new_lines(
        self, filename: str, schema: TypeAdapter, position: LogPosition
    ) -> Iterator[dict[str, Any]]:
        with (
            reporting_disk_errors(self.folder),
            contextlib.suppress(FileNotFoundError),
            self.files.reading(filename, _MOST_WALKED) as file,
        ):
            if file.number != position.file or file.size < position.byte:
                position.start_again(file.number)
            file.skip(position.byte)
            for line in file.lines(_MOST_LINE):
                if line.endswith(b"\n"):  # else it is still being written
                    with contextlib.suppress(ValueError):
                        yield read_json(line, schema)
            position.byte = file.size - file.rest

    def _last_line(self, filename: str, schema: TypeAdapter) -> dict[str, Any] | None:
        for length in (1 << 14, _MOST_LINE):  # a line of many returns has tens of kilobytes
            with (
                reporting_disk_errors(self.folder),
                contextlib.suppress(FileNotFoundError),
                self.files.reading(filename, _MOST_WALKED) as file,
            ):
                file.skip(max(0, file.size - length))
                for line in reversed(file.read().split(b"\n")):
                    with contextlib.suppress(ValueError):
                        return read_json(line, schema)
        return None

    def _lines(self, filename: str, schema: TypeAdapter) -> builtins.list[dict[str, Any]]:
        """The lines of a log that are whole and what they should be."""
        lines = []
        with (
            reporting_disk_errors(self.folder),
            contextlib.suppress(FileNotFoundError),
            self.files.reading(filename, _MOST_LOG) as file,
        ):
            for line in file.lines(_MOST_LINE):
                with contextlib.suppress(ValueError):
                    lines.append(read_json(line, schema))
        return lines

    def _append(self, filename: str, line: dict[str, Any]) -> None:
        with reporting_disk_errors(self.folder):
            self.files.append(filename, json.dumps(line).encode() + b"\n")

    def go_back(self, segment: int) -> None:
        """Forget everything after the end of ``segment`` segments: log lines and checkpoints."""
        with reporting_disk_errors(self.folder):
            for filename in LOGS:
                self._truncate(filename, segment)
            numbers = self._numbered()
            later = [number for number in numbers if number > segment]
            if later and segment in numbers:
                self.files.replace("latest", f"{segment:05d}\n".encode())
            for number in later:
                (self.files / "checkpoints").remove(f"{number:05d}")

    def _truncate(self, filename: str, segment: int) -> None:
        """Keep the lines of the segments before this one; a line that a crash tore apart is of none."""
        if self.files.kind(filename) is None:
            return

        def kept() -> Iterator[bytes]:
            with self.files.reading(filename, _MOST_WALKED) as file:
                for line in file.lines(_MOST_LINE):
                    if line.endswith(b"\n") and 0 <= _segment_of(line) < segment:
                        yield line

        if sum(map(len, kept())) < self.files.size(filename):
            self.files.replace(filename, kept())


def hold_lock(file: int) -> None:
    """Lock a file for this process alone; BlockingIOError where somebody else has locked it."""
    for attempt in range(_LOCK_ATTEMPTS):
        try:
            lock_file(file)
            return
        except BlockingIOError:  # perhaps only `is_training`, which holds it for a moment
            if attempt == _LOCK_ATTEMPTS - 1:
                raise
            time.sleep(0.02)


def _segment_of(line: bytes) -> int:
    try:
        segment = read_json(line)["segment"]
        return segment if type(segment) is int else -1
    except (ValueError, KeyError, TypeError):
        return -1


def run_folders(runs_dir: Path) -> list[Path]:
    """Every folder that holds a `run.toml`, under `runs_dir`, its folder `reference`, and those of sweeps."""
    sweeps = [path.parent.name for path in runs_dir.glob(f"*/{SWEEP_CONFIG}")]
    patterns = (f"{folder}*/{CONFIG}" for folder in ("", "reference/"))
    below = [path.parent for pattern in patterns for path in runs_dir.glob(pattern)]
    return below + [
        path.parent for name in sweeps for path in (runs_dir / name).glob(f"*/{CONFIG}")
    ]


def free_name(runs_dir: Path, source: str, learner: str, ending: str = "") -> str:
    """A readable name that no run has yet, such as `pong-dqn` or `pong-dqn-2`."""
    source, learner = _slug(source), _slug(learner)
    base = (learner if source == learner else f"{source}-{learner}") + ending
    name, count = base, 1
    while (runs_dir / name).exists():
        count += 1
        name = f"{base}-{count}"
    return name


def _slug(reference: str) -> str:
    """The last part of a reference as a part of a name, such as `pong` for `ALE/Pong-v5`."""
    tail = re.split(r"[/:]", reference)[-1]
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"-v\d+$", "", tail).lower()).strip("-") or "run"


def check_name(runs_dir: Path, name: str) -> None:
    """Raise FathomError unless a new run in `runs_dir` may have this name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
        raise FathomError(
            f"{name!r} cannot name a run: use letters, digits, dots, dashes and underscores"
        )
    if os.path.lexists(runs_dir / name):
        raise taken(runs_dir / name)


def taken(folder: Path) -> FathomError:
    """That a name is taken."""
    return FathomError(
        f"{folder} exists already: choose another --name, or go on with it by `fathom resume {folder}`"
    )
