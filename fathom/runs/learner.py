"""The interface between the runner and what it trains: an agent in its environment, or a task with its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from agents.agent import AgentState, Metrics
from fathom.evaluation import Report, Result
from fathom.runs.checkpoint import Progress

ShouldStop = Callable[[], bool]


class Learner(Protocol):
    """Learns segment by segment; each segment is a pure function of the state before it.

    The runner seeds every global random generator before `segment`.
    """

    def segment(self, k: int, steps: int, seed: int) -> Iterator[Metrics]:
        """Learn for `steps` steps, the `k`-th segment.

        Every report has `steps`, those done in this segment. Whatever is random derives from `seed`
        or from the global generators, and does not outlive the segment.
        """
        ...

    def evaluate(self, should_stop: ShouldStop, report: Report) -> Result | None:
        """The score now; None where the run asks for none.

        Args:
            report: told how many episodes or examples are done, and of how many.

        Raises:
            Stopped: `should_stop` said so.
        """
        ...

    def state(self) -> AgentState:
        """All that the next segment needs: tensors and numbers only."""
        ...

    def load(self, state: AgentState) -> None:
        """Go back to a state.

        Raises:
            ValueError, KeyError: the state is of another learner.
        """
        ...

    def check_resume(self, progress: Progress) -> list[str]:
        """Called before training goes on.

        Returns:
            Warnings, a sentence each.

        Raises:
            FathomError: it cannot go on.
        """
        ...

    def finish(self, progress: Progress, message: Callable[[str], None]) -> None:
        """What follows the last checkpoint; harmless when it is done again."""
        ...
