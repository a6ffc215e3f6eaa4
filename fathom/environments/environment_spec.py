"""An environment that the user named, with its arguments: makes it and describes it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import Env, Space, Wrapper
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import TimeLimit

from envs import atari
from envs.hooks import TrainedRun, find_hook
from envs.observations import ObservationFlattener
from fathom.environments.constructor import (
    Value,
    for_toml,
    has_argument,
    load_constructor,
    missing_arguments,
    read_arguments,
    takes_render_mode,
    takes_split,
    typed_arguments,
    unknown_arguments,
)
from fathom.environments.reporting import (
    ErrorReportingEnv,
    ErrorReportingVectorEnv,
    not_made,
    one_line,
    reporting_errors,
)
from fathom.environments.side_by_side import SideBySide
from fathom.environments.user_files import Importing
from fathom.environments.wrappers import LoadedWrapper, load_wrapper, wrapped
from fathom.errors import FathomError

ExpertAction = Callable[[Any, "np.ndarray | None"], np.ndarray]


class _Probe(NamedTuple):
    """What one environment told of itself before it was closed."""

    observation_space: Space
    action_space: Space
    protocol: Any
    expert_action: Callable[..., Any] | None
    time_limit: int
    """The steps after which Gymnasium's wrapper truncates episodes; 0 without one."""


@dataclass(frozen=True)
class EnvironmentSpec:
    """An environment that the user named, with the arguments that it is made with."""

    reference: str
    """As the user named it; a file's path is absolute, so that it holds in any folder."""
    env_args: Mapping[str, Value]
    """The environment's own arguments, as JSON holds them."""
    spec: EnvSpec = dataclasses.field(repr=False, compare=False)
    """Gymnasium's specification of it."""
    runs: Mapping[str, TrainedRun] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    """The trained runs that some arguments name; the constructor gets them in place of the texts."""
    importing: Importing = dataclasses.field(default=nullcontext, repr=False, compare=False)
    """A context for its constructor, whose imports are those of the user's project."""
    wrappers: tuple[LoadedWrapper, ...] = ()
    """The wrappers round it, the innermost first."""
    copyable: bool = False
    """Whether each environment is one of its own that can be copied, for agents that plan in copies."""

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
        limit = self._probe.time_limit
        own = self.env_args.get("max_episode_steps")  # perhaps the constructor's own
        return limit or (own if isinstance(own, int) else 0)

    def make_vector(self, num_envs: int, training: bool) -> VectorEnv:
        """Make `num_envs` copies in one vector environment that resets in the next step."""
        if self.is_atari and not self.copyable:
            return atari.make_vector(self.spec.id, num_envs, self._atari_config(), training)
        native = None if self.copyable else self._make_native_vector(num_envs, training)
        if native is not None:
            return ErrorReportingVectorEnv(native, self.reference)
        made: list[Env] = []

        def make(i: int) -> Env:
            if self.is_atari:
                made.append(self.make_single(None))
            else:
                made.append(self._make(None, training, f" of environment {i}"))
            return made[-1]

        try:
            env = SideBySide([functools.partial(make, i) for i in range(num_envs)])
        except FathomError as error:
            if not made:
                raise
            for one in made:
                one.close()
            raise FathomError(
                f"{error}; only {len(made)} of {num_envs} could be made at once: --num-envs and"
                f" --evaluation-envs {len(made)} ask for no more"
            ) from error
        except (RuntimeError, ValueError, AssertionError) as error:
            raise FathomError(
                f"{self.reference} cannot be made {num_envs} times: {one_line(error)}"
            ) from error
        return ErrorReportingVectorEnv(env, self.reference)

    def make_single(self, render_mode: str | None, training: bool = False) -> Env:
        """Make one environment; with `render_mode="rgb_array"` its `render()` returns a picture."""
        if self.is_atari and self.copyable:
            return atari.AtariCopyable(self.spec.id, self._atari_config(), render_mode)
        if self.is_atari:
            return atari.make_single(self.spec.id, self._atari_config(), render_mode)
        return self._make(render_mode, training, "")

    def describe(self) -> dict[str, Value]:
        """Return the protocol: the rules and versions that a score must be printed with."""
        if self.is_atari:
            return dict(atari.describe(self.spec.id, self._atari_config()))
        own = self._probe.protocol
        try:
            # Lists in place of tuples, as `run.toml` holds them.
            own = json.loads(json.dumps(dict(own or {}), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise FathomError(
                f"{self.reference}: protocol() must give a dictionary of numbers and texts, not {own!r}"
            ) from error
        protocol: dict[str, Value] = {"environment": self.reference}
        protocol |= own or {"time_limit": self._probe.time_limit or "none"}
        arguments = self._split(training=False) | dict(self.env_args)
        protocol |= {f"env.{name}": for_toml(value) for name, value in arguments.items()}
        if self.wrappers:
            protocol["wrappers"] = ", ".join(wrapper.reference for wrapper in self.wrappers)
        protocol["gymnasium"] = gymnasium.__version__
        return protocol

    def wrapped_in(self, wrappers: tuple[str, ...]) -> EnvironmentSpec:
        """Return this environment inside wrappers, which are loaded now.

        Args:
            wrappers: references (see `fathom.environments.wrappers`), the innermost first.

        Raises:
            FathomError: there is no such wrapper, or this environment takes none.
        """
        if wrappers and self.is_atari:
            raise FathomError(
                f"{self.reference} is made grey, resized and stacked already, as all Atari games are:"
                " --wrap, --grey, --resize and --frame-stack are for other environments"
            )
        return dataclasses.replace(self, wrappers=tuple(map(load_wrapper, wrappers)))

    def for_self_play(self) -> EnvironmentSpec:
        """Return this environment with the learner on both sides, by its argument `opponent`.

        Raises:
            FathomError: it has no such argument, or that cannot be "self".
        """
        if self.is_atari or not has_argument(self._constructor, "opponent"):
            raise FathomError(
                f"a game of two is learnt from games against oneself, and {self.reference} has no argument"
                ' `opponent` that "self" could be given to: train with --players 1'
            )
        arguments = read_arguments(self.reference, self._constructor, {"opponent": "self"})
        runs = {name: run for name, run in self.runs.items() if name != "opponent"}
        return dataclasses.replace(self, env_args={**self.env_args, **arguments}, runs=runs)

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
            protocol = find_hook(env, "protocol")
            with reporting_errors(self.reference, "protocol"):
                rules = {} if protocol is None else protocol()
            return _Probe(
                env.observation_space,
                env.action_space,
                rules,
                find_hook(env, "expert_action"),
                _time_limit(env),
            )
        finally:
            env.close()

    def _make(self, render_mode: str | None, training: bool, which: str) -> Env:
        arguments, limit = self._arguments(training), None
        if not has_argument(self._constructor, "max_episode_steps"):  # else it is its own affair
            limit = arguments.pop("max_episode_steps", None)
        if render_mode is not None and takes_render_mode(self._constructor):
            arguments["render_mode"] = render_mode
        # Not as keywords of `gymnasium.make`, which has arguments of its own, such as `id`.
        spec = copy.copy(self.spec)
        spec.entry_point, spec.kwargs = functools.partial(self._construct, arguments), {}
        try:
            env = gymnasium.make(spec, max_episode_steps=limit, disable_env_checker=True)
        except FathomError as error:
            if render_mode is not None and self._class_lacks(render_mode):
                raise self._no_rendering(render_mode) from error
            raise
        except (Exception, SystemExit) as error:
            raise not_made(self.reference, error) from error
        made: Any = env.unwrapped.spec
        made.entry_point, made.kwargs = self.spec.entry_point, self.spec.kwargs | arguments
        env = ErrorReportingEnv(wrapped(env, self.wrappers, self.reference), self.reference, which)
        modes = env.metadata.get("render_modes")
        lacks = modes is not None and render_mode not in modes
        if render_mode is not None and (lacks or env.render_mode != render_mode):
            env.close()
            why = "" if lacks else ": its constructor must take render_mode and keep it"
            raise self._no_rendering(render_mode, why)
        return env

    def _class_lacks(self, render_mode: str) -> bool:
        """Whether the class, of which no instance could be made, says that it has no such rendering."""
        metadata = getattr(self._constructor, "metadata", None)
        return isinstance(metadata, dict) and render_mode not in metadata.get("render_modes", ())

    def _no_rendering(self, render_mode: str, why: str = "") -> FathomError:
        return FathomError(f"{self.reference} has no rendering of the kind {render_mode}{why}")

    def _construct(self, arguments: Mapping[str, Any]) -> Env:
        """Call the constructor; FathomError if it fails."""
        given = {**copy.deepcopy(self.spec.kwargs), **arguments}
        try:
            with self.importing():
                env = self._constructor(**given)
        except FathomError:
            raise
        except (Exception, SystemExit) as error:
            sentence = not_made(self.reference, error)
            missing = missing_arguments(self._constructor, given)
            if isinstance(error, TypeError) and missing:
                sentence = FathomError(f"{sentence}; give it as --env.{missing[0]} VALUE")
            raise sentence from error
        if not isinstance(env, Env):
            raise FathomError(
                f"{self.reference} cannot be made: what its constructor returns is no gymnasium.Env but"
                f" {type(env).__name__}"
            )
        return env

    def _make_native_vector(self, num_envs: int, training: bool) -> VectorEnv | None:
        """Make the vector environment registered for this id, or return None if there is none to use."""
        spec = self.spec
        if spec.vector_entry_point is None or spec.additional_wrappers or self.wrappers:
            return None
        entry = spec.vector_entry_point
        try:
            constructor = entry if callable(entry) else load_env_creator(entry)
        except (ImportError, AttributeError):
            return None
        arguments = self._arguments(training)
        # A time limit of the user's own is a wrapper around each single environment.
        if {"max_episode_steps", "num_envs"} & arguments.keys() or unknown_arguments(
            constructor, arguments
        ):
            return None
        # Not as keywords of `gymnasium.make_vec`, which has arguments of its own, such as `wrappers`.
        spec = copy.copy(spec)
        spec.vector_entry_point = functools.partial(constructor, **arguments)  # type: ignore[assignment]
        env = gymnasium.make_vec(spec, num_envs, vectorization_mode="vector_entry_point")
        if env.metadata.get("autoreset_mode") is AutoresetMode.NEXT_STEP:
            return env
        env.close()
        return None

    @functools.cached_property
    def _constructor(self) -> Callable[..., Any]:
        return load_constructor(self.spec)

    def _split(self, training: bool) -> dict[str, str]:
        """Return the argument `split`, where the constructor has one (see `envs.hooks.Hooks`)."""
        if "split" in self.env_args or not takes_split(self._constructor):
            return {}
        return {"split": "train" if training else "test"}

    def _arguments(self, training: bool) -> dict[str, Any]:
        values = typed_arguments(self._constructor, self.env_args)
        return {**self._split(training), **values, **self.runs}

    def _atari_config(self) -> atari.AtariConfig:
        return atari.AtariConfig(**self.env_args)


def _time_limit(env: Env) -> int:
    """Return the steps after which Gymnasium's wrappers truncate episodes; 0 without one."""
    limits = []
    while isinstance(env, Wrapper):
        if isinstance(env, TimeLimit):
            limits.append(int(env._max_episode_steps))
        env = env.env
    return min(limits, default=0)
