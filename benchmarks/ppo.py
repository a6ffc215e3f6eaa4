"""How fast does PPO train, beside stable-baselines3's, and what do the agents score?

CartPole-v1: the settings of rl-baselines3-zoo (8 environments, rollouts of 32 steps, one batch of 256, 20
epochs, a learning rate that falls from 1e-3 to 0, γ 0.98, λ 0.8), policy and value each with two
layers of 64. Pong: the settings of the paper (8 environments, rollouts of 128, 4 batches, 4 epochs, 2.5e-4),
the Nature network, the protocol of Mnih et al. 2015; stable-baselines3 with its own Atari wrappers.

Every measurement is a training in a process of its own, with the same number of threads: a whole one of
CartPole, the first steps of one of 2,000,000 on Pong. They take turns, each turn with another seed. One clock
runs from the first step to the last: building and importing are not in it, compiling is. Another runs
through the second half, where nothing is compiled any more. Afterwards the greedy agent plays 100 episodes
of CartPole.

    pip install -e ".[bench]"
    python benchmarks/ppo.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from dqn_atari import PACKAGES, make_game  # isort: skip - lies beside this file
from measuring import RESULTS, apart, interval, keep, machine, versions  # isort: skip

CONTENDERS = ("fathom", "stable-baselines3")
SETTINGS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "rollout_steps": 32, "num_minibatches": 1, "epochs": 20, "learning_rate": 1e-3, "discount": 0.98,
        "gae_lambda": 0.8, "clip_range": 0.2, "entropy_coefficient": 0.0,
    },
    "ALE/Pong-v5": {
        "rollout_steps": 128, "num_minibatches": 4, "epochs": 4, "learning_rate": 2.5e-4, "discount": 0.99,
        "gae_lambda": 0.95, "clip_range": 0.1, "entropy_coefficient": 0.01,
    },
}  # fmt: skip
SPEEDS = ("steps_per_second", "later_steps_per_second")
NUM_ENVS = 8
EPISODES = 100
PONG_TRAINING = 2_000_000


class Clock:
    """Times a training of so many steps, and its second half."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.half: tuple[int, float] | None = None
        self.began = self.now = time.perf_counter()

    def look(self, done: int) -> None:
        """To be called between learning and the next rollout, and at the end."""
        self.now = time.perf_counter()
        if self.half is None and done >= self.steps / 2:
            self.half = done, self.now

    def speeds(self) -> dict[str, float]:
        """Steps per second."""
        assert self.half is not None
        done, then = self.half
        return {
            "steps_per_second": self.steps / (self.now - self.began),
            "later_steps_per_second": (self.steps - done) / (self.now - then),
        }


def measure_ours(env_id: str, steps: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train ours through the parts that `fathom train` is made of."""
    from agents.agent import RunContext
    from agents.ppo import PPO, PPOConfig
    from fathom.environments import resolve
    from fathom.evaluation import evaluate, evaluation_seed
    from fathom.runs.process import prepare

    prepare(options.threads, "cpu")
    atari = env_id.startswith("ALE/")
    world = resolve(env_id, {"protocol": "nature"} if atari else {})
    config = PPOConfig(
        num_envs=NUM_ENVS,
        hidden_size=512 if atari else 64,
        reward_clip=float(atari),
        **SETTINGS[env_id],
    )
    whole = PONG_TRAINING if atari else steps
    context = RunContext(NUM_ENVS, steps, whole, world.frame_stack, Path("."), "cpu")
    agent = PPO(*world.spaces(), config, context)
    env = world.make_vector(NUM_ENVS, training=True)
    clock = Clock(steps)
    for report in agent.train(env, steps, options.seed):
        clock.look(int(report["steps"]))
    env.close()
    score = None if atari else evaluate(agent, world, EPISODES, evaluation_seed()).mean
    return {**clock.speeds(), "score": score}


def measure_peer(env_id: str, steps: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train stable-baselines3's."""
    import gymnasium
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack

    atari = env_id.startswith("ALE/")
    env: VecEnv
    if atari:
        raw = {"frameskip": 1, "repeat_action_probability": 0.0}
        env = VecFrameStack(make_atari_env(make_game, NUM_ENVS, options.seed, env_kwargs=raw), 4)
    else:
        env = make_vec_env(env_id, NUM_ENVS, options.seed)
    own = SETTINGS[env_id]
    model = PPO(
        "CnnPolicy" if atari else "MlpPolicy",
        env,
        learning_rate=lambda left: own["learning_rate"] * left,
        n_steps=own["rollout_steps"],
        batch_size=NUM_ENVS * own["rollout_steps"] // own["num_minibatches"],
        n_epochs=own["epochs"],
        gamma=own["discount"],
        gae_lambda=own["gae_lambda"],
        clip_range=own["clip_range"],
        ent_coef=own["entropy_coefficient"],
        seed=options.seed,
        device="cpu",
    )
    clock = Clock(steps)

    class PolicyOutput(BaseCallback):
        def _on_rollout_start(self) -> None:
            clock.look(self.num_timesteps)

        def _on_step(self) -> bool:
            return True

    model.learn(steps, PolicyOutput())
    clock.look(steps)
    env.close()
    if atari:
        return {**clock.speeds(), "score": None}
    games = DummyVecEnv([lambda: gymnasium.make(env_id)] * 10)
    games.seed(1_000_000)
    score, _ = evaluate_policy(model, games, EPISODES, warn=False)
    return {**clock.speeds(), "score": float(score)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Take one measurement in this process."""
    import torch

    contender, env_id = options.measure.split(" ")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rollout = NUM_ENVS * SETTINGS[env_id]["rollout_steps"]
    wanted = options.pong_steps if env_id.startswith("ALE/") else options.steps
    steps = -(-wanted // rollout) * rollout  # whole rollouts, as both count
    run = measure_ours if contender == "fathom" else measure_peer
    return {"contender": contender, "environment": env_id, "seed": options.seed,
            "steps": steps, **run(env_id, steps, options)}  # fmt: skip


def measure_apart(contender: str, env_id: str, seed: int, options: argparse.Namespace) -> dict:
    """Take one measurement in a process of its own."""
    flags = [f"--{n}={getattr(options, n)}" for n in ("steps", "pong_steps", "threads")]
    return apart(
        __file__, [f"--measure={contender} {env_id}", f"--seed={seed}", *flags], options.threads
    )


def report(measurements: list[dict[str, Any]]) -> dict[str, Any]:
    """Print a table, and return what it shows."""
    summary: dict[str, Any] = {}
    for env_id in SETTINGS:
        for contender in CONTENDERS:
            mine = [
                m for m in measurements if (m["contender"], m["environment"]) == (contender, env_id)
            ]
            if not mine:
                return summary
            entry = {speed: statistics.median(m[speed] for m in mine) for speed in SPEEDS}
            line = (
                f"{env_id:12} {contender:18} {entry['steps_per_second']:8,.0f} steps/s,"
                f" {entry['later_steps_per_second']:8,.0f} in the second half"
            )
            if mine[0]["score"] is not None:
                score, low, high = interval([m["score"] for m in mine])
                entry |= {"score": score, "interval": [low, high]}
                line += f", score {score:.1f} ({low:.1f} to {high:.1f}, {len(mine)} seeds)"
            summary[f"{env_id} {contender}"] = entry
            print(line)
        ours, peer = (summary[f"{env_id} {contender}"] for contender in CONTENDERS)
        ratios = summary[f"{env_id} ratio"] = {speed: ours[speed] / peer[speed] for speed in SPEEDS}
        print(
            f"{env_id:12} fathom is {ratios['steps_per_second']:.2f} times as fast,"
            f" {ratios['later_steps_per_second']:.2f} times in the second half"
        )
    return summary


def main() -> None:
    """Let the contenders take turns, print the table and keep the raw figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000, help="of CartPole")
    parser.add_argument("--pong_steps", type=int, default=16_384, help="of Pong")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seeds", type=int, default=5, help="turns of CartPole")
    parser.add_argument("--pong_seeds", type=int, default=1, help="turns of Pong")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)))
        return
    measurements = []
    for env_id in SETTINGS:
        for seed in range(options.pong_seeds if env_id.startswith("ALE/") else options.seeds):
            for contender in CONTENDERS:
                result = measure_apart(contender, env_id, seed, options)
                print(f"{env_id} {contender} seed {seed}: {result['steps_per_second']:,.0f} steps/s,"
                      f" score {result['score']}", flush=True)  # fmt: skip
                measurements.append(result)
    content = {
        "question": (__doc__ or "").splitlines()[0],
        "versions": versions(*PACKAGES),
        "machine": machine(options.threads),
        "settings": SETTINGS,
        "summary": report(measurements),
        "measurements": measurements,
    }
    keep(RESULTS / "ppo.json", content)


if __name__ == "__main__":
    main()
