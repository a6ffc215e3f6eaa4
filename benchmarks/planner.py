"""The planner beside DQN in an Atari game, at equal processor time.

    python benchmarks/planner.py --game MsPacman

The planner learns nothing: its time is that of playing. DQN trains with its preset for the time that the planner
played, and then plays the same games, as does an agent that takes any action. A game is cut after `--decisions`
decisions of four frames. Writes benchmarks/results/planner.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.wrappers import TimeLimit

import fathom
from agents.agent import generator
from agents.planner import Planner, PlannerConfig
from envs import atari
from fathom.runs.config import machine

SEED = 1 << 30
"""Of the first game; training has lower ones."""


def play(act: Any, game: str, games: int, decisions: int) -> list[float]:
    """The returns of games cut after so many decisions; `act` takes the environment and the observation."""
    env = TimeLimit(atari.AtariCopyable(f"ALE/{game}-v5", atari.AtariConfig()), decisions)
    returns = []
    for index in range(games):
        observation, _ = env.reset(seed=SEED + index)
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(act(env, observation))
            total += float(reward)
            over = terminated or truncated
        returns.append(total)
    return returns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--game", default="MsPacman")
    parser.add_argument("--games", type=int, default=2)
    parser.add_argument("--decisions", type=int, default=150)
    parser.add_argument("--simulations", type=int, default=16)
    parser.add_argument("--rollout-length", type=int, default=10)
    parser.add_argument("--exploration", type=float, default=30.0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/planner.json"))
    flags = parser.parse_args()
    torch.set_num_threads(1)
    rng = generator(SEED)
    config = PlannerConfig(
        simulations=flags.simulations,
        rollout_length=flags.rollout_length,
        exploration=flags.exploration,
    )
    envs = fathom_world(flags.game).make_vector(1, training=True)
    planner = Planner.for_env(envs, config)

    def plan(env: Any, observation: np.ndarray) -> int:
        planner.attach(env)
        return int(planner.act(observation[None], None, np.zeros(1, bool), rng)[0])

    began = time.process_time()
    planned = play(plan, flags.game, flags.games, flags.decisions)
    seconds = time.process_time() - began
    print(f"planner: {planned} in {seconds:.0f} processor seconds", flush=True)
    steps, trained = 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        run = None
        while trained < seconds:  # in parts, for how fast it is is not known before
            steps += 1_000
            began = time.process_time()
            if run is None:
                run = fathom.train(
                    "dqn", f"ALE/{flags.game}-v5", steps=steps, segment_steps=1_000, runs_dir=Path(folder),
                    evaluation_episodes=0, threads=1, progress=False, replay_capacity=50_000,
                    learning_starts=1_000, epsilon_steps=10_000,
                )  # fmt: skip
            else:
                run.resume(steps=steps)
            trained += time.process_time() - began
        assert run is not None
        agent = run.agent()

        def learnt(env: Any, observation: np.ndarray) -> int:
            return int(agent.act(observation[None], None, np.zeros(1, bool), rng)[0])

        dqn = play(learnt, flags.game, 5 * flags.games, flags.decisions)
    print(f"dqn: {dqn} after {steps:,} steps in {trained:.0f} processor seconds", flush=True)
    chance = play(
        lambda env, _: int(rng.integers(env.action_space.n)),
        flags.game,
        5 * flags.games,
        flags.decisions,
    )
    print(f"random: {chance}")
    result = {
        "game": flags.game,
        "decisions": flags.decisions,
        "config": dataclasses.asdict(config),
        "planner": {"returns": planned, "processor_seconds": seconds},
        "dqn": {"returns": dqn, "processor_seconds": trained, "steps": steps},
        "random": {"returns": chance},
        "machine": machine(),
    }
    flags.out.write_text(json.dumps(result, indent=1) + "\n")


def fathom_world(game: str) -> Any:
    from fathom.environments import resolve

    return dataclasses.replace(resolve(f"ALE/{game}-v5"), copyable=True)


if __name__ == "__main__":
    main()
