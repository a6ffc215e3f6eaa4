"""How much faster is alphago's self-play on a Ray cluster, and what would 64 processors bring?

Measures the seconds of a round, in which every game makes a move: in one process, and on clusters of one and of two
single-threaded processors of this machine. The process that trains gives each group of games to a processor, waits for
all searches, makes the moves, and learns; it has nothing to do while they search, so a machine of two cores has room for
both.

Then the figures of more processors are simulated, not measured: the times of a search, of a task's overhead and of
learning are those measured here, for more games; of the network, 8 processors a machine, 10 Gbit/s between the process
that trains and all machines together and 0.5 ms a message are assumed. A round takes as long as the processor with most
groups, and then what the process that trains does alone, which no cluster makes faster.

    python benchmarks/self_play_scaling.py
"""

from __future__ import annotations

import argparse
import pickle
import time
from pathlib import Path
from typing import Any

from measuring import RESULTS, interval, keep, machine, versions  # isort: skip - lies beside this file

WORLD = "Fathom/Go9-v0"
PHASES = ("acting", "environment", "learning")
GIGABIT = 1e9 / 8
NETWORK = {
    "bytes_per_second": 10 * GIGABIT,
    "seconds_per_message": 5e-4,
    "processors_per_machine": 8,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--games", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=12, help="of each measurement")
    parser.add_argument("--turns", type=int, default=3, help="of each measurement")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    options = parser.parse_args()
    path = RESULTS / "self_play_scaling.json"
    if not options.table:
        keep(path, measured(options))
    import json

    print("\n".join(table(json.loads(path.read_text()))))


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Rounds in this process and on clusters, and the pieces that the simulation is made of."""
    import ray
    from ray.cluster_utils import Cluster

    from fathom.runs.cluster import RayWorkers
    from fathom.runs.process import prepare

    prepare(1, "cpu")
    times: dict[str, list[dict[str, float]]] = {"this process": [], "1": [], "2": []}
    for _ in range(options.turns):
        times["this process"].append(rounds(options.games, 2, options.rounds, None))
        for processors in (1, 2):
            node = {"num_cpus": processors, "include_dashboard": False}
            cluster = Cluster(initialize_head=True, head_node_args=node)
            workers = RayWorkers(cluster.address, threads=1)
            try:
                times[str(processors)].append(rounds(options.games, 2, options.rounds, workers))
            finally:
                workers.close()
                ray.shutdown()
                cluster.shutdown()
    return {
        "question": (__doc__ or "").splitlines()[0],
        "games": options.games,
        "rounds": times,
        "group_of_8": [rounds(8, 1, options.rounds, None) for _ in range(options.turns)],
        "bytes": sizes(),
        "measured_on": {"machine": machine(1), **versions("fathom-rl", "torch", "ray", "numpy")},
    }


def rounds(games: int, groups: int, number: int, workers: Any) -> dict[str, float]:
    """Seconds of a round, by what they were spent on."""
    agent, env = an_agent(games, groups, workers)
    list(agent.train(env, games, 0))  # starts the workers, and compiles
    began = time.perf_counter()
    last = list(agent.train(env, games * number, 1))[-1]
    whole = (time.perf_counter() - began) / number
    return {"whole": whole, **{phase: last[f"time/{phase}"] / number for phase in PHASES}}


def an_agent(games: int, groups: int, workers: Any = None) -> tuple[Any, Any]:
    """An untrained agent of the reference run's size, and its environments."""
    from agents.agent import RunContext
    from agents.alphago import AlphaGo, AlphaGoConfig
    from fathom.environments import resolve

    world = resolve(WORLD)
    context = RunContext(games, 10_000, 10_000, storage=Path("."), workers=workers)
    config = AlphaGoConfig(num_envs=games, groups=groups)
    return AlphaGo(*world.spaces(), config, context), world.make_vector(games, training=True)


def sizes() -> dict[str, int]:
    """Bytes that travel: the weights, and the boards and results of a group of eight games."""
    from agents.alphago import _Group, _Network, _search
    from envs.go import core

    agent, env = an_agent(8, 1)
    rules = env.unwrapped.config.rules
    boards = core.new_boards(8, rules, env.unwrapped.config.limit + 5)
    group = _Group(boards, rules, 32, (0,))
    network = _Network(agent.shape, agent.config.layers, agent.config.width, agent.playing)
    found = _search(agent.evaluate, group)
    things = {"weights": network, "group": group, "result": found}
    return {name: len(pickle.dumps(thing)) for name, thing in things.items()}


def simulated(content: dict[str, Any], processors: int, groups: int) -> float:
    """Seconds of a round of groups of eight games on so many processors."""
    piece = {name: mean(content["group_of_8"], name) for name in PHASES}
    local, one = content["rounds"]["this process"], content["rounds"]["1"]
    overhead = max(0.0, mean(one, "acting") - mean(local, "acting")) / 2  # of one task, of two
    machines = -(-processors // int(NETWORK["processors_per_machine"]))
    sent = content["bytes"]["weights"] * machines
    sent += groups * (content["bytes"]["group"] + content["bytes"]["result"])
    network = sent / NETWORK["bytes_per_second"] + 2 * NETWORK["seconds_per_message"]
    most = -(-groups // processors)
    alone = groups * (piece["environment"] + piece["learning"])
    return most * (piece["acting"] + overhead) + network + alone


def mean(measurements: list[dict[str, float]], name: str) -> float:
    """The mean seconds of a phase."""
    return sum(one[name] for one in measurements) / len(measurements)


def table(content: dict[str, Any]) -> list[str]:
    """What was measured and what is simulated, in Markdown."""
    games = content["games"]
    lines = [
        f"| {games} games in 2 groups, where | moves a second | searching | learning and the rest | faster than one processor |",
        "|---|---|---|---|---|",
    ]
    ones = content["rounds"]["1"]
    for where, turns in content["rounds"].items():
        ratios = [one["whole"] / turn["whole"] for one, turn in zip(ones, turns, strict=True)]
        low, high = interval(ratios)[1:]
        whole, acting = mean(turns, "whole"), mean(turns, "acting")
        name = where if where == "this process" else f"cluster of {where} (measured)"
        lines.append(
            f"| {name} | {games / whole:.1f} | {acting:.2f} s | {whole - acting:.2f} s |"
            f" {sum(ratios) / len(ratios):.2f} ({low:.2f} to {high:.2f}) |"
        )
    groups = 64
    first = simulated(content, 1, groups)
    lines += [
        "",
        f"| {8 * groups} games in {groups} groups, processors (simulated) | moves a second | faster than one |",
        "|---|---|---|",
    ]
    for processors in (1, 2, 4, 8, 16, 32, 64):
        seconds = simulated(content, processors, groups)
        lines.append(f"| {processors} | {8 * groups / seconds:.1f} | {first / seconds:.1f} |")
    return lines


if __name__ == "__main__":
    main()
