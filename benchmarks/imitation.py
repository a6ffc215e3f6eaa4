"""How many of an expert's episodes behaviour cloning and GAIL need.

    pip install -e ".[imitation]"
    python benchmarks/imitation.py cartpole
    python benchmarks/imitation.py maze
    python benchmarks/imitation.py lunar-lander  # after pip install "gymnasium[box2d]"

The expert is a run of PPO: on CartPole and LunarLander it is trained first, by its preset; on the mazes it is
`runs/reference/maze-ppo`. It plays episodes of training, `--episodes` says how many each agent may learn from,
and every figure is the mean over unseen episodes, the environment's own return. Measurements are added to
`benchmarks/results/imitation.json`, one for each agent, number of episodes and seed.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import RESULTS, keep, machine, versions  # isort: skip - lies beside this file


import fathom

ROOT = Path(__file__).resolve().parents[1]
FILE = RESULTS / "imitation.json"
TESTED = 100
"""Unseen episodes of each figure."""
TASKS: dict[str, dict[str, Any]] = {
    "cartpole": {"environment": "CartPole-v1", "expert": None, "must": 475},
    "maze": {"environment": "Fathom/Maze-v0", "expert": ROOT / "runs/reference/maze-ppo", "must": 0.95},
    "lunar-lander": {"environment": "LunarLander-v3", "expert": None, "must": 200},
}  # fmt: skip


def expert_data(task: dict[str, Any], folder: Path, episodes: int) -> tuple[Path, dict[str, Any]]:
    """Transitions of at least `episodes` episodes, and what the expert scores."""
    expert = (
        fathom.load(task["expert"])
        if task["expert"]
        else fathom.train(
            "ppo", task["environment"], seed=1, runs_dir=folder, name="expert", progress=False
        )
    )
    score = expert.evaluate(TESTED)
    transitions = 1
    while True:
        recorded = expert.record_transitions(transitions, folder=folder / "data")
        if len(recorded.returns) >= episodes:
            break
        transitions = 1 + recorded.transitions * 2 * episodes // len(recorded.returns)
    return recorded.folder, {
        "expert": score.mean,
        "data": sum(recorded.returns) / len(recorded.returns),
    }


def measure(
    agent: str,
    task: dict[str, Any],
    data: Path,
    episodes: int,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Train one agent on the first episodes, and score it."""
    began = time.perf_counter()
    run = fathom.train(
        agent, task["environment"], expert=str(data), expert_episodes=episodes, seed=seed, threads=1,
        evaluation_episodes=0, runs_dir=folder, progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    result = run.evaluate(TESTED)
    return {
        "agent": agent, "episodes": episodes, "seed": seed, "mean": result.mean,
        "interval": list(result.interval), "steps": run.config.steps, "seconds": round(seconds, 1),
    }  # fmt: skip


def table(task: str, rows: list[dict[str, Any]]) -> str:
    """Mean over the seeds, by agent and number of episodes."""
    numbers = sorted({row["episodes"] for row in rows})
    lines = [f"{task:10}" + "".join(f"{n:>14,}" for n in numbers)]
    for agent in ("bc", "gail"):
        cells = []
        for n in numbers:
            means = [row["mean"] for row in rows if (row["agent"], row["episodes"]) == (agent, n)]
            cells.append(f"{sum(means) / len(means):.4g} ({len(means)})" if means else "–")
        lines.append(f"{agent:10}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table and add the figures to the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--agents", nargs="+", choices=("bc", "gail"), default=["bc", "gail"])
    parser.add_argument("--episodes", type=int, nargs="+", default=[1, 3, 10, 30, 100, 300])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--expert", type=Path, help="a run that is trained already")
    flags = parser.parse_args()
    task = TASKS[flags.task] | ({"expert": flags.expert} if flags.expert else {})
    results = json.loads(FILE.read_text()) if FILE.exists() else {}
    rows = results.get(flags.task, {}).get("rows", [])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data, scores = expert_data(task, folder, max(flags.episodes))
        print(f"expert: {scores['expert']:.4g}, its data: {scores['data']:.4g}", flush=True)
        for agent in flags.agents:
            for episodes in flags.episodes:
                for seed in flags.seeds:
                    row = measure(agent, task, data, episodes, seed, folder / "runs")
                    print(json.dumps(row), flush=True)
                    key = {name: row[name] for name in ("agent", "episodes", "seed")}
                    rows = [old for old in rows if {k: old[k] for k in key} != key] + [row]
                    results[flags.task] = {
                        **scores,
                        "must": task["must"],
                        "rows": rows,
                        "versions": versions("fathom-rl", "gymnasium", "minari", "torch"),
                        "machine": machine(1),
                    }
                    keep(FILE, results)
    print(table(flags.task, rows))


if __name__ == "__main__":
    main()
