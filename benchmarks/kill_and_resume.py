"""Does a training that is killed again and again end like one that was not?

Three small trainings (an Atari game, mazes, Go from nothing) run once to their ends. Then they run again,
are killed with SIGKILL at random moments, three times each, and resumed, until `--kills` are done; every
tensor of their last checkpoints is compared with those of the first.

    python benchmarks/kill_and_resume.py
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import machine  # isort: skip - lies beside this file

TRAININGS = {
    "breakout": "dqn ALE/Breakout-v5 --steps 12_000 --segment-steps 3_000 --learning-starts 1_000"
    " --evaluation-episodes 2 --replay-capacity 8_000",
    "maze": "ppo Fathom/Maze-v0 --steps 120_000 --segment-steps 30_000",
    "go": "alphago Fathom/Go-v0 --env.size 5 --steps 4_000 --segment-steps 1_000 --layers 4 --width 16",
}
KILLS_EACH = 3


def fathom(words: list[str], folder: Path, seconds: float | None = None) -> bool:
    """Run a command to its end, or kill it after some seconds; whether it came to its end."""
    command = [sys.executable, "-m", "fathom", *words, "--runs-dir", str(folder)]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    try:
        subprocess.run(
            command,
            check=True,
            timeout=seconds,  # its child gets SIGKILL then
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths},
        )
    except subprocess.TimeoutExpired:
        return False
    return True


def tensors(run: Path) -> dict[str, bytes]:
    """What the last checkpoint holds, by the name of the file."""
    last = run / "checkpoints" / (run / "latest").read_text().strip()
    return {file.name: file.read_bytes() for file in last.glob("*.safetensors")}


def main() -> None:
    """Kill and resume until enough kills are done; exit code 1 where a tensor differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", choices=TRAININGS, help="this training alone")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    chosen = [options.only] if options.only else list(TRAININGS)
    print(machine(1))
    with tempfile.TemporaryDirectory() as temporary:
        folder, took, kills, turn = Path(temporary), {}, 0, 0
        for what in chosen:
            began = time.perf_counter()
            fathom(
                ["train", *TRAININGS[what].split(), "--threads", "1", "--name", f"{what}-whole"],
                folder,
            )
            took[what] = time.perf_counter() - began
        while kills < options.kills:
            for what in chosen:
                name, killed, ended = f"{what}-{turn}", 0, False
                while not ended:
                    begun = (folder / name / "run.toml").exists()
                    train = ["train", *TRAININGS[what].split(), "--threads", "1", "--name", name]
                    moment = moments.uniform(3, max(5, took[what] / 2))
                    ended = fathom(
                        ["resume", name] if begun else train,
                        folder,
                        moment if killed < KILLS_EACH else None,
                    )
                    killed += not ended
                kills += killed
                same = tensors(folder / name) == tensors(folder / f"{what}-whole")
                print(
                    f"{name}: killed {killed} times, {'the same' if same else 'DIFFERENT'} ({kills})"
                )
                if not same:
                    raise SystemExit(1)
            turn += 1


if __name__ == "__main__":
    main()
