"""Does an agent learn faster with pre-trained eyes? Returns at given steps with and without.

For each game an autoencoder with the agent's own convolutions is fitted to frames of random play. Then the agent of the Atari
preset is trained four ways: from scratch, from that encoder, from that encoder frozen, and from the encoder of the run from scratch
with the same seed in the other game. A checkpoint is evaluated at the end of each segment, always on the same episodes. The ways
take turns, each turn with another seed. A training that is complete in the folder of runs is not done again.

    python benchmarks/encoder_transfer.py                        # two games, three seeds: days on two cores
    python benchmarks/encoder_transfer.py --games ALE/Pong-v5 ALE/Breakout-v5 --seeds 0 --steps 200_000 --segment-steps 100_000
"""

import argparse
import os
from pathlib import Path
from typing import Any

from measuring import RESULTS, interval, keep, machine, versions  # isort: skip - lies beside this file


import fathom
from fathom.runs.run import Run

WAYS = ("scratch", "autoencoder", "autoencoder, frozen", "other game")


def fitted(game: str, options: argparse.Namespace) -> Run:
    """The autoencoder of a game, with the convolutions of the agent's preset."""
    name = f"{short(game)}-eyes"
    if (options.runs_dir / name).exists():
        return complete(fathom.load(name, options.runs_dir))
    layer_norm = options.agent == "dqn"
    return fathom.fit(
        "autoencoder", data=f"frames:{game}", data_args={"frames": options.frames}, name=name,
        network="convolutional", hidden_sizes=(256,), code_size=64, layer_norm=layer_norm,
        epochs=options.epochs, runs_dir=options.runs_dir, threads=options.threads, progress=False,
    )  # fmt: skip


def trained(game: str, way: str, seed: int, options: argparse.Namespace) -> Run:
    """The agent of a game, trained one way."""
    name = f"{short(game)}-{way.replace(', ', '-').replace(' ', '-')}-{seed}"
    if (options.runs_dir / name).exists():
        return complete(fathom.load(name, options.runs_dir))
    given: dict[str, Any] = {}
    if way == "other game":
        others = [other for other in options.games if other != game]
        given["encoder"] = trained(others[0], "scratch", seed, options)
    elif way != "scratch":
        given["encoder"] = fitted(game, options)
        given["freeze_encoder"] = way.endswith("frozen")
    if options.agent == "ppo":  # so early its most probable actions repeat themselves
        given["greedy_evaluation"] = False
    if options.learning_starts is not None:
        given["learning_starts"] = options.learning_starts
    return fathom.train(
        options.agent, game, steps=options.steps, segment_steps=options.segment_steps, seed=seed, name=name,
        evaluation_episodes=options.episodes, runs_dir=options.runs_dir, threads=options.threads,
        progress=False, **given,
    )  # fmt: skip


def complete(run: Run) -> Run:
    """The run, trained to its end where it was not."""
    lines = run.evaluations()
    if lines and lines[-1]["steps"] >= run.config.steps:
        return run
    return fathom.resume(run, progress=False)


def short(game: str) -> str:
    """`pong` for `ALE/Pong-v5`."""
    return game.rpartition("/")[2].rpartition("-")[0].lower()


def main() -> None:
    """Train, print a table and keep the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--agent", choices=("dqn", "ppo"), default="dqn")
    parser.add_argument("--games", nargs="+", default=["ALE/Pong-v5", "ALE/Breakout-v5"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400_000)
    parser.add_argument("--segment-steps", type=int, default=100_000)
    parser.add_argument("--learning-starts", type=int, help="the preset's if not given")
    parser.add_argument("--episodes", type=int, default=10, help="of each evaluation")
    parser.add_argument("--frames", type=int, default=10_000, help="images of each autoencoder")
    parser.add_argument("--epochs", type=int, default=20, help="of each autoencoder")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/encoder-transfer"))
    parser.add_argument("--result", type=Path, default=RESULTS / "encoder_transfer.json")
    options = parser.parse_args()
    ways = [way for way in WAYS if way != "other game" or len(options.games) > 1]
    results: list[dict[str, Any]] = []
    for seed in options.seeds:
        for game in options.games:
            for way in ways:
                for line in trained(game, way, seed, options).evaluations():
                    row = {"game": game, "way": way, "seed": seed, "steps": line["steps"]}
                    results.append({**row, "return": line["mean"], "returns": line["returns"]})
    for game in options.games:
        for steps in sorted({row["steps"] for row in results if row["game"] == game}):
            for way in ways:
                same = {"game": game, "steps": steps, "way": way}
                means = [row["return"] for row in results if same.items() <= row.items()]
                mean, low, high = interval(means)
                over = f"({low:.1f} to {high:.1f}), {len(means)} seeds"
                print(f"{short(game):12} {steps:9,} steps  {way:20} {mean:8.1f} {over}")
    settings = {key: str(value) for key, value in vars(options).items()}
    content = {"results": results, "settings": settings, "machine": machine(options.threads)}
    keep(options.result, content | {"versions": versions("torch", "gymnasium", "ale-py")})


if __name__ == "__main__":
    main()
