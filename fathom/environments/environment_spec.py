"""An environment that the user named, with its arguments: makes it and describes it."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import Env, Space
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv

from envs import atari
from envs.hooks import TrainedRun
from envs.observations import ObservationFlattener
from fathom.environments.constructor import (
    Value,
    has_argument,
    load_constructor,
    unknown_arguments,
)
from fathom.environments.reporting import (
    ErrorReportingEnv,
    ErrorReportingVectorEnv,
    one_line,
    reporting_errors,
)
from fathom.environments.side_by_side import SideBySide
from fathom.errors import FathomError

ExpertAction = Callable[[Any, "np.ndarray | None"], np.ndarray]


class _Probe(NamedTuple):
    """What one environment told of itself before it was closed."""

    observation_space: Space
    action_space: Space
    protocol: Any
    expert_action: Callable[..., Any] | None


@dataclass(frozen=True)
class EnvironmentSpec:
    """An environment that the user named, with the arguments that it is made with."""

    reference: str
    """As the user named it; a file's path is absolute, so that it holds in any folder."""
    env_args: Mapping[str, Value]
    """The environment's own arguments, converted to their types."""
    spec: EnvSpec = dataclasses.field(repr=False, compare=False)
    """Gymnasium's specification of it."""
    runs: Mapping[str, TrainedRun] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    """The trained runs that some arguments name; the constructor gets them in place of the texts."""

    @property
    def is_atari(self) -> bool:
        """Whether this is an Atari game, which ALE's own vector environment plays."""
        return atari.is_atari(self.spec.id)

    @property
    def frame_stack(self) -> int:
        """How many planes of an observation are a stack of frames (0: it is not one)."""
        return atari.FRAME_STACK if self.is_atari else 0

    @property
    def time_limit(self) -> int:
        """The agent steps after which episodes are truncated; 0 if that is not known."""
        if self.is_atari:
            return atari.MAX_FRAMES // atari.FRAME_SKIP
        limit = self.env_args.get("max_episode_steps", self.spec.max_episode_steps)
        return limit if isinstance(limit, int) else 0

    def make_vector(self, num_envs: int, training: bool) -> VectorEnv:
        """Make `num_envs` copies in one vector environment that resets in the next step."""
        if self.is_atari:
            return atari.make_vector(self.spec.id, num_envs, self._atari_config(), training)
        native = self._make_native_vector(num_envs, training)
        if native is not None:
            return ErrorReportingVectorEnv(native, self.reference)
        makers = [
            functools.partial(self._make, None, training, f" of environment {i}")
            for i in range(num_envs)
        ]
        try:
            env = SideBySide(makers)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise FathomError(
                f"{self.reference} cannot be made {num_envs} times: {one_line(error)}"
            ) from error
        return ErrorReportingVectorEnv(env, self.reference)

    def make_single(self, render_mode: str | None, training: bool = False) -> Env:
        """Make one environment; with `render_mode="rgb_array"` its `render()` returns a picture."""
        if self.is_atari:
            return atari.make_single(self.spec.id, self._atari_config(), render_mode)
        return self._make(render_mode, training, "")

    def describe(self) -> dict[str, Value]:
        """Return the protocol: the rules and versions that a score must be printed with."""
        if self.is_atari:
            return dict(atari.describe(self.spec.id, self._atari_config()))
        limit = self.env_args.get("max_episode_steps", self.spec.max_episode_steps)
        own = self._probe.protocol
        try:
            # Lists in place of tuples, as `run.toml` holds them.
            own = json.loads(json.dumps(dict(own or {}), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise FathomError(
                f"{self.reference}: protocol() must give a dictionary of numbers and texts, not {own!r}"
            ) from error
        protocol: dict[str, Value] = {"environment": self.reference}
        protocol |= own or {"time_limit": "none" if limit is None else limit}
        arguments = self._split(training=False) | dict(self.env_args)
        protocol |= {f"env.{name}": value for name, value in arguments.items()}
        protocol["gymnasium"] = gymnasium.__version__
        return protocol

    def spaces(self) -> tuple[Space, Space]:
        """Return the flat observation space and the action space of one environment."""
        probe = self._probe
        try:
            return ObservationFlattener(probe.observation_space).space, probe.action_space
        except ValueError as error:
            raise FathomError(f"{self.reference}: {error}") from error

    @property
    def observation_space(self) -> Space:
        """The observation space of one environment, as it is."""
        return self._probe.observation_space

    def expert(self) -> ExpertAction | None:
        """Return the environment's scripted expert (see `envs.hooks.Hooks.expert_action`), if it has one.

        It takes flat observations of n environments and their action masks, and returns n actions.
        """
        probe = self._probe
        method = probe.expert_action
        if method is None:
            return None

        def expert_action(observations: Any, action_masks: np.ndarray | None) -> np.ndarray:
            with reporting_errors(self.reference, "expert_action"):
                actions = np.asarray(method(observations, action_masks))
            n = len(observations[0] if isinstance(observations, tuple) else observations)
            wanted = (n, *(probe.action_space.shape or ()))
            if actions.shape != wanted:
                raise FathomError(
                    f"{self.reference}: expert_action() must give an action for each of {n} observations, an"
                    f" array of the shape {wanted}, not {actions.shape}"
                )
            return actions

        return expert_action

    @functools.cached_property
    def _probe(self) -> _Probe:
        """Make one environment, ask it all there is to know, and close it."""
        env = self.make_single(None)
        try:
            own: Any = env.unwrapped
            with reporting_errors(self.reference, "protocol"):
                protocol = own.protocol() if hasattr(own, "protocol") else {}
            return _Probe(
                env.observation_space,
                env.action_space,
                protocol,
                getattr(own, "expert_action", None),
            )
        finally:
            env.close()

    def _make(self, render_mode: str | None, training: bool, which: str) -> Env:
        arguments = self._arguments(training)
        if render_mode is not None:
            metadata = getattr(load_constructor(self.spec), "metadata", None)
            if metadata is not None and render_mode not in metadata.get("render_modes", []):
                raise FathomError(f"{self.reference} has no rendering of the kind {render_mode}")
            arguments["render_mode"] = render_mode
        try:
            env = gymnasium.make(self.spec, disable_env_checker=True, **arguments)
            return ErrorReportingEnv(env, self.reference, which)
        except (Exception, SystemExit) as error:
            raise FathomError(f"{self.reference} cannot be made: {one_line(error)}") from error

    def _make_native_vector(self, num_envs: int, training: bool) -> VectorEnv | None:
        """Make the vector environment registered for this id, or return None if there is none to use."""
        spec = self.spec
        if spec.vector_entry_point is None or spec.additional_wrappers:
            return None
        entry = spec.vector_entry_point
        try:
            constructor = entry if callable(entry) else load_env_creator(entry)
        except (ImportError, AttributeError):
            return None
        arguments = self._arguments(training)
        # A time limit of the user's own is a wrapper around each single environment.
        if "max_episode_steps" in arguments or unknown_arguments(constructor, arguments):
            return None
        env = gymnasium.make_vec(
            spec, num_envs, vectorization_mode="vector_entry_point", **arguments
        )
        if env.metadata.get("autoreset_mode") is AutoresetMode.NEXT_STEP:
            return env
        env.close()
        return None

    def _split(self, training: bool) -> dict[str, str]:
        """Return the argument `split`, where the constructor has one (see `envs.hooks.Hooks`)."""
        if not has_argument(load_constructor(self.spec), "split"):
            return {}
        return {"split": "train" if training else "test"}

    def _arguments(self, training: bool) -> dict[str, Any]:
        return {**self._split(training), **self.env_args, **self.runs}

    def _atari_config(self) -> atari.AtariConfig:
        return atari.AtariConfig(**self.env_args)  # type: ignore[arg-type]
