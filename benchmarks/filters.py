"""How many convolution filters tell one place of a picture from another?

Shows networks pictures of a game that is played at random, and counts the filters whose rectifier lets
nothing through anywhere in any of them (off) or everything (on). Fresh networks with and without
centred filters, ten seeds; or those of runs that DQN was trained in.

    python benchmarks/filters.py
    python benchmarks/filters.py --game ALE/Pong-v5 --run runs/reference/pong-dqn
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from agents.dqn import DQN
from envs import atari
from fathom.run import find
from fathom.training import trained_agent
from perception.cnn import CNN, CNNS
from perception.encoders import ImageEncoder

NUM_ENVS, STEPS, EVERY, SEEDS = 16, 300, 20, 10


def pictures(game: str) -> torch.Tensor:
    """(n, 4, 84, 84) floats in 0…1."""
    env = atari.make_vector(game, NUM_ENVS, atari.AtariConfig(), training=False)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    seen = []
    for step in range(STEPS):
        observations = env.step(rng.integers(0, env.single_action_space.n, NUM_ENVS))[0]
        if step % EVERY == EVERY - 1:
            seen.append(observations.copy())
    env.close()
    return torch.from_numpy(np.concatenate(seen)) / 255


@torch.no_grad()
def shares(cnn: CNN, name: str, images: torch.Tensor) -> np.ndarray:
    """(layers, 2): the shares of each layer's filters that are off, and that are on."""
    found = []
    for depth in range(1, len(CNNS[name]) + 1):
        front = CNN((4, 84, 84), CNNS[name][:depth], cnn.centred)
        front.convolutions = cnn.convolutions[:depth]
        passes = front(images).unflatten(1, (-1, CNNS[name][depth - 1][0])).flatten(0, 1) > 0
        found.append([~passes.any(dim=0), passes.all(dim=0)])
    return np.array([[part.float().mean().item() for part in layer] for layer in found])


def show(title: str, found: np.ndarray) -> None:
    """Print a line for each layer."""
    for layer, (off, on) in enumerate(found, 1):
        print(f"{title}, layer {layer}: {off:.0%} off, {on:.0%} on")


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--game", nargs="+", default=["ALE/Pong-v5", "ALE/Breakout-v5"])
    parser.add_argument("--run", nargs="+", help="folders of runs; then no fresh networks")
    options = parser.parse_args()
    for game in options.game:
        images = pictures(game)
        for reference in options.run or ():
            agent, _, progress = trained_agent(find(reference, Path("runs")), print, "cpu")
            assert isinstance(agent, DQN)
            encoder = agent.network.encoder
            assert isinstance(encoder, ImageEncoder)
            title = f"{game}, {reference} after {progress.steps:,} steps"
            show(title, shares(encoder.cnn.float(), agent.config.cnn, images))
        if options.run:
            continue
        for name, layers in CNNS.items():
            for centred in (False, True):
                found = []
                for seed in range(SEEDS):
                    torch.manual_seed(seed)
                    found.append(shares(CNN((4, 84, 84), layers, centred), name, images))
                title = f"{game}, {name}, fresh, {'centred' if centred else 'plain'}"
                show(title, np.mean(found, axis=0))


if __name__ == "__main__":
    main()
