"""Simulations a second of the search for Go: by playouts, with a network, and in many games at once.

    pip install -e ".[bench]"
    python benchmarks/go_search.py

With a network a game is played from every leaf to its end, as in play. The network is the CNN that
`fathom train alphago` builds for the board, with random weights: they cost what trained ones do, though a
trained policy makes narrower and deeper trees. `network alone` is what it evaluates in full batches, the most
that a search can do. OpenSpiel's MCTS (C++, uniformly random playouts, which are cheaper than ours) takes
turns with ours where it is installed. A figure is the median of the turns.
"""

import os
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from gymnasium import spaces

from measuring import RESULTS, in_turns, keep, machine, timing_flags, versions  # isort: skip - lies beside this file

from agents.agent import RunContext
from agents.alphago import AlphaGo, AlphaGoConfig
from agents.search.go_search import Evaluate, GoSearch, GoSearches, SearchConfig
from envs.go import core
from envs.go.board import Board, Rules

OPENING = 8
"""Random moves before the position that is searched."""


def network(size: int, layers: int, width: int, device: str) -> Evaluate:
    """An untrained one, for a board."""
    agent = AlphaGo(
        spaces.Box(0, 1, (core.PLANES, size, size), np.uint8),
        spaces.Discrete(size**2 + 1),
        AlphaGoConfig(layers=layers, width=width),
        RunContext(64, 1, 1, device=device),
    )
    return agent.evaluate


def opening(size: int, seed: int = 0) -> Board:
    """A position early in a game."""
    board, rng = Board(Rules(size)), np.random.default_rng(seed)
    for _ in range(OPENING):
        board.play(int(rng.choice(np.flatnonzero(board.legal()[:-1]))))
    return board


def search_speed(
    size: int, evaluate: Evaluate | None, config: SearchConfig, seconds: float
) -> dict[str, float]:
    """Simulations a second in one position, and how many of them needed no evaluation."""
    search = GoSearch(Rules(size), evaluate, config)
    search.set_board(opening(size))
    search.run(seconds=seconds)
    stats = search.stats
    figures = {"a second": stats.simulations / stats.seconds}
    if evaluate:
        figures["cache hits"] = stats.cache_hits / (stats.cache_hits + stats.evaluations)
    return figures


def searches_speed(
    size: int, evaluate: Evaluate, games: int, simulations: int, seconds: float
) -> dict[str, float]:
    """Simulations a second, summed over games that go on as they would in self-play."""
    boards, search = core.new_boards(games, Rules(size)), SearchConfig(simulations=simulations)
    searches = GoSearches(boards, Rules(size), evaluate, search)
    for g in range(games):
        searches.set_board(g, opening(size, g))
    searches.run(1)
    done, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        for g, action in enumerate(searches.run().actions):
            core.play(searches.boards, g, int(action))
        done += games * simulations
    return {"a second": done / taken}


def network_speed(size: int, evaluate: Evaluate, batch: int, seconds: float) -> dict[str, float]:
    """Evaluations a second."""
    planes = np.repeat(opening(size).planes()[None], batch, axis=0)
    evaluate(planes)
    done, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        evaluate(planes)
        done += batch
    return {"a second": done / taken}


def openspiel_speed(size: int, seconds: float) -> dict[str, float]:
    """Simulations a second of OpenSpiel's search with one random playout each."""
    import pyspiel

    game = pyspiel.load_game("go", {"board_size": size, "komi": 7.0})
    state, rng = game.new_initial_state(), np.random.default_rng(0)
    for _ in range(OPENING):
        state.apply_action(int(rng.choice(state.legal_actions()[:-1])))
    evaluator = pyspiel.RandomRolloutEvaluator(1, 0)
    simulations, done, began = 1000, 0, time.perf_counter()
    bot = pyspiel.MCTSBot(game, evaluator, 1.4, simulations, 1024, False, 0, False)
    while (taken := time.perf_counter() - began) < seconds:
        bot.step(state)
        done += simulations
    return {"a second": done / taken}


def main() -> None:
    """Measure, print a table and keep the figures."""
    parser = timing_flags(__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=64)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)

    candidates: dict[str, Callable[[], dict[str, float]]] = {}
    for size in (9, 19):
        board = f"{size}×{size}"
        for threads in sorted({1, flags.threads}):
            candidates[f"{board} playouts and RAVE, threads {threads}"] = (
                lambda size=size, threads=threads: search_speed(
                    size, None, SearchConfig(threads=threads), flags.seconds
                )
            )
        if find_spec("pyspiel"):
            candidates[f"{board} OpenSpiel MCTS, random playouts"] = lambda size=size: (
                openspiel_speed(size, flags.seconds)
            )
        evaluate = network(size, flags.layers, flags.width, flags.device)
        for batch in (1, 4, 8, 16, 32):
            candidates[f"{board} network, batch {batch}"] = (
                lambda size=size, evaluate=evaluate, batch=batch: search_speed(
                    size, evaluate, SearchConfig(batch=batch, mixing=0.5), flags.seconds
                )
            )
        for games in (16, 64):
            candidates[f"{board} network, {games} games at once"] = (
                lambda size=size, evaluate=evaluate, games=games: searches_speed(
                    size, evaluate, games, 32, flags.seconds
                )
            )
        candidates[f"{board} network alone, batch 64"] = lambda size=size, evaluate=evaluate: (
            network_speed(size, evaluate, 64, flags.seconds)
        )
    figures = in_turns(candidates, flags.turns)
    for name, turns in figures.items():
        line = f"{name:42} {statistics.median(turn['a second'] for turn in turns):10,.0f} a second"
        if hits := [turn["cache hits"] for turn in turns if "cache hits" in turn]:
            line += f"  {statistics.median(hits):6.1%} cache hits"
        print(line)
    content = {
        "simulations": figures,
        "versions": versions("numba", "numpy", "open_spiel", "torch"),
        "machine": machine(flags.threads, flags.device),
        "settings": {
            "seconds": flags.seconds,
            "turns": flags.turns,
            "layers": flags.layers,
            "width": flags.width,
        },
    }
    keep(RESULTS / "go_search.json", content)


if __name__ == "__main__":
    main()
