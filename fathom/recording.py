"""Episodes as videos, written frame by frame."""

from __future__ import annotations

import os
from collections.abc import Generator
from itertools import chain
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from gymnasium import Env, Space
from gymnasium.vector.utils import concatenate, create_empty_array

from agents.agent import Agent, generator
from envs.observations import ObservationFlattener
from fathom.environments import EnvironmentSpec
from fathom.errors import FathomError
from fathom.evaluation import STEP_LIMIT
from fathom.files import replace_file, sync_file, sync_folder

DEFAULT_FPS = 30
LONG_SIDE = 640
"""Small pictures are enlarged by a whole factor up to about this many pixels."""


def record(
    agent: Agent, environment: EnvironmentSpec, folder: Path, episodes: int, seed: int, name: str
) -> list[Path]:
    """Play `episodes` episodes and write each to an mp4 file in `folder`.

    The files are called `name.mp4`, or `name-1.mp4`, `name-2.mp4` … if there are several,
    and appear only when they are complete. An environment that has a method `transcript`, which gives
    its episode as texts by the suffix of their files, gets these files, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise FathomError(f"{folder} cannot be written: choose another folder")
    paths = []
    env = environment.make_single("rgb_array")
    try:
        fps = env.metadata.get("render_fps", DEFAULT_FPS)
        for episode in range(episodes):
            suffix = f"-{episode + 1}" if episodes > 1 else ""
            path = folder / f"{name}{suffix}.mp4"
            _write(path, _frames(agent, environment, env, seed + episode), fps)
            if hasattr(env.unwrapped, "transcript"):
                for ending, text in env.unwrapped.transcript().items():
                    replace_file(path.with_suffix(ending), text.encode())
            paths.append(path)
    finally:
        env.close()
    return paths


def _frames(
    agent: Agent, environment: EnvironmentSpec, env: Env, seed: int
) -> Generator[np.ndarray]:
    """Play one episode and yield its pictures."""
    rng = generator(seed)
    plain = ObservationFlattener(env.observation_space)
    starts = np.ones(1, dtype=bool)
    observation, info = env.reset(seed=seed)
    limit = max(STEP_LIMIT, environment.time_limit)
    for _ in range(limit):
        mask = info.get("action_mask")
        masks = None if mask is None else np.asarray(mask, dtype=bool)[None]
        batch = plain(_batch(env.observation_space, observation))
        agent.annotate(env, batch, masks)
        yield picture(environment, env)
        action = agent.act(batch, masks, starts, rng)[0]
        starts = np.zeros(1, dtype=bool)
        observation, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            yield picture(environment, env)
            return
    raise FathomError(f"an episode of {environment.reference} has not ended after {limit:,} steps")


def _batch(space: Space, observation: Any) -> Any:
    """Make a batch of one observation."""
    empty: Any = create_empty_array(space, n=1)
    return concatenate(space, [observation], empty)


def picture(environment: EnvironmentSpec, env: Env) -> np.ndarray:
    """Render, enlarge small pictures by nearest neighbour, and make both sides even."""
    try:
        frame = env.render()
    except Exception as error:
        message = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise FathomError(f"{environment.reference} cannot be rendered: {message}") from error
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
        raise FathomError(f"{environment.reference} does not render an RGB picture")
    if frame.dtype != np.uint8:
        raise FathomError(
            f"{environment.reference} renders {frame.dtype} numbers, and a picture is of uint8, 0 to 255"
        )
    factor = max(1, LONG_SIDE // max(frame.shape[:2]))
    frame = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]}×{picture.shape[0]}"


def _frames_in(video: Path) -> int:
    """How many frames a video has; 0 where it is broken."""
    try:
        return imageio_ffmpeg.count_frames_and_secs(video)[0]
    except RuntimeError:
        return 0


def _write(path: Path, frames: Generator[np.ndarray], fps: float) -> None:
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
        picture(environment, env)
    except FathomError:
        raise
    except Exception as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise FathomError(f"{environment.reference} cannot be recorded: {message}") from error
    finally:
        env.close()
