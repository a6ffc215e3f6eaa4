"""REINFORCE, A2C and PPO on worlds so small that a minute shows whether they learn."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents import load_agent
from agents.agent import Agent, RunContext, generator
from envs.observations import ObservationFlattener
from envs.vector import Transitions

ALGORITHMS: dict[str, dict[str, Any]] = {
    "reinforce": {"num_envs": 8, "learning_rate": 1e-2},
    "a2c": {"num_envs": 8, "learning_rate": 3e-3},
    "ppo": {"num_envs": 8, "rollout_steps": 16, "num_minibatches": 2, "learning_rate": 3e-3},
}


class Target(gym.Env[np.ndarray, np.ndarray]):
    """The nearer the action to the observation, the better; there is one step to it."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space: gym.Space = spaces.Box(-1, 1, (1,))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.wanted = self.np_random.uniform(-0.8, 0.8, 1).astype(np.float32)
        return self.wanted, {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        return self.wanted, -float(abs(action - self.wanted).sum()), True, False, {}


class Masked(gym.Env[np.ndarray, int]):
    """The action that the observation names pays, among those that happen to be legal."""

    observation_space = spaces.Box(0, 1, (4,))
    action_space = spaces.Discrete(4, start=3)

    def _next(self) -> Any:
        self.wanted = int(self.np_random.integers(4))
        self.legal = self.np_random.random(4) < 0.5
        self.legal[self.wanted] = True
        return np.eye(4, dtype=np.float32)[self.wanted], {"action_mask": self.legal.astype(np.int8)}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.left = 5
        return self._next()

    def step(self, action: int) -> Any:
        assert self.legal[action - 3], "an illegal action was taken"
        reward = float(action - 3 == self.wanted)
        self.left -= 1
        observation, info = self._next()
        return observation, reward, self.left == 0, False, info


class Recall(gym.Env[np.ndarray, int]):
    """What the first observation shows has to be said in the third step."""

    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.sign, self.time = int(self.np_random.integers(2)), 0
        return np.float32([2 * self.sign - 1, 0]), {}

    def step(self, action: int) -> Any:
        self.time += 1
        over = self.time == 3
        return np.float32([0, over]), float(over and action == self.sign), over, False, {}


class Pieces(gym.Env[dict, np.ndarray]):
    """Two answers at once, of which each part of the observation tells one."""

    observation_space = spaces.Dict(
        picture=spaces.Box(0, 255, (3, 36, 36), np.uint8), number=spaces.Discrete(3)
    )
    action_space = spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.bright, self.number = int(self.np_random.integers(2)), int(self.np_random.integers(3))
        picture = np.full((3, 36, 36), 200 * self.bright, np.uint8)
        return {"picture": picture, "number": self.number}, {}

    def step(self, action: np.ndarray) -> Any:
        reward = float(action[0] == self.bright) + float(action[1] == self.number)
        observation, info = self.reset()
        return observation, reward, True, False, info


class Answers(gym.Env[dict, dict]):
    """An action of many parts, each of which has to say what the observation says."""

    observation_space = spaces.Dict(number=spaces.Discrete(3), bits=spaces.MultiBinary((2, 2)))
    action_space = spaces.Dict(
        both=spaces.Tuple([spaces.Discrete(3, start=1), spaces.MultiBinary((2, 2))]),
        level=spaces.Box(0, 1, (1,)),
        whole=spaces.Box(-1, 1, (1, 1), np.int8),
    )

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.seen = {
            "number": np.int64(self.np_random.integers(3)),
            "bits": self.np_random.integers(0, 2, (2, 2), np.int8),
        }
        return self.seen, {}

    def step(self, action: dict) -> Any:
        assert self.action_space.contains(action)
        number, bits = action["both"]
        right = [
            number - 1 == self.seen["number"],
            action["whole"].item() == self.seen["number"] - 1,
        ]
        reward = np.mean([*right, *(bits == self.seen["bits"]).ravel()])
        reward -= abs(float(action["level"][0]) - 0.5)
        return self.reset()[0], float(reward), True, False, {}


class Lamp(gym.Env[np.ndarray, int]):
    """A light in the left or the right half of two pictures of floats from 0 to 255, in four dimensions."""

    observation_space = spaces.Box(0, 255, (2, 40, 40, 3))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.right, row = int(self.np_random.integers(2)), int(self.np_random.integers(32))
        column = int(self.np_random.integers(12)) + 20 * self.right
        picture = np.full((2, 40, 40, 3), 60, np.float32)
        picture[:, row : row + 8, column : column + 8] = 230
        return picture, {}

    def step(self, action: int) -> Any:
        reward = float(action == self.right)
        return self.reset()[0], reward, True, False, {}


def build(algorithm: str, world: type[gym.Env], steps: int, **settings: Any) -> Agent:
    torch.manual_seed(0)
    agent_class = load_agent(algorithm)
    config = agent_class.Config(**(ALGORITHMS[algorithm] | settings))
    space = ObservationFlattener(world.observation_space).space
    context = RunContext(config.num_envs, steps, steps)
    return agent_class(space, world.action_space, config, context)


def vector(world: type[gym.Env]) -> SyncVectorEnv:
    return SyncVectorEnv([world] * 8, autoreset_mode=AutoresetMode.NEXT_STEP)


def learn(
    algorithm: str, world: type[gym.Env], steps: int, **settings: Any
) -> tuple[Agent, SyncVectorEnv]:
    agent, env = build(algorithm, world, steps, **settings), vector(world)
    assert list(agent.train(env, steps, seed=0))[-1]["steps"] >= steps
    return agent, env


def score(agent: Agent, env: SyncVectorEnv, steps: int = 60) -> float:
    """Mean reward of the valid steps."""
    stream, rng = Transitions(env), np.random.default_rng(0)
    stream.reset(123)
    rewards = []
    for _ in range(steps):
        actions = agent.act(stream.observations, stream.action_masks, stream.episode_starts, rng)
        step = stream.step(actions)
        rewards.append(step.rewards[step.valid])
    return float(np.concatenate(rewards).mean())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_learns_among_legal_actions(algorithm: str) -> None:
    assert score(*learn(algorithm, Masked, 5_000)) > 0.95


@pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
def test_it_learns_continuous_actions(algorithm: str) -> None:
    agent, env = learn(
        algorithm, Target, 8_000, learning_rate=1e-2, entropy_coefficient=0.0, discount=0.0
    )
    assert score(agent, env) > -0.15  # −0.8 at random, −0.4 for the middle


def test_with_memory_it_recalls_and_without_it_guesses() -> None:
    agent, env = learn("ppo", Recall, 6_000, memory="lstm", learning_rate=1e-2)
    assert score(agent, env) > 0.95 / 3
    assert 0.3 / 3 < score(*learn("ppo", Recall, 2_000), steps=400) < 0.7 / 3


def test_it_learns_from_a_dictionary_to_answer_twice() -> None:
    settings: dict[str, Any] = {"cnn": "nips", "hidden_size": 32, "subtract_mean_image": True}
    agent, env = learn("ppo", Pieces, 4_000, **settings)
    assert score(agent, env) > 1.9
    other = build("ppo", Pieces, 4_000, **settings)
    other.load(agent.state())
    assert score(other, env) > 1.9  # the mean picture is kept


def test_it_learns_actions_of_many_parts() -> None:
    agent, env = learn("ppo", Answers, 6_000, entropy_coefficient=0.0, learning_rate=1e-2)
    assert score(agent, env) > 0.8  # 0.2 at random
    agent.env_observation_space = Answers.observation_space
    one = agent.predict(Answers.observation_space.sample())
    assert Answers.action_space.contains(one)


def test_it_learns_from_pictures_of_floats_in_four_dimensions() -> None:
    agent, env = learn(
        "ppo", Lamp, 2_000, cnn="nips", hidden_size=32, learning_rate=1e-3, discount=0.0
    )
    assert score(agent, env) > 0.95


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_first_rollout_shows_the_mean_picture_and_teaches_nothing_else(algorithm: str) -> None:
    agent, env = build(algorithm, Pieces, 200, cnn="nips", subtract_mean_image=True), vector(Pieces)

    def changes(steps: int) -> set[str]:
        before = {name: weight.clone() for name, weight in agent.state().weights.items()}
        list(agent.train(env, steps, seed=0))
        after = agent.state().weights
        return {name for name in before if not torch.equal(before[name], after[name])}

    mean = "encoder.parts.0.mean_picture"
    assert changes(8) == {mean}  # a step in each environment
    assert 0 < agent.state().weights[mean].max() < 200 / 255  # some pictures are bright, some dark
    learnt = changes(160)
    assert learnt
    assert mean not in learnt


def test_pictures_are_centred_where_there_are_some() -> None:
    with pytest.raises(ValueError, match="subtract_mean_image needs images"):
        build("ppo", Recall, 100, subtract_mean_image=True)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("memory", ["none", "lstm"])
def test_a_loaded_state_goes_on_bit_for_bit(algorithm: str, memory: str) -> None:
    settings = {"memory": memory, "normalize_observations": True, "normalize_rewards": True}
    one, env = learn(algorithm, Recall, 400, **settings)
    saved = one.state()
    saved = type(saved)(
        {k: v.clone() for k, v in saved.weights.items()},
        {k: v.clone() for k, v in saved.tensors.items()},
        saved.numbers,
    )
    other = build(algorithm, Recall, 400, **settings)
    other.load(saved)
    for agent in (one, other):
        list(agent.train(env, 400, seed=9))
    left, right = one.state(), other.state()
    assert left.numbers == right.numbers
    for ours, theirs in ((left.weights, right.weights), (left.tensors, right.tensors)):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert torch.equal(ours[name], theirs[name]), name


def test_minibatches_that_do_not_share_out_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="num_minibatches must divide the 8 environments"):
        learn("ppo", Recall, 100, memory="gru", num_minibatches=3)


def test_one_minibatch_of_sequences_is_learnt_from_too() -> None:
    agent, env = learn("ppo", Recall, 8_000, memory="gru", num_minibatches=1, learning_rate=1e-2)
    assert score(agent, env) > 0.95 / 3


def test_no_agent_draws_what_an_environment_of_the_same_seed_draws() -> None:
    env = Recall()
    env.reset(seed=5)
    drawn = env.np_random.random(8)
    assert not np.isin(generator(5).random(100), drawn).any()
    np.testing.assert_array_equal(generator(5).random(8), generator(5).random(8))


def test_a_rollout_narrower_than_its_minibatches_gives_no_empty_ones() -> None:
    agent = build("ppo", Recall, 17, num_envs=1, rollout_steps=16, num_minibatches=4, epochs=1)
    env = SyncVectorEnv([Recall], autoreset_mode=AutoresetMode.NEXT_STEP)
    list(agent.train(env, 17, seed=0))
    assert int(agent.state().numbers["updates"]) == 4 + 1
