"""Stable-Baselines3 in Fathom's runs (Raffin et al. 2021, JMLR 22), to compare with side by side.

Networks, updates and default hyperparameters are SB3's own; the world, its seeds, the evaluation, the
curves and the checkpoints are Fathom's. Fields of the configurations have the names of our own agents
where they mean the same, and SB3's names elsewhere. `agents.parts.sb3_bridge` is what lies between.
"""

import math
import os
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import Schedule, TrainFreq, TrainFrequencyUnit

from agents.agent import (
    Agent,
    AgentState,
    Metrics,
    RunContext,
    check_numbers,
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

REPORTED = {
    "train/policy_gradient_loss": "policy_loss",
    "train/policy_loss": "policy_loss",
    "train/value_loss": "value_loss",
    "train/approx_kl": "kl",
    "train/clip_fraction": "clipped",
    "train/loss": "loss",
    "train/learning_rate": "learning_rate",
    "rollout/exploration_rate": "epsilon",
}
"""What SB3 logs, and the names that our own agents report it under. It is of the latest update."""


# -- the agents -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SB3Config:
    """What all have in common; SB3's default in brackets."""

    num_envs: int = 1
    """Environments stepped together [1]."""
    discount: float = 0.99
    """γ of one step [0.99]."""
    anneal_lr: bool = False
    """Let the learning rate fall linearly to 0 over the run [False]."""
    reward_clip: float = 0.0
    """The learner clips each reward to ± this; 0 leaves rewards as they are [0; 1 for Atari]."""


def _rate(learning_rate: float, anneal_lr: bool) -> float | Schedule:
    if not anneal_lr:
        return learning_rate
    return lambda remaining: learning_rate * max(0.0, remaining)


class SB3Agent(Agent):
    """What the bridges to SB3's algorithms share; each builds its `model`."""

    notice: ClassVar[str] = NOTICE

    model: BaseAlgorithm
    rollout_steps: int
    """Steps in each environment between two phases of learning."""

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: SB3Config,
        context: RunContext,
    ) -> None:
        check_numbers(config, ("num_envs", "learning_rate"), ("reward_clip",), ("discount",))
        self.context = context
        self.bridge = Bridge(config.num_envs, observation_space, action_space, config.reward_clip)
        self.network = policy_name(self.bridge.observation_space)

    @abstractmethod
    def _collect(self, length: int, callback: BaseCallback) -> None:
        """Take `length` steps in each environment."""

    @abstractmethod
    def _learn(self) -> None:
        """Learn from what is collected."""

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        model, bridge, n = self.model, self.bridge, self.bridge.num_envs
        bridge.connect(env, seed)
        model.set_random_seed(int(generator(seed).integers(2**31)))
        model._last_obs = None  # what makes SB3 reset the environments
        # These are the parts of SB3's own `learn`; schedules go by the steps of the whole run.
        left = self.context.total_steps - model.num_timesteps
        _, callback = model._setup_learn(left, reset_num_timesteps=False)
        bridge.seconds = 0.0  # the reset that it did is not in ours
        done = reported = 0
        collecting = learning = 0.0
        while done < steps:
            length = min(self.rollout_steps, math.ceil((steps - done) / n))
            t0 = perf_counter()
            self._collect(length, callback)
            t1 = perf_counter()
            self._learn()
            collecting += t1 - t0
            learning += perf_counter() - t1
            done += length * n
            if done - reported >= REPORT_EVERY or done >= steps:
                reported = done
                times = {
                    "time/environment": bridge.seconds,
                    "time/acting": collecting - bridge.seconds,
                    "time/learning": learning,
                }
                yield {"steps": done} | times | self._report()

    def _report(self) -> Metrics:
        logged = self.model.logger.name_to_value
        metrics = {ours: float(logged[name]) for name, ours in REPORTED.items() if name in logged}
        if "train/entropy_loss" in logged:
            metrics["entropy"] = -float(logged["train/entropy_loss"])
        metrics |= episode_metrics(self.bridge.finished)
        self.bridge.finished = []
        return metrics

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        actions, _ = self.model.policy.predict(
            observations_for_sb3(observations), deterministic=True
        )
        return self.bridge.to_world(actions)

    def state(self) -> AgentState:
        moments = self._optimizer.state_dict()["state"]
        return AgentState(
            # Clones, for an encoder that policy and value share stands under several names.
            {name: w.detach().clone() for name, w in self.model.policy.state_dict().items()},
            {
                f"optimizer.{i}.{name}": torch.as_tensor(value).detach().clone()
                for i, values in moments.items()
                for name, value in values.items()
            },
            {"steps": self.model.num_timesteps, "updates": self.model._n_updates},
        )

    def load(self, state: AgentState) -> None:
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in state.tensors.items():
            _, i, kind = name.split(".")
            moments.setdefault(int(i), {})[kind] = value.clone()
        groups = self._optimizer.state_dict()["param_groups"]
        try:
            self.model.policy.load_state_dict(state.weights)
        except RuntimeError as error:
            raise ValueError("its weights are of another network") from error
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.model.num_timesteps = int(state.numbers["steps"])
        self.model._n_updates = int(state.numbers["updates"])

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        return self.model.policy.optimizer


@dataclass(frozen=True)
class OnPolicyConfig(SB3Config):
    """What PPO and A2C have in common."""

    rollout_steps: int = 5
    """Steps in each environment between two phases of learning [5; PPO: 2048]."""
    value_coefficient: float = 0.5
    """Weight of the value's loss [0.5]."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy, which keeps the policy exploring [0]."""
    max_gradient_norm: float = 0.5
    """Longer gradients are shortened to this [0.5]."""


class OnPolicyAgent(SB3Agent):
    """What PPO and A2C share: they learn from a rollout and forget it."""

    model: OnPolicyAlgorithm

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: OnPolicyConfig,
        context: RunContext,
    ) -> None:
        check_numbers(
            config,
            positive=("rollout_steps", "max_gradient_norm"),
            not_negative=("value_coefficient", "entropy_coefficient"),
            shares=("gae_lambda",),
        )
        super().__init__(observation_space, action_space, config, context)
        self.rollout_steps = config.rollout_steps

    def _collect(self, length: int, callback: BaseCallback) -> None:
        model, bridge = self.model, self.bridge
        assert model.env is not None
        buffer = model.rollout_buffer
        # Its size is the rollout's: shorter at a segment's end, and changed by `keep_valid`.
        buffer.buffer_size, buffer.n_envs = length, bridge.num_envs
        bridge.valid.clear()
        model.collect_rollouts(model.env, callback, buffer, n_rollout_steps=length)
        model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)

    def _learn(self) -> None:
        if keep_valid(self.model.rollout_buffer, np.stack(self.bridge.valid)):
            self.model.train()


@dataclass(frozen=True)
class SB3PPOConfig(OnPolicyConfig):
    """Hyperparameters; SB3's default in brackets."""

    rollout_steps: int = 2048
    """Steps in each environment between two phases of learning [2048]."""
    batch_size: int = 64
    """Steps in a minibatch [64]."""
    epochs: int = 10
    """Passes over a rollout [10]."""
    learning_rate: float = 3e-4
    """Of Adam, at the start [3e-4]."""
    gae_lambda: float = 0.95
    """λ of generalised advantage estimation [0.95]."""
    clip_range: float = 0.2
    """ε: how far a probability may move and still gain [0.2]."""


class SB3PPO(OnPolicyAgent):
    """SB3's proximal policy optimisation."""

    Config: ClassVar[type] = SB3PPOConfig
    model: stable_baselines3.PPO

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: SB3PPOConfig,
        context: RunContext,
    ) -> None:
        check_numbers(config, positive=("epochs", "clip_range"))
        if config.batch_size < 2 or config.num_envs * config.rollout_steps < 2:
            raise ValueError("sb3-ppo needs at least two steps in a rollout and in a minibatch")
        super().__init__(observation_space, action_space, config, context)
        self.model = stable_baselines3.PPO(
            self.network,
            self.bridge,
            learning_rate=_rate(config.learning_rate, config.anneal_lr),
            n_steps=config.rollout_steps,
            batch_size=config.batch_size,
            n_epochs=config.epochs,
            gamma=config.discount,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.entropy_coefficient,
            vf_coef=config.value_coefficient,
            max_grad_norm=config.max_gradient_norm,
            device=context.device,
        )
        self.model.set_logger(Logger(None, []))


@dataclass(frozen=True)
class SB3A2CConfig(OnPolicyConfig):
    """Hyperparameters; SB3's default in brackets."""

    learning_rate: float = 7e-4
    """Of RMSProp, at the start [7e-4]."""
    gae_lambda: float = 1.0
    """λ of generalised advantage estimation [1]."""


class SB3A2C(OnPolicyAgent):
    """SB3's advantage actor–critic."""

    Config: ClassVar[type] = SB3A2CConfig
    model: stable_baselines3.A2C

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: SB3A2CConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        self.model = stable_baselines3.A2C(
            self.network,
            self.bridge,
            learning_rate=_rate(config.learning_rate, config.anneal_lr),
            n_steps=config.rollout_steps,
            gamma=config.discount,
            gae_lambda=config.gae_lambda,
            ent_coef=config.entropy_coefficient,
            vf_coef=config.value_coefficient,
            max_grad_norm=config.max_gradient_norm,
            device=context.device,
        )
        self.model.set_logger(Logger(None, []))


@dataclass(frozen=True)
class SB3DQNConfig(SB3Config):
    """Hyperparameters; SB3's default in brackets."""

    replay_capacity: int = 1_000_000
    """Transitions that may be sampled; they lie in main memory, frames twice [1,000,000]."""
    learning_starts: int = 100
    """Agent steps before the first update, with random actions [100]."""
    train_freq: int = 4
    """Steps in each environment between two phases of learning [4]."""
    gradient_steps: int = 1
    """Updates in such a phase [1]."""
    batch_size: int = 32
    """Transitions an update [32]."""
    learning_rate: float = 1e-4
    """Of Adam, at the start [1e-4]."""
    target_update_interval: int = 10_000
    """Agent steps between two copies to the target network [10,000]."""
    tau: float = 1.0
    """Share of the network that such a copy takes [1]."""
    exploration_fraction: float = 0.1
    """Part of the run over which ε falls linearly [0.1]."""
    epsilon_start: float = 1.0
    """First probability of random actions [1]."""
    epsilon_end: float = 0.05
    """Last probability of random actions [0.05]."""
    max_gradient_norm: float = 10.0
    """Longer gradients are shortened to this [10]."""


class SB3DQN(SB3Agent):
    """SB3's deep Q-network."""

    Config: ClassVar[type] = SB3DQNConfig
    notice: ClassVar[str] = (
        f"{NOTICE}; its replay memory is not saved, so a resumed run fills it anew, for "
        "learning_starts steps, before it goes on learning"
    )
    model: stable_baselines3.DQN

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: SB3DQNConfig,
        context: RunContext,
    ) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"sb3-dqn needs a discrete action space, not {action_space}")
        check_numbers(
            config,
            positive=(
                *("replay_capacity", "train_freq", "gradient_steps", "batch_size"),
                *("target_update_interval", "exploration_fraction", "max_gradient_norm"),
            ),
            not_negative=("learning_starts",),
            shares=("tau", "exploration_fraction", "epsilon_start", "epsilon_end"),
        )
        super().__init__(observation_space, action_space, config, context)
        self.config = config
        self.rollout_steps = config.train_freq
        self.model = stable_baselines3.DQN(
            self.network,
            self.bridge,
            learning_rate=_rate(config.learning_rate, config.anneal_lr),
            buffer_size=1,  # it makes way for one that keeps each environment's steps apart
            learning_starts=config.learning_starts,
            batch_size=config.batch_size,
            tau=config.tau,
            gamma=config.discount,
            target_update_interval=config.target_update_interval,
            exploration_fraction=config.exploration_fraction,
            exploration_initial_eps=config.epsilon_start,
            exploration_final_eps=config.epsilon_end,
            max_grad_norm=config.max_gradient_norm,
            device=context.device,
        )
        self.model.set_logger(Logger(None, []))
        assert self.model.replay_buffer is not None
        self.memory: ReplayBuffer = type(self.model.replay_buffer)(
            config.replay_capacity if context.storage is not None else 1,  # 1: it only acts
            self.model.observation_space,
            self.model.action_space,
            device=self.model.device,
        )
        self.model.replay_buffer = self.memory
        self.collected = 0
        """Agent steps since the memory was empty."""

    def _collect(self, length: int, callback: BaseCallback) -> None:
        model = self.model
        assert model.env is not None
        self.bridge.valid.clear()
        self.collected += length * self.bridge.num_envs
        model.collect_rollouts(
            model.env,
            callback,
            TrainFreq(length, TrainFrequencyUnit.STEP),
            ValidOnly(self.memory),  # type: ignore[arg-type]
            learning_starts=self.config.learning_starts,
        )

    def _learn(self) -> None:
        if self.collected > self.config.learning_starts:
            self.model.train(self.config.gradient_steps, self.config.batch_size)

    def state(self) -> AgentState:
        state = super().state()
        state.numbers["calls"] = self.model._n_calls  # by which the target network is renewed
        return state

    def load(self, state: AgentState) -> None:
        super().load(state)
        model = self.model
        model._n_calls = int(state.numbers["calls"])
        if model.num_timesteps:
            done = model.num_timesteps / self.context.total_steps
            model.exploration_rate = model.exploration_schedule(1.0 - done)
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
        """0: the replay memory lies in main memory.

        Raises:
            ValueError: this machine has not that much.
        """
        parts = (
            observation_space.spaces
            if isinstance(observation_space, spaces.Tuple)
            else (observation_space,)
        )
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
