"""What every agent and every preset must do: go on from a state, bit for bit, from the first one on."""

import tomllib
from collections.abc import Callable
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorObservationWrapper

from agents import AGENTS, load_agent
from agents.agent import Agent, AgentState, RunContext
from agents.dqn import DQN
from envs.go.vector import GoVector
from envs.observations import ObservationFlattener
from fathom.environments import resolve
from fathom.runs.config import build_config

WITHOUT_CARTPOLE = ("alphago", "scripted", "value-iteration", "q-learning")
"""Agents that cannot learn in it."""
N = 2
"""Environments."""
SEGMENT = 60

TINY: dict[str, Any] = {
    "num_envs": N, "replay_capacity": 200, "learning_starts": 40, "train_frequency": 8, "train_freq": 4,
    "batch_size": 8, "rollout_steps": 6, "num_minibatches": 2, "epochs": 1, "hidden_size": 8,
    "target_update_interval": 4, "epsilon_steps": 100, "model_starts": 50, "model_batch_size": 8,
    "discriminator_batch_size": 8, "discriminator_updates": 2, "model_hidden": 8, "layers": 2, "width": 8, "simulations": 2, "replay_positions": 100, "value_bins": 5, "unroll_steps": 2, "reanalyse": 2, "replay_ratio": 0.5,
}  # fmt: skip
"""Sizes for a test, of whatever hyperparameters an agent has; it keeps those that are options, and 0."""

PRESETS = {
    file.name.removesuffix(".toml"): tomllib.loads(file.read_text(encoding="utf-8"))
    for file in (files("fathom.environments") / "presets").iterdir()
    if file.name.endswith(".toml")
}


class Bright(gym.Env):
    """A bright or a dark picture, and an action for each; an episode ends at random."""

    observation_space = spaces.Box(0, 255, (2, 36, 36), np.uint8)
    action_space: gym.Space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        return self._look(), {}

    def _look(self) -> np.ndarray:
        self.bright = int(self.np_random.integers(2))
        return self.np_random.integers(
            100 * self.bright, 156 + 100 * self.bright, (2, 36, 36), np.uint8
        )

    def step(self, action: int) -> Any:
        reward = float(action == self.bright)
        return self._look(), reward, bool(self.np_random.random() < 0.2), False, {}


def _cartpole() -> gym.Env:
    return gym.make("CartPole-v1")


def _pendulum() -> gym.Env:
    return gym.make("Pendulum-v1", max_episode_steps=20)


def _sync(make: Callable[[], gym.Env]) -> Callable[[], VectorEnv]:
    return lambda: SyncVectorEnv([make] * N, autoreset_mode=AutoresetMode.NEXT_STEP)


def _world(reference: str) -> Callable[[], VectorEnv]:
    return lambda: resolve(reference).make_vector(N, training=True)


def _of_pattern(pattern: str) -> Callable[[], VectorEnv]:
    """A small environment of the kind that a preset is for."""
    if pattern.startswith("ALE/"):
        return _sync(Bright)
    if pattern.startswith(("Pendulum", "InvertedPendulum", "LunarLander")):
        return _sync(_pendulum)
    if "tictactoe" in pattern:
        game = resolve(f"{Path(__file__).parents[2] / 'examples' / pattern.removeprefix('*')}")
        return lambda: game.for_self_play().make_vector(N, training=True)
    if "TCBot" in pattern:  # its data does not ship
        pattern = "Fathom/Dialogue-v0"
    if pattern == "FrozenLake*":
        pattern = "FrozenLake-v1"
    return _sync(_cartpole) if pattern.startswith("CartPole") else _world(pattern)


def _expert(name: str) -> Callable[[], VectorEnv]:
    if name == "alphago":
        return lambda: GoVector(N, size=5, opponent="self")
    worlds = {
        "scripted": "Fathom/Dialogue-v0", "value-iteration": "FrozenLake-v1", "q-learning": "CliffWalking-v1",
    }  # fmt: skip
    return _world(worlds[name]) if name in worlds else _sync(_cartpole)


CASES: dict[str, tuple[str, dict[str, Any], Callable[[], VectorEnv]]] = {
    **{name: (name, {}, _expert(name)) for name in AGENTS},
    **{
        f"preset {name}": (
            preset["algorithm"], preset.get("agent", {}),
            _expert(preset["algorithm"]) if preset["algorithm"] in ("q-learning", "planner") else _of_pattern(preset["environments"][0]),
        )
        for name, preset in PRESETS.items()
    },
    **{
        f"{name} subtracts the mean image": (name, {"subtract_mean_image": True, "cnn": "nips"}, _sync(Bright))
        for name in ("reinforce", "a2c", "ppo", "dqn")
    },
}  # fmt: skip


def _expert_data(folder: Path, env: VectorEnv) -> str:
    """Five episodes of random observations and actions, in Minari's format."""
    storage = pytest.importorskip("minari.dataset.minari_storage").MinariStorage
    buffer = pytest.importorskip("minari.data_collector").EpisodeBuffer
    if not folder.exists():
        spaces_of = env.single_observation_space, env.single_action_space
        data = storage.new(folder, *spaces_of, jpeg_encoding=False)
        data.update_metadata({"dataset_id": "random-v0", "minari_version": "0.5.3"})
        for space in spaces_of:
            space.seed(0)
        for _ in range(5):
            seen, done = (
                [space.sample() for _ in range(n)]
                for space, n in zip(spaces_of, (7, 6), strict=True)
            )
            data.update_episodes(
                [buffer(observations=np.stack(seen), actions=np.stack(done), rewards=[0.0] * 6,
                        terminations=[False] * 6, truncations=[False] * 6)]
            )  # fmt: skip
    return str(folder)


def build(name: str, table: dict[str, Any], env: VectorEnv, storage: Path, seed: int) -> Agent:
    kind = load_agent(name)
    if hasattr(kind.Config, "expert"):
        table = table | {"expert": _expert_data(storage.parent / "expert", env)}
    known = {item for item in TINY if item in kind.Config.__dataclass_fields__}  # type: ignore[attr-defined]
    sizes = {item: TINY[item] for item in known if table.get(item, getattr(kind.Config, item)) != 0}
    if table.get("expert_steps"):
        sizes["expert_steps"] = 16
    config = build_config(kind.Config, table | sizes)
    expert = getattr(env.unwrapped, "expert_action", None)
    context = RunContext(N, SEGMENT, 2 * SEGMENT, storage=storage, expert_action=expert)
    torch.manual_seed(seed)
    space = ObservationFlattener(env.single_observation_space).space
    agent = kind(space, env.single_action_space, config, context)
    agent.env_observation_space = env.single_observation_space
    return agent


def copy(state: AgentState) -> AgentState:
    return AgentState(
        {name: tensor.clone() for name, tensor in state.weights.items()},
        {name: tensor.clone() for name, tensor in state.tensors.items()},
        dict(state.numbers),
    )


def segment(agent: Agent, make: Callable[[], VectorEnv], k: int) -> None:
    """As a run does it: new environments, and every generator seeded by the segment's number."""
    torch.manual_seed(k)
    with closing(make()) as env:
        list(agent.train(env, SEGMENT, seed=k))


def assert_same(one: AgentState, two: AgentState) -> None:
    assert one.numbers == two.numbers
    for part in ("weights", "tensors"):
        left, right = getattr(one, part), getattr(two, part)
        assert left.keys() == right.keys()
        for name in left:
            assert torch.equal(left[name], right[name]), name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_an_agent_goes_on_from_its_state_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """A run that is killed in its first segment goes on from the state of an untrained agent."""
    monkeypatch.setattr(DQN, "compiles", False)  # takes time, and has its own tests
    name, table, make = CASES[case]
    with closing(make()) as env:
        agent = build(name, table, env, tmp_path / "one", seed=0)
        from_untrained = build(name, table, env, tmp_path / "two", seed=1)
        from_trained = build(name, table, env, tmp_path / "one", seed=2)
    states = [copy(agent.state())]
    for k in range(2):
        segment(agent, make, k)
        states.append(copy(agent.state()))
    if name not in ("scripted", "planner"):
        assert any(
            not torch.equal(weight, states[0].weights[key])
            for key, weight in states[2].weights.items()
        ), "the test is too short to learn anything"
    for k, other in enumerate((from_untrained, from_trained)):
        if name == "sb3-dqn" and k:  # its replay memory is not saved
            return
        other.load(states[k])
        assert_same(copy(other.state()), states[k])
        segment(other, make, k)
        assert_same(other.state(), states[k + 1])


class Doubles(VectorObservationWrapper):
    """Gives float64 where the space says float32, as many an environment does."""

    def observations(self, observations: np.ndarray) -> np.ndarray:
        return observations.astype(np.float64)


@pytest.mark.parametrize("name", ["dqn", "ppo", "a2c", "reinforce", "dyna-q"])
def test_observations_of_another_dtype_train_identically(tmp_path: Path, name: str) -> None:
    states = []
    for wrap in (lambda env: env, Doubles):
        env = wrap(_sync(_cartpole)())
        env.single_observation_space = _cartpole().observation_space
        agent = build(name, {}, env, tmp_path / f"{len(states)}", seed=0)
        list(agent.train(env, SEGMENT, seed=0))
        states.append(copy(agent.state()))
    assert_same(*states)


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize("name", [name for name in AGENTS if name not in WITHOUT_CARTPOLE])
def test_a_training_of_other_sizes_than_the_context_s_is_refused(tmp_path: Path, name: str) -> None:
    env = _sync(_cartpole)()
    agent = build(name, {}, env, tmp_path, seed=0)
    three = SyncVectorEnv([_cartpole] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(
        ValueError, match="built for 2 environments, and this vector environment has 3"
    ):
        list(agent.train(three, SEGMENT, seed=0))
    with pytest.raises(ValueError, match="segments of at most 60 steps, not 61"):
        list(agent.train(env, SEGMENT + 1, seed=0))


@pytest.mark.parametrize("name", AGENTS)
def test_no_default_changes_what_is_rewarded(name: str) -> None:
    """Clipping, scaling and normalising rewards are for the presets that need them."""
    config = load_agent(name).Config()
    neutral = {"reward_clip": 0.0, "reward_scale": 1.0, "normalize_rewards": False, "value_bins": 0}
    for field, value in neutral.items():
        assert getattr(config, field, value) == value
