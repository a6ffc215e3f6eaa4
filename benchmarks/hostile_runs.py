"""Do mutated run folders do anything but end in a sentence?

A few small runs are made. Then, again and again, one is copied, something in the copy is changed (bytes, values,
kinds of files, names), and commands open it in a worker process. A mutation fails where a command ends otherwise
than with the exit code 0 or 2, prints a control character, takes more than `--seconds`, makes the process larger
than `--memory`, or changes a file outside the folder.

    python benchmarks/hostile_runs.py --mutations 10_000
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COMMANDS = {
    "ppo": ["evaluate", "record", "resume", "api"],
    "dqn": ["evaluate", "resume", "api"],
    "go": ["evaluate", "resume", "match", "api"],
    "slots": ["evaluate", "predict", "api"],
    "digits": ["evaluate", "predict", "resume", "api"],
    "taxi": ["checkpoint", "resume", "api"],
    "spam": ["evaluate", "text", "api"],
    "descent": ["evaluate", "start", "api"],
}
WORDS = {
    "evaluate": ["evaluate", "RUN", "--episodes", "1"],
    "checkpoint": ["evaluate", "RUN", "--episodes", "1", "--checkpoint", "best"],
    "record": ["record", "RUN"],
    "resume": ["resume", "RUN", "--steps", "96"],
    "match": ["match", "RUN", "random", "--games", "1", "--simulations", "1", "--folder", "games"],
    "predict": ["predict", "RUN", "../picture.png"],
    "text": ["predict", "RUN", "a" * 40],
    "start": ["predict", "RUN", "ravine -1.5 2"],
}
ABSURD: list[Any] = [
    -1, 0, 1, 3, 10**7, 10**9, 10**12, 2**53, 2**63, 10**30, -(10**12), 1e308, -0.5, 1e-300,
    float("nan"), float("inf"), True, "", "none", "x", "../../..", "/etc/passwd", "\x1b[2J\r\n", "a" * 5_000,
    "touch pwned", "os:system", "evil.py:Evil", [], [1, 2, 3], {}, {"a": {"b": [1]}},
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
    agent = {
        **common,
        "evaluation_episodes": 1,
        "hidden_size": 4,
        "num_envs": 2,
        "segment_steps": 32,
    }
    policy = {**agent, "rollout_steps": 16, "num_minibatches": 1}
    fathom.train("ppo", "CartPole-v1", name="ppo", steps=64, **policy)
    fathom.train("dqn", "CartPole-v1", name="dqn", steps=64, learning_starts=16, replay_capacity=100,
                 batch_size=4, keep_replay=True, **agent)  # fmt: skip
    fathom.train(
        "ppo", "Fathom/Go-v0", name="go", env_args={"size": 5, "max_moves": 20}, steps=64, **policy
    )
    fathom.fit("slot-filling", name="slots", data="domain:movie", data_args={"sentences": 200}, epochs=1,
               embedding=4, hidden_size=4, buckets=8, **common)  # fmt: skip
    # Indices in the replay memory, initial weights, and a change.
    learnt = fathom.train("dqn", "Taxi-v4", name="learnt", steps=32, learning_starts=16,
                          replay_capacity=100, batch_size=4, **agent)  # fmt: skip
    fathom.train("dqn", "Taxi-v4", name="taxi", steps=32, learning_starts=16, replay_capacity=100, batch_size=4,
                 keep_replay=True, keep="best", weights=learnt.folder, **agent)  # fmt: skip
    fathom.resume("taxi", 64, runs_dir=folder, progress=False, learning_rate=1e-3)
    shutil.rmtree(learnt.folder)
    fathom.fit("spam", name="spam", epochs=1, **common)
    fathom.fit("descent", name="descent", epochs=2, passes=2, **common)
    fathom.fit("digits", name="digits", network="linear", epochs=1, **common)


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
        if "sha256" in content and isinstance(content, dict):
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


# -- the worker -------------------------------------------------------------------------------------


class TooLongError(BaseException):
    """The time is up."""


def work(tasks: Any, results: Any, base: Path, memory: int, seconds: int) -> None:
    """Do mutations until there are none left, and put their results into a queue."""
    import torch

    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    folder = Path(tempfile.mkdtemp(dir=base))
    picture(folder)
    for name, commands in COMMANDS.items():  # the first time takes as long as compiling does
        shutil.copytree(base / "made" / name, folder / name / "runs" / "elsewhere")
        os.chdir(folder / name)
        for command in commands:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                open_run(command)
    while (seed := tasks.get()) is not None:
        result = try_mutation(seed, base / "made", folder, memory, seconds)
        results.put(result)
        if any("GB" in text for text in result[3]):
            break  # the peak of memory is that of the process: the next one starts anew
    results.put(None)


def try_mutation(
    seed: int, made: Path, folder: Path, memory: int, seconds: int
) -> tuple[int, str, list[str], list[str]]:
    """Mutate a copy of a run and open it by two commands; gives seed, run, mutations and complaints."""
    rng = random.Random(seed)
    name = rng.choice(list(COMMANDS))
    here = folder / str(seed)
    shutil.copytree(made / name, here / "runs" / "elsewhere")
    (here / "runs" / "elsewhere" / "signature").unlink()
    canaries = here / "canaries"
    make_canaries(canaries)
    before = tree(here)
    kept = {
        path: data for path, data in before.items() if not f"{path}/".startswith("runs/elsewhere/")
    }
    done = [
        mutate(here / "runs" / "elsewhere", canaries, rng)
        for _ in range(rng.choice([1, 1, 1, 2, 3]))
    ]
    complaints = []
    os.chdir(here)
    signal.signal(signal.SIGALRM, _stop)
    for command in rng.sample(COMMANDS[name], 2):
        output = io.StringIO()
        signal.alarm(seconds)
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                code = open_run(command)
            if code not in (0, 2):
                complaints.append(f"{command}: exit code {code}")
        except TooLongError:
            complaints.append(f"{command}: more than {seconds} s")
        except BaseException:
            complaints.append(f"{command}: {traceback.format_exc(limit=-3)}")
        finally:
            signal.alarm(0)
        if CONTROL.search(output.getvalue()):
            complaints.append(f"{command}: a control character in {output.getvalue()!r}")
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if largest > memory:
            complaints.append(f"{command}: {largest / 1e9:.1f} GB")
    os.chdir(folder)
    after = {
        path: data
        for path, data in tree(here).items()
        if not f"{path}/".startswith(("runs/elsewhere/", "games/"))
    }
    if after != kept:
        complaints.append("something outside the folder changed")
    shutil.rmtree(here, ignore_errors=True)
    return seed, name, done, complaints


def _stop(*_: Any) -> None:
    raise TooLongError


def open_run(command: str) -> int:
    """Do a command on the run `elsewhere`; gives the exit code."""
    import fathom
    from fathom.cli import main

    if command != "api":
        return main(["elsewhere" if word == "RUN" else word for word in WORDS[command]])
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


def tree(folder: Path) -> dict[str, bytes]:
    """The files under a folder; of those that are no plain files only that they are there."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20
        else b""
        for path in folder.rglob("*")
    }


def run_mutations(seeds: list[int], workers: int, memory: int, seconds: int) -> Iterator[tuple]:
    """Do the mutation of every seed; gives seed, run, mutations and complaints as they end."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        make_runs(base / "made")
        tasks: Any = context.Queue()
        results: Any = context.Queue()
        for item in [*seeds, *[None] * workers]:
            tasks.put(item)

        def start() -> Any:
            process = context.Process(target=work, args=(tasks, results, base, memory, seconds))
            process.start()
            return process

        processes = [start() for _ in range(workers)]
        left = len(seeds)
        while left:
            try:
                result = results.get(timeout=600)
            except Exception:
                dead = [process for process in processes if not process.is_alive()]
                if not dead:
                    raise
                yield (-1, "?", [], [f"a worker died with the code {dead[0].exitcode}"])
                left -= 1
                processes.remove(dead[0])
                processes.append(start())
                continue
            if result is None:
                if left > workers:
                    processes.append(start())
                continue
            left -= 1
            yield result
        for process in processes:
            process.join(10)
            process.kill()


def picture(folder: Path) -> None:
    """A digit to ask the fit about."""
    from PIL import Image

    Image.new("L", (8, 8)).save(folder / "picture.png")


def main() -> None:
    """Exit code 1 where a mutation did anything but end in a sentence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutations", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--memory", type=float, default=2.0, help="GB that a process may take")
    parser.add_argument("--seconds", type=int, default=10, help="time of a command")
    options = parser.parse_args()
    seeds = list(range(options.first, options.first + options.mutations))
    began, failed = time.perf_counter(), 0
    most = int(options.memory * 1e9)
    for count, (seed, name, done, complaints) in enumerate(
        run_mutations(seeds, options.workers, most, options.seconds), 1
    ):
        if complaints:
            failed += 1
            print(f"seed {seed}, {name}, {'; '.join(done)}", *complaints, sep="\n  ", flush=True)
        if count % 500 == 0:
            print(
                f"{count:,} done, {failed} failed, {time.perf_counter() - began:.0f} s", flush=True
            )
    print(f"{len(seeds):,} mutations, {failed} failed, {time.perf_counter() - began:.0f} s")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
