"""Maze generation: four algorithms that draw a random spanning tree of the rooms.

A grid of odd width and height has rooms at the squares whose coordinates are both odd and walls
everywhere else. Each algorithm opens walls between neighbouring rooms until exactly one path joins
any two of them (a *perfect* maze). They differ in the mazes they prefer:

* `depth_first`: a random walk that backtracks; long corridors, few forks.
* `prim`: grows from one room by a random wall of the tree's border (Prim 1957); many short dead ends.
* `kruskal`: opens walls in random order where they join two trees (Kruskal 1956).
* `wilson`: loop-erased random walks (Wilson 1996); every maze is equally likely.

They are compiled and use their own random generator, so the single and the vector environment draw the same
mazes from the same seed.
"""

import numba
import numpy as np

from envs.random import below, chance

ALGORITHMS = ("depth_first", "prim", "kruskal", "wilson")

MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
"""Up, right, down, left, as (row, column), in the order of the actions."""


@numba.njit(cache=True)
def generate(walls: np.ndarray, algorithm: int, braid: float, random: np.ndarray) -> None:
    """Draw a maze.

    Args:
        walls: (height, width) int8, both odd; becomes 1 where there is a wall, else 0.
        algorithm: index in `ALGORITHMS`.
        braid: share of the dead ends that get a second way out, which makes loops.
        random: (1,) uint64, the generator's state, advanced.
    """
    walls[:] = 1
    walls[1::2, 1::2] = 0
    if algorithm == 0:
        _depth_first(walls, random)
    elif algorithm == 1:
        _prim(walls, random)
    elif algorithm == 2:
        _kruskal(walls, random)
    else:
        _wilson(walls, random)
    if braid > 0:
        _braid(walls, braid, random)


@numba.njit(cache=True)
def _open(walls: np.ndarray, columns: int, room: int, move: int) -> None:
    """Open the wall of a room in the direction of a move."""
    row, column = 2 * (room // columns) + 1, 2 * (room % columns) + 1
    walls[row + MOVES[move, 0], column + MOVES[move, 1]] = 0


@numba.njit(cache=True)
def _neighbour(rows: int, columns: int, room: int, move: int) -> int:
    """Return the room that a move leads to, or −1 outside the maze."""
    row, column = room // columns + MOVES[move, 0], room % columns + MOVES[move, 1]
    if 0 <= row < rows and 0 <= column < columns:
        return row * columns + column
    return -1


@numba.njit(cache=True)
def _depth_first(walls: np.ndarray, random: np.ndarray) -> None:
    rows, columns = walls.shape[0] // 2, walls.shape[1] // 2
    seen = np.zeros(rows * columns, np.bool_)
    stack = np.empty(rows * columns, np.int64)
    options = np.empty(4, np.int64)
    stack[0] = below(random, rows * columns)
    seen[stack[0]] = True
    depth = 1
    while depth:
        room = stack[depth - 1]
        n = 0
        for move in range(4):
            other = _neighbour(rows, columns, room, move)
            if other >= 0 and not seen[other]:
                options[n] = move
                n += 1
        if n == 0:
            depth -= 1
            continue
        move = options[below(random, n)]
        _open(walls, columns, room, move)
        stack[depth] = _neighbour(rows, columns, room, move)
        seen[stack[depth]] = True
        depth += 1


@numba.njit(cache=True)
def _prim(walls: np.ndarray, random: np.ndarray) -> None:
    rows, columns = walls.shape[0] // 2, walls.shape[1] // 2
    inside = np.zeros(rows * columns, np.bool_)
    border = np.empty(4 * rows * columns, np.int64)  # 4 · room + move
    n = 0
    room = below(random, rows * columns)
    while True:
        inside[room] = True
        for move in range(4):
            other = _neighbour(rows, columns, room, move)
            if other >= 0 and not inside[other]:
                border[n] = 4 * room + move
                n += 1
        while n:
            i = below(random, n)
            edge = border[i]
            n -= 1
            border[i] = border[n]
            room = _neighbour(rows, columns, edge // 4, edge % 4)
            if not inside[room]:
                _open(walls, columns, edge // 4, edge % 4)
                break
        else:
            return


@numba.njit(cache=True)
def _kruskal(walls: np.ndarray, random: np.ndarray) -> None:
    rows, columns = walls.shape[0] // 2, walls.shape[1] // 2
    edges = np.empty(2 * rows * columns, np.int64)
    n = 0
    for room in range(rows * columns):
        for move in range(1, 3):  # right and down: each wall once
            if _neighbour(rows, columns, room, move) >= 0:
                edges[n] = 4 * room + move
                n += 1
    parent = np.arange(rows * columns)
    while n:
        i = below(random, n)
        edge = edges[i]
        n -= 1
        edges[i] = edges[n]
        room = edge // 4
        other = _neighbour(rows, columns, room, edge % 4)
        a, b = _root(parent, room), _root(parent, other)
        if a != b:
            parent[a] = b
            _open(walls, columns, room, edge % 4)


@numba.njit(cache=True)
def _root(parent: np.ndarray, room: int) -> int:
    while parent[room] != room:
        parent[room] = parent[parent[room]]
        room = parent[room]
    return room


@numba.njit(cache=True)
def _wilson(walls: np.ndarray, random: np.ndarray) -> None:
    rows, columns = walls.shape[0] // 2, walls.shape[1] // 2
    inside = np.zeros(rows * columns, np.bool_)
    leaves_by = np.zeros(rows * columns, np.int64)
    inside[below(random, rows * columns)] = True
    for first in range(rows * columns):
        room = first
        while not inside[room]:
            move = below(random, 4)
            other = _neighbour(rows, columns, room, move)
            if other >= 0:
                # The last way out of a room is the one that was not erased with a loop.
                leaves_by[room] = move
                room = other
        room = first
        while not inside[room]:
            inside[room] = True
            _open(walls, columns, room, leaves_by[room])
            room = _neighbour(rows, columns, room, leaves_by[room])


@numba.njit(cache=True)
def _braid(walls: np.ndarray, share: float, random: np.ndarray) -> None:
    rows, columns = walls.shape[0] // 2, walls.shape[1] // 2
    options = np.empty(4, np.int64)
    for room in range(rows * columns):
        row, column = 2 * (room // columns) + 1, 2 * (room % columns) + 1
        n = ways = 0
        for move in range(4):
            if not walls[row + MOVES[move, 0], column + MOVES[move, 1]]:
                ways += 1
            elif _neighbour(rows, columns, room, move) >= 0:
                options[n] = move
                n += 1
        if ways == 1 and n and chance(random) < share:
            _open(walls, columns, room, options[below(random, n)])
