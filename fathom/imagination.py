"""What a model-based agent imagines beside what happens: a video, and a curve of its errors."""

from __future__ import annotations

import io
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Env
from PIL import Image, ImageDraw

from agents.agent import Agent, generator
from agents.muzero import MuZero
from envs.actions import first_of
from envs.observations import FlatObservation, ObservationFlattener, batch_of_one
from fathom.environments import EnvironmentSpec
from fathom.errors import FathomError
from fathom.files import replace_file
from fathom.recording import frames_a_second, picture, write_video

MOST_STEPS = 200
"""Steps that can be imagined at once."""
_AT_ONCE = 64
"""Positions that are imagined from in one batch."""
_SIDE, _GAP, _HEAD = 320, 12, 26
_CURVES = 6
"""Numbers of a vector that are drawn: those that vary most."""
_TRUE, _IMAGINED = (40, 90, 160), (214, 96, 36)


@dataclass(frozen=True)
class Imagined:
    """Files, and errors over the steps."""

    videos: list[Path]
    picture: Path
    errors: list[float]
    """Mean squared error after 0, 1, … K imagined steps, of scaled observations."""
    unchanged: list[float]
    """The same for the guess that nothing changes."""


@dataclass
class _Episode:
    pictures: list[np.ndarray]
    observations: FlatObservation
    """(n, …), flat; one more than actions."""
    actions: np.ndarray


def imagine(
    agent: Agent,
    environment: EnvironmentSpec,
    folder: Path,
    steps: int,
    episodes: int,
    seed: int,
    name: str,
    max_seconds: float,
) -> Imagined:
    """Play episodes, imagine `steps` steps from their positions, and write videos and a curve.

    In the video the imagination starts anew from the true observation every `steps` steps, and knows of what
    follows the actions only.

    Raises:
        FathomError: the agent has no model to imagine with, or observations cannot be decoded.
    """
    if not isinstance(agent, MuZero):
        raise FathomError(
            "only runs of muzero have a model that can imagine; record this run without --imagine"
        )
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise FathomError(f"imagine must be a whole number from 1 to {MOST_STEPS}, not {steps!r}")
    if agent.decoder is None:
        raise FathomError(
            f"what the model imagines of {environment.reference} cannot be shown: only a single image, grid,"
            f" vector or list of indices can be decoded, not {agent.observation_space}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    videos: list[Path] = []
    sums, counts = np.zeros((2, steps + 1)), np.zeros(steps + 1)
    env = environment.make_single("rgb_array")
    try:
        fps = frames_a_second(environment, env)
        limit = max(2, round(min(max_seconds * fps, 1e6)))
        for number in range(episodes):
            episode = _play(agent, environment, env, seed + number, limit)
            true = agent.scaled(episode.observations)
            _add_errors(agent, episode, true, steps, sums, counts)
            ending = f"-{number + 1}" if episodes > 1 else ""
            path = folder / f"{name}-imagine{ending}.mp4"
            write_video(path, _frames(agent, episode, true, steps), fps)
            videos.append(path)
    finally:
        env.close()
    known = counts > 0
    errors, unchanged = (line[known] / counts[known] for line in sums)
    curve = folder / f"{name}-imagine.png"
    replace_file(curve, _curve(errors, unchanged))
    return Imagined(videos, curve, errors.tolist(), unchanged.tolist())


def _play(agent: MuZero, environment: EnvironmentSpec, env: Env, seed: int, limit: int) -> _Episode:
    rng, plain = generator(seed), ObservationFlattener(env.observation_space)
    starts = np.ones(1, bool)
    observation, info = env.reset(seed=seed)
    seen: list[np.ndarray] = []
    pictures: list[np.ndarray] = []
    actions: list[int] = []
    over = False
    while True:
        batch = plain(batch_of_one(env.observation_space, observation))
        assert isinstance(batch, np.ndarray), "what has several parts cannot be decoded"
        seen.append(batch)
        pictures.append(picture(environment, env))
        if over or len(actions) == limit - 1:
            break
        mask = info.get("action_mask")
        masks = None if mask is None else np.asarray(mask, bool)[None]
        action = first_of(agent.act(batch, masks, starts, rng))
        starts = np.zeros(1, bool)
        actions.append(int(action))
        observation, _, terminated, truncated, info = env.step(action)
        over = bool(terminated or truncated)
    return _Episode(pictures, np.concatenate(seen), np.array(actions, np.int64))


def _add_errors(
    agent: MuZero,
    episode: _Episode,
    true: np.ndarray,
    steps: int,
    sums: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Add the squared errors of imaginations from all positions of an episode, and of what is unchanged."""
    n = len(episode.actions)
    rows = true.reshape(len(true), -1)
    assert isinstance(episode.observations, np.ndarray)
    for first in range(0, n, _AT_ONCE):
        starts = np.arange(first, min(first + _AT_ONCE, n))
        places = starts[:, None] + np.arange(steps + 1)
        actions = episode.actions[np.minimum(places[:, :-1], n - 1)]
        imagined = agent.imagine(episode.observations[starts], actions)
        imagined = imagined.reshape(*imagined.shape[:2], -1)
        wanted, there = rows[np.minimum(places, n)], places <= n
        for line, guess in enumerate((imagined, rows[starts][:, None])):
            sums[line] += (np.square(guess - wanted).mean(axis=2) * there).sum(axis=0)
        counts += there.sum(axis=0)


def _frames(
    agent: MuZero, episode: _Episode, true: np.ndarray, steps: int
) -> Generator[np.ndarray]:
    """The true episode, and beside it what was observed and what was imagined."""
    n = len(episode.actions)
    imagined, ahead = np.zeros_like(true), np.zeros(len(true), np.int64)
    assert isinstance(episode.observations, np.ndarray)
    for first in range(0, max(n, 1), steps):
        last = min(first + steps, n)
        start = episode.observations[first : first + 1]
        told = agent.imagine(start, episode.actions[None, first:last])[0]
        imagined[first : last + 1] = told
        ahead[first : last + 1] = np.arange(last - first + 1)
    draw = _draw_planes if true.ndim == 4 else _draw_curves
    stacked = bool(agent.context.frame_stack)
    for i, screen in enumerate(episode.pictures):
        panel = draw(true, imagined, ahead, i, steps, stacked)
        shown = Image.fromarray(screen)
        height = panel.height
        shown.thumbnail((2 * height, height - _HEAD))
        width = (shown.width + _GAP + panel.width + 1) // 2 * 2
        canvas = Image.new("RGB", (width, height + height % 2), "white")
        canvas.paste(shown, (0, _HEAD))
        canvas.paste(panel, (shown.width + _GAP, 0))
        ImageDraw.Draw(canvas).text((4, 6), f"step {i}", fill="black")
        yield np.asarray(canvas)


def _draw_planes(
    true: np.ndarray, imagined: np.ndarray, ahead: np.ndarray, i: int, steps: int, stacked: bool
) -> Image.Image:
    """Two pictures side by side: what was observed, and what was imagined."""
    panel = Image.new("RGB", (2 * _SIDE + _GAP, _SIDE + _HEAD), "white")
    heads = ("observed", f"imagined, {ahead[i]} of {steps} steps ahead")
    for k, (head, planes) in enumerate(zip(heads, (true[i], imagined[i]), strict=True)):
        image = Image.fromarray(_colours(planes, stacked))
        scale = _SIDE / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        left = k * (_SIDE + _GAP)
        panel.paste(image.resize(size, Image.Resampling.NEAREST), (left, _HEAD))
        ImageDraw.Draw(panel).text((left + 4, 6), head, fill="black")
    return panel


def _colours(planes: np.ndarray, stacked: bool) -> np.ndarray:
    """(channels, height, width) in 0…1 as uint8 (height, width, 3): of a stack of frames the newest; of one
    channel grey, of three red, green and blue; of others each in a colour of its own."""
    planes = np.clip(planes, 0, 1)
    if stacked or len(planes) == 1:
        mixed = planes[-1:].repeat(3, axis=0)
    elif len(planes) == 3:
        mixed = planes
    else:
        from matplotlib import colormaps

        colours = colormaps["hsv"](np.linspace(0, 1, len(planes), endpoint=False))[:, :3]
        mixed = np.clip(np.einsum("chw,cr->rhw", planes, colours), 0, 1)
    return np.rint(mixed.transpose(1, 2, 0) * 255).astype(np.uint8)


def _draw_curves(
    true: np.ndarray, imagined: np.ndarray, ahead: np.ndarray, i: int, steps: int, stacked: bool
) -> Image.Image:
    """The numbers that vary most so far, observed and imagined, over the last steps."""
    chosen = np.sort(np.argsort(-true.std(axis=0), kind="stable")[:_CURVES])
    width, strip = 2 * _SIDE, max(48, _SIDE // len(chosen))
    panel = Image.new("RGB", (width, _HEAD + strip * len(chosen)), "white")
    draw = ImageDraw.Draw(panel)
    draw.text((4, 6), "observed", fill=_TRUE)
    draw.text((70, 6), f"imagined, {ahead[i]} of {steps} steps ahead", fill=_IMAGINED)
    window = np.arange(max(0, i - 119), i + 1)
    for row, column in enumerate(chosen):
        top = _HEAD + row * strip
        low, high = true[:, column].min(), true[:, column].max()
        span = max(float(high - low), 1e-6)
        draw.line([(0, top + strip - 1), (width, top + strip - 1)], fill=(225, 225, 225))
        draw.text((4, top + 2), f"number {column}", fill=(120, 120, 120))

        def place(k: Any, value: float, top: int = top, low: Any = low, span: float = span) -> Any:
            x = (k - window[0]) * (width - 8) / 119 + 4
            y = top + strip - 8 - (strip - 24) * (float(value) - float(low)) / span
            return x, min(max(y, top + 2), top + strip - 2)

        draw.line([place(k, true[k, column]) for k in window], fill=_TRUE, width=2)
        for first in range(window[0] // steps * steps, i + 1, steps):
            ks = [k for k in range(max(first, window[0]), min(first + steps - 1, i) + 1)]
            draw.line([place(k, imagined[k, column]) for k in ks], fill=_IMAGINED, width=2)
    return panel


def _curve(errors: np.ndarray, unchanged: np.ndarray) -> bytes:
    """The errors over the steps as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(errors, color="#d66024", label="the model")
    axes.plot(unchanged, color="#888888", linestyle="--", label="nothing changes")
    axes.set(xlabel="steps imagined", ylabel="mean squared error", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
