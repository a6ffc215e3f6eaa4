"""Do mutated run folders do anything but end in a sentence?

Small runs of most agents and tasks are made. Then, again and again, one is copied without its signature,
something in the copy is changed (bytes, values, kinds of files, names), and one or two commands open it, each in
a process forked from a worker that has imported everything already. A mutation fails where a command

- ends otherwise than with the exit code 0 or 2, or by a signal;
- prints a control character;
- takes more than `--seconds` of processor time, or more than `--wall` seconds of any time: other programs can
  slow down the second, not the first, and a command that only waits, for example for a pipe, is found by it;
- has more than `--memory` GB resident, of which the imports are about 0.5;
- changes a file outside the run's folder.

    python benchmarks/hostile_runs.py --mutations 10_000 --workers 1

`--first SEED --mutations 1` does one mutation again. A temporary folder in memory (`TMPDIR=/dev/shm`) saves time.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import select
import shlex
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

API = "api"
"""Instead of a command line: open the run by the Python API."""
AGENT = [API, "evaluate RUN --episodes 1", "resume RUN --steps 96"]
MATCH = "match RUN random --games 1 --simulations 1 --folder games"
COMMANDS = {
    "ppo": [
        *AGENT,
        "record RUN",
        "train ppo CartPole-v1 --weights RUN --hidden-size 4 --steps 16 --num-envs 2 --rollout-steps 8"
        " --num-minibatches 1 --evaluation-episodes 0 --name new",
    ],
    "dqn": AGENT,
    "taxi": [API, "evaluate RUN --episodes 1 --checkpoint best", "resume RUN --steps 96"],
    "a2c": AGENT,
    "reinforce": AGENT,
    "dyna-q": AGENT,
    "stacked": [*AGENT, "record RUN --folder videos"],
    "scripted": AGENT,
    "go": [
        *AGENT,
        MATCH,
        "gtp RUN --simulations 1",
    ],
    "alphago": [API, "evaluate RUN --episodes 1", MATCH],
    "autoencoder": [API, "predict RUN picture.png"],
    "descent": [API, "evaluate RUN", "resume RUN --steps 96", "predict RUN 'ravine -1.5 2'"],
    "digits": [API, "evaluate RUN", "resume RUN --steps 2500", "predict RUN picture.png"],
    "objects": [API, "predict RUN picture.png"],
    "regression": [API, "evaluate RUN", "resume RUN --steps 1500", "predict RUN 1,2,3,4,5,6,7,8,9,10"],
    "semi-supervised": [API, "predict RUN picture.png"],
    "slots": [API, "evaluate RUN", "predict RUN 'two tickets for tonight'"],
    "spam": [API, "predict RUN 'call now to claim your prize'"],
    "topics": [API, "predict RUN 'play some jazz'"],
    "transfer": [API, "predict RUN picture.png"],
    "utterances": [API, "predict RUN 'agent request city'"],
}  # fmt: skip
ABSURD: list[Any] = [
    -1, 0, 1, 3, 10**7, 10**9, 10**12, 2**53, 2**63, 10**30, -(10**12), 1e308, -0.5, 1e-300,
    float("nan"), float("inf"), True, "", "none", "x", "../../..", "/etc/passwd", "\x1b[2J\r\n", "a" * 5_000,
    "touch pwned", "os:system", "evil.py:Evil", [], [1, 2, 3], {}, {"a": {"b": [1]}},
    ["gymnasium.wrappers:GrayscaleObservation"], ['fathom.environments.wrappers:ResizePicture{"shape": [9000, 9000]}'],
    ['gymnasium.wrappers:FrameStackObservation{"stack_size": 1000000}'],
]  # fmt: skip
RAW = [
    b"[" * 200_000,
    b"9" * 5_000,
    b"\xff\xfe\x00",
    b"",
    b"NaN",
    b"{}",
    b"null",
    b"PK\x03\x04",
    b"\x80\x04.",
]
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def make_runs(folder: Path) -> None:
    """Train and fit the runs that are mutated."""
    import fathom

    common: dict[str, Any] = {"progress": False, "runs_dir": folder, "threads": 1}
    agent = {**common, "evaluation_episodes": 1, "num_envs": 2, "segment_steps": 32}
    small = {**agent, "hidden_size": 4}
    policy = {**small, "rollout_steps": 16}
    ppo = {**policy, "num_minibatches": 1}
    replay = {**small, "learning_starts": 16, "replay_capacity": 100, "batch_size": 4}
    board = {"size": 5, "max_moves": 20}
    fathom.train("ppo", "CartPole-v1", name="ppo", steps=64, **ppo)
    fathom.train("dqn", "CartPole-v1", name="dqn", steps=64, keep_replay=True, **replay)
    # Indices in the replay memory, initial weights, and a change.
    learnt = fathom.train("dqn", "Taxi-v4", name="learnt", steps=32, **replay)
    fathom.train("dqn", "Taxi-v4", name="taxi", steps=32, keep_replay=True, keep="best", weights=learnt.folder,
                 **replay)  # fmt: skip
    fathom.resume("taxi", 64, runs_dir=folder, progress=False, learning_rate=1e-3)
    shutil.rmtree(learnt.folder)
    fathom.train("a2c", "CartPole-v1", name="a2c", steps=64, **policy)
    fathom.train("reinforce", "CartPole-v1", name="reinforce", steps=64, **small)
    fathom.train(
        "dyna-q", "CartPole-v1", name="dyna-q", steps=64, model_hidden=4, keep_replay=True, **replay
    )
    fathom.train("ppo", "CartPole-v1", name="stacked", steps=64, frame_stack=2, **ppo)
    fathom.train("scripted", "Fathom/Dialogue-v0", name="scripted", steps=64, **agent)
    fathom.train("ppo", "Fathom/Go-v0", name="go", env_args=board, steps=64, **ppo)
    fathom.train("alphago", "Fathom/Go-v0", name="alphago", env_args=board, steps=64, layers=2, width=4,
                 simulations=2, batch_size=4, **agent)  # fmt: skip
    fit = {**common, "epochs": 1}
    tiny = {**fit, "embedding": 4, "hidden_size": 4}
    fathom.fit("autoencoder", name="autoencoder", hidden_sizes=(8,), code_size=2, **fit)
    fathom.fit("descent", name="descent", passes=2, **{**fit, "epochs": 2})
    fathom.fit("digits", name="digits", network="linear", **fit)
    fathom.fit("objects", name="objects", data="digits", network="resnet", depth=8, width=4, **fit)
    fathom.fit("regression", name="regression", passes=2, **fit)
    fathom.fit("semi-supervised", name="semi-supervised", method="labels-only", width=2, **fit)
    fathom.fit("slot-filling", name="slots", data="domain:movie", data_args={"sentences": 200}, buckets=8,
               **tiny)  # fmt: skip
    fathom.fit("spam", name="spam", **fit)
    fathom.fit("topics", name="topics", **fit)
    fathom.fit("transfer", name="transfer", **fit)
    fathom.fit("utterances", name="utterances", data_args={"sentences": 200}, **tiny)


# -- mutations --------------------------------------------------------------------------------------


def mutate(run: Path, canaries: Path, rng: random.Random) -> str:
    """Change something in a run's folder; gives a description."""
    paths = sorted(path for path in run.rglob("*") if "tfevents" not in path.name)
    weighted = [
        path for path in paths for _ in range(4 if path.suffix in (".toml", ".json") else 1)
    ]
    path = rng.choice(weighted)
    name = path.relative_to(run)
    status = path.lstat()
    is_file = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size < 1 << 20
    mutation: Callable[[Path, Path, random.Random], str] = rng.choice(
        [_bytes, _bytes, _value, _value, _value, _kind, _name] if is_file else [_kind, _name]
    )
    try:
        return f"{name}: {mutation(path, canaries, rng)}"
    except (ValueError, RecursionError):  # an earlier mutation left no table there
        return f"{name}: {_bytes(path, canaries, rng)}"


def _bytes(path: Path, canaries: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    kind = rng.choice(["flip", "cut", "insert", "replace"])
    if kind == "flip" and data:
        for _ in range(rng.choice([1, 1, 10])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == "cut":
        del data[rng.randrange(len(data) + 1) :]
    elif kind == "insert":
        at = rng.randrange(len(data) + 1)
        data[at:at] = rng.choice(RAW)
    else:
        data = bytearray(rng.choice(RAW))
    path.write_bytes(data)
    return kind


def _value(path: Path, canaries: Path, rng: random.Random) -> str:
    """Replace, remove or add a value, and make the checksum fit, as someone would who means harm."""
    if path.suffix == ".toml":
        lines = path.read_text().splitlines()
        at = rng.choice([i for i, line in enumerate(lines) if " = " in line] or [0])
        key = lines[at].partition(" = ")[0]
        value = rng.choice(ABSURD)
        lines[at] = f"{key} = {_toml(value)}"
        path.write_text("\n".join(lines) + "\n")
        return f"{key} = {_toml(value)[:40]}"
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        described = _replace(content, rng)
        if isinstance(content, dict) and "sha256" in content:
            content.pop("sha256")
            text = json.dumps(content, sort_keys=True)
            content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        path.write_text(json.dumps(content))
        return described
    if path.suffix == ".jsonl":
        lines = path.read_text().splitlines() or ["{}"]
        at = rng.randrange(len(lines))
        content = json.loads(lines[at])
        described = _replace(content, rng)
        lines[at] = json.dumps(content)
        path.write_text("\n".join(lines) + "\n")
        return described
    return _bytes(path, canaries, rng)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def _replace(content: Any, rng: random.Random) -> str:
    """Change a value somewhere in a table."""
    where, place = content, []
    while isinstance(where, (dict, list)) and where:
        key = rng.choice(list(where) if isinstance(where, dict) else list(range(len(where))))
        place.append(str(key))
        deeper = where[key]
        if not isinstance(deeper, (dict, list)) or not deeper or rng.random() < 0.2:
            if rng.random() < 0.1:
                del where[key]
                return f"without {'.'.join(place)}"
            where[key] = rng.choice(ABSURD)
            return f"{'.'.join(place)} = {str(where[key])[:40]!r}"
        where = deeper
    return "nothing"


def _kind(path: Path, canaries: Path, rng: random.Random) -> str:
    """Replace a file or a folder by something of another kind."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    kind = rng.choice(
        ["link", "folder link", "device", "pipe", "folder", "sparse", "hard link", "missing"]
    )
    if kind == "link":
        path.symlink_to(canaries / "file")
    elif kind == "folder link":
        path.symlink_to(canaries)
    elif kind == "device":
        path.symlink_to(rng.choice(["/dev/zero", "/dev/full", "/dev/stdin", "/proc/self/mem"]))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "hard link":
        path.hardlink_to(canaries / "file")
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.write(rng.choice([b"", b"{", (2**31).to_bytes(8, "little") + b"{"]))
            file.truncate(rng.choice([1 << 20, 1 << 31, 1 << 40]))
    return kind


def _name(path: Path, canaries: Path, rng: random.Random) -> str:
    """Give it another name, or add something under a name that Fathom uses."""
    new = path.with_name(
        rng.choice(
            [
                "00009",
                "99999999",
                "٠٠٠٠١",
                ".00001.7.tmp",
                "x\x1b[2J",
                "replay",
                "videos",
                "model.json",
                "signature",
                "lock",
                "a" * 200,
            ]
        )
    )
    if new.exists() or rng.random() < 0.5:
        return f"renamed to {path.name!r}"
    path.rename(new)
    return f"renamed to {new.name!r}"


# -- the commands -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """What a command may take."""

    seconds: int
    """Processor time, its own and that of its children."""
    wall: float
    """Seconds of any time."""
    memory: float
    """Bytes that are resident."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    complaints: list[str]
    seconds: float = 0.0
    """Processor time."""
    memory: float = 0.0
    """Largest resident set, in bytes."""


@dataclass(frozen=True)
class Mutation:
    """A mutated run, and what the commands did with it."""

    seed: int
    run: str
    done: list[str]
    commands: dict[str, Ended]
    complaints: list[str]
    """Those of the commands, and whether files outside the folder changed."""


def try_mutation(seed: int, made: Path, folder: Path, opening: Callable[[str], Ended]) -> Mutation:
    """Mutate a copy of a run and open it.

    Args:
        made: folder of runs, by the names in `COMMANDS`.
        folder: where to do it.
        opening: does a command in the current folder.
    """
    rng = random.Random(seed)
    name = rng.choice([name for name in COMMANDS if (made / name).is_dir()])
    here = folder / str(seed)
    run = here / "runs" / "elsewhere"
    copy_run(made / name, run)
    canaries = here / "canaries"
    make_canaries(canaries)
    picture(here)
    before = outside(here)
    done = [mutate(run, canaries, rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    os.chdir(here)
    chosen = rng.sample(COMMANDS[name], rng.choice([1, 1, 1, 2]))
    commands = {command: opening(command) for command in chosen}
    os.chdir(folder)
    complaints = [
        f"{command}: {text}" for command, ended in commands.items() for text in ended.complaints
    ]
    after = outside(here)
    changed = [path for path in before.keys() | after if before.get(path) != after.get(path)]
    if changed:
        complaints.append(f"changed outside the folder: {sorted(changed)}")
    shutil.rmtree(here, ignore_errors=True)
    return Mutation(seed, name, done, commands, complaints)


def copy_run(made: Path, run: Path) -> None:
    """Copy a run as it comes from elsewhere."""
    shutil.copytree(made, run)
    (run / "signature").unlink()


def forked(command: str, limits: Limits) -> Ended:
    """Do a command in a process of its own, forked from this one."""
    with tempfile.TemporaryFile() as file:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            _become(command, file.fileno(), limits.seconds)
        stopped = _wait(child, limits)
        _, status, usage = os.wait4(child, 0)
        file.seek(0)
        output = file.read().decode(errors="backslashreplace")
    code = os.waitstatus_to_exitcode(status)
    seconds, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    complaints = [stopped] if stopped else []
    if code == -signal.SIGXCPU or seconds > limits.seconds:
        complaints.append(f"{seconds:.1f} s of processor time")
    elif code not in (0, 2) and not stopped:
        complaints.append(f"exit code {code}: {output[-2_000:]}")
    if memory > limits.memory:
        complaints.append(f"{memory / 1e9:.1f} GB")
    if CONTROL.search(output):
        complaints.append(f"a control character in {output[:2_000]!r}")
    return Ended(complaints, seconds, memory)


def _become(command: str, output: int, seconds: int) -> None:
    """Do a command as a child that was just forked; does not return."""
    code = 70
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        code = open_run(command)
    except BaseException:
        traceback.print_exc(limit=-4)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(child: int, limits: Limits) -> str:
    """Wait for a child; gives why it was killed, an empty text where it ended by itself."""
    ends = time.monotonic() + limits.wall
    page = os.sysconf("SC_PAGE_SIZE")
    with open(os.pidfd_open(child), "rb", buffering=0) as ended:
        while not select.select([ended], [], [], 0.05)[0]:
            resident = int(Path(f"/proc/{child}/statm").read_text().split()[1]) * page
            late = time.monotonic() > ends
            if late or resident > limits.memory:
                os.killpg(child, signal.SIGKILL)
                return f"killed after {limits.wall:.0f} s" if late else "killed for its memory"
    return ""


def open_run(command: str) -> int:
    """Do a command on the run `elsewhere`; gives the exit code."""
    import fathom
    from fathom.cli import main

    if command != API:
        return main(["elsewhere" if word == "RUN" else word for word in shlex.split(command)])
    with contextlib.suppress(fathom.FathomError):
        loaded = fathom.load("elsewhere")
        loaded.evaluations()
        loaded.metrics()
        loaded.load_checkpoint()
    fathom.list_runs()
    return 0


def make_canaries(folder: Path) -> None:
    """Files that must stay as they are."""
    for name in (
        "file",
        "observations",
        "00000/file",
        "00009/weights.safetensors",
        ".x.1.tmp/file",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"precious\n" * 10)


def picture(folder: Path) -> None:
    """A drawing to ask a fit about, of another size than the digits."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (20, 30), "white")
    ImageDraw.Draw(image).line([(5, 5), (14, 14), (5, 24)], width=3)
    image.save(folder / "picture.png")


def outside(folder: Path) -> dict[str, bytes]:
    """The files under a folder that no command may change; of those that are no plain files only that they are there."""
    ours = ("runs/elsewhere/", "runs/new/", "games/", "videos/")
    return {
        name: path.read_bytes()
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20
        else b""
        for path in folder.rglob("*")
        if not f"{(name := str(path.relative_to(folder)))}/".startswith(ours)
    }


# -- the workers ------------------------------------------------------------------------------------


def prepare(made: Path, folder: Path) -> None:
    """Do every command once in a worker: that imports, compiles, and shows that all work."""
    import torch

    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, commands in COMMANDS.items():
        for command in commands:
            here = Path(tempfile.mkdtemp(dir=folder))
            copy_run(made / name, here / "runs" / "elsewhere")
            picture(here)
            os.chdir(here)
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                code = open_run(command)
            if code:
                raise RuntimeError(f"{command} of {name} ends with {code}: {output.getvalue()}")
            os.chdir(folder)
            shutil.rmtree(here)


def run_mutations(seeds: range, workers: int, limits: Limits) -> Iterator[Mutation]:
    """Do the mutation of every seed."""
    with tempfile.TemporaryDirectory() as temporary:
        made, folder = Path(temporary, "made"), Path(temporary, "work")
        os.environ["XDG_STATE_HOME"] = str(Path(temporary, "state"))  # the key is not the user's
        folder.mkdir()
        make_runs(made)
        context = multiprocessing.get_context("spawn")
        one = functools.partial(
            try_mutation,
            made=made,
            folder=folder,
            opening=functools.partial(forked, limits=limits),
        )
        with ProcessPoolExecutor(workers, context, prepare, (made, folder)) as pool:
            yield from pool.map(one, seeds)


def main() -> None:
    """Exit code 1 where a mutation did anything but end in a sentence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutations", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--memory", type=float, default=2.0, help="GB that a command may take")
    parser.add_argument("--seconds", type=int, default=10, help="processor time of a command")
    parser.add_argument("--wall", type=float, default=120.0, help="seconds of a command")
    options = parser.parse_args()
    limits = Limits(options.seconds, options.wall, options.memory * 1e9)
    began, failed, commands = time.perf_counter(), 0, 0
    slowest = largest = (0.0, "none")
    seeds = range(options.first, options.first + options.mutations)
    for count, mutation in enumerate(run_mutations(seeds, options.workers, limits), 1):
        if mutation.complaints:
            failed += 1
            print(f"seed {mutation.seed}, {mutation.run}, {'; '.join(mutation.done)}", end="\n  ")
            print(*mutation.complaints, sep="\n  ", flush=True)
        for command, ended in mutation.commands.items():
            what = f"seed {mutation.seed}, {mutation.run}, {command.partition(' ')[0]}"
            commands += 1
            slowest = max(slowest, (ended.seconds, what))
            largest = max(largest, (ended.memory, what))
        if count % 500 == 0 or count == len(seeds):
            print(
                f"{count:,} mutations, {commands:,} commands, {failed} failed, {time.perf_counter() - began:.0f} s;"
                f" at most {slowest[0]:.1f} s of processor time ({slowest[1]}) and"
                f" {largest[0] / 1e9:.2f} GB ({largest[1]})",
                flush=True,
            )
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
