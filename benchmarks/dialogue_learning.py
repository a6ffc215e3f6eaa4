"""How soon do the agents hold a dialogue, how well with a noisy channel, and how reliably?

    python benchmarks/dialogue_learning.py curve      success after 3,000, 10,000 and 30,000 dialogues
    python benchmarks/dialogue_learning.py planning   Dyna-Q beside DQN, and without what it imagines
    python benchmarks/dialogue_learning.py noise      rules and DQN, four domains, five error rates
    python benchmarks/dialogue_learning.py goals      the same goal several times: pass^k, what fails

Agents train with the presets that `fathom train` takes, each in a process of its own; a dialogue counts as
soon as it has begun. Every figure is of users with held-out goals: 1,000 dialogues, one in each of 1,000
environments, the same for all agents. The channel mishears values and acts at the same rate. Intervals are
of the mean over seeds (bootstrap, 95 %). Seconds are of training alone, compiling aside.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from measuring import RESULTS, apart, interval, keep, machine  # isort: skip - lies beside this file

if TYPE_CHECKING:
    from fathom.environments import EnvironmentSpec

RESULT = RESULTS / "dialogue_learning.json"
WORLD = "Fathom/Dialogue-v0"
DOMAINS = ("movie", "restaurant", "taxi", "hotel")
RATES = (0.0, 0.05, 0.1, 0.2, 0.3)
MARKS = {
    "curve": (1_000, 3_000, 10_000, 30_000),
    "planning": tuple(range(150, 1_951, 150)),
    "noise": (10_000,),
    "goals": (30_000,),
}
"""Dialogues after which an agent is evaluated, by table."""
DIALOGUES = 1_000
"""Of an evaluation."""
GOALS, TRIALS = 200, 20
"""For pass^k: goals, and dialogues about each."""
GOOD = 0.85
"""The success that `planning` waits for."""


# -- one measurement, in a process of its own -------------------------------------------------------


class Counted(VectorWrapper):
    """A vector environment that counts the dialogues that begin in it."""

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        self.begun = 0

    def reset(self, **arguments: Any) -> Any:
        self.begun += self.num_envs
        return super().reset(**arguments)

    def step(self, actions: np.ndarray) -> Any:
        result = super().step(actions)
        self.begun += int(result[2].sum())
        return result


def world_with(domain: str, rate: float, rule: str = "worthy") -> EnvironmentSpec:
    """The world with a domain and a channel that mishears at the rate."""
    from fathom.environments import resolve

    own = {"domain": domain, "slot_error": str(rate), "intent_error": str(rate), "rule": rule}
    return resolve(WORLD, own)


def trained(
    world: EnvironmentSpec, name: str, seed: int, marks: tuple[int, ...], changes: dict[str, Any]
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Train by the preset, and give the agent and how far it is at each of the marks."""
    from agents import load_agent
    from agents.agent import RunContext
    from fathom.environments.presets import preset
    from fathom.runs.process import segment_seed

    result = preset(name, WORLD)
    assert result is not None, f"{name} has no preset for {WORLD}"
    run, kind = result[1]["run"], load_agent(name)
    config = kind.Config(**result[1]["agent"] | changes)
    env = Counted(world.make_vector(config.num_envs, training=True))
    seconds = 0.0
    steps, left = 0, list(marks)
    with tempfile.TemporaryDirectory() as storage:
        setting = RunContext(
            config.num_envs, run["segment_steps"], run["steps"],
            storage=Path(storage), expert_action=world.expert(),
        )  # fmt: skip
        segment_seed(seed, 1 << 32)
        agent = kind(*world.spaces(), config, setting)
        for segment in range(-(-run["steps"] // run["segment_steps"])):
            reports = iter(agent.train(env, run["segment_steps"], segment_seed(seed, segment)))
            while left:
                began = time.perf_counter()
                report = next(reports, None)
                seconds += time.perf_counter() - began
                if report is None:
                    break
                done = steps + int(report["steps"])
                if env.begun >= left[0]:
                    left = [mark for mark in left if mark > env.begun]
                    yield agent, {"dialogues": env.begun, "steps": done, "seconds": seconds}
            steps += run["segment_steps"]
        if left:
            yield agent, {"dialogues": env.begun, "steps": steps, "seconds": seconds}
    env.close()


def evaluated(agent: Any, world: EnvironmentSpec) -> dict[str, Any]:
    """One dialogue in each of many environments, with held-out goals."""
    from fathom.evaluation import evaluation_seed

    env = world.make_vector(DIALOGUES, training=False)
    observations, info = env.reset(seed=evaluation_seed(1))
    success, turns, rewards, failures = played(agent, env, observations, info["action_mask"])
    env.close()
    return {
        "success": float(success.mean()),
        "turns": float(turns.mean()),
        "reward": float(rewards.mean()),
        "failures": dict(failures.most_common()),
    }


def played(
    agent: Any, env: Any, observations: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Counter[str]]:
    """Every environment's first dialogue to its end: success (n,) bool, turns (n,), the sum of rewards
    (n,), why those failed that did."""
    rng = np.random.default_rng(0)
    n, reasons = env.num_envs, env.unwrapped.reasons
    success, turns, over = np.zeros(n, bool), np.zeros(n, np.int64), np.zeros(n, bool)
    returns = np.zeros(n)
    failures: Counter[str] = Counter()
    while not over.all():
        actions = agent.act(observations, masks.astype(bool), np.zeros(n, bool), rng)
        observations, rewards, ended, _, info = env.step(actions)
        returns += np.where(over, 0, rewards)
        masks, fresh = info["action_mask"], ended & ~over
        success[fresh], turns[fresh] = info["success"][fresh], info["turns"][fresh]
        failures.update(reasons[code] for code in info["reason"][fresh & ~info["success"]])
        over |= ended
    return success, turns, returns, failures


def repeated(agent: Any, world: EnvironmentSpec) -> dict[str, Any]:
    """Dialogues about the same goals again and again; the channel and the user's openings differ."""
    from envs.dialogue import belief, channel, user
    from envs.dialogue.goals import goal_of
    from envs.dialogue.tables import AgentState
    from fathom.evaluation import evaluation_seed

    env = world.make_vector(GOALS, training=False)
    inner: Any = env.unwrapped
    wins = np.zeros(GOALS, np.int64)
    failures: Counter[str] = Counter()
    env.reset(seed=evaluation_seed(2))
    goals = inner.states.goal.copy()
    shape = inner.observation_space.shape
    for trial in range(TRIALS):
        env.reset(seed=evaluation_seed(3 + trial))
        observations = np.zeros(shape, np.float32)
        masks = np.zeros((GOALS, len(inner.acts)), bool)
        for i in range(GOALS):
            state = AgentState(*(part[i] for part in inner.states))
            state.goal[:] = goals[i]
            belief.clear(inner.world, state)
            user.begin(inner.world, state)
            channel.transmit(inner.world, state)
            belief.hear(inner.world, state)
            belief.observe(inner.world, state, observations[i], masks[i])
        success, _, _, why = played(agent, env, observations, masks)
        wins += success
        failures += why
    words = [goal_of(inner.domain, goal) for goal in goals]
    env.close()
    by_questions: dict[str, list[int]] = {}
    by_constraints: dict[str, list[int]] = {}
    by_mind: dict[str, list[int]] = {}
    for goal, won in zip(words, wins.tolist(), strict=True):
        by_questions.setdefault(str(len(goal.questions)), []).append(won)
        by_constraints.setdefault(str(len(goal.constraints)), []).append(won)
        by_mind.setdefault("changes" if goal.first_wish else "stays", []).append(won)
    worst = np.argsort(wins, kind="stable")[:5]
    groups = {"questions": by_questions, "constraints": by_constraints, "mind": by_mind}
    return {
        "pass": {str(k): float(np.mean([comb(int(w), k) for w in wins]) / comb(TRIALS, k))
                 for k in (1, 3, 5)},
        "goals by successes": np.bincount(wins, minlength=TRIALS + 1).tolist(),
        "failures": dict(failures.most_common(10)),
        "success by": {
            name: {key: sum(won) / len(won) / TRIALS for key, won in sorted(group.items())}
            for name, group in groups.items()
        },
        "worst": [{"successes": int(wins[i]), "constraints": words[i].constraints,
                   "questions": list(words[i].questions)} for i in worst],
    }  # fmt: skip


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job: train and evaluate one agent, or evaluate rules."""
    from agents.agent import RunContext
    from agents.scripted import Scripted, ScriptedConfig
    from fathom.runs.process import prepare

    prepare(job["threads"], "cpu")
    world = world_with(job["domain"], job["rate"], job.get("rule", "worthy"))
    if job["agent"] == "rules":
        agent = Scripted(
            *world.spaces(), ScriptedConfig(), RunContext(8, 1, 1, expert_action=world.expert())
        )
        last = repeated(agent, world) if job["table"] == "goals" else {}
        return job | {"points": [evaluated(agent, world) | last]}
    # What is compiled is loaded before the clock runs.
    evaluated(
        Scripted(
            *world.spaces(), ScriptedConfig(), RunContext(8, 1, 1, expert_action=world.expert())
        ),
        world,
    )
    points: list[dict[str, Any]] = []
    progress = trained(world, job["agent"], job["seed"], tuple(job["marks"]), job["changes"])
    for agent, far in progress:
        points.append(far | evaluated(agent, world))
    if job["table"] == "goals":
        points[-1] |= repeated(agent, world)
    return job | {"points": points}


# -- the tables -------------------------------------------------------------------------------------


def jobs_of(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What a table needs measured."""
    table, seeds = options.table, range(options.seeds)
    rules: list[dict[str, Any]] = [
        {"agent": "rules", "rule": "worthy"},
        {"agent": "rules", "rule": "weak"},
    ]
    common: dict[str, Any] = {"table": table, "threads": options.threads, "changes": options.changes,
              "marks": MARKS[table], "domain": "movie", "rate": 0.05, "seed": 0}  # fmt: skip
    if table == "planning":
        idle = {"name": "dyna-q, nothing imagined", "changes": options.changes | {"planning": 0}}
        learners = [{"agent": "dqn"}, {"agent": "dyna-q"}, {"agent": "dyna-q"} | idle]
        return [common | who | {"seed": s} for s in seeds for who in learners]
    if table == "noise":
        channels = [
            {"domain": domain, "rate": rate} for domain in options.domains for rate in RATES
        ]
        learners = [{"agent": "dqn", "seed": s} for s in seeds]
        return [common | where | who for where in channels for who in [*rules, *learners]]
    learners = [{"agent": name, "seed": s} for s in seeds for name in options.agents]
    return [common | who for who in [*rules, *learners]]


def measure_apart(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in a process of its own."""
    return apart(__file__, [job["table"], "--job", json.dumps(job)], job["threads"])


def name_of(job: dict[str, Any]) -> str:
    """Whose measurement it is, for people."""
    rules = job["agent"] == "rules"
    return f"rules, {job['rule']}" if rules else job.get("name", job["agent"])


def summary(measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each agent, channel and mark: means over the seeds."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for done in measurements:
        for place, point in enumerate(done["points"]):
            groups.setdefault((done["domain"], done["rate"], name_of(done), place), []).append(
                point
            )
    rows = []
    for (domain, rate, name, _), points in groups.items():
        mean, low, high = interval([point["success"] for point in points])
        row = {"domain": domain, "errors": rate, "agent": name, "seeds": len(points),
               "success": mean, "interval": [low, high]}  # fmt: skip
        for about in ("turns", "reward", "dialogues", "steps", "seconds"):
            if about in points[0]:
                row[about] = float(np.mean([point[about] for point in points]))
        if "pass" in points[0]:
            row |= {f"pass^{k}": float(np.mean([p["pass"][k] for p in points])) for k in "135"}
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print a Markdown table."""
    print("| domain | errors | agent | dialogues | steps | success | turns | reward | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        low, high = row["interval"]
        far = [f"{row[x]:,.0f}" if x in row else "" for x in ("dialogues", "steps", "seconds")]
        print(f"| {row['domain']} | {row['errors']:.0%} | {row['agent']} | {far[0]} | {far[1]} |"
              f" {row['success']:.3f} ({low:.3f}–{high:.3f}) | {row['turns']:.1f} |"
              f" {row['reward']:.1f} | {far[2]} |"
              + "".join(f" pass^{k} {row[f'pass^{k}']:.3f}" for k in "135" if "pass^1" in row))  # fmt: skip


def crossing(curve: list[tuple[float, float]]) -> float | None:
    """Where a curve of (dialogues, success) first reaches `GOOD`, on the line between two evaluations."""
    for (before, low), (after, high) in itertools.pairwise([(0.0, 0.0), *curve]):
        if high >= GOOD:
            return before + (after - before) * (GOOD - low) / (high - low)
    return None


def reached(measurements: list[dict[str, Any]]) -> dict[str, Any]:
    """Real dialogues until success reaches `GOOD`, for each agent: of the seeds' mean, and of each seed
    (None: never)."""
    result: dict[str, Any] = {}
    for name in sorted({name_of(done) for done in measurements}):
        curves = [
            [(point["dialogues"], point["success"]) for point in done["points"]]
            for done in measurements
            if name_of(done) == name
        ]
        mean = [tuple(np.mean(points, axis=0)) for points in zip(*curves, strict=False)]
        result[name] = {
            "mean curve": crossing(mean),
            "seeds": [crossing(curve) for curve in curves],
        }
        words = ", ".join("never" if n is None else f"{n:,.0f}" for n in result[name]["seeds"])
        print(f"{name}: success {GOOD} after {result[name]['mean curve'] or np.nan:,.0f} dialogues"
              f" (mean curve); by seed {words}")  # fmt: skip
    return result


def main() -> None:
    """Measure a table, print it and keep the raw figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("table", choices=MARKS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--agents", nargs="+", default=["dqn"], help="of curve and goals")
    parser.add_argument("--domains", nargs="+", default=list(DOMAINS), help="of noise")
    parser.add_argument("--threads", type=int, default=1, help="of each training")
    parser.add_argument(
        "--changes", type=json.loads, default={}, help="hyperparameters to change, as JSON"
    )
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(measure(options.job)))
        return
    measurements = []
    for job in jobs_of(options):
        measurements.append(measure_apart(job))
        show(summary(measurements[-1:]))
        sys.stdout.flush()
    rows = summary(measurements)
    print()
    show(rows)

    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    kept[options.table] = {
        "machine": machine(options.threads),
        "changes": options.changes,
        "summary": rows,
        "measurements": measurements,
    }
    if options.table == "planning":
        kept[options.table]["reached"] = reached(measurements)
    keep(RESULT, kept)


if __name__ == "__main__":
    main()
