"""The one place that knows about autoreset.

A Gymnasium vector environment in next-step mode gives an episode's true last observation, and then
spends one step, whose action it ignores, on the reset. `Transitions` turns that stream into whole
transitions and marks the steps that only reset. See "Vector environments and autoreset" in the
Gymnasium documentation.
"""

from dataclasses import dataclass

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv


@dataclass(frozen=True)
class Transition:
    """One step of n environments."""

    observations: np.ndarray
    """(n, …) what the actions were chosen from."""
    actions: np.ndarray
    """(n,)"""
    rewards: np.ndarray
    """(n,) float32, raw."""
    next_observations: np.ndarray
    """(n, …) the episode's true last observation where it ended."""
    terminated: np.ndarray
    """(n,) bool: nothing follows; the value of the next observation is 0."""
    truncated: np.ndarray
    """(n,) bool: cut off; the value of the next observation is bootstrapped."""
    valid: np.ndarray
    """(n,) bool: False where the step only reset its environment."""


class Transitions:
    """Steps a vector environment and gives whole transitions.

    Args:
        env: in `AutoresetMode.NEXT_STEP`. With `metadata["life_loss"]` true, a termination with
            lives left (`info["lives"]`) ends an episode for the learner while the game goes on.
    """

    def __init__(self, env: VectorEnv) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.NEXT_STEP:
            raise ValueError(f"the vector environment must reset in the next step, not in {mode}")
        self.env = env
        self.finished: list[tuple[float, int]] = []
        """Return and length of the games that ended in the last step."""
        self.action_masks: np.ndarray | None = None
        """(n, actions) bool for the current observations, where the environment gives masks."""
        self.observations: np.ndarray = np.empty(0)

    def reset(self, seed: int) -> np.ndarray:
        """Reset every environment; environment i gets `seed + i`."""
        observations, info = self.env.reset(seed=seed)
        n = self.env.num_envs
        self.observations = np.array(observations)
        self.action_masks = _masks(info)
        self._resetting = np.zeros(n, dtype=bool)
        self._returns = np.zeros(n)
        self._lengths = np.zeros(n, dtype=np.int64)
        self.finished = []
        return self.observations

    def step(self, actions: np.ndarray) -> Transition:
        """Take one step in every environment."""
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        rewards = np.asarray(rewards, dtype=np.float32)
        terminated = np.asarray(terminated, dtype=bool)
        truncated = np.asarray(truncated, dtype=bool)
        valid = ~self._resetting
        transition = Transition(
            self.observations,
            actions,
            rewards,
            np.array(observations),
            terminated & valid,
            truncated & valid,
            valid,
        )
        over = (terminated | truncated) & valid
        if self.env.metadata.get("life_loss"):
            over &= truncated | (info["lives"] == 0)
        self._returns += np.where(valid, rewards, 0)
        self._lengths += valid
        self.finished = [
            (float(self._returns[i]), int(self._lengths[i])) for i in np.flatnonzero(over)
        ]
        self._returns[over] = 0
        self._lengths[over] = 0
        self._resetting = over
        self.observations = transition.next_observations
        self.action_masks = _masks(info)
        return transition


def _masks(info: dict) -> np.ndarray | None:
    masks = info.get("action_mask")
    if masks is None:
        return None
    # Gymnasium pads what an environment left out; no legal action at all then means "all are".
    masks = np.array([np.asarray(mask, dtype=bool) for mask in masks])
    masks[~masks.any(axis=1)] = True
    return masks
