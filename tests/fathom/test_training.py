"""The process that trains."""

import subprocess
import sys
from pathlib import Path


def test_a_run_of_one_thread_computes_on_one_thread_though_numba_starts_its_own(
    tmp_path: Path,
) -> None:
    code = f"""
from fathom.cli import main
words = "train dqn ALE/Pong-v5 --threads 1 --steps 64 --evaluation-episodes 0"
words += " --replay-capacity 1000 --runs-dir {tmp_path}"
assert main(words.split()) == 0
import torch
print(torch.__config__.parallel_info())
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # oneDNN's convolutions take as many threads as OpenMP says, not as torch says.
    lines = [line.split() for line in said.stdout.splitlines() if "omp_get_max_threads" in line]
    assert lines[0][-1] == "1"
