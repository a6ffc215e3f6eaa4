"""How fast does DQN train on Pong, beside stable-baselines3 and Tianshou?

All have the Nature network, batches of 32, one update every 4 agent steps, a discount of 0.99, Adam
at 1e-4, a hard target copy every 10,000 steps, no Double Q-learning, ε fixed at 0.01 so that the
network acts in nearly every step, and the protocol of Mnih et al. 2015 (no sticky actions, up to 30
no-ops, a lost life ends a training episode). Each peer runs with its own trainer and replay memory, and
the fastest of all counts: stable-baselines3, in its own Atari wrappers, with one environment and one
update every 4 steps, or with 8 environments, in one process or in one each, and two updates every 8
steps; Tianshou, whose own wrappers fail with NumPy 2.3 and later, in Gymnasium's, with 8 environments in
one process or in one each. CleanRL is missing: its package on PyPI (0.4.8) needs the old gym, and its
later scripts are in no package.

Every measurement has a process of its own with the same number of threads; they take turns. The clock
starts when learning has been going on for `--warmup` steps, so that compiling is not in it.

    python benchmarks/dqn_atari.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import RESULTS, apart, keep, machine, versions  # isort: skip - lies beside this file

PEERS = {
    "stable-baselines3, 1 env": (1, False),
    "stable-baselines3, 8 envs": (8, False),
    "stable-baselines3, 8 processes": (8, True),
    "tianshou, 8 envs": (8, False),
    "tianshou, 8 processes": (8, True),
}
OURS = "fathom, 8 envs"
PACKAGES = ("fathom-rl", "stable-baselines3", "tianshou", "torch", "gymnasium", "ale-py", "numpy")
GAME = "ALE/Pong-v5"
BATCH_SIZE = 32
TRAIN_EVERY = 4
LEARNING_RATE = 1e-4
DISCOUNT = 0.99
TARGET_STEPS = 10_000
EPSILON = 0.01
PHASES = ("environment", "acting", "sampling", "learning")


def measure_ours(options: argparse.Namespace) -> dict[str, Any]:
    """Train our DQN, and time it from the end of the warm-up on."""
    from agents.agent import RunContext
    from agents.dqn import DQN, DQNConfig
    from envs import atari
    from fathom.runs.process import prepare

    prepare(options.threads, options.device)
    config = DQNConfig(
        num_envs=8,
        replay_capacity=options.capacity,
        learning_starts=options.learning_starts,
        train_frequency=TRAIN_EVERY,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        discount=DISCOUNT,
        n_step=1,
        reward_clip=1.0,
        target_update_interval=TARGET_STEPS // TRAIN_EVERY,
        double=False,
        dueling=False,
        hidden_size=512,
        epsilon_start=EPSILON,
        epsilon_end=EPSILON,
    )
    start = options.learning_starts + options.warmup
    env = atari.make_vector(
        GAME, config.num_envs, atari.AtariConfig(protocol="nature"), training=True
    )
    with tempfile.TemporaryDirectory() as folder:
        # The agent reports about every thousand steps: one report more than is measured.
        total = start + options.steps + 2_000
        context = RunContext(
            config.num_envs, total, total, atari.FRAME_STACK, Path(folder), options.device
        )
        agent = DQN(env.single_observation_space, env.single_action_space, config, context)
        began: tuple[float, dict[str, float]] | None = None
        for metrics in agent.train(env, total, seed=options.seed):
            now = time.perf_counter()
            if began is None:
                began = (now, metrics) if metrics["steps"] >= start else None
            elif metrics["steps"] >= began[1]["steps"] + options.steps:
                before = began[1]
                env.close()
                return {
                    "steps": metrics["steps"] - before["steps"],
                    "updates": metrics["updates"] - before["updates"],
                    "seconds": now - began[0],
                    "precision": str(next(iter(agent.adam.compute_params.values())).dtype),
                    "phases": {p: metrics[f"time/{p}"] - before[f"time/{p}"] for p in PHASES},
                }
    raise RuntimeError("the agent ended before the measurement did")


def make_game(**arguments: Any) -> Any:
    """Make the bare game, in any process."""
    import ale_py
    import gymnasium

    gymnasium.register_envs(ale_py)
    return gymnasium.make(GAME, **arguments)


def measure_stable_baselines3(
    options: argparse.Namespace, num_envs: int, processes: bool
) -> dict[str, Any]:
    """Train stable-baselines3's DQN, and time it from the end of the warm-up on."""
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack

    env = make_atari_env(
        make_game,
        n_envs=num_envs,
        seed=options.seed,
        env_kwargs={"frameskip": 1, "repeat_action_probability": 0.0},
        vec_env_cls=SubprocVecEnv if processes else DummyVecEnv,
    )
    model = DQN(
        "CnnPolicy",
        VecFrameStack(env, n_stack=4),
        learning_rate=LEARNING_RATE,
        buffer_size=options.capacity,
        learning_starts=options.learning_starts,
        batch_size=BATCH_SIZE,
        gamma=DISCOUNT,
        train_freq=TRAIN_EVERY if num_envs == 1 else 1,
        gradient_steps=1 if num_envs == 1 else num_envs // TRAIN_EVERY,
        target_update_interval=TARGET_STEPS,
        exploration_initial_eps=EPSILON,
        exploration_final_eps=EPSILON,
        seed=options.seed,
        device=options.device,
    )
    marks: list[tuple[float, int, int]] = []
    start = options.learning_starts + options.warmup

    class Clock(BaseCallback):
        """Marks the begin and the end, and ends the training at the second."""

        def _on_step(self) -> bool:
            goal = start if not marks else marks[0][1] + options.steps
            if self.num_timesteps >= goal:
                marks.append((time.perf_counter(), self.num_timesteps, model._n_updates))
            return len(marks) < 2

    model.learn(start + options.steps + 1_000, callback=Clock())
    env.close()
    (began, first, updated), (ended, last, updates) = marks
    return {"steps": last - first, "updates": updates - updated, "seconds": ended - began}


def measure_tianshou(options: argparse.Namespace, num_envs: int, processes: bool) -> dict[str, Any]:
    """Train Tianshou's DQN, and time it from the end of the warm-up on."""
    from tianshou.algorithm import DQN
    from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv, ShmemVectorEnv
    from tianshou.env.atari.atari_network import DQNet, ScaledObsInputActionReprNet
    from tianshou.trainer import OffPolicyTrainerParams

    kind = ShmemVectorEnv if processes else DummyVectorEnv
    env = kind([make_wrapped_game] * num_envs)
    env.seed(options.seed)
    space = env.action_space[0]
    policy = DiscreteQLearningPolicy(
        model=ScaledObsInputActionReprNet(DQNet(4, 84, 84, action_shape=int(space.n))),
        action_space=space,
        eps_training=EPSILON,
    )
    algorithm = DQN(
        policy=policy,
        optim=AdamOptimizerFactory(lr=LEARNING_RATE),
        gamma=DISCOUNT,
        target_update_freq=TARGET_STEPS // TRAIN_EVERY,
        is_double=False,
        huber_loss_delta=1.0,
    ).to(options.device)
    buffer = VectorReplayBuffer(
        options.capacity, num_envs, ignore_obs_next=True, save_only_last_obs=True, stack_num=4
    )
    collector = Collector(algorithm, env, buffer, exploration_noise=True)
    collector.reset()
    collector.collect(n_step=options.learning_starts, random=True)
    marks: list[tuple[float, int]] = []

    def mark(epoch: int, steps: int) -> None:
        """Mark the begin and the end; the trainer calls it before each of its steps."""
        goal = options.warmup if not marks else marks[0][1] + options.steps
        if len(marks) < 2 and steps >= goal:
            marks.append((time.perf_counter(), steps))

    algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=options.warmup + options.steps + 4 * num_envs,
            collection_step_num_env_steps=num_envs,
            update_step_num_gradient_steps_per_sample=1 / TRAIN_EVERY,
            batch_size=BATCH_SIZE,
            training_fn=mark,
            test_in_training=False,
            show_progress=False,
            verbose=False,
        )
    )
    env.close()
    (began, first), (ended, last) = marks
    return {
        "steps": last - first, "updates": (last - first) // TRAIN_EVERY, "seconds": ended - began
    }  # fmt: skip


def make_wrapped_game() -> Any:
    """Make the game in Gymnasium's wrappers, in any process: Tianshou's own fail with NumPy 2.3 and later."""
    import numpy
    from gymnasium import wrappers

    env = make_game(frameskip=1, repeat_action_probability=0.0)
    env = wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, terminal_on_life_loss=True)
    return wrappers.FrameStackObservation(wrappers.TransformReward(env, numpy.sign), 4)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Take one measurement in this process."""
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    peer = measure_tianshou if name.startswith("tianshou") else measure_stable_baselines3
    result = measure_ours(options) if name == OURS else peer(options, *PEERS[name])
    return {"name": name, "steps_per_second": result["steps"] / result["seconds"], **result}


def measure_apart(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Take one measurement in a process of its own."""
    flags = [f"--{key}={value}" for key, value in vars(options).items() if key in FLAGS]
    return apart(__file__, [f"--measure={name}", *flags], options.threads)


def summarise(measurements: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median speed of each contender and what ours is to the fastest peer."""
    speeds: dict[str, list[float]] = {}
    for result in measurements:
        speeds.setdefault(result["name"], []).append(result["steps_per_second"])
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    best = max(PEERS, key=lambda name: medians[name])
    ours = [result for result in measurements if result["name"] == OURS]
    spent = {p: sum(result["phases"][p] for result in ours) for p in PHASES}
    spent["other"] = sum(result["seconds"] for result in ours) - sum(spent.values())
    steps = sum(result["steps"] for result in ours)
    return {
        "steps_per_second": medians,
        "best_peer": best,
        "ratio": medians[OURS] / medians[best],
        "our_microseconds_a_step": {p: seconds / steps * 1e6 for p, seconds in spent.items()},
    }


def report(content: dict[str, Any]) -> None:
    """Print the figures as tables."""
    print("\n" + ", ".join(f"{name} {number}" for name, number in content["versions"].items()))
    print(", ".join(f"{key}: {value}" for key, value in content["machine"].items()))
    summary = content["summary"]
    print(
        f"\n{'training Pong, agent steps a second':36} {'median':>8} {'lowest':>8} {'highest':>8}"
    )
    for name, median in summary["steps_per_second"].items():
        values = [m["steps_per_second"] for m in content["measurements"] if m["name"] == name]
        print(f"{name:36} {median:8.0f} {min(values):8.0f} {max(values):8.0f}")
    print(f"\nfathom is {summary['ratio']:.2f} times as fast as {summary['best_peer']}")
    parts = summary["our_microseconds_a_step"]
    total = sum(parts.values())
    print("\nwhere fathom's time goes, µs an agent step")
    for name, value in parts.items():
        print(f"  {name:12} {value:8.0f}  {value / total:4.0%}")


FLAGS = ("steps", "warmup", "learning_starts", "capacity", "threads", "device", "seed")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=2_000, help="agent steps measured")
    parser.add_argument("--warmup", type=int, default=500, help="learning steps before them")
    parser.add_argument("--learning_starts", type=int, default=1_000)
    parser.add_argument("--capacity", type=int, default=100_000, help="of both replay memories")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each")
    parser.add_argument("--output", type=Path, default=RESULTS / "dqn_atari.json")
    parser.add_argument("--measure", choices=[OURS, *PEERS], help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Let the contenders take turns, print the table and keep the raw figures."""
    options = arguments()
    if options.measure:
        print(json.dumps(measure(options.measure, options)))
        return
    found = versions(*PACKAGES)
    if "not installed" in (found["stable-baselines3"], found["tianshou"]):
        raise SystemExit("the benchmark needs its peers: pip install -e '.[bench]'")
    measurements = []
    for turn in range(options.repeats):
        for name in (OURS, *PEERS):
            result = measure_apart(name, options)
            print(f"{turn + 1}/{options.repeats} {name:34} {result['steps_per_second']:7.0f} /s")
            measurements.append(result)
    content = {
        "question": (__doc__ or "").splitlines()[0],
        "versions": found,
        "machine": machine(options.threads, options.device),
        "settings": {name: getattr(options, name) for name in (*FLAGS, "repeats")},
        "summary": summarise(measurements),
        "measurements": measurements,
    }
    report(content)
    keep(options.output, content)


if __name__ == "__main__":
    main()
