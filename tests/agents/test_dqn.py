import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from agents.agent import AgentState, RunContext, linear_schedule
from agents.dqn import DQN, DQNConfig, Histogram, QNetwork, td_targets
from envs.observations import ObservationFlattener


def test_targets_worked_out_by_hand() -> None:
    rewards = torch.tensor([1.0, -1.0])
    discounts = torch.tensor([0.5, 0.0])  # the second transition ended its episode
    target_q = torch.tensor([[10.0, 20.0, 30.0], [5.0, 6.0, 7.0]])
    online_q = torch.tensor([[3.0, 9.0, 4.0], [1.0, 2.0, 3.0]])
    assert td_targets(rewards, discounts, target_q, target_q).tolist() == [16.0, -1.0]
    assert td_targets(rewards, discounts, target_q, online_q).tolist() == [11.0, -1.0]
    masks = torch.tensor([[True, False, False], [True, True, True]])
    assert td_targets(rewards, discounts, target_q, online_q, masks).tolist() == [6.0, -1.0]


def test_epsilon_falls_linearly_and_stays() -> None:
    assert linear_schedule(1.0, 0.1, 100, 0) == 1.0
    assert linear_schedule(1.0, 0.1, 100, 50) == pytest.approx(0.55)
    assert linear_schedule(1.0, 0.1, 100, 1_000) == pytest.approx(0.1)


def test_dueling_advantages_have_mean_zero() -> None:
    network = QNetwork(gym.spaces.Box(-1, 1, (3,)), 4, DQNConfig(hidden_size=8, dueling=True))
    observations = torch.randn(5, 3)
    assert network.value is not None
    value = network.value(network.encoder(observations)).squeeze(1)
    torch.testing.assert_close(network(observations).mean(dim=1), value)


def test_a_histogram_has_its_values_mean_and_ends_at_its_limits() -> None:
    histogram = Histogram(bins=40, limit=2.0, device=torch.device("cpu"))
    values = torch.tensor([-1.5, -0.01, 0.0, 0.004, 1.73])
    shares = histogram.probabilities(values)
    assert shares.shape == (5, 40)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(histogram.mean(shares.log()), values, atol=1e-4, rtol=0)
    # Three quarters of a bin of 0.1 deviate by 0.075; the bins' own width adds 0.1² / 12.
    spread = (shares * (histogram.centres - values.unsqueeze(1)).square()).sum(dim=1).sqrt()
    torch.testing.assert_close(
        spread, torch.full((5,), (0.075**2 + 0.01 / 12) ** 0.5), atol=1e-3, rtol=0
    )
    beyond = histogram.probabilities(torch.tensor([7.0, -7.0]))
    torch.testing.assert_close(beyond, histogram.probabilities(torch.tensor([2.0, -2.0])))
    assert beyond.argmax(dim=1).tolist() == [39, 0]


def test_dueling_histograms_are_one_for_each_action() -> None:
    config = DQNConfig(hidden_size=8, dueling=True, value_bins=11)
    network = QNetwork(gym.spaces.Box(-1, 1, (3,)), 4, config)
    observations = torch.randn(5, 3)
    assert network.value is not None
    value = network.value(network.encoder(observations))
    assert network(observations).shape == (5, 4, 11)
    torch.testing.assert_close(network(observations).mean(dim=1), value)


def _agent(config: DQNConfig, storage: Path | None, env: gym.vector.VectorEnv) -> DQN:
    torch.manual_seed(0)
    context = RunContext(config.num_envs, segment_steps=4_000, total_steps=20_000, storage=storage)
    return DQN(env.single_observation_space, env.single_action_space, config, context)


class Bandit(gym.Env):
    """The sign of the observation says which of actions 1 and 2 pays; action 0 is illegal."""

    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
        super().reset(seed=seed)
        self.sign = self.np_random.choice([-1.0, 1.0])
        return np.array([self.sign], np.float32), {"action_mask": np.array([0, 1, 1], np.int8)}

    def step(self, action):  # type: ignore[no-untyped-def]
        assert action != 0, "an illegal action was taken"
        reward = float((action == 1) == (self.sign > 0))
        observation, info = self.reset()
        return observation, reward, True, False, info


@pytest.mark.parametrize("bins", [0, 21])
def test_dqn_learns_and_takes_no_illegal_action(tmp_path: Path, bins: int) -> None:
    config = DQNConfig(
        num_envs=4, replay_capacity=4_000, learning_starts=200, epsilon_steps=1_000,
        hidden_size=32, learning_rate=3e-3, target_update_interval=50, value_bins=bins, value_limit=2.0,
    )  # fmt: skip
    env = SyncVectorEnv([Bandit] * 4, autoreset_mode=AutoresetMode.NEXT_STEP)
    agent = _agent(config, tmp_path, env)
    assert list(agent.train(env, 4_000, seed=1))
    observations = np.array([[1.0], [-1.0]], np.float32)
    masks = np.array([[False, True, True]] * 2)
    assert agent.act(observations, masks, np.ones(2, bool), np.random.default_rng(0)).tolist() == [
        1,
        2,
    ]
    worth = agent._values_of(torch.from_numpy(observations))
    torch.testing.assert_close(
        worth[:, 1:], torch.tensor([[1.0, 0.0], [0.0, 1.0]]), atol=0.1, rtol=0
    )


class TwoOrTen(gym.Env):
    """One action pays 2 and the other 10: with rewards clipped to 1 they are worth the same."""

    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):  # type: ignore[no-untyped-def]
        return np.zeros(1, np.float32), (2.0, 10.0)[action], True, False, {}


def test_bare_defaults_learn_what_pays_most() -> None:
    torch.manual_seed(0)
    envs = SyncVectorEnv([TwoOrTen] * 8, autoreset_mode=AutoresetMode.NEXT_STEP)
    agent = DQN.for_env(envs)
    list(agent.learn(envs, steps=2_500, seed=0))
    assert agent.predict(np.zeros(1, np.float32)) == 1


def test_dqn_learns_while_the_environments_take_their_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Background(VectorWrapper):
        """Takes its steps apart, as ALE's vector environment does."""

        def send(self, actions: np.ndarray) -> None:
            order.append("sent")
            self.actions = actions

        def recv(self) -> tuple[Any, ...]:
            order.append("received")
            return self.env.step(self.actions)

    order: list[str] = []
    improve = DQN._improve
    monkeypatch.setattr(DQN, "_improve", lambda *_: (order.append("learnt"), improve(*_))[1])
    config = DQNConfig(num_envs=4, learning_starts=200, batch_size=8, hidden_size=8)
    envs: dict[str, VectorEnv] = {
        name: SyncVectorEnv([Bandit] * 4, autoreset_mode=AutoresetMode.NEXT_STEP)
        for name in ("plain", "background")
    }
    envs["background"] = Background(envs["background"])
    states = []
    for name, env in envs.items():
        agent = _agent(config, tmp_path / name, env)
        list(agent.train(env, 400, seed=0))
        states.append(agent.state().weights)
    assert order[-3:] == ["sent", "learnt", "received"]
    assert all(torch.equal(states[0][name], w) for name, w in states[1].items())


@pytest.mark.parametrize(("num_envs", "together"), [(4, 2), (3, 1), (1, 1), (12, 1)])
def test_the_targets_of_one_step_are_worked_out_at_once(
    tmp_path: Path, num_envs: int, together: int
) -> None:
    config = DQNConfig(
        num_envs=num_envs,
        train_frequency=2,
        learning_starts=100,
        batch_size=8,
        hidden_size=8,
        target_update_interval=5,
    )
    env = SyncVectorEnv([Bandit] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)
    agent = _agent(config, tmp_path, env)
    learn, values = agent._gradient_step, agent._target_values
    valued: list[tuple[torch.Tensor, torch.Tensor]] = []
    learnt = 0

    def values_watched(observations: torch.Tensor) -> torch.Tensor:
        assert len(observations) == together * config.batch_size
        result = values(observations)
        size = config.batch_size
        valued.extend(zip(observations.split(size), result.split(size), strict=True))
        return result

    def learn_watched(*batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal learnt
        learnt += 1
        following, next_q = valued.pop(0)
        assert torch.equal(batch[5], next_q)
        assert torch.equal(batch[7], following)
        return learn(*batch)

    agent._gradient_step, agent._target_values = learn_watched, values_watched
    list(agent.train(env, 400, seed=0))
    assert learnt == agent.updates > 100
    assert not valued


def test_a_running_average_of_the_network_acts_and_ships(tmp_path: Path) -> None:
    config = DQNConfig(
        num_envs=4, replay_capacity=4_000, learning_starts=200, hidden_size=8, tau=0.25
    )
    env = SyncVectorEnv([Bandit] * 4, autoreset_mode=AutoresetMode.NEXT_STEP)
    agent = _agent(config, tmp_path, env)
    expected = {name: w.clone() for name, w in agent.state().weights.items()}
    learn = agent._gradient_step

    def watched(*batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        result = learn(*batch)
        for name, w in agent.adam.weights.items():
            expected[name] = 0.75 * expected[name] + 0.25 * w
        return result

    agent._gradient_step = watched
    assert list(agent.train(env, 1_000, seed=1))
    shipped = agent.state().weights
    for name, w in expected.items():
        torch.testing.assert_close(shipped[name], w)
        assert not torch.equal(shipped[name], agent.adam.weights[name])
    other = _agent(config, None, env)
    other.load(AgentState(shipped))
    seen = torch.linspace(-1, 1, 5).unsqueeze(1)
    assert torch.equal(other._evaluation_values_of(seen), agent._evaluation_values_of(seen))


@pytest.mark.parametrize("tau", [0.0, 0.1])
def test_a_loaded_state_goes_on_bit_for_bit(tmp_path: Path, tau: float) -> None:
    config = DQNConfig(
        num_envs=2, replay_capacity=500, learning_starts=100, hidden_size=16, n_step=3,
        tau=tau,
    )  # fmt: skip
    env = SyncVectorEnv(
        [lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=AutoresetMode.NEXT_STEP
    )
    agent = _agent(config, tmp_path, env)
    list(agent.train(env, 1_000, seed=1))
    saved = agent.state()
    saved = type(saved)(
        {k: v.clone() for k, v in saved.weights.items()},
        {k: v.clone() for k, v in saved.tensors.items()},
        saved.numbers,
    )
    list(agent.train(env, 1_000, seed=2))
    other = _agent(config, tmp_path, env)
    other.load(saved)
    list(other.train(env, 1_000, seed=2))
    one, two = agent.state(), other.state()
    assert one.numbers == two.numbers
    for name in one.weights:
        assert torch.equal(one.weights[name], two.weights[name]), name
    for name in one.tensors:
        assert torch.equal(one.tensors[name], two.tensors[name]), name


class Sum(gym.Env):
    """What pays is the sum, modulo 3, of a number, a flag in a vector and the brightness of a picture."""

    observation_space = gym.spaces.Dict(
        number=gym.spaces.Discrete(3, start=1),
        flag=gym.spaces.Box(-1, 1, (2,)),
        picture=gym.spaces.Box(0, 1, (36, 36)),
    )
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
        super().reset(seed=seed)
        number, flag, bright = (int(self.np_random.integers(n)) for n in (3, 2, 2))
        self.sum = (number + flag + bright) % 3
        return {
            "number": number + 1,
            "flag": np.array([flag, 0], np.float32),
            "picture": np.full((36, 36), 0.2 + 0.6 * bright, np.float32),
        }, {}

    def step(self, action):  # type: ignore[no-untyped-def]
        reward = float(action == self.sum)
        return self.reset()[0], reward, True, False, {}


def _in_parts(**more: Any) -> tuple[DQN, SyncVectorEnv]:
    config = DQNConfig(
        learning_starts=200, epsilon_steps=1_000, hidden_size=32, learning_rate=3e-3, cnn="nips",
        target_update_interval=50, train_frequency=8, **more,
    )  # fmt: skip
    envs = SyncVectorEnv([Sum] * 8, autoreset_mode=AutoresetMode.NEXT_STEP)
    torch.manual_seed(0)
    return DQN.for_env(envs, config, total_steps=4_000), envs


def test_the_parts_of_an_observation_are_learnt_together() -> None:
    agent, envs = _in_parts(subtract_mean_image=True)
    list(agent.learn(envs, 4_000))
    env, right = Sum(), 0
    observation, _ = env.reset(seed=7)
    for _ in range(60):
        observation, reward, *_ = env.step(agent.predict(observation))
        right += reward
    assert right > 50  # 20 by chance


def test_several_parts_go_on_bit_for_bit(tmp_path: Path) -> None:
    (agent, envs), (other, _) = _in_parts(), _in_parts()
    agent.context = replace(agent.context, storage=tmp_path / "one")
    other.context = replace(other.context, storage=tmp_path / "two")
    list(agent.train(envs, 400, seed=1))
    state = agent.state()
    other.load(
        AgentState(
            {k: v.clone() for k, v in state.weights.items()},
            {k: v.clone() for k, v in state.tensors.items()},
            state.numbers,
        )
    )
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    states = []
    for each in (agent, other):
        list(each.train(envs, 200, seed=2))
        states.append(each.state())
    assert states[0].numbers == states[1].numbers
    for part in ("weights", "tensors"):
        for key, tensor in getattr(states[0], part).items():
            assert torch.equal(tensor, getattr(states[1], part)[key]), key


def test_a_million_states_take_little_memory(tmp_path: Path) -> None:
    space = ObservationFlattener(gym.spaces.Discrete(1_000_000)).space
    context = RunContext(8, 10_000, 10**7, storage=tmp_path)
    actions = gym.spaces.Discrete(4)
    assert DQN.storage_bytes(space, actions, DQNConfig(), context) < 3e6
    agent = DQN(space, actions, DQNConfig(), context)
    assert sum(weight.numel() for weight in agent.network.parameters()) < 1e6


def test_continuous_actions_are_refused_in_a_sentence() -> None:
    space = gym.spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match="discrete"):
        DQN(space, space, DQNConfig(), RunContext(8, 100, 100))


def test_more_actions_than_the_memory_can_number_are_refused() -> None:
    space = gym.spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match="65,536 actions at most, and there are 70,000"):
        DQN(space, gym.spaces.Discrete(70_000), DQNConfig(), RunContext(8, 100, 100))


@pytest.mark.parametrize("option", ["layer_norm", "subtract_mean_image"])
def test_only_pictures_are_normalised(option: str) -> None:
    space = gym.spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match=f"{option} needs images"):
        DQN(space, gym.spaces.Discrete(2), DQNConfig(**{option: True}), RunContext(8, 100, 100))


@pytest.mark.parametrize(
    "wrong",
    [{"n_step": 0}, {"discount": 1.5}, {"batch_size": -1}, {"value_bins": 1}, {"value_limit": 0.0}],
)
def test_a_senseless_hyperparameter_is_refused(wrong: dict[str, float]) -> None:
    space = gym.spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DQN(space, gym.spaces.Discrete(2), DQNConfig(**wrong), RunContext(8, 100, 100))  # type: ignore[arg-type]
