"""A dialogue between a person and an agent, without a screen.

The person takes the simulated user's place: a card shows one of the goals held out from training, and at the
end the card decides about success, as the simulated user would. A line that makes no sense costs no turn:
the agent asks again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.agent import Agent
from envs.dialogue import belief, user
from envs.dialogue.dialogue import Dialogue
from envs.dialogue.domain import NONE
from envs.dialogue.frames import ANY_WORD, TELL, AgentFrame, ints_of
from envs.dialogue.goals import Goal
from envs.dialogue.phrases import agent_sentence
from envs.dialogue.transcript import Message, SlotBelief, as_json_lines, as_text, beliefs
from envs.dialogue.words import is_printable
from envs.observations import ObservationFlattener
from fathom.errors import FathomError
from fathom.files import replace_file
from fathom.play.listening import Heard, Listener, speaks_for_itself
from fathom.play.runs import slot_filling_model, trained_agent
from fathom.play.understanding import understanding_for

if TYPE_CHECKING:
    from fathom.runs.run import Run

ENVIRONMENT = "Fathom/Dialogue-v0"
PATIENCE = 5
"""Lines in a row that make no sense, after which the agent gives up."""
_MOST_OPTIONS = 8
"""Values of a slot that are named when somebody asks for the options."""
_REPEAT = (
    "repeat", "repeat that", "say that again", "say it again", "again", "can you repeat that", "come again", "pardon",
    "what did you say", "could you repeat that", "i beg your pardon",
)  # fmt: skip
_RESTART = (
    "restart", "start over", "start again", "let's start over", "begin again", "from the beginning", "new search",
    "let's start again", "reset",
)  # fmt: skip
_CANCEL = (
    "cancel",
    "cancel that",
    "cancel it",
    "abort",
    "i give up",
    "forget it",
    "i want to cancel",
)
_HELP = (
    "help me",
    "can you help me",
    "i need help",
    "what can you do",
    "what can i say",
    "how does this work",
)
_OPTIONS = (
    "options", "what are my options", "what are the options", "what options are there", "what options do i have",
    "like what", "which ones are there", "what is there", "what can i choose", "what are the choices",
    "what choices do i have", "what choices are there", "show options", "list options",
)  # fmt: skip
_FEW = 3
"""Values, and slots, that are named when nothing fits."""
_REFUSES = re.compile(r"\s*(no|nope|nah|not|wait|change|wrong|stop|don.?t)\b", re.IGNORECASE)
_TO_BOOK = AgentFrame("inform")
"""What a yes or a no to "Shall I book it?" is heard after: yes, ok, "book it" accept, as after an offer."""
LEFT = "left"
"""The reason for the end if the person left."""


@dataclass(frozen=True)
class Answer:
    """What a line led to."""

    heard: Heard | None
    """What was understood of it; None if it made no sense."""
    text: str
    """What the agent says; empty if the dialogue is over."""


class DialogueSession:
    """A dialogue between a person and an agent.

    Args:
        env: made with `split="test"`; the card shows the goal that it draws.
        seed: of the card and of the agent's phrases.
    """

    def __init__(self, agent: Agent, env: Dialogue, listener: Listener, seed: int) -> None:
        self.env = env
        self._agent, self._listener = agent, listener
        self._rng = np.random.default_rng(seed)
        self._flatten = ObservationFlattener(env.observation_space)
        env.reset(seed=seed)
        env.state.goal[-2:] = NONE  # no first wish: people change their mind without being told to
        env.begin()
        self.goal: Goal = env.goal
        """What the card says."""
        self.messages: list[Message] = []
        """What both have said."""
        self.reason = ""
        """Why it is over: one of `Dialogue.reasons`, or `LEFT`; empty while it goes on."""
        self.last: AgentFrame | None = None
        """The agent's last act."""
        self.prompt = "Hello. What can I do for you?"
        """What the agent said last."""
        self.booking = False
        """Whether the agent has said what it would book and waits for a yes."""
        self._missed = self._summaries = 0

    def say(self, line: str) -> Answer:
        """Take the person's line and let the agent answer.

        Lines about the conversation itself ("repeat", "start over") and the answer to "Shall I book it?" cost no turn.
        """
        manner = self._manner(line)
        if manner is not None:
            self.messages.append(Message(clean(line)))
            return Answer(None, manner)
        heard = self._listener.hear(line, _TO_BOOK if self.booking else self.last)
        if self.booking and (heard is None or not heard.frame.informs):
            accepts = heard is not None and heard.frame.act in ("bye", "affirm")
            if accepts or _REFUSES.match(line) or (heard is not None and heard.frame.act == "deny"):
                self.messages.append(
                    Message(clean(line), None, None, None if heard is None else heard.frame)
                )
                return Answer(heard, self._decided(accepts, line))
        if heard is None:
            return Answer(None, self._ask_again(line))
        if self.booking and heard.frame.act == "deny":
            heard = replace(heard, frame=replace(heard.frame, act="inform"))
        self._missed = 0
        sentence = heard.sentence if self.is_example(heard) else None
        text = clean(line) or " ".join(heard.sentence.tokens)
        self.messages.append(Message(text, None, None, heard.frame, heard.confidence, sentence))
        return Answer(heard, self._answer(heard))

    def leave(self) -> None:
        """End the dialogue without a booking."""
        self.reason = LEFT

    def beliefs(self) -> list[SlotBelief]:
        """Return what the agent believes of each slot."""
        return beliefs(self.env.domain, self.env.state)

    @property
    def matches(self) -> int:
        """How many rows of the knowledge base fit what the agent believes."""
        return int(self.env.state.numbers[belief.MATCHES])

    def verdict(self) -> str:
        """Return why the dialogue ended, as a sentence for the person."""
        kind, _, slot = self.reason.partition(": ")
        if self.reason == "success":
            return "Success: that is what your card asks for."
        if self.reason == LEFT:
            return "You left before anything was booked."
        if kind == "too long":
            return f"Failed: nothing was booked within {self.env.config.max_turns} turns."
        booked = (self.last.row if self.last is not None else None) or {}
        name, value = slot.replace("_", " "), booked.get(slot, "unknown")
        if kind == "question unanswered":
            return f"Failed: you were to ask for the {name}, and were not told."
        if kind == "answered from another row":
            return f"Failed: the {name} that you were told is not that of what was booked, {value}."
        wanted = self.goal.constraints[slot]
        return f"Failed: your card says {name} {wanted}, and it was booked for {value}."

    def is_example(self, heard: Heard) -> bool:
        """Whether a line can be learnt from: it means what the card says, without any context."""
        goal, frame = self.goal, heard.frame
        as_on_card = all(
            goal.constraints.get(slot, "any") == value for slot, value in frame.informs.items()
        )
        asked = frame.request is None or frame.request in goal.questions
        return as_on_card and asked and speaks_for_itself(self.env.domain, heard)

    def save(self, path: Path) -> None:
        """Write the dialogue as JSON lines, and as text beside it; FathomError if that fails."""
        texts = {
            ".jsonl": as_json_lines(self.env.domain, self.goal, self.messages, self.reason),
            ".txt": as_text(self.goal, self.messages, self.reason),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for ending, text in texts.items():
                replace_file(path.with_suffix(ending), text.encode())
        except OSError as error:
            raise FathomError(f"{path} cannot be written: {error.strerror}") from None

    def _manner(self, line: str) -> str | None:
        """Return what is said to a line about the conversation itself; None if it is none."""
        words = " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)?", line.lower().replace("’", "'")))
        words = words.removeprefix("please ").removesuffix(" please")
        if words in _REPEAT:
            return f"I said: {self.prompt}"
        if words in _RESTART:
            self.env.begin()
            self.last, self.booking, self._summaries = None, False, 0
            self.prompt = "Let us start again. What can I do for you?"
            return self.prompt
        if words in _CANCEL:
            self.leave()
            return "I have booked nothing."
        if words in _HELP:
            names = [slot.name.replace("_", " ") for slot in self.env.domain.slots]
            return (
                f"I can {self.env.domain.task}. Tell me what you want, or ask: {', '.join(names)}."
                " Say options, repeat, start over or cancel at any time."
            )
        if words in _OPTIONS and self.last is not None and self.last.kind == "no_match":
            return self.prompt
        if words in _OPTIONS and self.last is not None and self.last.slot is not None:
            values = self.env.domain.slots[self.env.domain.index(self.last.slot)].values
            more = (
                f", and {len(values) - _MOST_OPTIONS} more" if len(values) > _MOST_OPTIONS else ""
            )
            return f"There is {', '.join(values[:_MOST_OPTIONS])}{more}. {self.prompt}"
        return None

    def _ways_out(self) -> str:
        """Return what there would be if one wish were different, or the wishes."""
        domain = self.env.domain
        wanted = {
            one.slot: one.best
            for one in self.beliefs()
            if one.best not in (None, ANY_WORD) and domain.slots[domain.index(one.slot)].column
        }
        found: dict[str, dict[str, None]] = {}
        for number in range(len(domain.rows)):
            row = domain.row(number)
            wrong = [slot for slot, value in wanted.items() if row.get(slot) != value]
            if len(wrong) == 1 and wrong[0] in row:
                found.setdefault(wrong[0], {})[row[wrong[0]]] = None
        ways = [
            f"with another {slot.replace('_', ' ')}: {', '.join([*values][:_FEW])}"
            for slot, values in found.items()
        ]
        if ways:
            return f" There is something {'; '.join(ways[:_FEW])}."
        wishes = ", ".join(f"{slot.replace('_', ' ')} {value}" for slot, value in wanted.items())
        return f" You wish: {wishes}. What may be different?" if wishes else ""

    def _decided(self, yes: bool, line: str) -> str:
        """Book what was summed up, or ask what should change."""
        self.booking = False
        if yes:
            book = next(number for number, act in enumerate(self.env.acts) if act.kind == "book")
            return self._speak(book)
        text = f" {clean(line).lower()} "
        told = [act.slot for act in self.env.acts if act.kind == "request"]
        names = [self.env.domain.slots[slot].name for slot in told]
        slot = next((name for name in names if f" {name.replace('_', ' ')}" in text), None)
        if slot is not None:
            self.last = AgentFrame("request", slot)
            self.prompt = self._sentence(self.last)
        else:
            self.prompt = "What should be different?"
        return self.prompt

    def _summary(self) -> str:
        """Return what the agent would book, as a question."""
        domain, numbers = self.env.domain, self.env.state.numbers
        row = domain.row(int(numbers[belief.ROW]))
        known = {one.slot: one for one in self.beliefs()}
        parts = []
        for slot in domain.slots:
            one = known[slot.name]
            value = row.get(slot.name) if slot.column else one.best
            said = one.best is not None or one.answer is not None
            if value is not None and said:
                parts.append(f"{slot.name.replace('_', ' ')} {value}")
        return f"That is {', '.join(parts)}. Shall I book it?"

    def _sentence(self, frame: AgentFrame) -> str:
        """Return a sentence for the agent's frame, another one than the last if there is one."""
        for _ in range(8):
            text = agent_sentence(self.env.domain, frame, self._rng)
            if text != self.prompt:
                return text
        return f"Once more: {text}"

    def _ask_again(self, line: str) -> str:
        """Repeat the last question, with examples from the second time on; in the end, give up."""
        self._missed += 1
        text = clean(line)
        if text:
            self.messages.append(Message(text))
        if self._missed >= PATIENCE:
            self.leave()
            return "I am afraid that we do not understand each other."
        apology = "Sorry, I did not get that." if text else "Are you there?"
        return f"{apology} {self.prompt}{self._examples() if self._missed > 1 else ''}"

    def _examples(self) -> str:
        """Return some values of the slot that the agent asked for."""
        if self.last is None or self.last.kind != "request" or self.last.slot is None:
            return ""
        values = self.env.domain.slots[self.env.domain.index(self.last.slot)].values
        some = self._rng.choice(len(values), min(2, len(values)), replace=False)
        return f" (For example: {', '.join(values[number] for number in some)}.)"

    def _answer(self, heard: Heard) -> str:
        """Let the agent hear, act and speak."""
        env, numbers = self.env, self.env.state.numbers
        env.listen(ints_of(env.domain, heard.frame), heard.confidence)
        # What was summed up and not booked counts as a turn too.
        if numbers[belief.TURNS] + self._summaries >= env.config.max_turns:
            self.reason = env.reasons[user.TOO_LONG]
            return ""
        observation, mask = env.observation()
        episode_starts = np.array([self.last is None])
        flat = self._flatten(observation[None])
        action = int(self._agent.act(flat, mask[None], episode_starts, self._rng)[0])
        self.booking = env.acts[action].kind == "book" and int(numbers[belief.ROW]) != NONE
        if not self.booking:
            return self._speak(action)
        self._summaries += 1
        self.prompt = self._summary()
        return self.prompt

    def _speak(self, action: int) -> str:
        """Let the agent act."""
        env, numbers = self.env, self.env.state.numbers
        self.last = env.speak(action)
        self.prompt = self._sentence(self.last)
        if self.last.kind == "no_match":
            self.prompt += self._ways_out()
        self.messages.append(Message(self.prompt, self.last))
        if self.last.kind == "inform":
            # The simulated user notes the answer for the card; its own reply is not used.
            slot, value = int(numbers[belief.SLOT]), int(numbers[belief.VALUE])
            user.reply(env.tables, env.state, TELL, slot, value)
        elif self.last.kind == "book":
            self.reason = env.reasons[user.judge(env.tables, env.state, int(numbers[belief.ROW]))]
        return self.prompt


def clean(line: str) -> str:
    """Return a line without what cannot be printed, and not too long."""
    text = "".join(sign if is_printable(sign) else " " for sign in line[:1000])
    return " ".join(text.split())


def is_dialogue(run: Run) -> bool:
    """Whether a run's agent can be talked to."""
    return run.config.environment.rpartition(":")[2] == ENVIRONMENT


def dialogue_with(
    run: Run,
    understanding: Run | None,
    seed: int,
    device: str,
    warn: Callable[[str], None],
    checkpoint: str = "latest",
) -> DialogueSession:
    """Return a session with the agent of a run.

    Args:
        understanding: a fit of slot-filling that reads the person's lines. By default the one that the run
            was trained with; if there is none, one that is fitted to the run's domain.

    Raises:
        FathomError: one of the runs cannot be used for that.
    """
    agent, environment = trained_agent(run, warn, device, checkpoint)
    made: Any = environment.make_single(None)
    env: Dialogue = made.unwrapped
    if understanding is not None:
        model = slot_filling_model(understanding)
    elif env.words is not None:
        model = env.words.model
    else:
        model = understanding_for(env.config.domain)
    unknown = set(model.tags) - {
        "O",
        *(f"{part}-{slot.name}" for slot in env.domain.slots for part in "BI"),
    }
    if unknown:
        raise FathomError(
            f"that understanding was not fitted to the domain {env.domain.name}: it finds"
            f" {sorted(unknown)[0][2:]}"
        )
    return DialogueSession(agent, env, Listener(env.domain, model), seed)
