"""Pictures of a dialogue: messages on the left, the agent's belief on the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.dialogue.goals import Goal
from envs.dialogue.transcript import Message, SlotBelief, frame_words, goal_words

WIDTH, HEIGHT = 1040, 720
_SCALE = 2  # drawn at twice the size and shrunk: smooth edges
_SPLIT = 600
"""Left edge of the agent's belief."""
_BUBBLE = 400
"""Largest width of a bubble's text."""

_PAPER, _PANEL, _LINE = (246, 244, 239), (38, 44, 58), (66, 74, 92)
_USER, _AGENT, _INK = (255, 255, 255), (52, 104, 192), (40, 42, 48)
_PALE, _DIM, _FAINT = (236, 240, 246), (150, 158, 174), (132, 128, 120)
_SURE, _ANY, _SECOND = (64, 150, 104), (104, 112, 132), (196, 128, 56)
_ERROR, _SUCCESS, _QUESTION = (196, 62, 52), (44, 138, 84), (220, 164, 52)


@dataclass(frozen=True)
class Scene:
    """The content of a picture."""

    task: str
    goal: Goal
    messages: Sequence[Message]
    beliefs: Sequence[SlotBelief]
    matches: int
    """Number of matching rows."""
    rows: int
    """Number of all rows."""
    turn: int
    max_turns: int
    reason: str
    """Why it is over; "" while it goes on."""


@lru_cache(maxsize=16)
def _font(size: float) -> Any:
    return ImageFont.load_default(size * _SCALE)


class _Canvas:
    """A picture to draw on, in units of `_SCALE` pixels."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), _PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def box(self, x: float, y: float, width: float, height: float, fill: Any, r: float = 0) -> None:
        """A rectangle with round corners."""
        if width < 0.5:
            return
        corners = [x * _SCALE, y * _SCALE, (x + width) * _SCALE - 1, (y + height) * _SCALE - 1]
        self._draw.rounded_rectangle(corners, min(r, width / 2, height / 2) * _SCALE, fill=fill)

    def line(self, points: Sequence[tuple[float, float]], fill: Any, width: float) -> None:
        """A line through some points."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill, round(width * _SCALE), joint="curve")

    def text(
        self, x: float, y: float, text: str, size: float, fill: Any, anchor: str = "lm"
    ) -> None:
        """A line of text; see Pillow for anchors."""
        self._draw.text((x * _SCALE, y * _SCALE), text, fill, _font(size), anchor)


def picture(scene: Scene) -> np.ndarray:
    """Return a picture, (HEIGHT, WIDTH, 3) uint8."""
    canvas = _Canvas()
    task = _cut(scene.task[:1].upper() + scene.task[1:], 19, _SPLIT - 160)
    canvas.text(28, 28, task, 19, _INK)
    turns = f"turn {scene.turn} of {scene.max_turns}"
    canvas.text(_SPLIT - 28, 28, turns, 14, _FAINT, "rm")
    floor = HEIGHT - 22
    if scene.reason:
        floor -= 58
        success = scene.reason == "success"
        canvas.box(20, floor + 14, _SPLIT - 40, 46, _SUCCESS if success else _ERROR, 10)
        verdict = "Success" if success else f"Failed: {scene.reason.replace('_', ' ')}"
        canvas.text(_SPLIT / 2, floor + 37, _cut(verdict, 20, _SPLIT - 60), 20, _USER, "mm")
    _talk(canvas, scene.messages, floor)
    canvas.box(_SPLIT, 0, WIDTH - _SPLIT, HEIGHT, _PANEL)
    _believed(canvas, scene)
    size = (WIDTH, HEIGHT)
    return np.asarray(canvas.image.resize(size, Image.Resampling.LANCZOS)).copy()


def _talk(canvas: _Canvas, messages: Sequence[Message], floor: float) -> None:
    """Draw the last messages, from the bottom up, as far as there is room."""
    for one in reversed(messages):
        lines = _wrapped(one.text, 16, _BUBBLE)
        noted = _note(one)
        height = 21 * len(lines) + 16
        floor -= height + (18 if noted else 0) + 10
        if floor < 50:
            return
        width = max(_length(line, 16) for line in lines) + 28
        left = _SPLIT - 24 - width if one.by_agent else 24
        canvas.box(left, floor, width, height, _AGENT if one.by_agent else _USER, 12)
        for number, line in enumerate(lines):
            colour = _USER if one.by_agent else _INK
            canvas.text(left + 14, floor + 19 + 21 * number, line, 16, colour)
        if noted:
            misheard = one.heard != one.user
            text = _cut(noted, 13, _SPLIT - 70)
            canvas.text(left + 14, floor + height + 9, text, 13, _ERROR if misheard else _FAINT)


def _note(one: Message) -> str:
    """Return the note under a bubble."""
    if one.heard is None:
        return ""
    if one.heard != one.user:
        return f"heard: {frame_words(one.heard)} ({one.confidence:.0%} sure)"
    return f"heard, {one.confidence:.0%} sure" if one.confidence < 0.995 else ""


def _believed(canvas: _Canvas, scene: Scene) -> None:
    left, right = _SPLIT + 24, WIDTH - 24
    canvas.text(left, 28, "What the agent believes", 17, _PALE)
    goal = _wrapped(goal_words(scene.goal), 13, right - left)[:5]
    foot = HEIGHT - 22 - 17 * len(goal)
    canvas.text(left, foot - 18, "The user's goal, which the agent cannot see", 13, _PALE)
    for number, line in enumerate(goal):
        canvas.text(left, foot + 4 + 17 * number, line, 13, _DIM)
    canvas.line([(left, foot - 38), (right, foot - 38)], _LINE, 1)
    _matches(canvas, scene, left, right, foot - 104)
    top, room = 52, foot - 124 - 52
    step = min(46.0, room / len(scene.beliefs))
    for number, one in enumerate(scene.beliefs):
        _slot(canvas, one, left, right, top + number * step, step)


def _slot(
    canvas: _Canvas, one: SlotBelief, left: float, right: float, top: float, step: float
) -> None:
    """Draw a slot's name, a bar for the probability of the best hypothesis, and the second one below."""
    size = min(15.0, step * 0.5)
    middle, bar, width = top + step * 0.4, left + 118, right - left - 118 - 46
    height = step * 0.56
    name = _cut(one.slot.replace("_", " "), size, 108 - (22 if one.question else 0))
    canvas.text(left, middle, name, size, _PALE if one.best or one.question else _DIM)
    if one.question:
        answered = one.answer is not None
        canvas.box(bar - 26, middle - 8, 18, 16, _SURE if answered else _QUESTION, 8)
        canvas.text(bar - 17, middle, "?", 12, _PANEL if not answered else _USER, "mm")
    canvas.box(bar, middle - height / 2, width, height, _LINE, 5)
    if one.best is None:
        if one.answer is not None:
            canvas.text(bar + 8, middle, _cut(f"told: {one.answer}", size, width - 16), size, _PALE)
        return
    filled = width * one.chance
    canvas.box(bar, middle - height / 2, filled, height, _ANY if one.best == "any" else _SURE, 5)
    best = "does not matter" if one.best == "any" else one.best
    canvas.text(bar + 8, middle, _cut(best, size, width - 34), size, _USER)
    canvas.text(right, middle, f"{one.chance:.0%}", size, _PALE, "rm")
    if one.affirmed:
        x = bar + width - 20
        tick = [(x, middle), (x + 4, middle + 4), (x + 12, middle - 5)]
        canvas.line(tick, _USER, 2)
    if one.second is not None and one.second_chance >= 0.005:
        y = middle + height / 2 + 2
        canvas.box(bar, y, width * one.second_chance, 3, _SECOND, 1)
        if step > 38:
            text = f"{_cut(one.second, 11, width - 60)} {one.second_chance:.0%}"
            canvas.text(bar + 8, y + 8, text, 11, _SECOND)


def _matches(canvas: _Canvas, scene: Scene, left: float, right: float, top: float) -> None:
    """Draw the number of matching rows; the bar is logarithmic."""
    size = 26
    colour = _PALE if scene.matches else _SECOND
    canvas.text(left, top + 14, str(scene.matches), size, colour)
    text = f"of {scene.rows} rows fit"
    canvas.text(left + _length(str(scene.matches), size) + 8, top + 17, text, 14, _DIM)
    share = np.log1p(scene.matches) / np.log1p(scene.rows)
    canvas.box(left, top + 36, right - left, 6, _LINE, 3)
    canvas.box(left, top + 36, (right - left) * float(share), 6, _AGENT, 3)


def _length(text: str, size: float) -> float:
    return float(_font(size).getlength(text)) / _SCALE


def _cut(text: str, size: float, width: float) -> str:
    """Return the text on one line, cut with an ellipsis if it is longer than `width`."""
    text = " ".join(text[:200].split())
    if _length(text, size) <= width:
        return text
    while text and _length(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _wrapped(text: str, size: float, width: float) -> list[str]:
    """Return the text in at most ten lines of at most `width`."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _length(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(_cut(word, size, width))
    return [line for line in lines[:10] if line] or [""]
