"""From the name of a world, as a person types it, to the world itself.

A reference is a registered id (``ALE/Pong-v5``), ``module:Id`` (the module is imported
first, then the id is looked up) or ``path/to/file.py:Class``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import fnmatch
import functools
import importlib
import importlib.util
import inspect
import json
import math
import os
import sys
import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Env, Space
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from envs import atari
from envs.go.program import is_run_folder
from envs.observations import ObservationFlattener
from fathom.environments.check import (
    ErrorReportingEnv,
    ErrorReportingVectorEnv,
    one_line,
    reporting_errors,
)
from fathom.environments.user_files import spec_from_file
from fathom.errors import FathomError

Value = str | int | float | bool

NEEDED_PACKAGES = {
    "gymnasium.envs.mujoco": "mujoco",
    "gymnasium.envs.box2d": "Box2D",
    "gymnasium.envs.phys2d": "flax",
    "gymnasium.envs.tabular": "flax",
}
"""What Gymnasium's own environments need beside it, by the start of their entry point."""


@dataclass(frozen=True)
class EnvironmentSpec:
    """An environment that was asked for, with the arguments it was asked for with."""

    reference: str
    """The reference, with a file's path made absolute so that it holds in any folder."""
    env_args: Mapping[str, Value]
    """The environment's own arguments, converted to their types."""
    spec: EnvSpec = dataclasses.field(repr=False, compare=False)

    @property
    def is_atari(self) -> bool:
        """Whether this is an Atari game, which ALE's own vector environment plays."""
        return atari.is_atari(self.spec.id)

    @property
    def frame_stack(self) -> int:
        """How many planes of an observation are a stack of frames (0: it is not one)."""
        return atari.FRAME_STACK if self.is_atari else 0

    def make_vector(self, num_envs: int, training: bool) -> VectorEnv:
        """Make `num_envs` copies in one vector environment that resets on the next step."""
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
            env = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise FathomError(
                f"{self.reference} cannot be made {num_envs} times: {one_line(error)}"
            ) from error
        return ErrorReportingVectorEnv(env, self.reference)

    def make_single(self, render_mode: str | None, training: bool = False) -> Env:
        """Make one environment; with `render_mode="rgb_array"` its `render()` gives a picture."""
        if self.is_atari:
            return atari.make_single(self.spec.id, self._atari_config(), render_mode)
        return self._make(render_mode, training, "")

    def _make(self, render_mode: str | None, training: bool, which: str) -> Env:
        arguments = self._with_understanding(training)
        if render_mode is not None:
            metadata = getattr(_creator(self.spec), "metadata", None)
            if metadata is not None and render_mode not in metadata.get("render_modes", []):
                raise FathomError(f"{self.reference} has no rendering of the kind {render_mode}")
            arguments["render_mode"] = render_mode
        try:
            env = gymnasium.make(self.spec, disable_env_checker=True, **arguments)
            return ErrorReportingEnv(env, self.reference, which)
        except (Exception, SystemExit) as error:
            # What our worlds say is meant to be read, and needs no type of the error before it.
            ours = self.spec.namespace == "Fathom" and isinstance(error, ValueError)
            message = str(error) if ours else one_line(error)
            raise FathomError(f"{self.reference} cannot be made: {message}") from error

    def describe(self) -> dict[str, Value]:
        """Return the protocol: what a score in this world has to be printed with."""
        if self.is_atari:
            return dict(atari.describe(self.spec.id, self._atari_config()))
        limit = self.env_args.get("max_episode_steps", self.spec.max_episode_steps)
        env = self.make_single(None)
        try:
            with reporting_errors(self.reference, "protocol"):
                own = env.unwrapped.protocol() if hasattr(env.unwrapped, "protocol") else {}
        finally:
            env.close()
        try:
            # As a run's folder gives it back, in which a tuple is a list.
            own = json.loads(json.dumps(dict(own or {}), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise FathomError(
                f"{self.reference}: protocol() must give a dictionary of numbers and texts, not {own!r}"
            ) from error
        protocol: dict[str, Value] = {"environment": self.reference}
        protocol |= own or {"time_limit": "none" if limit is None else limit}
        protocol |= {f"env.{name}": value for name, value in self._arguments(False).items()}
        protocol["gymnasium"] = gymnasium.__version__
        return protocol

    def spaces(self) -> tuple[Space, Space]:
        """Return the plain observation space and the action space of one environment."""
        env = self.make_single(None)
        try:
            return ObservationFlattener(env.observation_space).space, env.action_space
        except ValueError as error:
            raise FathomError(f"{self.reference}: {error}") from error
        finally:
            env.close()

    def expert(self) -> Callable[[Any, np.ndarray | None], np.ndarray] | None:
        """The world's rule of thumb: the method `expert_action` of its class, if that has one.

        It takes plain observations of n environments and their action masks, gives n actions.
        """
        if self.is_atari or not hasattr(_creator(self.spec), "expert_action"):
            return None
        env: Any = self.make_single(None).unwrapped

        def expert_action(observations: Any, action_masks: np.ndarray | None) -> np.ndarray:
            with reporting_errors(self.reference, "expert_action"):
                actions = np.asarray(env.expert_action(observations, action_masks))
            n = len(observations[0] if isinstance(observations, tuple) else observations)
            wanted = (n, *(env.action_space.shape or ()))
            if actions.shape != wanted:
                raise FathomError(
                    f"{self.reference}: expert_action() must give an action for each of {n} observations, an"
                    f" array of the shape {wanted}, not {actions.shape}"
                )
            return actions

        return expert_action

    def _arguments(self, training: bool) -> dict[str, Any]:
        """The environment's own arguments. One called `split` is how a world keeps what it is
        trained on apart from what it is tested on: it becomes "train" or "test"."""
        split = {"split": "train" if training else "test"}
        if "split" not in inspect.signature(_creator(self.spec)).parameters:
            split = {}
        return split | dict(self.env_args)

    def _with_understanding(self, training: bool) -> dict[str, Any]:
        """The arguments, with a fit itself in place of its folder's name."""
        arguments = self._arguments(training)
        folder = arguments.get("understanding")
        if folder is not None and _is_ours(self.spec):
            arguments["understanding"] = _understanding(str(folder))
        return arguments

    def _atari_config(self) -> atari.AtariConfig:
        return atari.AtariConfig(**self.env_args)  # type: ignore[arg-type]

    def _make_native_vector(self, num_envs: int, training: bool) -> VectorEnv | None:
        """Make the vector environment registered for this id, if it does all we ask of it."""
        spec = self.spec
        if spec.vector_entry_point is None or spec.additional_wrappers:
            return None
        entry = spec.vector_entry_point
        try:
            creator = entry if callable(entry) else load_env_creator(entry)
        except (ImportError, AttributeError):
            return None
        arguments = self._with_understanding(training)
        # A time limit of the person's own is a wrapper's work, round each environment.
        if "max_episode_steps" in arguments or _unknown_arguments(creator, arguments):
            return None
        env = gymnasium.make_vec(
            spec, num_envs, vectorization_mode="vector_entry_point", **arguments
        )
        if env.metadata.get("autoreset_mode") is AutoresetMode.NEXT_STEP:
            return env
        env.close()
        return None


def resolve(reference: str, env_args: Mapping[str, str] | None = None) -> EnvironmentSpec:
    """Find the world that `reference` names; FathomError in one sentence when there is none."""
    given = dict(env_args or {})
    target, _, name = reference.rpartition(":")
    if target.endswith(".py"):
        path = Path(target).expanduser().resolve()
        spec = spec_from_file(path, name)
        reference = f"{path}:{name}"
    elif name.endswith(".py"):
        raise FathomError(f"{reference!r} names a file and no class; write {reference}:Class")
    else:
        if target:
            _import_module(target, reference)
        spec = _registered(name)
    if atari.is_atari(spec.id):
        return EnvironmentSpec(reference, _atari_arguments(reference, given), spec)
    creator = _creator(spec)
    unknown = _unknown_arguments(creator, given)
    if unknown:
        raise FathomError(_unknown_argument(reference, unknown[0], _argument_names(creator)))
    hints = _hints(creator)
    values = {key: _typed(key, str(text), hints.get(key)) for key, text in given.items()}
    if _is_ours(spec):
        _make_lasting(values)
    return EnvironmentSpec(reference, values, spec)


def _make_lasting(arguments: dict[str, Any]) -> None:
    """Make paths absolute, in the arguments of a world of ours: a run goes on in any folder."""
    if "split" in arguments:
        raise FathomError(
            "--env.split is not for you to set: a run trains on one part and is tested on the other"
        )
    if "understanding" in arguments:
        from fathom.runs.run import find

        folder = find(str(arguments["understanding"]), Path("runs")).folder
        arguments["understanding"] = str(folder.resolve())
    for name, marks in (("domain", (".yaml", ".yml")), ("data", ("",)), ("opponent", ("",))):
        text = str(arguments.get(name, ""))
        is_path = text.endswith(marks) and (name != "opponent" or is_run_folder(text))
        if text and is_path and os.path.exists(text):
            arguments[name] = os.path.abspath(text)


def _is_ours(spec: EnvSpec) -> bool:
    return spec.namespace == "Fathom"


@functools.lru_cache(maxsize=4)
def _understanding(folder: str) -> Any:
    """What understands sentences, from the folder of a fit of slot-filling."""
    from fathom.runs.fit import understanding  # it needs this module

    return understanding(Path(folder))


def list_environments() -> list[str]:
    """Return the registered ids that can be made here: newest versions, ours first, then Atari."""
    _register_all()
    newest: dict[tuple[str | None, str], EnvSpec] = {}
    for spec in gymnasium.registry.values():
        known = newest.get((spec.namespace, spec.name))
        if known is None or (spec.version or 0) > (known.version or 0):
            newest[spec.namespace, spec.name] = spec
    ranks = {"Fathom": 0, "ALE": 1}
    usable = filter(_is_usable, newest.values())
    ordered = sorted(usable, key=lambda s: (ranks.get(s.namespace or "", 2), s.id))
    return [spec.id for spec in ordered]


def preset(agent: str, reference: str) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the tables of the preset that fits best, or None where none fits.

    A preset is a file in `fathom/environments/presets`: `algorithm` names the agent, `environments` lists
    patterns for the environment's name, and the tables `run` and `agent` hold the flags.
    """
    best: tuple[int, str, dict[str, Any]] | None = None
    folder = files("fathom.environments") / "presets"
    if not folder.is_dir():
        return None
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".toml"):
            continue
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        if content["algorithm"] != agent:
            continue
        for pattern in content["environments"]:
            if not fnmatch.fnmatchcase(reference, pattern):
                continue
            # An exact name beats any pattern; of two patterns the one that says more wins.
            says = sum(character not in "*?[]" for character in pattern)
            weight = 2 * says + (pattern == reference)
            if best is None or weight > best[0]:
                best = (weight, file.name.removesuffix(".toml"), content)
    return None if best is None else best[1:]


def list_presets() -> list[str]:
    """The names of all presets."""
    folder = files("fathom.environments") / "presets"
    return sorted(
        item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")
    )


# Registered ids


def _register_all() -> None:
    import ale_py

    import envs

    gymnasium.register_envs(ale_py)
    gymnasium.register_envs(envs)


def _registered(name: str) -> EnvSpec:
    _register_all()
    try:
        return gymnasium.spec(name)
    except Exception:
        raise FathomError(
            f"there is no environment {name!r}{_did_you_mean(name, list_environments())}"
        ) from None


def _did_you_mean(name: str, known: list[str]) -> str:
    """Name the nearest of `known`, with and without the namespace, whatever the case."""

    def bare(text: str) -> str:
        return text.lower().rpartition("/")[2].rpartition("-v")[0] or text.lower()

    def likeness(other: str) -> float:
        whole = difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()
        return max(whole, difflib.SequenceMatcher(None, bare(name), bare(other)).ratio())

    scored = sorted(((likeness(other), other) for other in known), key=lambda pair: -pair[0])
    near = [other for score, other in scored[:3] if score >= 0.6]
    return f"; the nearest names are {', '.join(near)}" if near else "; try `fathom list`"


def _is_usable(spec: EnvSpec) -> bool:
    """Whether it can be made here, and is not an Atari game's old id or a bridge to old Gym."""
    entry = spec.entry_point
    if spec.name.startswith(("GymV21", "GymV26")):
        return False
    if not isinstance(entry, str):
        return entry is not None
    if entry.startswith("ale_py") and spec.namespace != "ALE":
        return False
    for start, package in NEEDED_PACKAGES.items():
        if entry.startswith(start):
            return importlib.util.find_spec(package) is not None
    return True


def _import_module(module: str, reference: str) -> None:
    """Import the module of `module:Id`, from the current folder too, but never before ours."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            raise FathomError(f"there is no module {module!r}, named in {reference!r}") from error
        raise FathomError(f"{module} cannot be imported: {one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise FathomError(f"{module} cannot be imported: {one_line(error)}") from error


# The environment's own arguments


def _creator(spec: EnvSpec) -> Callable[..., Any]:
    if spec.entry_point is None:
        raise FathomError(f"{spec.id} is registered as a vector environment only")
    if callable(spec.entry_point):
        return spec.entry_point
    try:
        return load_env_creator(spec.entry_point)
    except Exception as error:
        raise FathomError(f"{spec.id} cannot be loaded: {one_line(error)}") from error


def _argument_names(creator: Callable[..., Any]) -> list[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(creator).parameters.values()
    names = [p.name for p in parameters if p.kind in named]
    hidden = ("self", "render_mode", "num_envs")
    return [*(n for n in names if n not in hidden), "max_episode_steps"]


def _unknown_arguments(creator: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    parameters = inspect.signature(creator).parameters.values()
    names = _argument_names(creator)
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return [] if anything else [name for name in given if name not in names]


def _unknown_argument(reference: str, name: str, known: list[str]) -> str:
    return f"{reference} has no argument {name!r}; it has {', '.join(dict.fromkeys(known))}"


def _convert(text: str) -> Value:
    """Read a flag's text as a bool, an int or a finite float, and else leave it as it is."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):  # JSON has no other numbers
            return value
    return text


def _hints(creator: Callable[..., Any]) -> dict[str, Any]:
    """What the arguments are annotated with, where that can be told."""
    function: Any = creator.__init__ if inspect.isclass(creator) else creator
    try:
        return typing.get_type_hints(function)
    except Exception:  # annotations may name what is imported for type checkers only
        return {}


def _typed(name: str, text: str, hint: Any) -> Value:
    """Read a flag's text as the plain type `hint`; any other hint leaves it to the text."""
    value = text if hint is str else _convert(text)
    fits = type(value) is hint or (hint is float and type(value) is int)
    if hint in (int, float, bool) and not fits:
        raise FathomError(f"--env.{name} must be of the type {hint.__name__}, not {text!r}")
    return value


def _atari_arguments(reference: str, given: Mapping[str, str]) -> dict[str, Value]:
    hints = typing.get_type_hints(atari.AtariConfig)
    names = [field.name for field in dataclasses.fields(atari.AtariConfig)]
    values: dict[str, Value] = {}
    for name, text in given.items():
        if name not in names:
            raise FathomError(_unknown_argument(reference, name, names))
        value, hint = _convert(str(text)), hints[name]
        choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        if choices and value not in choices:
            listed = ", ".join(map(str, choices))
            raise FathomError(f"--env.{name} must be one of {listed}, not {text!r}")
        if not choices and isinstance(hint, type) and not isinstance(value, hint):
            raise FathomError(f"--env.{name} must be of the type {hint.__name__}, not {text!r}")
        values[name] = value
    return values
