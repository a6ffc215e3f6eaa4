"""The contract check: what an environment must do before training starts, by Gymnasium's checker and ours."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
from gymnasium import Env
from gymnasium.utils.env_checker import check_env
from gymnasium.vector.utils import concatenate, create_empty_array

from envs.actions import mask_size
from envs.hooks import WorldError
from fathom.environments.environment_spec import EnvironmentSpec
from fathom.environments.reporting import failure, file_of, line_in, one_line
from fathom.environments.scale import scale_warnings
from fathom.errors import FathomError

SERIOUS_WARNINGS = (
    "Core environment is written in old step API",
    "Expects `terminated` signal",
    "Expects `truncated` signal",
    "The reward",
)
"""Beginnings of warnings of Gymnasium's checker that make learning impossible, so they count as errors."""


def check(spec: EnvironmentSpec, normalized: bool = False) -> list[str]:
    """Check that an environment keeps Gymnasium's contract, and return warnings.

    Atari games are not checked.

    Args:
        normalized: the agent normalises vectors, so that their scale does not matter.

    Raises:
        FathomError: the contract is broken; one sentence says how.
    """
    if spec.is_atari:
        return []
    env = spec.make_single(None)
    broken: str | None = None
    unscaled: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # The close check would make one more environment.
            check_env(env.unwrapped, skip_render_check=True, skip_close_check=True)
            broken = _spaces_fault(env.unwrapped) or _metadata_fault(env.unwrapped.metadata)
            if broken is None:
                unscaled = scale_warnings(env.unwrapped, normalized)
        except WorldError as error:
            raise FathomError(f"{spec.reference}: {error}") from error
        except (Exception, SystemExit) as error:
            if line_in(error, file_of(spec.reference)):
                raise failure(spec.reference, "Gymnasium's check", error) from error
            broken = one_line(error)
        finally:
            env.close()
    colours = re.compile(r"\x1b\[\d*m")
    messages = [colours.sub("", str(warning.message)).removeprefix("WARN: ") for warning in caught]
    broken = next((text for text in messages if text.startswith(SERIOUS_WARNINGS)), broken)
    if broken is not None:
        raise FathomError(f"{spec.reference} does not keep Gymnasium's contract: {broken}")
    return messages + unscaled


def _spaces_fault(env: Env) -> str | None:
    """Return what is wrong with observations or action masks that the checker lets pass, or None."""
    space, actions = env.observation_space, env.action_space
    observation, info = env.reset(seed=0)
    after, _, terminated, truncated, next_info = env.step(actions.sample())
    for method, value in (("reset", observation), ("step", after)):
        try:
            batch: Any = create_empty_array(space, n=1)
            concatenate(space, [value], batch)
        except Exception as error:
            return (
                f"the observation of {method}() does not fit its space {space}: {one_line(error)}"
            )
    if ("action_mask" in info) != ("action_mask" in next_info) and not (terminated or truncated):
        return "info['action_mask'] must come with every reset() and step(), or never"
    if "action_mask" not in info:
        return None
    size = mask_size(actions)
    if not size:
        return f"info['action_mask'] is for numbered actions, and these are {actions}"
    shape = np.shape(info["action_mask"])
    if shape != (size,):
        return f"info['action_mask'] must have the shape ({size},), not {shape}"
    return None


def _metadata_fault(metadata: dict[str, Any]) -> str | None:
    """Return what is wrong with the entries of `metadata` that Fathom uses, or None."""
    measures = metadata.get("measures", ())
    if not isinstance(measures, (list, tuple)) or not all(isinstance(m, str) for m in measures):
        return f"metadata['measures'] must be a list of names, not {measures!r}"
    fps = metadata.get("render_fps", 1)
    if not isinstance(fps, (int, float)) or not 0 < fps < 1_000:
        return f"metadata['render_fps'] must be a number of frames a second, not {fps!r}"
    return None
