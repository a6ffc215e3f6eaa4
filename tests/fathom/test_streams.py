"""Standard output: one JSON object, no colours, and no end of a training where nobody reads it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fathom.cli import main

NOISY = """
import ctypes, os, subprocess, sys
import gymnasium, numpy as np
from gymnasium import logger
from gymnasium.spaces import Box, Discrete

libc = ctypes.CDLL(None)
WAYS = {
    "print": lambda: print("noise"),
    "descriptor": lambda: os.write(1, b"noise\\n"),
    "printf": lambda: libc.printf(b"noise\\n"),
    "child": lambda: subprocess.run(["echo", "noise"]),
    "first stream": lambda: print("noise", file=sys.__stdout__),
    "warning": lambda: logger.warn("noise"),
}

class Noisy(gymnasium.Env):
    observation_space, action_space = Box(0, 1, (2,), np.float32), Discrete(2)
    def __init__(self, way: str = "print"):
        self.ways = [WAYS[way]] if way in WAYS else list(WAYS.values())
    def say(self):
        for way in self.ways:
            way()
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.say()
        return self.np_random.random(2, dtype=np.float32), {}
    def step(self, action):
        self.time += 1
        return self.np_random.random(2, dtype=np.float32), 1.0, self.time > 9, False, {}
    def close(self):
        self.say()
    def __del__(self):
        self.say()
"""
SHORT = [
    "--steps",
    "64",
    "--num-envs",
    "2",
    "--rollout-steps",
    "8",
    "--evaluation-episodes",
    "2",
    "--threads",
    "1",
]


@pytest.fixture
def noisy(tmp_path: Path) -> str:
    (tmp_path / "noisy.py").write_text(NOISY)
    return f"{tmp_path / 'noisy.py'}:Noisy"


def _fathom(*words: str, **variables: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fathom", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **variables},
    )


def test_json_is_all_of_standard_output(tmp_path: Path, noisy: str) -> None:
    words = ["train", "ppo", noisy, "--env.way", "all", *SHORT, "--runs-dir", str(tmp_path / "r")]
    out, errors = _fathom(*words, "--json").communicate(timeout=120)
    assert json.loads(out)["steps"] == 64
    assert out.count(b"\n") == 1
    assert errors.count(b"noise") >= 15


def test_json_is_all_of_standard_output_in_a_test_too(
    tmp_path: Path, noisy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "ppo", noisy, "--env.way", "printf", *SHORT, "--runs-dir", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 64
    os.write(1, b"the descriptor is back\n")


def test_json_through_a_captured_descriptor(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    os.write(1, b"after\n")
    lines = capfd.readouterr().out.splitlines()
    assert "agents" in json.loads(lines[0])
    assert lines[1:] == ["after"]


def test_a_closed_pipe_does_not_end_a_training(tmp_path: Path, noisy: str) -> None:
    process = _fathom("train", "ppo", noisy, *SHORT, "--runs-dir", str(tmp_path), "--name", "a")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    assert process.wait(120) == 0, errors
    assert b"Traceback" not in errors
    assert (tmp_path / "a" / "evaluations.jsonl").exists()


def test_a_closed_standard_output_is_no_error() -> None:
    code = f"exec {sys.executable} -m fathom list >&-"
    done = subprocess.run(code, shell=True, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1", "TERM": "xterm-256color"}])
def test_redirected_output_has_no_control_characters(
    tmp_path: Path, noisy: str, variables: dict[str, str]
) -> None:
    words = ["train", "ppo", noisy, "--env.way", "warning", *SHORT, "--runs-dir", str(tmp_path)]
    out, errors = _fathom(*words, "--name", "a", **variables).communicate(timeout=120)
    assert b"evaluation" in out
    assert b"noise" in errors
    for text in (out, errors):
        assert b"\x1b" not in text
        assert b"\r" not in text
