"""Steps a second of Go's vector environment, with masks, planes and superko, at random moves.

    pip install -e ".[bench]"
    python benchmarks/go_vector.py

Ours takes turns with PettingZoo's Go within one process, and with OpenSpiel's, driven from Python
and giving its mask and its own observation, where they are installed; a figure is the median of the
turns. Ours chooses among the legal moves outside the measured time; the others have no batch to
choose for, and their choice, a few µs, is measured with them.
"""

import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import gymnasium
import numba
import numpy as np

from measuring import RESULTS, in_turns, keep, machine, timing_flags, versions  # isort: skip - lies beside this file

import envs  # noqa: F401 - registers Go


@numba.njit(cache=True)
def _choose(masks: np.ndarray, draws: np.ndarray, actions: np.ndarray) -> None:
    """Any legal action that is not the pass, in every row; the pass if there is none."""
    for i in range(len(masks)):
        points = masks.shape[1] - 1
        left = int(draws[i] * masks[i, :points].sum())
        actions[i] = points
        for action in range(points):
            if masks[i, action]:
                if left == 0:
                    actions[i] = action
                    break
                left -= 1


def vector_speed(num_envs: int, seconds: float, **arguments: object) -> float:
    """Steps a second, summed over the environments; only the time in `step` counts."""
    env = gymnasium.make_vec("Fathom/Go-v0", num_envs, **arguments)
    _, info = env.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = np.zeros(num_envs, np.int64)
    taken, steps, warming = 0.0, 0, 60  # so that the games are not all at their beginning
    while taken < seconds:
        _choose(info["action_mask"], rng.random(num_envs), actions)
        began = time.perf_counter()
        *_, info = env.step(actions)
        if steps >= warming:
            taken += time.perf_counter() - began
        steps += 1
    env.close()
    return (steps - warming) * num_envs / taken


def openspiel_speed(size: int, seconds: float) -> float:
    """Moves a second of OpenSpiel games one by one, each with its mask and its observation."""
    import pyspiel

    game = pyspiel.load_game(f"go(board_size={size},komi=7.0)")
    rng = np.random.default_rng(0)
    draws = rng.random(1 << 16)
    steps, state, began = 0, game.new_initial_state(), time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        for draw in draws[:1000]:
            if state.is_terminal():
                state = game.new_initial_state()
            state.observation_tensor()
            legal = state.legal_actions()
            state.apply_action(legal[int(draw * len(legal))])
        steps += 1000
    return steps / taken


def pettingzoo_speed(size: int, seconds: float) -> float:
    """Moves a second of PettingZoo's Go, which gives a mask and an observation."""
    from pettingzoo.classic import go_v5

    env = go_v5.raw_env(board_size=size, komi=7.0)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    steps, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        observation, _, terminated, truncated, _ = env.last()
        if terminated or truncated:
            env.reset()
            continue
        legal = np.flatnonzero(observation["action_mask"])
        env.step(int(rng.choice(legal)))
        steps += 1
    return steps / taken


def main() -> None:
    """Measure, print a table and keep the figures."""
    parser = timing_flags(__doc__)
    parser.add_argument("--num-envs", type=int, default=1024, help="of our vector environment")
    flags = parser.parse_args()

    candidates: dict[str, Callable[[], float]] = {}
    for size in (9, 19):
        for opponent in ("self", "random"):
            candidates[f"Fathom/Go-v0, {size}×{size}, opponent {opponent}"] = (
                lambda size=size, opponent=opponent: vector_speed(
                    flags.num_envs, flags.seconds, size=size, opponent=opponent
                )
            )
        if find_spec("pyspiel"):
            candidates[f"OpenSpiel go, {size}×{size}"] = lambda size=size: openspiel_speed(
                size, flags.seconds
            )
        if find_spec("pettingzoo") and find_spec("pygame"):
            candidates[f"PettingZoo go_v5, {size}×{size}"] = lambda size=size: pettingzoo_speed(
                size, flags.seconds
            )
    speeds = in_turns(candidates, flags.turns)
    for name, values in speeds.items():
        print(f"{name:40} {statistics.median(values):12,.0f} steps/s")
    content = {
        "steps_per_second": speeds,
        "versions": versions("gymnasium", "numba", "numpy", "open_spiel", "pettingzoo"),
        "machine": machine(numba.get_num_threads()),
        "settings": {"seconds": flags.seconds, "turns": flags.turns, "num_envs": flags.num_envs},
    }
    keep(RESULTS / "go_vector.json", content)


if __name__ == "__main__":
    main()
