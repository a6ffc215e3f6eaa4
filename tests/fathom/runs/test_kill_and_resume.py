"""Real trainings, killed with SIGKILL twice, end bit for bit like one left alone."""

import multiprocessing
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fathom.cli import main
from fathom.environments import resolve
from fathom.files import Folder
from fathom.transitions import record_transitions

TRAININGS = {
    "atari": (
        "dqn ALE/Pong-v5 --num-envs 4 --steps 900 --segment-steps 300 --learning-starts 200 --batch-size 8"
        " --replay-capacity 600 --target-update-interval 50 --n-step 3 --evaluation-episodes 0"
        " --cnn nips --hidden-size 64 --threads 1"
    ),
    "recurrent ppo": (
        "ppo CartPole-v1 --steps 1200 --segment-steps 300 --evaluation-episodes 2 --threads 1"
        " --memory gru --num-minibatches 4 --epochs 2 --normalize-observations --normalize-rewards"
    ),
    "dialogue": (
        "dqn Fathom/Dialogue-v0 --env.slot_error 0.1 --env.intent_error 0.1 --steps 3000"
        " --segment-steps 750 --expert-steps 1000 --learning-starts 300 --evaluation-episodes 2 --threads 1"
    ),
    "expert games, then self-play": (
        "alphago Fathom/Go-v0 --env.size 5 --expert-games {games} --expert-share 0.5 --layers 4"
        " --width 8 --num-envs 8 --simulations 4 --batch-size 16 --steps 1600 --segment-steps 400"
        " --evaluation-episodes 2 --threads 1"
    ),
    "a learnt model": (
        "muzero CartPole-v1 --steps 1200 --segment-steps 300 --learning-starts 200 --replay-capacity 600"
        " --num-envs 8 --n-step 4 --unroll-steps 3 --simulations 4 --replay-ratio 4 --epsilon 0.2"
        " --evaluation-episodes 2 --threads 1"
    ),
    "cloning": (
        "bc CartPole-v1 --expert {expert} --steps 60000 --segment-steps 15000 --evaluation-episodes 2"
        " --normalize-observations --threads 1"
    ),
    "adversarial imitation": (
        "gail CartPole-v1 --expert {expert} --steps 2400 --segment-steps 600 --evaluation-episodes 2"
        " --normalize-rewards --threads 1"
    ),
}


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServerContext]:
    """Processes that begin with everything imported, and without a compiler.

    To import takes seconds and to compile the update takes longer than all else; the tests of agents do it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "fathom.cli", "fathom.commands._training", "fathom.runs.launcher"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent))
        forkserver.ensure_running()
    yield context
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def _finish(process: ForkServerProcess) -> None:
    process.join(300)
    assert process.exitcode == 0


def _kill_when(process: ForkServerProcess, condition: Callable[[], bool]) -> bool:
    """Kill the process as soon as the condition holds; False where it ended before that."""
    while process.is_alive():
        if condition():
            process.kill()
            process.join()
            return process.exitcode == -signal.SIGKILL
        time.sleep(0.0005)
    return False


def _after_change(path: Path, delay: float) -> Callable[[], bool]:
    """True from `delay` seconds after the file's next change on, or its coming into being."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    until: list[float] = []

    def condition() -> bool:
        if not until and path.exists() and path.stat().st_mtime_ns > before:
            until.append(time.monotonic() + delay)
        return bool(until) and time.monotonic() >= until[0]

    return condition


class _Random:
    """An agent of CartPole that takes any action."""

    def act(
        self, observations: Any, masks: Any, starts: Any, rng: np.random.Generator
    ) -> np.ndarray:
        return rng.integers(2, size=1)


def _write_expert(folder: Path) -> None:
    """Transitions of an agent that is no expert."""
    pytest.importorskip("minari")
    agent: Any = _Random()
    world = resolve("CartPole-v1")
    record_transitions(agent, world, Folder(folder.parent), folder.name, 200, 0, "random")


def _write_games(folder: Path) -> None:
    """Forty records on 5×5 of moves that fill the board in any order."""
    folder.mkdir()
    points = [f"{column}{row}" for column in "abcde" for row in "abcde"]
    rng = random.Random(0)
    for number in range(40):
        moves = zip("BW" * 8, rng.sample(points, 16), strict=True)
        record = "".join(f";{colour}[{point}]" for colour, point in moves)
        (folder / f"{number}.sgf").write_text(f"(;GM[1]SZ[5]RE[B+R]{record})")


def _last_checkpoint(run: Path) -> dict[str, torch.Tensor]:
    folder = run / "checkpoints" / (run / "latest").read_text().strip()
    return load_file(folder / "weights.safetensors") | load_file(folder / "state.safetensors")


@pytest.mark.parametrize("world", TRAININGS)
def test_a_killed_training_ends_with_the_same_tensors(
    tmp_path: Path, processes: ForkServerContext, world: str
) -> None:
    def started(*arguments: str) -> ForkServerProcess:
        process = processes.Process(target=main, args=(list(arguments),))
        process.start()
        return process

    games, expert = tmp_path / "games", tmp_path / "expert"
    if "{games}" in TRAININGS[world]:
        _write_games(games)
    if "{expert}" in TRAININGS[world]:
        _write_expert(expert)
    words = TRAININGS[world].format(games=games, expert=expert).split()
    train = ["train", *words, "--seed", "3", "--runs-dir", str(tmp_path)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _finish(started(*train, "--name", "whole"))
    moments = random.Random(world)

    def writing() -> bool:
        return any((killed / "checkpoints").glob(".*.tmp")) and (killed / "latest").exists()

    # In the first segment, and while a later checkpoint is written. The delay is short beside a segment,
    # however fast the machine is and whatever it has compiled.
    process = started(*train, "--name", "killed")
    assert _kill_when(process, _after_change(killed / "run.toml", moments.uniform(0, 1)))
    process = started("resume", str(killed))
    assert _kill_when(process, writing), "the training ended before it could be killed"
    _finish(started("resume", str(killed)))

    steps, segment = (int(words[words.index(flag) + 1]) for flag in ("--steps", "--segment-steps"))
    for run in (whole, killed):
        assert int((run / "latest").read_text()) == steps // segment, "it did not go on to its end"
    one, other = _last_checkpoint(whole), _last_checkpoint(killed)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    assert not list(killed.rglob(".*.tmp")), "what a kill left half written was not cleared away"
