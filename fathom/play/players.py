"""Go players: a random or a searching player, a trained run, another program.

All look alike to the commands that let them play: `player` makes one from what a person typed, `new_game`
begins, and `choose` answers a position. The board is the truth, so any position may be asked about at any
time; players that remember something (a search tree, a running program) find out what has changed.
"""

from __future__ import annotations

import dataclasses
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.agent import Agent
from agents.parts.positions import in_all_symmetries
from agents.search.go_search import Candidate, Evaluate, GoSearch, SearchConfig
from envs.go import core
from envs.go.board import BLACK, Board, Rules
from envs.go.counting import dead_stones, ownership, won
from envs.go.opponents import PLAYOUT, RANDOM, move_of, new_work
from envs.go.playouts import mask_eyes
from envs.go.program import Program, ProgramError, ProgramRefusedError
from envs.go.vertices import action_at, vertex
from fathom.errors import FathomError
from fathom.play.runs import find_run, names_run, trained_agent

NAMES = ("random", "playout", "rave")
"""Players that come with Fathom: any sensible move; the best of random games; a search with RAVE."""

RESIGN_MOVES = 3
"""So many moves in a row a player must think it has lost before it resigns."""


@dataclass(frozen=True)
class SearchBudget:
    """How much a player may think about a move: whatever of the two ends first; None is no limit."""

    seconds: float | None = None
    simulations: int | None = None
    """0: a run plays the likeliest move of its network, without any search."""


@dataclass(frozen=True)
class Move:
    """A move, and what the player thinks of the position."""

    action: int | None
    """None: it resigns."""
    win_rate: float | None = None
    """0…1, its own."""
    candidates: Sequence[Candidate] = ()
    """Best first."""

    def comment(self, size: int) -> str:
        """The player's thoughts in a line, empty where it says none."""
        parts = [] if self.win_rate is None else [f"win rate {100 * self.win_rate:.1f} %"]
        for candidate in self.candidates[:1]:
            if candidate.visits:
                parts.append(f"{candidate.visits:,} visits")
            parts.append(" ".join(vertex(action, size) for action in candidate.variation[:8]))
        return ", ".join(parts)


class Player(ABC):
    """Plays Go."""

    name: str
    size: int | None = None
    """The only board it knows; None where it plays on any."""
    only_searches = False
    """Whether it has no move without simulations."""

    def new_game(self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0) -> None:
        """Get ready for a game.

        Args:
            setup: stones that stand before the first move, (colour, action) each.
            seed: of what the player draws.

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
        self, board: Board, limit: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        """A move for the player to move; the board stays as it is.

        Args:
            stop: asked often while it thinks; True ends that.
        """

    def analyse(self, board: Board) -> Callable[[float], None] | None:
        """Where the player searches: what searches the position on for so many seconds, for
        `candidates` and `ownership` to tell the findings."""
        return None

    def candidates(self) -> list[Candidate]:
        """What a search has found so far, best first."""
        return []

    def ownership(self, board: Board) -> np.ndarray:
        """(size, size) float32 in −1…1: who will own every point, black above 0."""
        return ownership(board)

    def dead(self, board: Board) -> set[int]:
        """The stones that it thinks can be taken off when the game has ended, by their points."""
        return dead_stones(board)

    def agrees(self, board: Board) -> bool:
        """Whether it would rather have the board counted, the dead taken off, than move again."""
        return False

    def clean_up(self, board: Board, limit: SearchBudget) -> Move:
        """A move after both have passed and do not agree on what is dead: all that stays counts."""
        return self.choose(board, limit)

    def close(self) -> None:
        """End it."""
        return None


class _Simple(Player):
    """An opponent of `envs.go.opponents`, that needs nothing but the rules."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._kind = {"random": RANDOM, "playout": PLAYOUT}[name]

    def new_game(self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0) -> None:
        self._work = new_work(1, rules)
        self._random = np.array([seed], np.uint64)

    def choose(
        self, board: Board, limit: SearchBudget, stop: Callable[[], bool] | None = None
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
        self._hopeless = 0

    def choose(
        self, board: Board, limit: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        if not board.passes or won(board):
            return self._think(board, limit, stop)
        # To pass as well would lose, for the dead are taken off before the count. Whoever thinks that
        # he is winning all the same has something left to play.
        board = board.copy()
        board.resume()
        choice = self._think(board, limit, stop)
        others = [c for c in choice.candidates if c.action != board.rules.size**2]
        passing = choice.action == board.rules.size**2
        if passing and others and choice.win_rate is not None and choice.win_rate > 0.5:
            return dataclasses.replace(choice, action=others[0].action)
        return choice

    def clean_up(self, board: Board, limit: SearchBudget) -> Move:
        return self._think(board, limit)

    def _think(
        self, board: Board, limit: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        if limit.simulations == 0:
            return self._with_resignation(self._intuition(board))
        search = self._search
        search.set_board(board)
        search.run(limit.simulations, limit.seconds, stop)
        result = Move(search.best(), search.win_rate, search.candidates())
        return self._with_resignation(result)

    def _with_resignation(self, choice: Move) -> Move:
        assert choice.win_rate is not None
        self._hopeless = self._hopeless + 1 if choice.win_rate < self._resign else 0
        if self._hopeless >= RESIGN_MOVES:
            return dataclasses.replace(choice, action=None)
        return choice

    def _intuition(self, board: Board) -> Move:
        """The likeliest move of the network; a pass where that wins."""
        assert self._evaluate is not None
        logits, values = in_all_symmetries(self._evaluate)(board.planes()[None])
        mask = board.legal()
        mask_eyes(board.boards, 0, mask)
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

    def analyse(self, board: Board) -> Callable[[float], None]:
        self._search.set_board(board)
        return lambda seconds: self._search.run(seconds=seconds)

    def candidates(self) -> list[Candidate]:
        return self._search.candidates()

    def ownership(self, board: Board) -> np.ndarray:
        result = self._search.ownership()
        return ownership(board) if result is None else result


class _Actor(Player):
    """An agent of another kind than AlphaGo's that was trained in a world of Go."""

    def __init__(self, name: str, agent: Agent, size: int) -> None:
        self.name, self.size, self._agent = name, size, agent

    def new_game(self, rules: Rules, setup: Sequence[tuple[int, int]] = (), seed: int = 0) -> None:
        super().new_game(rules, setup, seed)
        self._rng = np.random.default_rng(seed)
        self._seen: list[tuple[int, int]] | None = None

    def choose(
        self, board: Board, limit: SearchBudget, stop: Callable[[], bool] | None = None
    ) -> Move:
        planes, mask = board.planes()[None], board.legal().astype(np.int8)[None]
        # What a recurrent policy remembers is of use as long as the game goes on from what it saw.
        goes_on = self._seen is not None and board.moves[: len(self._seen)] == self._seen
        self._seen = board.moves.copy()
        starts = np.array([not goes_on])
        return Move(int(self._agent.act(planes, mask, starts, self._rng)[0]))


class _Other(Player):
    """Another program, spoken to in GTP. Its strength and its time are its own affair."""

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
        """Let the program know the moves that it does not, from the first one if some were undone."""
        if board.moves[: len(self._told)] != self._told:
            self._start()
        for colour, action in board.moves[len(self._told) :]:
            self._program.play(colour, action)
            self._told.append((colour, action))

    def choose(
        self, board: Board, limit: SearchBudget, stop: Callable[[], bool] | None = None
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
            message = self._program.command("final_status_list dead")
            return {action_at(name, board.rules.size) for name in message.split()}
        except ProgramRefusedError:
            return set()
        except ProgramError:
            raise
        except ValueError:  # it named no points: then it named no dead stones
            return set()

    def clean_up(self, board: Board, limit: SearchBudget) -> Move:
        if not self._knows("kgs-genmove_cleanup"):
            return self.choose(board, limit)
        self._tell(board)
        message = self._program.command(f"kgs-genmove_cleanup {'bw'[board.to_play - 1]}")
        try:
            action = None if message.lower() == "resign" else action_at(message, board.rules.size)
        except ValueError as error:
            raise ProgramError(f"{self.name} made no proper move: {error}") from None
        return self._played(board, action)

    def close(self) -> None:
        self._program.close()


def player(
    reference: str,
    *,
    runs: Path = Path("runs"),
    device: str = "auto",
    threads: int | None = None,
    resign: float = 0.0,
    timeout: float = 120.0,
    warn: Callable[[str], None] = lambda message: None,
) -> Player:
    """The player that a person named.

    Args:
        reference: one of `NAMES`; a run, by its folder or its name under `runs`; or else the command
            line of a program that speaks GTP.
        threads: trees that a search without a network grows side by side; one a core by default.
        resign: the chance to win, 0…1, below which a searching player resigns; 0 for never.
        timeout: seconds without an answer after which a program counts as hung.
        warn: told what should be known about a run's checkpoint.

    Raises:
        FathomError: there is no such player, or the run does not play Go.
    """
    if reference in ("random", "playout"):
        return _Simple(reference)
    if reference == "rave":
        config = SearchConfig(threads=threads or os.cpu_count() or 1)
        return _Searcher("rave", None, config, resign=resign)
    if names_run(reference, runs):
        return _of_run(reference, runs, device, resign, warn)
    try:
        return _Other(reference, timeout)
    except ProgramError as error:
        if len(reference.split()) == 1 and "not installed" in str(error):
            raise FathomError(
                f"{reference!r} is no player: neither {', '.join(NAMES)}, nor a run under {runs}, "
                "nor an installed program"
            ) from None
        raise FathomError(str(error)) from None


def _of_run(
    reference: str, runs: Path, device: str, resign: float, warn: Callable[[str], None]
) -> Player:
    run = find_run(reference, runs)
    agent, environment = trained_agent(run, warn, device)
    planes, _ = environment.spaces()
    shape = planes.shape or ()
    if "Fathom/Go" not in run.config.environment or len(shape) != 3:
        raise FathomError(f"{run.folder} was trained in {run.config.environment}, not to play Go")
    if evaluate := getattr(agent, "evaluate", None):
        return _Searcher(run.name, evaluate, SearchConfig(mixing=0.5), shape[1], resign)
    return _Actor(run.name, agent, shape[1])


def rules_from(arguments: dict[str, str], players: Iterable[Player] = ()) -> Rules:
    """The rules that a person asked for, on the board that the players know.

    Args:
        arguments: values as they were typed, by field of `Rules`.

    Raises:
        FathomError: no such rules, or players who know different boards.
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
        rules = Rules(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise FathomError(str(error)) from None
    if not 5 <= rules.size <= core.LARGEST:
        raise FathomError(f"size must be a whole number from 5 to {core.LARGEST}, not {rules.size}")
    return rules


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
