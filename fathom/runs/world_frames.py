"""Images of what an agent observes, as data without labels: `frames:ENV` and `frames:RUN`.

The actions are random in an environment, and those of the trained agent for a run. Where observations are images, they are
taken as the agent gets them, a stack of frames as the channels of one image; else the rendered pictures are, shrunk. Eight
environments play side by side, and each gives every fourth of its observations. The test images are from other
environments, which are those of evaluations. Seeds are fixed.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from PIL import Image

from agents.parts.actions import action_distribution
from envs.frames import frames_data as labelled_pieces
from envs.vector import BrokenEnvironmentError, Transitions
from fathom.environments import EnvironmentSpec, resolve
from fathom.environments.side_by_side import SideBySide
from fathom.environments.user_files import absolute
from fathom.errors import FathomError
from fathom.evaluation import evaluation_seed
from fathom.recording import rendered
from fathom.runs.agent_learner import trained_agent
from fathom.runs.bounds import refuse_memory
from fathom.runs.folder import RunFolder
from fathom.runs.trained_run import open_run
from perception.networks.encoders import LARGEST_BOUND, is_image
from perception.networks.planes import channels_last

SCHEME = "frames"
FRAMES = 5_000
"""Images by default; a fifth of them is the test."""
SEED = 0
"""Of training; environment i is reset with this plus i."""
_LEAST, _MOST, _MOST_BYTES = 10, 1_000_000, 1 << 31
_ENVS = 8
_EVERY = 4
_LONG_SIDE = 96
"""Rendered pictures are shrunk by a whole factor to at most so many pixels."""

Policy = Callable[[Any, "np.ndarray | None", np.ndarray, np.random.Generator], Any]
"""(observations, action masks, episode starts, generator) → actions, as `Agent.act`."""


def frames_data(
    name: str, form: str, options: Mapping[str, Any]
) -> tuple[list[Any], list[Any]] | tuple[list[Any], list[Any], dict[str, Any]]:
    """Training and test rows of the data `frames:NAME`, and how they were made.

    Args:
        name: an environment, a run of an agent, or Atari games with commas between (see `envs.frames`).
        form: "images": rows of an image uint8 (height, width, channels) and the name.
        options: `{"frames": n}`, training and test together.

    Raises:
        ValueError: there is no such form or option; the message is one sentence.
        FathomError: there is no such environment or run, it is not trusted, or it gives no images.
    """
    if _are_games(name):
        return labelled_pieces(name, form, options)
    if form != "images":
        raise ValueError(f"frames are images, not {form}")
    if unknown := sorted(options.keys() - {"frames"}):
        raise ValueError(f"frames have no option {unknown[0]!r}, only frames")
    count = options.get("frames", FRAMES)
    if type(count) is not int or not _LEAST <= count <= _MOST:
        raise ValueError(f"frames must be a whole number from {_LEAST} to {_MOST:,}, not {count!r}")
    environment, policy, stated = _player(name)
    held_out = count // 5
    train = _images(environment, policy, count - held_out, SEED, training=True)
    test = _images(environment, policy, held_out, evaluation_seed(), training=False)
    made = {
        "policy": stated,
        "frames_seed": SEED,
        "images": "rendered" if _image_part(environment) is None else "observations",
    }
    return [(image, name) for image in train], [(image, name) for image in test], made


def absolute_reference(name: str) -> str:
    """What follows `frames:`, valid in any folder."""
    run = None if _are_games(name) else open_run(name)
    return absolute(name) if run is None else str(run.folder)


def _are_games(name: str) -> bool:
    return name == "atari" or ("," in name and ":" not in name)


def _player(name: str) -> tuple[EnvironmentSpec, Policy | None, str]:
    """The environment, the policy that plays in it (None for a random one), and that policy in words."""
    handle = open_run(name)
    if handle is None:
        return resolve(name, {}, open_run), None, "random"
    run = RunFolder.open(handle.folder)
    agent, environment, progress = trained_agent(run, warnings.warn, "cpu")
    refuse_memory(run, environment.spaces()[0], training=False)
    return environment, agent.act, f"{run.config.agent} {run.name} at step {progress.steps}"


def _image_part(environment: EnvironmentSpec) -> int | None:
    """The part of the flat observation that is an image, the first if there are several; None without any."""
    space = environment.spaces()[0]
    parts = space.spaces if isinstance(space, spaces.Tuple) else [space]
    return next((i for i, part in enumerate(parts) if is_image(part)), None)


def _images(
    environment: EnvironmentSpec, policy: Policy | None, count: int, seed: int, training: bool
) -> np.ndarray:
    """Images uint8 (count, height, width, channels), in random order."""
    part = _image_part(environment)
    env = environment.make_vector(_ENVS, training) if part is not None else None
    if env is None:
        env = _rendering(environment, training)
    try:
        act = policy or _random_policy(env, seed)
        rng = np.random.default_rng([seed, 1])
        stream = Transitions(env)
        stream.reset(seed)
        images = np.empty((0,), np.uint8)
        done = 0
        while done < count:
            for _ in range(_EVERY):
                stream.step(
                    act(stream.observations, stream.action_masks, stream.episode_starts, rng)
                )
            if part is None:
                new = np.stack([_shrunk(rendered(environment, one)) for one in env.envs])  # type: ignore[attr-defined]
            else:
                new = _bytes(environment, stream.observations, part)
            if not done:
                images = _room(environment, count, new)
            images[done : done + _ENVS] = new[: count - done]
            done += _ENVS
        return rng.permutation(images)
    except BrokenEnvironmentError as error:
        raise FathomError(f"{environment.reference} is broken: {error}") from error
    finally:
        env.close()


def _rendering(environment: EnvironmentSpec, training: bool) -> VectorEnv:
    """Environments whose pictures can be rendered."""
    make = functools.partial(environment.make_single, "rgb_array", training)
    try:
        return SideBySide([make] * _ENVS)
    except FathomError as error:
        raise FathomError(
            f"the observations of {environment.reference} are no images of at least 36×36, and {error}"
        ) from error


def _random_policy(env: VectorEnv, seed: int) -> Policy:
    """Actions drawn from the action space, or where there are masks from the legal actions."""
    env.action_space.seed(seed)

    def act(
        observations: Any,
        masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> Any:
        if masks is None:
            return env.action_space.sample()
        distribution = action_distribution(env.single_action_space)
        equal = np.zeros((len(starts), distribution.num_distribution_params), np.float32)
        return distribution.to_env_actions(distribution.sample(equal, masks, rng))

    return act


def _bytes(environment: EnvironmentSpec, observations: Any, part: int) -> np.ndarray:
    """The image part of observations as uint8 (n, height, width, channels): numbers by the bounds of their space."""
    space = environment.spaces()[0]
    if isinstance(space, spaces.Tuple):
        space, observations = space.spaces[part], observations[part]
    assert isinstance(space, spaces.Box)
    if space.dtype != np.uint8:
        low, high = float(space.low.min()), float(space.high.max())
        if not (-LARGEST_BOUND <= low < high <= LARGEST_BOUND):
            raise FathomError(
                f"the images that {environment.reference} observes have no finite bounds, which their grey levels"
                " are taken from"
            )
        observations = np.rint((observations - low) * (255 / (high - low))).clip(0, 255)
    images = observations.astype(np.uint8)
    return images if channels_last(space.shape) else np.moveaxis(images, 1, -1)


def _shrunk(picture: np.ndarray) -> np.ndarray:
    factor = -(-max(picture.shape[:2]) // _LONG_SIDE)
    return np.asarray(Image.fromarray(picture).reduce(factor))


def _room(environment: EnvironmentSpec, count: int, first: np.ndarray) -> np.ndarray:
    """Room for the images; FathomError where they would not fit into 2 GB."""
    size = first[0].nbytes
    if count * size > _MOST_BYTES:
        raise FathomError(
            f"{count:,} images of {environment.reference} take {size * count / 1e9:.1f} GB, and 2 GB are allowed:"
            f" ask for at most --data.frames {_MOST_BYTES // size}"
        )
    return np.empty((count, *first.shape[1:]), np.uint8)
