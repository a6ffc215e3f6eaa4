"""The vector environment of Go, compiled; each step equals that of `envs.go.go`.

Games against programs are played by single environments in threads, because the programs take all the
time.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import gymnasium as gym
import numba
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.go.config import Colour, GoConfig
from envs.go.core import (
    BLACK,
    MOVES,
    PASSES,
    TO_PLAY,
    WHITE,
    Boards,
    Ko,
    area,
    begin_history,
    clear,
    compiled,
    is_legal,
    new_boards,
    place,
    play,
)
from envs.go.go import Go
from envs.go.observation import observe
from envs.go.opponents import SELF, move_of, new_work
from envs.hooks import TrainedRun, WorldError
from envs.random import below, reseed

_SHARE = 2048
"""Least number of points on the boards of one thread; for fewer, a thread costs more than it saves."""

_COLOURS = {"both": 0, "black": BLACK, "white": WHITE}


class GoVector(VectorEnv):
    """`num_envs` of `envs.go.go.Go`, with the same arguments, in next-step autoreset mode."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "measures": ("win", "margin")}

    def __init__(
        self,
        num_envs: int = 1,
        size: int = 9,
        komi: float = 7.0,
        ko: Ko = "positional",
        suicide: bool = False,
        handicap: int = 0,
        opponent: str | TrainedRun = "random",
        colour: Colour = "black",
        max_moves: int = 0,
    ) -> None:
        config = GoConfig(
            size=size,
            komi=komi,
            ko=ko,
            suicide=suicide,
            handicap=handicap,
            opponent=opponent,
            colour=colour,
            max_moves=max_moves,
        )
        self.num_envs, self.config, self.rules = num_envs, config, config.rules
        self.render_mode = None
        self.single_observation_space = config.observation_space
        self.single_action_space = config.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._over = np.zeros(num_envs, bool)
        self._singles: list[Go] = []
        if config.is_program:
            arguments = (size, komi, ko, suicide, handicap, opponent, colour, max_moves)
            self._singles = [Go(*arguments) for _ in range(num_envs)]
            self._threads = ThreadPoolExecutor(num_envs)
            return
        self._random = np.zeros((num_envs, 1), np.uint64)
        self._seeded = False
        self._games = _Games(
            new_boards(num_envs, self.rules, history=config.limit + 1),
            *new_work(num_envs, self.rules),
            self._random,
            np.zeros(num_envs, np.int64),
            self._over,
            config.opponent_number,
            float(komi),
            _COLOURS[colour],
            config.limit,
            config.handicap_points,
        )
        shares = max(1, min(numba.get_num_threads(), num_envs * size**2 // _SHARE))
        self._borders = np.linspace(0, num_envs, shares + 1).astype(int).tolist()
        self._threads = ThreadPoolExecutor(shares)

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new games; environment i gets `seed + i`, or the i-th seed of a list."""
        gym.vector.VectorEnv.reset(self, seed=seed if isinstance(seed, int) else None)
        n = self.num_envs
        if self._singles:
            seeds = [seed + i for i in range(n)] if isinstance(seed, int) else seed or [None] * n
            results = self._threads.map(lambda env, own: env.reset(seed=own), self._singles, seeds)
            observations, infos = zip(*results, strict=True)
            self._over[:] = False
            return np.stack(observations), self._merged(infos)
        before = self._random if self._seeded else None
        self._random[:] = reseed(before, n, seed, self.np_random)
        self._seeded = True
        self._over[:] = True
        first, _, _, _, info = self.step(np.zeros(n, np.int64))
        return first, info

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one step in every environment; actions are (num_envs,)."""
        n, points = self.num_envs, self.rules.size**2
        actions = np.asarray(actions, np.int64)
        wrong = actions[(actions < 0) | (actions > points)]
        if len(wrong):
            raise WorldError(f"an action is a number from 0 to {points}, not {wrong[0]}")
        if self._singles:
            return self._step_singles(actions)
        assert self._seeded, "reset comes first"
        shape = self.observation_space.shape
        assert shape is not None
        observations = np.empty((n, shape[1], points), np.uint8)
        masks = np.empty((n, points + 1), bool)
        rewards, margins = np.zeros((2, n))
        counted = np.zeros(n, bool)
        step = _Step(actions, observations, masks, rewards, margins, counted)
        shares = [
            self._threads.submit(_step, self._games, step, first, last)
            for first, last in pairwise(self._borders[1:])
        ]
        _step(self._games, step, 0, self._borders[1])
        for share in shares:
            share.result()
        info: dict[str, Any] = {
            "action_mask": masks.view(np.int8),
            "_action_mask": np.ones(n, bool),
        }
        terminated = self._over.copy()
        if terminated.any():
            win = np.where(terminated, (1 + rewards) / 2, 0.0)
            info |= {"win": win, "_win": terminated.copy()}
        if counted.any():
            info |= {"margin": margins, "_margin": counted}
        return observations.reshape(shape), rewards, terminated, np.zeros(n, bool), info

    def _step_singles(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        def one(env: Go, over: bool, action: int) -> tuple:
            if over:
                observation, info = env.reset()
                return observation, 0.0, False, info
            observation, reward, terminated, _, info = env.step(action)
            return observation, reward, terminated, info

        results = self._threads.map(one, self._singles, self._over, actions)
        observations, rewards, terminated, infos = zip(*results, strict=True)
        self._over = np.array(terminated)
        n = self.num_envs
        return (
            np.stack(observations),
            np.array(rewards),
            self._over.copy(),
            np.zeros(n, bool),
            self._merged(infos),
        )

    def _merged(self, infos: tuple[dict[str, Any], ...]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for i, info in enumerate(infos):
            merged = self._add_info(merged, info, i)
        return merged

    def close_extras(self, **_: Any) -> None:
        """End the threads and the opponents' programs."""
        self._threads.shutdown()
        for env in self._singles:
            env.close()


class _Games(NamedTuple):
    """The state of the games."""

    boards: Boards
    work: Boards
    tallies: np.ndarray
    """See `envs.go.opponents.new_work`."""
    random: np.ndarray
    """(n, 1) uint64"""
    colours: np.ndarray
    """(n,) int64, the learner's colours."""
    over: np.ndarray
    """(n,) bool: the next step begins a new game."""
    opponent: int
    komi: float
    colour: int
    """The learner's colour in every game; 0: random."""
    limit: int
    """Moves after which a game ends."""
    points: np.ndarray
    """(handicap,) int64"""


class _Step(NamedTuple):
    """Input and output of a step."""

    actions: np.ndarray
    """(n,) int64"""
    observations: np.ndarray
    """(n, 19, size²) uint8"""
    masks: np.ndarray
    """(n, size² + 1) bool"""
    rewards: np.ndarray
    """(n,) float64; 0 at first, like the fields below."""
    margins: np.ndarray
    """(n,) float64"""
    counted: np.ndarray
    """(n,) bool: the game was counted, so that there is a margin."""


@numba.njit(cache=True, nogil=True, _nrt=False)  # type: ignore[call-overload]
def _step(games: _Games, step: _Step, first: int, last: int) -> None:
    for i in range(first, last):
        _step_one(games, step, i)


@compiled
def _step_one(games: _Games, step: _Step, i: int) -> None:
    boards, action = games.boards, step.actions[i]
    if games.over[i]:
        games.over[i] = False
        _begin(games, i)
        _reply(games, i)
    elif not is_legal(boards, i, action):
        games.over[i] = True
        step.rewards[i] = -1
    else:
        mover = boards.numbers[i, TO_PLAY]
        play(boards, i, action)
        if not _ended(games, i):
            _reply(games, i)
        if _ended(games, i):
            margin = area(boards, i) - games.komi
            step.margins[i] = margin if mover == BLACK else -margin
            step.rewards[i] = np.sign(step.margins[i])
            games.over[i] = step.counted[i] = True
    observe(boards, i, step.observations, step.masks)
    step.masks[i, -1] = True


@compiled
def _begin(games: _Games, i: int) -> None:
    boards = games.boards
    clear(boards, i)
    for k in range(len(games.points)):
        place(boards, i, BLACK, games.points[k])
    if len(games.points):
        boards.numbers[i, TO_PLAY] = WHITE
        begin_history(boards, i)
    games.colours[i] = games.colour if games.colour else BLACK + below(games.random[i], 2)


@compiled
def _reply(games: _Games, i: int) -> None:
    """Play the opponent's move if it is its turn."""
    boards = games.boards
    if games.opponent != SELF and boards.numbers[i, TO_PLAY] != games.colours[i]:
        action = move_of(
            games.opponent, boards, i, games.work, games.tallies, games.komi, games.random[i]
        )
        play(boards, i, action)


@compiled
def _ended(games: _Games, i: int) -> bool:
    numbers = games.boards.numbers
    return numbers[i, PASSES] >= 2 or numbers[i, MOVES] >= games.limit
