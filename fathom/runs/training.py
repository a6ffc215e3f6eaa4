"""The life of a run: segment after segment, each a pure function of the checkpoint before it."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import math
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from agents import MissingPackageError, load_agent
from agents.agent import Agent, RunContext, UnsuitableEnvironmentError
from agents.parts.replay import DamagedReplayError
from envs.vector import BrokenEnvironmentError
from fathom.display import Display, number
from fathom.environments.environment_spec import EnvironmentSpec
from fathom.environments.references import resolve
from fathom.errors import FathomError
from fathom.evaluation import evaluate
from fathom.files import reporting_disk_errors
from fathom.recording import picture, record
from fathom.runs.config import RunConfig, build_config
from fathom.runs.run import Progress, Run
from fathom.runs.trained import open_run
from perception.tasks import TASKS

EVALUATION_SEED = 1 << 30
"""Seeds from here on are for evaluation; those of training all lie below."""

_TRAINING_SEEDS = EVALUATION_SEED - (1 << 20)
"""Training draws its seeds below this, so that a seed for each environment still fits."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of mallopt's options in <malloc.h>

BUILDING = 1 << 32
"""Stands for a segment's number while the agent is built."""


class Stopped(KeyboardInterrupt):
    """A signal asked the run to stop."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.exit_code = 128 + signal_number


def evaluation_seed(choice: int = 0) -> int:
    """The seed of the ``choice``-th set of evaluation episodes; runs use set 0 themselves."""
    if not 0 <= choice < 10_000:
        raise FathomError(f"an evaluation seed lies between 0 and 9,999, not {choice}")
    return EVALUATION_SEED + choice * 100_000


def segment_seed(run_seed: int, segment: int) -> int:
    """Seed every global random generator for a segment; gives the seed for its environments."""
    sequence = np.random.SeedSequence([run_seed, segment])
    python, numpy, pytorch, worlds = (int(word) for word in sequence.generate_state(4))
    random.seed(python)
    np.random.seed(numpy)
    torch.manual_seed(pytorch)
    return worlds % _TRAINING_SEEDS


def setting_of(
    settings: RunConfig, world: EnvironmentSpec, config: Any, storage: Path | None
) -> RunContext:
    """What the agent is told about the run."""
    return RunContext(
        num_envs=config.num_envs,
        segment_steps=settings.segment_steps,
        total_steps=settings.steps,
        frame_stack=world.frame_stack,
        storage=storage,
        device=settings.device,
        expert_action=world.expert(),
    )


def world_of(settings: RunConfig) -> EnvironmentSpec:
    """The world a run lives in."""
    arguments = {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in settings.environment_arguments.items()
    }
    return resolve(settings.environment, arguments, open_run)


def agent_class(name: str) -> type[Agent]:
    """An agent's class by its command-line name.

    Raises:
        FathomError: When there is none, or a package that it needs is not installed.
    """
    try:
        return load_agent(name)
    except KeyError as error:
        raise FathomError(f"there is no agent {name!r}; see `fathom list`") from error
    except MissingPackageError as error:
        raise FathomError(str(error)) from error


def config_of(settings: RunConfig) -> Any:
    """The agent's config of a run."""
    return build_config(agent_class(settings.agent).Config, settings.hyperparameters)


def build_agent(settings: RunConfig, world: EnvironmentSpec, storage: Path | None = None) -> Agent:
    """Build a run's agent, untrained; without ``storage`` it only acts.

    Raises:
        FathomError: When the agent is unknown or cannot act in this world.
    """
    kind, config = agent_class(settings.agent), config_of(settings)
    observation_space, action_space = world.spaces()
    segment_seed(settings.seed, BUILDING)
    try:
        with reporting_memory_errors():
            return kind(
                *(observation_space, action_space, config),
                setting_of(settings, world, config, storage),
            )
    except ValueError as error:
        raise FathomError(str(error)) from error


@contextlib.contextmanager
def reporting_memory_errors() -> Iterator[None]:
    """Turn running out of main memory, or a GPU's, into a sentence."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message = str(error)
        if (
            isinstance(error, RuntimeError)
            and "llocate memory" not in message
            and "out of memory" not in message
        ):
            raise
        raise FathomError(
            "this asks for more memory than there is: choose a smaller network, fewer environments or"
            " smaller batches"
        ) from error


def trained_agent(
    run: Run, warn: Callable[[str], None], device: str = "auto"
) -> tuple[Agent, EnvironmentSpec, Progress]:
    """The agent of a run as its latest checkpoint has it, to evaluate, record or play with.

    Reads only: it works while the run is being trained, and without its replay memory.
    """
    if run.settings.agent in TASKS:
        raise FathomError(
            f"{run.folder} is a fit of {run.settings.agent}, which plays no episodes: it can only be "
            "evaluated"
        )
    wanted = device_to_use(run, device)
    settings = dataclasses.replace(run.settings, device=wanted)
    torch.set_num_threads(max(1, min(settings.threads, os.cpu_count() or 1)))
    checkpoint = run.load_checkpoint(warn, weights_only=True)
    if checkpoint is None:
        raise FathomError(f"{run.folder} has no checkpoint yet")
    world = world_of(settings)
    agent = build_agent(settings, world)
    _load(agent, checkpoint.state, run)
    return agent, world, checkpoint.progress


def device_to_learn(asked: str) -> str:
    """Where a new run learns; "auto" takes a GPU where there is one."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise FathomError("there is no CUDA device on this machine; use --device cpu")
    return asked


def device_to_use(run: Run, asked: str) -> str:
    """Where a run's network computes when it is used: where asked, by default where it learnt."""
    device = run.settings.device if asked == "auto" else asked
    if device.startswith("cuda") and not torch.cuda.is_available():
        if asked != "auto":
            raise FathomError("there is no CUDA device on this machine")
        return "cpu"
    return device


def _load(agent: Agent, state: Any, run: Run) -> None:
    try:
        agent.load(state)
    except (ValueError, KeyError) as error:
        raise FathomError(
            f"the checkpoint of {run.folder} does not fit its agent: {error}"
        ) from error


def storage_needed(settings: RunConfig, world: EnvironmentSpec) -> int:
    """Disk that the agent's memory will take, in bytes.

    Raises:
        FathomError: When main memory has no room for what the agent keeps there.
    """
    kind, config = agent_class(settings.agent), config_of(settings)
    setting = setting_of(settings, world, config, None)
    try:
        return kind.storage_bytes(*world.spaces(), config, setting)
    except ValueError as error:
        raise FathomError(str(error)) from error


def check_rendering(world: EnvironmentSpec) -> None:
    """Raise FathomError when episodes of this world cannot be recorded."""
    env = world.make_single("rgb_array")
    try:
        env.reset(seed=0)
        picture(world, env)
    except FathomError:
        raise
    except Exception as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise FathomError(f"{world.reference} cannot be recorded: {message}") from error
    finally:
        env.close()


def check_room(folder: Path, needed: int) -> None:
    """Raise FathomError unless the disk has room for ``needed`` more bytes of replay memory."""
    parent = folder.absolute()
    while not parent.exists():
        parent = parent.parent
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise FathomError(
            f"the replay memory needs {gigabytes(needed)} and the disk that holds {parent} has "
            f"{gigabytes(free)} left: make room, choose another --runs-dir or a smaller memory"
        )


def gigabytes(size: int) -> str:
    """A size on disk, as people say it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


class Curves:
    """Scalars for TensorBoard, written at once, so that a full disk is noticed where it happens."""

    def __init__(self, folder: Path, from_step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import (  # type: ignore[import-untyped]
            RecordWriter,
        )

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._file = open(folder / name, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        self._records = RecordWriter(self._file)
        self._write(self._event(wall_time=time.time(), file_version="brain.Event:2"))
        # Makes TensorBoard drop what an interrupted segment wrote from this step on.
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(self._event(wall_time=time.time(), step=from_step, session_log=start))

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())

    def add(self, step: int, values: dict[str, float]) -> None:
        """Add a point to each of some curves."""
        summary = self._summary(
            value=[
                self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items()
            ]
        )
        self._write(self._event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def log_metrics(
    run: Run, curves: Curves, segment: int, steps: int, seconds: float, metrics: dict[str, float]
) -> None:
    """Write a report down.

    Raises:
        FathomError: When one of its values is not finite.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise FathomError(
                f"{name} became {float(value)} at step {steps:,}, so training stopped: try a smaller "
                "learning rate"
            )
    values = {name: float(value) for name, value in metrics.items() if name != "steps"}
    run.log_metrics({"segment": segment, "steps": steps, "seconds": round(seconds, 3), **values})
    curves.add(
        steps, {name if "/" in name else f"train/{name}": value for name, value in values.items()}
    )


def log_evaluation(
    run: Run, curves: Curves, segment: int, progress: Progress, result: dict[str, Any]
) -> None:
    """Write the evaluation at the end of a segment down."""
    run.log_evaluation(
        {"segment": segment, "steps": progress.steps, "seconds": progress.seconds, **result}
    )
    low, high = result["interval"]
    curve = {"mean": result["mean"], "low": low, "high": high, **result["measures"]}
    curves.add(progress.steps, {f"evaluation/{name}": value for name, value in curve.items()})


@contextlib.contextmanager
def signals() -> Iterator[Callable[[], None]]:
    """Raise Stopped at the first SIGINT or SIGTERM; gives a function that raises it if that was lost."""
    received: list[int] = []

    def stop(signal_number: int, _: object) -> None:
        if not received:
            received.append(signal_number)
            raise Stopped(signal_number)

    def check() -> None:
        # An exception raised by a handler is lost when it strikes inside a finalizer.
        if received:
            raise Stopped(received[0])

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)


def train(run: Run, *, to_stderr: bool = False) -> Progress:
    """Train a run from where it is to its end.

    Raises:
        FathomError: With a sentence on what went wrong; the last checkpoint stays usable.
        Stopped: When SIGINT or SIGTERM arrived.
    """
    with signals() as check_signals, run.lock(), reporting_disk_errors(run.folder):
        return _Training(run, check_signals).whole(to_stderr)


class _Training:
    def __init__(self, run: Run, check_signals: Callable[[], None]) -> None:
        self.run, self.settings = run, run.settings
        self.check_signals = check_signals
        self.warnings: list[str] = []
        prepare(self.settings.threads, self.settings.device)
        self.world = world_of(self.settings)
        self.agent = build_agent(self.settings, self.world, run.replay)
        checkpoint = run.load_checkpoint(self.warnings.append)
        self.fresh = checkpoint is None
        self.progress = checkpoint.progress if checkpoint is not None else Progress()
        if self._unfinished():
            needed = storage_needed(self.settings, self.world)
            if needed and self.progress.steps and not run.replay.is_dir():
                raise FathomError(
                    f"{run.folder} cannot go on, because its replay memory was deleted "
                    "(a run keeps it after its end only with --keep-replay)"
                )
            there = (path.stat() for path in run.replay.rglob("*") if path.is_file())
            check_room(run.folder, needed - sum(status.st_blocks * 512 for status in there))
        if checkpoint is not None:
            _load(self.agent, checkpoint.state, run)
        run.go_back(self.progress.segment)
        notice = self.agent.notice
        if notice and self.progress.steps and self._unfinished():  # a new run's summary has it
            self.warnings.append(notice)
        if self.progress.steps and self._unfinished():
            self.warnings += _changed_rules(self.settings, self.world)

    def _unfinished(self) -> bool:
        return self.progress.steps < self.settings.steps

    def whole(self, to_stderr: bool) -> Progress:
        run, progress = self.run, self.progress
        with Display(self.settings.steps, progress.steps, stderr=to_stderr) as self.display:
            for warning in self.warnings:
                self.display.message(f"warning: {warning}")
            if self._unfinished():
                run.replay.mkdir(exist_ok=True)
                if self.fresh:
                    run.save_checkpoint(0, self.agent.state(), progress)
                self.started_at = progress.seconds
                self.curves = Curves(run.folder, progress.steps + 1)
                try:
                    while self._unfinished():
                        self._segment()
                finally:
                    with contextlib.suppress(OSError):
                        self.curves.close()
            self._finish()
        return progress

    def _segment(self) -> None:
        run, settings, progress = self.run, self.settings, self.progress
        k, first = progress.segment, progress.steps
        steps = min(settings.segment_steps, settings.steps - first)
        seed = segment_seed(settings.seed, k)
        self.display.activity(f"training, segment {k + 1}")
        # A new environment for every segment: nothing that an old one remembers reaches it.
        env = self.world.make_vector(config_of(settings).num_envs, training=True)
        try:
            began = time.perf_counter()
            with self._explained():
                for metrics in self.agent.train(env, steps, seed):
                    self.check_signals()
                    seconds = progress.seconds + time.perf_counter() - began
                    done = first + int(metrics["steps"])
                    self._report(k, done, seconds, metrics)
            progress.seconds += time.perf_counter() - began
        finally:
            with contextlib.suppress(Exception):
                env.close()
        progress.steps, progress.segment = first + steps, k + 1
        if settings.evaluation_episodes:
            self.display.activity("evaluating")
            with self._explained():
                result = evaluate(
                    self.agent, self.world, settings.evaluation_episodes, evaluation_seed()
                )
            log_evaluation(run, self.curves, k, progress, result)
            self.display.evaluation(progress.steps, result)
        self.check_signals()
        self.display.activity("writing the checkpoint")
        run.save_checkpoint(progress.segment, self.agent.state(), progress)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what of the environment or of the numbers went wrong, and that not all is lost."""
        stays = f"the last checkpoint of {self.run.folder} is from before"
        try:
            with reporting_memory_errors():
                yield
        except BrokenEnvironmentError as error:
            raise FathomError(f"{self.settings.environment} is broken: {error}; {stays}") from error
        except DamagedReplayError as error:
            raise FathomError(
                f"{self.run.folder} cannot go on: {error}; what it has learnt can be evaluated and recorded"
            ) from error
        except UnsuitableEnvironmentError as error:
            raise FathomError(
                f"{self.settings.agent} cannot learn in {self.settings.environment}: {error}; {stays}"
            ) from error
        except FathomError as error:
            raise FathomError(f"{error}; {stays}") from error

    def _report(self, segment: int, steps: int, seconds: float, metrics: dict[str, float]) -> None:
        log_metrics(self.run, self.curves, segment, steps, seconds, metrics)
        self.display.progress(steps, seconds - self.started_at, metrics)

    def _finish(self) -> None:
        """What follows the last checkpoint; done again, harmlessly, if it was interrupted."""
        run, steps = self.run, self.progress.steps
        name = f"step-{steps}"
        if self.settings.record and not list(run.videos.glob(f"{name}*.mp4")):
            self.display.activity("recording")
            try:
                for path in record(self.agent, self.world, run.videos, 1, evaluation_seed(), name):
                    self.display.message(f"recorded {path}")
            except FathomError as error:  # the training is done all the same
                self.display.message(f"warning: {error}")
        self.check_signals()
        if run.replay.exists() and not self.settings.keep_replay:
            shutil.rmtree(run.replay, ignore_errors=True)


def prepare(threads: int, device: str) -> None:
    """Set this process up to train: threads, repeatable results, memory that is kept.

    glibc gives large freed blocks back to the system at once, and the page faults of taking them
    anew cost a quarter of an update of the Nature network; told not to, it keeps them.
    """
    torch.set_flush_denormal(True)
    # Numba first: starting its threads sets OpenMP's number for the whole process.
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise FathomError("this run trains on a CUDA device, and there is none on this machine")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def summary(settings: RunConfig, needed: int) -> list[str]:
    """What a run resolved to, in a few lines, to print before it starts."""
    parameters = ", ".join(
        f"{key} {_shown(value)}" for key, value in settings.hyperparameters.items()
    )
    notice = agent_class(settings.agent).notice
    return [
        f"{settings.agent} in {settings.environment}, preset {settings.preset or 'none'}",
        f"  hyperparameters: {parameters}",
        protocol_line(settings),
        f"  {settings.steps:,} steps in segments of {min(settings.segment_steps, settings.steps):,}, seed {settings.seed}, "
        f"{settings.evaluation_episodes} evaluation episodes a segment",
        f"  device {settings.device}, {settings.threads} threads, replay memory {gigabytes(needed)} on disk",
        *([f"  warning: {notice}"] if notice else []),
    ]


def _changed_rules(settings: RunConfig, world: EnvironmentSpec) -> list[str]:
    """A sentence for each entry of the protocol that is not what it was when the run began. Those of
    versions are the command line's to compare."""
    now = world.describe()
    return [
        f"{name} was {then} when the run began and is {now[name]}, so the results may differ from those of"
        " an uninterrupted run"
        for name, then in settings.protocol.items()
        if now.get(name, then) != then and name not in ("ale_py", "gymnasium")
    ]


def protocol_line(settings: RunConfig) -> str:
    """What every score of a run has to be read with."""
    values = ", ".join(f"{key} {_shown(value)}" for key, value in settings.protocol.items())
    return f"  protocol: {values}"


def _shown(value: Any) -> str:
    return (
        number(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else str(value)
    )
