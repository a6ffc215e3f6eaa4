"""Complete dialogues a second: with the rule agent, observations and masks included, and of DQN's training.

    pip install -e ".[bench]"
    python benchmarks/dialogue.py

Every figure counts dialogues with their resets, the rule agent's choices among them, in the movie domain on
training goals; the vector environment and single ones take turns, and a figure is the median of the turns.

DQN trains in TC-Bot's world as TC-Bot does: after 100 dialogues, 62 batches of 16 from a memory of 1,000
turns, which is one update every 16 turns. That includes acting, the memory, and what compiled code costs
to call.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numba

from dialogue_learning import Counted  # isort: skip - lies beside this file
from measuring import RESULTS, in_turns, keep, machine, timing_flags, versions  # isort: skip

import envs  # noqa: F401 - registers the dialogues
from agents.agent import RunContext
from agents.dqn import DQN, DQNConfig
from envs.dialogue.domain import DomainError
from envs.dialogue.tc_bot_data import load_movie_data
from fathom.environments import resolve
from fathom.environments.presets import preset
from fathom.runs.process import prepare

WORLD = "Fathom/Dialogue-v0"
LEARNT = 60_000
"""Steps after which DQN is timed."""


def vector_speed(num_envs: int, seconds: float, **arguments: Any) -> float:
    """Dialogues a second of the vector environment."""
    env: Any = gymnasium.make_vec(WORLD, num_envs, **arguments)
    observations, info = env.reset(seed=0)
    for _ in range(30):  # so that they are not all at their beginning
        observations, _, _, _, info = env.step(env.expert_action(observations, info["action_mask"]))
    over, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        actions = env.expert_action(observations, info["action_mask"])
        observations, _, terminated, _, info = env.step(actions)
        over += int(terminated.sum())
    env.close()
    return over / taken


def single_speed(seconds: float, **arguments: Any) -> float:
    """Dialogues a second of one environment."""
    env: Any = gymnasium.make(WORLD, **arguments).unwrapped
    observation, _ = env.reset(seed=0)
    over, began = -1, time.perf_counter()  # what compiles, compiles in the first one
    while (taken := time.perf_counter() - began) < seconds:
        observation, _, terminated, _, _ = env.step(int(env.expert_action(observation[None])[0]))
        if terminated:
            observation, _ = env.reset()
            over += 1
            if over == 0:
                began = time.perf_counter()
    return over / taken


def training_speed(seconds: float) -> float:
    """Dialogues a second of DQN's training at TC-Bot's replay ratio, on one thread, once it can hold one:
    at first most of them end only because they are too long."""
    result = preset("dqn", "Fathom/TCBot-v0")
    assert result is not None, "the preset for TC-Bot's world is gone"
    prepare(1, "cpu")
    changes = {"batch_size": 16, "train_frequency": 16}
    config = DQNConfig(**result[1]["agent"] | changes)
    world = resolve("Fathom/TCBot-v0")
    env = Counted(world.make_vector(config.num_envs, training=True))
    steps = 1_000_000
    with tempfile.TemporaryDirectory() as storage:
        context = RunContext(
            config.num_envs, steps, steps, storage=Path(storage), expert_action=world.expert()
        )
        agent, begun, began = DQN(*world.spaces(), config, context), 0, 0.0
        for _ in agent.train(env, steps, seed=0):
            if agent.steps < LEARNT:
                continue
            if not began:
                begun, began = env.begun, time.perf_counter()
            elif (taken := time.perf_counter() - began) > seconds:
                return (env.begun - begun) / taken
    raise RuntimeError(f"{steps:,} steps took less than {seconds} s")


def main() -> None:
    """Measure, print a table and keep the figures."""
    parser = timing_flags(__doc__)
    parser.add_argument("--num-envs", type=int, default=2048, help="of the vector environment")
    flags = parser.parse_args()
    errors = {"slot_error": 0.05, "intent_error": 0.05}
    candidates: dict[str, Callable[[], float]] = {
        f"{flags.num_envs:,} at once, no errors": lambda: vector_speed(
            flags.num_envs, flags.seconds
        ),
        f"{flags.num_envs:,} at once, 5 % errors": lambda: vector_speed(
            flags.num_envs, flags.seconds, **errors
        ),
        "16 at once, 5 % errors": lambda: vector_speed(16, flags.seconds, **errors),
        "one, no errors": lambda: single_speed(flags.seconds),
        "one, 5 % errors": lambda: single_speed(flags.seconds, **errors),
    }
    try:
        load_movie_data()
    except DomainError as error:
        print(f"DQN's training is not measured: {error}")
    else:
        candidates["DQN trains in TC-Bot's world"] = lambda: training_speed(flags.seconds)
    speeds = in_turns(candidates, flags.turns)
    for name, values in speeds.items():
        print(f"{name:32} {statistics.median(values):10,.0f} dialogues/s")
    content = {
        "dialogues_per_second": speeds,
        "versions": versions("gymnasium", "numba", "numpy"),
        "machine": machine(numba.config.NUMBA_NUM_THREADS),  # type: ignore[attr-defined]
        "settings": {"seconds": flags.seconds, "turns": flags.turns, "num_envs": flags.num_envs},
    }
    keep(RESULTS / "dialogue.json", content)


if __name__ == "__main__":
    main()
