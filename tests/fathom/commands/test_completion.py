"""Completion in a shell."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fathom.cli import main
from fathom.completing import SHELLS

REFERENCE = Path(__file__).parents[3] / "runs" / "reference"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(REFERENCE / "maze-ppo", "runs/maze-ppo")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("tra", "train"),
        ("nothing ", ""),
        ("train dq", "dqn"),
        ("train ppo CartP", "CartPole-v1"),
        ("train ppo CartPole-v1 --gae", "--gae-lambda"),
        ("train ppo --num-envs 8 Fathom/Maze", "Fathom/Maze-v0"),
        ("train ppo CartPole-v1 --device c", "cpu cuda"),
        ("train ppo CartPole-v1 --steps 1", ""),
        ("train ppo CartPole-v1 x", ""),
        ("fit semi", "semi-supervised"),
        ("evaluate ma", "maze-ppo"),
        ("match maze-ppo m", "maze-ppo"),
        ("inspect maze-ppo dr", "dream"),
        ("export maze-ppo --onn", "--onnx"),
        ("record maze-ppo --tr", "--transitions --trust"),
        ("resume maze-ppo ", ""),
        ("completion z", "zsh"),
    ],
)
def test_words_are_completed(capsys: pytest.CaptureFixture[str], words: str, wanted: str) -> None:
    assert main(["completion", "words", *words.split(" ")]) == 0
    assert capsys.readouterr().out.split() == wanted.split()


def test_environments_are_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    from fathom import __version__

    file = Path("cache/fathom/completion") / f"{__version__}.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"environments": ["My-v1"]}')
    assert main(["completion", "words", "train", "ppo", "My"]) == 0
    assert capsys.readouterr().out == "My-v1\n"
    file.write_text("no JSON")
    assert main(["completion", "words", "train", "ppo", "MountainCar-"]) == 0
    assert capsys.readouterr().out == "MountainCar-v0\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_by_the_script() -> None:
    script = f"""
fathom() {{ {sys.executable} -m fathom "$@"; }}
source <(fathom completion bash)
COMP_WORDS=(fathom evaluate maz) COMP_CWORD=2
_fathom
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "maze-ppo\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_script(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    subprocess.run([shell, "-n"], input=SHELLS[shell], text=True, check=True)


def test_an_unknown_shell_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "csh"]) == 2
    assert "completion is there for bash, zsh, fish" in capsys.readouterr().err
