"""How much of a picture gets through to a network's last layers?

Shows encoders pictures of a game that is played at random. `off` and `on` are the shares of the filters
of a convolution whose rectifier lets nothing through in any place of any of them, or everything. `told
apart` is the share of what goes into the dense layer's rectifiers that differs from picture to picture;
the rest is the same whatever happens. Fresh encoders, with and without centred pictures, ten seeds; or
those of runs of DQN.

    python benchmarks/pictures.py
    python benchmarks/pictures.py --game ALE/Pong-v5 --run runs/reference/pong-dqn
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from torch.nn import functional as F

from agents.dqn import DQN
from envs import atari
from fathom.runs.agent_learner import trained_agent
from fathom.runs.run import Run
from perception.networks.cnn import CNNS
from perception.networks.encoders import ImageEncoder

NUM_ENVS, STEPS, EVERY, SEEDS = 16, 300, 20, 10


def pictures(game: str) -> torch.Tensor:
    """(n, 4, 84, 84) uint8."""
    env = atari.make_vector(game, NUM_ENVS, atari.AtariConfig(), training=False)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    seen = []
    for step in range(STEPS):
        observations = env.step(rng.integers(0, env.single_action_space.n, NUM_ENVS))[0]
        if step % EVERY == EVERY - 1:
            seen.append(observations.copy())
    env.close()
    return torch.from_numpy(np.concatenate(seen))


@torch.no_grad()
def figures(encoder: ImageEncoder, seen: torch.Tensor) -> list[float]:
    """Off and on of each convolution, and told apart."""
    encoder = encoder.float()
    x = seen * (1 / 255) - (encoder.mean_picture if encoder.centred else 0)
    inputs = encoder.dense(encoder.cnn(x))
    result = []
    for layer in encoder.cnn.convolutions:
        x = F.relu(layer(x))
        passes = x > 0
        result += [
            (~passes.any(dim=(0, 2, 3))).float().mean(),
            passes.all(dim=(0, 2, 3)).float().mean(),
        ]
    result.append(inputs.var(dim=0).sum() / inputs.square().mean(dim=0).sum())
    return [float(figure) for figure in result]


def show(title: str, found: list[float]) -> None:
    """Print a line."""
    layers = zip(found[:-1:2], found[1:-1:2], strict=True)
    parts = [f"layer {i}: {off:.0%} off, {on:.0%} on" for i, (off, on) in enumerate(layers, 1)]
    print(f"{title}: {'; '.join(parts)}; told apart: {found[-1]:.1%}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--game", nargs="+", default=["ALE/Pong-v5", "ALE/Breakout-v5"])
    parser.add_argument("--run", nargs="+", help="folders of runs; then no fresh networks")
    options = parser.parse_args()
    for game in options.game:
        seen = pictures(game)
        for reference in options.run or ():
            agent, _, progress = trained_agent(Run.find(reference, Path("runs")), print, "cpu")
            encoder = agent.network.encoder if isinstance(agent, DQN) else None
            if not isinstance(encoder, ImageEncoder):
                parser.error(f"{reference} is not a DQN that sees pictures")
            show(f"{game}, {reference} after {progress.steps:,} steps", figures(encoder, seen))
        space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
        for cnn in () if options.run else CNNS:
            for centred in (False, True):
                result = []
                for seed in range(SEEDS):
                    torch.manual_seed(seed)
                    encoder = ImageEncoder(space, 256, cnn, centred=centred)
                    if centred:
                        encoder.centre(seen)
                    result.append(figures(encoder, seen))
                title = f"{game}, {cnn}, fresh, {'centred' if centred else 'as they are'}"
                show(title, np.mean(result, axis=0).tolist())


if __name__ == "__main__":
    main()
