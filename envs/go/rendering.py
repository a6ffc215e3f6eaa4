"""Go boards as pictures, with a player's thoughts if there are any, and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.go.vertices import COLUMNS

PICTURE_SIDE = 640
"""Approximate side of the board in pixels."""

_SCALE = 2  # drawn at twice the size and shrunk: smooth edges
_LINE, _TEXT = (62, 41, 20), (84, 58, 30)
_MARK, _BEST, _OTHER = (214, 64, 48), (30, 132, 180), (52, 140, 96)
_PANEL, _BLACK_SHARE, _WHITE_SHARE = (46, 42, 40), (24, 24, 26), (226, 222, 214)


@dataclass(frozen=True)
class Thoughts:
    """A player's evaluation of a position."""

    candidates: Sequence[tuple[int, float]] = ()
    """The actions it considered, best first, each with its share of the visits, 0…1."""
    win_rates: Sequence[float] = ()
    """Black's win rate after each move so far, 0…1; NaN if it is not known."""


def stars(size: int) -> list[tuple[int, int]]:
    """Return the star points (row, column) of a board."""
    if size < 5:
        return []
    edge = 2 if size < 13 else 3
    lines = [edge, size - 1 - edge]
    if size % 2 and size > 13:
        lines.insert(1, size // 2)
    corners = [(row, column) for row in lines for column in lines]
    if size % 2 and size <= 13:
        corners.append((size // 2, size // 2))
    return sorted(set(corners))


def picture(
    stones: np.ndarray, last: int | None = None, thoughts: Thoughts | None = None
) -> np.ndarray:
    """Return a picture of the board, (height, width, 3) uint8, with even sides, as videos need.

    Args:
        stones: (size, size) of 0 (empty), 1 (black) and 2 (white); row 0 is drawn at the top.
        last: the last action, which is marked; a pass is written on the board.
        thoughts: drawn on the board, and as a curve under it; without them the picture is smaller.
    """
    size = len(stones)
    cell = _cell(size)
    image = _empty_board(size).copy()
    black_and_white = _stone(cell, False), _stone(cell, True)
    for row, column in np.argwhere(stones):
        sprite = black_and_white[stones[row, column] - 1]
        x, y = _centre(row, column, cell)
        image.paste(sprite, (x - sprite.width // 2, y - sprite.height // 2), sprite)
    draw = ImageDraw.Draw(image, "RGBA")
    if thoughts is not None:
        _draw_candidates(draw, thoughts, stones, cell)
    if last is not None and last < size * size:
        x, y = _centre(last // size, last % size, cell)
        r = cell * 0.14
        draw.ellipse([x - r, y - r, x + r, y + r], fill=_MARK)
    elif last is not None:
        _draw_note(draw, "pass", image.width // 2, image.height // 2, cell)
    side = image.width // _SCALE
    board = image.resize((side, side), Image.Resampling.LANCZOS)
    if thoughts is None:
        return np.asarray(board).copy()
    whole = Image.new("RGB", (side, side + _panel_height(side)))
    whole.paste(board, (0, 0))
    whole.paste(_curve(thoughts.win_rates, side, _panel_height(side)), (0, side))
    return np.asarray(whole).copy()


def _cell(size: int) -> int:
    """Return the distance between two lines in the large drawing."""
    return PICTURE_SIDE * _SCALE // (size + 1) // 4 * 4


def _panel_height(side: int) -> int:
    return side // 8 * 2


def _centre(row: int, column: int, cell: int) -> tuple[int, int]:
    return (int(column) + 1) * cell, (int(row) + 1) * cell


def _font(height: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(8, int(height)))


@lru_cache(maxsize=4)
def _empty_board(size: int) -> Image.Image:
    """Draw wood, lines, star points and coordinates."""
    cell = _cell(size)
    side = (size + 1) * cell
    rng = np.random.default_rng(0)
    # Grain: slow and fast waves across the board, slightly bent along it.
    across = np.linspace(0, 1.1, 4096)
    waves = sum(
        np.sin(2 * np.pi * (f * across + phase)) / f**0.6
        for f, phase in zip(rng.uniform(3, 90, 14), rng.random(14), strict=True)
    )
    x = np.arange(side) / side
    y = x[:, None]
    bent = 0.02 + x + 0.012 * np.sin(5 * y + 1) + 0.006 * np.sin(13 * y)
    grain = np.asarray(waves)[(bent / 1.1 * 4095).astype(int)]
    light = (0.022 * grain)[..., None]
    wood = np.clip(np.array([222, 178, 112]) * (1 + light), 0, 255).astype(np.uint8)
    image = Image.fromarray(wood)
    draw = ImageDraw.Draw(image)
    far = size * cell
    for i in range(size):
        at, width = (i + 1) * cell, 4 if i in (0, size - 1) else 2
        draw.line([cell, at, far, at], fill=_LINE, width=width)
        draw.line([at, cell, at, far], fill=_LINE, width=width)
    for row, column in stars(size):
        cx, cy = _centre(row, column, cell)
        r = max(5, cell // 14)
        draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=_LINE)
    font, margin = _font(min(cell * 0.36, 34)), cell * 0.3
    for i in range(size):
        at = (i + 1) * cell
        for edge in (margin, side - margin):
            draw.text((at, edge), COLUMNS[i], fill=_TEXT, font=font, anchor="mm")
            draw.text((edge, at), str(size - i), fill=_TEXT, font=font, anchor="mm")
    return image


@lru_cache(maxsize=8)
def _stone(cell: int, white: bool) -> Image.Image:
    """Draw a stone lit from the top left, with its shadow."""
    side = int(cell * 1.2) // 2 * 2
    radius = cell * 0.475
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    distance = np.hypot(x, y)
    inside = np.clip(radius - distance + 0.5, 0, 1)
    shadow_distance = np.hypot(x - cell * 0.04, y - cell * 0.06)
    shadow = 0.42 * np.clip((radius + cell * 0.05 - shadow_distance) / (cell * 0.09), 0, 1)
    shine = np.exp(-((np.hypot(x + 0.38 * radius, y + 0.42 * radius) / (0.62 * radius)) ** 2))
    dim = (distance / radius).clip(0, 1) ** 3
    level = 236 + 19 * shine - 42 * dim if white else 26 + 92 * shine - 10 * dim
    alpha = inside + (1 - inside) * shadow
    grey = level * inside / np.maximum(alpha, 1e-6)  # the shadow itself is black
    rgba = np.stack([grey, grey, grey, 255 * alpha], axis=-1).clip(0, 255).astype(np.uint8)
    return Image.fromarray(rgba, "RGBA")


def _draw_candidates(
    draw: ImageDraw.ImageDraw, thoughts: Thoughts, stones: np.ndarray, cell: int
) -> None:
    size = len(stones)
    font = _font(cell * 0.27)
    for i, (action, share) in enumerate(thoughts.candidates):
        if action >= size * size or stones.flat[action]:
            continue
        x, y = _centre(action // size, action % size, cell)
        r = cell * (0.24 + 0.2 * min(1.0, share) ** 0.5)
        colour = _BEST if i == 0 else _OTHER
        draw.ellipse([x - r, y - r, x + r, y + r], fill=(*colour, int(90 + 140 * min(1.0, share))))
        if share >= 0.005:
            draw.text((x, y), f"{100 * share:.0f}", fill="white", font=font, anchor="mm")


def _draw_note(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, cell: int) -> None:
    font = _font(min(cell * 0.5, 60))
    left, top, right, bottom = draw.textbbox((x, y), text, font=font, anchor="mm")
    box = [left - 24, top - 16, right + 24, bottom + 16]
    draw.rounded_rectangle(box, 14, fill=(*_PANEL, 215))
    draw.text((x, y), text, fill="white", font=font, anchor="mm")


def _curve(win_rates: Sequence[float], width: int, height: int) -> Image.Image:
    """Draw black's win rate by move: black's share at the bottom, white's above."""
    w, h, margin = width * _SCALE, height * _SCALE, 20
    image = Image.new("RGB", (w, h), _PANEL)
    draw = ImageDraw.Draw(image)
    left, right, top, bottom = margin, w - margin - 130, margin, h - margin
    draw.rectangle([left, top, right, bottom], fill=(66, 61, 58))
    known = [(i, float(rate)) for i, rate in enumerate(win_rates) if not np.isnan(rate)]
    if known:
        last, rate = known[-1]
        span = max(last, 40)  # so that the curve of a short game does not fill the width at once
        points = [
            (left + (right - left) * i / span, bottom - (bottom - top) * min(1.0, max(0.0, p)))
            for i, p in known
        ]
        first_x, last_x = points[0][0], points[-1][0]
        draw.rectangle([first_x, top, last_x, bottom], fill=_WHITE_SHARE)
        draw.polygon([(first_x, bottom), *points, (last_x, bottom)], fill=_BLACK_SHARE)
        draw.line(points, fill=_MARK, width=5, joint="curve")
        x, y = points[-1]
        draw.ellipse([x - 9, y - 9, x + 9, y + 9], fill=_MARK)
        place, small = (right + 78, h // 2), _font(26)
        draw.text(place, f"{100 * rate:.0f} %", fill="white", font=_font(44), anchor="mm")
        above = place[0], place[1] - 48
        draw.text(above, "black wins", fill=_WHITE_SHARE, font=small, anchor="mm")
    middle = (top + bottom) / 2
    for x in range(left, right, 24):
        draw.line([x, middle, x + 10, middle], fill=(150, 144, 136), width=2)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def ansi(stones: np.ndarray, last: int | None = None) -> str:
    """Return the board as text: X black, O white, + a star point, brackets around the last stone."""
    size = len(stones)
    marks = set(stars(size))
    letters = "   " + " ".join(COLUMNS[:size])
    lines = [letters]
    for row in range(size):
        cells = [
            "+" if not stone and (row, column) in marks else ".XO"[stone]
            for column, stone in enumerate(stones[row])
        ]
        text = " " + " ".join(cells) + " "
        if last is not None and row * size <= last < (row + 1) * size:
            at = 2 * (last % size)
            text = f"{text[:at]}({text[at + 1]}){text[at + 3 :]}"
        lines.append(f"{size - row:2}{text}{size - row}")
    return "\n".join([*lines, letters]) + "\n"
