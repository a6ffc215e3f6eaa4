"""What does an agent step of PPO's Atari preset cost, part by part?

Microseconds of processor time, which other programs on the machine hardly change: a step of the environments; acting,
by the number of environments; learning from a step once, by the size of a minibatch. A training pays for the first two
once and for the third in each epoch. Making the environments, which every segment and every evaluation does, is apart.

    python benchmarks/ppo_atari.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from measuring import RESULTS, in_turns, keep, machine, versions  # isort: skip - lies beside this file

GAME = "ALE/Pong-v5"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--envs", default="16,64", help="numbers of environments")
    parser.add_argument("--batches", default="64,256", help="sizes of minibatches")
    parser.add_argument("--turns", type=int, default=3, help="measurements of each")
    options = parser.parse_args()

    import torch

    from agents.agent import RunContext
    from agents.parts.compiling import compiled
    from agents.ppo import PPO, PPOConfig
    from fathom.environments import resolve
    from fathom.environments.presets import preset
    from fathom.runs.process import prepare

    prepare(1, "cpu")
    world = resolve(GAME)
    chosen = preset("ppo", GAME)
    assert chosen is not None
    config = PPOConfig(**chosen[1]["agent"])
    space, actions = world.spaces()
    context = RunContext(config.num_envs, 1_000_000, 1_000_000, world.frame_stack, Path("."), "cpu")
    rng = np.random.default_rng(0)

    def pictures(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(256, size=(*shape, 84, 84, 4), dtype=np.uint8))

    def acting(n: int) -> Any:
        policy = PPO(space, actions, config, context).policy
        forward = compiled(policy._forward_step, policy.device)
        given = ((pictures(n),), np.ones(n, bool), torch.zeros(n, 0))
        policy.forward_policy(forward, *given)
        return lambda: spent(lambda: policy.forward_policy(forward, *given), 20, n)

    def learning(size: int) -> Any:
        agent = PPO(space, actions, config, context)
        step = compiled(agent._gradient_step_of, agent.policy.device)
        ones = torch.ones(1, size)
        batch = (
            agent.policy.adam.step_scalars(1e-4, 1), torch.zeros(0, 0), ones < 0, (0 * ones).long(),
            None, -1.8 * ones, torch.randn(1, size), ones, ones, pictures(1, size),
        )  # fmt: skip
        step(*batch)
        return lambda: spent(lambda: step(*batch), max(1, 1024 // size), size)

    n = config.num_envs
    began = time.process_time()
    env = world.make_vector(n, training=True)
    env.reset(seed=0)
    making = (time.process_time() - began) / n
    wanted = rng.integers(world.spaces()[1].n, size=n)  # type: ignore[attr-defined]
    candidates = {"environment": lambda: spent(lambda: env.step(wanted), 20, n)}
    candidates |= {
        f"acting, {k} environments": acting(k) for k in map(int, options.envs.split(","))
    }
    candidates |= {
        f"learning once, minibatches of {k}": learning(k)
        for k in map(int, options.batches.split(","))
    }
    figures = in_turns(candidates, options.turns)
    env.close()
    medians = {name: float(np.median(values)) for name, values in figures.items()}
    for name, median in medians.items():
        print(f"{name:34} {median:8.0f} µs ({min(figures[name]):.0f} to {max(figures[name]):.0f})")
    print(f"{'making and resetting an environment':34} {making:8.2f} s")
    keep(
        RESULTS / "ppo_atari.json",
        {
            "question": (__doc__ or "").splitlines()[0],
            "microseconds": medians,
            "measurements": figures,
            "seconds_to_make_an_environment": making,
            "versions": versions("fathom-rl", "torch", "ale-py", "numpy"),
            "machine": machine(1),
        },
    )


def spent(call: Any, times: int, steps: int) -> float:
    """Microseconds of processor time, of all threads, for each of `steps` steps of a call."""
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times / steps * 1e6


if __name__ == "__main__":
    main()
