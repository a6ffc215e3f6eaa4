"""Dyna-Q's model knows its world on the average, and what it imagines is worth learning from."""

import math
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.agent import AgentState, RunContext
from agents.dyna_q import MAX_LOG_STD, MIN_LOG_STD, DynaQ, DynaQConfig, WorldModel, soft_bounds
from fathom.environments import EnvironmentSpec, resolve
from fathom.evaluation import evaluate, evaluation_seed

ASK, FIRST, SECOND = range(3)
CONFIG = DynaQConfig(
    num_envs=8, replay_capacity=2_000, learning_starts=64, train_frequency=8, batch_size=32, planning=1, hidden_size=32,
    learning_rate=3e-3, target_update_interval=50, epsilon_steps=200, epsilon_end=0.3, reward_clip=0.0,
    model_hidden=32, model_batch_size=64, model_learning_rate=1e-2, model_updates=2,
)  # fmt: skip


def _world() -> EnvironmentSpec:
    return resolve(f"{Path(__file__).with_name('asking.py')}:Asking")


def _trained(config: DynaQConfig, storage: Path, steps: int, more: int = 0) -> DynaQ:
    torch.manual_seed(0)
    world = _world()
    context = RunContext(config.num_envs, steps, steps + more, storage=storage)
    agent = DynaQ(*world.spaces(), config, context)
    env = world.make_vector(config.num_envs, training=True)
    reports = list(agent.train(env, steps, seed=1))
    env.close()
    assert math.isfinite(reports[-1]["model_loss"])
    return agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> DynaQ:
    return _trained(CONFIG, tmp_path_factory.mktemp("replay"), 1_600)


def test_the_model_knows_what_may_be_answered_and_how_likely(agent: DynaQ) -> None:
    following, rewards, ends, masks = agent._predict_outcome(torch.zeros(1, 2), torch.tensor([ASK]))
    assert following[0].tolist() == pytest.approx([0.5, 0.5], abs=0.15), "either may be wanted"
    assert rewards.tolist() == pytest.approx([-0.1], abs=0.2)
    assert ends.tolist() == pytest.approx([0], abs=0.1)
    assert masks.all()


def test_giving_ends_the_simulated_episode_well_or_badly(agent: DynaQ) -> None:
    wanted = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    given = torch.tensor([FIRST, SECOND, FIRST, SECOND])
    _, rewards, ends, _ = agent._predict_outcome(wanted, given)
    assert rewards.tolist() == pytest.approx([1, -1, -1, 1], abs=0.2)
    assert ends.tolist() == pytest.approx([1, 1, 1, 1], abs=0.1)


def test_simulated_ends_discount_what_comes_after(agent: DynaQ) -> None:
    replay, rng = agent._open_replay(), np.random.default_rng(0)
    simulated = agent._simulate(replay, rng)
    assert simulated is not None
    _, _, ends, _ = agent._predict_outcome(simulated.observations[0], simulated.actions)
    expected = CONFIG.discount * (1 - ends)
    assert simulated.discounts.tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert simulated.discounts[simulated.actions == ASK].min() > 0.8
    assert simulated.discounts[simulated.actions != ASK].max() < 0.2


def test_dyna_q_learns_to_ask_and_to_give(agent: DynaQ) -> None:
    assert evaluate(agent, _world(), 32, evaluation_seed()).mean == pytest.approx(0.9)


def test_what_is_simulated_never_enters_the_memory_of_what_was_real(tmp_path: Path) -> None:
    agent = _trained(replace(CONFIG, planning=3), tmp_path, 160)
    real = (160 - 64) // 8
    assert agent.model_updates == 2 * real
    assert agent.updates == 4 * real
    assert agent._open_replay().rows == 160 // 8 + 1, (
        "a row a step, and one that closes the segment"
    )


def _copy(state: AgentState) -> AgentState:
    return AgentState(
        {name: t.clone() for name, t in state.weights.items()},
        {name: t.clone() for name, t in state.tensors.items()},
        dict(state.numbers),
    )


def test_a_loaded_state_goes_on_bit_for_bit(tmp_path: Path) -> None:
    agent = _trained(CONFIG, tmp_path, 200, more=200)
    saved = _copy(agent.state())
    env = _world().make_vector(CONFIG.num_envs, training=True)
    list(agent.train(env, 200, seed=2))
    torch.manual_seed(7)
    other = DynaQ(*_world().spaces(), CONFIG, agent.context)
    other.load(saved)
    list(other.train(env, 200, seed=2))
    env.close()
    one, two = agent.state(), other.state()
    assert one.numbers == two.numbers
    assert any(name.startswith("model.") for name in one.tensors)
    for name, tensor in (one.weights | one.tensors).items():
        assert torch.equal(tensor, (two.weights | two.tensors)[name]), name


def test_an_agent_that_only_acts_needs_no_model_of_a_checkpoint(agent: DynaQ) -> None:
    other = DynaQ(*_world().spaces(), CONFIG, RunContext(8, 100, 100))
    other.load(AgentState(agent.state().weights))
    seen = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    arguments = (seen, None, np.ones(3, bool))
    one = agent.act(*arguments, np.random.default_rng(0))
    assert one.tolist() == other.act(*arguments, np.random.default_rng(0)).tolist()


def test_pictures_are_not_simulated() -> None:
    pictures = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    with pytest.raises(ValueError, match="dqn needs no model"):
        DynaQ(pictures, gym.spaces.Discrete(3), DynaQConfig(), RunContext(8, 100, 100))


@pytest.mark.parametrize("wrong", [{"model_updates": 0}, {"planning": -1}, {"model_hidden": 0}])
def test_a_senseless_hyperparameter_is_refused(wrong: dict[str, int]) -> None:
    space = gym.spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DynaQ(space, gym.spaces.Discrete(2), DynaQConfig(**wrong), RunContext(8, 100, 100))  # type: ignore[arg-type]


def test_log_deviations_keep_within_their_bounds_and_their_gradient() -> None:
    inside = (MIN_LOG_STD + MAX_LOG_STD) / 2
    far = [MIN_LOG_STD - 5, MIN_LOG_STD, inside, MAX_LOG_STD, MAX_LOG_STD + 5]
    x = torch.tensor(far, requires_grad=True)
    bounded = soft_bounds(x, MIN_LOG_STD, MAX_LOG_STD)
    assert (bounded > MIN_LOG_STD - 1e-6).all()
    assert (bounded < MAX_LOG_STD + 0.01).all()
    assert (bounded.diff() > 0).all()
    assert bounded[2].item() == pytest.approx(inside, abs=0.1)
    bounded.sum().backward()
    assert x.grad is not None
    assert (x.grad > 1e-3).all()


def test_a_deviation_at_its_bound_is_learnt_back() -> None:
    model = WorldModel(size=2, num_actions=2, hidden_size=8)
    with torch.no_grad():
        model.log_deviations.fill_(MIN_LOG_STD - 3)
    optimizer = torch.optim.Adam([model.log_deviations], 0.05, betas=(0.9, 0.9))
    means, outcomes = torch.zeros(64, 6), torch.randn(64, 6)  # they vary by 1
    for _ in range(400):
        _, variances = model(torch.zeros(64, 2), torch.zeros(64, 2))
        loss = torch.nn.functional.gaussian_nll_loss(means, outcomes, variances.expand_as(means))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(variances.sqrt(), outcomes.std(dim=0), rtol=0.15, atol=0)
