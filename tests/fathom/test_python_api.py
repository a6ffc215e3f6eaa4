"""`import fathom`: training, fitting, and using what was trained, from Python."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

import fathom

ROOT = Path(__file__).parents[2]
CORRIDOR = f"{ROOT / 'examples' / 'corridor.py'}:Corridor"
SHORT = {"steps": 640, "segment_steps": 320, "evaluation_episodes": 2, "threads": 1, "num_envs": 4}


def test_train_evaluate_record_and_use_an_agent(tmp_path: Path) -> None:
    run = fathom.train(
        "ppo", CORRIDOR, seed=1, runs_dir=tmp_path, env_args={"length": 6}, learning_rate=1e-3,
        progress=False, **SHORT,
    )  # fmt: skip
    assert run.config.hyperparameters["learning_rate"] == 1e-3
    assert [line["steps"] for line in run.evaluations()] == [320, 640]
    assert run.metrics()[-1]["steps"] == 640
    result = run.evaluate(episodes=5)
    assert (result.count, len(result.returns)) == (5, 5)
    assert result.protocol["env.length"] == 6
    (video,) = run.record()
    assert video.stat().st_size > 1_000
    agent = fathom.load(run.name, tmp_path).agent()
    assert agent.predict(np.zeros(2, np.float32)) in (0, 1)
    assert agent.predict(np.zeros((3, 2), np.float32)).shape == (3,)
    assert [one.name for one in fathom.list_runs(tmp_path)] == [run.name]


def test_the_same_seed_gives_what_the_command_line_gives(tmp_path: Path) -> None:
    run = fathom.train("ppo", CORRIDOR, runs_dir=tmp_path, name="here", progress=False, **SHORT)
    flags = [word for k, v in SHORT.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    words = ["train", "ppo", CORRIDOR, "--name", "there", *flags, "--runs-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "fathom", *words], check=True, capture_output=True)
    there = fathom.load("there", tmp_path)
    assert [line["policy_loss"] for line in run.metrics()] == [
        line["policy_loss"] for line in there.metrics()
    ]


def test_fit_predict_and_extend(tmp_path: Path) -> None:
    run = fathom.fit("digits", epochs=1, runs_dir=tmp_path, threads=1, progress=False)
    assert run.name == "digits"
    assert run.evaluate().score == "accuracy"
    assert len(list(run.pictures.glob("*.png"))) >= 1
    steps = run.config.segment_steps
    again = fathom.resume(run.folder, 2 * steps, progress=False)
    assert [line["steps"] for line in again.evaluations()] == [steps, 2 * steps]
    with pytest.raises(fathom.FathomError, match="nowhere"):
        run.predict(["nowhere.png"])
    with pytest.raises(fathom.FathomError, match="no file nowhere"):
        run.predict("nowhere.png")  # a list of one
    with pytest.raises(fathom.FathomError, match="as a list"):
        run.predict(3)  # type: ignore[arg-type]
    with pytest.raises(fathom.FathomError, match="fit of digits"):
        run.agent()
    table, pictures = fathom.inspect(run, "filters", layer="network.12", seed=1)
    assert table[0][0] == "layer"
    assert all(path.is_file() for path in pictures)
    for options, message in (
        ({"layr": ""}, "did you mean layer"),
        ({"what": "sail"}, "not 'sail'"),
        ({"epsilon": 0.1}, "layers takes no"),
        ({"what": "fool", "epsilon": 2}, "epsilon must be"),
        ({"what": "fool", "epsilon": "much"}, "epsilon must be"),
        ({"what": "dream", "images": 3}, "images: .* not 3"),
        ({"what": "dream", "images": "nowhere.png"}, "nowhere"),
    ):
        with pytest.raises(fathom.FathomError, match=message):
            fathom.inspect(run, **options)  # type: ignore[arg-type]


def test_training_in_a_thread(tmp_path: Path) -> None:
    runs = []

    def work() -> None:
        runs.append(fathom.train("dqn", CORRIDOR, runs_dir=tmp_path, progress=False, **SHORT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(120)
    assert runs[0].evaluate(episodes=1).count == 1


def test_fits_in_threads_are_what_they_are_alone(tmp_path: Path) -> None:
    options = {"epochs": 2, "filters": 4, "hidden_size": 16, "threads": 1, "progress": False}
    alone = fathom.fit("digits", runs_dir=tmp_path, name="alone", **options)  # type: ignore[arg-type]
    errors: list[BaseException] = []

    def fit(number: int) -> None:
        try:
            fathom.fit("digits", runs_dir=tmp_path, name=f"thread-{number}", **options)  # type: ignore[arg-type]
        except BaseException as error:
            errors.append(error)

    def use() -> None:
        try:
            for _ in range(3):
                alone.evaluate()
                alone.task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fit, args=(number,)) for number in range(2)]
    threads.append(threading.Thread(target=use))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for number in range(2):
        other = fathom.load(f"thread-{number}", tmp_path)
        scores = [line["mean"] for line in other.evaluations()]
        assert scores == [line["mean"] for line in alone.evaluations()]
        one, same = alone.task().state_dict(), other.task().state_dict()
        assert all(torch.equal(one[name], same[name]) for name in one)


def test_using_a_run_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    run = fathom.train("ppo", CORRIDOR, runs_dir=tmp_path, progress=False, **SHORT)
    before = torch.get_num_threads()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    run.agent()
    run.evaluate(episodes=1)
    run.record()
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == before
    assert run.config.device == "cpu"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.evaluate(episodes=2.5), "episodes must be a whole number"),
        (lambda run: run.evaluate(episodes=0), "episodes must be a whole number from 1 to"),
        (lambda run: run.record(episodes="x"), "episodes must be a whole number"),
        (lambda run: run.evaluate(device="gpu"), "device must be auto, cpu or cuda, not 'gpu'"),
        (lambda run: run.resume(steps=3000.5), "a larger whole number"),
        (lambda run: run.resume(steps=3), "can only extend"),
        (lambda run: fathom.train("ppo", object), "path/to/file.py:Class"),
        (lambda run: fathom.train("ppo", CORRIDOR, env_args=[1]), "env_args must be a dictionary"),
        (lambda run: fathom.load(3), "by its name or folder, not by 3"),
    ],
)
def test_wrong_arguments_of_a_run_are_one_sentence(
    tmp_path: Path, call: Callable[[Any], Any], message: str
) -> None:
    run = fathom.train("ppo", CORRIDOR, runs_dir=tmp_path, progress=False, **SHORT)
    with pytest.raises(fathom.FathomError, match=message):
        call(run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stepz": 5}, "did you mean steps"),
        ({"steps": -5}, "steps must be at least 1"),
        ({"steps": 5.5}, "steps must be a whole number"),
        ({"learning_rate": -1.0}, "learning_rate must be greater than 0"),
        ({"clip_range": "wide"}, "clip_range must be a number"),
        ({"device": "abacus"}, "device must be"),
        ({"env_args": {"lenght": 3}}, "lenght"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(fathom.FathomError, match=message) as refused:
        fathom.train("ppo", CORRIDOR, runs_dir=tmp_path, progress=False, **options)  # type: ignore[arg-type]
    assert len(str(refused.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_names_that_do_not_exist_are_said(tmp_path: Path) -> None:
    with pytest.raises(fathom.FathomError, match="did you mean ppo"):
        fathom.train("ppp", CORRIDOR, runs_dir=tmp_path)
    with pytest.raises(fathom.FathomError, match="did you mean digits"):
        fathom.fit("digit", runs_dir=tmp_path)
    with pytest.raises(fathom.FathomError, match="there is no run"):
        fathom.load("nothing", tmp_path)


def test_import_is_light() -> None:
    code = (
        "import sys, fathom;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'gymnasium', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_another_package_that_hides_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", "import fathom"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert (
        f"ImportError: fathom needs its own package 'agents', and {tmp_path / 'agents'} hides it"
        in done.stderr
    )
    done = subprocess.run(
        [sys.executable, "-m", "fathom", "list"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "dqn" in done.stdout


def test_a_notebook_trains_evaluates_and_shows_a_video(tmp_path: Path) -> None:
    cells = [
        "import fathom",
        f"run = fathom.train('ppo', {CORRIDOR!r}, steps=640, num_envs=4, evaluation_episodes=2)",
        "run.evaluate(episodes=3)",
        "from IPython.display import Video\nVideo(run.record()[0], embed=True)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells]
    assert "evaluation" in str(outputs[1])
    assert "Result(mean=" in outputs[2][0]["data"]["text/plain"]
    assert "video/mp4" in outputs[3][0]["data"]["text/html"]
    assert (tmp_path / "runs" / "corridor-ppo" / "run.toml").is_file()
