"""How much disk do a million Atari transitions take, and how long does it take to draw a batch?

Fills the memory with noise, then times batches of 32 three-step transitions: 64 stacks of four frames.

    python benchmarks/replay.py
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from agents.parts.replay import Replay
from envs.vector import Transition

TRANSITIONS, NUM_ENVS, BATCHES = 1_000_000, 8, 2_000


def main() -> None:
    """Print both figures."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        replay = Replay(
            Path(folder), (4, 84, 84), np.dtype(np.uint8), NUM_ENVS,
            capacity=TRANSITIONS, segment_steps=TRANSITIONS, steps_left=TRANSITIONS, frame_stack=4,
        )  # fmt: skip
        observations = rng.integers(0, 256, (64, NUM_ENVS, 4, 84, 84), dtype=np.uint8)
        nothing = np.zeros(NUM_ENVS, bool)
        replay.begin()
        for row in range(TRANSITIONS // NUM_ENVS):
            now, after = observations[row % 64], observations[(row + 1) % 64]
            actions, rewards = rng.integers(0, 6, NUM_ENVS), np.zeros(NUM_ENVS, np.float32)
            replay.append(Transition(now, actions, rewards, after, nothing, nothing, ~nothing))
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        seconds = []
        for _ in range(BATCHES):
            began = time.perf_counter()
            replay.sample(32, 3, 0.99, 1.0, rng)
            seconds.append(time.perf_counter() - began)
    print(f"{TRANSITIONS:,} transitions: {size / 1e9:.2f} GB")
    print(
        f"a batch of 32: median {1e3 * statistics.median(seconds):.2f} ms, "
        f"99 % under {1e3 * np.quantile(seconds, 0.99):.2f} ms"
    )


if __name__ == "__main__":
    main()
