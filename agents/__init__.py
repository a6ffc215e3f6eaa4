"""The learning algorithms, one file each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.agent import Agent

AGENTS: dict[str, str] = {
    "dqn": "agents.dqn:DQN",
    "reinforce": "agents.reinforce:REINFORCE",
    "a2c": "agents.a2c:A2C",
    "ppo": "agents.ppo:PPO",
}
"""Name on the command line, and where the class is; imported only when it is used."""


def load_agent(name: str) -> type[Agent]:
    """The agent's class by its command-line name; KeyError when there is none."""
    module, _, attribute = AGENTS[name].partition(":")
    return getattr(import_module(module), attribute)
