"""A planner: tree search in copies of the true environment; nothing is learnt.

Before every step the environment is copied, and simulations try actions in the copies: UCT (Kocsis & Szepesvári
2006), whose leaves are valued by random rollouts, or PUCT (Silver et al. 2017) and Gumbel search (Danihelka et al.
2022), which follow the policy and the value of a trained agent, the prior. Where there is chance the copies have luck of
their own, so what an action leads to is tried, not foreseen.

What can be copied, and what is particular here: docs/algorithms/planner.md.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass as plain_dataclass
from time import perf_counter
from typing import Annotated, Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass

from agents.agent import (
    STRICT,
    Agent,
    AgentState,
    Metrics,
    NumEnvs,
    RunContext,
    Size,
    UnitInterval,
    UnsuitableEnvironmentError,
    episode_metrics,
    generator,
)
from agents.parts.policy import Policy
from agents.search.mcts import gumbel, puct, uct
from envs.observations import FlatObservation, ObservationFlattener, batch_of_one
from envs.vector import Transitions


@dataclass(frozen=True, config=STRICT)
class PlannerConfig:
    """Hyperparameters of the search."""

    num_envs: NumEnvs = 1
    """Environments stepped together; each searches by itself."""
    search: Literal["uct", "puct", "gumbel"] = "uct"
    """The rule that chooses actions in the tree."""
    simulations: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Simulations before every step."""
    prior: str = ""
    """Run whose policy and values puct and gumbel follow; rollouts of random actions value leaves if empty."""
    rollout_length: Size = 100
    """Longest rollout, in agent steps; rewards after it are not counted."""
    exploration: NonNegativeFloat = math.sqrt(2)
    """Weight of what was tried seldom in uct and puct, in the unit of returns: √2 suits returns from 0 to 1."""
    discount: UnitInterval = 0.99
    """Discount factor γ of one agent step."""


@plain_dataclass
class Situation:
    """A copy of the environment, and where it is."""

    env: gym.Env
    observation: FlatObservation
    """What was observed last, flat, (1, …)."""
    legal: np.ndarray
    """(n,) numbers of the legal actions, from 0; none if the episode is over."""


class Copies:
    """The true environment as the model of a search (`agents.search.mcts.Model`)."""

    def __init__(
        self,
        config: PlannerConfig,
        observation_space: gym.Space,
        action_space: spaces.Discrete,
        prior: Agent | None,
        rng: np.random.Generator,
    ) -> None:
        self.discount = config.discount
        self._rollout_length = config.rollout_length
        self._space, self._flatten = observation_space, ObservationFlattener(observation_space)
        self._actions, self._first = np.arange(int(action_space.n)), int(action_space.start)
        self._prior, self._rng = prior, rng

    def actions(self, state: Situation) -> list[int]:
        return state.legal.tolist()

    def step(self, state: Situation, action: int) -> tuple[Situation, float]:
        env = copy_of(state.env, self._rng)
        observation, reward, terminated, truncated, info = env.step(action + self._first)
        flat = self._flatten(batch_of_one(self._space, observation))
        legal = self._legal(info, bool(terminated or truncated))
        return Situation(env, flat, legal), float(reward)

    def evaluate(self, state: Situation) -> tuple[np.ndarray, float]:
        if self._prior is None:
            return np.full(len(state.legal), 1 / len(state.legal)), self._rollout(state)
        policy, value = policy_and_value(self._prior, state.observation)
        policy = policy[state.legal] + 1e-9  # the search takes logarithms
        return policy / policy.sum(), value

    def outcome(self, state: Situation) -> Hashable:
        """What tells outcomes of chance apart: all that is observed, and whether the episode is over."""
        flat = state.observation
        parts = flat if isinstance(flat, tuple) else (flat,)
        return (len(state.legal) > 0, *(part.tobytes() for part in parts))

    def _legal(self, info: dict[str, Any], over: bool) -> np.ndarray:
        if over:
            return self._actions[:0]
        mask = info.get("action_mask")
        if mask is None or not np.any(mask):
            return self._actions
        return self._actions[np.asarray(mask, bool)]

    def _rollout(self, state: Situation) -> float:
        """The discounted return of random actions from here."""
        env, legal = copy_of(state.env, self._rng), state.legal
        total, weight = 0.0, 1.0
        for _ in range(self._rollout_length):
            action = legal[int(self._rng.random() * len(legal))]
            _, reward, terminated, truncated, info = env.step(action + self._first)
            total += weight * float(reward)
            weight *= self.discount
            legal = self._legal(info, bool(terminated or truncated))
            if not len(legal):
                break
        return total


def policy_and_value(agent: Agent, observations: FlatObservation) -> tuple[np.ndarray, float]:
    """What a trained agent makes of one situation: probabilities (actions,) and the value.

    Of an agent with values of actions the probabilities are the softmax of these over their standard deviation.
    """
    parts = observations if isinstance(observations, tuple) else (observations,)
    policy = getattr(agent, "policy", None)
    if isinstance(policy, Policy):
        output = policy.output_of(observations)
        logits, value = output.distribution_params[0].double(), float(output.values[0])
    else:
        with torch.no_grad():
            values = agent.scores(tuple(torch.from_numpy(part) for part in parts))[0].double().cpu()
        logits = values / (values.std(correction=0) + 1e-8)
        value = float(values.max())
    return torch.softmax(logits, 0).numpy(), value


def _check_prior(agent: Agent, observation_space: gym.Space, action_space: gym.Space) -> None:
    """Raise ValueError unless a trained agent has a policy and values for this environment."""
    if (agent.observation_space, agent.action_space) != (observation_space, action_space):
        raise ValueError(
            f"the prior was trained on observations of {agent.observation_space} and actions of"
            f" {agent.action_space}, and here are {observation_space} and {action_space}"
        )
    policy = getattr(agent, "policy", None)
    if isinstance(policy, Policy) and policy.config.memory != "none":
        raise ValueError(
            "the prior has a memory of its episode, which copies of the environment lack"
        )
    if not isinstance(policy, Policy) and agent.score_kind != "value":
        raise ValueError(
            f"the prior, {type(agent).__name__}, has no policy and value that a search could follow: one of dqn, ppo,"
            " a2c or reinforce has"
        )


def copy_of(env: gym.Env, rng: np.random.Generator) -> gym.Env:
    """A copy of an environment, which goes on by itself and draws random numbers from `rng`.

    Each wrapper and the environment inside is copied by its `__deepcopy__` where it has one, and else attribute by
    attribute. (What `copy.deepcopy` does is not used for them: Gymnasium's EzPickle begins anew.) Spaces,
    specifications, tables and windows are shared, for no step changes them.

    Raises:
        UnsuitableEnvironmentError: it cannot be copied.
    """
    memo: dict[int, Any] = {}
    layers: list[Any] = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    try:
        for layer in reversed(layers):
            for value in vars(layer).values():
                if isinstance(value, np.random.Generator):
                    memo[id(value)] = rng
            if hasattr(layer, "__deepcopy__"):
                copied = copy.deepcopy(layer, memo)
            else:
                copied = object.__new__(type(layer))
                vars(copied).update(
                    {name: _copied(name, value, memo) for name, value in vars(layer).items()}
                )
            memo[id(layer)] = copied
    except Exception as error:
        raise UnsuitableEnvironmentError(
            f"it cannot be copied in the midst of an episode ({error}), and the planner tries actions in copies;"
            " an environment's class may say how by __deepcopy__"
        ) from error
    return copied


_SHARED = frozenset({"P", "metadata", "_metadata", "spec", "_cached_spec"})
"""Attributes that no step changes."""
_PLAIN = (int, float, str, bool, type(None), gym.Space, gym.envs.registration.EnvSpec, np.generic)
"""Types of values that are not copied."""


def _copied(name: str, value: Any, memo: dict[int, Any]) -> Any:
    """A copy of an attribute's value."""
    if isinstance(value, _PLAIN) or name in _SHARED:
        return value
    for part in value if isinstance(value, (list, tuple)) else (value,):
        if type(part).__module__.startswith("pygame"):
            memo[id(part)] = part
    return copy.deepcopy(value, memo)


class Planner(Agent):
    """Acts by tree search in copies of the environment."""

    Config: ClassVar[type] = PlannerConfig
    config: PlannerConfig
    needs_copies: ClassVar[bool] = True
    path_hyperparameters: ClassVar[tuple[str, ...]] = ("prior",)

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: PlannerConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(
                f"planner tries numbered actions (Discrete) one after the other, not {action_space}"
            )
        if config.prior and config.search == "uct":
            raise ValueError("uct follows no prior: --search puct or --search gumbel does")
        self._first = int(action_space.start)
        self.prior = context.prior
        if self.prior is not None:
            _check_prior(self.prior, observation_space, action_space)
        self._envs: list[gym.Env] = []
        self._vector: Any = None

    def attach(self, env: VectorEnv | gym.Env) -> None:
        if isinstance(env, gym.Env):
            self._envs, self._vector = [env], None
            return
        envs = getattr(env.unwrapped, "envs", None)
        if envs is None:
            raise UnsuitableEnvironmentError(
                "its vector environment does not consist of single environments, which could be copied"
            )
        self._envs, self._vector = list(envs), env.unwrapped

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        n = len(episode_starts)
        if n != len(self._envs):
            raise ValueError(
                "planner acts where it can copy the environment: in a training, an evaluation or a recording, and"
                " not on observations alone"
            )
        actions = np.zeros(n, np.int64)
        resetting = getattr(self._vector, "_autoreset_envs", np.zeros(n, bool))
        for i in np.flatnonzero(~resetting):
            parts = observations if isinstance(observations, tuple) else (observations,)
            own = tuple(part[i : i + 1] for part in parts)
            flat = own if isinstance(observations, tuple) else own[0]
            mask = None if action_masks is None else action_masks[i]
            actions[i] = self._search(self._envs[i], flat, mask, rng)
        return actions + self._first

    def _search(
        self,
        env: gym.Env,
        observation: FlatObservation,
        mask: np.ndarray | None,
        rng: np.random.Generator,
    ) -> int:
        """The number of the action to take, from 0."""
        config, space = self.config, self.action_space
        assert isinstance(space, spaces.Discrete)
        model = Copies(config, self.env_observation_space, space, self.prior, rng)
        legal = np.arange(int(space.n)) if mask is None else np.flatnonzero(mask)
        root = Situation(env, observation, legal)
        if config.search == "gumbel":
            _, action, _ = gumbel(model, root, config.simulations, rng, outcome=model.outcome)
            return action
        rule = uct if config.search == "uct" else puct
        tree = rule(
            model, root, config.simulations, exploration=config.exploration, outcome=model.outcome
        )
        # The most visited; of several the one of the highest value, and then any.
        order = np.lexsort((rng.random(len(legal)), tree.totals, tree.visits))
        return tree.actions[int(order[-1])]

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        """Play `steps` steps, and report the returns: nothing is learnt."""
        self.context.check(env, steps)
        self.attach(env)
        rng, stream = generator(seed), Transitions(env)
        observations = stream.reset(seed)
        clock = {"time/environment": 0.0, "time/acting": 0.0, "time/learning": 0.0}
        for done in range(env.num_envs, steps + env.num_envs, env.num_envs):
            t0 = perf_counter()
            actions = self.act(observations, stream.action_masks, stream.episode_starts, rng)
            t1 = perf_counter()
            observations = stream.step(actions).next_observations
            clock["time/acting"] += t1 - t0
            clock["time/environment"] += perf_counter() - t1
            self.steps += env.num_envs
            yield {"steps": done} | clock | episode_metrics(list(stream.finished.values()))

    def state(self) -> AgentState:
        return AgentState({}, {}, {"steps": self.steps})

    def load(self, state: AgentState) -> None:
        if state.weights:
            raise ValueError("planner has no network, and this state has the weights of one")
        self.steps = int(state.numbers.get("steps", 0))
