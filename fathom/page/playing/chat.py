"""A chat on the page: with a dialogue agent, its belief beside it, or with a fit of chit-chat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from envs.dialogue.transcript import frame_words
from fathom.errors import FathomError, printable
from fathom.page.playing.live import Message, Reply, text_in
from fathom.play.dialogue_session import LEFT, DialogueSession, clean
from fathom.runs.process import MISFITS, misfit

MOST_LINE = 1000
"""Characters of a person's line; what is more is left out."""
MOST_LINES = 400
"""Lines that a chat keeps."""


class _Chat:
    """The lines of a chat."""

    interval = None

    def __init__(self) -> None:
        self._lines: list[Message] = []

    def begin(self) -> Iterator[Reply]:
        yield self._state()

    def tick(self) -> Iterator[Reply]:
        return iter(())

    def close(self) -> None:
        return

    def _state(self) -> Message:
        return {"type": "chat", "lines": self._lines}

    def _say(self, by: str, text: str, heard: str = "") -> None:
        self._lines.append({"by": by, "text": printable(text), "heard": printable(heard)})
        del self._lines[:-MOST_LINES]


class DialogueChat(_Chat):
    """A chat with a dialogue agent: the person plays a user with a card.

    Args:
        new_session: makes a dialogue with another card.
    """

    def __init__(self, new_session: Callable[[], DialogueSession]) -> None:
        super().__init__()
        self._new_session = new_session
        self._begin()

    def _begin(self) -> None:
        self._session = self._new_session()
        self._lines = []
        self._say("agent", self._session.prompt)

    def handle(self, message: Message) -> Iterator[Reply]:
        session, what = self._session, message["do"]
        if what == "new":
            self._begin()
        elif what != "say":
            raise FathomError(f"there is nothing called {what[:40]!r} to do here")
        elif session.reason:
            raise FathomError("this dialogue is over: begin a new one")
        else:
            line = clean(text_in(message, "text")[:MOST_LINE])
            answer = session.say(line)
            heard = frame_words(answer.heard.frame) if answer.heard is not None else ""
            self._say("you", line, heard)
            if answer.text:
                self._say("agent", answer.text)
        yield self._state()

    def _state(self) -> Message:
        session = self._session
        goal = session.goal
        believed = [
            {
                "slot": one.slot.replace("_", " "),
                "best": one.best,
                "chance": round(one.chance, 3) if one.best else 0.0,
                "second": one.second if one.second_chance >= 0.005 else None,
                "second_chance": round(one.second_chance, 3),
                "affirmed": one.affirmed,
                "asked": one.question,
                "told": one.answer,
            }
            for one in session.beliefs()
        ]
        return {
            **super()._state(),
            "task": printable(session.env.domain.task),
            "card": [[slot.replace("_", " "), value] for slot, value in goal.constraints.items()],
            "questions": [slot.replace("_", " ") for slot in goal.questions],
            "beliefs": believed,
            "matches": session.matches,
            "rows": len(session.env.domain.rows),
            "over": bool(session.reason),
            "verdict": printable(session.verdict()) if session.reason else "",
            "success": session.reason == "success",
            "left": session.reason == LEFT,
        }


class SmallTalk(_Chat):
    """A chat with a fit of chit-chat, which answers each line by itself.

    Args:
        task: the fitted one.
    """

    def __init__(self, task: Any) -> None:
        super().__init__()
        self._task = task

    def handle(self, message: Message) -> Iterator[Reply]:
        what = message["do"]
        if what == "new":
            self._lines = []
        elif what == "say":
            line = clean(text_in(message, "text")[:MOST_LINE])
            if line:
                try:
                    answer = self._task.predict([line])[0]["answer"]
                except MISFITS as error:  # the metadata of another task
                    raise FathomError(f"the fit cannot answer: {misfit(error)}") from error
                self._say("you", line)
                self._say("agent", clean(answer))
        else:
            raise FathomError(f"there is nothing called {what[:40]!r} to do here")
        yield self._state()
