"""A dialogue for people: who said what in words, what the agent believes, and both written down.

As JSON Lines a dialogue is a line for the goal, one for everything that is said, and one for the end. A line
of a user's has `tokens`, `tags` and `intent` where these are known to be right: sentences to learn
understanding from (see `perception.data.sentences`).
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
    """What happened between two of the agent's decisions."""

    agent: AgentFrame | None
    """What the agent said; None where the user opens."""
    user: Frame | None
    """What the user said; None where the agent booked."""
    heard: Frame | None
    """What the agent understood of that."""
    confidence: float
    """And how sure it is, from 0 to 1."""
    sentence: Sentence | None = None
    """The user's words, where the language is text."""


@dataclass(frozen=True)
class Said:
    """Something said, in words."""

    text: str
    agent: AgentFrame | None = None
    """What it means, where the agent says it."""
    user: Frame | None = None
    """What it means, where the user does; None where nobody knows."""
    heard: Frame | None = None
    """What the agent understood."""
    confidence: float = 1.0
    """How surely it did."""
    sentence: Sentence | None = None
    """The user's words and what is known of them."""

    @property
    def by_agent(self) -> bool:
        """Who said it."""
        return self.agent is not None


@dataclass(frozen=True)
class Believed:
    """What the agent believes of a slot."""

    slot: str
    best: str | None
    """The value it takes for the most probable, or "any"; None where it has heard nothing."""
    chance: float
    """Of `best`, from 0 to 1."""
    second: str | None
    second_chance: float
    affirmed: bool
    """Whether the user affirmed `best`."""
    question: bool
    """Whether the user asked for the slot."""
    answer: str | None
    """What the agent told of it last."""


def in_words(domain: Domain, turns: Sequence[Turn]) -> list[Said]:
    """What was said; frames are put into words, always the same ones."""
    message = []
    for number, turn in enumerate(turns):
        if turn.agent is not None:
            rng = np.random.default_rng([number, 0])
            message.append(Said(agent_sentence(domain, turn.agent, rng), turn.agent))
        if turn.user is not None:
            sentence = turn.sentence
            if sentence is None:
                sentence = user_sentence(domain, turn.user, np.random.default_rng([number, 1]))
            text = text_of(sentence.tokens)
            message.append(Said(text, None, turn.user, turn.heard, turn.confidence, sentence))
    return message


def text_of(tokens: Iterable[str]) -> str:
    """Tokens as people write them."""
    text = re.sub(r" ([,.;:?!])(?= |$)", r"\1", " ".join(tokens))
    return text[:1].upper() + text[1:]


def beliefs(domain: Domain, state: DialogueState) -> list[Believed]:
    """What the agent believes of each slot."""
    result = []
    for number, slot in enumerate(domain.slots):
        first, second = (int(value) for value in state.values[:, number])
        mark = state.marks[number]
        told = int(mark[belief.TOLD])
        result.append(
            Believed(
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
    """A user's frame in a line."""
    parts = [f"{slot} {value}" for slot, value in frame.informs.items()]
    if frame.request is not None:
        parts.append(f"{frame.request}?")
    if frame.act not in ("inform", "request") or not parts:
        parts.insert(0, frame.act)
    return ", ".join(parts)


def goal_words(goal: Goal) -> str:
    """A goal in a line."""
    wishes = [f"{slot} {value}" for slot, value in goal.constraints.items()]
    return ", ".join([*wishes, *(f"{slot}?" for slot in goal.questions)])


def as_text(goal: Goal, said: Sequence[Said], reason: str) -> str:
    """A dialogue to be read; what was misheard stands under it.

    Args:
        reason: why it ended, "" if it has not.
    """
    lines = [f"goal   {goal_words(goal)}"]
    if goal.first_wish is not None:
        lines.append(f"       at first: {' '.join(goal.first_wish)}")
    lines.append("")
    for one in said:
        lines.append(f"{'agent' if one.by_agent else 'user':7}{one.text}")
        if one.heard is not None and one.heard != one.user:
            lines.append(f"       ({one.confidence:.2f}: {frame_words(one.heard)})")
    if reason:
        lines += ["", f"end    {reason}"]
    return "\n".join(lines) + "\n"


def as_json_lines(domain: Domain, goal: Goal, said: Sequence[Said], reason: str) -> str:
    """A dialogue for programs; see the module."""
    lines: list[dict[str, Any]] = [{"line": "goal", "domain": domain.name, **asdict(goal)}]
    for one in said:
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
    turns = sum(one.by_agent for one in said)
    lines.append({"line": "end", "success": reason == "success", "reason": reason, "turns": turns})
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
