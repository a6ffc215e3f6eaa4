"""What can be asked of a dialogue, checked."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from gymnasium import spaces

from envs.dialogue.belief import observation_size
from envs.dialogue.domain import Domain, DomainError
from envs.dialogue.domains import load_domain
from envs.dialogue.frames import AgentAct, agent_acts
from envs.dialogue.goals import TRIES, new_goal
from envs.dialogue.tables import DialogueTables, tables_of
from envs.hooks import WorldError

Split = Literal["train", "test"]
Rule = Literal["worthy", "weak"]
Language = Literal["frames", "text"]


@dataclass(frozen=True, eq=False)
class RunContext:
    """What single and vector environment are made of."""

    domain: Domain
    tables: DialogueTables
    acts: tuple[AgentAct, ...]

    @property
    def observation_space(self) -> spaces.Box:
        """Of one environment; see `envs.dialogue.belief`."""
        return spaces.Box(0, 1, (observation_size(len(self.domain.slots)),), np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        """Of one environment; see `envs.dialogue.frames.agent_acts`."""
        return spaces.Discrete(len(self.acts))


@dataclass(frozen=True)
class DialogueConfig:
    """The arguments of `Dialogue`; raises WorldError with a sentence where they make no dialogue."""

    domain: str = "movie"
    """A domain that ships, by its name, or the path of a file; see `envs.dialogue.domains.load_domain`."""
    split: Split = "train"
    """Which goals users have: those to train on, or those held out."""
    slot_error: float = 0.0
    """Share of the values that are misheard."""
    intent_error: float = 0.0
    """Share of the acts that are misheard."""
    max_turns: int = 20
    """Turns of the agent after which a dialogue has failed, 1 to 100."""
    rule: Rule = "worthy"
    """The rule agent that `expert_action` speaks for; see `envs.dialogue.rules`."""
    language: Language = "frames"
    """Whether the agent hears what users mean, or what is understood of their words; see
    `envs.dialogue.text`."""

    def __post_init__(self) -> None:
        _check_choice("split", self.split, get_args(Split))
        _check_choice("rule", self.rule, get_args(Rule))
        _check_choice("language", self.language, get_args(Language))
        for name in ("slot_error", "intent_error"):
            if not 0 <= getattr(self, name) <= 1:
                raise WorldError(f"{name} must lie in 0…1, not {getattr(self, name)}")
        turns = self.max_turns
        if isinstance(turns, bool) or not isinstance(turns, int) or not 1 <= turns <= 100:
            raise WorldError(f"max_turns must be a whole number from 1 to 100, not {turns}")

    def load(self) -> RunContext:
        """Read the domain; raises `DomainError` where that is no use, or has no goals of this split."""
        domain = load_domain(self.domain)
        tables = tables_of(
            domain, self.slot_error, self.intent_error, self.max_turns, self.split == "test"
        )
        result = np.zeros(tables.matches.shape[2], np.uint64)
        goal = np.zeros(len(domain.slots) + 2, np.int16)
        if not new_goal(tables, goal, result, np.zeros(1, np.uint64)):
            raise DomainError(
                f"the domain {self.domain} has no goals to {self.split} on: {TRIES:,} were drawn, and"
                f" none is among those kept for that"
            )
        return RunContext(domain, tables, agent_acts(domain))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise WorldError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
