"""Monte-Carlo tree search for Go: the formulas of `agents.search.mcts` on flat arrays, compiled, in batches.

`GoSearch` searches one game. With a network it is PUCT (Silver et al. 2017): the network evaluates several
leaves at once, evaluations are cached, and values may be mixed with playouts (Silver et al. 2016). Without a
network it is UCT with RAVE and playouts (Gelly & Silver 2011). Both keep the subtree of the moves played.
`GoSearches` searches many games together, one leaf of each at a time, by Gumbel (Danihelka et al. 2022), for
learning from self-play.

A pass is an action like any other; after two passes in a row the game ends with its true score.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as config_dataclass

from agents.agent import STRICT, UnitInterval
from agents.search import go_tree
from agents.search.mcts import halving_schedule, improve
from envs.go import core
from envs.go.board import BLACK, Board, Rules
from envs.go.playouts import new_notes

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""A network as a function: planes (n, 19, size, size) uint8 to logits (n, size² + 1) and values (n,) in −1…1
for the player to move, both float32."""

CACHE = 1 << 15
"""Size of the evaluation cache."""
CHUNK = 64
"""Playouts between two readings of the clock."""


@config_dataclass(frozen=True, config=STRICT)
class SearchConfig:
    """Settings of a search."""

    simulations: PositiveInt = 800
    """Simulations per move if neither a number nor a time is given."""
    exploration: NonNegativeFloat = 1.25
    """PUCT: weight of the network's priors against values (Schrittwieser et al. 2020: 1.25)."""
    first_play_reduction: NonNegativeFloat = 0.25
    """Largest reduction of the assumed value of a move that was never visited; see `first_play_value`."""
    batch: PositiveInt = 16
    """Leaves that the network evaluates at once."""
    mixing: UnitInterval = 0.0
    """λ: weight of a playout from a leaf against the network's value (Silver et al. 2016: 0.5)."""
    candidates: PositiveInt = 16
    """Gumbel: number of actions drawn at the root (Danihelka et al. 2022: 16)."""
    value_scale: NonNegativeFloat = 0.5
    """Gumbel: weight of values against the network's logits (Danihelka et al. 2022: 1, for values in 0…1; ours
    are in −1…1)."""
    rave_equivalence: PositiveFloat = 1000.0
    """RAVE: number of a move's own playouts that weigh as much as its "all moves as first" value."""
    threads: PositiveInt = 1
    """Without a network: trees searched in parallel and added up (Chaslot et al. 2008)."""
    memory: PositiveInt = 1024
    """Largest size of the trees of all threads together, in MiB."""


class Candidate(NamedTuple):
    """A move that was considered."""

    action: int
    visits: int
    win_rate: float
    """Win rate, 0…1, for the player to move."""
    prior: float
    """The network's probability; without a network, the first estimate of the win rate."""
    variation: list[int]
    """The expected line, the action itself first."""
    variation_visits: Sequence[int] = ()
    """Visits to each action of the line, in the tree that it is from."""


@dataclass
class SearchStats:
    """Counters of the searches since the last `set_board`."""

    simulations: int = 0
    seconds: float = 0.0
    evaluations: int = 0
    """Positions that the network evaluated."""
    cache_hits: int = 0
    """Evaluations taken from the cache."""


class GoSearch:
    """Searches positions of one game, one after another.

    Args:
        evaluate: the network; without one, the search uses playouts.
        seed: of the playouts.

    Attributes:
        stats: counters since the last `set_board`.
    """

    def __init__(
        self,
        rules: Rules,
        evaluate: Evaluate | None,
        config: SearchConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.rules, self.evaluate, self.config = rules, evaluate, config or SearchConfig()
        self.stats = SearchStats()
        self._rng = np.random.default_rng(seed)
        n = 1 if evaluate else self.config.threads
        size, rave = rules.size, evaluate is None
        nodes = (self.config.memory << 20) // (n * go_tree.node_bytes(size, rave))
        self._trees = go_tree.new_trees(n, max(nodes, 2), size, rave)
        self._renamed = np.zeros(max(nodes, 2), np.int32)
        self._board = Board(rules)
        self._restricted = False
        self._play = self._network if evaluate else self._playouts
        self._lines = self.config.batch if evaluate else n
        self._make_boards()
        if evaluate:
            batch = self.config.batch
            self._cache = _Cache(size)
            self._planes = np.zeros((batch, core.PLANES, size * size), np.uint8)
            self._legal = np.zeros((batch, size * size + 1), np.bool_)
            self._leaves = np.zeros(batch, np.int32)
            self._keys = np.zeros(batch, np.uint64)
            self._played = np.zeros(batch, np.float32)
        else:
            self._owned = np.zeros((n, 2, size, size), np.int32)
        self._random = self._rng.integers(2**64, size=(n, 1), dtype=np.uint64)
        self._restart()
        self.run(simulations=1)  # compiles before any clock runs
        self._restart()
        self.stats = SearchStats()

    def set_board(self, board: Board, only: Collection[int] | None = None) -> None:
        """Set the position to search. If it follows the last one, its subtree is kept.

        Args:
            only: the first moves that are considered, beside a pass if none of them is sensible; by default all.
                Such a tree is not kept.

        Raises:
            ValueError: the board has other rules than the search.
        """
        if board.rules != self.rules:
            raise ValueError(f"the search is for {self.rules}, not for {board.rules}")
        self.stats = SearchStats()
        moves = self._new_moves(board) if only is None and not self._restricted else None
        self._board, self._restricted = board.copy(), only is not None
        room = core.history_room(board.boards)
        if room > core.history_room(self._work):
            self._make_boards(room)
        if moves is None:
            self._restart()
            if only is not None:
                self._restrict(only)
            return
        for g in range(len(self._trees.used)):
            node = 0
            for action in moves:
                node = self._trees.children[g, node, action]
                if node == 0:
                    break
            if (moves and not node) or self._trees.states[g, node] == go_tree.OVER:
                go_tree.reset(self._trees, g)
            elif node:
                go_tree.keep_subtree(self._trees, g, node, self._renamed)
        if moves:
            self._begin()

    def run(
        self,
        simulations: int | None = None,
        seconds: float | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        """Search on until one of the limits is reached, by default `config.simulations`.

        Returns at once if the game is over or, with a network, if the tree has no memory left.

        Args:
            stop: called every few milliseconds; True ends the search.
        """
        if self._board.over:
            return
        if simulations is None and seconds is None and stop is None:
            simulations = self.config.simulations
        began, done = perf_counter(), 0
        while simulations is None or done < simulations:
            step = self._play(simulations - done if simulations is not None else 1 << 30)
            done += step
            spent = perf_counter() - began
            if not step or (seconds is not None and spent >= seconds) or (stop and stop()):
                break
        self.stats.simulations += done
        self.stats.seconds += perf_counter() - began

    def candidates(self) -> list[Candidate]:
        """Return the visited moves, best first."""
        visits, totals = self._totals()
        priors = self._trees.priors[:, 0].mean(axis=0)
        return [
            Candidate(
                int(a),
                int(visits[a]),
                float(totals[a] / visits[a] + 1) / 2,
                float(priors[a]),
                *self._variation(int(a)),
            )
            for a in self._order(visits, totals)
            if visits[a] > 0
        ]

    def best(self) -> int:
        """Return the move to play: a pass if the game is over or nothing was searched."""
        visits, totals = self._totals()
        if self._board.over:
            return self.rules.size**2
        if not visits.any():
            priors = self._trees.priors[0, 0]
            return int(priors.argmax()) if priors.any() else self.rules.size**2
        return int(self._order(visits, totals)[0])

    @property
    def win_rate(self) -> float:
        """The win rate of the player to move, 0…1."""
        visits, totals = self._totals()
        if self._board.over:
            value = np.sign(self._board.score())
            value = value if self._board.to_play == BLACK else -value
        elif self.evaluate:
            value = (self._trees.values[0, 0] + totals.sum()) / (1 + visits.sum())
        else:
            value = totals.sum() / max(1, visits.sum())
        return float(value + 1) / 2

    def ownership(self) -> np.ndarray | None:
        """Return the mean ownership of every point at the end of the playouts, (size, size) float32 in −1…1,
        black above 0; None with a network."""
        if self.evaluate:
            return None
        black, white = self._owned.sum(axis=0)
        return ((black - white) / np.maximum(1, self._ended)).astype(np.float32)

    # -- the parts --------------------------------------------------------------------------------

    def _restrict(self, only: Collection[int]) -> None:
        """Exclude all other moves at the root, which is evaluated for this."""
        self.run(simulations=1)
        others = np.ones(self.rules.size**2 + 1, np.bool_)
        others[list(only)] = False
        for array in (self._trees.priors, self._trees.visits, self._trees.totals):
            array[:, 0, others] = 0

    def _make_boards(self, history: int | None = None) -> None:
        """Return boards to follow lines and play games on; for `history` see `core.new_boards`."""
        self._work = core.new_boards(self._lines, self.rules, history)
        self._trial = core.new_boards(1, self.rules, history)
        self._notes = new_notes(self._lines, self._work)

    def _new_moves(self, board: Board) -> list[int] | None:
        """Return the moves since the last position, or None if the board does not follow it."""
        old = self._board
        known = len(old.moves)
        if board.moves[:known] != old.moves:
            return None
        trial, moves = old.copy(), board.moves[known:]
        for colour, action in moves:
            if colour != trial.to_play or not trial.is_legal(action):
                return None
            trial.play(action)
        same = (
            trial.boards.hashes[0, 0] == board.boards.hashes[0, 0]
            and trial.to_play == board.to_play
            and trial.passes == board.passes
        )
        return [action for _, action in moves] if same else None

    def _restart(self) -> None:
        for g in range(len(self._trees.used)):
            go_tree.reset(self._trees, g)
        self._begin()

    def _begin(self) -> None:
        """Reset what belongs to one position, even if the subtree is kept."""
        if not self.evaluate:
            self._owned[:] = 0
            self._ended = 0

    def _network(self, wanted: int) -> int:
        """Run a batch of simulations, and return how many."""
        assert self.evaluate
        trees, config = self._trees, self.config
        fresh = trees.states[0, 0] != go_tree.OPEN
        result, ended = go_tree.select_leaves(
            trees,
            self._board.boards,
            self._work,
            1 if fresh else min(config.batch, wanted),
            self.rules.komi,
            config.exploration,
            config.first_play_reduction,
            self._planes,
            self._legal,
            self._leaves,
            self._keys,
            config.mixing > 0,
            self._trial,
            self._notes,
            self._random[0],
            self._played,
        )
        if result:
            try:
                logits, values = self._ask(result)
            except BaseException:
                self._restart()  # the leaves would never be evaluated
                raise
            values += config.mixing * (self._played[:result] - values)
            go_tree.expand_and_backup(
                trees, self._leaves[:result], logits, self._legal[:result], values
            )
        # The root's own evaluation is no simulation.
        return self._network(wanted) if fresh else result + ended

    def _ask(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the evaluations of the first n leaves, from the cache or the network."""
        assert self.evaluate
        keys, size = self._keys[:n], self.rules.size
        logits, values, known = self._cache.look_up(keys)
        self.stats.cache_hits += int(known.sum())
        new = np.flatnonzero(~known)
        if len(new):
            planes = self._planes[new].reshape(-1, core.PLANES, size, size)
            logits[new], values[new] = self.evaluate(planes)
            self._cache.keep(keys[new], logits[new], values[new])
            self.stats.evaluations += len(new)
        return logits, values

    def _playouts(self, wanted: int) -> int:
        """Run some playouts in every tree, and return how many in all."""
        threads = len(self._trees.used)
        each = min(CHUNK, -(-wanted // threads))

        def part(g: int) -> None:
            go_tree.simulate(
                self._trees,
                g,
                self._board.boards,
                self._work,
                self._notes,
                self._owned,
                self._random,
                each,
                self.rules.komi,
                self.config.rave_equivalence,
            )

        if threads == 1:
            part(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, range(threads)))
        self._ended += each * threads
        return each * threads

    def _totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Return visits and sums of values of every action at the root, over all trees."""
        return self._trees.visits[:, 0].sum(axis=0), self._trees.totals[:, 0].sum(axis=0)

    @staticmethod
    def _order(visits: np.ndarray, totals: np.ndarray) -> np.ndarray:
        """Return the actions by visits, then by value."""
        return np.lexsort((-totals / np.maximum(visits, 1), -visits))

    def _variation(self, action: int) -> tuple[list[int], list[int]]:
        """Return the most visited line that begins with an action, in the tree with most visits to it, and the
        visits to its actions."""
        g = int(self._trees.visits[:, 0, action].argmax())
        line, visits = [action], [int(self._trees.visits[g, 0, action])]
        node = int(self._trees.children[g, 0, action])
        while node and self._trees.visits[g, node].any():
            action = int(self._trees.visits[g, node].argmax())
            line.append(action)
            visits.append(int(self._trees.visits[g, node, action]))
            node = int(self._trees.children[g, node, action])
        return line, visits


class Improved(NamedTuple):
    """Result of a search of n games."""

    policies: np.ndarray
    """(n, A) float32: improved policies for the network to learn; 0 for illegal actions."""
    values: np.ndarray
    """(n,) float32: mean values of the searches, −1…1 for the players to move."""
    actions: np.ndarray
    """(n,) int64: the moves to play, drawn with Gumbel noise."""


class GoSearches:
    """Searches many games at once; one call of the network evaluates a leaf of each.

    Args:
        boards: the games. They may be changed by `core.play`, `core.clear` or `set_board`; every search
            begins at their present positions.
        seed: of the noise, as NumPy takes it.
    """

    def __init__(
        self,
        boards: core.Boards,
        rules: Rules,
        evaluate: Evaluate,
        config: SearchConfig | None = None,
        seed: int | Sequence[int] = 0,
    ) -> None:
        self.boards = boards
        self.rules, self.evaluate, self.config = rules, evaluate, config or SearchConfig()
        self._rng = np.random.default_rng(seed)
        n, size, actions = len(boards.stones), rules.size, rules.size**2 + 1
        self._work = core.new_boards(n, rules, core.history_room(boards))
        self._planes = np.zeros((n, core.PLANES, size * size), np.uint8)
        self._legal = np.zeros((n, actions), np.bool_)
        self._leaves = np.zeros(n, np.int32)
        self._trees = go_tree.new_trees(n, 0, size)

    def set_board(self, g: int, board: Board) -> None:
        """Set a game to a copy of a board; ValueError if that has other rules."""
        if board.rules != self.rules:
            raise ValueError(f"the search is for {self.rules}, not for {board.rules}")
        core.copy_board(self.boards, g, board.boards, 0)

    def run(self, simulations: int | None = None) -> Improved:
        """Search the present positions of all games.

        A game that is over has the pass as its policy and its result as its value.

        Args:
            simulations: number for each game, by default `config.simulations`.
        """
        trees, config = self._trees, self.config
        simulations = config.simulations if simulations is None else simulations
        n, actions = self._legal.shape
        if trees.states.shape[1] < simulations + 1:
            trees = self._trees = go_tree.new_trees(n, simulations + 1, self.rules.size)
        for g in range(n):
            go_tree.reset(trees, g)
        going_on = np.flatnonzero(self.boards.numbers[:, core.PASSES] < 2)
        wanted = np.full(n, -1, np.int32)
        wanted[going_on] = 0
        noise = self._rng.gumbel(size=(n, actions))
        self._step(wanted, noise)  # evaluates the roots
        priors = trees.priors[:, 0]
        with np.errstate(divide="ignore"):
            logits = noise + np.log(priors)
        considered = np.minimum(config.candidates, (priors > 0).sum(axis=1))
        schedules = np.array(
            [halving_schedule(m, simulations) for m in range(config.candidates + 1)], np.int32
        )
        for k in range(simulations):
            wanted[going_on] = schedules[considered[going_on], k]
            self._step(wanted, logits)
        policies, values = np.zeros((n, actions), np.float32), np.zeros(n, np.float32)
        chosen = np.full(n, actions - 1, np.int64)
        policies[:, -1] = 1
        for g in range(n):
            if wanted[g] < 0:
                values[g] = go_tree.outcome(self.boards, g, self.rules.komi)
                continue
            visits, totals = trees.visits[g, 0], trees.totals[g, 0]
            known = (priors[g], visits, totals, trees.values[g, 0])
            improve(*known, config.value_scale, policies[g])
            values[g] = (trees.values[g, 0] + totals.sum()) / (1 + visits.sum())
            chosen[g] = go_tree.root_choice(trees, g, visits.max(), logits[g], config.value_scale)
        return Improved(policies, values, chosen)

    def _step(self, wanted: np.ndarray, logits: np.ndarray) -> None:
        """Run one simulation in every game."""
        go_tree.select_leaf_each(
            self._trees,
            self.boards,
            self._work,
            wanted,
            logits,
            self.rules.komi,
            self.config.value_scale,
            self._planes,
            self._legal,
            self._leaves,
        )
        games = np.flatnonzero(self._leaves >= 0)
        if len(games):
            size = self.rules.size
            planes = self._planes if len(games) == len(wanted) else self._planes[games]
            answers = self.evaluate(planes.reshape(-1, core.PLANES, size, size))
            go_tree.expand_and_backup_each(
                self._trees, games, self._leaves, answers[0], self._legal, answers[1]
            )


@dataclass
class _Cache:
    """A cache of evaluations, each in the one slot of its key; a new one replaces the old."""

    size: int
    keys: np.ndarray = field(default_factory=lambda: np.zeros(CACHE, np.uint64))

    def __post_init__(self) -> None:
        self.logits = np.zeros((CACHE, self.size**2 + 1), np.float32)
        self.values = np.zeros(CACHE, np.float32)

    def look_up(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return copies of logits and values, and which of them are cached."""
        places = keys % np.uint64(CACHE)
        return self.logits[places], self.values[places], self.keys[places] == keys

    def keep(self, keys: np.ndarray, logits: np.ndarray, values: np.ndarray) -> None:
        places = keys % np.uint64(CACHE)
        self.keys[places], self.logits[places], self.values[places] = keys, logits, values
