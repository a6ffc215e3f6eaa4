"""The process that trains."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fathom.errors import FathomError
from fathom.runs.agent_learner import check_room


def test_a_run_of_one_thread_computes_on_one_thread_though_numba_starts_its_own(
    tmp_path: Path,
) -> None:
    code = f"""
from fathom.cli import main
words = "train dqn ALE/Pong-v5 --threads 1 --num-envs 1 --steps 4 --evaluation-episodes 0"
words += " --replay-capacity 1000 --runs-dir {tmp_path}"
assert main(words.split()) == 0
import torch
print(torch.__config__.parallel_info())
"""
    message = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    # oneDNN's convolutions take as many threads as OpenMP says, not as torch says.
    lines = [line.split() for line in message.stdout.splitlines() if "omp_get_max_threads" in line]
    assert lines[0][-1] == "1"


def test_a_replay_memory_that_the_disk_has_no_room_for_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2_000_000_000))
    folder = tmp_path / "runs"  # that is made later
    check_room(folder, 2_000_000_000)
    with pytest.raises(FathomError) as refused:
        check_room(folder, 2_300_000_000)
    message = str(refused.value)
    assert "needs 2.3 GB" in message
    assert f"the disk that holds {tmp_path} has 2.0 GB left" in message
    assert "--runs-dir" in message
