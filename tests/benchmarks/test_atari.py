"""The table of the Atari suite."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def atari() -> Any:
    """The script of `benchmarks`."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("atari_suite", BENCHMARKS / "atari.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["atari_suite"] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


PUBLISHED = {
    "human": {"Pong": [-20.0, 20.0], "Boxing": [0.0, 10.0]},
    "scores": [
        {"agent": "Theirs", "frames": 400, "source": "a paper", "games": {"Pong": 10.0}},
        {"agent": "Another length", "frames": 800, "source": "a paper", "games": {"Pong": 1.0}},
    ],
}


def _row(lines: list[str], start: str) -> list[str]:
    line = next(line for line in lines if line.startswith(f"| {start}"))
    return [part.strip() for part in line.strip("|").split("|")]


def test_scores_are_normalised_by_random_and_human_play(atari: Any) -> None:
    cells = [atari.Cell("Pong", "dqn", 100, seed) for seed in (0, 1)]
    measured = {
        cell.name: {"evaluation": {"mean": mean, "returns": [mean]}}
        for cell, mean in zip(cells, (-10.0, 10.0), strict=True)
    }
    row = _row(atari.table(cells, measured, PUBLISHED), "Pong")
    assert row[1].startswith("0.0 (")  # half-way between random and human
    assert row[1].endswith("2 seeds)")
    assert row[2].startswith("0.500 (")


def test_only_scores_at_the_same_number_of_frames_stand_beside_ours(atari: Any) -> None:
    cells = [atari.Cell(game, "dqn", 100, 0) for game in ("Pong", "Boxing")]
    measured = {cell.name: {"evaluation": {"mean": 5.0, "returns": [4.0, 6.0]}} for cell in cells}
    lines = atari.table(cells, measured, PUBLISHED)
    assert _row(lines, "game")[3:] == ["Theirs"]
    assert _row(lines, "Pong")[3] == "10.0"
    assert _row(lines, "Boxing")[3] == ""  # not published
    assert _row(lines, "IQM")[2] == "0.562 (2 runs of 2 games)"  # the mean of 0.625 and 0.5
    assert _row(lines, "IQM")[3] == "0.750 (means of 1 games)"
    assert _row(atari.table(cells[1:], measured, PUBLISHED), "game")[3:] == []


def test_what_is_not_measured_is_said_to_be_missing(atari: Any) -> None:
    cells = [atari.Cell("Pong", agent, 100, 0) for agent in ("dqn", "ppo")]
    measured = {cells[0].name: {"evaluation": {"mean": 5.0, "returns": [5.0, 5.0]}}}
    row = _row(atari.table(cells, measured, PUBLISHED), "Pong")
    assert row[2] == "–"
    assert row[4] == "–"


def test_every_development_game_has_a_human_score(atari: Any) -> None:
    for game in atari.GAMES.split(","):
        low, high = atari.PUBLISHED["human"][game]
        assert low < high
