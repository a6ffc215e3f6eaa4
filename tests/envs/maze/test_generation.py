"""Mazes are what their names promise."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.maze.generation import ALGORITHMS, generate
from envs.maze.layout import FIRST_KEY, distances, new_maze

ODD = st.integers(2, 12).map(lambda n: 2 * n + 1)


def _maze(width: int, height: int, algorithm: str, braid: float, seed: int) -> np.ndarray:
    walls = np.zeros((height, width), np.int8)
    generate(walls, ALGORITHMS.index(algorithm), braid, np.array([seed], np.uint64))
    return walls


def _openings(walls: np.ndarray) -> int:
    """Walls between two rooms that are open."""
    return int((walls[1::2, 2:-1:2] == 0).sum() + (walls[2:-1:2, 1::2] == 0).sum())


@settings(max_examples=60, deadline=None)
@given(ODD, ODD, st.sampled_from(ALGORITHMS), st.integers(0, 2**63))
def test_a_perfect_maze_is_a_tree_of_its_rooms(
    width: int, height: int, algorithm: str, seed: int
) -> None:
    walls = _maze(width, height, algorithm, 0.0, seed)
    rooms = (width // 2) * (height // 2)
    # Connected with one opening fewer than rooms: exactly one path between any two.
    assert (distances(walls, width + 1)[(walls == 0).ravel()] >= 0).all()
    assert _openings(walls) == rooms - 1
    assert (walls[1::2, 1::2] == 0).all()
    assert (walls[::2, ::2] == 1).all()
    assert walls[0].all()
    assert walls[-1].all()
    assert walls[:, 0].all()
    assert walls[:, -1].all()


@settings(max_examples=40, deadline=None)
@given(ODD, ODD, st.sampled_from(ALGORITHMS), st.integers(0, 2**63))
def test_braiding_leaves_no_dead_end(width: int, height: int, algorithm: str, seed: int) -> None:
    walls = _maze(width, height, algorithm, 1.0, seed)
    ways = 4 - sum(
        walls[1 + dy : height - 1 + dy : 2, 1 + dx : width - 1 + dx : 2]
        for dy, dx in ((-1, 0), (0, 1), (1, 0), (0, -1))
    )
    assert (ways >= 2).all()
    assert walls[0].all()
    assert walls[:, -1].all()


def test_wilson_draws_every_maze_equally_often() -> None:
    # 2×2 rooms have 4 spanning trees; each count is within 5 deviations of 1,000.
    mazes = Counter(_maze(5, 5, "wilson", 0.0, seed).tobytes() for seed in range(4_000))
    assert len(mazes) == 4
    assert all(abs(count - 1_000) < 5 * (4_000 * 3 / 16) ** 0.5 for count in mazes.values())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(4, 10).map(lambda n: 2 * n + 1),
    st.integers(4, 10).map(lambda n: 2 * n + 1),
    st.sampled_from(ALGORITHMS),
    st.sampled_from([0.0, 0.5]),
    st.integers(1, 3),
    st.integers(0, 2**63),
)
def test_every_door_can_be_opened(
    width: int, height: int, algorithm: str, braid: float, doors: int, seed: int
) -> None:
    planes = np.zeros((3 + 2 * doors, height, width), np.int8)
    random = np.array([seed], np.uint64)
    kind = ALGORITHMS.index(algorithm)
    start, goal, shortest, _ = new_maze(planes, random, False, kind, braid, -1, -1, -1)
    things = planes[FIRST_KEY:]
    assert (things.sum(axis=(1, 2)) == 1).all()
    assert things.sum(axis=0).max() == 1  # nothing lies on anything else
    assert shortest > 0
    if braid == 0:  # a detour for each key: never shorter than with the doors open
        assert shortest >= distances(planes[0], start)[goal]


@pytest.mark.parametrize("split", [False, True])
def test_training_and_test_seeds_are_disjoint(split: bool) -> None:
    planes, random = np.zeros((3, 9, 9), np.int8), np.array([7], np.uint64)
    seeds = [int(new_maze(planes, random, split, 0, 0.0, -1, -1, -1)[3]) for _ in range(100)]
    assert all(seed % 2 == split for seed in seeds)
    assert len(set(seeds)) == 100
