"""The one place that knows about autoreset.

A Gymnasium vector environment in next-step mode gives an episode's true last observation, and then
spends one step, whose action it ignores, on the reset. `Transitions` turns that stream into whole
transitions and marks the steps that only reset. See "Vector environments and autoreset" in the
Gymnasium documentation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from envs.observations import FlatObservation, ObservationFlattener


class BrokenEnvironmentError(ValueError):
    """An environment gave NaN, an infinite number, or action masks only now and then."""


@dataclass(frozen=True)
class Transition:
    """One step of n environments."""

    observations: FlatObservation
    """(n, …) what the actions were chosen from."""
    actions: np.ndarray
    """(n, …)"""
    rewards: np.ndarray
    """(n,) float32, raw."""
    next_observations: FlatObservation
    """(n, …) the episode's true last observation where it ended."""
    terminated: np.ndarray
    """(n,) bool: nothing follows; the value of the next observation is 0."""
    truncated: np.ndarray
    """(n,) bool: cut off; the value of the next observation is bootstrapped."""
    valid: np.ndarray
    """(n,) bool: False where the step only reset its environment."""


class Transitions:
    """Steps a vector environment and gives whole transitions, with observations as plain arrays.

    Args:
        env: in `AutoresetMode.NEXT_STEP`. With `metadata["life_loss"]` true, a termination with
            lives left (`info["lives"]`) ends an episode for the learner while the game goes on.

    Raises:
        BrokenEnvironment: by `reset`, `step_wait` and `step`, for an observation or a reward that is not
            finite, and where action masks come with some steps and not with others.
    """

    def __init__(self, env: VectorEnv) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.NEXT_STEP:
            raise ValueError(f"the vector environment must reset in the next step, not in {mode}")
        self.env = env
        self._background = hasattr(env, "send") and hasattr(env, "recv")  # as ALE's and EnvPool's
        self._plain = ObservationFlattener(env.single_observation_space)
        self.starts = np.ones(env.num_envs, dtype=bool)
        """(n,) bool: whether the current observation is its episode's first."""
        self.finished: dict[int, tuple[float, int]] = {}
        """Return and length of the games that ended in the last step, by environment."""
        self.action_masks: np.ndarray | None = None
        """(n, actions) bool for the current observations, where the environment gives masks."""
        self.info: dict[str, Any] = {}
        """The vector environment's latest."""
        self.observations: FlatObservation = np.empty(0)

    def reset(self, seed: int) -> FlatObservation:
        """Reset every environment; environment i gets `seed + i`."""
        observations, info = self.env.reset(seed=seed)
        n = self.env.num_envs
        self._steps = 0
        self.observations = self._checked(observations)
        self.action_masks, self.info = self._legal(info), info
        self.starts = np.ones(n, dtype=bool)
        self._resetting = np.zeros(n, dtype=bool)
        self._lives = np.array(info.get("lives", np.full(n, np.inf)))
        self._returns = np.zeros(n)
        self._lengths = np.zeros(n, dtype=np.int64)
        self.finished = {}
        return self.observations

    def step(self, actions: np.ndarray) -> Transition:
        """Take one step in every environment."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: np.ndarray) -> None:
        """Begin a step in every environment; those with threads of their own take it meanwhile."""
        self._actions = actions
        if self._background:
            self.env.send(actions)  # type: ignore[attr-defined]

    def step_wait(self) -> Transition:
        """End the step that `step_async` began."""
        self._steps += 1
        actions = self._actions
        result = self.env.recv() if self._background else self.env.step(actions)  # type: ignore[attr-defined]
        observations, rewards, terminated, truncated, info = result
        rewards = np.array(rewards, dtype=np.float32)  # the environment may use its own again
        if not np.isfinite(rewards).all():
            raise self._invalid("reward", rewards)
        terminated = np.asarray(terminated, dtype=bool)
        truncated = np.asarray(truncated, dtype=bool)
        valid = ~self._resetting
        transition = Transition(
            self.observations,
            actions,
            rewards,
            self._checked(observations),
            terminated & valid,
            truncated & valid,
            valid,
        )
        over = (terminated | truncated) & valid
        if self.env.metadata.get("life_loss"):
            if "lives" not in info:
                raise BrokenEnvironmentError(
                    "metadata['life_loss'] promises info['lives'], and there is none"
                )
            # A game may end with lives left; then it does not take one.
            over &= truncated | (info["lives"] == 0) | (info["lives"] >= self._lives)
            self._lives = np.array(info["lives"])  # the environment may use its own again
        self._returns += np.where(valid, rewards, 0)
        self._lengths += valid
        self.finished = {
            int(i): (float(self._returns[i]), int(self._lengths[i])) for i in np.flatnonzero(over)
        }
        self._returns[over] = 0
        self._lengths[over] = 0
        self._resetting, self.starts = over, ~valid
        self.observations = transition.next_observations
        masks = self._legal(info)
        if (masks is None) != (self.action_masks is None):
            raise BrokenEnvironmentError(
                "info['action_mask'] must come with every reset() and step(), or never, and it"
                f" {'is missing' if masks is None else 'comes first'} at step {self._steps:,} of this"
                " segment"
            )
        self.action_masks, self.info = masks, info
        return transition

    def _checked(self, observations: Any) -> FlatObservation:
        try:
            plain = self._plain(observations)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise BrokenEnvironmentError(
                f"the observation of step {self._steps:,} of this segment is none of"
                f" {self.env.single_observation_space}: {error}"
            ) from error
        for part in plain if isinstance(plain, tuple) else (plain,):
            if part.dtype.kind == "f" and not np.isfinite(part).all():
                raise self._invalid(self._plain.name_of_invalid(observations), part)
        return plain

    def _legal(self, info: dict[str, Any]) -> np.ndarray | None:
        before, changed = self.action_masks, False
        try:
            masks = _masks(info)
            changed = masks is not None and before is not None and masks.shape != before.shape
        except ValueError:  # they differ among each other, or one of them is none
            changed = True
        if changed:
            raise BrokenEnvironmentError(
                f"info['action_mask'] has another shape at step {self._steps:,} of this segment"
            )
        return masks

    def _invalid(self, field: str, values: np.ndarray) -> BrokenEnvironmentError:
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        i = int(np.flatnonzero(bad)[0])
        value = values[i][~np.isfinite(values[i])].ravel()[0]
        return BrokenEnvironmentError(
            f"environment {i} gave {value} as {field} at its step {self._steps:,} of this segment"
        )


def _masks(info: dict) -> np.ndarray | None:
    masks = info.get("action_mask")
    if masks is None:
        return None
    # Gymnasium pads what an environment left out; no legal action at all then means "all are".
    masks = np.array([np.asarray(mask, dtype=bool) for mask in masks])
    masks[~masks.any(axis=1)] = True
    return masks
