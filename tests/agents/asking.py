"""A dialogue of two turns: ask what the user wants, which is one of two things, and give it."""

from typing import Any

import gymnasium as gym
import numpy as np

ASK, FIRST, SECOND = range(3)


class Asking(gym.Env):
    """The observation tells whether the first, whether the second thing is known to be wanted. Only
    after the question may something be given."""

    observation_space = gym.spaces.Box(0, 1, (2,))
    action_space = gym.spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.wanted = int(self.np_random.integers(FIRST, SECOND + 1))
        self.asked = False
        return self._seen()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if action == ASK:
            self.asked = True
            return self._seen()[0], -0.1, False, False, self._seen()[1]
        return self._seen()[0], 1.0 if action == self.wanted else -1.0, True, False, self._seen()[1]

    def _seen(self) -> tuple[np.ndarray, dict[str, Any]]:
        known = self.asked * (np.arange(FIRST, SECOND + 1) == self.wanted)
        mask = np.array([True, self.asked, self.asked])
        return known.astype(np.float32), {"action_mask": mask}

    @staticmethod
    def expert_action(observations: np.ndarray, action_masks: np.ndarray | None) -> np.ndarray:
        """Ask, then give what is wanted."""
        return np.where(observations.any(axis=1), FIRST + observations.argmax(axis=1), ASK)
