"""Stable-Baselines3 learns in Fathom's runs what it would learn at home."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents import load_agent
from agents.agent import Agent, AgentState, RunContext, UnsuitableEnvironmentError, generator
from envs.observations import ObservationFlattener
from fathom.cli import main

ALGORITHMS: dict[str, dict[str, Any]] = {
    "sb3-ppo": {"rollout_steps": 32, "batch_size": 32, "epochs": 4, "learning_rate": 3e-3},
    "sb3-a2c": {"rollout_steps": 8, "learning_rate": 3e-3},
    "sb3-dqn": {
        "replay_capacity": 1_000, "train_freq": 1, "gradient_steps": 2, "learning_rate": 3e-3,
        "target_update_interval": 100, "exploration_fraction": 0.5,
    },
}  # fmt: skip


def needs_sb3() -> Any:
    return importlib.import_module("stable_baselines3")


class Count(gym.Env[np.ndarray, int]):
    """Observes its own clock; terminates or is truncated after some steps, each of which pays."""

    observation_space = spaces.Box(0, 1_000, (1,))
    action_space = spaces.Discrete(2, start=5)

    def __init__(self, length: int = 3, terminates: bool = True) -> None:
        self.length, self.terminates = length, terminates

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return np.float32([0]), {}

    def step(self, action: int) -> Any:
        self.time += 1
        over = self.time == self.length
        ends = (over and self.terminates, over and not self.terminates)
        reward = 10 * self.time + int(action) - int(self.action_space.start)
        return np.float32([self.time]), float(reward), *ends, {}


class Name(gym.Env[np.ndarray, int]):
    """The action that the observation names pays; half of the steps are resets."""

    observation_space: gym.Space = spaces.Box(0, 1, (3,))
    action_space: gym.Space = spaces.Discrete(3, start=3)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.wanted = int(self.np_random.integers(3))
        return np.eye(3, dtype=np.float32)[self.wanted], {}

    def step(self, action: int) -> Any:
        assert self.action_space.contains(action)
        return np.zeros(3, np.float32), float(action - 3 == self.wanted), True, False, {}


class Pieces(Name):
    """The same beside a picture, which SB3 gets as a dictionary."""

    observation_space = spaces.Dict(
        picture=spaces.Box(0, 255, (1, 36, 36), np.uint8), wanted=spaces.Discrete(3)
    )

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        return self._see(), {}

    def step(self, action: int) -> Any:
        return self._see(), *super().step(action)[1:]

    def _see(self) -> dict[str, Any]:
        return {"picture": np.full((1, 36, 36), 60, np.uint8), "wanted": self.wanted}


class Masked(Count):
    """One of the two actions is illegal."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        return super().reset(seed=seed)[0], {"action_mask": np.int8([1, 0])}


def vector(*worlds: Any) -> SyncVectorEnv:
    return SyncVectorEnv(worlds, autoreset_mode=AutoresetMode.NEXT_STEP)


def build(algorithm: str, world: gym.Env, storage: Path, steps: int, **settings: Any) -> Agent:
    torch.manual_seed(0)
    kind = load_agent(algorithm)
    config = kind.Config(**(ALGORITHMS[algorithm] | settings))
    context = RunContext(config.num_envs, steps, steps, storage=storage)
    space = ObservationFlattener(world.observation_space).space
    return kind(space, world.action_space, config, context)


def choices(agent: Agent, world: Any) -> tuple[np.ndarray, list[int]]:
    """What an agent does in 20 episodes' first states, and what was wanted of it."""
    seen, wanted = [], []
    for seed in range(20):
        seen.append(world.reset(seed=seed)[0])
        wanted.append(world.wanted + 3)
    plain = ObservationFlattener(world.observation_space)(
        {key: np.stack([part[key] for part in seen]) for key in seen[0]}
        if isinstance(seen[0], dict)
        else np.stack(seen)
    )
    return agent.act(plain, None, np.ones(20, bool), np.random.default_rng(0)), wanted


# -- the bridge -------------------------------------------------------------------------------------


def test_the_bridge_tells_of_every_step_what_a_hand_stepped_world_does() -> None:
    needs_sb3()
    from agents.parts.sb3_bridge import Bridge

    worlds = [Count(3), Count(4, terminates=False)]
    env = vector(*(lambda world=world: world for world in worlds))
    bridge: Any = Bridge(2, Count.observation_space, Count.action_space, reward_clip=25.0)
    bridge.connect(env, seed=1)
    assert bridge.reset().tolist() == [[0], [0]]
    singles = [Count(3), Count(4, terminates=False)]
    for single in singles:
        single.reset()
    ended = [False, False]
    for _ in range(20):
        observations, rewards, dones, infos = bridge.step(np.array([0, 1]))
        for i, single in enumerate(singles):
            if ended[i]:
                first, _ = single.reset()
                assert observations[i] == first
                assert infos[i] == {"valid": False}
                assert not dones[i]
                ended[i] = False
                continue
            seen, reward, terminated, truncated, _ = single.step(5 + i)
            assert observations[i] == seen
            assert rewards[i] == min(reward, 25)
            assert dones[i] == (terminated or truncated)
            assert infos[i]["valid"]
            assert ("terminal_observation" in infos[i]) == dones[i]
            if dones[i]:
                assert infos[i]["terminal_observation"] == seen
                assert infos[i]["TimeLimit.truncated"] == truncated
            ended[i] = bool(dones[i])


@pytest.mark.parametrize("terminates", [True, False])
def test_a_rollout_is_learnt_from_without_the_steps_that_only_reset(
    tmp_path: Path, terminates: bool
) -> None:
    needs_sb3()
    from agents.parts.sb3_bridge import keep_valid

    world = Count(3, terminates)
    agent: Any = build("sb3-ppo", world, tmp_path, 100, num_envs=2, rollout_steps=10, batch_size=20)
    agent.bridge.connect(vector(lambda: world, lambda: Count(100)), seed=0)
    _, callback = agent.model._setup_learn(100, reset_num_timesteps=False)
    agent._collect(10, callback)
    buffer = agent.model.rollout_buffer
    assert keep_valid(buffer, np.stack(agent.bridge.valid)) == 18
    # Of ten steps in the first environment, the fourth and the eighth reset.
    assert buffer.observations[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, *range(10)]
    values = agent.model.policy.predict_values(torch.arange(4.0)[:, None]).detach().numpy()[:, 0]
    after = 0 if terminates else 0.99 * values[3]
    for last in (2, 5):
        reward = 30 + buffer.actions[last, 0]
        assert buffer.returns[last, 0] == pytest.approx(reward + after, rel=1e-5)
    batches = list(buffer.get(5))
    assert sum(len(batch.advantages) for batch in batches) == 18


def test_the_replay_memory_of_dqn_holds_whole_transitions_only(tmp_path: Path) -> None:
    needs_sb3()
    agent: Any = build("sb3-dqn", Count(), tmp_path, 80, num_envs=2, learning_starts=1_000)
    env = vector(lambda: Count(3), lambda: Count(4, terminates=False))
    list(agent.train(env, 40, seed=0))
    memory = agent.memory
    assert memory.size() == 40 - 5 - 4
    before, after = (
        x[: memory.size(), 0, 0] for x in (memory.observations, memory.next_observations)
    )
    assert (after == before + 1).all()
    actions = memory.actions[: memory.size(), 0, 0]
    assert (memory.rewards[: memory.size(), 0] == 10 * after + actions).all()
    batch = memory._get_samples(np.arange(memory.size()))
    # Only what terminates is worth nothing afterwards: not the fourth step, which is truncated.
    assert set(after[batch.dones.numpy()[:, 0] == 1].tolist()) == {3}
    assert (after == 4).sum() == 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_where_no_episode_ends_the_weights_are_those_of_sb3_at_home(
    tmp_path: Path, algorithm: str
) -> None:
    sb3 = needs_sb3()
    from stable_baselines3.common.vec_env import DummyVecEnv

    agent: Any = build(algorithm, Count(), tmp_path, 128)
    list(agent.train(vector(lambda: Count(1_000)), 128, seed=7))

    class FromZero(Count):
        action_space = spaces.Discrete(2)  # as SB3 wants it; the bridge shifts ours

    torch.manual_seed(0)
    home = getattr(sb3, algorithm.removeprefix("sb3-").upper())
    theirs: dict[str, Any] = {
        "sb3-ppo": {"n_steps": 32, "batch_size": 32, "n_epochs": 4},
        "sb3-a2c": {"n_steps": 8},
        "sb3-dqn": {
            "buffer_size": 1_000, "train_freq": 1, "gradient_steps": 2,
            "target_update_interval": 100, "exploration_fraction": 0.5,
        },
    }[algorithm]  # fmt: skip
    model = home(
        "MlpPolicy",
        DummyVecEnv([lambda: FromZero(1_000)]),
        learning_rate=3e-3,
        device="cpu",
        **theirs,
    )
    model.set_random_seed(int(generator(7).integers(2**31)))
    before = {name: weight.clone() for name, weight in model.policy.state_dict().items()}
    model.learn(128)
    assert any(not torch.equal(w, before[name]) for name, w in model.policy.state_dict().items())
    for name, weight in model.policy.state_dict().items():
        assert torch.equal(weight, agent.model.policy.state_dict()[name]), name


# -- the agents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_learns_to_name_what_it_sees(tmp_path: Path, algorithm: str) -> None:
    needs_sb3()
    agent = build(algorithm, Name(), tmp_path, 1_600, num_envs=8)
    reports = list(agent.train(vector(*[Name] * 8), 1_600, seed=0))
    actions, wanted = choices(agent, Name())
    assert actions.tolist() == wanted
    assert reports[-1]["steps"] == 1_600
    assert reports[-1]["episode_length"] == 1
    assert {"time/environment", "time/acting", "time/learning", "learning_rate"} <= reports[
        -1
    ].keys()
    assert ("epsilon" in reports[-1]) == (algorithm == "sb3-dqn")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_restored_agent_acts_as_before_and_goes_on_from_there(
    tmp_path: Path, algorithm: str
) -> None:
    needs_sb3()
    sooner = {"learning_starts": 20} if algorithm == "sb3-dqn" else {}
    agent: Any = build(algorithm, Name(), tmp_path, 200, num_envs=2, **sooner)
    list(agent.train(vector(Name, Name), 70, seed=0))  # no multiple of a rollout
    state = agent.state()
    restored: Any = build(algorithm, Name(), tmp_path, 200, num_envs=2, **sooner)
    restored.load(state)
    assert (choices(agent, Name())[0] == choices(restored, Name())[0]).all()
    for each in (agent, restored):
        list(each.train(vector(Name, Name), 130, seed=1))
    assert restored.state().numbers["steps"] == 200
    if algorithm == "sb3-dqn":  # its replay memory began anew
        assert restored.memory.size() < agent.memory.size()
    else:
        for name, weight in agent.state().weights.items():
            assert torch.equal(weight, restored.state().weights[name]), name
    with pytest.raises(ValueError, match="another network"):
        restored.load(AgentState({}, {}, state.numbers))


def test_after_a_resume_dqn_waits_until_its_memory_is_filled_anew(tmp_path: Path) -> None:
    needs_sb3()
    agent: Any = build("sb3-dqn", Name(), tmp_path, 400, learning_starts=50)
    list(agent.train(vector(Name), 100, seed=0))
    restored: Any = build("sb3-dqn", Name(), tmp_path, 400, learning_starts=50)
    restored.load(agent.state())
    assert restored.model.exploration_rate == agent.model.exploration_rate
    updates = restored.model._n_updates
    list(restored.train(vector(Name), 50, seed=1))
    assert restored.model._n_updates == updates
    list(restored.train(vector(Name), 10, seed=2))
    assert restored.model._n_updates > updates


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_observations_of_several_parts(tmp_path: Path, algorithm: str) -> None:
    needs_sb3()
    learning_starts = {"learning_starts": 20} if algorithm == "sb3-dqn" else {}
    agent = build(algorithm, Pieces(), tmp_path, 120, num_envs=2, **learning_starts)
    list(agent.train(vector(Pieces, Pieces), 60, seed=0))
    assert set(choices(agent, Pieces())[0].tolist()) <= {3, 4, 5}


def test_the_schedules_go_over_the_whole_run_not_over_a_segment(tmp_path: Path) -> None:
    needs_sb3()
    agent = build("sb3-a2c", Name(), tmp_path, 160, anneal_lr=True)
    rates = [list(agent.train(vector(Name), 80, seed))[-1]["learning_rate"] for seed in range(2)]
    assert rates == pytest.approx([3e-3 / 2, 0])
    agent = build("sb3-dqn", Name(), tmp_path, 400, learning_starts=10)
    epsilons = [list(agent.train(vector(Name), 100, seed))[-1]["epsilon"] for seed in range(2)]
    assert epsilons == pytest.approx([1 - 0.95 / 2, 0.05])


def test_what_it_cannot_do_it_says(tmp_path: Path) -> None:
    needs_sb3()
    agent = build("sb3-ppo", Masked(), tmp_path, 64)
    with pytest.raises(UnsuitableEnvironmentError, match="action masks"):
        list(agent.train(vector(Masked), 64, seed=0))

    class Unbounded(Count):
        action_space = spaces.Box(-np.inf, np.inf, (1,))

    with pytest.raises(ValueError, match="bounded"):
        build("sb3-a2c", Unbounded(), tmp_path, 64)
    with pytest.raises(ValueError, match="discrete"):
        build("sb3-dqn", Unbounded(), tmp_path, 64)
    with pytest.raises(ValueError, match="batch_size"):
        build("sb3-ppo", Count(), tmp_path, 64, batch_size=1)
    for context in ({"reward_clip": -1.0}, {"discount": 1.5}, {"max_gradient_norm": -1.0}):
        with pytest.raises(ValueError, match=next(iter(context))):
            build("sb3-ppo", Count(), tmp_path, 64, **context)


# -- the command line -------------------------------------------------------------------------------


def _run(tmp_path: Path, words: str) -> int:
    return main([*words.split(), "--runs-dir", str(tmp_path / "runs")])


TINY = "CartPole-v1 --name r --steps 300 --segment-steps 150 --evaluation-episodes 1 --threads 1"


@pytest.mark.parametrize("algorithm", ["sb3-ppo", "sb3-dqn"])
def test_train_evaluate_and_extend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    sb3 = needs_sb3()
    flags = {"sb3-ppo": "--rollout-steps 64", "sb3-dqn": "--replay-capacity 500"}[algorithm]
    assert _run(tmp_path, f"train {algorithm} {TINY} {flags}") == 0
    message = " ".join(capsys.readouterr().out.split())
    assert f"warning: Stable-Baselines3 {sb3.__version__}" in message
    assert "not promised" in message
    assert ("replay memory is not saved" in message) == (algorithm == "sb3-dqn")
    assert _run(tmp_path, "evaluate r --episodes 2 --json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 300
    assert _run(tmp_path, "resume r --steps 450") == 0
    assert "not promised" in " ".join(capsys.readouterr().out.split())
    run = tmp_path / "runs" / "r"
    assert f'stable-baselines3 = "{sb3.__version__}"' in (run / "run.toml").read_text()
    assert len((run / "evaluations.jsonl").read_text().splitlines()) == 3
    files = {path.name for path in (run / "checkpoints" / "00003").iterdir()}
    assert files == {"weights.safetensors", "state.safetensors", "state.json"}
    assert not [p for p in run.rglob("*") if p.suffix in (".zip", ".pkl", ".pth", ".pt")]


def test_a_replay_memory_that_does_not_fit_is_refused_before_a_run_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_sb3()
    assert _run(tmp_path, f"train sb3-dqn {TINY} --replay-capacity 1_000_000_000_000") == 2
    assert "choose a smaller --replay-capacity" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "r").exists()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_without_sb3_one_sentence_tells_how_to_get_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
) -> None:
    for name in [name for name in sys.modules if name.startswith("stable_baselines3.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "agents.sb3", raising=False)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    assert _run(tmp_path, f"train {algorithm} {TINY}") == 2
    message = capsys.readouterr()
    assert message.err == (
        f"fathom: {algorithm} needs stable-baselines3, which is not installed; "
        'install it with: pip install "fathom-rl[sb3]"\n'
    )
    assert not message.out


def test_the_list_names_the_agents(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    assert set(ALGORITHMS) <= set(json.loads(capsys.readouterr().out)["agents"])


class Coin(Count):
    """Guess a coin that is tossed after the guess."""

    def step(self, action: int) -> Any:
        observation, _, *rest = super().step(action)
        return observation, float(action - 5 == self.np_random.integers(2)), *rest


def test_random_actions_of_dqn_are_not_what_the_environment_draws(tmp_path: Path) -> None:
    needs_sb3()
    agent = build("sb3-dqn", Coin(), tmp_path, 400, num_envs=1, learning_starts=400)
    (report,) = agent.train(vector(lambda: Coin(length=300)), 400, seed=7)
    assert report["episode_return"] < 225
