"""A dialogue with an agent, in the terminal: a person takes the simulated user's place.

The person gets a card with a goal, one of those held out from training, and types what comes to mind; at
the end the card decides, as the simulated user would. A line that makes no sense is asked for again and
costs no turn.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.agent import Agent
from envs.dialogue import belief, user
from envs.dialogue.dialogue import Dialogue
from envs.dialogue.domain import NONE
from envs.dialogue.frames import TELL, AgentFrame, ints_of
from envs.dialogue.goals import Goal
from envs.dialogue.phrases import agent_sentence
from envs.dialogue.transcript import Said, as_json_lines, as_text, beliefs, frame_words
from envs.observations import ObservationFlattener
from fathom.errors import FathomError
from fathom.files import replace_file
from fathom.play.listening import Heard, Listener, speaks_for_itself
from fathom.runs import fit, training
from fathom.runs.run import Run
from perception.networks.slot_filling import IntentSlotModel
from perception.tasks.slot_filling import SlotFillingConfig

WORLD = "Fathom/Dialogue-v0"
PATIENCE = 5
"""Lines in a row that make no sense, after which the agent gives up."""
LEFT = "left"
"""Why a dialogue is over whose person went away."""
_KEPT = "understanding"
"""Folder in a run's own where what was fitted for chats stays."""
_SENTENCES, _EPOCHS = 4000, 5
_QUICK = SlotFillingConfig(
    embedding=48, buckets=2048, hidden_size=64, dropout=0.2, learning_rate=5e-3, average=0.97
)
"""Learns a domain's phrases in seconds."""
_BAR = 16
HELP = (
    ("help", "this list"),
    ("goal", "your card"),
    ("belief", "what the agent believes"),
    ("quit", "leave"),
)


class _Left(Exception):
    """The person went away."""


class Chat:
    """A person and an agent.

    Args:
        env: made with `split="test"`; the goal on the card is the one it draws.
        seed: of the card and of the agent's phrases.
        console: where it is shown.
        ask: gives the person's next line; EOFError when there are no more.
    """

    def __init__(
        self,
        agent: Agent,
        env: Dialogue,
        listener: Listener,
        seed: int,
        console: Console | None = None,
        ask: Callable[[], str] | None = None,
    ) -> None:
        self.agent, self.env, self.listener = agent, env, listener
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._ask = ask or (lambda: self.console.input("[bold]you[/]    "))
        self._rng = np.random.default_rng(seed)
        self._plain = ObservationFlattener(env.observation_space)
        env.reset(seed=seed)
        env.state.goal[-2:] = NONE  # people change their mind without being told to
        env.begin()
        self.goal: Goal = env.goal
        self.said: list[Said] = []
        self.reason = ""
        """Why it is over: one of `Dialogue.reasons`, or `LEFT`."""
        self._last: AgentFrame | None = None
        self._sentence = "Hello. What can I do for you?"
        self._missed = 0

    def run(self) -> str:
        """Talk to the end; gives why it is over."""
        self._show_goal()
        self._show(self._sentence)
        try:
            while not self.reason:
                heard = self._listen()
                if heard is not None:
                    self._answer(heard)
        except _Left:
            self.reason = LEFT
            self._show("Goodbye.")
        self.console.print(Text(self._verdict(), style="bold"))
        return self.reason

    def save(self, path: Path) -> None:
        """Write the dialogue so far, as JSON lines and to be read; FathomError where that cannot be."""
        env = self.env
        texts = {
            ".jsonl": as_json_lines(env.domain, self.goal, self.said, self.reason),
            ".txt": as_text(self.goal, self.said, self.reason),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for ending, text in texts.items():
                replace_file(path.with_suffix(ending), text.encode())
        except OSError as error:
            raise FathomError(f"{path} cannot be written: {error.strerror}") from None

    # -- turns --------------------------------------------------------------------------------

    def _listen(self) -> Heard | None:
        """Take a line; None where it was a command, or the agent has to ask again."""
        line = self._line()
        commands = {
            "help": self._help,
            "?": self._help,
            "goal": self._show_goal,
            "belief": self._show_belief,
        }
        word = line.strip().lower().removeprefix("/")
        if word in ("quit", "exit", "q"):
            raise _Left
        if word in commands:
            commands[word]()
            return None
        heard = self.listener.hear(line, self._last)
        if heard is None:
            self._miss(line)
            return None
        self._missed = 0
        sentence = heard.sentence if self._can_be_learnt(heard) else None
        text = " ".join(heard.sentence.tokens)
        self.said.append(
            Said(_clean(line) or text, None, None, heard.frame, heard.confidence, sentence)
        )
        self.console.print(Text(f"       heard: {frame_words(heard.frame)}", style="dim"))
        return heard

    def _line(self) -> str:
        try:
            return self._ask()
        except EOFError:
            raise _Left from None
        except UnicodeDecodeError:
            return "�"

    def _miss(self, line: str) -> None:
        """Ask again, but not for ever."""
        self._missed += 1
        text = _clean(line)
        if text:
            self.said.append(Said(text))
        if self._missed >= PATIENCE:
            self._show("I am afraid that we do not understand each other.")
            raise _Left
        message = "Sorry, I did not get that." if text else "Are you there?"
        self._show(f"{message} {self._sentence}{self._example() if self._missed > 1 else ''}")

    def _example(self) -> str:
        """What one may say, where the agent has asked for something."""
        if self._last is None or self._last.kind != "request" or self._last.slot is None:
            return ""
        values = self.env.domain.slots[self.env.domain.index(self._last.slot)].values
        some = self._rng.choice(len(values), min(2, len(values)), replace=False)
        return f" (For example: {', '.join(values[number] for number in some)}.)"

    def _answer(self, heard: Heard) -> None:
        """Let the agent hear, and then speak."""
        env, numbers = self.env, self.env.state.numbers
        env.listen(ints_of(env.domain, heard.frame), heard.confidence)
        if numbers[belief.TURNS] >= env.config.max_turns:
            self.reason = env.reasons[user.TOO_LONG]
            return
        observation, mask = env.observation()
        starts = np.array([self._last is None])
        action = self.agent.act(self._plain(observation[None]), mask[None], starts, self._rng)[0]
        self._last = env.speak(int(action))
        self._sentence = agent_sentence(env.domain, self._last, self._rng)
        self.said.append(Said(self._sentence, self._last))
        self._show(self._sentence)
        if self._last.kind == "inform":
            # The simulated user notes the answer on the card's behalf; what it would say is not heard.
            slot, value = int(numbers[belief.SLOT]), int(numbers[belief.VALUE])
            user.reply(env.tables, env.state, TELL, slot, value)
        elif self._last.kind == "book":
            self.reason = env.reasons[user.judge(env.tables, env.state, int(numbers[belief.ROW]))]

    def _can_be_learnt(self, heard: Heard) -> bool:
        """Whether the words surely mean what was heard: it is what the card says, and needs no context."""
        goal, frame = self.goal, heard.frame
        right = all(
            goal.constraints.get(slot, "any") == value for slot, value in frame.informs.items()
        )
        asked = frame.request is None or frame.request in goal.questions
        return right and asked and speaks_for_itself(self.env.domain, heard)

    # -- what is shown ------------------------------------------------------------------------

    def _show(self, sentence: str) -> None:
        self.console.print(Text.assemble(("agent", "bold cyan"), "  ", sentence))

    def _help(self) -> None:
        grid = Table.grid(padding=(0, 2))
        for word, meaning in HELP:
            grid.add_row(Text(word, style="bold"), meaning)
        self.console.print(grid)

    def _show_goal(self) -> None:
        grid = Table.grid(padding=(0, 2))
        for slot, value in self.goal.constraints.items():
            grid.add_row(_name(slot), Text(value, style="bold"))
        for slot in self.goal.questions:
            grid.add_row(_name(slot), Text("ask for it", style="yellow"))
        title = f"Your card: {self.env.domain.task}"
        self.console.print(Panel(grid, title=Text(title), title_align="left", expand=False))
        self.console.print(
            Text("What is not on the card does not matter. help lists the commands.", style="dim")
        )

    def _show_belief(self) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for title in ("slot", "best", "", "second", "", "notes"):
            table.add_column(title)
        for one in beliefs(self.env.domain, self.env.state):
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
        rows = len(self.env.domain.rows)
        matches = int(self.env.state.numbers[belief.MATCHES])
        self.console.print(Text(f"{matches} of {rows} rows fit", style="dim"))

    def _verdict(self) -> str:
        """Why it ended, in a sentence."""
        kind, _, slot = self.reason.partition(": ")
        if self.reason == "success":
            return "Success: that is what your card asks for."
        if self.reason == LEFT:
            return "You left before anything was booked."
        if kind == "too long":
            return f"Failed: nothing was booked within {self.env.config.max_turns} turns."
        booked = (self._last.row if self._last is not None else None) or {}
        name, has = slot.replace("_", " "), booked.get(slot, "unknown")
        if kind == "question unanswered":
            return f"Failed: you were to ask for the {name}, and were not told."
        if kind == "answered from another row":
            return (
                f"Failed: what you were told of the {name} is not that of what was booked, {has}."
            )
        return f"Failed: your card says {name} {self.goal.constraints[slot]}, and it was booked for {has}."


def _name(slot: str) -> Text:
    return Text(slot.replace("_", " "))


def _clean(line: str) -> str:
    """A line as it can be shown and stored: nothing but what can be printed, and not too much."""
    text = "".join(sign if sign.isprintable() else " " for sign in line[:1000])
    return " ".join(text.split())


# -- runs -----------------------------------------------------------------------------------------


def is_dialogue(run: Run) -> bool:
    """Whether a run's agent can be talked to."""
    return run.settings.environment.rpartition(":")[2] == WORLD


def chat_with(
    run: Run, understanding: Run | None, seed: int, device: str, warn: Callable[[str], None]
) -> Chat:
    """A chat with the agent of a run.

    Args:
        understanding: a fit of slot-filling; by default the one the run itself listens with, else one
            that is fitted to its domain's phrases now and kept in the run's folder.

    Raises:
        FathomError: one of the runs is no use for that.
    """
    agent, world, _ = training.trained_agent(run, warn, device)
    made: Any = world.make_single(None)
    env: Dialogue = made.unwrapped
    if understanding is not None:
        model = fit.understanding(understanding.folder)
    elif env.words is not None:
        model = fit.understanding(Path(str(world.env_args["understanding"])))
    else:
        model = _own_understanding(run, env.config.domain)
    unknown = set(model.tags) - {
        "O",
        *(f"{b}-{one.name}" for one in env.domain.slots for b in "BI"),
    }
    if unknown:
        raise FathomError(
            f"that understanding was not fitted to the domain {env.domain.name}: it finds"
            f" {sorted(unknown)[0][2:]}"
        )
    return Chat(agent, env, Listener(env.domain, model), seed)


def new_transcript(run: Run) -> Path:
    """A file for a chat with a run, named after the time."""
    return run.folder / "chats" / f"{datetime.now():%Y-%m-%d-%H%M%S-%f}.jsonl"


def _own_understanding(run: Run, domain: str) -> IntentSlotModel:
    """What was fitted to a run's domain before, or is now."""
    flags = fit.FitFlags(
        data=f"domain:{domain}",
        sentences=_SENTENCES,
        epochs=_EPOCHS,
        name=_KEPT,
        device="cpu",
        threads=torch.get_num_threads(),
    )
    settings = fit.settings_of("slot-filling", flags, _QUICK)
    with contextlib.ExitStack() as stack:
        home = run.folder
        if not os.access(home, os.W_OK):
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kept = home / _KEPT
        if kept.exists():
            there = None
            with contextlib.suppress(FathomError):
                there = Run.open(kept)
            if there is not None and there.settings.protocol == settings.protocol:
                fit.fit(there)  # to its end, if it was interrupted
                return fit.understanding(kept)
            shutil.rmtree(kept)  # of another domain, or of the same with other phrases
        fit.fit(Run.create(home, _KEPT, settings))
        return fit.understanding(kept)
