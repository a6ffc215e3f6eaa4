"""The policies that searches found for the newest rows of a replay memory, and the priorities of these rows.

It lies in main memory and in the checkpoint, not in the files of the memory: later searches and updates change
it in place, which must be undone where a run goes back to its checkpoint.
"""

import numpy as np
import torch


class SearchResults:
    """Policies and priorities of a ring of rows; row r is in slot r % rows.

    Args:
        rows: newest rows that are kept.
    """

    def __init__(self, rows: int, num_envs: int, num_actions: int) -> None:
        self.rows = rows
        self._policies = np.zeros((rows, num_envs, num_actions), np.float16)
        self._priorities = np.zeros((rows, num_envs), np.float32)
        self._explored = np.zeros((rows, num_envs), np.uint8)

    def write(self, row: int, policies: np.ndarray, explored: np.ndarray) -> None:
        """Keep what was found in a new row, (environments, actions), with the highest priority, and whether each
        action was drawn at random, (environments,) bool."""
        slot = row % self.rows
        self._explored[slot] = explored
        self._policies[slot] = policies
        self._priorities[slot] = self._priorities.max() or 1.0

    def skip(self, row: int) -> None:
        """Keep nothing of a new row, in which nobody acted."""
        slot = row % self.rows
        self._policies[slot] = self._priorities[slot] = self._explored[slot] = 0

    def renew(self, rows: np.ndarray, envs: np.ndarray, policies: np.ndarray) -> None:
        """Replace the policies of stored rows; the priorities stay."""
        self._policies[rows % self.rows, envs] = policies

    def sample(
        self,
        oldest: int,
        valid: np.ndarray,
        count: int,
        exponent: float,
        correction: float,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw valid rows with probabilities proportional to priority ^ exponent (Schaul et al. 2016).

        Args:
            oldest: the first row that may be drawn.
            valid: (rows, environments) bool, from that row on; at least one is true.
            correction: exponent β of the importance weights.

        Returns:
            rows, environments and weights, (count,) each; the largest weight is 1.
        """
        slots = np.arange(oldest, oldest + len(valid)) % self.rows
        priorities = self._priorities[slots].astype(np.float64) ** exponent
        sums = np.where(valid, priorities, 0.0).ravel().cumsum()
        places = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
        places = np.minimum(places, np.flatnonzero(valid.ravel())[-1])
        rows, envs = np.divmod(places, valid.shape[1])
        weights = priorities[rows, envs] ** -correction
        return oldest + rows, envs, (weights / weights.max()).astype(np.float32)

    def set_priorities(self, rows: np.ndarray, envs: np.ndarray, priorities: np.ndarray) -> None:
        self._priorities[rows % self.rows, envs] = priorities

    def policies_at(self, rows: np.ndarray, envs: np.ndarray, count: int) -> np.ndarray:
        """(b, count, actions) float32 policies of each row and those after it."""
        slots = (rows[:, None] + np.arange(count)) % self.rows
        return self._policies[slots, envs[:, None]].astype(np.float32)

    def explored_at(self, rows: np.ndarray, envs: np.ndarray, count: int) -> np.ndarray:
        """(b, count) bool: whether the actions of each row and those after it were drawn at random."""
        slots = (rows[:, None] + np.arange(count)) % self.rows
        return self._explored[slots, envs[:, None]].astype(bool)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is kept, by name; changes with this object."""
        return {
            "policies": torch.from_numpy(self._policies),
            "priorities": torch.from_numpy(self._priorities),
            "explored": torch.from_numpy(self._explored),
        }
