"""Go players: a random or a searching player, a trained run, another program.

`player` makes one from the text that the user typed, `new_game` begins a game, and `choose` returns a move for a
position. Any position may be given at any time: players with a memory (a search tree, a running program)
compare it with the last one.
"""

from __future__ import annotations

import dataclasses
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from agents.agent import Agent
from agents.parts.positions import in_all_symmetries
from agents.search.go_search import Candidate, Evaluate, GoSearch, SearchConfig
from envs.go.board import BLACK, Board, Rules
from envs.go.config import GoConfig
from envs.go.counting import dead_stones, ownership, won
from envs.go.opponents import PLAYOUT, RANDOM, move_of, new_work
from envs.go.playouts import mask_eyes
from envs.go.program import Program, ProgramError, ProgramRefusedError
from envs.go.vertices import action_at, vertex
from fathom.errors import FathomError, one_sentence, printable
from fathom.play.runs import find_run, names_run, trained_agent

if TYPE_CHECKING:
    from fathom.runs.run import Run

NAMES = ("random", "playout", "rave")
"""Built-in players: a random sensible move; the best move by playouts; a search with RAVE."""

RESIGN_MOVES = 3
"""Number of moves in a row with a win rate below the limit after which a player resigns."""


@dataclass(frozen=True)
class SearchBudget:
    """How long a player may think about a move: until the first of the limits; None is no limit."""

    seconds: float | None = None
    simulations: int | None = None
    """0: a run plays its network's most probable move, without search."""
    only: frozenset[int] | None = None
    """The moves to choose from, beside a pass; None: all. Only a player that searches heeds them."""


@dataclass(frozen=True)
class Move:
    """A move, with the player's evaluation of the position."""

    action: int | None
    """None: the player resigns."""
    win_rate: float | None = None
    """The player's win rate, 0…1."""
    candidates: Sequence[Candidate] = ()
    """The moves considered, best first."""

    def comment(self, size: int) -> str:
        """Return the evaluation as one line, empty if there is none."""
        parts = [] if self.win_rate is None else [f"win rate {100 * self.win_rate:.1f} %"]
        for candidate in self.candidates[:1]:
            if candidate.visits:
                parts.append(f"{candidate.visits:,} visits")
            parts.append(" ".join(vertex(action, size) for action in candidate.variation[:8]))
        return ", ".join(parts)


class Player(ABC):
    """A player of Go."""

    name: str
    size: int | None = None
    """The only board size it can play on; None for any."""
    only_searches = False
    """Whether it cannot move without simulations."""

    def new_game(self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0) -> None:
        """Prepare for a game.

        Args:
            setup: stones that stand before the first move, (colour, action) each.
            seed: of the player's random numbers.

        Raises:
            FathomError: it does not play on such a board.
        """
        if self.size not in (None, rules.size):
            raise FathomError(
                f"{self.name} has learnt on {self.size}×{self.size} and cannot play on "
                f"{rules.size}×{rules.size}"
            )

    @abstractmethod
    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        """Return a move for the player to move; the board is not changed.

        Args:
            stop: called often while it thinks; True ends the thinking.
        """

    def advise(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        """Return the move that it would choose, without a trace in the game and without resigning."""
        return self.choose(board, budget, stop)

    def analyse(
        self, board: Board, only: frozenset[int] | None = None
    ) -> Callable[[float], None] | None:
        """Return a function that searches the position for some more seconds, or None if it does not search.
        `candidates` and `ownership` give the results.

        Args:
            only: the first moves that are considered; by default all.
        """
        return None

    def candidates(self) -> list[Candidate]:
        """Return the moves of the search so far, best first."""
        return []

    def ownership(self, board: Board) -> np.ndarray:
        """Return the expected owner of every point, (size, size) float32 in −1…1, black above 0."""
        return ownership(board)

    def dead(self, board: Board) -> set[int]:
        """Return the points of the stones that it considers dead at the end of the game."""
        return dead_stones(board)

    def agrees(self, board: Board) -> bool:
        """Whether it agrees to end the game after the opponent's pass, dead stones removed."""
        return False

    def clean_up(self, board: Board, budget: SearchBudget) -> Move:
        """Return a move after both passed and disagree about dead stones; all stones now count as alive."""
        return self.choose(board, budget)

    def close(self) -> None:
        """Release what it holds, such as a process."""
        return None


class _Simple(Player):
    """A built-in opponent of `envs.go.opponents`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._kind = {"random": RANDOM, "playout": PLAYOUT}[name]

    def new_game(self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0) -> None:
        self._work = new_work(1, rules)
        self._random = np.array([seed], np.uint64)

    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        komi = float(board.rules.komi)
        return Move(int(move_of(self._kind, board.boards, 0, *self._work, komi, self._random)))


class _Searcher(Player):
    """A search, with a network or without."""

    def __init__(
        self,
        name: str,
        evaluate: Evaluate | None,
        config: SearchConfig,
        size: int | None = None,
        resign: float = 0.0,
    ) -> None:
        self.name, self.size = name, size
        self._evaluate, self._config, self._resign = evaluate, config, resign
        self.only_searches = evaluate is None

    def new_game(self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0) -> None:
        super().new_game(rules, setup, seed)
        self._search = GoSearch(rules, self._evaluate, self._config, seed)
        self._hopeless: set[tuple[tuple[int, int], ...]] = set()

    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        return self._with_resignation(board, self.advise(board, budget, stop))

    def advise(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        if not board.passes or won(board):
            return self._think(board, budget, stop)
        # A second pass would lose, because dead stones are removed before the count. A player that still
        # expects to win has something left to play.
        board = board.copy()
        board.resume()
        move = self._think(board, budget, stop)
        others = [c for c in move.candidates if c.action != board.rules.size**2]
        passing = move.action == board.rules.size**2
        if passing and others and move.win_rate is not None and move.win_rate > 0.5:
            return dataclasses.replace(move, action=others[0].action)
        return move

    def clean_up(self, board: Board, budget: SearchBudget) -> Move:
        return self._with_resignation(board, self._think(board, budget))

    def _think(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        if budget.simulations == 0:
            return self._intuition(board, budget.only)
        search = self._search
        search.set_board(board, budget.only)
        search.run(budget.simulations, budget.seconds, stop)
        return Move(search.best(), search.win_rate, search.candidates())

    def _with_resignation(self, board: Board, move: Move) -> Move:
        """The move, or the resignation if this and its last positions in the game were hopeless."""
        assert move.win_rate is not None
        moves = tuple(board.moves)
        if move.win_rate >= self._resign:
            self._hopeless.discard(moves)
            return move
        self._hopeless.add(moves)
        own = [moves[: len(moves) - 2 * back] for back in range(RESIGN_MOVES)]
        if len(moves) >= 2 * (RESIGN_MOVES - 1) and all(one in self._hopeless for one in own):
            return dataclasses.replace(move, action=None)
        return move

    def _intuition(self, board: Board, only: frozenset[int] | None) -> Move:
        """Return the network's most probable move, or a pass if that wins or nothing else may be played."""
        assert self._evaluate is not None
        logits, values = in_all_symmetries(self._evaluate)(board.planes()[None])
        mask = board.legal()
        mask_eyes(board.boards, 0, mask)
        if only is not None:
            mask &= np.isin(np.arange(len(mask)), list(only))
            mask[-1] |= not mask.any()
        policy = np.where(mask, np.exp(logits[0] - logits[0][mask].max()), 0)
        policy /= policy.sum()
        order = [a for a in np.argsort(-policy)[:5] if policy[a] > 0]
        rate = float(values[0] + 1) / 2
        candidates = [Candidate(int(a), 0, rate, float(policy[a]), [int(a)]) for a in order]
        ahead = board.score() > 0 if board.to_play == BLACK else board.score() < 0
        action = board.rules.size**2 if board.passes and ahead else candidates[0].action
        return Move(action, rate, candidates)

    def agrees(self, board: Board) -> bool:
        return won(board)

    def analyse(self, board: Board, only: frozenset[int] | None = None) -> Callable[[float], None]:
        self._search.set_board(board, only)
        return lambda seconds: self._search.run(seconds=seconds)

    def candidates(self) -> list[Candidate]:
        return self._search.candidates()

    def ownership(self, board: Board) -> np.ndarray:
        result = self._search.ownership()
        return ownership(board) if result is None else result


class _Actor(Player):
    """An agent without search that was trained in the Go environment."""

    def __init__(self, name: str, agent: Agent, size: int) -> None:
        self.name, self.size, self._agent = name, size, agent

    def new_game(self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0) -> None:
        super().new_game(rules, setup, seed)
        self._rng = np.random.default_rng(seed)
        self._seen: list[tuple[int, int]] | None = None

    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        planes, mask = board.planes()[None], board.legal().astype(np.int8)[None]
        # A recurrent policy's memory is valid while the game continues from the last position.
        goes_on = self._seen is not None and board.moves[: len(self._seen)] == self._seen
        self._seen = board.moves.copy()
        starts = np.array([not goes_on])
        return Move(int(self._agent.act(planes, mask, starts, self._rng)[0]))


class _Other(Player):
    """Another program, by GTP. Its strength and its time are set by its own options."""

    def __init__(self, command: str, timeout: float) -> None:
        self._program = Program(command, timeout)
        self.name = self._program.name

    def new_game(self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0) -> None:
        self._rules, self._setup = rules, tuple(setup)
        self._start()
        if self._knows("set_random_seed"):
            self._program.command(f"set_random_seed {seed % (1 << 31)}")

    def _start(self) -> None:
        self._program.new_game(self._rules)
        for colour, point in self._setup:
            self._program.play(colour, point)
        self._told: list[tuple[int, int]] = []

    def _knows(self, command: str) -> bool:
        try:
            return self._program.command(f"known_command {command}").lower() == "true"
        except ProgramRefusedError:
            return False

    def _tell(self, board: Board) -> None:
        """Send the program the moves that it does not know; all of them if some were undone."""
        if board.moves[: len(self._told)] != self._told:
            self._start()
        for colour, action in board.moves[len(self._told) :]:
            self._program.play(colour, action)
            self._told.append((colour, action))

    def choose(
        self, board: Board, budget: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        self._tell(board)
        return self._played(board, self._program.genmove(board.to_play))

    def _played(self, board: Board, action: int | None) -> Move:
        if action is not None:
            self._told.append((board.to_play, action))
        return Move(action)

    def dead(self, board: Board) -> set[int]:
        self._tell(board)
        try:
            answer = self._program.command("final_status_list dead")
            return {action_at(name, board.rules.size) for name in answer.split()}
        except ProgramRefusedError:
            return set()
        except ProgramError:
            raise
        except ValueError:  # no points in the answer: no dead stones
            return set()

    def clean_up(self, board: Board, budget: SearchBudget) -> Move:
        if not self._knows("kgs-genmove_cleanup"):
            return self.choose(board, budget)
        self._tell(board)
        answer = self._program.command(f"kgs-genmove_cleanup {'bw'[board.to_play - 1]}")
        try:
            action = None if answer.lower() == "resign" else action_at(answer, board.rules.size)
        except ValueError as error:
            raise ProgramError(f"{self.name} made no proper move: {error}") from None
        return self._played(board, action)

    def close(self) -> None:
        self._program.close()


def player(
    reference: str,
    *,
    runs: Path = Path("runs"),
    trust: bool = False,
    device: str = "auto",
    threads: int | None = None,
    resign: float = 0.0,
    timeout: float = 120.0,
    warn: Callable[[str], None] = lambda message: None,
    checkpoint: str = "latest",
) -> Player:
    """Return the player that a text names.

    Args:
        reference: one of `NAMES`; a run, by its folder or its name under `runs`; or else the command
            line of a program that speaks GTP.
        trust: let a run from elsewhere import, start and read what its `run.toml` names.
        threads: trees that a search without a network grows in parallel; by default one a core.
        resign: win rate, 0…1, below which a searching player resigns; 0 for never.
        timeout: seconds without an answer after which a program counts as hung.
        warn: called with warnings about a run's checkpoint.
        checkpoint: of a run: latest, best or the step of one.

    Raises:
        FathomError: there is no such player, or the run does not play Go.
    """
    if reference in ("random", "playout"):
        return _Simple(reference)
    if reference == "rave":
        config = SearchConfig(threads=threads or os.cpu_count() or 1)
        return _Searcher("rave", None, config, resign=resign)
    if names_run(reference, runs):
        run = find_run(reference, runs, trust)
        return player_of_run(run, device, resign, warn, checkpoint)
    try:
        return _Other(reference, timeout)
    except ProgramError as error:
        if len(reference.split()) == 1 and "not installed" in str(error):
            raise FathomError(
                f"{reference!r} is no player: neither {', '.join(NAMES)}, nor a run under {runs}, "
                "nor an installed program"
            ) from None
        raise FathomError(str(error)) from None


def player_of_run(
    run: Run,
    device: str = "auto",
    resign: float = 0.0,
    warn: Callable[[str], None] = lambda message: None,
    checkpoint: str = "latest",
) -> Player:
    """Return a run that plays Go; see `player`."""
    agent, environment = trained_agent(run, warn, device, checkpoint)
    planes, _ = environment.spaces()
    shape = planes.shape or ()
    if "Fathom/Go" not in run.config.environment or len(shape) != 3:
        raise FathomError(f"{run.folder} was trained in {run.config.environment}, not to play Go")
    if evaluate := getattr(agent, "evaluate", None):
        return _Searcher(printable(run.name), evaluate, SearchConfig(mixing=0.5), shape[1], resign)
    return _Actor(printable(run.name), agent, shape[1])


def rules_from(arguments: dict[str, str], players: Iterable[Player] = ()) -> Rules:
    """Return the rules for a game between some players.

    Args:
        arguments: the values that the user typed, by field of `Rules`.
        players: their board size is the default.

    Raises:
        FathomError: a value is wrong, or the players know different board sizes.
    """
    readers: dict[str, Callable[[str], object]] = {
        "size": _whole,
        "komi": _number,
        "ko": str,
        "suicide": _yes,
    }
    values: dict[str, object] = {}
    for name, text in arguments.items():
        if name not in readers:
            raise FathomError(f"the rules have no {name!r}; they have {', '.join(readers)}")
        try:
            values[name] = readers[name](text)
        except ValueError:
            raise FathomError(f"--env.{name} cannot be {text!r}") from None
    sizes = {one.size: one.name for one in players if one.size is not None}
    if len(sizes) > 1 and "size" not in values:
        each = " and ".join(f"{name} on {size}×{size}" for size, name in sizes.items())
        raise FathomError(f"the players know different boards: {each}")
    for size in sizes:
        values.setdefault("size", size)
    try:
        return GoConfig(**values).rules  # type: ignore[arg-type]
    except ValidationError as error:
        raise FathomError(one_sentence(error, "--env.{}".format)) from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})", text):
        raise ValueError(text)
    return float(text)


def _yes(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"
