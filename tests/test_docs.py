"""The documentation: its commands exist, its pictures are there, its site can be built."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from agents import AGENTS
from fathom.cli import main
from fathom.runs.folder import free_name

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted(DOCS.rglob("*.md"))]
EXAMPLES = "docs/extending.md"
"""A page whose commands are on what it adds; tests/test_extending.py runs them."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_blocks(page: Path) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


# -- commands ---------------------------------------------------------------------------------------


def commands(page: Path) -> list[str]:
    """The command lines that start with `fathom` in a page's blocks of code, and those that train or fit in its text."""
    text = page.read_text("utf-8")
    lines = [line.strip() for block in code_blocks(page) for line in block.splitlines()]
    lines += re.findall(r"^ {4}(fathom .*)", text, re.M)
    lines += [" ".join(one.split()) for one in re.findall(r"`(fathom (?:train|fit) [^`]+)`", text)]
    return [line for line in dict.fromkeys(lines) if line.startswith("fathom ")]


class Understood(Exception):
    """A command line was read to the point where its work would begin; holds the name of the run that it would make."""


@pytest.fixture
def read_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Reads a command line as `fathom` does, without its work; gives the name of the run that it would make."""
    import fathom.commands.gtp
    import fathom.commands.match
    import fathom.commands.play
    import fathom.commands.watch
    from fathom.play import transcripts
    from fathom.runs import launcher
    from fathom.runs.folder import RunFolder
    from fathom.runs.tasks import default_data

    def stop(*_: Any, **__: Any) -> None:
        raise Understood("")

    def new_training(agent: str, environment: Any, request: Any, *_: Any) -> None:
        chosen = request.options.name
        raise Understood(chosen or free_name(Path("none"), environment.reference, agent))

    def new_fit(task: str, options: Any, *_: Any) -> None:
        data = options.data or default_data(task)
        raise Understood(options.name or free_name(Path("none"), data, task))

    monkeypatch.setattr("fathom.runs.cluster.RayWorkers", MagicMock())
    monkeypatch.setattr(launcher, "new_training", new_training)
    monkeypatch.setattr(launcher, "new_fit", new_fit)
    monkeypatch.setattr(RunFolder, "find", stop)
    for module in (fathom.commands.gtp, fathom.commands.match, fathom.commands.play):
        monkeypatch.setattr(module, "go_player", stop)
    plan = "fathom.sweeps.plan"
    for name in (f"{plan}.training_sweep", f"{plan}.fit_sweep", "fathom.sharing.hub.pull"):
        monkeypatch.setattr(name, stop)
    monkeypatch.setattr(transcripts, "new_transcript", stop)
    monkeypatch.setattr(fathom.commands.watch, "_listen", stop)
    monkeypatch.chdir(ROOT)

    def read(line: str) -> str:
        words = shlex.split(line, comments=True)[1:]
        try:
            code = main(words)
        except Understood as understood:
            return str(understood)
        except SystemExit as ended:  # after --help
            code = ended.code
        assert code == 0, line
        return ""

    return read


@cache
def flags_of_runs() -> set[str]:
    """What `fathom resume` may change: its own flags and the hyperparameters of every agent."""
    from fathom.commands.resume import ChangeFlags
    from fathom.runs.agent_learner import agent_class

    kinds = [ChangeFlags, *(agent_class(name).Config for name in AGENTS)]
    names = [item.name for kind in kinds for item in dataclasses.fields(kind)]
    return {f"--{name.replace('_', '-')}" for name in names} | {"--no-freeze-encoder"}


ON_A_RUN = (
    "evaluate", "record", "predict", "inspect", "resume", "play", "gtp", "match", "export", "push",
)  # fmt: skip
PLAYERS = ("random", "playout", "rave")


def is_run(reference: str, made: set[str]) -> bool:
    """Whether a page may name this run: it ships, an earlier line of the page makes it, or it stands for any."""
    name = reference.removeprefix("runs/")
    return (
        reference.isupper()
        or name in made
        or reference in PLAYERS
        or " " in reference  # the command line of a Go program
        or ((ROOT / reference / "run.toml").is_file())
    )


def is_complete(page: Path) -> bool:
    """Whether a page's commands work one after the other, on runs that ship or that it makes."""
    return page.parent == ROOT or page.parent.name == "tutorials" or page.name == "tour.md"


@pytest.mark.parametrize("page", [page for page in PAGES if name_of(page) != EXAMPLES], ids=name_of)
def test_every_command_of_a_page_exists(
    page: Path, read_command: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    made: set[str] = set()
    for line in commands(page):
        words = shlex.split(line, comments=True)
        if re.search(r"…| (COMMAND|AGENT|ENV|TASK|WORLD|N)\b|\$", line):
            continue  # a pattern
        unknown = {"elsewhere", "minigrid:MiniGrid-Empty-8x8-v0", "LunarLander-v3", "--preset"}
        if words[1] == "domain" or unknown & {*words}:
            continue  # on what a reader has
        made.add(read_command(line))
        if words[1] in ON_A_RUN and is_complete(page):
            assert is_run(words[2], made), f"{line}: the page makes no such run"
        if words[1] == "resume":
            flags = {word for word in words[3:] if word.startswith("--") and "env." not in word}
            assert flags <= flags_of_runs(), line
    capsys.readouterr()


def test_a_wrong_command_is_noticed(
    read_command: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = (
        "fathom train ddqn CartPole-v1",
        "fathom train dqn CartPole-v7",
        "fathom train dqn CartPole-v1 --learning-rat 1",
        "fathom train ppo Fathom/Maze-v0 --env.widht 9",
        "fathom fit digit",
        "fathom fit digits --shifts 2",
        "fathom inspect runs/reference/digits-cnn filter",
    )
    for line in wrong:
        with pytest.raises(AssertionError):
            read_command(line)
    assert "Traceback" not in capsys.readouterr().err
    assert not is_run("runs/nobody", set())


def test_the_chinese_readme_has_the_commands_of_the_english_one() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-TW.md"
    assert [without_comments(block) for block in code_blocks(chinese)] == [
        without_comments(block) for block in code_blocks(english)
    ]
    texts = [page.read_text("utf-8") for page in (english, chinese)]
    inline = [re.findall(r"`((?:fathom|make|python|pip) [^`]+)`", text) for text in texts]
    assert inline[0] == inline[1]
    assert f"]({chinese.name})" in texts[0]
    assert f"]({english.name})" in texts[1]


def without_comments(block: str) -> list[str]:
    return [line.partition("#")[0].rstrip() for line in block.splitlines()]


# -- pictures and the site --------------------------------------------------------------------------


def test_every_picture_of_the_docs_is_there_and_small() -> None:
    for page in PAGES:
        for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text("utf-8")):
            size = (page.parent / name).stat().st_size
            assert size < (1_000_000 if name.endswith(".gif") else 150_000), name


def test_the_site_is_built_and_is_complete(tmp_path: Path) -> None:
    """`make docs` checks every link and anchor; one build, since it takes a while."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip('mkdocs is not installed; pip install -e ".[docs]" does that')
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    texts = {
        path.relative_to(tmp_path).as_posix(): path.read_text("utf-8")
        for path in tmp_path.rglob("*.html")
    }
    for name, text in texts.items():  # nothing is fetched from another host
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"([^\"]+)\"", text)
        loaded += re.findall(r"<link(?![^>]+rel=\"canonical\")[^>]+href=\"([^\"]+)\"", text)
        assert not [url for url in loaded if re.match(r"(https?:)?//", url)], name
    start = texts["index.html"]
    navigation = start[start.index('<nav class="md-nav md-nav--primary') :]
    for page in DOCS.rglob("*.md"):
        if page.name != "index.md":
            address = page.relative_to(DOCS).with_suffix(".html").as_posix()
            assert f'href="{address}"' in navigation, f"docs/index.md does not link {page.name}"
    for name in AGENTS:
        assert f'<h2 id="{name}">' in texts["api/agents.html"]
    assert 'id="agents.ppo.PPOConfig.clip_range"' in texts["api/agents.html"]
    assert 'id="fathom.train"' in texts["api/fathom.html"]
    assert "class Corridor" in re.sub("<[^>]+>", "", texts["source/examples/corridor.py.html"])
