"""A world as Stable-Baselines3 steps one, and its memories with whole transitions only.

SB3 takes worlds that reset in the very step that ends an episode; ours spend the next step on it. That
step is stepped through and counted, as it is for our own agents, but taken out of what SB3 learns from.
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

Observed = np.ndarray | dict[str, np.ndarray]
"""A batch of observations as SB3 takes them."""

# -- the world, as SB3 sees it ----------------------------------------------------------------------


def observations_for_sb3(observations: FlatObservation) -> Observed:
    """The parts of a tuple become a dictionary, which is what SB3 has networks for."""
    if isinstance(observations, tuple):
        return {str(i): part for i, part in enumerate(observations)}
    return observations


def _row(observations: Observed, rows: int | slice) -> Any:
    if isinstance(observations, dict):
        return {key: part[rows] for key, part in observations.items()}
    return observations[rows]


def _observation_space(space: gym.Space) -> gym.Space:
    if isinstance(space, spaces.Tuple):
        return spaces.Dict({str(i): part for i, part in enumerate(space.spaces)})
    return space


def _action_space(space: gym.Space) -> gym.Space:
    """The same actions, counted from 0 as SB3 does."""
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return spaces.MultiDiscrete(space.nvec)
    if isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
        return spaces.MultiBinary(space.n)
    if isinstance(space, spaces.Box) and space.is_bounded("both") and space.dtype.kind == "f":
        return space
    raise ValueError(
        f"Stable-Baselines3 cannot act in the action space {space}; Discrete, MultiDiscrete or "
        "MultiBinary in one dimension, or a Box of bounded real numbers would do"
    )


def policy_name(space: gym.Space) -> str:
    """SB3's network for an observation space.

    Raises:
        ValueError: an image among other parts is too small for the only CNN that SB3 has.
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
    """A vector environment that resets in the next step, as SB3's algorithms step one.

    Where an episode ends, the new observation is its own last and stands in
    `info["terminal_observation"]` too. The step after it only resets: its `info["valid"]` is False,
    and nothing may be learnt from it.

    Args:
        observation_space, action_space: of one environment; the observations plain.
        reward_clip: rewards are cut to ± this; 0 leaves them.
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
        self._first = getattr(action_space, "start", 0)
        self._dtype = action_space.dtype
        self.reward_clip = reward_clip
        self.seconds = 0.0
        """Spent in the environments since `connect`."""
        self.valid: list[np.ndarray] = []
        """(n,) bool for each step since it was last cleared."""
        self.finished: list[tuple[float, int]] = []
        """Return and length of the episodes that ended since it was last cleared."""

    def connect(self, env: VectorEnv, seed: int) -> None:
        """Step `env` from now on; its reset takes `seed`."""
        self._stream = Transitions(env)
        self._seed = seed
        self.seconds = 0.0
        self.finished = []

    def to_world(self, actions: np.ndarray) -> np.ndarray:
        """SB3's (n, …) actions as the world counts them."""
        return (actions + self._first).astype(self._dtype)

    def reset(self) -> Observed:  # type: ignore[override]
        """Reset every environment.

        Raises:
            Unsuitable: some actions are illegal here, which SB3 has no way to know.
        """
        began = perf_counter()
        observations = self._stream.reset(self._seed)
        self.seconds += perf_counter() - began
        if self._stream.action_masks is not None:
            raise UnsuitableEnvironmentError("Stable-Baselines3's algorithms take no action masks")
        return observations_for_sb3(observations)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = self.to_world(actions)

    def step_wait(self) -> tuple[Observed, np.ndarray, np.ndarray, list[dict]]:  # type: ignore[override]
        began = perf_counter()
        step = self._stream.step(self._actions)
        self.seconds += perf_counter() - began
        self.valid.append(step.valid)
        self.finished += self._stream.finished.values()
        observations = observations_for_sb3(step.next_observations)
        over = step.terminated | step.truncated
        infos: list[dict[str, Any]] = [{"valid": bool(valid)} for valid in step.valid]
        for i in np.flatnonzero(over):
            infos[i]["terminal_observation"] = _row(observations, int(i))
            infos[i]["TimeLimit.truncated"] = bool(step.truncated[i] and not step.terminated[i])
        # A copy, for SB3 adds the value that follows a truncation to it in place.
        rewards = step.rewards.copy()
        if self.reward_clip:
            rewards = rewards.clip(-self.reward_clip, self.reward_clip)
        return observations, rewards, over, infos

    def close(self) -> None:
        """Nothing: the environment belongs to the run."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """No environment is rendered through the bridge, and that is all SB3 asks for."""
        if attr_name != "render_mode":
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


# -- what is learnt from ----------------------------------------------------------------------------


def keep_valid(buffer: RolloutBuffer, valid: np.ndarray) -> int:
    """Leave only the valid steps in a full buffer, as though one environment had taken them.

    Advantages are worked out already, and none reaches across an episode's end.

    Args:
        valid: (length, n) bool.

    Returns:
        How many steps are left.
    """
    rows = np.flatnonzero(valid.swapaxes(0, 1))

    def kept(array: np.ndarray) -> np.ndarray:
        return buffer.swap_and_flatten(array)[rows]

    for name in ("observations", "actions", "values", "log_probs", "advantages", "returns"):
        part = getattr(buffer, name)
        setattr(
            buffer,
            name,
            {key: kept(array) for key, array in part.items()}
            if isinstance(part, dict)
            else kept(part),
        )
    buffer.buffer_size, buffer.n_envs = len(rows), 1
    buffer.generator_ready = True
    return len(rows)


class ValidOnly:
    """Puts the valid ones of n environments' transitions into a replay memory of one, in order."""

    def __init__(self, memory: ReplayBuffer) -> None:
        self.memory = memory

    def add(
        self,
        observations: Observed,
        next_observations: Observed,
        actions: np.ndarray,
        rewards: np.ndarray,
        dones: np.ndarray,
        infos: Sequence[dict[str, Any]],
    ) -> None:
        """What SB3 calls with each step; every argument has n entries."""
        for i, info in enumerate(infos):
            if info["valid"]:
                row = slice(i, i + 1)
                self.memory.add(
                    _row(observations, row),
                    _row(next_observations, row),
                    actions[row],
                    rewards[row],
                    dones[row],
                    [info],
                )
