"""How fast are random moves and whole playouts on our Go board, beside OpenSpiel, pgx and PettingZoo?

    pip install -e ".[bench]" open_spiel pgx
    python benchmarks/go_board.py

A random move is one of all legal actions, passes included, each as likely as the others; games begin
anew after two passes or two moves a point. Ours choose and play in a compiled loop, pgx in a compiled
loop over 256 boards, the others are driven from Python, which is what they have. A playout goes from
the empty board to the end of the game: ours with moves that fill no eye of their own, OpenSpiel's is
one simulation of its MCTS in C++ with a random rollout (its tree is small beside it). pgx and
PettingZoo make their observations in every move, as they always do; ours and OpenSpiel make none.

The boards take turns within one process, on one thread, and a figure is the median of the turns. Time
is processor time, so that what else the machine does counts little.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

# Before jax is loaded: one thread for pgx.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import numba
import numpy as np

from measuring import RESULTS, in_turns, keep, machine, timing_flags, versions  # isort: skip - lies beside this file

from envs.go import core

PACKAGES = ("numba", "numpy", "open_spiel", "pgx", "jax", "pettingzoo")
PGX_BATCH = 256


@numba.njit(cache=True)
def _random_moves(boards: core.Boards, random_state: np.ndarray, moves: int) -> None:
    numbers, longest = boards.numbers, 2 * boards.size * boards.size
    for _ in range(moves):
        if numbers[0, core.PASSES] >= 2 or numbers[0, core.MOVES] >= longest:
            core.clear(boards, 0)
        core.play(boards, 0, core.random_action(boards, 0, random_state))


@numba.njit(cache=True)
def _playouts(boards: core.Boards, random_state: np.ndarray, playouts: int) -> int:
    sum_of_areas = 0
    for _ in range(playouts):
        core.copy_board(boards, 0, boards, 1)
        sum_of_areas += core.playout(boards, 0, random_state)
    return sum_of_areas


def rate(step: Callable[[], object], amount: int, seconds: float) -> float:
    """How much a second is done, where each step does an amount; the first, unmeasured, compiles."""
    step()
    steps, began = 0, time.process_time()
    while (taken := time.process_time() - began) < seconds:
        step()
        steps += 1
    return steps * amount / taken


def our_moves(size: int, ko: str, seconds: float) -> float:
    """Random moves a second of `envs.go.core` without suicide."""
    boards = core.new_boards(1, core.Rules(size=size, ko=ko))  # type: ignore[arg-type]
    state = np.array([1], np.uint64)
    return rate(lambda: _random_moves(boards, state, 10_000), 10_000, seconds)


def our_playouts(size: int, seconds: float) -> float:
    """Playouts a second of `envs.go.core`, each on a fresh copy of the empty board."""
    boards = core.new_boards(2, core.Rules(size=size, ko="simple"))
    state = np.array([1], np.uint64)
    return rate(lambda: _playouts(boards, state, 100), 100, seconds)


def openspiel_moves(size: int, seconds: float) -> float:
    """Random moves a second of OpenSpiel from Python."""
    import pyspiel

    game = pyspiel.load_game(f"go(board_size={size},komi=7.0)")
    draws = np.random.default_rng(0).random(1000).tolist()
    state = game.new_initial_state()

    def step() -> None:
        nonlocal state
        for draw in draws:
            if state.is_terminal():
                state = game.new_initial_state()
            legal = state.legal_actions()
            state.apply_action(legal[int(draw * len(legal))])

    return rate(step, len(draws), seconds)


def openspiel_playouts(size: int, seconds: float) -> float:
    """Simulations a second of OpenSpiel's MCTS on the empty board."""
    import pyspiel

    game = pyspiel.load_game(f"go(board_size={size},komi=7.0)")
    evaluator = pyspiel.RandomRolloutEvaluator(1, 1)
    bot = pyspiel.MCTSBot(game, evaluator, 1.4, 500, 1000, False, 1, False)
    return rate(lambda: bot.mcts_search(game.new_initial_state()), 500, seconds)


def pgx_moves(size: int, seconds: float) -> float:
    """Random moves a second of pgx on 256 boards."""
    import jax
    import jax.numpy as jnp
    from pgx.experimental import auto_reset
    from pgx.go import Go

    env = Go(size=size, komi=7.0)
    restarting = jax.vmap(auto_reset(env.step, env.init))
    moves = 20

    def move(state, key):  # type: ignore[no-untyped-def]
        choosing, stepping = jax.random.split(key)
        logits = jnp.where(state.legal_action_mask, 0.0, -jnp.inf)
        actions = jax.random.categorical(choosing, logits, axis=-1)
        return restarting(state, actions, jax.random.split(stepping, PGX_BATCH)), None

    several = jax.jit(lambda state, key: jax.lax.scan(move, state, jax.random.split(key, moves))[0])
    key = jax.random.key(0)
    state = jax.jit(jax.vmap(env.init))(jax.random.split(key, PGX_BATCH))

    def step() -> None:
        nonlocal state, key
        key, now = jax.random.split(key)
        state = jax.block_until_ready(several(state, now))

    return rate(step, moves * PGX_BATCH, seconds)


def pettingzoo_moves(size: int, seconds: float) -> float:
    """Random moves a second of PettingZoo's Go."""
    from pettingzoo.classic import go_v5

    env = go_v5.raw_env(board_size=size, komi=7.0)
    env.reset(seed=0)
    draws = np.random.default_rng(0).random(100).tolist()

    def step() -> None:
        for draw in draws:
            if env.terminations[env.agent_selection]:
                env.reset()
            legal = env.next_legal_moves
            env.step(int(legal[int(draw * len(legal))]))

    return rate(step, len(draws), seconds)


def main() -> None:
    """Measure, print a table and keep the figures."""
    flags = timing_flags(__doc__).parse_args()

    openspiel, pgx = find_spec("pyspiel") is not None, find_spec("pgx") is not None
    pettingzoo = find_spec("pettingzoo") is not None and find_spec("pygame") is not None
    candidates: dict[str, Callable[[], float]] = {}
    for size in (9, 19):
        board = f"{size}×{size}"
        for ko in ("simple", "positional"):
            candidates[f"{board} moves/s, ours, {ko} ko"] = partial(
                our_moves, size, ko, flags.seconds
            )
        if openspiel:
            candidates[f"{board} moves/s, OpenSpiel"] = partial(
                openspiel_moves, size, flags.seconds
            )
        if pgx:
            candidates[f"{board} moves/s, pgx"] = partial(pgx_moves, size, flags.seconds)
        if pettingzoo:
            candidates[f"{board} moves/s, PettingZoo"] = partial(
                pettingzoo_moves, size, flags.seconds
            )
        candidates[f"{board} playouts/s, ours"] = partial(our_playouts, size, flags.seconds)
        if openspiel:
            candidates[f"{board} playouts/s, OpenSpiel"] = partial(
                openspiel_playouts, size, flags.seconds
            )
    speeds = in_turns(candidates, flags.turns)
    for name, values in speeds.items():
        print(f"{name:40} {statistics.median(values):12,.0f}")
    content = {
        "rates": speeds,
        "versions": versions(*PACKAGES),
        "machine": machine(threads=1),
        "settings": {"seconds": flags.seconds, "turns": flags.turns},
    }
    keep(RESULTS / "go_board.json", content)


if __name__ == "__main__":
    main()
