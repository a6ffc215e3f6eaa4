"""A conversation with a fit of chit-chat in the terminal; each line is answered by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from fathom.errors import FathomError
from fathom.play.dialogue_session import clean
from fathom.runs.process import MISFITS, misfit

if TYPE_CHECKING:
    from fathom.runs.run import Run

TASK = "chit-chat"
_LEAVING = ("quit", "exit", "q")


def is_chit_chat(run: Run) -> bool:
    """Whether a run is a fit that small talk can be made with."""
    return run.config.is_fit and run.config.task == TASK


class ChitChatTerminal:
    """Asks the person for lines and shows the answers.

    Args:
        task: the fitted one; its `predict` answers.
        ask: returns the person's next line; EOFError if there are no more.
    """

    def __init__(
        self, task: Any, console: Console | None = None, ask: Callable[[], str] | None = None
    ) -> None:
        self.task = task
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._ask = ask or (lambda: self.console.input("[bold]you[/]  "))

    def run(self) -> None:
        """Talk until the person leaves, by a word such as "quit" or the end of the input.

        Raises:
            FathomError: the task cannot answer.
        """
        self.console.print(Text("quit leaves.", style="dim"))
        while (line := self._line()) is not None:
            if line:
                try:
                    answer = self.task.predict([line])[0]["answer"]
                except MISFITS as error:  # the metadata of another task
                    raise FathomError(f"the fit cannot answer: {misfit(error)}") from error
                self.console.print(Text.assemble(("bot", "bold cyan"), "  ", clean(answer)))

    def _line(self) -> str | None:
        """The next line; None if the person leaves."""
        try:
            line = clean(self._ask())
        except EOFError:
            self.console.print()
            return None
        except UnicodeDecodeError:
            return "�"
        return None if line.lower().removeprefix("/") in _LEAVING else line
