"""How much time does DQN save by valuing the targets of several updates at once?

Times the updates of one step of all environments, on pictures of noise: with the target network's values
of their batches worked out together, as in training, and batch by batch. The Nature network with batches
of 32 in 8 environments, and the Atari preset's with batches of 16 in 16, both compiled. They take turns.

    python benchmarks/dqn_targets.py --threads 1
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from measuring import in_turns

from agents.agent import RunContext
from agents.dqn import DQN, DQNConfig
from agents.parts.replay import Batch
from fathom.runs.process import prepare

SETTINGS = {
    "nature": DQNConfig(
        num_envs=8, batch_size=32, cnn="nature", hidden_size=512, double=False, learning_starts=8_000
    ),
    "preset": DQNConfig(
        num_envs=16, batch_size=16, cnn="nips", hidden_size=256, double=False, learning_starts=8_000,
        dueling=True, layer_norm=True, subtract_mean_image=True,
    ),
}  # fmt: skip


def updates(config: DQNConfig, together: bool) -> Callable[[], float]:
    """A function that learns from the batches of one step, and gives the milliseconds it took."""
    torch.manual_seed(0)
    space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    context = RunContext(config.num_envs, 10_000, 1_000_000, 4, Path(tempfile.gettempdir()))
    agent = DQN(space, gym.spaces.Discrete(6), config, context)
    agent._compile()
    batches = [_batch(config.batch_size) for _ in range(agent.updates_at_once)]
    if together:
        batches = [_batch(config.batch_size * agent.updates_at_once)]

    def measure() -> float:
        began = time.perf_counter()
        for batch in batches:
            agent._update(batch)
        return 1e3 * (time.perf_counter() - began)

    for _ in range(5):  # the first compiles
        measure()
    return measure


def _batch(size: int) -> Batch:
    """Noise, laid out as the replay memory does."""
    pictures = torch.randint(0, 256, (2, size, 84, 84, 4), dtype=torch.uint8).movedim(-1, 2)
    zeros = torch.zeros(size)
    return Batch((pictures[0],), zeros.long(), zeros, (pictures[1],), zeros + 0.99, None)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=100)
    options = parser.parse_args()
    prepare(options.threads, "cpu")
    for name, config in SETTINGS.items():
        ways = {way: updates(config, way == "together") for way in ("together", "one by one")}
        taken = in_turns(ways, options.turns)
        ratios = [a / b for a, b in zip(*taken.values(), strict=True)]
        figures = ", ".join(f"{way} {statistics.median(ms):.2f} ms" for way, ms in taken.items())
        print(f"{name}, {config.num_envs // config.train_frequency} updates: {figures},"
              f" median ratio {statistics.median(ratios):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
