"""What a system lacks is replaced, or one sentence says so: here a process is made to lack it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WITHOUT_LOCKS = """
import sys
sys.modules["fcntl"] = None
"""
LIKE_WINDOWS = """
import os, select, sys
sys.modules["fcntl"] = None
for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "O_CLOEXEC", "getuid", "killpg", "pread", "posix_fallocate"):
    delattr(os, name)
os.supports_dir_fd = set()
del select.poll
"""


def test_without_locks_everything_works_and_training_warns(tmp_path: Path) -> None:
    words = ["train", "q-learning", "FrozenLake-v1", "--steps", "500", "--name", "q"]
    code = f"{WITHOUT_LOCKS}from fathom.cli import main\nsys.exit(main({words!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("this system has no file locks") == 1
    assert (tmp_path / "runs" / "q" / "latest").is_file()


def test_a_system_like_windows_has_help_lists_and_agents_but_no_runs(tmp_path: Path) -> None:
    code = f"""{LIKE_WINDOWS}
from fathom.cli import main
print(main(["--help"]), main(["list"]), main(["train", "q-learning", "FrozenLake-v1"]))
import gymnasium
from agents.dqn import DQN, DQNConfig
envs = gymnasium.make_vec("CartPole-v1", 4)
agent = DQN.for_env(envs, DQNConfig(learning_starts=100))
*_, last = agent.learn(envs, steps=400)
print(last["steps"], last["updates"] > 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "usage: fathom COMMAND" in done.stdout
    assert "FrozenLake-v1" in done.stdout
    assert done.stdout.split()[-5:] == ["0", "0", "2", "400", "True"]
    assert "Fathom keeps runs on Linux and macOS only" in done.stderr
    assert "Windows Subsystem for Linux" in done.stderr
    assert "Traceback" not in done.stderr
