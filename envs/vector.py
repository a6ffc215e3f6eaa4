"""Transitions from a vector environment: the one place that handles autoreset.

In next-step mode a Gymnasium vector environment returns the true last observation of an episode and
then spends one step, whose action it ignores, on the reset. `Transitions` turns that stream into
complete transitions and marks the steps that only reset an environment. See "Vector environments and
autoreset" in the Gymnasium documentation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from envs.observations import FlatObservation, ObservationFlattener


class BrokenEnvironmentError(ValueError):
    """An environment returned NaN, an infinite number, a wrong type, or action masks only sometimes."""


@dataclass(frozen=True)
class Transition:
    """One step of n environments."""

    observations: FlatObservation
    """(n, …) before the actions."""
    actions: Any
    """(n, …), or a dict or tuple of such."""
    rewards: np.ndarray
    """(n,) float32, raw."""
    next_observations: FlatObservation
    """(n, …) after the actions; at the end of an episode its true last observation."""
    terminated: np.ndarray
    """(n,) bool: the value of the next observation is 0."""
    truncated: np.ndarray
    """(n,) bool: cut off; the value of the next observation is bootstrapped from."""
    valid: np.ndarray
    """(n,) bool: False where the step only reset the environment."""


class Transitions:
    """Steps a vector environment and returns complete transitions with flat observations.

    Args:
        env: in `AutoresetMode.NEXT_STEP`. With `metadata["life_loss"]` true, a termination with
            lives left (`info["lives"]`) ends an episode for the learner while the game goes on.

    Raises:
        ValueError: by the constructor, for another autoreset mode.
        BrokenEnvironmentError: by `reset`, `step_wait` and `step`, for an observation or a reward that
            is not finite, for an observation of another type than the space's, and for action masks
            that are missing in some steps.
    """

    def __init__(self, env: VectorEnv) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.NEXT_STEP:
            raise ValueError(
                "the vector environment must have autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP,"
                f" and it has {mode}"
            )
        self.env = env
        self._background = hasattr(env, "send") and hasattr(env, "recv")  # as ALE's and EnvPool's
        self._flatten = ObservationFlattener(env.single_observation_space)
        self.episode_starts = np.ones(env.num_envs, dtype=bool)
        """(n,) bool: whether the current observation is the first of its episode."""
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
        self.episode_starts = np.ones(n, dtype=bool)
        self._resetting = np.zeros(n, dtype=bool)
        self._lives = np.full(n, np.inf)
        if self.env.metadata.get("life_loss") and "lives" in info:
            self._lives = np.array(info["lives"], dtype=np.float64)
        self._returns = np.zeros(n)
        self._lengths = np.zeros(n, dtype=np.int64)
        self.finished = {}
        return self.observations

    def step(self, actions: Any) -> Transition:
        """Take one step in every environment."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: Any) -> None:
        """Start a step in every environment; environments with their own threads run in the background."""
        self._actions = actions
        if self._background:
            self.env.send(actions)  # type: ignore[attr-defined]

    def step_wait(self) -> Transition:
        """Finish the step that `step_async` started."""
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
        done = (terminated | truncated) & valid
        if self.env.metadata.get("life_loss"):
            if "lives" not in info:
                raise BrokenEnvironmentError(
                    "metadata['life_loss'] requires info['lives'], which is missing"
                )
            # A game may end with lives left; then it does not take one.
            lives = np.array(
                info["lives"], dtype=np.float64
            )  # the environment may use its own again
            done &= truncated | (lives == 0) | (lives >= self._lives)
            self._lives = lives
        self._returns += np.where(valid, rewards, 0)
        self._lengths += valid
        self.finished = {
            int(i): (float(self._returns[i]), int(self._lengths[i])) for i in np.flatnonzero(done)
        }
        self._returns[done] = 0
        self._lengths[done] = 0
        self._resetting, self.episode_starts = done, ~valid
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
            flat = self._flatten(observations)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise BrokenEnvironmentError(
                f"the observation of step {self._steps:,} of this segment is not in"
                f" {self.env.single_observation_space}: {error}"
            ) from error
        for part in flat if isinstance(flat, tuple) else (flat,):
            if part.dtype.kind == "f" and not np.isfinite(part).all():
                raise self._invalid(self._flatten.name_of_invalid(observations), part)
        return flat

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
    if masks is None or all(mask is None for mask in masks):
        return None
    # An environment may have left its mask out, and Gymnasium pads then; no legal action means "all are".
    size = next(len(mask) for mask in masks if mask is not None)
    masks = np.array([np.zeros(size, bool) if m is None else np.asarray(m, bool) for m in masks])
    masks[~masks.any(axis=1)] = True
    return masks
