"""An agent without a run: for_env, learn and predict."""

import gc
import shutil
import threading
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from agents import load_agent
from agents.agent import Agent, RunContext
from agents.dqn import DQN, DQNConfig
from agents.parts.compiling import LONG_TRAINING
from agents.ppo import PPO, PPOConfig
from agents.reinforce import REINFORCE
from agents.scripted import Scripted
from envs import atari
from envs.vector import Transitions

CARTPOLE: dict[type[Agent], Any] = {
    PPO: PPOConfig(
        rollout_steps=64, epochs=8, learning_rate=2e-3, discount=0.98, gae_lambda=0.9,
        entropy_coefficient=0.0,
    ),
    DQN: DQNConfig(
        learning_rate=1e-3, batch_size=64, hidden_size=64, epsilon_steps=3_000, learning_starts=500,
        target_update_interval=100,
    ),
}  # fmt: skip


def cartpole(num_envs: int = 8) -> VectorEnv:
    return gym.make_vec("CartPole-v1", num_envs)


def mean_return(agent: Agent, episodes: int = 10) -> float:
    env: gym.Env = gym.make("CartPole-v1")
    returns = []
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(agent.predict(observation))
            total, done = total + float(reward), terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_it_learns_cartpole_from_python(kind: type[Agent]) -> None:
    torch.manual_seed(0)
    envs = cartpole()
    agent = kind.for_env(envs, CARTPOLE[kind])
    reports = list(agent.learn(envs, steps=12_000))
    assert reports[-1]["steps"] == agent.steps == 12_000
    assert mean_return(agent) > 80  # 22 at random


def test_learning_goes_on_in_a_second_call(tmp_path: Path) -> None:
    envs = cartpole(4)
    agent = DQN.for_env(envs, DQNConfig(learning_starts=200, hidden_size=16), storage=tmp_path)
    list(agent.learn(envs, steps=1_000))
    assert agent.context.total_steps == 1_000
    before = agent.state().weights["encoder.first.weight"].clone()
    (*_, report) = agent.learn(envs, steps=1_000)
    assert report["steps"] == 2_000
    assert agent.context.total_steps == 2_000
    assert not np.array_equal(before, agent.state().weights["encoder.first.weight"])
    assert agent._open_replay().rows == 2_000 // 4 + 2, "a row a step, and one that ends each call"


def test_the_same_calls_give_the_same_agent() -> None:
    ends = []
    for _ in range(2):
        torch.manual_seed(0)
        envs = cartpole(2)
        agent = PPO.for_env(envs, PPOConfig(rollout_steps=32))
        list(agent.learn(envs, steps=128, seed=3))
        list(agent.learn(envs, steps=128, seed=3))
        ends.append(agent.state().weights)
    assert all(torch.equal(ends[0][name], weight) for name, weight in ends[1].items())


def test_schedules_go_over_the_steps_that_are_known() -> None:
    envs = cartpole(2)
    known = PPO.for_env(envs, total_steps=5_000)
    list(known.learn(envs, steps=256))
    assert known.context.total_steps == 5_000


def test_stopping_early_leaves_a_whole_memory() -> None:
    envs = cartpole(4)
    agent = DQN.for_env(envs, DQNConfig(learning_starts=200, hidden_size=16))
    for metrics in agent.learn(envs, steps=10_000):
        if metrics["steps"] >= 2_000:
            break
    gc.collect()
    replay = agent._open_replay()
    last = replay.rows - 1
    assert not replay._valid[last].any(), "the row that ends a segment"
    assert (replay._truncated | replay._terminated | ~replay._valid)[last - 1].all()
    assert list(agent.learn(envs, steps=400))[-1]["steps"] == agent.steps


def test_predict_takes_one_observation_or_a_batch() -> None:
    envs = cartpole(2)
    agent = PPO.for_env(envs)
    observations, _ = envs.reset(seed=0)
    actions = agent.predict(observations)
    assert actions.shape == (2,)
    for observation, action in zip(observations, actions, strict=True):
        single = agent.predict(observation)
        assert type(single) is int
        assert single == action
    assert agent.predict(list(map(float, observations[0]))) == actions[0]
    for wrong in (np.zeros(3), np.zeros((2, 3)), 1.0):
        with pytest.raises(ValueError, match=r"has the shape \(4,\), and a batch"):
            agent.predict(wrong)


class Parts(gym.Env):
    """A dictionary of a number and a picture; actions are vectors."""

    observation_space = spaces.Dict(
        number=spaces.Discrete(3), picture=spaces.Box(0, 255, (1, 36, 36), np.uint8)
    )
    action_space = spaces.Box(-2, 2, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


def vector(kind: type[gym.Env], n: int = 2) -> SyncVectorEnv:
    return SyncVectorEnv([kind] * n, autoreset_mode=AutoresetMode.NEXT_STEP)


def test_predict_takes_dictionaries() -> None:
    envs = vector(Parts)
    agent = PPO.for_env(envs, PPOConfig(cnn="nips", hidden_size=8))
    batch, _ = envs.reset(seed=0)
    actions = agent.predict(batch)
    assert actions.shape == (2, 2)
    for i in range(2):
        observation = {key: part[i] for key, part in batch.items()}
        action = agent.predict(observation)
        assert Parts.action_space.contains(action)
        np.testing.assert_allclose(action, actions[i], atol=1e-6)
    with pytest.raises(ValueError, match="is not one of Dict"):
        agent.predict({"number": 1})


class Masked(gym.Env):
    """Only one of three actions is legal."""

    observation_space = spaces.Box(0, 1, (2,))
    action_space = spaces.Discrete(3, start=5)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {"action_mask": np.int8([0, 1, 0])}

    def step(self, action: int) -> Any:
        assert action == 6
        return np.zeros(2, np.float32), 0.0, False, False, {"action_mask": np.int8([0, 1, 0])}


@pytest.mark.parametrize("shape", [(2,), (4,), (1, 3), (3, 1), ()])
def test_predict_refuses_a_mask_of_another_shape(shape: tuple[int, ...]) -> None:
    agent = PPO.for_env(vector(Masked))
    with pytest.raises(ValueError, match=r"action_mask has the shape .*, not \(3,\)"):
        agent.predict(np.zeros(2), np.ones(shape, bool))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 2), (6,)])
def test_predict_refuses_masks_of_another_batch(shape: tuple[int, ...]) -> None:
    agent = PPO.for_env(vector(Masked))
    with pytest.raises(ValueError, match=r"action_mask has the shape .*, not \(2, 3\)"):
        agent.predict(np.zeros((2, 2)), np.ones(shape, bool))


def test_predict_refuses_a_mask_for_actions_that_are_vectors() -> None:
    agent = PPO.for_env(vector(Parts), PPOConfig(cnn="nips", hidden_size=8))
    with pytest.raises(ValueError, match="action_mask needs numbered actions"):
        agent.predict(Parts.observation_space.sample(), np.ones(2, bool))


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1)])
def test_predict_refuses_episode_starts_of_another_batch(shape: tuple[int, ...]) -> None:
    agent = PPO.for_env(cartpole(2))
    with pytest.raises(ValueError, match=r"episode_start has the shape .*, not \(\) or \(2,\)"):
        agent.predict(np.zeros((2, 4), np.float32), episode_start=np.ones(shape, bool))


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_predict_takes_action_masks(kind: type[Agent]) -> None:
    agent = kind.for_env(vector(Masked))
    assert agent.predict(np.zeros(2), action_mask=np.array([0, 0, 1])) == 7
    masks = np.array([[1, 0, 0], [0, 1, 0]], bool)
    assert agent.predict(np.zeros((2, 2), np.float32), masks).tolist() == [5, 6]


def test_a_recurrent_policy_remembers_only_when_told_to() -> None:
    envs = cartpole(1)
    agent = PPO.for_env(envs, PPOConfig(memory="gru", num_minibatches=1))
    seen = []
    forward = agent.policy.forward_policy
    agent.policy.forward_policy = lambda *given: seen.append(forward(*given)) or seen[-1]  # type: ignore
    observation = np.ones(4, np.float32)
    for episode_start in (True, True, False):
        agent.predict(observation, episode_start=episode_start)
    first, again, later = (output.memory.numpy() for output in seen)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, later)


class FiveActions(gym.Env):
    """CartPole's observations with other actions."""

    observation_space = gym.make("CartPole-v1").observation_space
    action_space = spaces.Discrete(5)


def test_learn_refuses_other_actions() -> None:
    agent = PPO.for_env(cartpole(2))
    with pytest.raises(
        ValueError, match=r"built for actions of Discrete\(2\), not of Discrete\(5\)"
    ):
        next(agent.learn(vector(FiveActions), steps=100))


@pytest.mark.parametrize("steps", [0, -1])
def test_learn_refuses_no_steps(steps: int) -> None:
    agent = PPO.for_env(cartpole(2))
    with pytest.raises(ValueError, match=f"steps must be at least 1, not {steps}"):
        next(agent.learn(cartpole(2), steps=steps))


@pytest.mark.parametrize("name", ["dqn", "sb3-dqn"])
def test_a_replay_memory_needs_a_storage_folder(name: str) -> None:
    envs = cartpole(2)
    kind = load_agent(name)
    agent = kind(
        envs.single_observation_space,
        envs.single_action_space,
        kind.Config(num_envs=2),
        RunContext(2, 100, 100),
    )
    with pytest.raises(ValueError, match="needs a storage folder"):
        next(agent.train(envs, 100, seed=0))


def test_what_for_env_and_learn_cannot_take_they_say() -> None:
    with pytest.raises(ValueError, match="agents learn in a vector environment, and this is none"):
        PPO.for_env(gym.make("CartPole-v1"))  # type: ignore[arg-type]
    same_step = SyncVectorEnv([Masked], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match=r"autoreset_mode=AutoresetMode\.NEXT_STEP"):
        PPO.for_env(same_step)
    with pytest.raises(ValueError, match=r"AutoresetMode\.NEXT_STEP"):
        Transitions(same_step)
    with pytest.raises(ValueError, match="needs an environment with an expert_action"):
        Scripted.for_env(cartpole(2))
    agent = PPO.for_env(cartpole(2))
    with pytest.raises(
        ValueError, match="built for 2 environments, and this vector environment has 3"
    ):
        list(agent.learn(cartpole(3), steps=100))
    with pytest.raises(ValueError, match="built for observations of Box"):
        list(agent.learn(vector(Masked), steps=100))
    with pytest.raises(ValueError, match="num_envs must be at least 1, not 0"):
        PPO.for_env(cartpole(2)).context.__class__(0, 1, 1)


def test_it_learns_in_a_thread_and_leaves_no_folder() -> None:
    folders: list[Path] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            envs = cartpole(2)
            agent = DQN.for_env(envs, DQNConfig(learning_starts=100, hidden_size=8))
            list(agent.learn(envs, steps=400))
            assert agent.context.storage is not None
            folders.append(agent.context.storage)
            assert folders[0].is_dir()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors
    gc.collect()
    assert not folders[0].exists()


class Doubles(SyncVectorEnv):
    """Its steps return float64, whatever the space and `reset` say."""

    def step(self, actions: np.ndarray) -> Any:
        observations, *others = super().step(actions)
        return observations.astype(np.float64), *others


@pytest.mark.skipif(shutil.which("g++") is None, reason="nothing is compiled")
def test_a_compiled_agent_learns_from_an_environment_that_returns_float64() -> None:
    envs = Doubles([lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    config = DQNConfig(hidden_size=8, learning_starts=100, epsilon_start=0.0, epsilon_end=0.0)
    agent = DQN.for_env(envs, config, total_steps=LONG_TRAINING)
    assert list(agent.learn(envs, steps=64))[-1]["steps"] == agent.steps == 64
    assert agent._compiled


def test_scripted_and_reinforce_learn_too() -> None:
    envs = gym.make_vec("Fathom/Dialogue-v0", 4)
    agent = Scripted.for_env(envs)
    assert list(agent.learn(envs, steps=400))[-1]["episode_return"] > 0
    envs = cartpole(4)
    assert list(REINFORCE.for_env(envs).learn(envs, steps=400))[-1]["steps"] >= 400


def test_frames_of_a_stack_are_stored_once() -> None:
    envs = atari.make_vector("ALE/Pong-v5", 2, atari.AtariConfig(), training=True)
    agent = DQN.for_env(envs, DQNConfig(cnn="nips", hidden_size=8), total_steps=1_000)
    assert agent.context.frame_stack == 4
    assert agent._open_replay()._observations[0].shape[2:] == (84, 84)
    (observation, _) = envs.reset(seed=0)
    assert agent.predict(observation).shape == (2,)
    envs.close()


def test_a_hyperparameter_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="lr"):
        DQNConfig(lr=1e-3)  # type: ignore[call-arg]


def test_the_config_of_another_agent_is_refused() -> None:
    with pytest.raises(ValueError, match="DQN takes a DQNConfig"):
        DQN.for_env(gym.make_vec("CartPole-v1", 2), PPOConfig())
