"""Pictures of a table of values, for worlds whose states are squares of a grid.

Each square has the colour of its best action's value and an arrow in the direction of that action. Where more than
the square tells states apart, as Taxi's passenger and destination, or a maze's keys, there is a panel for each
combination.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv
from PIL import Image, ImageDraw, ImageFont

from agents.parts.tables import model_of

_DIRECTIONS = ((-1, 0), (0, 1), (1, 0), (0, -1))
_LONG_SIDE, _LEAST_SIDE, _MOST_SIDE = 640, 8, 64
"""Of the picture and of a square, in pixels."""
_NUMBERS_FROM = 40
"""Squares with sides of so many pixels show their values as numbers."""
_GAP, _LINE = 8, 20
"""Between panels, and the height of a line of text."""
_MOST_SQUARES = 20_000
_COLOURS = np.array(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64
)
"""Of low to high values: the map viridis."""
_WALL, _INK, _PAPER = (38, 50, 72), (20, 20, 20), (255, 255, 255)
_TAXI_STOPS = "RGYB"


class Grid(NamedTuple):
    """Which state is where."""

    states: np.ndarray
    """(panels, rows, columns) int64: numbers of states; −1 where there is none."""
    letters: np.ndarray
    """(rows, columns) of one letter each, such as G of a goal; a space for none."""
    titles: tuple[str, ...]
    """Of the panels."""
    arrows: tuple[tuple[int, int] | None, ...]
    """(down, right) of each action; None for one that does not move."""
    ends: np.ndarray
    """(states,) bool: states that every action stays in, which have no arrow."""
    panels_across: int


def grid_of(env: VectorEnv) -> Grid | None:
    """The grid of a vector environment's first environment; None where it is not known to have one.

    Known are Gymnasium's FrozenLake, CliffWalking and Taxi, the maze, and environments like them: with a table `P`,
    and with letters `desc` (rows, columns) or a `shape` of as many squares as there are states.
    """
    rules: Any = model_of(env)
    if rules is None or not 0 < len(rules) <= _MOST_SQUARES:
        return None
    owner: Any = env.unwrapped
    if not hasattr(owner, "P"):
        owner = owner.envs[0].unwrapped
    count = len(rules)
    desc, shape = getattr(owner, "desc", None), getattr(owner, "shape", None)
    letters = np.full((1, 1), " ")
    titles: tuple[str, ...] = ("",)
    if count == 500 and hasattr(owner, "locs"):  # Taxi: row, column, passenger, destination
        states = np.arange(500).reshape(5, 5, 5, 4).transpose(3, 2, 0, 1).reshape(20, 5, 5)
        letters = np.full((5, 5), " ")
        for stop, (row, column) in zip(_TAXI_STOPS, owner.locs, strict=True):
            letters[row, column] = stop
        titles = tuple(
            f"{'from ' + _TAXI_STOPS[at] if at < 4 else 'in taxi'}, to {_TAXI_STOPS[to]}"
            for to in range(4)
            for at in range(5)
        )
    elif isinstance(desc, np.ndarray) and desc.ndim == 2 and desc.size and count % desc.size == 0:
        letters = desc.astype("U1")
        states = np.arange(count).reshape(-1, *desc.shape)
        states[:, letters == "#"] = -1
        letters[(letters == "#") | (letters == "F")] = " "
        titles = tuple(f"{panel + 1}" if len(states) > 1 else "" for panel in range(len(states)))
    elif isinstance(shape, tuple) and len(shape) == 2 and np.prod(shape) == count:
        states = np.arange(count).reshape(1, *shape)
        letters = np.full(shape, " ")
    else:
        return None
    try:
        arrows, ends = _moves(rules, states)
    except (KeyError, IndexError, TypeError, ValueError):
        return None  # P is something else
    across = 5 if len(states) == 20 else max(1, round(len(states) ** 0.5))
    return Grid(states, letters, titles, arrows, ends, across)


def _moves(rules: Any, states: np.ndarray) -> tuple[tuple[tuple[int, int] | None, ...], np.ndarray]:
    """The direction of each action, which is that of most of its steps to a neighbour; and where all of them stay."""
    place = np.full((len(rules), 2), -1)
    for panel in states:
        rows, columns = np.nonzero(panel >= 0)
        place[panel[rows, columns]] = np.stack([rows, columns], axis=1)
    actions = len(rules[0])
    shares = np.zeros((actions, len(_DIRECTIONS)))
    ends = np.ones(len(rules), bool)
    for state in range(len(rules)):
        for action in range(actions):
            for probability, following, *_ in rules[state][action]:
                ends[state] &= following == state
                step = tuple((place[following] - place[state]).tolist())
                if step in _DIRECTIONS:
                    shares[action, _DIRECTIONS.index(step)] += probability
    # Where the ice is slippery the two directions beside the chosen one are as likely: their mean is the chosen one.
    total = shares @ np.array(_DIRECTIONS)
    arrows: list[tuple[int, int] | None] = []
    for down, right in total:
        if max(abs(down), abs(right)) < 0.5:
            arrows.append(None)
        else:
            vertical = abs(down) > abs(right)
            arrows.append((int(np.sign(down)), 0) if vertical else (0, int(np.sign(right))))
    return tuple(arrows), ends


def picture(grid: Grid, values: np.ndarray, caption: str) -> np.ndarray:
    """Draw a table of values; uint8 (height, width, 3).

    Args:
        values: (states, actions)
        caption: a line below the picture, such as how long it was learnt.
    """
    panels, rows, columns = grid.states.shape
    across = grid.panels_across
    down = -(-panels // across)
    side = min(_LONG_SIDE // (across * columns), _LONG_SIDE // (down * rows), _MOST_SIDE)
    side = max(side, _LEAST_SIDE)
    head = _LINE if panels > 1 else 0
    width = max(across * (columns * side + _GAP) + _GAP, 320)
    height = down * (rows * side + head + _GAP) + _GAP + _LINE
    image = Image.new("RGB", (width + width % 2, height + height % 2), _PAPER)
    draw = ImageDraw.Draw(image)
    best, chosen = values.max(axis=1), values.argmax(axis=1)
    shown = np.unique(grid.states[grid.states >= 0])
    shown = shown[~grid.ends[shown]] if not grid.ends[shown].all() else shown
    low, high = float(best[shown].min()), float(best[shown].max())
    for panel in range(panels):
        left = _GAP + panel % across * (columns * side + _GAP)
        top = _GAP + panel // across * (rows * side + head + _GAP)
        if head:
            draw.text((left, top), grid.titles[panel], _INK, _font(12))
        for row in range(rows):
            for column in range(columns):
                state = int(grid.states[panel, row, column])
                x, y = left + column * side, top + head + row * side
                box = (x, y, x + side - 1, y + side - 1)
                if state < 0:
                    draw.rectangle(box, fill=_WALL)
                    continue
                share = (best[state] - low) / (high - low) if high > low else 0.0
                draw.rectangle(box, fill=_colour(share), outline=_PAPER)
                ink = _PAPER if share < 0.6 else _INK
                _draw_square(
                    draw, grid, state, int(chosen[state]), str(grid.letters[row, column]),
                    float(best[state]), values[state], x, y, side, ink,
                )  # fmt: skip
    text = f"{caption}; values from {low:.4g} to {high:.4g}"
    draw.text((_GAP, height - _LINE), text, _INK, _font(13))
    return np.asarray(image).copy()


def _draw_square(
    draw: ImageDraw.ImageDraw,
    grid: Grid,
    state: int,
    action: int,
    letter: str,
    value: float,
    values: np.ndarray,
    x: int,
    y: int,
    side: int,
    ink: tuple[int, int, int],
) -> None:
    """The letter, the number and the arrow of a square whose corner is (x, y)."""
    if side >= _NUMBERS_FROM:
        draw.text((x + side / 2, y + side - 8), f"{value:.3g}", ink, _font(10), anchor="mm")
    if letter.strip():
        draw.text((x + 3, y + 1), letter, ink, _font(max(8, min(13, side // 3))))
    if grid.ends[state] or (values == values[0]).all():  # nothing to choose, or nothing known
        return
    middle_x, middle_y, reach = x + side / 2, y + side * 0.45, side * 0.28
    arrow = grid.arrows[action]
    if arrow is None:
        r = max(1.5, side * 0.1)
        draw.ellipse((middle_x - r, middle_y - r, middle_x + r, middle_y + r), fill=ink)
        return
    dy, dx = arrow
    tip = (middle_x + dx * reach, middle_y + dy * reach)
    tail = (middle_x - dx * reach, middle_y - dy * reach)
    draw.line((*tail, *tip), fill=ink, width=max(1, side // 20))
    wing = reach * 0.6
    corners = [
        (tip[0] - dx * wing + sign * dy * wing / 1.5, tip[1] - dy * wing + sign * dx * wing / 1.5)
        for sign in (-1, 1)
    ]
    draw.polygon([tip, *corners], fill=ink)


def _colour(share: float) -> tuple[int, int, int]:
    position = min(max(share, 0.0), 1.0) * (len(_COLOURS) - 1)
    first = min(int(position), len(_COLOURS) - 2)
    red, green, blue = (
        _COLOURS[first] + (position - first) * (_COLOURS[first + 1] - _COLOURS[first])
    ).astype(int)
    return int(red), int(green), int(blue)


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
