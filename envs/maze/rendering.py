"""Mazes as pictures, as text, and in a window."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from envs.maze.layout import AGENT, FIRST_KEY, GOAL, WALL

PICTURE_SIDE = 640
"""Approximate length of the longer side in pixels."""

_WALL, _FLOOR, _PATH = (38, 50, 72), (244, 241, 234), (94, 144, 226)
_AGENT, _GOAL, _SIGN = (38, 92, 196), (52, 168, 98), (226, 148, 38)
_DOORS = ((214, 158, 32), (188, 66, 92), (134, 84, 186))
"""The colours of the doors and their keys."""


def picture(
    planes: np.ndarray, path: list[tuple[int, int]], radius: int | None, memory: bool
) -> np.ndarray:
    """Return a picture of the maze, (height, width, 3) uint8, with even sides, as videos need.

    Args:
        planes: see `envs.maze.layout`.
        path: squares (row, column) walked, from the start to the agent.
        radius: squares farther from the agent are dimmed; None for no limit.
        memory: whether the planes are those of a `MemoryMaze`.
    """
    _, height, width = planes.shape
    side = max(8, PICTURE_SIDE // max(height, width) // 4 * 4)
    scale = 2  # drawn at twice the size and shrunk: smooth edges
    s = side * scale
    image = Image.new("RGB", (width * s, height * s), _FLOOR)
    draw = ImageDraw.Draw(image)
    for row, column in np.argwhere(planes[WALL]):
        draw.rectangle(_box(row, column, s, 0.0), fill=_WALL)
    for row, column in np.argwhere(planes[GOAL]):
        draw.polygon(_star(row, column, s), fill=_GOAL)
    if memory:
        _draw_sign(draw, planes, s)
    else:
        _draw_doors(draw, planes, s)
    if len(path) > 1:
        points = [((column + 0.5) * s, (row + 0.5) * s) for row, column in path]
        draw.line(points, fill=_PATH, width=max(1, s // 6), joint="curve")
    row, column = np.argwhere(planes[AGENT])[0]
    draw.ellipse(_box(row, column, s, 0.16), fill=_AGENT, outline="white", width=max(1, s // 20))
    for door in range(0 if memory else (len(planes) - FIRST_KEY) // 2):
        if planes[FIRST_KEY + 2 * door, row, column]:  # carried
            left = column + 0.3 + 0.2 * door
            draw.ellipse(
                [left * s, (row + 0.4) * s, (left + 0.2) * s, (row + 0.6) * s], _DOORS[door]
            )
    result = np.asarray(image.resize((width * side, height * side), Image.Resampling.LANCZOS))
    if radius is None:
        return result.copy()
    seen = np.full((height, width), 0.35)
    seen[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1] = 1
    light = np.repeat(np.repeat(seen, side, axis=0), side, axis=1)[..., None]
    return (result * light).astype(np.uint8)


def _box(row: int, column: int, s: int, margin: float) -> list[float]:
    return [
        (column + margin) * s,
        (row + margin) * s,
        (column + 1 - margin) * s - 1,
        (row + 1 - margin) * s - 1,
    ]


def _star(row: int, column: int, s: int) -> list[tuple[float, float]]:
    angles = np.pi * (np.arange(10) / 5 - 0.5)
    lengths = np.where(np.arange(10) % 2 == 0, 0.42, 0.19)
    x, y = column + 0.5 + lengths * np.cos(angles), row + 0.52 + lengths * np.sin(angles)
    return [(float(a * s), float(b * s)) for a, b in zip(x, y, strict=True)]


def _draw_sign(draw: ImageDraw.ImageDraw, planes: np.ndarray, s: int) -> None:
    for down in range(2):
        for row, column in np.argwhere(planes[FIRST_KEY + down]):
            tip, base = (0.92, 0.55) if down else (0.08, 0.45)
            triangle = [(0.5, tip), (0.2, base), (0.8, base)]
            draw.polygon([((column + x) * s, (row + y) * s) for x, y in triangle], fill=_SIGN)


def _draw_doors(draw: ImageDraw.ImageDraw, planes: np.ndarray, s: int) -> None:
    for door in range((len(planes) - FIRST_KEY) // 2):
        colour = _DOORS[door]
        for row, column in np.argwhere(planes[FIRST_KEY + 2 * door + 1]):
            draw.rounded_rectangle(_box(row, column, s, 0.06), s // 8, fill=colour)
            x, y = (column + 0.5) * s, (row + 0.5) * s
            draw.ellipse([x - s / 9, y - s / 7, x + s / 9, y + s / 14], fill=_WALL)
            draw.rectangle([x - s / 22, y, x + s / 22, y + s / 5], fill=_WALL)
        for row, column in np.argwhere(planes[FIRST_KEY + 2 * door] * (1 - planes[AGENT])):
            x, y, line = (column + 0.5) * s, (row + 0.5) * s, max(1, s // 12)
            draw.ellipse([x - s / 3, y - s / 6, x, y + s / 6], outline=colour, width=line)
            draw.line([x, y, x + s / 3, y], fill=colour, width=line)
            draw.line([x + s / 4, y, x + s / 4, y + s / 7], fill=colour, width=line)
            draw.line([x + s / 3, y, x + s / 3, y + s / 7], fill=colour, width=line)


def ansi(planes: np.ndarray, path: list[tuple[int, int]], memory: bool) -> str:
    """Return the maze as text: █ wall, @ agent, * goal, · path, a b c keys, A B C doors, ^ v the sign."""
    text = np.where(planes[WALL] == 1, "█", " ")
    for row, column in path:
        text[row, column] = "·"
    text[planes[GOAL] == 1] = "*"
    for i, plane in enumerate(planes[FIRST_KEY:]):
        mark = "^v"[i] if memory else "aAbBcC"[i]
        text[plane == 1] = mark
    text[planes[AGENT] == 1] = "@"
    return "\n".join("".join(row) for row in text) + "\n"


class Window:
    """A window that shows at most `fps` pictures a second. Needs pygame."""

    def __init__(self, fps: int) -> None:
        import pygame

        self._pygame: Any = pygame
        self._fps = fps
        self._screen: Any = None

    def show(self, drawn: np.ndarray) -> None:
        """Show a (height, width, 3) uint8 picture."""
        pygame = self._pygame
        if self._screen is None:
            pygame.init()
            self._screen = pygame.display.set_mode(drawn.shape[1::-1])
            pygame.display.set_caption("Fathom")
            self._clock = pygame.time.Clock()
        pygame.surfarray.blit_array(self._screen, drawn.swapaxes(0, 1))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window."""
        if self._screen is not None:
            self._pygame.quit()
            self._screen = None
