"""A game by keyboard on the page: pictures and the agent's values, at the game's own speed or step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fathom.errors import FathomError, printable
from fathom.inspection.subject import AgentSubject
from fathom.page.playing.live import Message, Reply, number_in, with_pictures
from fathom.play.keyboard_session import KeyboardSession

MOST_STEPS_A_SECOND = 60.0
MOST_HELD = 10
"""Keys that count as held at a time."""
SALIENCY = ("", "gradient", "occlusion")
"""What may be shown of what the agent looks at: nothing, or by which method."""
LONGEST_SIDE = 640
"""Larger pictures are sent smaller."""


class GameTable:
    """A game that a person and an agent play in turns.

    A game with an action that does nothing runs by itself while the person plays; any other waits for a key. What
    the agent plays runs by itself.

    Args:
        subject: to see what the agent looks at; or why that cannot be seen.
    """

    def __init__(self, session: KeyboardSession, subject: AgentSubject | str) -> None:
        self.session = session
        self._subject = subject
        self._person_plays = True
        self._paused = False
        self._speed = 1.0
        self._held: list[str] = []
        self._saliency = ""
        self._largest = 1e-12

    @property
    def interval(self) -> float | None:
        waits = self._person_plays and self.session.idle is None
        if self._paused or waits or self.session.moment.end:
            return None
        return 1 / min(MOST_STEPS_A_SECOND, self.session.frames_a_second * self._speed)

    def begin(self) -> Iterator[Reply]:
        session = self.session
        yield {
            "type": "game",
            "name": printable(session.environment.reference),
            "actions": [printable(name) for name in session.names],
            "keys": [[list(key.keys), key.action] for key in session.keys],
            "waits": session.idle is None,
            "agent": session.agent is not None,
            "score_kind": session.score_kind,
            "no_saliency": self._subject if isinstance(self._subject, str) else "",
            "frames_a_second": session.frames_a_second,
        }
        yield self._frame()

    def tick(self) -> Iterator[Reply]:
        if self._person_plays:
            action = self.session.action_for(self._held)
            self.session.step(self.session.idle if action is None else action)
        else:
            self.session.step()
        yield self._frame()

    def close(self) -> None:
        self.session.close()

    def handle(self, message: Message) -> Iterator[Reply]:
        session, what = self.session, message["do"]
        if what == "keys":
            if not self._hold(message):
                return
        elif what == "act":
            action = int(number_in(message, "action", 0, len(session.names) - 1, 0))
            self._person_plays = True
            session.step(action)
        elif what == "hand over":
            if session.agent is None:
                raise FathomError("there is no agent here that could play")
            self._person_plays, self._held = not self._person_plays, []
        elif what == "pause":
            self._paused = not self._paused
        elif what == "step":  # one step of the agent's
            session.step()
        elif what == "new":
            session.reset()
            self._paused = False
        elif what == "speed":
            self._speed = float(number_in(message, "speed", 0.1, 8, 1))
        elif what == "saliency":
            self._show_saliency(message.get("kind"))
        else:
            raise FathomError(f"there is nothing called {what[:40]!r} to do here")
        yield self._frame()

    def _hold(self, message: Message) -> bool:
        """Note which keys are held; a game that waits takes a step. Gives whether there is something to show."""
        held = message.get("held")
        if not isinstance(held, list) or not all(isinstance(key, str) for key in held):
            raise FathomError("held is a list of keys")
        self._held = held[:MOST_HELD]
        if not message.get("pressed") or self._paused or not self._person_plays:
            return False
        action = self.session.action_for(self._held)
        if self.session.idle is not None or action is None:
            return False
        self.session.step(action)
        return True

    def _show_saliency(self, kind: object) -> None:
        if kind not in SALIENCY:
            raise FathomError("saliency is shown by gradient or by occlusion, or not at all")
        if kind and isinstance(self._subject, str):
            raise FathomError(self._subject)
        self._saliency, self._largest = str(kind), 1e-12

    def _frame(self) -> bytes:
        moment = self.session.moment
        message: Mapping[str, object] = {
            "type": "frame",
            "steps": moment.steps,
            "return": _finite(moment.episode_return),
            "reward": _finite(moment.reward),
            "end": moment.end,
            "legal": moment.legal if not all(moment.legal) else None,
            "choice": moment.choice,
            "scores": moment.scores and [_finite(score) for score in moment.scores],
            "person": self._person_plays,
            "paused": self._paused,
        }
        pictures = [_small(moment.picture)]
        if self._saliency and not moment.end:
            pictures.append(self._attended())
        return with_pictures(message, pictures)

    def _attended(self) -> np.ndarray:
        """The agent's newest frame with what it looks at, (height, width, 3) uint8."""
        from fathom.inspection.episodes import attended

        assert isinstance(self._subject, AgentSubject)
        observations = self.session.observations
        picture, most = attended(self._subject, observations, self._saliency, self._largest)
        self._largest = most
        return picture


def _finite(number: float) -> float | None:
    return round(number, 5) if np.isfinite(number) else None


def _small(picture: np.ndarray) -> np.ndarray:
    """A picture with every k-th pixel, so that its sides are short enough to be sent."""
    every = -(-max(picture.shape[:2]) // LONGEST_SIDE)
    return picture[::every, ::every]
