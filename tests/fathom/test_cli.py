"""What a person types, and what they get."""

import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import envs.dialogue
from fathom.cli import command_module, command_names, main
from fathom.errors import printable

TINY = [
    "--steps",
    "1200",
    "--segment-steps",
    "600",
    "--learning-starts",
    "100",
    "--replay-capacity",
    "800",
    "--evaluation-episodes",
    "4",
    "--threads",
    "1",
]

CUSTOM = """
import gymnasium, numpy as np
from gymnasium.spaces import Box, Discrete

class Works(gymnasium.Env):
    observation_space, action_space = Box(-1, 1, (2,), np.float32), Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(2, np.float32), {}
    def step(self, action):
        self.time += 1
        return np.zeros(2, np.float32), float(np.sum(action)), self.time == 10, False, {}

class Continuous(Works):
    action_space = Box(-1, 1, (1,), np.float32)

class Raises(Works):
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("no such level")

class RaisesLater(Works):
    calls = 0
    def step(self, action):
        RaisesLater.calls += 1
        if RaisesLater.calls > 500:
            raise RuntimeError("the level fell apart")
        return super().step(action)

class Lies(Works):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}
"""


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    path = tmp_path / "worlds.py"
    path.write_text(CUSTOM)
    return path


def _run(tmp_path: Path, *words: str) -> int:
    return main([*words, "--runs-dir", str(tmp_path / "runs")])


def test_train_evaluate_record_and_extend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path, "train", "dqn", "CartPole-v1", "--name", "c", "--keep-replay", *TINY) == 0
    assert "replay memory" in capsys.readouterr().out
    assert _run(tmp_path, "evaluate", "c", "--episodes", "3", "--json") == 0
    score = json.loads(capsys.readouterr().out)
    assert score["episodes"] == len(score["returns"]) == 3
    assert score["interval"][0] <= score["mean"] <= score["interval"][1]
    assert score["protocol"]
    assert _run(tmp_path, "record", "c", "--json") == 0
    (video,) = json.loads(capsys.readouterr().out)["videos"]
    assert Path(video).stat().st_size > 1_000
    assert _run(tmp_path, "resume", "c", "--steps", "1800", "--json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 1800
    run = tmp_path / "runs" / "c"
    assert len((run / "evaluations.jsonl").read_text().splitlines()) == 3
    assert list(run.glob("events.out.tfevents*"))


def test_a_run_can_be_no_longer_than_numbers_are_exact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path, "train", "reinforce", "CartPole-v1", "--name", "c", "--steps", "64") == 0
    assert _run(tmp_path, "resume", "c", "--steps", "9" * 20) == 2
    assert "--steps must be at most 9,007,199,254,740,992" in capsys.readouterr().err
    assert _run(tmp_path, "evaluate", "c", "--episodes", "1") == 0


def test_a_domain_of_ones_own_is_found_from_any_folder_and_its_change_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(envs.dialogue.__file__).parent / "domains"
    shutil.copy(shipped / "taxi.yaml", tmp_path / "mine.yaml")
    shutil.copy(shipped / "taxi.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    words = [
        "train",
        "scripted",
        "Fathom/Dialogue-v0",
        "--env.domain",
        "mine.yaml",
        "--steps",
        "64",
    ]
    assert _run(tmp_path, *words, "--name", "d") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert _run(tmp_path, "evaluate", "d", "--episodes", "1") == 0
    assert _run(tmp_path, "resume", "d", "--steps", "512") == 0
    assert "when the run began" not in capsys.readouterr().out
    domain = tmp_path / "mine.yaml"
    domain.write_text(domain.read_text().replace("question: 0.5", "question: 0.4", 1))
    assert _run(tmp_path, "resume", "d", "--steps", "768") == 0
    message = " ".join(capsys.readouterr().out.split())
    assert re.search("warning: domain_digest was [0-9a-f]{12} when the run began and is", message)


def test_a_flag_s_mistake_is_a_sentence_on_a_terminal_too(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fathom", "train", "ppo", "CartPole-v1", "--device", "gpu"]
    parent, child = pty.openpty()  # a terminal: colours are expected of what is written there
    done = subprocess.run(words, stderr=child, stdout=child, cwd=tmp_path, timeout=60)
    os.close(child)
    message = os.read(parent, 10_000).decode()
    os.close(parent)
    assert done.returncode == 2
    assert message.startswith("fathom: --device must be one of auto, cpu, cuda, not 'gpu'")
    assert "\x1b" not in message


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="only Linux has a disk that is always full"
)
def test_output_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "fathom", "list"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "fathom: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("agent", ["dqn", "reinforce", "a2c", "ppo"])
def test_every_agent_trains_and_goes_on_from_the_command_line(
    agent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--steps 800 --segment-steps 400 --evaluation-episodes 2 --num-envs 4 --keep-replay"
    words = ["train", agent, "CartPole-v1", "--name", "c", *flags.split()]
    assert _run(tmp_path, *words) == 0
    assert _run(tmp_path, "resume", "c", "--steps", "1200") == 0
    assert "1,200 steps" in capsys.readouterr().out


def test_a_short_run_that_goes_on_is_not_cut_into_pieces_as_short(tmp_path: Path) -> None:
    flags = "--steps 160 --evaluation-episodes 2 --name short"
    assert _run(tmp_path, "train", "ppo", "CartPole-v1", *flags.split()) == 0
    assert _run(tmp_path, "resume", "short", "--steps", "3000") == 0
    lines = (tmp_path / "runs" / "short" / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["steps"] for line in lines] == [160, 3_000]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train dqn ALE/Pongg-v5", "ALE/Pong-v5"),
        ("train dqn CartPoel-v1", "CartPole-v1"),
        ("train dqm CartPole-v1", "did you mean dqn"),
        ("train dqn CartPole-v1 --learning-rat 1", "learning-rate"),
        ("train dqn CartPole-v1 --n-step many", "n-step"),
        ("train dqn CartPole-v1 --n-step 0", "--n-step must be at least 1"),
        ("train dqn CartPole-v1 --steps -5", "steps"),
        ("train dqn CartPole-v1 --steps 99999999999999999999", "--steps must be at most"),
        ("train dqn CartPole-v1 --threads 100000", "--threads must be at most 1,024"),
        ("train dqn CartPole-v1 --num-envs 100000000", "--num-envs must be at most 65,536"),
        (
            "train dqn CartPole-v1 --learning-rate inf",
            "--learning-rate must be a finite number, not inf",
        ),
        ("train ppo CartPole-v1 --discount nan", "--discount must be a finite number, not nan"),
        ("train ppo CartPole-v1 --clip-range -1", "--clip-range must be greater than 0, not -1"),
        ("train alphago Fathom/Go9-v0 --min-strength strong", "a rank such as 6d"),
        ("train ppo CartPole-v1 --gae-lambda 3", "--gae-lambda must be at most 1, not 3"),
        ("train dqn CartPole-v1 --n-step 100 --learning-starts 100", "at least 824"),
        ("train dqn CartPole-v1 --replay-capacity 1", "replay_capacity must be at least 48"),
        ("train dqn CartPole-v1 --seed abc", "--seed must be a whole number, not 'abc'"),
        ("train ppo Fathom/Maze-v0 --env.split test", "--env.split cannot be set"),
        ("evaluate c --episodes 1e4", "--episodes must be a whole number, not '1e4'"),
        (
            "train dqn CartPole-v1 --hidden-size 100000000000000000000",
            "--hidden-size must be at most 1,000,000",
        ),
        ("match random random --timeout nan", "--timeout must be a finite number"),
        ("train dqn Pendulum-v1", "discrete"),
        ("train dqn ALE/Pong-v5 --env.protocol rainbow", "--env.protocol must be 'machado' or"),
        ("train dqn CartPole-v1 --name ../up", "../up"),
        ("train dqn", "an agent and an environment"),
        (
            "train dqn CartPole-v1 --steps 1_000_000_000_000 --replay-capacity 1_000_000_000_000",
            "disk",
        ),
        ("evaluate nothing", "there is no run"),
        ("resume nothing", "there is no run"),
        (f"evaluate {'n' * 300}", "there is no run"),
        ("record nothing", "there is no run"),
        ("evalute nothing", "evaluate"),
    ],
)
def test_a_wrong_command_gets_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, expected: str
) -> None:
    first = words.split()
    where = ["--runs-dir", str(tmp_path)] if len(first) > 1 and first[0] != "evalute" else []
    assert main([*first, *where]) == 2
    message = capsys.readouterr().err
    assert expected in message
    assert len(message.strip().splitlines()) == 1
    assert not [path for path in tmp_path.iterdir() if path.name != "worlds.py"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Continuous", "discrete"),
        ("Raises", "no such level"),
        ("Lies", "observation"),
        ("Missing", "Works"),
    ],
)
def test_a_custom_world_that_cannot_be_used(
    tmp_path: Path, custom: Path, capsys: pytest.CaptureFixture[str], name: str, expected: str
) -> None:
    assert _run(tmp_path, "train", "dqn", f"{custom}:{name}", *TINY) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_custom_world_that_raises_in_training_loses_nothing(
    tmp_path: Path, custom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "dqn", f"{custom}:RaisesLater", "--name", "r", *TINY]
    assert _run(tmp_path, *words) == 2
    message = capsys.readouterr().err
    assert "the level fell apart" in message
    assert "Traceback" not in message
    assert (tmp_path / "runs" / "r" / "latest").exists()


def test_a_name_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "dqn", "CartPole-v1", "--name", "c", *TINY]
    assert _run(tmp_path, *words) == 0
    before = (tmp_path / "runs" / "c" / "run.toml").read_bytes()
    assert _run(tmp_path, *words) == 2
    assert "c" in capsys.readouterr().err
    assert (tmp_path / "runs" / "c" / "run.toml").read_bytes() == before


def _start(tmp_path: Path, *words: str, limit: int | None = None) -> subprocess.Popen[str]:
    def limit_files() -> None:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-m", "fathom", *words, "--runs-dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit_files,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_cleanly_and_names_the_command_that_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = _start(tmp_path, "train", "dqn", "CartPole-v1", "--name", "c")
    metrics = tmp_path / "c" / "metrics.jsonl"
    while not metrics.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"fathom resume {tmp_path / 'c'}" in message
    assert "Traceback" not in message


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    words = ["train", "dqn", "CartPole-v1", "--name", "c", *TINY, "--hidden-size", "64"]
    process = _start(tmp_path, *words, limit=45_000)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 2, message
    assert "full" in message
    assert "Traceback" not in message
    if (tmp_path / "c" / "latest").exists():
        resumed = _start(tmp_path, "resume", str(tmp_path / "c"))
        _, message = resumed.communicate(timeout=120)
        assert resumed.returncode == 0, message


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from fathom.cli import main; main(['--help']);"
        " sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'gymnasium')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "train AGENT ENV" in done.stdout


def test_the_list_names_worlds_agents_and_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert "dqn" in content["agents"]
    assert "dqn-atari" in content["presets"]
    assert "ALE/Pong-v5" in content["environments"]["ALE"]


def test_a_time_limit_of_ones_own_works_in_our_worlds(tmp_path: Path) -> None:
    flags = "--env.max_episode_steps 9 --steps 64 --segment-steps 64 --rollout-steps 8 --num-envs 2"
    words = ["train", "ppo", "Fathom/Maze-v0", "--name", "m", *flags.split()]
    assert _run(tmp_path, *words, "--evaluation-episodes", "2", "--threads", "1") == 0
    (line,) = (tmp_path / "runs" / "m" / "evaluations.jsonl").read_text().splitlines()
    assert max(json.loads(line)["lengths"]) <= 9


@pytest.mark.parametrize("command", ["train", "fit"])
def test_help_without_a_learner_shows_the_flags_of_every_run(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code in (0, None)
    text = capsys.readouterr().out
    assert "--seed" in text
    assert "--learning-rate" not in text, "those of one task are not those of every task"


@pytest.mark.parametrize("words", ["train dqn CartPole-v1", "train", "fit digits", "record c"])
def test_help_shows_one_default_for_each_flag(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*words.split(), "--help"])
    flags = " ".join(capsys.readouterr().out.replace("│", " ").split()).split(" --")
    assert len(flags) > 3
    assert not [flag for flag in flags if flag.count("default:") > 1]


def test_flags_may_come_before_the_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        "--runs-dir",
        str(tmp_path),
        "--seed",
        "1",
        "--no-record",
        "--name=c",
        "--num-envs",
        "2",
    ]
    words = ["train", *flags, "ppo", "--steps", "64", "CartPole-v1", "--evaluation-episodes", "0"]
    assert main(words) == 0
    assert "seed 1" in capsys.readouterr().out
    assert main(["evaluate", "--runs-dir", str(tmp_path), "--episodes", "1", "c"]) == 0
    assert main(["resume", "--steps", "128", "--runs-dir", str(tmp_path), "c"]) == 0


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in command_names():
        assert f"\n  {name}" in text
        assert command_module(name).__doc__


def test_a_damaged_replay_memory_is_not_taken_for_an_empty_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path, "train", "dqn", "CartPole-v1", "--name", "c", "--keep-replay", *TINY) == 0
    with open(tmp_path / "runs" / "c" / "replay" / "observations", "r+b") as file:
        file.truncate(100)
    assert _run(tmp_path, "resume", "c", "--steps", "1800") == 2
    assert "observations of its replay memory is too short" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "instead", "expected"),
    [
        ("segment_steps = 600", "segment_steps = 0", "segment_steps must be at least 1"),
        ("seed = 0", "seed = -4", "seed must be at least 0"),
        ("threads = 1", "threads = 0", "threads must be at least 1"),
        ('device = "cpu"', 'device = "abacus"', "device: String should match"),
        (
            "hidden_size = 128",
            'hidden_size = "wide"',
            "run.toml cannot be right: hidden_size must be a whole number, not 'wide'",
        ),
        ("num_envs = 8", "num_envs = 0", "run.toml cannot be right: num_envs must be at least 1"),
        ("seed = 0", "seed = 0\nfoo = 3", "there is no foo"),
        ("format = 2", "format = true", "names no format"),
    ],
)
def test_a_description_that_somebody_edited_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, instead: str, expected: str
) -> None:
    words = [
        "train",
        "dqn",
        "CartPole-v1",
        "--name",
        "c",
        "--device",
        "cpu",
        "--hidden-size",
        "128",
    ]
    assert _run(tmp_path, *words, *TINY) == 0
    file = tmp_path / "runs" / "c" / "run.toml"
    content = file.read_text()
    assert f"{line}\n" in content
    file.write_text(content.replace(f"{line}\n", f"{instead}\n", 1))
    assert _run(tmp_path, "resume", "c", "--steps", "1800") == 2
    assert expected in capsys.readouterr().err


def test_more_threads_than_cores_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = 4 * (os.cpu_count() or 1)
    words = f"--steps 64 --evaluation-episodes 0 --threads {threads}".split()
    assert _run(tmp_path, "train", "reinforce", "CartPole-v1", *words) == 0
    assert f"warning: {threads} threads on" in capsys.readouterr().out


def test_an_evaluation_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    words = [
        "--steps",
        "64",
        "--num-envs",
        "2",
        "--evaluation-episodes",
        "0",
        "--name",
        "c",
        "--threads",
        "1",
    ]
    assert _run(tmp_path, "train", "reinforce", "CartPole-v1", *words) == 0
    command = [sys.executable, "-m", "fathom", "evaluate", str(tmp_path / "runs" / "c")]
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=child, env=environment)
    os.close(child)
    assert b"of 20 evaluated" in os.read(parent, 100_000)
    os.close(parent)
    assert b"\x1b" not in done.stdout


def test_what_a_terminal_would_obey_is_escaped_and_joined_letters_are_not() -> None:
    assert printable("a\x1b[2J\u202e\n") == "a\\x1b[2J\\u202e\\n"
    assert printable("کتاب\u200cخانه\x07") == "کتاب\u200cخانه\\x07"
