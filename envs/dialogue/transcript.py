"""Transcripts: the messages of a dialogue in words, the agent's beliefs, and both as text and JSON lines.

As JSON lines a dialogue has a line for the goal, one for each message, and one for the end. A user's line has
`tokens`, `tags` and `intent` if these are known to be right, so slot filling can be trained on it (see
`perception.data.sentences`).
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from envs.dialogue import belief
from envs.dialogue.domain import NONE, Domain
from envs.dialogue.frames import AgentFrame, Frame, value_word
from envs.dialogue.goals import Goal
from envs.dialogue.phrases import Sentence, agent_sentence, user_sentence
from envs.dialogue.tables import DialogueState


@dataclass(frozen=True)
class Turn:
    """What both sides said between two decisions of the agent."""

    agent: AgentFrame | None
    """What the agent said; None if the user begins."""
    user: Frame | None
    """What the user said; None if the agent booked."""
    heard: Frame | None
    """What the agent heard of that."""
    confidence: float
    """Its confidence, from 0 to 1."""
    sentence: Sentence | None = None
    """The user's words, if the language is "text"."""


@dataclass(frozen=True)
class Message:
    """A message of either side, in words."""

    text: str
    agent: AgentFrame | None = None
    """The agent's frame, if it is the agent's message."""
    user: Frame | None = None
    """The user's frame, if it is the user's message and its meaning is known."""
    heard: Frame | None = None
    """What the agent heard."""
    confidence: float = 1.0
    """Its confidence, from 0 to 1."""
    sentence: Sentence | None = None
    """The user's words with their labels."""

    @property
    def by_agent(self) -> bool:
        """Whether it is the agent's message."""
        return self.agent is not None


@dataclass(frozen=True)
class SlotBelief:
    """The agent's belief about a slot."""

    slot: str
    best: str | None
    """The most probable value, or "any"; None if nothing was heard."""
    chance: float
    """The probability of `best`, from 0 to 1."""
    second: str | None
    second_chance: float
    affirmed: bool
    """Whether the user affirmed `best`."""
    question: bool
    """Whether the user asked for the slot."""
    answer: str | None
    """The value that the agent told last."""


def in_words(domain: Domain, turns: Sequence[Turn]) -> list[Message]:
    """Return the messages of some turns. The same frames always get the same words."""
    messages = []
    for number, turn in enumerate(turns):
        if turn.agent is not None:
            rng = np.random.default_rng([number, 0])
            messages.append(Message(agent_sentence(domain, turn.agent, rng), turn.agent))
        if turn.user is not None:
            sentence = turn.sentence
            if sentence is None:
                sentence = user_sentence(domain, turn.user, np.random.default_rng([number, 1]))
            text = text_of(sentence.tokens)
            messages.append(Message(text, None, turn.user, turn.heard, turn.confidence, sentence))
    return messages


def text_of(tokens: Iterable[str]) -> str:
    """Return tokens as a text with normal spaces and a capital letter."""
    text = re.sub(r" ([,.;:?!])(?= |$)", r"\1", " ".join(tokens))
    return text[:1].upper() + text[1:]


def beliefs(domain: Domain, state: DialogueState) -> list[SlotBelief]:
    """Return the agent's belief about each slot."""
    result = []
    for number, slot in enumerate(domain.slots):
        first, second = (int(value) for value in state.values[:, number])
        mark = state.marks[number]
        told = int(mark[belief.TOLD])
        result.append(
            SlotBelief(
                slot.name,
                None if first == NONE else value_word(domain, number, first),
                float(state.odds[0, number]),
                None if second == NONE else value_word(domain, number, second),
                float(state.odds[1, number]),
                bool(mark[belief.AFFIRMED]),
                bool(mark[belief.QUESTION]),
                None if told == belief.UNTOLD else value_word(domain, number, told),
            )
        )
    return result


def frame_words(frame: Frame) -> str:
    """Return a user's frame as one line."""
    parts = [f"{slot} {value}" for slot, value in frame.informs.items()]
    if frame.request is not None:
        parts.append(f"{frame.request}?")
    if frame.act not in ("inform", "request") or (frame.act == "request" and not parts):
        parts.insert(0, frame.act)
    return ", ".join(parts) or "no wish"


def goal_words(goal: Goal) -> str:
    """Return a goal as one line."""
    wishes = [f"{slot} {value}" for slot, value in goal.constraints.items()]
    return ", ".join([*wishes, *(f"{slot}?" for slot in goal.questions)])


def as_text(goal: Goal, messages: Sequence[Message], reason: str) -> str:
    """Return a dialogue as text; under a misheard message is what was heard.

    Args:
        reason: why it ended; "" if it has not.
    """
    lines = [f"goal   {goal_words(goal)}"]
    if goal.first_wish is not None:
        lines.append(f"       at first: {' '.join(goal.first_wish)}")
    lines.append("")
    for one in messages:
        lines.append(f"{'agent' if one.by_agent else 'user':7}{one.text}")
        if one.heard is not None and one.heard != one.user:
            lines.append(f"       ({one.confidence:.2f}: {frame_words(one.heard)})")
    if reason:
        lines += ["", f"end    {reason}"]
    return "\n".join(lines) + "\n"


def as_json_lines(domain: Domain, goal: Goal, messages: Sequence[Message], reason: str) -> str:
    """Return a dialogue as JSON lines; see the module."""
    lines: list[dict[str, Any]] = [{"line": "goal", "domain": domain.name, **asdict(goal)}]
    for one in messages:
        if one.agent is not None:
            lines.append({"line": "agent", "text": one.text, **asdict(one.agent)})
            continue
        line: dict[str, Any] = {"line": "user", "text": one.text}
        for name, frame in (("said", one.user), ("heard", one.heard)):
            line[name] = None if frame is None else asdict(frame)
        line["confidence"] = round(one.confidence, 4)
        if one.sentence is not None:
            line |= asdict(one.sentence)
        lines.append(line)
    turns = sum(one.by_agent for one in messages)
    lines.append({"line": "end", "success": reason == "success", "reason": reason, "turns": turns})
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
