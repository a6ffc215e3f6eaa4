"""The contract check: what an environment must do before training starts, by Gymnasium's checker and ours.

The environment is checked as it will be used, inside its wrappers. Slips that do no harm, because Fathom
copies and casts every observation, are mended before Gymnasium's checker sees them, and become warnings.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Env, Wrapper, spaces
from gymnasium.utils import env_checker, passive_env_checker
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, OrderEnforcing, TimeLimit

from envs.actions import mask_size
from envs.hooks import WorldError
from fathom.environments.environment_spec import EnvironmentSpec
from fathom.environments.reporting import ErrorReportingEnv, failure, one_line
from fathom.environments.scale import scale_warnings
from fathom.environments.side_by_side import SideBySide
from fathom.errors import FathomError

SERIOUS_WARNINGS = (
    "Core environment is written in old step API",
    "Expects `terminated` signal",
    "Expects `truncated` signal",
    "The reward",
)
"""Beginnings of warnings of Gymnasium's checker that make learning impossible, so they count as errors."""

IDLE_WARNINGS = (
    "A Box observation space m",  # inimum or maximum is infinite
    "For Box action spaces, we recommend using a symmetric and normalized space",
)
"""Beginnings of warnings about what Fathom does not mind: it scales actions, and warns of large numbers itself."""

ROUNDING = 1e-5
"""What an observation may exceed a bound by and count as rounded, as a part of the bounds' size."""


def check(spec: EnvironmentSpec, normalized: bool = False) -> list[str]:
    """Check that an environment keeps Gymnasium's contract, and return warnings about what is only unusual.

    Atari games are not checked.

    Args:
        normalized: the agent normalises vectors, so that their scale does not matter.

    Raises:
        FathomError: the contract is broken; one sentence says how.
    """
    if spec.is_atari:
        return []
    made = spec.make_single(None)
    assert isinstance(made, ErrorReportingEnv)
    seen = _Mended(made.env)
    broken: str | None = None
    unscaled: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for layer in _layers(made.env):
                _check_signature(layer)
                if isinstance(layer, (NormalizeObservation, NormalizeReward)):
                    seen.keep_statistics(type(layer).__name__)
            for part in _checks(seen):
                part(seen)
            broken = _metadata_fault(made.metadata)
            if broken is None:
                unscaled = scale_warnings(seen, normalized)
        except WorldError as error:
            raise FathomError(f"{spec.reference}: {error}") from error
        except (Exception, SystemExit) as error:
            if not _raised_by_checker(error):
                raise failure(spec.reference, "Gymnasium's check", error) from error
            broken = one_line(error)
        finally:
            made.close()
    colours = re.compile(r"\x1b\[\d*m")
    messages = [colours.sub("", str(warning.message)).removeprefix("WARN: ") for warning in caught]
    broken = next((text for text in messages if text.startswith(SERIOUS_WARNINGS)), broken)
    if broken is not None:
        raise FathomError(f"{spec.reference} does not keep Gymnasium's contract: {broken}")
    messages = [text for text in messages if not text.startswith(IDLE_WARNINGS)]
    return list(dict.fromkeys([*seen.slips, *messages, *unscaled]))


class _Mended(gymnasium.Env):
    """What Gymnasium's checker sees: an environment whose harmless slips are mended, and remembered.

    It stands for a plain environment. Of one that is a wrapper the checker would look at the generator of
    the environment inside, which the wrapper need not use; what counts is that seeded episodes repeat.
    """

    def __init__(self, env: Env) -> None:
        self._env = env
        self.slips: dict[str, None] = {}
        """Sentences, each once."""
        self.repeats = True
        """Whether episodes of the same seed must be the same."""
        self.spec, self.metadata = env.unwrapped.spec, {"render_modes": []}
        for name in ("observation_space", "action_space"):
            if hasattr(env, name):  # the checker has a sentence about one without
                setattr(self, name, getattr(env, name))
        measures = (env.metadata or {}).get("measures")
        self._used = SideBySide.USED | set(measures if isinstance(measures, (list, tuple)) else ())
        self._generator: Any = None
        self._last: tuple[Any, Any] = (None, None)

    def keep_statistics(self, wrapper: str) -> None:
        """Allow for a wrapper that normalises by what it saw in earlier episodes."""
        self.repeats = False
        self.slips[
            f"{wrapper} forgets its statistics at each checkpoint and in evaluations, where environments are"
            " made anew; an agent's --normalize-observations and --normalize-rewards keep them"
        ] = None

    @property
    def _np_random(self) -> Any:
        inner = self._env
        while isinstance(inner, (OrderEnforcing, TimeLimit)):
            inner = inner.env
        return self._generator if isinstance(inner, Wrapper) else inner._np_random

    @_np_random.setter
    def _np_random(self, value: Any) -> None:  # Gymnasium's class has one
        self._generator = value

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        result = self._env.reset(seed=seed, options=options)
        if not isinstance(result, tuple) or len(result) != 2:
            return result
        return self._look(*result, strict=True)

    def step(self, action: Any) -> Any:
        result = self._env.step(action)
        if not isinstance(result, tuple) or len(result) != 5:
            return result
        observation, reward, terminated, truncated, info = result
        observation, info = self._look(observation, info, strict=False)
        ends = [bool(end) if isinstance(end, np.bool_) else end for end in (terminated, truncated)]
        return observation, reward, *ends, info

    def _look(self, observation: Any, info: Any, strict: bool) -> tuple[Any, Any]:
        for name, before, now in zip(
            ("observations", "infos"), self._last, (observation, info), strict=True
        ):
            if before is not None and _share_objects(before, now):
                self.slips[f"its {name} share an object, and Fathom copies each"] = None
        self._last = (observation, info)
        space = getattr(self, "observation_space", None)
        mended = _mended(observation, space, strict, "observation", self.slips)
        if isinstance(info, dict):  # what nobody reads may be anything
            info = {
                key: info[key] for key in self._used.intersection(info) if info[key] is not None
            }
        return mended, info


def _mended(value: Any, space: Any, strict: bool, name: str, slips: dict[str, None]) -> Any:
    """Return a copy of an observation without harmless slips; one that breaks the contract as it is.

    A number that exceeds its bounds by rounding is clipped. One that exceeds them by more is clipped too
    unless `strict`: the first observation of an episode must lie in its space.

    Args:
        name: how a person would name this part of the observation.
        slips: the sentences about it are added.
    """
    if isinstance(space, spaces.Dict) and isinstance(value, dict):
        if extra := [key for key in value if key not in space.spaces]:
            slips[f"{name} has entries that its space has not: {', '.join(map(repr, extra))}"] = (
                None
            )
        return {
            key: _mended(value[key], part, strict, f"{name}[{key!r}]", slips)
            for key, part in space.spaces.items()
            if key in value
        }
    if isinstance(space, spaces.Tuple) and isinstance(value, (tuple, list)):
        if len(value) != len(space.spaces):
            return value
        return tuple(
            _mended(inner, part, strict, f"{name}[{i}]", slips)
            for i, (inner, part) in enumerate(zip(value, space.spaces, strict=True))
        )
    if not isinstance(space, spaces.Box):
        return value.copy() if isinstance(value, np.ndarray) else value
    try:
        array = np.array(value)
    except ValueError:  # of uneven rows
        return value
    fits = np.can_cast(array.dtype, space.dtype, "same_kind") and array.dtype.kind != "O"
    if array.shape != space.shape or not fits or not np.isfinite(array).all():
        return value
    if array.dtype != space.dtype and isinstance(value, np.ndarray):
        slips[f"{name} has {array.dtype} numbers and its space {space.dtype}"] = None
    if array.dtype.kind == "b":  # which has no bounds to exceed
        return array
    clipped = np.clip(array, space.low, space.high).astype(space.dtype)
    excess = np.abs(array - clipped.astype(array.dtype))
    finite = [np.where(np.isfinite(bound), np.abs(bound), 0) for bound in (space.low, space.high)]
    size = np.maximum(*finite)
    rounding = ROUNDING * np.where(size > 0, size, 1)
    outside = (array < space.low) | (array > space.high)
    if (excess > rounding)[outside].any():
        if strict:
            return value
        slips[f"step() gives {name} outside of the bounds of its space"] = None
    elif outside.any():
        slips[f"{name} exceeds a bound of its space by rounding"] = None
    return clipped


def _share_objects(first: Any, second: Any) -> bool:
    """Whether a change of one of two observations, or infos, may change the other."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.may_share_memory(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        keys = first.keys() & second.keys()
        return first is second or any(_share_objects(first[key], second[key]) for key in keys)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        same = first is second and isinstance(first, list)
        return same or any(map(_share_objects, first, second))
    return False


def _layers(env: Env) -> Iterator[Any]:
    """Yield an environment's wrappers from the outermost on, and what is in them."""
    while isinstance(env, Wrapper):
        yield env
        env = env.env
    yield env


def _check_signature(layer: Env) -> None:
    """Raise Gymnasium's error if `reset` of an environment, or of a wrapper, takes no seed or no options."""
    parameters = inspect.signature(layer.reset).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for name, article in (("seed", "a"), ("options", "an")):
        if name not in parameters:
            raise gymnasium.error.Error(
                f"The `reset` method does not provide {article} `{name}` or `**kwargs` keyword argument."
            )


def _checks(env: _Mended) -> Iterator[Callable[[Any], Any]]:
    """Yield the parts of Gymnasium's `check_env` but those of rendering, closing and shared objects."""
    for name, check_space in (
        ("action", passive_env_checker.check_action_space),
        ("observation", passive_env_checker.check_observation_space),
    ):
        if not hasattr(env, f"{name}_space"):
            raise AttributeError(f"The environment must specify an {name} space.")
        space = getattr(env, f"{name}_space")
        check_space(space)
        env_checker.check_space_limit(space, name)
    yield env_checker.check_reset_return_type
    if env.repeats:
        yield env_checker.check_reset_seed_determinism
    yield env_checker.check_reset_options
    yield passive_env_checker.env_reset_passive_checker
    yield lambda seen: passive_env_checker.env_step_passive_checker(
        seen, seen.action_space.sample()
    )
    yield _check_data
    if env.repeats:
        yield env_checker.check_step_determinism
    yield _check_episode


def _check_episode(env: Env) -> None:
    """Take a few steps, for what comes only with them."""
    env.action_space.seed(123)
    env.reset(seed=123)
    for _ in range(3):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            break
    env.reset()


def _raised_by_checker(error: BaseException) -> bool:
    """Whether Gymnasium's checker or this module raised an exception, not the environment."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = "" if last is None else last.tb_frame.f_code.co_filename
    return place in (env_checker.__file__, passive_env_checker.__file__, __file__)


def _check_data(env: Env) -> None:
    """Raise FathomError if observations or action masks are wrong in a way that the checker lets pass."""
    space, actions = env.observation_space, env.action_space
    observation, info = env.reset(seed=0)
    after, _, terminated, truncated, next_info = env.step(actions.sample())
    for method, value in (("reset", observation), ("step", after)):
        try:
            batch: Any = create_empty_array(space, n=1)
            concatenate(space, [value], batch)
        except Exception as error:
            raise FathomError(
                f"the observation of {method}() does not fit its space {space}: {one_line(error)}"
            ) from error
        if not _is_finite(batch):
            raise FathomError(f"the observation of {method}() holds a number that is not finite")
    if ("action_mask" in info) != ("action_mask" in next_info) and not (terminated or truncated):
        raise FathomError("info['action_mask'] must come with every reset() and step(), or never")
    if "action_mask" not in info:
        return
    size = mask_size(actions)
    if not size:
        raise FathomError(f"info['action_mask'] is for numbered actions, and these are {actions}")
    shape = np.shape(info["action_mask"])
    if shape != (size,):
        raise FathomError(f"info['action_mask'] must have the shape ({size},), not {shape}")


def _is_finite(batch: Any) -> bool:
    if isinstance(batch, (dict, tuple)):
        return all(map(_is_finite, batch.values() if isinstance(batch, dict) else batch))
    return not (isinstance(batch, np.ndarray) and batch.dtype.kind == "f") or bool(
        np.isfinite(batch).all()
    )


def _metadata_fault(metadata: dict[str, Any]) -> str | None:
    """Return what is wrong with the entries of `metadata` that Fathom uses, or None."""
    measures = metadata.get("measures", ())
    if not isinstance(measures, (list, tuple)) or not all(isinstance(m, str) for m in measures):
        return f"metadata['measures'] must be a list of names, not {measures!r}"
    fps = metadata.get("render_fps")
    is_number = isinstance(fps, (int, float, np.integer, np.floating))
    if fps is not None and not (is_number and 0 < fps < 1_000):
        return f"metadata['render_fps'] must be a number of frames a second, not {fps!r}"
    return None
