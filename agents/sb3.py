"""Stable-Baselines3's PPO, A2C and DQN in Fathom's runs (Raffin et al. 2021, JMLR 22), for comparison.

Networks, updates and default hyperparameters are those of SB3; environments, seeds, evaluation, metrics
and checkpoints are Fathom's. Fields of the configs have the names of our own agents where they mean the
same, and the names of SB3 elsewhere. `agents.parts.sb3_bridge` connects the two; docs/algorithms/sb3.md
lists what differs from SB3 alone.
"""

import dataclasses
import math
import os
from collections.abc import Iterator
from time import perf_counter
from typing import Annotated, Any, ClassVar

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

from agents.agent import (
    STRICT,
    Agent,
    AgentState,
    Metrics,
    NumEnvs,
    RunContext,
    UnitInterval,
    episode_metrics,
    generator,
)
from agents.parts.rollout import REPORT_EVERY
from agents.parts.sb3_bridge import Bridge, ValidOnly, keep_valid, observations_for_sb3, policy_name
from envs.observations import FlatObservation

NOTICE = (
    f"Stable-Baselines3 {stable_baselines3.__version__} learns here, so it is not promised that a "
    "resumed run ends with the same weights as one that was never stopped"
)

METRICS = {
    "train/policy_gradient_loss": "policy_loss",
    "train/policy_loss": "policy_loss",
    "train/value_loss": "value_loss",
    "train/approx_kl": "approx_kl",
    "train/clip_fraction": "clip_fraction",
    "train/loss": "loss",
    "train/learning_rate": "learning_rate",
    "rollout/exploration_rate": "epsilon",
}
"""What SB3 logs of the latest update, and our names of it."""

SB3_NAMES = {
    "rollout_steps": "n_steps",
    "epochs": "n_epochs",
    "discount": "gamma",
    "value_coefficient": "vf_coef",
    "entropy_coefficient": "ent_coef",
    "max_gradient_norm": "max_grad_norm",
    "epsilon_start": "exploration_initial_eps",
    "epsilon_end": "exploration_final_eps",
}
"""Our names of hyperparameters, and those of SB3 where they differ."""

NOT_SB3 = ("num_envs", "anneal_lr", "learning_rate", "reward_clip", "replay_capacity")
"""Hyperparameters that are not passed to SB3 as they are."""


@dataclass(frozen=True, config=STRICT)
class SB3Config:
    """Hyperparameters of all; SB3's default in brackets."""

    num_envs: NumEnvs = 1
    """Environments stepped together [1]."""
    discount: UnitInterval = 0.99
    """Discount factor γ of one agent step [0.99]."""
    anneal_lr: bool = False
    """Anneal the learning rate linearly to 0 over the run [False]."""
    reward_clip: NonNegativeFloat = 0.0
    """Clip rewards to ± this for learning [0; Atari: 1]; 0: no clipping."""


@dataclass(frozen=True, config=STRICT)
class SB3PPOConfig(SB3Config):
    """Hyperparameters of SB3's PPO; its default in brackets."""

    rollout_steps: PositiveInt = 2048
    """Steps of each environment in a rollout [2048]."""
    value_coefficient: NonNegativeFloat = 0.5
    """Weight of the value loss [0.5]."""
    entropy_coefficient: NonNegativeFloat = 0.0
    """Weight of the entropy bonus [0]."""
    max_gradient_norm: PositiveFloat = 0.5
    """Largest norm of the gradient; larger ones are scaled down [0.5]."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Steps in a minibatch [64]."""
    epochs: PositiveInt = 10
    """Passes over each rollout [10]."""
    learning_rate: PositiveFloat = 3e-4
    """Initial learning rate of Adam [3e-4]."""
    gae_lambda: UnitInterval = 0.95
    """λ of generalised advantage estimation [0.95]."""
    clip_range: PositiveFloat = 0.2
    """ε, the range of the probability ratio in which the objective is not clipped [0.2]."""


@dataclass(frozen=True, config=STRICT)
class SB3A2CConfig(SB3Config):
    """Hyperparameters of SB3's A2C; its default in brackets."""

    rollout_steps: PositiveInt = 5
    """Steps of each environment in a rollout [5]."""
    value_coefficient: NonNegativeFloat = 0.5
    """Weight of the value loss [0.5]."""
    entropy_coefficient: NonNegativeFloat = 0.0
    """Weight of the entropy bonus [0]."""
    max_gradient_norm: PositiveFloat = 0.5
    """Largest norm of the gradient; larger ones are scaled down [0.5]."""
    learning_rate: PositiveFloat = 7e-4
    """Initial learning rate of RMSProp [7e-4]."""
    gae_lambda: UnitInterval = 1.0
    """λ of generalised advantage estimation [1]."""


@dataclass(frozen=True, config=STRICT)
class SB3DQNConfig(SB3Config):
    """Hyperparameters of SB3's DQN; its default in brackets."""

    replay_capacity: PositiveInt = 1_000_000
    """Transitions that are sampled from; stored in RAM, two copies of each observation [1,000,000]."""
    learning_starts: NonNegativeInt = 100
    """Agent steps before the first update, with random actions [100]."""
    train_freq: PositiveInt = 4
    """Steps of each environment between two phases of learning [4]."""
    gradient_steps: PositiveInt = 1
    """Updates in a phase of learning [1]."""
    batch_size: PositiveInt = 32
    """Transitions in an update [32]."""
    learning_rate: PositiveFloat = 1e-4
    """Initial learning rate of Adam [1e-4]."""
    target_update_interval: PositiveInt = 10_000
    """Agent steps between two copies to the target network [10,000]."""
    tau: UnitInterval = 1.0
    """Share by which such a copy moves the target network [1]."""
    exploration_fraction: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the run over which ε falls linearly [0.1]."""
    epsilon_start: UnitInterval = 1.0
    """Initial probability of a random action [1]."""
    epsilon_end: UnitInterval = 0.05
    """Final probability of a random action [0.05]."""
    max_gradient_norm: PositiveFloat = 10.0
    """Largest norm of the gradient; larger ones are scaled down [10]."""


class SB3Agent(Agent):
    """One of SB3's algorithms, on-policy unless a subclass overrides how it collects and learns."""

    notice: ClassVar[str] = NOTICE
    algorithm: ClassVar[Any]
    """The class of SB3."""

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Any,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        self.bridge = Bridge(config.num_envs, observation_space, action_space, config.reward_clip)
        hyperparameters = {
            SB3_NAMES.get(name, name): value
            for name, value in dataclasses.asdict(config).items()
            if name not in NOT_SB3
        }
        self.model: Any = self.algorithm(
            policy_name(self.bridge.observation_space),
            self.bridge,
            learning_rate=self._learning_rate,
            device=context.device,
            **hyperparameters,
        )
        self.model.set_logger(Logger(None, []))

    def _learning_rate(self, _: float) -> float:
        """Not by SB3's progress, which knows only one call of `learn`."""
        share = self.steps / self.context.total_steps if self.config.anneal_lr else 0.0
        return self.config.learning_rate * max(0.0, 1 - share)

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        self.context.check(env, steps)
        model, bridge, n = self.model, self.bridge, self.bridge.num_envs
        bridge.connect(env, seed)
        model.set_random_seed(int(generator(seed).integers(2**31)))
        model.set_env(model.get_env(), force_reset=True)
        # The loop of SB3's `learn`, which reports and stops only where a rollout does.
        left = self.context.total_steps - model.num_timesteps
        _, callback = model._setup_learn(left, reset_num_timesteps=False)
        bridge.seconds = 0.0  # without the reset
        rollout_steps = getattr(self.config, "rollout_steps", None) or self.config.train_freq
        done = reported = 0
        collecting = learning = 0.0
        while done < steps:
            length = min(rollout_steps, math.ceil((steps - done) / n))
            t0 = perf_counter()
            self._collect(length, callback)
            t1 = perf_counter()
            done += length * n
            self.steps = model.num_timesteps
            self._update()
            collecting += t1 - t0
            learning += perf_counter() - t1
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                yield {
                    "steps": done,
                    "time/environment": bridge.seconds,
                    "time/acting": collecting - bridge.seconds,
                    "time/learning": learning,
                } | self._report()

    def _collect(self, length: int, callback: BaseCallback) -> None:
        """Take `length` steps in each environment."""
        buffer = self.model.rollout_buffer
        # Its size varies: rollouts are shorter at the end of a segment, and `keep_valid` changes it.
        buffer.buffer_size, buffer.n_envs = length, self.bridge.num_envs
        self.bridge.valid.clear()
        self.model.collect_rollouts(self.model.env, callback, buffer, n_rollout_steps=length)

    def _update(self) -> None:
        """Learn from what was collected."""
        if keep_valid(self.model.rollout_buffer, np.stack(self.bridge.valid)):
            self.model.train()

    def _report(self) -> Metrics:
        logged = self.model.logger.name_to_value
        metrics = {ours: float(logged[name]) for name, ours in METRICS.items() if name in logged}
        if "train/entropy_loss" in logged:
            metrics["entropy"] = -float(logged["train/entropy_loss"])
        metrics |= episode_metrics(self.bridge.finished)
        self.bridge.finished = []
        return metrics

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        actions, _ = self.model.policy.predict(
            observations_for_sb3(observations), deterministic=True
        )
        return self.bridge.to_env_actions(actions)

    def state(self) -> AgentState:
        moments = self.model.policy.optimizer.state_dict()["state"]
        return AgentState(
            # Clones: an encoder shared by policy and value is listed under several names.
            {name: w.detach().clone() for name, w in self.model.policy.state_dict().items()},
            {
                f"optimizer.{i}.{name}": torch.as_tensor(value).detach().clone()
                for i, values in moments.items()
                for name, value in values.items()
            },
            {"steps": self.steps},
        )

    def load(self, state: AgentState) -> None:
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in state.tensors.items():
            _, i, kind = name.split(".")
            moments.setdefault(int(i), {})[kind] = value.clone()
        optimizer = self.model.policy.optimizer
        try:
            self.model.policy.load_state_dict(state.weights)
        except RuntimeError as error:
            raise ValueError("its weights are of another network") from error
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.steps = self.model.num_timesteps = int(state.numbers.get("steps", 0))


class SB3PPO(SB3Agent):
    """SB3's proximal policy optimisation."""

    Config: ClassVar[type] = SB3PPOConfig
    algorithm: ClassVar[Any] = stable_baselines3.PPO

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: SB3PPOConfig,
        context: RunContext,
    ) -> None:
        if config.num_envs * config.rollout_steps < 2:
            raise ValueError("sb3-ppo needs at least two steps in a rollout")
        super().__init__(observation_space, action_space, config, context)


class SB3A2C(SB3Agent):
    """SB3's advantage actor–critic."""

    Config: ClassVar[type] = SB3A2CConfig
    algorithm: ClassVar[Any] = stable_baselines3.A2C


class SB3DQN(SB3Agent):
    """SB3's deep Q-network."""

    Config: ClassVar[type] = SB3DQNConfig
    algorithm: ClassVar[Any] = stable_baselines3.DQN
    notice: ClassVar[str] = (
        f"{NOTICE}; its replay memory is not saved, so a resumed run fills it anew, for "
        "learning_starts steps, before it goes on learning"
    )

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: SB3DQNConfig,
        context: RunContext,
    ) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"sb3-dqn needs a discrete action space, not {action_space}")
        super().__init__(observation_space, action_space, config, context)
        # One environment's, with room for valid steps only; of one row where the agent only acts.
        self.memory = self.model.replay_buffer = self.model.replay_buffer_class(
            config.replay_capacity if context.storage is not None else 1,
            self.model.observation_space,
            self.model.action_space,
            device=self.model.device,
        )
        self.collected = 0
        """Agent steps since the replay memory was empty."""

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        if self.context.storage is None:
            raise ValueError("an agent that trains needs a storage folder in its context")
        return super().train(env, steps, seed)

    def _collect(self, length: int, callback: BaseCallback) -> None:
        self.bridge.valid.clear()
        self.collected += length * self.bridge.num_envs
        self.model.collect_rollouts(
            self.model.env,
            callback,
            TrainFreq(length, TrainFrequencyUnit.STEP),
            ValidOnly(self.memory),
            learning_starts=self.config.learning_starts,
        )

    def _update(self) -> None:
        if self.collected > self.config.learning_starts:
            self.model.train(self.config.gradient_steps, self.config.batch_size)

    def load(self, state: AgentState) -> None:
        super().load(state)
        model = self.model
        model._n_calls = self.steps // self.bridge.num_envs  # the target network is renewed by it
        if self.steps:
            model.exploration_rate = model.exploration_schedule(
                1.0 - self.steps / self.context.total_steps
            )
        self.memory.reset()
        self.collected = 0

    @classmethod
    def storage_bytes(
        cls,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: SB3DQNConfig,
        context: RunContext,
    ) -> int:
        """0, for the replay memory lies in main memory.

        Raises:
            ValueError: main memory is too small for it.
        """
        several = isinstance(observation_space, spaces.Tuple)
        parts = observation_space.spaces if several else (observation_space,)  # type: ignore[attr-defined]
        entry = sum(
            math.prod(part.shape or ()) * np.dtype(part.dtype or np.float32).itemsize
            for part in parts
        )
        needed = 2 * config.replay_capacity * entry
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if needed > there:
            raise ValueError(
                f"the replay memory of sb3-dqn lies in main memory and takes {needed / 1e9:.1f} GB, "
                f"of which this machine has {there / 1e9:.1f}: choose a smaller --replay-capacity"
            )
        return 0
