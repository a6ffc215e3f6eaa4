"""A run's folder that comes from elsewhere is data, whatever it holds and whichever command opens it."""

import errno
import fcntl
import importlib.util
import itertools
import json
import os
import re
import shutil
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import gymnasium
import pytest
import torch
from gymnasium.spaces import Box
from PIL import Image

import fathom
from agents.parts.positions import SelfPlay
from fathom.cli import _plain_warning, main
from fathom.errors import FathomError
from fathom.runs import trust
from fathom.runs.agent_learner import agent_class
from fathom.runs.bounds import TRAINING, refuse_costs, refuse_memory
from fathom.runs.checkpoint import digest
from fathom.runs.folder import RunFolder

Edit = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few small runs, each under the name of its agent or task."""
    runs_dir = tmp_path_factory.mktemp("made")
    common = {"progress": False, "runs_dir": runs_dir, "threads": 1}
    agent = {**common, "evaluation_episodes": 1}
    fathom.train("ppo", "CartPole-v1", steps=64, segment_steps=32, name="ppo", num_envs=2,
                 rollout_steps=16, hidden_size=4, num_minibatches=1, **agent)  # fmt: skip
    fathom.train("dqn", "CartPole-v1", steps=64, segment_steps=32, name="dqn", num_envs=2, hidden_size=4,
                 learning_starts=16, replay_capacity=100, batch_size=4, keep_replay=True, **agent)  # fmt: skip
    fathom.train("ppo", "Fathom/Go-v0", env_args={"size": 5}, steps=32, segment_steps=32, name="go",
                 num_envs=2, rollout_steps=16, hidden_size=4, num_minibatches=1, **agent)  # fmt: skip
    fathom.train("dqn", "Taxi-v4", steps=64, segment_steps=32, name="taxi", num_envs=2, hidden_size=4,
                 learning_starts=16, replay_capacity=100, batch_size=4, keep_replay=True, **agent)  # fmt: skip
    fathom.fit("digits", network="linear", epochs=1, name="digits", **common)
    fathom.fit("spam", epochs=1, name="spam", **common)
    fathom.fit("descent", epochs=1, passes=1, name="descent", **common)
    return runs_dir


@pytest.fixture(scope="module")
def mutations() -> ModuleType:
    """The script of `benchmarks` that mutates runs at random."""
    path = Path(__file__).parents[2] / "benchmarks" / "hostile_runs.py"
    spec = importlib.util.spec_from_file_location("hostile_runs", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def foreign(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same runs as they come from elsewhere, in the folder `runs` of the current folder."""
    shutil.copytree(made, tmp_path / "runs")
    for signature in (tmp_path / "runs").glob("*/signature"):
        signature.unlink()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder of files that must be the same at the end of the test."""
    folder = tmp_path / "outside"
    (folder / "00000").mkdir(parents=True)
    (folder / "99999").mkdir()
    for name in ("file", "00000/file", "99999/file", ".x.1.tmp", "observations"):
        (folder / name).write_bytes(b"precious\n" * 100)
    before = tree(folder)
    yield folder
    assert tree(folder) == before


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def edit_config(run: Path, old: str, new: str) -> None:
    path = run / "run.toml"
    text = path.read_text()
    assert re.search(old, text, re.M)
    path.write_text(re.sub(old, lambda _: new, text, count=1, flags=re.M))


def edit_state(run: Path, edit: Callable[[dict], None]) -> None:
    """Change `state.json` of every checkpoint, and make its checksum fit."""
    for path in run.glob("checkpoints/*/state.json"):
        content = json.loads(path.read_text())
        content.pop("sha256")
        edit(content)
        path.write_text(json.dumps({**content, "sha256": digest(content)}))


def sentence(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """Run a command that must end with one sentence; returns it."""
    capsys.readouterr()
    assert main(words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("fathom: ")
    return error


COMMANDS = [["evaluate", "--episodes", "1"], ["record"], ["resume", "--steps", "96"]]


# -- nothing is started or imported unasked ---------------------------------------------------------


def python_file(run: Path) -> None:
    (run / "world.py").write_text("open('pwned', 'w')\n")
    edit_config(run, "^environment = .*", f'environment = "{run}/world.py:World"')


def module(run: Path) -> None:
    Path("evil.py").write_text("open('pwned', 'w')\n")
    edit_config(run, "^environment = .*", 'environment = "evil:World-v0"')


def program(run: Path) -> None:
    edit_config(run, "^size = 5", 'size = 5\nopponent = "touch pwned"')


def installed_program(run: Path) -> None:
    edit_config(run, "^size = 5", 'size = 5\nopponent = "gnugo"')


def outside_file(run: Path) -> None:
    edit_config(run, "^environment = .*", 'environment = "Fathom/Dialogue-v0"')
    edit_config(run, "^size = 5", 'domain = "/etc/secret.yaml"')


@pytest.mark.parametrize("command", [*COMMANDS, ["inspect"]], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (python_file, "would import .*/world.py,"),
        (module, "would import evil,"),
        (program, "would start the program 'touch pwned',"),
        (installed_program, "would start the program 'gnugo',"),
        (outside_file, "would read '/etc/secret.yaml',"),
    ],
)
def test_what_is_more_than_data_needs_trust(
    foreign: Path, edit: Edit, what: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    edit(foreign / "go")
    error = sentence(capsys, [command[0], "go", *command[1:]])
    assert re.search(what, error)
    assert "--trust" in error
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("frames:evil:World-v0", "would import evil,"),
        ("frames:../world.py:World", "would import ../world.py,"),
        ("frames:Foreign/World-v0", "would import evil:World for"),
        ("frames:../secret", "would read '../secret',"),
        ("frames:Fathom/Maze-v0", "all of one class"),  # ships, so it is made, and has no classes
        ("frames:pong,nothing", "no Atari game 'nothing'"),
    ],
)
def test_frames_of_worlds_that_do_not_ship_need_trust(
    foreign: Path, data: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("evil.py").write_text("open('pwned', 'w')\n")
    gymnasium.register("Foreign/World-v0", entry_point="evil:World")
    try:
        edit_config(foreign / "digits", "^data = .*", f'data = "{data}"')
        assert what in sentence(capsys, ["evaluate", "digits"])
    finally:
        gymnasium.registry.pop("Foreign/World-v0")
    assert not Path("pwned").exists()


def test_players_need_trust_too(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(foreign / "go")
    for words in (["match", "go", "random"], ["gtp", "go"], ["play", "go"]):
        assert "would start the program" in sentence(capsys, words)
    with pytest.raises(FathomError, match="would start"):
        fathom.load("go").evaluate(1)
    assert not Path("pwned").exists()


def test_with_trust_it_is_done(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(foreign / "go")
    assert "touch" in sentence(capsys, ["evaluate", "go", "--trust", "--episodes", "1"])
    assert Path("pwned").exists()
    Path("pwned").unlink()
    with pytest.raises(FathomError, match="touch"):
        fathom.load("go", trust=True).evaluate(1)
    assert Path("pwned").exists()
    # Once was once.
    assert "--trust" in sentence(capsys, ["evaluate", "go", "--episodes", "1"])


def test_a_run_that_was_resumed_with_trust_counts_as_made_here(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (foreign.parent / "world.py").write_text(
        "from gymnasium.envs.classic_control import CartPoleEnv as World\n"
    )
    edit_config(
        foreign / "ppo", "^environment = .*", f'environment = "{foreign.parent}/world.py:World"'
    )
    assert "--trust" in sentence(capsys, ["resume", "ppo"])
    assert main(["resume", "ppo", "--steps", "96", "--trust"]) == 0
    assert main(["evaluate", "ppo", "--episodes", "1"]) == 0
    edit_config(foreign / "ppo", "^seed = 0", "seed = 1")
    assert "changed since" in sentence(capsys, ["evaluate", "ppo", "--episodes", "1"])


def test_a_signature_of_another_machine_is_none(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder.open(foreign / "ppo", trust=True)
    run.write_config()
    assert RunFolder.open(foreign / "ppo").signed
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    assert not RunFolder.open(foreign / "ppo").signed


def test_no_moment_of_a_rewrite_is_unsigned(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "ppo", tmp_path / "ppo")
    run = RunFolder.open(tmp_path / "ppo")
    assert run.signed
    real, states = os.replace, []

    def replace(*args: str, **options: int) -> None:
        states.append(RunFolder.open(tmp_path / "ppo").signed)
        real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", replace)
    run.config.steps += 100
    run.write_config()
    assert states == [True, True]
    assert RunFolder.open(tmp_path / "ppo").signed


def test_a_home_that_cannot_be_written_leaves_runs_unsigned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    run = fathom.train("ppo", "CartPole-v1", steps=16, name="r", runs_dir=tmp_path, num_envs=2,
                       evaluation_episodes=0, progress=False)  # fmt: skip
    assert not RunFolder.open(run.folder).signed
    assert run.evaluate(1).count == 1


def test_the_key_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = trust.signature(b"text")
    assert first == trust.signature(b"text") != trust.signature(b"other")
    key = tmp_path / "fathom" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32


def test_an_environment_of_ones_own_is_trained_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.chdir(tmp_path)
    Path("world.py").write_text("from gymnasium.envs.classic_control import CartPoleEnv as World\n")
    words = "train ppo world.py:World --steps 16 --num-envs 2 --evaluation-episodes 1 --name r"
    assert main(words.split()) == 0
    assert "will need --trust" in capsys.readouterr().out
    assert "--trust" in sentence(capsys, ["evaluate", "r"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_built_in_worlds_need_no_trust(foreign: Path, command: list[str]) -> None:
    assert main([command[0], "ppo", *command[1:]]) == 0


# -- nothing outside is written, removed or read ----------------------------------------------------


def linked(name: str, target: str) -> Edit:
    def edit(run: Path) -> None:
        path = run / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(run.parent.parent / "outside" / target)

    return edit


FIT_LINKS = [
    linked("checkpoints", "."),
    linked("model.json", "file"),
    linked("pictures", "."),
]
LINKS = [
    linked("checkpoints", "."),
    linked("checkpoints", ".x.1.tmp"),
    linked("checkpoints/00002", "99999"),
    linked("checkpoints/00002/weights.safetensors", "file"),
    linked("checkpoints/00002/state.json", "file"),
    linked("latest", "file"),
    linked("lock", "file"),
    linked("lock", "missing"),
    linked("replay", "."),
    linked("replay/observations", "observations"),
    linked("replay/rewards", "missing"),
    linked("metrics.jsonl", "file"),
    linked("metrics.jsonl", "missing"),
    linked("evaluations.jsonl", "file"),
    linked("run.toml", "file"),
    linked("signature", "file"),
    linked("videos", "."),
    linked("videos", "missing"),
]


@pytest.mark.parametrize(
    ("name", "edit"), [("dqn", edit) for edit in LINKS] + [("digits", edit) for edit in FIT_LINKS]
)
def test_no_link_is_followed(
    foreign: Path, outside: Path, name: str, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    (foreign / name / "replay").mkdir(exist_ok=True)
    edit(foreign / name)
    for words in (
        ["evaluate", name],
        ["record", name],
        ["predict", name, "x.png"],
        ["resume", name, "--steps", "96" if name == "dqn" else "2000"],
        ["resume", name],
    ):
        assert main(words) in (0, 2)
        assert "precious" not in capsys.readouterr().out
    assert not (outside / "missing").exists()


def test_hard_links_are_not_written_to(
    foreign: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("lock", "replay/observations", "replay/written"):
        run = foreign / "dqn"
        (run / name).unlink(missing_ok=True)
        (run / name).hardlink_to(outside / "observations")
        assert "hard link" in sentence(capsys, ["resume", "dqn", "--steps", "96"])
        (run / name).unlink()


def test_a_path_in_the_state_names_no_video(foreign: Path, outside: Path) -> None:
    edit_state(foreign / "ppo", lambda c: c["progress"].update(steps="x/../../../outside/video"))
    assert main(["record", "ppo"]) == 2


def test_only_what_the_run_wrote_is_removed(foreign: Path) -> None:
    run = foreign / "ppo"
    kept = [run / ".notes.tmp", run / "checkpoints" / "1", run / "checkpoints" / "٠٠٠٠٧"]
    for path in kept:
        path.mkdir()
    gone = [
        run / ".latest.12.tmp",
        run / "checkpoints" / ".00001.34.tmp",
        run / "checkpoints" / "00009",
    ]
    for path in gone:
        path.mkdir()
    assert main(["resume", "ppo"]) == 0
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


def test_a_run_may_itself_lie_behind_a_link(foreign: Path) -> None:
    shutil.move(foreign / "ppo", foreign.parent / "elsewhere")
    (foreign / "ppo").symlink_to(foreign.parent / "elsewhere")
    assert main(["resume", "ppo", "--steps", "96"]) == 0


# -- what is read is checked ------------------------------------------------------------------------

CONFIGS = [
    ("^seed = 0", "seed = nan"),
    ("^seed = 0", "seed = " + "9" * 4000),
    ("^seed = 0", "seed = " + "9" * 5000),
    ("^seed = 0", "seed = " + "[" * 50_000),
    ("^seed = 0", 'seed = "\\u001b[2J"'),
    ("^seed = 0", "seed = 1979-05-27"),
    ("^seed = 0", "seed = 0\n" + ".".join("a" * 40_000) + " = 1"),
    ("^steps = .*", "steps = -1"),
    ("^threads = .*", "threads = 1000000000"),
    ("^agent = .*", 'agent = "nobody"'),
    ("^agent = .*", "agent = 1"),
    ("^agent = .*", 'agent = "' + "a" * 100_000 + '"'),
    ("^device = .*", 'device = "cuda:0; rm"'),
    ("^evaluation_envs = .*", "evaluation_envs = 65536"),
    ("^hidden_size = .*", "hidden_size = nan"),
    ("^hidden_size = .*", "hidden_size = " + "[" * 100 + "]" * 100),
    ("^hidden_size = .*", "hidden_size = {a = {b = 1}}"),
    ("^\\[protocol\\]", "[weights]\nstep = 1\n[protocol]"),
    ("^\\[protocol\\]", '[weights]\nrun = "x"\nstep = "x"\n[protocol]'),
    ("^\\[protocol\\]", '[[changes]]\nname = "x"\n[protocol]'),
    ("^\\[protocol\\]", '[[changes]]\nname = "x"\nstep = "x"\nbefore = 1\nafter = 2\n[protocol]'),
]


@pytest.mark.parametrize(("old", "new"), CONFIGS)
def test_a_description_that_cannot_be_right_is_a_sentence(
    foreign: Path, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_config(foreign / "ppo", old, new)
    for command in COMMANDS:
        assert len(sentence(capsys, [command[0], "ppo", *command[1:]])) < 1_000


@pytest.mark.parametrize("junk", [b"\xff\xfe", b"", b"[" * 100_000, b"a = 1\x00", b"\x1b[2J"])
@pytest.mark.parametrize("name", ["run.toml", "checkpoints/00001/state.json", "model.json"])
def test_junk_is_a_sentence(
    foreign: Path, name: str, junk: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    run = "digits" if name == "model.json" else "ppo"
    for path in (foreign / run).glob(name.replace("00001", "*")):
        path.write_bytes(junk)
    words = ["predict", run, "x.png"] if run == "digits" else ["evaluate", run]
    assert "\x1b" not in sentence(capsys, words)


STATES: list[Callable[[dict], None]] = [
    lambda c: c["progress"].update(segment=-3),
    lambda c: c["progress"].update(segment=99),
    lambda c: c["progress"].update(steps=float("nan")),
    lambda c: c["progress"].update(steps=10**30),
    lambda c: c["progress"].update(seconds="1"),
    lambda c: c["progress"].update(surprise=1),
    lambda c: c["numbers"].update(steps=10**30),
    lambda c: c["numbers"].update(steps="1"),
    lambda c: c["numbers"].update(updates=-(10**12)),
    lambda c: c.update(numbers=[]),
    lambda c: c.update(files={}),
    lambda c: c.update(checkpoint=7),
    lambda c: c.update(format="2"),
]


@pytest.mark.parametrize("edit", STATES)
def test_a_state_that_cannot_be_right_is_a_sentence_and_nothing_is_lost(
    foreign: Path, edit: Callable[[dict], None], capsys: pytest.CaptureFixture[str]
) -> None:
    edit_state(foreign / "ppo", edit)
    before = tree(foreign / "ppo" / "checkpoints")
    for command in COMMANDS:
        assert "can be used" in sentence(capsys, [command[0], "ppo", *command[1:]])
    assert tree(foreign / "ppo" / "checkpoints") == before


def test_broken_log_lines_are_left_out(foreign: Path) -> None:
    run = fathom.load("ppo")
    evaluations, metrics = run.evaluations(), run.metrics()
    junk = [b"[" * 100_000, b"\xff", b"{}", b"[]", b"7", b"null", b'{"segment": NaN}', b'{"segment": "x"}',
            b'{"segment": 1, "steps": 1, "mean": 1e999, "interval": [0, 1], "episodes": 1}',
            b'{"segment": 1, "steps": 1, "mean": 1}', b"9" * 5000]  # fmt: skip
    for name in ("evaluations.jsonl", "metrics.jsonl"):
        with open(run.folder / name, "ab") as file:
            file.write(b"\n".join(junk) + b"\n")
    assert run.evaluations() == evaluations
    assert run.metrics() == [*metrics, {}, {"segment": 1, "steps": 1, "mean": 1}]
    assert main(["resume", "ppo", "--steps", "96"]) == 0


def test_a_video_replaces_a_link(foreign: Path, outside: Path) -> None:
    videos = foreign / "ppo" / "videos"
    videos.mkdir()
    for name in ("step-64.mp4", f".step-64.{os.getpid()}.mp4"):
        (videos / name).symlink_to(outside / "file")
    assert main(["record", "ppo"]) == 0
    assert sorted(path.name for path in videos.iterdir()) == ["step-64.json", "step-64.mp4"]
    assert not (videos / "step-64.mp4").is_symlink()


def test_a_folder_in_the_place_of_a_video_is_a_sentence(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (foreign / "ppo" / "videos" / "step-64.mp4" / "mine").mkdir(parents=True)
    assert "Is a directory" in sentence(capsys, ["record", "ppo"])
    assert (foreign / "ppo" / "videos" / "step-64.mp4" / "mine").is_dir()


def test_events_are_written_to_a_new_file(foreign: Path, outside: Path) -> None:
    before = list((foreign / "ppo").glob("*tfevents*"))
    for path in before:
        path.unlink()
        path.symlink_to(outside / "file")
    assert main(["resume", "ppo", "--steps", "96"]) == 0
    new = [path for path in (foreign / "ppo").glob("*tfevents*") if path not in before]
    assert before
    assert [path.is_symlink() for path in new] == [False]


# -- memory and time --------------------------------------------------------------------------------


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


def long_header(path: Path) -> None:
    with open(path, "wb") as file:
        file.write((1 << 31).to_bytes(8, "little") + b"{")
        file.truncate((1 << 31) + 100)


def folder(path: Path) -> None:
    path.mkdir()


FILES = [
    "run.toml", "latest", "checkpoints/00002/weights.safetensors", "metrics.jsonl", "evaluations.jsonl", "lock",
    "signature", "model.json", "checkpoints", "checkpoints/00002", "checkpoints/00002/state.safetensors",
    "checkpoints/00002/state.json", "replay", "replay/observations", "replay/written", "videos", "pictures",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *itertools.product(FILES, [pipe, sparse]),
        *itertools.product(FILES[:4], [endless, long_header, folder]),
    ],
)
def test_no_kind_of_file_is_waited_for_or_read_without_end(
    foreign: Path, name: str, kind: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    run = "digits" if name in ("model.json", "pictures") else "dqn"
    path = foreign / run / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    kind(path)
    commands = [["predict", run, "x.png"]] if run == "digits" else []
    for words in (
        *commands,
        ["evaluate", run],
        ["record", run],
        ["resume", run, "--steps", "2000" if run == "digits" else "96"],
    ):
        assert main(words) in (0, 2)
    assert fathom.list_runs() is not None


@pytest.mark.parametrize("name", TRAINING)
def test_what_a_run_from_elsewhere_asks_for_is_bounded(foreign: Path, name: str) -> None:
    run = RunFolder.open(foreign / "dqn")
    kind = agent_class("dyna-q").Config
    most = max(TRAINING[name], getattr(kind, name, 0))
    for value in (most, most + 1):
        if name in ("steps", "evaluation_episodes", "evaluation_envs"):
            setattr(run.config, name, value)
        elif name == "max_episode_steps":
            run.config.environment_arguments[name] = value
        else:
            run.config.hyperparameters[name] = value
        if value == most:
            refuse_costs(run, kind, TRAINING)
    with pytest.raises(FathomError, match=f"asks for {name} = .* at most {most:,}: .*--trust"):
        refuse_costs(run, kind, TRAINING)
    refuse_costs(run, kind, TRAINING, asked=[name])
    run.trust = True
    refuse_costs(run, kind, TRAINING)


def test_an_evaluation_is_bounded_but_for_what_the_user_asks_for(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_config(foreign / "ppo", "^evaluation_episodes = .*", "evaluation_episodes = 1_000_000")
    for words in (["evaluate", "ppo"], ["resume", "ppo", "--steps", "96"]):
        assert "evaluation_episodes = 1,000,000" in sentence(capsys, words)
    assert main(["evaluate", "ppo", "--episodes", "1"]) == 0
    assert main(["resume", "ppo", "--steps", "96", "--evaluation-episodes", "1"]) == 0
    edit_config(foreign / "ppo", "^evaluation_envs = .*", "evaluation_envs = 256")
    assert "evaluation_envs = 256" in sentence(capsys, ["evaluate", "ppo"])
    assert main(["evaluate", "ppo", "--trust"]) == 0


def test_a_training_of_many_environments_or_passes_is_refused(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_config(foreign / "ppo", "^num_envs = .*", "num_envs = 60000")
    assert "num_envs = 60,000" in sentence(capsys, ["resume", "ppo"])
    edit_config(foreign / "descent", "^epochs = .*", "epochs = 9999")
    assert "epochs = 9,999" in sentence(capsys, ["resume", "descent"])


def test_a_training_that_holds_too_many_observations_is_refused(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_config(foreign / "ppo", "^rollout_steps = .*", "rollout_steps = 70000")
    error = sentence(capsys, ["resume", "ppo", "--steps", "96"])
    assert "num_envs × rollout_steps = 140,000 observations" in error
    run = RunFolder.open(foreign / "dqn")
    numbers, picture = Box(0, 1, (4,)), Box(0, 1, (84, 84, 4))
    run.config.hyperparameters.update(num_envs=256, batch_size=512, train_frequency=1)
    refuse_memory(run, numbers, training=True)
    refuse_memory(run, picture, training=False)
    for space, hidden_size in ((picture, 4), (numbers, 2_000)):
        run.config.hyperparameters["hidden_size"] = hidden_size
        with pytest.raises(FathomError, match=r"train_frequency = 131,072 .* at most .*--trust"):
            refuse_memory(run, space, training=True)
    run.config.evaluation_envs = 16
    with pytest.raises(FathomError, match="evaluation_envs = 16 observations"):
        refuse_memory(run, Box(0, 1, (4_000, 4_000)), training=False)
    run.trust = True
    refuse_memory(run, picture, training=True)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_network_far_larger_than_its_weights_is_not_built(
    foreign: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    edit_config(foreign / "ppo", "^hidden_size = .*", "hidden_size = 100000")
    error = sentence(capsys, [command[0], "ppo", *command[1:]])
    assert "far larger network" in error


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_holes_are_not_weights(
    foreign: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (foreign / "ppo").glob("checkpoints/*/weights.safetensors"):
        size = 4 << 30
        tensor = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
        header = json.dumps({"w": tensor}).encode()
        with open(path, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + size)
    error = sentence(capsys, [command[0], "ppo", *command[1:]])
    assert "made of holes" in error


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_only_weights_that_were_read_say_how_large_the_network_is(
    foreign: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign / "ppo" / "checkpoints" / "00000" / "weights.safetensors"
    path.parent.mkdir(exist_ok=True)
    header = json.dumps({"w": {"data_offsets": [0, 8 << 29]}}).encode()
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + (8 << 29))
    edit_config(foreign / "ppo", "^hidden_size = .*", "hidden_size = 30000")
    error = sentence(capsys, [command[0], "ppo", *command[1:]])
    assert "far larger network" in error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_pattern", r"(\w+\s?)+!"),
        ("input", "filename"),
        ("ngram_range", [1, 1_000_000]),
        ("analyzer", "x"),
    ],
)
def test_options_of_a_vectorizer_are_fathoms_own(
    foreign: Path, name: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign / "spam" / "model.json"
    content = json.loads(path.read_text())
    content["encoder"]["options"][name] = value
    path.write_text(json.dumps(content))
    assert name in sentence(capsys, ["predict", "spam", "a" * 30])


def test_a_descent_of_many_updates_is_refused(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for epochs in (1_000_000_000, 10_000):
        edit_config(foreign / "descent", "^epochs = .*", f"epochs = {epochs}")
        edit_config(foreign / "descent", "^passes = .*", "passes = 10000")
        assert "cannot be right" in sentence(capsys, ["predict", "descent", "ravine -1.5 2"])


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("ink_box", 5_000, "a share of its image, not 5000"),
        ("shape", [1, 5_000, 5_000], "too large"),
        ("shape", [1, 8], "channels, height and width"),
        ("shape", [10**9, 8, 8], "at most 64 channels"),
        ("classes", 3, "TypeError"),
    ],
)
def test_metadata_that_cannot_be_right_are_a_sentence(
    foreign: Path, name: str, value: object, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign / "digits" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    image = Image.new("L", (20, 20), "white")
    image.paste("black", (5, 5, 9, 15))
    image.save("picture.png")
    assert complaint in sentence(capsys, ["predict", "digits", "picture.png"])


def test_the_batches_of_a_test_are_bounded(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_config(foreign / "digits", "^batch_size = .*", "batch_size = 1_000_000")
    assert "batch_size = 1,000,000" in sentence(capsys, ["evaluate", "digits"])


@pytest.mark.parametrize(
    "words",
    [
        "evaluate ppo --episodes 1000000000000",
        "record ppo --episodes 1000000000000",
        "match random random --games 1000000000000",
        "train ppo CartPole-v1 --threads 1000000000",
        "train ppo CartPole-v1 --hidden-size 100000000",
        "train ppo CartPole-v1 --epochs 1000000000",
        "train ppo CartPole-v1 --evaluation-envs 1000000000",
        "train ppo CartPole-v1 --env.max_episode_steps 1000000000000",
        "train ppo Fathom/Go-v0 --env.max_moves 1000000000",
        "train ppo Fathom/Maze-v0 --env.view local --env.radius 1000000000",
        "train alphago Fathom/Go-v0 --layers 100000000",
        "fit slot-filling --data domain:movie --data.sentences 1000000000000",
    ],
)
def test_absurd_numbers_are_refused(
    foreign: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search("at most|from [12] to", sentence(capsys, words.split()))


# -- replay -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"\0", b"\7"])
@pytest.mark.parametrize(
    "name", ["valid", "terminated", "truncated", "rewards", "ages", "actions", "written"]
)
def test_a_replay_memory_that_was_not_written_like_this_is_not_learnt_from(
    foreign: Path, name: str, value: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign / "dqn" / "replay" / name
    size = path.stat().st_size
    harmless = name in ("terminated", "truncated", "rewards", "actions") and value == b"\0"
    path.write_bytes((b"\xff" if name == "rewards" and not harmless else value) * size)
    code = main(["resume", "dqn", "--steps", "96"])
    assert harmless or (code == 2 and "replay memory" in capsys.readouterr().err)


@pytest.mark.parametrize("value", [b"\x30\x75", b"\xff\xff"])
def test_indices_in_a_replay_memory_are_those_of_the_observations(
    foreign: Path, value: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign / "taxi" / "replay" / "observations"
    path.write_bytes(value * (path.stat().st_size // 2))
    assert "replay memory" in sentence(capsys, ["resume", "taxi", "--steps", "96"])


def test_positions_of_another_board_are_refused() -> None:
    shape = (19, 5, 5)
    tensors = SelfPlay.empty(shape).tensors()
    assert len(SelfPlay.of(tensors, shape).winners) == 0
    with pytest.raises(ValueError, match="another board"):
        SelfPlay.of(tensors, (19, 9, 9))
    with pytest.raises(ValueError, match="another board"):
        SelfPlay.of({**tensors, "replay.winners": torch.zeros(3, dtype=torch.int8)}, shape)


# -- text and sentences -----------------------------------------------------------------------------


def test_text_from_a_run_is_shown_as_text(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "\x1b[2J\r\n\x9b5m\u202e"
    name = f"ppo{bad}".replace("/", "")
    (foreign / "ppo").rename(foreign / name)
    text = json.dumps(bad)
    edit_config(foreign / name, "^\\[protocol\\]", f"[protocol]\n{text} = {text}")
    edit_config(foreign / name, "^torch = .*", f"torch = {text}")
    with open(foreign / name / "evaluations.jsonl", "a") as file:
        line = {
            "segment": 1,
            "steps": 64,
            "mean": 1,
            "interval": [0, 1],
            "episodes": 2,
            "score": bad,
        }
        file.write(
            json.dumps({**line, "measures": {bad: 1.0}, "table": [[bad, bad], [bad, 1]]}) + "\n"
        )
    for words in (
        ["resume", name],
        ["evaluate", name, "--episodes", "1"],
        ["record", name],
        ["predict", name, bad],
    ):
        main(words)
        shown = capsys.readouterr()
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown.out + shown.err)
        assert "\\x1b" in shown.out + shown.err


def test_a_warning_is_shown_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", _plain_warning)
    shown = warnings.formatwarning("\x1b[33ma\x1b]0;title\x07\n b\x1b[0m", UserWarning, "", 0)
    assert shown == "fathom: warning: a\\x1b]0;title\\x07 b\n"


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + "9" * 5000 + "]"])
def test_json_that_is_none_of_fathoms_is_a_sentence(
    foreign: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence(capsys, ["train", "ppo", "Fathom/Maze-v0", "--env.size", text])


def test_the_best_checkpoint_is_that_of_the_present_rules(foreign: Path) -> None:
    run = RunFolder.open(foreign / "ppo")
    first, second = run.evaluations()
    path = run.folder / "evaluations.jsonl"
    lines = [{**first, "mean": 500.0}, {**second, "mean": 1.0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run.best_checkpoint() == 1
    change = {"step": first["steps"], "name": "env.gravity", "before": 1, "after": 2}
    run.config.changes = [change]  # type: ignore[list-item]
    assert run.best_checkpoint() == 2


def test_a_step_of_many_digits_is_a_sentence(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in ("9" * 5000, "٣"):
        assert "a checkpoint is" in sentence(capsys, ["evaluate", "ppo", "--checkpoint", step])


def test_a_folder_removed_during_training_is_a_sentence(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RunFolder.log_metrics

    def log_metrics(self: RunFolder, line: dict) -> None:
        shutil.rmtree(self.folder)
        real(self, line)

    monkeypatch.setattr(RunFolder, "log_metrics", log_metrics)
    with pytest.raises(FathomError, match="was removed or moved meanwhile"):
        fathom.resume("ppo", 96, progress=False)


def test_a_file_system_without_locks_is_a_sentence(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(FathomError, match="has no locks"):
        fathom.resume("ppo", 96, progress=False)


# -- at random --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1_000_000, 1_000_010))
def test_mutated_runs_end_in_a_sentence(
    made: Path, tmp_path: Path, mutations: ModuleType, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def opening(command: str) -> object:
        code = mutations.open_run(command)
        return mutations.Ended([] if code in (0, 2) else [f"exit code {code}"])

    # What takes long to compile is left to the script.
    monkeypatch.setitem(mutations.COMMANDS, "go", mutations.AGENT)
    mutation = mutations.try_mutation(seed, made, tmp_path, opening)
    assert not mutation.complaints, mutation.done
