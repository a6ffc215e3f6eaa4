"""The four examples of docs/extending.md work as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with all that the page says to add."""
    folder = tmp_path_factory.mktemp("project")
    for package in ("agents", "envs", "fathom", "perception"):
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    for first, body in re.findall(
        r"```(?:python|toml)\n# ([^\s,]+(?:, [^\n]*)?)\n(.*?)```", page, re.S
    ):
        name, _, place = first.partition(", ")
        path = folder / name
        if not place:
            path.parent.mkdir(exist_ok=True)
            path.write_text(body)
        elif place == "at the end":
            path.write_text(path.read_text() + body)
        else:
            table = place.removeprefix("in ")
            text, count = re.subn(rf"({table}: .*= {{\n)", rf"\g<1>{body}", path.read_text())
            assert count == 1, f"{name} has no {table}"
            path.write_text(text)
    return folder


def run(project: Path, *words: str, code: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "fathom", *words],
        cwd=project, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def test_the_agent_learns_by_its_preset_and_goes_on(project: Path) -> None:
    text = run(
        project, "train", "random-search", "CartPole-v1", "--name", "search", "--threads", "1"
    )
    assert "preset random-search-cartpole" in text
    score = float(re.findall(r"evaluation ([\d.]+)", text)[-1])
    assert score > 195, "what Gymnasium's documentation calls solved for CartPole-v0"
    assert "24,000 steps" in run(project, "resume", "search", "--steps", "24000")


def test_the_world_is_played_by_its_expert_and_learnt(project: Path) -> None:
    short = ("--segment-steps", "20000", "--evaluation-episodes", "50", "--threads", "1")
    text = run(project, "train", "scripted", "Fathom/Guess-v0", "--steps", "1000", *short)
    assert "numbers 16" in text
    assert float(re.findall(r"evaluation ([\d.]+)", text)[-1]) > 0.6
    learnt = run(
        project, "train", "ppo", "Fathom/Guess-v0", "--env.first", "12", "--steps", "20000",
        "--learning-rate", "3e-3", "--rollout-steps", "32", *short,
    )  # fmt: skip
    assert "guesses" in learnt
    assert float(re.findall(r"evaluation (-?[\d.]+)", learnt)[-1]) > 0.7


def test_the_task_is_fitted_and_asked(project: Path) -> None:
    text = run(project, "fit", "wine", "--name", "wine", "--threads", "1")
    assert float(re.findall(r"accuracy ([\d.]+)", text)[-1]) > 0.9
    wine = "13.2,1.78,2.14,11.2,100,2.65,2.76,0.26,1.28,4.38,1.05,3.4,1050"
    assert "kind 0" in run(project, "predict", "wine", wine)
    for bad, sentence in (("a,b", "could not convert"), ("1,2", "a wine has 13 numbers, not 2")):
        assert sentence in run(project, "predict", "wine", bad, code=2)


def test_the_command_is_found_with_its_help(project: Path) -> None:
    assert "best" in run(project, "--help")
    words = ("train", "random-search", "CartPole-v1", "--steps", "800", "--name", "short")
    run(project, *words, "--threads", "1")
    assert re.search(r"^short: \d", run(project, "best"), re.M)
