"""The maze of an episode: walls, start, goal, keys, doors, and shortest paths.

The state of a maze is its planes, `(planes, height, width)` int8 of 0 and 1:

=====================  ==========================================================================
0 wall                 1 at walls, which include the border
1 agent                1 at the agent's square
2 goal                 1 at the goal, or both goals of a `MemoryMaze`
3, 5, 7 … key          1 where that key lies; at the agent's square while the agent carries it
4, 6, 8 … door         1 where that door is shut; removed with its key once the agent opens it
=====================  ==========================================================================

In a `MemoryMaze` planes 3 and 4 are the signs up and down.
"""

import numba
import numpy as np

from envs.maze.generation import MOVES, generate
from envs.random import below, draw

WALL, AGENT, GOAL, FIRST_KEY = 0, 1, 2, 3
ANYWHERE = -1
"""Stands for a random start or goal."""
ANY_MAZE = -1
"""Stands for a random maze."""


@numba.njit(cache=True)
def new_maze(
    planes: np.ndarray,
    random: np.ndarray,
    test: bool,
    algorithm: int,
    braid: float,
    start: int,
    goal: int,
    fixed: int,
) -> tuple[int, int, int, np.int64]:
    """Draw an episode's maze into `planes`.

    The maze depends on its seed only, which is even in training and odd in tests, so no seed occurs in
    both.

    Args:
        planes: (3 + 2·doors, height, width) int8, overwritten.
        random: (1,) uint64, the environment's generator, advanced by one draw.
        test: whether to draw an odd seed.
        algorithm, braid: see `envs.maze.generation.generate`.
        start, goal: squares, row · width + column, or `ANYWHERE` for different random rooms.
        fixed: the maze's seed, or `ANY_MAZE` to draw it.

    Returns:
        The agent's square, the goal's square, the length of the shortest path, the maze's seed.
    """
    count, height, width = planes.shape
    doors = (count - FIRST_KEY) // 2
    maze_seed = draw(random) >> np.uint64(1) & ~np.uint64(1) | np.uint64(test)
    if fixed != ANY_MAZE:
        maze_seed = np.uint64(fixed)
    own = np.full(1, maze_seed)
    planes[:] = 0
    generate(planes[WALL], algorithm, braid, own)
    if doors:
        # The ends of a longest path, so that there is room for doors on it.
        goal, _ = _farthest(planes[WALL], _room(own, height, width))
        start, length = _farthest(planes[WALL], goal)
        if below(own, 2):
            start, goal = goal, start
        _lock(planes, start, goal, length, own)
    else:
        while start in (ANYWHERE, goal):
            start = _room(own, height, width)
        while goal in (ANYWHERE, start):
            goal = _room(own, height, width)
    planes[AGENT, start // width, start % width] = 1
    planes[GOAL, goal // width, goal % width] = 1
    return start, goal, shortest_path(planes, start, goal), np.int64(maze_seed)


@numba.njit(cache=True)
def new_memory_maze(
    planes: np.ndarray, random: np.ndarray, test: bool
) -> tuple[int, int, int, np.int64]:
    """Draw a corridor with a sign at its start and two goals at its far end; see `new_maze`.

    The T-maze of Bakker 2001 ("Reinforcement Learning with Long Short-Term Memory").
    """
    _, height, width = planes.shape
    maze_seed = draw(random) >> np.uint64(1) & ~np.uint64(1) | np.uint64(test)
    own = np.full(1, maze_seed)
    down = below(own, 2)
    middle = height // 2
    planes[:] = 0
    planes[WALL] = 1
    planes[WALL, middle, 1 : width - 1] = 0
    planes[WALL, 1 : height - 1, width - 2] = 0
    start = middle * width + 1
    goals = (width + width - 2, (height - 2) * width + width - 2)
    planes[AGENT, start // width, start % width] = 1
    planes[GOAL, 1, width - 2] = 1
    planes[GOAL, height - 2, width - 2] = 1
    planes[FIRST_KEY + down, middle, 1] = 1
    return start, goals[down], width - 3 + middle - 1, np.int64(maze_seed)


@numba.njit(cache=True)
def _room(random: np.ndarray, height: int, width: int) -> int:
    row = 2 * below(random, height // 2) + 1
    return row * width + 2 * below(random, width // 2) + 1


@numba.njit(cache=True)
def distances(closed: np.ndarray, start: int) -> np.ndarray:
    """Return the distances from a square to every other, breadth first; −1 if there is no path.

    Args:
        closed: (height, width), not 0 at walls.
        start: row · width + column.

    Returns:
        (height · width,) int32
    """
    height, width = closed.shape
    result = np.full(height * width, -1, np.int32)
    queue = np.empty(height * width, np.int32)
    queue[0], result[start] = start, 0
    head, tail = 0, 1
    while head < tail:
        square = queue[head]
        head += 1
        for move in range(4):
            row, column = square // width + MOVES[move, 0], square % width + MOVES[move, 1]
            if 0 <= row < height and 0 <= column < width and not closed[row, column]:
                other = row * width + column
                if result[other] < 0:
                    result[other] = result[square] + 1
                    queue[tail] = other
                    tail += 1
    return result


@numba.njit(cache=True)
def _farthest(walls: np.ndarray, start: int) -> tuple[int, int]:
    away = distances(walls, start)
    square = int(away.argmax())
    return square, int(away[square])


@numba.njit(cache=True)
def _lock(planes: np.ndarray, start: int, goal: int, length: int, random: np.ndarray) -> None:
    """Put doors on the shortest path, each with its key at a square that can be reached before."""
    doors = (len(planes) - FIRST_KEY) // 2
    walls, width = planes[WALL], planes.shape[2]
    away = distances(walls, goal)
    path = np.empty(length + 1, np.int64)
    path[0] = start
    for i in range(length):
        for move in range(4):
            other = path[i] + MOVES[move, 0] * width + MOVES[move, 1]
            if away[other] == away[path[i]] - 1:
                path[i + 1] = other
                break
    # Door d is at position 2d + 2 or later, so that a square before it is free for a key.
    closed = walls.copy()
    last = 0
    positions = np.empty(doors, np.int64)
    for door in range(doors):
        remaining = doors - door - 1
        latest = length - 1 - 2 * remaining
        positions[door] = last + 2 + below(random, latest - last - 1)
        last = positions[door]
        planes[FIRST_KEY + 2 * door + 1, path[last] // width, path[last] % width] = 1
    for door in range(doors):
        # The squares that can be reached while this door and the later ones are shut.
        closed[:] = walls
        for later in range(door, doors):
            square = path[positions[later]]
            closed[square // width, square % width] = 1
        reached = distances(closed, start)
        free = np.empty(len(reached), np.int64)
        n = 0
        for square in range(len(reached)):
            taken = reached[square] <= 0 or square == goal
            for plane in range(FIRST_KEY, len(planes)):
                taken |= planes[plane, square // width, square % width] == 1
            if not taken:
                free[n] = square
                n += 1
        square = free[below(random, n)]
        planes[FIRST_KEY + 2 * door, square // width, square % width] = 1


@numba.njit(cache=True)
def shortest_path(planes: np.ndarray, start: int, goal: int) -> int:
    """Return the length of the shortest path from `start` to `goal`, keys included; −1 if there is none.

    Breadth first over squares and sets of keys held.
    """
    count, height, width = planes.shape
    doors = (count - FIRST_KEY) // 2
    size = height * width
    if doors == 0:
        return int(distances(planes[WALL], start)[goal])
    away = np.full(size << doors, -1, np.int32)
    queue = np.empty(size << doors, np.int32)
    queue[0], away[start] = start, 0
    head, tail = 0, 1
    while head < tail:
        state = queue[head]
        head += 1
        keys, square = state // size, state % size
        if square == goal:
            return int(away[state])
        for move in range(4):
            row, column = square // width + MOVES[move, 0], square % width + MOVES[move, 1]
            other = row * width + column
            passes = planes[WALL, row, column] == 0
            have = keys
            for door in range(doors):
                passes &= (
                    planes[FIRST_KEY + 2 * door + 1, row, column] == 0 or keys >> door & 1 == 1
                )
                if planes[FIRST_KEY + 2 * door, row, column]:
                    have |= 1 << door
            following = have * size + other
            if passes and away[following] < 0:
                away[following] = away[state] + 1
                queue[tail] = following
                tail += 1
    return -1
