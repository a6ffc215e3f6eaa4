"""Between Fathom's vector environments and Stable-Baselines3: the environment and its memories.

SB3 expects environments that reset in the step that ends an episode; ours reset in the next one. That
step is taken and counted, as by our own agents, and left out of what SB3 learns from.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv

from agents.agent import UnsuitableEnvironmentError
from envs.observations import FlatObservation
from envs.vector import Transitions
from perception.networks.encoders import is_image

Observation = np.ndarray | dict[str, np.ndarray]
"""A batch of observations as SB3 takes them."""


def observations_for_sb3(observations: FlatObservation) -> Observation:
    """A tuple becomes a dictionary, for which SB3 has networks."""
    if isinstance(observations, tuple):
        return {str(i): part for i, part in enumerate(observations)}
    return observations


def _rows(observations: Observation, rows: int | slice | np.ndarray) -> Any:
    if isinstance(observations, dict):
        return {key: part[rows] for key, part in observations.items()}
    return observations[rows]


def _observation_space(space: gym.Space) -> gym.Space:
    if isinstance(space, spaces.Tuple):
        return spaces.Dict({str(i): part for i, part in enumerate(space.spaces)})
    return space


def _action_space(space: gym.Space) -> gym.Space:
    """The same actions, numbered from 0."""
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return spaces.MultiDiscrete(space.nvec)
    if isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
        return spaces.MultiBinary(space.n)
    if isinstance(space, spaces.Box) and space.is_bounded("both") and space.dtype.kind == "f":
        return space
    raise ValueError(
        "Stable-Baselines3 needs an action space of Discrete, one-dimensional MultiDiscrete or"
        f" MultiBinary, or a bounded Box of floats, and this environment has {space}"
    )


def policy_name(space: gym.Space) -> str:
    """SB3's network for an observation space.

    Raises:
        ValueError: an image among other parts is too small for SB3's CNN.
    """
    if isinstance(space, spaces.Dict):
        for part in space.spaces.values():
            if is_image_space(part) and not is_image(part):
                raise ValueError(
                    "Stable-Baselines3 needs images of at least 36×36 beside other observations, "
                    f"not {part}"
                )
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(space) and is_image(space) else "MlpPolicy"


class Bridge(VecEnv):
    """A vector environment in next-step autoreset mode as SB3's VecEnv.

    The step after the end of an episode only resets: its `info["valid"]` is False, and nothing may be
    learnt from it.

    Args:
        observation_space, action_space: of one environment; the observations flat.
        reward_clip: rewards are clipped to ± this; 0: no clipping.
    """

    def __init__(
        self,
        num_envs: int,
        observation_space: gym.Space,
        action_space: gym.Space,
        reward_clip: float,
    ) -> None:
        super().__init__(
            num_envs, _observation_space(observation_space), _action_space(action_space)
        )
        self._first_action = getattr(action_space, "start", 0)
        self._action_dtype = action_space.dtype
        self.reward_clip = reward_clip
        self.seconds = 0.0
        """Spent in the environments since `connect`."""
        self.valid: list[np.ndarray] = []
        """(n,) bool of each step since it was last cleared."""
        self.finished: list[tuple[float, int]] = []
        """Return and length of the episodes finished since it was last cleared."""

    def connect(self, env: VectorEnv, seed: int) -> None:
        """Step `env` from now on; its reset takes `seed`."""
        self._transitions = Transitions(env)
        self._env_seed = seed
        self.seconds = 0.0
        self.finished = []

    def to_env_actions(self, actions: np.ndarray) -> np.ndarray:
        """SB3's (n, …) actions in the form of the environment's action space."""
        return (actions + self._first_action).astype(self._action_dtype)

    def reset(self) -> Observation:  # type: ignore[override]
        """Reset every environment.

        Raises:
            UnsuitableEnvironmentError: the environment has action masks, which SB3 does not support.
        """
        began = perf_counter()
        observations = self._transitions.reset(self._env_seed)
        self.seconds += perf_counter() - began
        if self._transitions.action_masks is not None:
            raise UnsuitableEnvironmentError("Stable-Baselines3's algorithms take no action masks")
        return observations_for_sb3(observations)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = self.to_env_actions(actions)

    def step_wait(self) -> tuple[Observation, np.ndarray, np.ndarray, list[dict]]:  # type: ignore[override]
        began = perf_counter()
        step = self._transitions.step(self._actions)
        self.seconds += perf_counter() - began
        self.valid.append(step.valid)
        self.finished += self._transitions.finished.values()
        observations = observations_for_sb3(step.next_observations)
        dones = step.terminated | step.truncated
        infos: list[dict[str, Any]] = [{"valid": bool(valid)} for valid in step.valid]
        for i in np.flatnonzero(dones):
            infos[i]["terminal_observation"] = _rows(observations, int(i))
            infos[i]["TimeLimit.truncated"] = bool(step.truncated[i] and not step.terminated[i])
        # A copy: SB3 adds the value of the last observation to it where an episode is truncated.
        rewards = step.rewards.copy()
        if self.reward_clip:
            rewards = rewards.clip(-self.reward_clip, self.reward_clip)
        return observations, rewards, dones, infos

    def close(self) -> None:
        """Nothing: the environment belongs to the caller."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name != "render_mode":  # all that SB3 asks for
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


def keep_valid(buffer: RolloutBuffer, valid: np.ndarray) -> int:
    """Keep only the valid steps of a full buffer, as if one environment had taken them.

    The advantages are computed already, and none reaches across the end of an episode.

    Args:
        valid: (length, n) bool.

    Returns:
        the number of steps that are left.
    """
    rows = np.flatnonzero(valid.swapaxes(0, 1))
    for name in ("observations", "actions", "values", "log_probs", "advantages", "returns"):
        part = getattr(buffer, name)
        if isinstance(part, dict):
            part = {key: buffer.swap_and_flatten(array) for key, array in part.items()}
        else:
            part = buffer.swap_and_flatten(part)
        setattr(buffer, name, _rows(part, rows))
    buffer.buffer_size, buffer.n_envs = len(rows), 1
    buffer.generator_ready = True
    return len(rows)


class ValidOnly:
    """Adds the valid transitions of n environments to a replay memory for one, in order."""

    def __init__(self, memory: ReplayBuffer) -> None:
        self.memory = memory

    def add(
        self,
        observations: Observation,
        next_observations: Observation,
        actions: np.ndarray,
        rewards: np.ndarray,
        dones: np.ndarray,
        infos: Sequence[dict[str, Any]],
    ) -> None:
        """Called by SB3 with each step of n environments."""
        for i, info in enumerate(infos):
            if info["valid"]:
                row = slice(i, i + 1)
                self.memory.add(
                    _rows(observations, row),
                    _rows(next_observations, row),
                    actions[row],
                    rewards[row],
                    dones[row],
                    [info],
                )
