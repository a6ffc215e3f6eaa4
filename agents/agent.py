"""What every learning algorithm is to the rest of Fathom.

A run is a chain of segments. Each segment is a pure function of the checkpoint it starts from, the
run's seed and its own number, so an agent keeps nothing random between two calls of `train`, and
everything else it needs is in its `AgentState`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv

from envs.observations import FlatObservation

Metrics = dict[str, float]

ExpertAction = Callable[[FlatObservation, np.ndarray | None], np.ndarray]
"""A world's rule of thumb: plain observations of n environments and their (n, actions) bool masks, if
it has such, to (n,) actions."""


class UnsuitableEnvironmentError(ValueError):
    """An environment turned out, at its first reset, to be one that the agent cannot learn in."""


@dataclass
class AgentState:
    """What a checkpoint holds: tensors and numbers only, so that loading it can execute nothing."""

    weights: dict[str, torch.Tensor]
    """The network that acts: all that evaluation needs."""
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    """What else the next segment needs, such as the target network and the optimizer's moments."""
    numbers: dict[str, int | float] = field(default_factory=dict)
    """Counters."""


@dataclass(frozen=True)
class RunContext:
    """What a run tells its agent about the place where it learns."""

    num_envs: int = 1
    segment_steps: int = 1
    """Agent steps in one segment, summed over the environments."""
    total_steps: int = 1
    """Agent steps in the whole run."""
    frame_stack: int = 0
    """How many planes of an image observation are a stack of frames, newest last; 0: none are."""
    storage: Path | None = None
    """Folder for bulky memory-mapped memory; None for an agent that only acts."""
    device: str = "cpu"
    expert_action: ExpertAction | None = None
    """What the world's own rules would do, where it has any."""


class Agent(ABC):
    """Learns to act in one environment."""

    Config: ClassVar[type]
    """A frozen dataclass: its fields are the command-line flags, their docstrings the help."""

    notice: ClassVar[str] = ""
    """What the agent cannot promise and others can, told before it trains; empty: nothing."""

    @abstractmethod
    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Any,
        context: RunContext,
    ) -> None:
        """Build the networks.

        The observation space is plain, as `envs.observations` makes it.

        Raises:
            ValueError: the agent cannot act in these spaces, or a hyperparameter makes no sense.
        """

    @abstractmethod
    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        """Learn for one segment of `steps` agent steps and yield metrics on the way.

        The environments are reset with `seed`, from which all other randomness derives too.
        Every report has `steps` (done in this segment) and the seconds spent so far in
        `time/environment`, `time/acting` and `time/learning`.

        Raises:
            Unsuitable: the environment asks for something that the agent does not know.
        """

    @abstractmethod
    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Choose actions for a batch: the policy that is evaluated, recorded and played against.

        Args:
            observations: plain, of n environments.
            action_masks: (n, actions) bool, or None where all actions are legal.
            starts: (n,) bool, where an episode starts; an agent that remembers the call before
                forgets it there.
            rng: draws what is random.
        """

    def annotate(
        self, env: gym.Env, observations: FlatObservation, action_masks: np.ndarray | None
    ) -> None:
        """Let the next picture of an environment show what the agent thinks, where it can.

        Args:
            env: a single environment, made for recording.
            observations, action_masks: as for `act`, of this one.
        """
        return

    @abstractmethod
    def state(self) -> AgentState:
        """What the next segment needs; flushes what lies in the storage folder."""

    @abstractmethod
    def load(self, state: AgentState) -> None:
        """Go back to a state.

        Raises:
            ValueError: the state is of another network or another environment.
        """

    @classmethod
    def storage_bytes(
        cls,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Any,
        context: RunContext,
    ) -> int:
        """Disk that the storage folder will need, in bytes: nothing, unless an agent says otherwise.

        Raises:
            ValueError: main memory has no room for what the agent keeps there.
        """
        return 0


def linear_schedule(start: float, end: float, duration: int, step: int) -> float:
    """Linear from `start` at step 0 to `end` at `duration`, constant after it."""
    return start + (end - start) * min(1.0, step / max(1, duration))


def episode_metrics(finished: Sequence[tuple[float, int]]) -> Metrics:
    """Means of the returns and lengths of the episodes that ended; nothing of none."""
    if not finished:
        return {}
    returns, lengths = np.array(finished).T
    return {"episode_return": float(returns.mean()), "episode_length": float(lengths.mean())}


def generator(seed: int) -> np.random.Generator:
    """What an agent draws from while environments run that were reset with `seed`.

    Not `default_rng(seed)`: environment 0 of Gymnasium has that, and no action may tell what it drew.
    """
    return np.random.default_rng([seed, 1])


def check_numbers(
    config: object,
    positive: tuple[str, ...] = (),
    not_negative: tuple[str, ...] = (),
    shares: tuple[str, ...] = (),
) -> None:
    """Raise ValueError unless these fields of a config are finite and above 0, not below 0, in 0…1."""
    for names, fits, what in (
        (positive, lambda value: 0 < value < math.inf, "above 0"),
        (not_negative, lambda value: 0 <= value < math.inf, "0 or above"),
        (shares, lambda value: 0 <= value <= 1, "in 0…1"),
    ):
        for name in names:
            if not fits(getattr(config, name)):
                raise ValueError(f"{name} must be {what}, not {getattr(config, name)}")
