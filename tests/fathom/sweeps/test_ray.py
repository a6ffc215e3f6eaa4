"""A sweep, and self-play, on a Ray cluster of two nodes, one of which is killed."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fathom.cli import main
from fathom.errors import FathomError
from fathom.runs.cluster import RayWorkers
from fathom.runs.run import Run

ray = pytest.importorskip("ray")

SWEEP = [
    "sweep", "reinforce", "CartPole-v1", "--name", "s", "--seeds", "0-1", "--steps", "4000", "--threads", "1",
    "--segment-steps", "500", "--evaluation-episodes", "2", "--hidden-size", "8",
]  # fmt: skip


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    """A cluster of one node with one processor."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def cluster(head: Any) -> Any:
    """Two nodes of one processor each, in processes of their own."""
    head.add_node(num_cpus=1, object_store_memory=100 << 20)
    return head


def _segments(folder: Path) -> int:
    latest = folder / "latest"
    return int(latest.read_text()) if latest.exists() else 0


def test_the_run_of_a_node_that_dies_is_gone_on_with_on_another(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [tmp_path / "runs" / "s" / f"t000-s{seed}" for seed in (0, 1)]
    seen: list[tuple[int, ...]] = []

    def kill() -> None:
        until = time.monotonic() + 180
        while time.monotonic() < until and not all(_segments(run) >= 1 for run in runs):
            time.sleep(0.02)
        seen.append(tuple(map(_segments, runs)))
        (node,) = cluster.worker_nodes
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    assert main([*SWEEP, "--ray", cluster.address]) == 0
    killer.join()
    assert all(1 <= segments < 8 for segments in seen[0])
    attempts = [len(list(run.glob("events.out.*"))) for run in runs]
    assert sorted(attempts) == [1, 2]

    killed = runs[attempts.index(2)]  # it is what it is without a cluster
    assert (
        main(["train", *SWEEP[1:3], *SWEEP[7:], "--seed", killed.name[-1], "--name", "alone"]) == 0
    )
    weights = [
        (folder / "checkpoints" / "00008" / "weights.safetensors").read_bytes()
        for folder in (killed, tmp_path / "runs" / "alone")
    ]
    assert weights[0] == weights[1]
    assert Run.open(killed).signed
    result = json.loads((tmp_path / "runs" / "s" / "sweep.json").read_text())
    assert set(result["best"]["scores"]) == {"0", "1"}


def test_self_play_on_a_cluster_that_loses_a_node_learns_what_it_would_alone(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    training = [
        "train", "alphago", "Fathom/Go-v0", "--env.size", "5", "--layers", "2", "--width", "8", "--num-envs", "5",
        "--groups", "2", "--simulations", "4", "--batch-size", "16", "--steps", "225", "--segment-steps", "75",
        "--evaluation-episodes", "0", "--threads", "1",
    ]  # fmt: skip
    seen: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 180
        while time.monotonic() < until and not _segments(tmp_path / "runs" / "cluster"):
            time.sleep(0.01)
        seen.append(_segments(tmp_path / "runs" / "cluster"))
        (node,) = cluster.worker_nodes
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    assert main([*training, "--name", "cluster", "--ray", cluster.address]) == 0
    killer.join()
    assert seen[0] in (1, 2)
    assert main([*training, "--name", "alone"]) == 0
    for checkpoint in ("00001", "00003"):
        weights = [
            (
                tmp_path / "runs" / name / "checkpoints" / checkpoint / "weights.safetensors"
            ).read_bytes()
            for name in ("cluster", "alone")
        ]
        assert weights[0] == weights[1]


def _twice(common: int, piece: int) -> int:
    return common * piece


def test_workers_whose_cluster_is_gone_say_so(head: Any) -> None:
    workers = RayWorkers(head.address, threads=1)
    try:
        assert workers.cores >= 1
        workers._process.kill()  # as Ray ends a process whose cluster is gone
        with pytest.raises(FathomError, match="cluster is gone"):
            workers.map(_twice, 2, [1, 2])
    finally:
        workers.close()
    with pytest.raises(FathomError, match=r"no machine .* has 999 CPUs"):
        RayWorkers(head.address, threads=999)


def test_an_agent_without_self_play_cannot_be_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "ppo", "CartPole-v1", "--ray", "auto"]) == 2
    assert "self-play over a cluster, and ppo has none" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_address_without_a_cluster_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for address in ("127.0.0.1:1", "no-such-host.invalid:1", "nowhere", "localhost:x"):
        assert main([*SWEEP, "--ray", address]) == 2
        assert "no Ray cluster" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "runs").exists()


def test_ray_that_is_not_installed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*SWEEP, "--ray", "auto"]) == 2
    assert 'pip install "fathom-rl[ray]"' in capsys.readouterr().err
