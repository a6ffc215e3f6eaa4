"""The terminal view of a game of Go.

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
from envs.go.board import BLACK, WHITE, Board
from envs.go.rendering import ansi, stars
from envs.go.vertices import COLUMNS
from fathom.errors import FathomError
from fathom.play.go_session import HINTS, GoSession

_WOOD, _LINE, _STAR = "#dcb26a", "#8f6d38", "#4a3413"
_STONES = {BLACK: "#0e0e12", WHITE: "#ffffff"}
_LAST = "#c8281e"
_HINT_COLOURS = ("#1463c4", "#177d4c", "#7a4db3")
_FACTS_WIDTH, _LEAST_WIDTH = 40, 32


def new_console() -> Console:
    """Return a console on standard output."""
    return Console(highlight=False, soft_wrap=True)


def busy(console: Console, what: str) -> contextlib.AbstractContextManager[object]:
    """Show on a terminal that something takes a while."""
    if not console.is_terminal:
        return contextlib.nullcontext()
    return console.status(Text(f"{what} …", style="dim"))


def draw(
    board: Board,
    hints: Sequence[Candidate] = (),
    dead: set[int] | frozenset[int] = frozenset(),
) -> Text:
    """Return the board in colours: brackets around the last stone, numbers on hints, crosses on dead stones."""
    size, stones, marked = board.rules.size, board.stones, set(stars(board.rules.size))
    last = board.moves[-1][1] if board.moves else size * size
    numbers = {hint.action: k for k, hint in enumerate(hints[:HINTS])}
    letters = Text("    " + " ".join(COLUMNS[:size]) + "\n", style="dim")
    text = Text().append_text(letters)  # a copy would be dim all over
    for row in range(size):
        text.append(f"{size - row:2} ", style="dim")
        # One sign between two points, and one at either end of the row.
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
                text.append(str(k + 1), style=f"bold #ffffff on {_HINT_COLOURS[k]}")
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


class GoTerminal:
    """Shows a session and asks the person.

    Args:
        ask: returns the person's next line; EOFError if there are no more.
    """

    def __init__(
        self,
        session: GoSession,
        console: Console | None = None,
        ask: Callable[[], str] | None = None,
    ) -> None:
        self.session = session
        self.console = console or new_console()
        self._ask = ask or (lambda: self.console.input("[bold]your move[/] [dim](or help)[/] "))

    def run(self) -> str:
        """Play to the end and return the result, empty if the person left before."""
        session = self.session
        while session.turn != "over":
            if session.turn == "person":
                self._show()
                line = self._line()
                if line is not None and line.strip().lower().startswith("save"):
                    self._save(line.strip()[4:].strip())
                    continue
                thinks = line is not None and line.strip().lower() == "hint"
                with self._thinking() if thinks else contextlib.nullcontext():
                    session.leave() if line is None else session.handle(line)
            elif session.turn == "player":
                if self._colourful:
                    self._show()
                with self._thinking():
                    session.reply()
            else:
                self._show()
                text = "Do you agree? [bold]y[/]es, or [bold]n[/]o to play on: "
                self.console.print(text, end="")
                line = self._line()
                answer = "" if line is None else line.strip().lower()
                if line is None:
                    session.leave()
                elif answer in ("y", "yes", "n", "no"):
                    session.agree(answer.startswith("y"))
        if session.result:
            self._show()
            self.console.print(Text(session.verdict(), style="bold"))
        return session.result

    def _save(self, name: str) -> None:
        """Write the game so far to a new file."""
        path = Path(name)
        try:
            if not name:
                raise FathomError("save needs a file, as in `save game.sgf`")
            if path.exists():
                raise FathomError(f"{name} exists already: choose another file")
            self.session.save(path)
        except (FathomError, OSError) as error:
            self.session.message = str(error)
        else:
            self.session.message = f"Saved as {name}."

    def _line(self) -> str | None:
        """Ask for a line; None if there are no more."""
        try:
            return self._ask()
        except EOFError:
            return None
        except UnicodeDecodeError:
            return "�"

    def _thinking(self) -> contextlib.AbstractContextManager[object]:
        return busy(self.console, f"{self.session.player.name} is thinking")

    @property
    def _colourful(self) -> bool:
        return self.console.is_terminal and self.console.color_system is not None

    def _show(self) -> None:
        session, board = self.session, self.session.board
        if not self._colourful:
            last = board.moves[-1][1] if board.moves else None
            self.console.print(ansi(board.stones, last), end="", markup=False)
            if session.message:
                self.console.print(session.message, markup=False)
            return
        self.console.clear()
        drawn, facts = draw(board, session.hints, session.dead), self._facts()
        if self._facts_width < _LEAST_WIDTH:
            self.console.print(drawn, facts)
            return
        grid = Table.grid(padding=(0, 1))
        grid.add_row(drawn, facts)
        self.console.print(grid)

    @property
    def _facts_width(self) -> int:
        """Columns beside the board."""
        return min(_FACTS_WIDTH, self.console.width - 2 * self.session.rules.size - 8)

    def _facts(self) -> Panel:
        """Return the panel beside the board: players, captures, move, komi, win rate, message."""
        session, board = self.session, self.session.board
        size = session.rules.size
        placed = {BLACK: len(session.setup), WHITE: 0}
        for colour, action in board.moves:
            placed[colour] += action < size**2
        table = Table.grid(padding=(0, 2))
        for colour in (BLACK, WHITE):
            name = "you" if colour == session.colour else session.player.name
            turn = "▸" if colour == board.to_play and not board.over else " "
            captured = placed[3 - colour] - int((board.stones == 3 - colour).sum())
            stone = Text(" ● ", style=f"bold {_STONES[colour]} on {_WOOD}")
            table.add_row(turn, stone, Text(name), Text(f"{captured} captured", style="dim"))
        lines = Table.grid(padding=(0, 0))
        lines.add_row(table)
        lines.add_row("")
        about = f"move {len(board.moves) + 1} · komi {session.rules.komi:g}"
        lines.add_row(Text(about, style="dim"))
        if session.win_rate is not None:
            lines.add_row(_bar(session.win_rate))
        lines.add_row("")
        lines.add_row(Text(session.message))
        title = f"Go {size}×{size}"
        beside = self._facts_width >= _LEAST_WIDTH
        width = self._facts_width if beside else _FACTS_WIDTH
        return Panel(lines, border_style="dim", width=width, title=title, padding=(1, 1))


def _bar(win_rate: float) -> Text:
    filled = round(16 * win_rate)
    text = Text().append("━" * filled, style="bold green")
    text.append("━" * (16 - filled), style="dim")
    return text.append(f" {100 * win_rate:.0f} % yours", style="dim")
