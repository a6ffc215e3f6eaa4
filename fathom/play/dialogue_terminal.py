"""The terminal view of a dialogue with an agent."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from envs.dialogue.transcript import frame_words
from fathom.play.dialogue_session import LEFT, DialogueSession

COMMANDS = (
    ("help", "this list"),
    ("goal", "your card"),
    ("belief", "what the agent believes"),
    ("quit", "leave"),
)
_BAR = 16


class DialogueTerminal:
    """Shows a session and asks the person.

    Args:
        ask: returns the person's next line; EOFError if there are no more.
    """

    def __init__(
        self,
        session: DialogueSession,
        console: Console | None = None,
        ask: Callable[[], str] | None = None,
    ) -> None:
        self.session = session
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._ask = ask or (lambda: self.console.input("[bold]you[/]    "))

    def run(self) -> str:
        """Talk to the end and return the reason for it."""
        session = self.session
        self._show_goal()
        self._show(session.prompt)
        while not session.reason:
            self._handle(self._line())
        if session.reason == LEFT:
            self._show("Goodbye.")
        self.console.print(Text(session.verdict(), style="bold"))
        return session.reason

    def _handle(self, line: str | None) -> None:
        """Do a command, or say a line to the agent."""
        session = self.session
        word = "quit" if line is None else line.strip().lower().removeprefix("/")
        commands = {
            "help": self._help,
            "?": self._help,
            "goal": self._show_goal,
            "belief": self._show_beliefs,
            "quit": session.leave,
            "exit": session.leave,
            "q": session.leave,
        }
        if line is None or word in commands:
            commands[word]()
            return
        answer = session.say(line)
        if answer.heard is not None:
            words = frame_words(answer.heard.frame)
            self.console.print(Text(f"       heard: {words}", style="dim"))
        if answer.text:
            self._show(answer.text)

    def _line(self) -> str | None:
        """Ask for a line; None if there are no more."""
        try:
            return self._ask()
        except EOFError:
            return None
        except UnicodeDecodeError:
            return "�"

    def _show(self, sentence: str) -> None:
        self.console.print(Text.assemble(("agent", "bold cyan"), "  ", sentence))

    def _help(self) -> None:
        grid = Table.grid(padding=(0, 2))
        for word, meaning in COMMANDS:
            grid.add_row(Text(word, style="bold"), meaning)
        self.console.print(grid)

    def _show_goal(self) -> None:
        goal, grid = self.session.goal, Table.grid(padding=(0, 2))
        for slot, value in goal.constraints.items():
            grid.add_row(_name(slot), Text(value, style="bold"))
        for slot in goal.questions:
            grid.add_row(_name(slot), Text("ask for it", style="yellow"))
        title = f"Your card: {self.session.env.domain.task}"
        self.console.print(Panel(grid, title=Text(title), title_align="left", expand=False))
        self.console.print(
            Text("What is not on the card does not matter. help lists the commands.", style="dim")
        )

    def _show_beliefs(self) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for title in ("slot", "best", "", "second", "", "notes"):
            table.add_column(title)
        for one in self.session.beliefs():
            notes = ["affirmed"] if one.affirmed else []
            if one.question:
                notes.append("asked" if one.answer is None else "answered")
            if one.answer is not None:
                notes.append(f"told {one.answer}")
            filled = round(_BAR * one.chance) if one.best else 0
            bar = Text("█" * filled, style="green").append("░" * (_BAR - filled), style="dim")
            second = one.second if one.second_chance >= 0.005 else None
            table.add_row(
                _name(one.slot),
                Text(one.best or ""),
                bar.append(f" {one.chance:.0%}" if one.best else ""),
                Text(second or ""),
                f"{one.second_chance:.0%}" if second else "",
                Text(", ".join(notes), style="dim"),
            )
        self.console.print(table)
        rows = len(self.session.env.domain.rows)
        self.console.print(Text(f"{self.session.matches} of {rows} rows fit", style="dim"))


def _name(slot: str) -> Text:
    return Text(slot.replace("_", " "))
