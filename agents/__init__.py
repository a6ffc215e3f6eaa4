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
    "dyna-q": "agents.dyna_q:DynaQ",
    "alphago": "agents.alphago:AlphaGo",
    "scripted": "agents.scripted:Scripted",
    "sb3-a2c": "agents.sb3:SB3A2C",
    "sb3-dqn": "agents.sb3:SB3DQN",
    "sb3-ppo": "agents.sb3:SB3PPO",
}
"""Name on the command line, and where the class is; imported only when it is used."""


PACKAGES = dict.fromkeys(("sb3-a2c", "sb3-dqn", "sb3-ppo"), "stable-baselines3")
"""The package that an agent needs and Fathom comes without; Fathom's extra `sb3` brings it."""


class MissingPackageError(ImportError):
    """An agent needs a package that is not installed."""


def load_agent(name: str) -> type[Agent]:
    """The agent's class by its command-line name.

    Raises:
        KeyError: there is none of this name.
        MissingPackage: with a sentence that tells how to install what the agent needs.
    """
    module, _, attribute = AGENTS[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        package = PACKAGES.get(name)
        missing = (error.name or "").partition(".")[0]
        if package is None or missing != package.replace("-", "_"):
            raise
        raise MissingPackageError(
            f"{name} needs {package}, which is not installed; "
            'install it with: pip install "fathom-rl[sb3]"'
        ) from error
