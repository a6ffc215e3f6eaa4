"""How good are the Atari presets, game by game, beside people and published agents?

Every cell of the suite, a game, an agent and a seed, is an ordinary run: `fathom train` with the preset, resumed
where it was when the suite is started again, then `fathom evaluate` with the run's own protocol. The table has the mean
score of each game, human-normalised scores, and their interquartile mean (IQM) over games and seeds (Agarwal et al.
2021, "Deep RL at the edge of the statistical precipice"). Scores of others are in benchmarks/atari_published.toml with
their sources, and stand beside ours only at the same number of frames; where none was found there is none.

    python benchmarks/atari.py                                    # six games, two agents, three seeds: days on two cores
    python benchmarks/atari.py --games Pong --agents dqn --seeds 0 --steps 100_000
    python benchmarks/atari.py --steps 100_000 --table            # what is measured of it, and nothing else

Games to develop with: Pong, Breakout, Boxing, Freeway, MsPacman, RoadRunner. The others judge the result: settings are
never chosen by them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from measuring import RESULTS, keep, machine, versions  # isort: skip - lies beside this file

ROOT = Path(__file__).resolve().parents[1]
FILE = RESULTS / "atari.json"
PUBLISHED = tomllib.loads(Path(__file__).with_name("atari_published.toml").read_text())
GAMES = "Pong,Breakout,Boxing,Freeway,MsPacman,RoadRunner"
FRAME_SKIP = 4
PACKAGES = ("fathom-rl", "torch", "gymnasium", "ale-py", "numpy")


@dataclass(frozen=True)
class Cell:
    """One run of the suite."""

    game: str
    agent: str
    steps: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder, and of its entry in the results."""
        return f"{self.game}-{self.agent}-{self.steps}-{self.seed}".lower()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--games", default=GAMES)
    parser.add_argument("--agents", default="dqn,ppo")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=2_000_000, help="agent steps, of 4 frames")
    parser.add_argument("--episodes", type=int, default=30, help="of each evaluation")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument(
        "--ray", help="address of a Ray cluster, in place of --jobs; it needs a shared --folder"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/atari"), help="of the runs")
    parser.add_argument("--table", action="store_true", help="only print the table")
    options = parser.parse_args()
    games, agents = options.games.split(","), options.agents.split(",")
    if unknown := [game for game in games if game not in PUBLISHED["human"]]:
        parser.error(f"{unknown[0]} is no game with a known human score")
    cells = [
        Cell(game, agent, options.steps, int(seed))
        for seed in options.seeds.split(",")
        for game in games
        for agent in agents
    ]
    if not options.table:
        measured = load()
        missing = [cell for cell in cells if cell.name not in measured]
        for cell, result in (on_ray if options.ray else here)(missing, options):
            cells_now = load() | {cell.name: result}
            keep(FILE, {"question": (__doc__ or "").splitlines()[0], "cells": cells_now})
    print("\n".join(table(cells, load(), PUBLISHED)))


def here(cells: list[Cell], options: argparse.Namespace) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Measure cells on this machine, some at a time; gives each when it is done."""
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(measure, cell, options): cell for cell in cells}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:  # where one fails, or the suite is interrupted, none begins
            pool.shutdown(cancel_futures=True)


def on_ray(cells: list[Cell], options: argparse.Namespace) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Measure cells on a Ray cluster; one whose machine dies is resumed on another from its last checkpoint."""
    from fathom.runs.cluster import RETRIES, connect

    ray = connect(options.ray)
    task = ray.remote(num_cpus=options.threads, max_retries=RETRIES)(measure)
    waiting = {task.remote(cell, options): cell for cell in cells}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        yield waiting.pop(done), ray.get(done)


def load() -> dict[str, Any]:
    """What has been measured, by the names of the cells."""
    return json.loads(FILE.read_text())["cells"] if FILE.exists() else {}


def measure(cell: Cell, options: argparse.Namespace) -> dict[str, Any]:
    """Train a cell to its end, from where it is, and evaluate it."""
    folder = options.folder.absolute() / cell.name
    new = not folder.exists()
    flags = ["--threads", str(options.threads), "--runs-dir", str(folder.parent)]
    command = ["resume", str(folder)]
    if new:
        command = ["train", cell.agent, f"ALE/{cell.game}-v5", "--steps", str(cell.steps)]
        command += ["--seed", str(cell.seed), "--name", cell.name, *flags]
    print(f"fathom {' '.join(command)}", file=sys.stderr, flush=True)
    trained, seconds = fathom(command, options.threads)
    result, _ = fathom(
        ["evaluate", str(folder), "--episodes", str(options.episodes)], options.threads
    )
    del result["run"]  # a path of this machine
    return {
        "game": cell.game,
        "agent": cell.agent,
        "steps": cell.steps,
        "seed": cell.seed,
        "hyperparameters": tomllib.loads((folder / "run.toml").read_text())["hyperparameters"],
        # Of the training; of one that was interrupted they are not known in full.
        "processor_seconds": seconds if new else None,
        "training_seconds": trained["seconds"],
        "evaluation": result,
        "measured_on": {"machine": machine(options.threads), **versions(*PACKAGES)},
    }


def fathom(command: list[str], threads: int) -> tuple[dict[str, Any], float]:
    """Run a command of Fathom's; gives the JSON that it prints, and the processor seconds that it took."""
    child = subprocess.Popen(
        [sys.executable, "-m", "fathom", *command, "--json"],
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"`fathom {' '.join(command)}` failed; what it said is above")
    return json.loads(text), usage.ru_utime + usage.ru_stime


def table(cells: list[Cell], measured: dict[str, Any], published: dict[str, Any]) -> list[str]:
    """The results of these cells in Markdown.

    Args:
        cells: of one number of steps.
        measured: as in the results' file; cells that are not in it are left out.
        published: as in atari_published.toml.
    """
    from fathom.statistics import (
        bootstrap_interval,
        interquartile_mean,
        stratified_interval,
        student_interval,
    )

    frames = cells[0].steps * FRAME_SKIP
    games = list(dict.fromkeys(cell.game for cell in cells))
    others = [
        entry
        for entry in published["scores"]
        if entry["frames"] == frames and entry["games"].keys() & games
    ]
    agents = list(dict.fromkeys(cell.agent for cell in cells))
    heads = ["game", *(f"{agent}, score" for agent in agents)]
    heads += [f"{agent}, human-normalised" for agent in agents]
    heads += [entry["agent"] for entry in others]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    normalised: dict[str, list[np.ndarray]] = {agent: [] for agent in agents}
    for game in games:
        low, high = published["human"][game]
        scores, ratios = [], []
        for agent in agents:
            runs = [
                measured[cell.name]["evaluation"]
                for cell in cells
                if (cell.game, cell.agent) == (game, agent) and cell.name in measured
            ]
            if not runs:
                scores.append("–")
                ratios.append("–")
                continue
            means = np.array([run["mean"] for run in runs])
            ends = student_interval(means)
            count = f"{len(runs)} seeds"
            if len(runs) == 1:  # then only what episodes differ by is known
                ends = bootstrap_interval(np.array(runs[0]["returns"]))
                count = f"{len(runs[0]['returns'])} episodes"
            own = (means - low) / (high - low)
            normalised[agent].append(own)
            scores.append(f"{means.mean():,.1f} ({ends[0]:,.1f} to {ends[1]:,.1f}, {count})")
            span = [(end - low) / (high - low) for end in ends]
            ratios.append(f"{own.mean():.3f} ({span[0]:.3f} to {span[1]:.3f})")
        known = [f"{e['games'][game]:,}" if game in e["games"] else "" for e in others]
        lines.append(f"| {' | '.join([game, *scores, *ratios, *known])} |")
    totals = []
    for agent in agents:
        if not (groups := normalised[agent]):
            totals.append("–")
            continue
        of_all = interquartile_mean(np.concatenate(groups))
        bottom, top = stratified_interval(groups, interquartile_mean)
        count = f"{sum(map(len, groups))} runs of {len(groups)} games"
        interval = f"{bottom:.3f} to {top:.3f}, " if max(map(len, groups)) > 1 else ""
        totals.append(f"{of_all:.3f} ({interval}{count})")
    theirs = []
    for entry in others:
        own = [
            (entry["games"][game] - low) / (high - low)
            for game in games
            if game in entry["games"]
            for low, high in [published["human"][game]]
        ]
        theirs.append(f"{interquartile_mean(np.array(own)):.3f} (means of {len(own)} games)")
    row = ["IQM, human-normalised", *[""] * len(agents), *totals, *theirs]
    lines.append(f"| {' | '.join(row)} |")
    lines += [f"\n{entry['agent']}: {entry['source']}." for entry in others]
    if not others:
        lines.append(f"\nNo published scores at {frames:,} frames were found.")
    return lines


if __name__ == "__main__":
    main()
