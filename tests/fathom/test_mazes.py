"""The agents learn mazes from the command line."""

import json
from pathlib import Path

import pytest

from fathom.cli import main


def test_ppo_learns_mazes_that_it_has_never_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "train ppo Fathom/Maze-v0 --env.width 7 --env.height 7 --steps 16_384 --threads 1 --json"
    )
    flags = ["--evaluation-episodes", "100", "--segment-steps", "16_384"]
    assert main([*words.split(), *flags, "--runs-dir", str(tmp_path)]) == 0
    evaluation = json.loads(capsys.readouterr().out)["evaluation"]
    assert evaluation["measures"]["success"] > 0.7  # greedy and unlearnt: under 0.2
    assert evaluation["protocol"]["env.split"] == "test"
