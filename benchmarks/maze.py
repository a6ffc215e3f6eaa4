"""Steps a second of our mazes, beside MiniGrid and Gymnasium's FrozenLake, all with random actions.

    pip install -e ".[bench]"
    python benchmarks/maze.py

The vector environments take turns within one process; a figure is the median of the turns. MiniGrid and
FrozenLake step in Gymnasium's `SyncVectorEnv`, which is what they have. FrozenLake observes one number,
MiniGrid a window of 7×7, ours the whole maze of 9×9.
"""

import statistics
import time
from collections.abc import Callable

import gymnasium
import minigrid  # noqa: F401 - registers its environments
import numba
import numpy as np

from measuring import RESULTS, in_turns, keep, machine, timing_flags, versions  # isort: skip - lies beside this file

import envs  # noqa: F401 - registers the mazes


def vector_speed(make: Callable[[], gymnasium.vector.VectorEnv], seconds: float) -> float:
    """Steps a second, summed over the environments, actions drawn beforehand."""
    env = make()
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = rng.integers(env.single_action_space.n, size=(64, env.num_envs))
    for step in range(16):
        env.step(actions[step])
    steps, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        env.step(actions[steps % len(actions)])
        steps += 1
    env.close()
    return steps * env.num_envs / taken


def single_speed(make: Callable[[], gymnasium.Env], seconds: float) -> float:
    """Steps a second of one environment, resets included."""
    env = make()
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(env.action_space.n, size=1024).tolist()  # type: ignore[attr-defined]
    steps, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        steps += len(actions)
    env.close()
    return steps / taken


def main() -> None:
    """Measure, print a table and keep the figures."""
    parser = timing_flags(__doc__)
    parser.add_argument("--num-envs", type=int, default=4096, help="of our vector environment")
    flags = parser.parse_args()

    def sync(name: str) -> Callable[[], gymnasium.vector.VectorEnv]:
        return lambda: gymnasium.make_vec(name, 8, vectorization_mode="sync")

    candidates: dict[str, Callable[[], float]] = {
        f"Fathom/Maze-v0, {flags.num_envs:,} at once": lambda: vector_speed(
            lambda: gymnasium.make_vec("Fathom/Maze-v0", flags.num_envs), flags.seconds
        ),
        "MiniGrid-Empty-8x8-v0, 8 at once": lambda: vector_speed(
            sync("MiniGrid-Empty-8x8-v0"), flags.seconds
        ),
        "FrozenLake-v1, 8 at once": lambda: vector_speed(sync("FrozenLake-v1"), flags.seconds),
        "Fathom/Maze-v0, one, through gymnasium.make": lambda: single_speed(
            lambda: gymnasium.make("Fathom/Maze-v0"), flags.seconds
        ),
        "Fathom/Maze-v0, one, itself": lambda: single_speed(
            lambda: gymnasium.make("Fathom/Maze-v0").unwrapped, flags.seconds
        ),
        "MiniGrid-Empty-8x8-v0, one, itself": lambda: single_speed(
            lambda: gymnasium.make("MiniGrid-Empty-8x8-v0").unwrapped, flags.seconds
        ),
    }
    speeds = in_turns(candidates, flags.turns)
    for name, values in speeds.items():
        print(f"{name:45} {statistics.median(values):14,.0f} steps/s")
    ours, theirs, *_ = (statistics.median(values) for values in speeds.values())
    print(f"vector environment over MiniGrid: {ours / theirs:,.0f} times")
    content = {
        "steps_per_second": speeds,
        "versions": versions("gymnasium", "minigrid", "numba", "numpy"),
        "machine": machine(numba.config.NUMBA_NUM_THREADS),  # type: ignore[attr-defined]
        "settings": {"seconds": flags.seconds, "turns": flags.turns},
    }
    keep(RESULTS / "maze.json", content)


if __name__ == "__main__":
    main()
