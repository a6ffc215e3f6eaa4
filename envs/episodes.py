"""Episodes of a maze and of Pong with captions, made from their true state: as videos, or as single frames.

Maze: a new maze with a key and a door in every episode; the agent follows the shortest path to the goal and stops at a random
part of it. The caption of a video says from where to where it went and what it did on the way; that of a frame
where agent, goal, key and door are. Pong: the right player follows the ball, most of the time. The caption of a video says in order who hits
the ball and who scores, that of a frame where ball and players are. Seeds are fixed.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from envs.maze.layout import AGENT, FIRST_KEY, GOAL, WALL
from envs.maze.maze import Maze

EPISODES = 1_500
"""Episodes by default; a fifth of them is the test."""
FRAMES = 6
"""Frames of a video."""
_MOST = 50_000
_SIZE, _SQUARE = 7, 3
"""Squares along a side of the maze, and pixels along a side of a square."""
_FLOOR = (244, 241, 234)
_COLOURS = {"wall": (38, 50, 72), "goal": (52, 168, 98), "key": (250, 200, 40), "door": (220, 50, 60)}  # fmt: skip
_AGENT = (30, 80, 230)
_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")

Row = tuple[Any, ...]
"""Frames uint8 (frames, height, width, 3) and a caption; or an image, a caption and what its words name."""


def episodes_data(
    name: str, form: str, options: Mapping[str, Any]
) -> tuple[list[Row], list[Row], dict[str, Any]]:
    """Training and test rows of the data `episodes:NAME`, and how they were made.

    Args:
        name: "maze" or "pong".
        form: "captioned-videos": rows of frames uint8 (FRAMES, height, width, 3) and a caption. "captions": rows of
            an image uint8 (height, width, 3), a caption, and pairs of the place of a word in the caption and
            where what it names is, bool (height, width).
        options: `{"episodes": n}`, training and test together.

    Raises:
        ValueError: there is no such name, form or option; the message is one sentence.
    """
    if form not in ("captioned-videos", "captions"):
        raise ValueError(f"episodes have captions, and are not {form}")
    if name not in _MAKERS:
        raise ValueError(f"there are episodes of {' and '.join(_MAKERS)}, not of {name!r}")
    if unknown := sorted(options.keys() - {"episodes"}):
        raise ValueError(f"episodes have no option {unknown[0]!r}, only episodes")
    count = options.get("episodes", EPISODES)
    if type(count) is not int or not 10 <= count <= _MOST:
        raise ValueError(f"episodes must be a whole number from 10 to {_MOST:,}, not {count!r}")
    held_out = count // 5
    train, test = (
        list(_MAKERS[name](number, seed, form == "captions"))
        for number, seed in ((count - held_out, 1), (held_out, 2))
    )
    return train, test, {"seeds": "1 for training, 2 for the test"}


# -- mazes -----------------------------------------------------------------------------------------------


def _maze(count: int, seed: int, stills: bool) -> Iterator[Row]:
    rng = np.random.default_rng(seed)
    maze = Maze(_SIZE, _SIZE, doors=1, split="test" if seed == 2 else "train", max_steps=_SIZE**3)
    maze.reset(seed=seed)
    for _ in range(count):
        maze.reset()
        start = maze.agent
        path = _path(maze)
        states = [maze.planes.copy()]
        events = []
        for action in path[: int(rng.integers(1, len(path) + 1))]:
            had, shut = bool(maze.held), bool(maze.planes[FIRST_KEY + 1].any())
            maze.step(action)
            if maze.held and not had:
                events.append("takes the key")
            if shut and not maze.planes[FIRST_KEY + 1].any():
                events.append("opens the door")
            if maze.agent == maze.goal:
                events.append("reaches the goal")
            states.append(maze.planes.copy())
        if stills:
            yield _maze_frame(states[int(rng.integers(len(states)))])
            continue
        ends = f"from {_place(start)} to {_place(maze.agent)}"
        places = np.rint(np.linspace(0, len(states) - 1, FRAMES)).astype(int)
        frames = np.stack([_maze_picture(states[i]) for i in places])
        yield frames, " ".join([ends, *events])


def _path(maze: Maze) -> list[int]:
    """Actions of a shortest path to the key, then to the goal."""
    key = tuple(np.argwhere(maze.planes[FIRST_KEY])[0].tolist())
    door = tuple(np.argwhere(maze.planes[FIRST_KEY + 1])[0].tolist())
    return [*_way(maze.planes[WALL], maze.agent, key, door), *_way(maze.planes[WALL], key, maze.goal)]  # fmt: skip


def _way(
    wall: np.ndarray,
    start: tuple[int, ...],
    end: tuple[int, ...],
    shut: tuple[int, ...] | None = None,
) -> list[int]:
    """Actions of a shortest path that does not pass the shut square."""
    came: dict[tuple[int, ...], tuple[tuple[int, ...], int]] = {start: (start, -1)}
    queue = deque([start])
    while end not in came:
        here = queue.popleft()
        for action, (down, right) in enumerate(_MOVES):
            there = here[0] + down, here[1] + right
            if not wall[there] and there != shut and there not in came:
                came[there] = here, action
                queue.append(there)
    actions = []
    while end != start:
        end, action = came[end]
        actions.append(action)
    return actions[::-1]


def _place(square: tuple[int, ...]) -> str:
    """A ninth of the maze in words."""
    return f"{_ROWS[square[0] * 3 // _SIZE]} {_COLUMNS[square[1] * 3 // _SIZE]}"


def _maze_picture(planes: np.ndarray) -> np.ndarray:
    small = np.full((_SIZE, _SIZE, 3), _FLOOR, np.uint8)
    for plane, name in ((WALL, "wall"), (GOAL, "goal"), (FIRST_KEY, "key"), (FIRST_KEY + 1, "door")):  # fmt: skip
        small[planes[plane] > 0] = _COLOURS[name]
    image = small.repeat(_SQUARE, axis=0).repeat(_SQUARE, axis=1)
    row, column = (np.argwhere(planes[AGENT])[0] * _SQUARE).tolist()
    part = image[row : row + _SQUARE, column : column + _SQUARE]
    middle = part[1, 1].copy()
    part[:] = _AGENT
    if planes[FIRST_KEY][planes[AGENT] > 0].any():
        part[1, 1] = middle  # the key that it carries
    return image


def _maze_frame(planes: np.ndarray) -> Row:
    """A frame, its caption, and what the words name."""
    words: list[str] = []
    objects = []
    carried = bool((planes[FIRST_KEY] * planes[AGENT]).any())
    for name, plane in (("agent", AGENT), ("goal", GOAL), ("key", FIRST_KEY), ("door", FIRST_KEY + 1)):  # fmt: skip
        if not planes[plane].any() or (name == "key" and carried):
            continue
        where = planes[plane] > 0
        words += ["the", name]
        objects.append((len(words) - 1, where.repeat(_SQUARE, axis=0).repeat(_SQUARE, axis=1)))
        words += _place(tuple(np.argwhere(where)[0].tolist())).split()
    return _maze_picture(planes), " ".join(words), objects


# -- Pong ------------------------------------------------------------------------------------------------

_LEFT_Y, _RIGHT_Y, _BALL_X, _BALL_Y, _LEFT_SCORE, _RIGHT_SCORE = 50, 51, 49, 54, 13, 14
"""Places in the memory of the Atari (Anand et al. 2019)."""
_CLIP, _TOP, _BOTTOM, _SHRINK = 60, 34, 194, 4


def _pong(count: int, seed: int, stills: bool) -> Iterator[Row]:
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", 0.25)
    path = roms.get_rom_path("pong")
    assert path is not None
    ale.loadROM(path)
    rng = np.random.default_rng(seed)
    stay, up, down = 0, 3, 4  # the actions noop, right and left
    made = 0
    while made < count:
        careless = rng.random() < 0.4
        memory, frames = [], []
        for step in range(_CLIP + int(rng.integers(20))):
            if ale.game_over():
                ale.reset_game()
            ram = ale.getRAM()
            away = int(ram[_BALL_Y]) - int(ram[_RIGHT_Y]) if ram[_BALL_Y] else 0
            action = stay if careless or abs(away) < 4 else (up if away < 0 else down)
            ale.act(int(rng.integers(3, 5)) if rng.random() < 0.1 else action)
            memory.append(ale.getRAM().astype(int))
            if step % (_CLIP // FRAMES) == 0:
                frames.append(_pong_picture(ale.getScreenRGB()))
        if stills:
            if memory[-1][_BALL_Y]:
                made += 1
                yield _pong_frame(ale.getScreenRGB(), memory[-1])
            continue
        events = _pong_events(memory[:_CLIP])
        if events:
            made += 1
            yield np.stack(frames[:FRAMES]), " then ".join(events)


def _pong_picture(screen: np.ndarray) -> np.ndarray:
    """A screen (210, 160, 3) without scores, a fourth as large; a small ball stays visible."""
    part = screen[_TOP:_BOTTOM]
    height, width, _ = part.shape
    cells = part.reshape(height // _SHRINK, _SHRINK, width // _SHRINK, _SHRINK, 3)
    ground = np.array([144, 72, 17])
    away = np.abs(cells.astype(int) - ground).sum(axis=4)
    cells = cells.transpose(0, 2, 1, 3, 4).reshape(height // _SHRINK, width // _SHRINK, -1, 3)
    most = away.transpose(0, 2, 1, 3).reshape(*cells.shape[:2], -1).argmax(axis=2)
    return np.take_along_axis(cells, most[..., None, None], axis=2)[:, :, 0]


def _pong_events(memory: list[np.ndarray]) -> list[str]:
    """Who hits the ball and who scores, in order; where it flies at first."""
    events: list[str] = []
    flew = 0
    for before, after in itertools.pairwise(memory):
        for place, side in ((_LEFT_SCORE, "left"), (_RIGHT_SCORE, "right")):
            if after[place] > before[place]:
                events.append(f"{side} scores")
                flew = 0
        moved = after[_BALL_X] - before[_BALL_X]
        if not (before[_BALL_Y] and after[_BALL_Y]) or not 0 < abs(moved) < 10:
            continue
        if not events:
            events.append(f"ball flies {'right' if moved > 0 else 'left'}")
        elif flew * moved < 0:
            events.append(f"{'right' if moved < 0 else 'left'} hits")
        flew = moved
    return events


def _pong_frame(screen: np.ndarray, memory: np.ndarray) -> Row:
    """A frame, its caption, and what the words name, as pixels of the colours of ball and players."""
    picture = _pong_picture(screen)
    words: list[str] = []
    objects = []
    for name, colour in (("ball", (236, 236, 236)), ("left", (213, 130, 74)), ("right", (92, 186, 92))):  # fmt: skip
        where = (picture == colour).all(axis=2)
        where[:2] = where[-2:] = False  # the walls
        if not where.any():
            continue
        row, column = np.argwhere(where).mean(axis=0) / picture.shape[0] * 3
        objects.append((len(words) + 1, where))
        words += ["the", name, *(["player"] if name != "ball" else [])]
        words.append(_ROWS[min(2, int(row))])
        words += [_COLUMNS[min(2, int(column))]] if name == "ball" else []
    return picture, " ".join(words), objects


_MAKERS: dict[str, Callable[[int, int, bool], Iterator[Row]]] = {"maze": _maze, "pong": _pong}
