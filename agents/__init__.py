"""The learning algorithms, one file each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.agent import Agent

AGENTS: dict[str, str] = {
    "value-iteration": "agents.value_iteration:ValueIteration",
    "q-learning": "agents.q_learning:QLearning",
    "planner": "agents.planner:Planner",
    "dqn": "agents.dqn:DQN",
    "reinforce": "agents.reinforce:REINFORCE",
    "a2c": "agents.a2c:A2C",
    "ppo": "agents.ppo:PPO",
    "dyna-q": "agents.dyna_q:DynaQ",
    "bc": "agents.bc:BC",
    "gail": "agents.gail:GAIL",
    "alphago": "agents.alphago:AlphaGo",
    "muzero": "agents.muzero:MuZero",
    "scripted": "agents.scripted:Scripted",
    "sb3-a2c": "agents.sb3:SB3A2C",
    "sb3-dqn": "agents.sb3:SB3DQN",
    "sb3-ppo": "agents.sb3:SB3PPO",
}
"""Names on the command line and their classes, which are imported only when used."""


PACKAGES = dict.fromkeys(("sb3-a2c", "sb3-dqn", "sb3-ppo"), "stable-baselines3")
"""Optional packages that agents need; the extra `sb3` installs them."""


class MissingPackageError(ImportError):
    """An agent needs a package that is not installed."""


def load_agent(name: str) -> type[Agent]:
    """The class of an agent by its name on the command line.

    Raises:
        KeyError: there is no agent of this name.
        MissingPackageError: the agent needs a package that is not installed; says how to install it.
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
