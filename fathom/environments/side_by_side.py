"""Copies of a user's environment side by side in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import Env
from gymnasium.vector import AutoresetMode, SyncVectorEnv


class SideBySide(SyncVectorEnv):
    """Gymnasium's `SyncVectorEnv` that collects only the entries of `info` that Fathom uses.

    Gymnasium puts every entry into an array whose type and shape the first value decides: an int, then
    0.5, gives 0, and a list that grows is an error. Here an entry is an array of objects, as they came,
    and entries that nobody reads stay where they are.

    Args:
        makers: one for each copy.
    """

    USED = frozenset({"action_mask", "lives"})
    """Entries that are collected; those in `metadata["measures"]` too."""

    def __init__(self, makers: Sequence[Callable[[], Env]]) -> None:
        super().__init__(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        self._used = self.USED | set(self.metadata.get("measures") or ())

    def _add_info(
        self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int
    ) -> dict[str, Any]:
        for name in self._used.intersection(env_info):
            if name not in vector_infos:
                vector_infos[name] = np.full(self.num_envs, None, object)
                vector_infos[f"_{name}"] = np.zeros(self.num_envs, bool)
            vector_infos[name][env_num] = env_info[name]
            vector_infos[f"_{name}"][env_num] = True
        return vector_infos
