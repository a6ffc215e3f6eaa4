"""A game of Go against a player, in the terminal.

On a terminal the board is drawn in colours, with the last stone marked and hints on the points; anywhere
else it is plain text, so that a game can be piped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.search.go_search import Candidate
from envs.go.board import BLACK, WHITE, Board, IllegalMoveError, Rules, handicap_points, replay
from envs.go.counting import dead_stones, result_of, without, won
from envs.go.rendering import ansi, stars
from envs.go.sgf import record, write_game
from envs.go.vertices import COLUMNS, action_at, vertex
from fathom.errors import FathomError
from fathom.play.players import Player, SearchBudget

_WOOD, _LINE, _STAR = "#dcb26a", "#8f6d38", "#4a3413"
_STONES = {BLACK: "#0e0e12", WHITE: "#ffffff"}
_LAST = "#c8281e"
_HINTS = ("#1463c4", "#177d4c", "#7a4db3")
"""Colours of the best three moves."""
_FACTS_WIDTH = 40
_NAMES = {BLACK: "black", WHITE: "white"}

HELP = (
    ("D4", "play there (there is no I)"),
    ("pass", "two in a row end the game"),
    ("undo", "take your last move back"),
    ("hint", "what the engine would play"),
    ("score", "who is ahead, by playouts"),
    ("resign", "give the game up"),
    ("quit", "leave"),
)


class _Left(Exception):
    """The person went away."""


def draw(
    board: Board,
    hints: Sequence[Candidate] = (),
    dead: set[int] | frozenset[int] = frozenset(),
) -> Text:
    """The board in colours: brackets around the last stone, numbers on hints, crosses for dead stones."""
    size, stones, marked = board.rules.size, board.stones, set(stars(board.rules.size))
    last = board.moves[-1][1] if board.moves else size * size
    numbers = {hint.action: k for k, hint in enumerate(hints[: len(_HINTS)])}
    letters = Text("    " + " ".join(COLUMNS[:size]) + "\n", style="dim")
    text = Text().append_text(letters)  # a copy would be dim all over
    for row in range(size):
        text.append(f"{size - row:2} ", style="dim")
        # A line of the board: between two points stands one sign, and one at either end.
        signs = [(" ", _LINE), *[("─", _LINE)] * (size - 1), (" ", _LINE)]
        if last // size == row:
            signs[last % size], signs[last % size + 1] = ("(", _LAST), (")", _LAST)
        for column in range(size):
            text.append(signs[column][0], style=f"bold {signs[column][1]} on {_WOOD}")
            point, stone = row * size + column, int(stones[row, column])
            if stone:
                sign = "×" if point in dead else "●"
                text.append(sign, style=f"bold {_STONES[stone]} on {_WOOD}")
            elif point in numbers:
                k = numbers[point]
                text.append(str(k + 1), style=f"bold #ffffff on {_HINTS[k]}")
            elif (row, column) in marked:
                text.append("•", style=f"{_STAR} on {_WOOD}")
            else:
                text.append(_crossing(row, column, size), style=f"{_LINE} on {_WOOD}")
        text.append(signs[size][0], style=f"bold {signs[size][1]} on {_WOOD}")
        text.append(f" {size - row}\n", style="dim")
    return text.append_text(letters)


def _crossing(row: int, column: int, size: int) -> str:
    signs = "┌┬┐" if row == 0 else "└┴┘" if row == size - 1 else "├┼┤"
    return signs[0 if column == 0 else 2 if column == size - 1 else 1]


class Session:
    """A person and a player at the board.

    Args:
        colour: the person's.
        handicap: stones of black's before white begins.
        console: where the game is shown.
        ask: gives the person's next line; EOFError when there are no more.

    Raises:
        FathomError: the player does not play on such a board, or the handicap does not fit it.
    """

    def __init__(
        self,
        player: Player,
        rules: Rules,
        limit: SearchBudget,
        colour: int = BLACK,
        handicap: int = 0,
        console: Console | None = None,
        ask: Callable[[], str] | None = None,
    ) -> None:
        self.player, self.rules, self.limit, self.colour = player, rules, limit, colour
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._ask = ask or (lambda: self.console.input("[bold]your move[/] [dim](or help)[/] "))
        try:
            points = handicap_points(rules.size, handicap) if handicap else []
        except ValueError as error:
            raise FathomError(str(error)) from None
        self.setup = tuple((BLACK, point) for point in points)
        self.board = replay(rules, self.setup)
        self.result = ""
        """As records write it; empty while the game goes on."""
        self._hints: Sequence[Candidate] = ()
        self._message = ""
        self._win_rate: float | None = None
        """The person's, as the player sees it."""
        self._comments: dict[int, str] = {}
        """The player's thoughts, by number of the move."""
        self._disputed = False
        with self._busy("getting ready (it takes a minute the first time)"):
            player.new_game(rules, self.setup)

    def run(self) -> str:
        """Play to the end; gives the result, empty if the person left before."""
        with contextlib.suppress(_Left):
            while not self.result:
                if self.board.over:
                    self._count()
                elif self.board.to_play == self.colour:
                    self._listen()
                else:
                    self._reply()
            self._show()
            self.console.print(Text(self._verdict(), style="bold"))
        return self.result

    def save(self, path: Path) -> None:
        """Write the game as it is, with the player's thoughts; FathomError where that cannot be."""
        names = ("you", self.player.name) if self.colour == BLACK else (self.player.name, "you")
        comments = [self._comments.get(k, "") for k in range(len(self.board.moves))]
        game = write_game(record(self.board, names, self.result, self.setup, comments))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(game)
        except OSError as error:
            raise FathomError(f"{path} cannot be written: {error.strerror}") from None

    # -- turns ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Do what the person says, once."""
        self._show()
        line = self._line()
        self._message, self._hints = "", ()
        commands: dict[str, Callable[[], None]] = {
            "": lambda: None,
            "help": self._help,
            "?": self._help,
            "undo": self._undo,
            "hint": self._hint,
            "score": self._score,
            "resign": self._resign,
        }
        word = line.strip().lower()
        if word in ("quit", "exit", "q"):
            raise _Left
        if word in commands:
            commands[word]()
            return
        try:
            self.board.play(action_at(word, self.rules.size))
        except IllegalMoveError as error:
            self._message = f"{_sentence(error)}."
        except ValueError:
            self._message = f"There is no point or command {line.strip()[:40]!r}; try help."

    def _line(self) -> str:
        try:
            return self._ask()
        except EOFError:
            raise _Left from None
        except UnicodeDecodeError:
            return "�"

    def _reply(self) -> None:
        """Let the player move."""
        board = self.board
        name = f"{self.player.name} ({_NAMES[board.to_play]})"
        if board.passes and won(board):
            # A person who passes means that the game is over: dead stones need no capturing.
            board.play(self.rules.size**2)
            self._message = f"{name} passes, too."
            return
        if self._colourful:
            self._show()
        with self._busy(f"{self.player.name} is thinking"):
            choice = self.player.choose(board, self.limit)
        if choice.win_rate is not None:
            self._win_rate = 1 - choice.win_rate
        if choice.action is None:
            self.result = f"{'BW'[self.colour - 1]}+R"
            return
        self._comments[len(board.moves)] = choice.comment(self.rules.size)
        try:
            board.play(choice.action)
        except IllegalMoveError as error:
            raise FathomError(f"{self.player.name} moved against the rules: {error}") from None
        message = vertex(choice.action, self.rules.size)
        self._message = f"{name} passes." if message == "pass" else f"{name} plays {message}."

    def _count(self) -> None:
        """Both have passed: take the dead stones off if the person agrees, or go on."""
        dead = set() if self._disputed else dead_stones(self.board)
        score = result_of(without(self.board, dead).score())
        if dead:
            self._message += f" Without the dead stones (×) it is {score}."
            self._show(dead)
            self.console.print("Do you agree? [bold]y[/]es, or [bold]n[/]o to play on: ", end="")
            if self._line().strip().lower().startswith("n"):
                self.board.resume()
                self._disputed = True
                self._message = "Play on; next time every stone on the board counts as alive."
                return
        self.result = score

    # -- commands -------------------------------------------------------------------------------

    def _help(self) -> None:
        self._message = "\n".join(f"{word:8}{meaning}" for word, meaning in HELP)

    def _undo(self) -> None:
        moves = list(self.board.moves)
        mine = [k for k, (colour, _) in enumerate(moves) if colour == self.colour]
        if not mine:
            self._message = "There is no move of yours to take back."
            return
        self.board = replay(self.rules, self.setup, moves[: mine[-1]])
        self._comments = {k: text for k, text in self._comments.items() if k < mine[-1]}
        self._win_rate = None
        self._message = "Taken back."

    def _hint(self) -> None:
        with self._busy(f"{self.player.name} is thinking"):
            choice = self.player.choose(self.board, self.limit)
        if choice.action is None:
            self._message = f"{self.player.name} would resign."
            return
        result = list(choice.candidates[: len(_HINTS)])
        self._hints = result or [Candidate(choice.action, 0, 0.5, 0.0, [choice.action])]
        if choice.win_rate is not None:
            self._win_rate = choice.win_rate
        lines = []
        for k, hint in enumerate(self._hints):
            line = f"{k + 1}  {vertex(hint.action, self.rules.size):5}"
            if choice.candidates:
                expected = " ".join(
                    vertex(action, self.rules.size) for action in hint.variation[1:6]
                )
                line += f"{100 * hint.win_rate:3.0f} %  {expected}"
            lines.append(line.rstrip())
        self._message = "\n".join(lines)

    def _score(self) -> None:
        score = without(self.board, dead_stones(self.board)).score()
        self._message = f"If the game ended here: about {result_of(score)}."

    def _resign(self) -> None:
        self.result = f"{'WB'[self.colour - 1]}+R"

    # -- pictures -------------------------------------------------------------------------------

    @property
    def _colourful(self) -> bool:
        return self.console.is_terminal and self.console.color_system is not None

    def _busy(self, what: str) -> contextlib.AbstractContextManager[object]:
        if not self.console.is_terminal:
            return contextlib.nullcontext()
        return self.console.status(Text(f"{what} …", style="dim"))

    def _show(self, dead: set[int] | frozenset[int] = frozenset()) -> None:
        if not self._colourful:
            last = self.board.moves[-1][1] if self.board.moves else None
            self.console.print(ansi(self.board.stones, last), end="", markup=False)
            if self._message:
                self.console.print(self._message, markup=False)
            return
        self.console.clear()
        board, facts = draw(self.board, self._hints, dead), self._facts()
        if self.console.width < 2 * self.rules.size + 10 + _FACTS_WIDTH:
            self.console.print(board, facts)
            return
        grid = Table.grid(padding=(0, 3))
        grid.add_row(board, facts)
        self.console.print(grid)

    def _facts(self) -> Panel:
        """What stands beside the board."""
        board, stones = self.board, self.board.stones
        placed = {BLACK: len(self.setup), WHITE: 0}
        for colour, action in board.moves:
            placed[colour] += action < self.rules.size**2
        table = Table.grid(padding=(0, 2))
        for colour in (BLACK, WHITE):
            name = "you" if colour == self.colour else self.player.name
            turn = "▸" if colour == board.to_play and not board.over else " "
            taken = placed[3 - colour] - int((stones == 3 - colour).sum())
            stone = Text(" ● ", style=f"bold {_STONES[colour]} on {_WOOD}")
            table.add_row(turn, stone, Text(name), Text(f"{taken} captured", style="dim"))
        lines = Table.grid(padding=(0, 0))
        lines.add_row(table)
        lines.add_row("")
        about = f"move {len(board.moves) + 1} · komi {self.rules.komi:g}"
        lines.add_row(Text(about, style="dim"))
        if self._win_rate is not None:
            lines.add_row(_bar(self._win_rate))
        lines.add_row("")
        lines.add_row(Text(self._message))
        size = self.rules.size
        title = f"Go {size}×{size}"
        return Panel(lines, border_style="dim", width=_FACTS_WIDTH, title=title, padding=(1, 1))

    def _verdict(self) -> str:
        if self.result == "0":
            return "A draw."
        winner = BLACK if self.result[0] == "B" else WHITE
        who = "You win" if winner == self.colour else f"{self.player.name} wins"
        how = self.result[2:]
        return f"{who} by resignation." if how == "R" else f"{who} by {how} points ({self.result})."


def _bar(win_rate: float) -> Text:
    filled = round(20 * win_rate)
    text = Text().append("━" * filled, style="bold green")
    text.append("━" * (20 - filled), style="dim")
    return text.append(f" {100 * win_rate:.0f} % yours", style="dim")


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
