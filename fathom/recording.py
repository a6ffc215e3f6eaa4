"""Episodes as videos, written frame by frame."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Generator
from itertools import chain
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from gymnasium import Env

from agents.agent import Agent, attach, generator
from envs.actions import first_of
from envs.hooks import find_hook
from envs.observations import FlatObservation, ObservationFlattener, batch_of_one
from fathom.display import number
from fathom.environments import EnvironmentSpec
from fathom.environments.reporting import failure
from fathom.errors import FathomError
from fathom.files import replace_file, sync_file, sync_folder

DEFAULT_FPS = 30
LONG_SIDE = 640
"""Small pictures are enlarged by a whole factor up to about this many pixels."""


MAX_SECONDS = 600.0
"""A video is cut after so many seconds, unless others are asked for."""


def record(
    agent: Agent,
    environment: EnvironmentSpec,
    folder: Path,
    episodes: int,
    seed: int,
    name: str,
    max_seconds: float = MAX_SECONDS,
    warn: Callable[[str], None] = warnings.warn,
) -> list[Path]:
    """Play `episodes` episodes and write each to an mp4 file in `folder`.

    The files are called `name.mp4`, or `name-1.mp4`, `name-2.mp4` … if there are several,
    and appear only when they are complete. `name.json` beside a video holds its `fps`, its `seed`, and the reward
    of each step: `rewards[k]` is between pictures k and k + 1. An environment that has a method `transcript`,
    which gives its episode as texts by the suffix of their files, gets these files, too.

    Args:
        max_seconds: a longer video is cut, and `warn` is told.

    Raises:
        FathomError: the environment cannot be rendered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise FathomError(f"{folder} cannot be written: choose another folder")
    paths = []
    env = environment.make_single("rgb_array")
    try:
        fps = frames_a_second(environment, env)
        limit = max(1, round(min(max_seconds * fps, 1e9)))
        for episode in range(episodes):
            suffix = f"-{episode + 1}" if episodes > 1 else ""
            path = folder / f"{name}{suffix}.mp4"
            message = (
                f"{path} was cut after {number(max_seconds)} seconds, before the end of its episode;"
                " --max-seconds allows more"
            )
            rewards: list[float] = []
            frames = _frames(
                agent,
                environment,
                env,
                seed + episode,
                limit,
                functools.partial(warn, message),
                rewards,
            )
            write_video(path, frames, fps)
            about = {"fps": fps, "seed": seed + episode, "rewards": rewards}
            replace_file(path.with_suffix(".json"), json.dumps(about).encode())
            transcript = find_hook(env, "transcript")
            for ending, text in (transcript() if transcript is not None else {}).items():
                replace_file(path.with_suffix(ending), text.encode())
            paths.append(path)
    finally:
        env.close()
    return paths


def _frames(
    agent: Agent,
    environment: EnvironmentSpec,
    env: Env,
    seed: int,
    limit: int,
    cut: Callable[[], None],
    rewards: list[float],
) -> Generator[np.ndarray]:
    """Play one episode and yield its pictures, at most `limit`; `cut` is called where it has more."""
    for frame, _, _ in moments(agent, environment, env, seed, limit, cut, rewards):
        yield frame


def moments(
    agent: Agent,
    environment: EnvironmentSpec,
    env: Env,
    seed: int,
    limit: int,
    cut: Callable[[], None],
    rewards: list[float] | None = None,
) -> Generator[tuple[np.ndarray, FlatObservation, np.ndarray | None]]:
    """Play one episode; yields pictures, at most `limit`, each with what the agent is about to act on.

    That is the flat observation and the action mask, (1, …). After the last step `cut` is called if the episode
    has not ended. The reward of every step is added to `rewards`.
    """
    rng = generator(seed)
    plain = ObservationFlattener(env.observation_space)
    starts = np.ones(1, dtype=bool)
    attach(agent, env)
    observation, info = env.reset(seed=seed)
    for _ in range(limit):
        mask = info.get("action_mask")
        masks = None if mask is None else np.asarray(mask, dtype=bool)[None]
        batch = plain(batch_of_one(env.observation_space, observation))
        agent.annotate(env, batch, masks)
        yield picture(environment, env), batch, masks
        action = first_of(agent.act(batch, masks, starts, rng))
        starts = np.zeros(1, dtype=bool)
        observation, reward, terminated, truncated, info = env.step(action)
        if rewards is not None:
            rewards.append(float(reward))
        if terminated or truncated:
            yield (
                picture(environment, env),
                plain(batch_of_one(env.observation_space, observation)),
                None,
            )
            return
    cut()


def frames_a_second(environment: EnvironmentSpec, env: Env) -> float:
    """The environment's `render_fps`, of any kind of number."""
    given = (env.metadata or {}).get("render_fps")
    try:
        fps = float(DEFAULT_FPS if given is None else given)
    except (TypeError, ValueError):
        fps = math.nan
    if not 0 < fps < math.inf:
        raise FathomError(
            f"{environment.reference} cannot be recorded: metadata['render_fps'] must be a number of frames"
            f" a second, not {given!r}"
        )
    return fps


def picture(environment: EnvironmentSpec, env: Env) -> np.ndarray:
    """Render, enlarge small pictures by nearest neighbour, and make both sides even; uint8 (h, w, 3)."""
    frame = rendered(environment, env)
    factor = max(1, LONG_SIDE // max(frame.shape[:2]))
    frame = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def rendered(environment: EnvironmentSpec, env: Env) -> np.ndarray:
    """The environment's picture, uint8 (h, w, 3); FathomError where it gives none."""
    try:
        result = env.render()
    except (Exception, SystemExit) as error:
        message = str(failure(environment.reference, "render", error))
        # Without a display MuJoCo's window library fails, in one of many ways.
        if "mujoco" in sys.modules:
            message += (
                "; without a display MuJoCo needs `export MUJOCO_GL=egl`, or `MUJOCO_GL=osmesa` where"
                " there is no GPU"
            )
        raise FathomError(message) from error
    try:
        return as_rgb(result)
    except ValueError as error:
        raise FathomError(
            f"{environment.reference} cannot be recorded: {error}, and a picture is an array (height,"
            " width), or with a third axis of 1, 3 or 4 colours, of numbers 0 to 255 or 0.0 to 1.0"
        ) from error


def as_rgb(rendered: Any) -> np.ndarray:
    """A picture as uint8 (h, w, 3), from grey (h, w) or (h, w, 1), RGB or RGBA, whose transparency is left out.

    Floats none of which is above 1, and bools, count from 0 to 1, all else from 0 to 255.

    Raises:
        ValueError: it is none.
    """
    frame = np.asarray(rendered)
    shape = frame.shape if frame.ndim != 2 else (*frame.shape, 1)
    if (
        frame.dtype.kind not in "buif"
        or len(shape) != 3
        or shape[2] not in (1, 3, 4)
        or not frame.size
    ):
        kind = f"{frame.dtype} {frame.shape}" if frame.shape else type(rendered).__name__
        raise ValueError(f"render() gives {kind}")
    frame = frame.reshape(shape)[:, :, : 3 if shape[2] == 4 else None]
    if frame.dtype != np.uint8:
        low, high = float(frame.min()), float(frame.max())
        if not (low >= 0 and high <= 255):  # NaN too
            raise ValueError(f"render() gives numbers from {low:g} to {high:g}")
        from_0_to_1 = frame.dtype.kind == "b" or (frame.dtype.kind == "f" and high <= 1)
        frame = np.rint(frame * 255.0 if from_0_to_1 else frame).astype(np.uint8)
    return np.broadcast_to(frame, (*shape[:2], 3))


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]}×{picture.shape[0]}"


def _frames_in(video: Path) -> int:
    """How many frames a video has; 0 where it is broken."""
    try:
        return imageio_ffmpeg.count_frames_and_secs(video)[0]
    except RuntimeError:
        return 0


def write_video(path: Path, frames: Generator[np.ndarray], fps: float) -> None:
    """Stream frames to a file that takes its name when it is complete."""
    first = next(frames)
    height, width = first.shape[:2]
    part = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
    part.unlink(missing_ok=True)  # ffmpeg would follow a link
    try:
        writer = imageio_ffmpeg.write_frames(
            part,
            (width, height),
            fps=fps,
            quality=7,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=["-movflags", "+faststart"],
        )
        sent = 0
        not_whole = FathomError(
            f"{path} could not be written whole: the disk is full, or a limit on file sizes was"
            " reached; make room and record again"
        )
        try:
            writer.send(None)
            for frame in chain([first], frames):
                if frame.shape != first.shape:
                    raise FathomError(
                        f"{path.name} cannot be recorded: its pictures change their size, from"
                        f" {_size(first)} to {_size(frame)} after {sent:,} frames"
                    )
                try:
                    writer.send(frame)
                except OSError as error:  # ffmpeg is gone
                    raise not_whole from error
                sent += 1
        finally:
            writer.close()
        # Of the end of a video, which ffmpeg writes after the last frame, it tells us nothing.
        if not part.is_file() or _frames_in(part) != sent:
            raise not_whole
        sync_file(part)
        os.replace(part, path)
        sync_folder(path.parent)
    finally:
        frames.close()
        part.unlink(missing_ok=True)


def check_rendering(environment: EnvironmentSpec) -> None:
    """Raise FathomError when episodes of this environment cannot be recorded."""
    env = environment.make_single("rgb_array")
    try:
        env.reset(seed=0)
        frames_a_second(environment, env)
        picture(environment, env)
    finally:
        env.close()
