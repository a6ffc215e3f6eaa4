"""How strong does a player become that learns Go on 5×5 from nothing, and how fast?

    python benchmarks/go_from_nothing.py

Trains by self-play alone, puts some of the run's checkpoints aside, and lets them play against each other and
against searches with RAVE and playouts of our own, all pairs, in paired openings. Elo ratings are those that make
what happened likeliest (Bradley & Terry 1952), one draw added to each pair so that none is infinite; 0 is the
strongest search. Then the last checkpoint plays that search on the empty board, where black, who with perfect
play owns the whole board (van der Werf et al. 2003), should win every game.

Searches with a network and without get simulations instead of seconds, so that the machine does not matter.
"""

import argparse
import itertools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from measuring import RESULTS, keep, machine, versions  # isort: skip - lies beside this file

from envs.go.board import Rules
from fathom.play.match import MatchResult, play_match
from fathom.play.players import SearchBudget, player
from fathom.runs.run import Run

RULES = Rules(size=5, komi=0.5)
FATHOM = (sys.executable, "-m", "fathom")


def train(folder: Path, steps: int, segment_steps: int, apart: Sequence[int]) -> float:
    """Train, and copy the checkpoints of some segments into runs of their own; gives the seconds."""
    flags = {
        "--env.size": RULES.size, "--env.komi": RULES.komi, "--layers": 6, "--width": 32, "--steps": steps,
        "--segment-steps": segment_steps, "--threads": 1, "--runs-dir": folder, "--name": "run",
    }  # fmt: skip
    words = [str(word) for flag in flags.items() for word in flag]
    training = subprocess.Popen([*FATHOM, "train", "alphago", "Fathom/Go-v0", *words])
    waiting = set(apart)
    while waiting:
        ended = training.poll() is not None
        if (folder / "run" / "run.toml").exists():
            run = Run.open(folder / "run")
            for number in waiting & set(run.checkpoint_numbers()):
                copy = folder / f"after-{number}"
                checkpoint = Path("checkpoints") / f"{number:05d}"
                shutil.copytree(run.folder / checkpoint, copy / checkpoint)
                shutil.copy(run.folder / "run.toml", copy)
                (copy / "latest").write_text(f"{number:05d}\n")
                waiting.discard(number)
        if ended:
            break
        time.sleep(1)
    if training.wait() or waiting:
        raise SystemExit(f"the training ended early, before segments {sorted(waiting)}")
    return Run.open(folder / "run").load_checkpoint().progress.seconds


def rave(playouts: int) -> str:
    """The command of a search without a network."""
    return shlex.join([*FATHOM, "gtp", "rave", "--threads", "1", "--simulations", str(playouts)])


def games_between(
    first: str, second: str, games: int, simulations: int, openings: bool = True
) -> MatchResult:
    """A match; a run's search follows so many lines a move."""
    torch.set_num_threads(1)
    players = player(first), player(second)
    with tempfile.TemporaryDirectory() as folder:
        tally = play_match(
            *players,
            RULES,
            games,
            SearchBudget(simulations=simulations),
            Path(folder),
            openings=openings,
        )
    for one in players:
        one.close()
    if tally.error:
        raise RuntimeError(f"{first} against {second}: {tally.error}")
    return tally


def ratings(points: np.ndarray) -> np.ndarray:
    """Elo ratings after Bradley & Terry (1952), by Hunter's iteration (2004); the last player's is 0.

    Args:
        points: (n, n), what each row's player won from each column's, a draw being half a point.
    """
    points = points + 0.5 * (1 - np.eye(len(points)))
    games = points + points.T
    strengths = np.ones(len(points))
    for _ in range(10_000):
        strengths = points.sum(axis=1) / (games / (strengths[:, None] + strengths)).sum(axis=1)
        strengths /= strengths[-1]
    return 400 * np.log10(strengths)


def main() -> None:
    """Train, let them play, print a table and keep the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300_000, help="moves of self-play")
    parser.add_argument("--segment-steps", type=int, default=10_000)
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[0, 1, 2, 4, 8, 15, 30])
    parser.add_argument("--playouts", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--simulations", type=int, default=200, help="of a search with a network")
    parser.add_argument("--games", type=int, default=20, help="of each pair")
    parser.add_argument("--black", type=int, default=50, help="games as black, empty board")
    parser.add_argument("--folder", type=Path, help="for the runs (default: thrown away)")
    flags = parser.parse_args()
    if max(flags.checkpoints) * flags.segment_steps > flags.steps:
        parser.error(f"--checkpoints go up to {flags.steps // flags.segment_steps}")

    with tempfile.TemporaryDirectory() as temporary:
        folder = flags.folder or Path(temporary)
        seconds = train(folder, flags.steps, flags.segment_steps, flags.checkpoints)
        names = {
            f"after {number * flags.segment_steps:,} moves": str(folder / f"after-{number}")
            for number in flags.checkpoints
        }
        names |= {f"RAVE, {playouts:,} playouts": rave(playouts) for playouts in flags.playouts}
        players = list(names.values())
        points = np.zeros((len(players), len(players)))
        pairs = list(itertools.combinations(range(len(players)), 2))
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
            last = str(folder / f"after-{flags.checkpoints[-1]}")
            alone = pool.submit(
                games_between, last, players[-1], 2 * flags.black, flags.simulations, openings=False
            )
            matches = [
                pool.submit(games_between, players[i], players[j], flags.games, flags.simulations)
                for i, j in pairs
            ]
            for (i, j), match in zip(pairs, matches, strict=True):
                tally = match.result()
                points[i, j] = tally.wins + tally.draws / 2
                points[j, i] = tally.losses + tally.draws / 2
            tally = alone.result()
    elo = ratings(points)
    for name, rating, won in zip(names, elo, points.sum(axis=1), strict=True):
        print(f"{name:25} {rating:+6.0f}   {won:g} points")
    wins = sum(game.black == tally.names[0] and game.result[0] == "B" for game in tally.played)
    print(f"black against {list(names)[-1]}, empty board: {wins} of {flags.black} won")
    print(f"training took {seconds / 60:.1f} minutes")
    content = {
        "elo": dict(zip(names, elo.round(1).tolist(), strict=True)),
        "points": points.tolist(),
        "as_black": {"won": wins, "games": flags.black},
        "training_seconds": seconds,
        "versions": versions("fathom-rl", "numba", "numpy", "torch"),
        "machine": machine(1),
        "settings": {name: value for name, value in vars(flags).items() if name != "folder"},
    }
    keep(RESULTS / "go_from_nothing.json", content)


if __name__ == "__main__":
    main()
