"""What a run's folder survives: damage, full disks, other processes and other versions."""

import fcntl
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from pathlib import Path

import pytest
import torch

from agents.agent import AgentState
from fathom.errors import FathomError
from fathom.runs import config as config_module
from fathom.runs.checkpoint import Progress, digest
from fathom.runs.config import RunConfig, build_config
from fathom.runs.folder import LogPosition
from fathom.runs.folder import RunFolder as Run

ROOT = Path(__file__).parents[3]


def new_config(**changes) -> RunConfig:
    values = {
        "environment": "ALE/Pong-v5",
        "agent": "dqn",
        "steps": 1000,
        "segment_steps": 100,
        "evaluation_episodes": 2,
        "seed": 7,
        "device": "cpu",
        "threads": 1,
        "environment_arguments": {"size": 9, "sticky": 0.25, "full": True, "kind": "a"},
        "hyperparameters": {"num_envs": 4, "learning_rate": 1e-4},
    }
    return RunConfig(**{**values, **changes})  # type: ignore[arg-type]


def state(value: float = 1.0) -> AgentState:
    image = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    return AgentState(
        weights={
            "w": torch.full((3, 2), value),
            "image": image,
            "view": torch.arange(12).view(3, 4).T,
        },
        tensors={"bf16": torch.randn(5).bfloat16(), "count": torch.tensor(3, dtype=torch.int64)},
        numbers={"steps": int(value), "rate": 0.1},
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "runs", "r", new_config())


def save(run: Run, *numbers: int) -> None:
    for number in numbers:
        run.save_checkpoint(
            number, state(float(number)), Progress(number, number * 100, 1.5 * number)
        )


def test_a_run_that_ships_without_the_state_says_so(run: Run) -> None:
    save(run, 1)
    (run.checkpoints / "00001" / "state.safetensors").unlink()
    assert run.load_checkpoint(weights_only=True) is not None
    with pytest.raises(FathomError, match="evaluated and recorded, not resumed"):
        run.load_checkpoint()


def file_of(run: Run, number: int, name: str = "weights.safetensors") -> Path:
    return run.checkpoints / f"{number:05d}" / name


def test_the_config_survives_the_round_trip(run: Run) -> None:
    assert Run.open(run.folder).config == run.config
    assert run.config.versions["torch"] == torch.__version__


def test_checkpoint_is_bit_identical_when_read_back(run: Run) -> None:
    written = state()
    run.save_checkpoint(1, written, Progress(1, 100, 2.5))
    read = run.load_checkpoint()
    assert read is not None
    assert read.progress == Progress(1, 100, 2.5)
    assert read.state.numbers == written.numbers
    assert isinstance(read.state.numbers["steps"], int)
    for before, after in (
        (written.weights, read.state.weights),
        (written.tensors, read.state.tensors),
    ):
        assert before.keys() == after.keys()
        for key, tensor in before.items():
            assert tensor.dtype == after[key].dtype
            assert torch.equal(tensor, after[key])
    assert not list(run.folder.rglob("*.tmp"))


def test_weights_alone_can_be_read(run: Run) -> None:
    save(run, 1)
    file_of(run, 1, "state.safetensors").unlink()
    read = run.load_checkpoint(weights_only=True)
    assert read is not None
    assert read.state.tensors == {}


def test_a_run_without_checkpoint_has_none(run: Run) -> None:
    assert run.load_checkpoint() is None


def test_old_checkpoints_are_thinned(run: Run) -> None:
    save(run, 0, 1, 2, 3, 4)
    assert run.checkpoint_numbers() == [4, 3, 2]


def test_a_checkpoint_counts_only_once_latest_names_it(run: Run) -> None:
    save(run, 1, 2)
    (run.folder / "latest").write_text("00001\n")
    read = run.load_checkpoint()
    assert read is not None
    assert read.progress.segment == 1
    save(run, 2)  # writes over the one that never counted
    assert run.checkpoint_numbers()[0] == 2


@pytest.mark.parametrize("name", ["weights.safetensors", "state.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["wrong byte", "truncated", "empty", "missing"])
def test_damage_falls_back_to_the_checkpoint_before(run: Run, name: str, damage: str) -> None:
    save(run, 1, 2)
    path = file_of(run, 2, name)
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        data[-10] ^= 1
        path.write_bytes(
            {"wrong byte": data, "truncated": data[: len(data) // 2], "empty": b""}[damage]
        )
    message: list[str] = []
    read = run.load_checkpoint(message.append)
    assert read is not None
    assert read.progress.segment == 1
    assert len(message) == 1
    assert "checkpoint 2" in message[0]
    assert name in message[0]


def test_every_single_wrong_byte_is_noticed(run: Run) -> None:
    save(run, 1)
    for name in ("weights.safetensors", "state.json"):
        path = file_of(run, 1, name)
        whole = path.read_bytes()
        for position in range(0, len(whole), 7):
            damaged = bytearray(whole)
            damaged[position] ^= 0x15
            path.write_bytes(damaged)
            try:
                read = run.load_checkpoint()
            except FathomError:
                continue
            # White space is all that may differ.
            assert name == "state.json"
            assert read is not None
            assert read.progress.steps == 100
        path.write_bytes(whole)


class Bomb:
    def __reduce__(self) -> tuple:
        return (os._exit, (99,))


@pytest.mark.parametrize("kind", ["pickle", "torch", "zip"])
def test_pickles_and_zips_are_refused_unopened(run: Run, kind: str) -> None:
    save(run, 1)
    path = file_of(run, 1)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "torch":
        torch.save(Bomb(), path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(Bomb()))
    description = json.loads(file_of(run, 1, "state.json").read_text())
    del description["sha256"]
    description["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    description["sha256"] = digest(description)
    file_of(run, 1, "state.json").write_text(json.dumps(description))
    with pytest.raises(FathomError, match=r"pickle|zip archive"):
        run.load_checkpoint()


def test_a_sound_file_that_begins_as_a_pickle_does_is_read(run: Run) -> None:
    for length in range(64, 512):
        # The first bytes are the header's length, and the header holds the names.
        weights = {"w" * length: torch.ones(1)}
        run.save_checkpoint(1, AgentState(weights), Progress(1, 100, 1.0))
        if file_of(run, 1).read_bytes()[:1] == b"\x80":
            break
    else:
        pytest.fail("no file began as a pickle does")
    read = run.load_checkpoint()
    assert read is not None
    assert read.state.weights.keys() == weights.keys()


def test_a_header_that_lies_about_its_length_is_refused(run: Run) -> None:
    save(run, 1)
    file_of(run, 1).write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(FathomError, match="truncated or no safetensors"):
        run.load_checkpoint()


def test_a_newer_version_is_refused(run: Run) -> None:
    path = run.folder / "run.toml"
    path.write_text(path.read_text().replace(f"format = {config_module.FORMAT}", "format = 99"))
    with pytest.raises(FathomError, match="newer Fathom"):
        Run.open(run.folder)


@pytest.mark.parametrize("text", ["", "x = [", "format = 2\n", "format = 2\nsteps = 'a'\n"])
def test_a_broken_description_is_one_sentence(run: Run, text: str) -> None:
    (run.folder / "run.toml").write_text(text)
    with pytest.raises(FathomError, match=r"run\.toml"):
        Run.open(run.folder)


def test_what_is_no_run_is_refused(tmp_path: Path, run: Run) -> None:
    with pytest.raises(FathomError, match="not a run"):
        Run.find(str(tmp_path), tmp_path)
    Run.create(tmp_path / "runs", "pong-dqn", new_config())
    with pytest.raises(FathomError, match="did you mean pong-dqn"):
        Run.find("pong-dqm", tmp_path / "runs")


def test_names(tmp_path: Path) -> None:
    assert Run.create(tmp_path, None, new_config()).name == "pong-dqn"
    assert Run.create(tmp_path, None, new_config()).name == "pong-dqn-2"
    with pytest.raises(FathomError, match="exists already"):
        Run.create(tmp_path, "pong-dqn", new_config())
    for name in ("../up", "", ".hidden", "a/b"):
        with pytest.raises(FathomError, match="cannot name a run"):
            Run.create(tmp_path, name, new_config())


def child(code: str, *arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_live_process_keeps_others_out_and_a_dead_one_does_not(run: Run) -> None:
    holder = child(
        """
        import sys, time
        from pathlib import Path
        from fathom.runs.folder import RunFolder as Run
        with Run.open(Path(sys.argv[1])).lock():
            print("held", flush=True)
            time.sleep(60)
        """,
        run.folder,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FathomError, match="another process"), run.lock():
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with run.lock():
        pass


def test_a_full_disk_leaves_the_last_checkpoint(run: Run) -> None:
    save(run, 1)
    process = child(
        """
        import resource, sys
        from pathlib import Path
        import torch
        from agents.agent import AgentState
        from fathom.errors import FathomError
        from fathom.runs.checkpoint import Progress
        from fathom.runs.folder import RunFolder as Run
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        run = Run.open(Path(sys.argv[1]))
        with run.lock():
            try:
                run.save_checkpoint(2, AgentState({"w": torch.zeros(10_000)}, {}, {}), Progress(2, 200, 3.0))
            except FathomError as error:
                print(error)
        """,
        run.folder,
    )
    output, errors = process.communicate()
    assert "full" in output, errors
    read = run.load_checkpoint()
    assert read is not None
    assert read.progress.segment == 1
    assert [path.name for path in run.checkpoints.iterdir()] == ["00001"]


def test_going_back_forgets_what_came_after(run: Run) -> None:
    save(run, 1, 2, 3)
    for segment in range(4):
        run.log_metrics({"segment": segment, "loss": 0.5})
        line = {"steps": 1, "mean": 1.0, "interval": [0.0, 2.0], "episodes": 1}
        run.log_evaluation({"segment": segment, **line})
    whole = (run.folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    with open(run.folder / "metrics.jsonl", "ab") as file:
        file.write(b'{"segment": 0, "lo')  # the process died here
    run.go_back(2)
    assert (run.folder / "metrics.jsonl").read_bytes() == b"".join(whole[:2])
    assert [line["segment"] for line in run.evaluations()] == [0, 1]
    assert run.checkpoint_numbers() == [2, 1]
    assert (run.folder / "latest").read_text() == "00002\n"


def test_a_damaged_line_takes_no_others_with_it(run: Run) -> None:
    for segment in range(3):
        run.log_metrics({"segment": segment})
    path = run.folder / "metrics.jsonl"
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"x" + first + b"".join(others))
    run.go_back(2)
    assert path.read_bytes() == others[0]


def test_leftovers_of_a_killed_process_are_swept(run: Run) -> None:
    (run.checkpoints / ".00002.123.tmp").mkdir()
    (run.folder / ".latest.123.tmp").write_text("x")
    with run.lock():
        assert not list(run.folder.rglob("*.tmp"))


def test_config_is_rebuilt_from_what_was_written() -> None:
    from pydantic.dataclasses import dataclass

    @dataclass(frozen=True)
    class Config:
        num_envs: int = 1
        rate: float = 0.5
        widths: tuple[int, ...] = (1, 2)
        limit: int | None = 3

    table = config_module.toml_value({"num_envs": 2, "rate": 1, "widths": (3, 4), "limit": None})
    built = build_config(Config, table)
    assert built == Config(2, 1.0, (3, 4), None)
    assert isinstance(built.rate, float)
    with pytest.raises(FathomError, match="did you mean num_envs"):
        build_config(Config, {"num_env": 2})


def test_a_run_of_an_older_version_gets_one_sentence(run: Run) -> None:
    path = run.folder / "run.toml"
    path.write_text(path.read_text().replace(f"format = {config_module.FORMAT}", "format = 1"))
    with pytest.raises(FathomError, match=r"Fathom 0\.1 .* train it again"):
        Run.open(run.folder)


def test_runs_are_listed_and_broken_ones_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Run.create(tmp_path, name, new_config())
    Run.create(tmp_path / "reference", "c", new_config())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.toml").write_text("x = [")
    assert sorted(run.name for run in Run.list(tmp_path)) == ["a", "b", "c"]


def test_a_second_thread_is_kept_out_too(run: Run) -> None:
    with run.lock(), pytest.raises(FathomError, match="thread"), Run.open(run.folder).lock():
        pass


def test_a_log_is_read_on_from_where_it_was_read_to(run: Run) -> None:
    position = LogPosition()
    assert list(run.new_metrics(position)) == []
    run.log_metrics({"segment": 0, "steps": 1})
    run.log_metrics({"segment": 1, "steps": 2})
    assert [line["steps"] for line in run.new_metrics(position)] == [1, 2]
    with (run.folder / "metrics.jsonl").open("a") as log:
        log.write('{"segment": 1, "st')
    assert list(run.new_metrics(position)) == []
    with (run.folder / "metrics.jsonl").open("a") as log:
        log.write('eps": 3}\nbroken\n{"segment": 1, "steps": 4}\n')
    assert [line["steps"] for line in run.new_metrics(position)] == [3, 4]
    assert list(run.new_metrics(position)) == []
    starts = position.starts
    run.go_back(1)
    assert [line["steps"] for line in run.new_metrics(position)] == [1]
    assert position.starts == starts + 1


def test_the_last_line_of_a_log_is_read_from_its_end(run: Run) -> None:
    assert run.last_metrics() is None
    assert run.last_evaluation() is None
    for steps in range(2000):
        run.log_metrics({"segment": 0, "steps": steps})
    with (run.folder / "metrics.jsonl").open("a") as log:
        log.write('{"segment": 0, "steps": 20')
    assert run.last_metrics() == {"segment": 0, "steps": 1999}
    score = {"segment": 0, "steps": 5, "mean": 1.0, "interval": [0.0, 2.0], "episodes": 10_000}
    run.log_evaluation(
        score | {"returns": [0.123456789] * 10_000}
    )  # longer than what is read first
    evaluation = run.last_evaluation()
    assert evaluation is not None
    assert len(evaluation["returns"]) == 10_000


def test_how_far_a_run_is_is_known_without_its_weights(run: Run) -> None:
    assert run.progress() == Progress()
    save(run, 1, 2)
    assert run.progress().steps == 200
    (run.checkpoints / "00002" / "state.json").write_text("{")
    assert run.progress().steps == 100
    (run.checkpoints / "00001" / "state.json").unlink()
    with pytest.raises(FathomError, match="checkpoint 2 is damaged"):
        run.progress()


def test_whether_a_run_is_trained_can_be_asked_without_hindering_it(run: Run) -> None:
    assert not run.is_training()
    with run.lock():
        assert run.is_training()
    assert not run.is_training()
    with (run.folder / "lock").open() as file:  # the moment in which somebody asks
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.01, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with run.lock():
            pass
