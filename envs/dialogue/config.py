"""The arguments of the dialogue environments."""

import dataclasses
from typing import Annotated, Literal

import numpy as np
from gymnasium import spaces
from pydantic import Field
from pydantic.dataclasses import dataclass

from envs.arguments import STRICT, Probability, Whole
from envs.dialogue.belief import observation_size
from envs.dialogue.domain import Domain, DomainError
from envs.dialogue.domains import load_domain
from envs.dialogue.frames import AgentAct, agent_acts
from envs.dialogue.goals import TRIES, new_goal
from envs.dialogue.tables import DialogueTables, tables_of

Split = Literal["train", "test"]
Rule = Literal["worthy", "weak"]
Language = Literal["frames", "text"]


@dataclasses.dataclass(frozen=True, eq=False)
class DialogueParts:
    """The common parts of the single and the vector environment."""

    domain: Domain
    tables: DialogueTables
    acts: tuple[AgentAct, ...]

    @property
    def observation_space(self) -> spaces.Box:
        """The observation space of one environment; see `envs.dialogue.belief`."""
        return spaces.Box(0, 1, (observation_size(len(self.domain.slots)),), np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        """The action space of one environment; see `envs.dialogue.frames.agent_acts`."""
        return spaces.Discrete(len(self.acts))


@dataclass(frozen=True, config=STRICT)
class DialogueConfig:
    """The arguments of `Dialogue`. A wrong one raises a ValueError."""

    domain: str = "movie"
    """Name of a domain that ships, or path of a file; see `envs.dialogue.domains.load_domain`."""
    split: Split = "train"
    """The users' goals: those for training, or those held out."""
    slot_error: Probability = 0.0
    """Probability that a value is misheard."""
    intent_error: Probability = 0.0
    """Probability that an act is misheard."""
    max_turns: Annotated[Whole, Field(ge=1, le=100)] = 20
    """Turns of the agent after which a dialogue fails, 1 to 100."""
    rule: Rule = "worthy"
    """The rule agent behind `expert_action`; see `envs.dialogue.rules`."""
    language: Language = "frames"
    """"frames": the agent hears the users' frames; "text": what a model understands of their words; see
    `envs.dialogue.text`."""

    def load(self) -> DialogueParts:
        """Read the domain; DomainError if it cannot be used or has no goals of this split."""
        domain = load_domain(self.domain)
        tables = tables_of(
            domain, self.slot_error, self.intent_error, self.max_turns, self.split == "test"
        )
        row_set = np.zeros(tables.matches.shape[2], np.uint64)
        goal = np.zeros(len(domain.slots) + 2, np.int16)
        if not new_goal(tables, goal, row_set, np.zeros(1, np.uint64)):
            raise DomainError(
                f"the domain {self.domain} has no goals to {self.split} on: one goal in five is held out for"
                f" tests, and of {TRIES:,} that were drawn none belongs to that split; add"
                f" {'goals' if len(domain.goals) else 'rows, or slots with a constraint'}, so that there are"
                " ten different goals or more"
            )
        return DialogueParts(domain, tables, agent_acts(domain))
