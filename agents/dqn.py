"""Deep Q-network (Mnih et al. 2015), with later improvements as options.

The agent acts ε-greedily in several environments and stores every step in a replay memory. Every
`train_frequency` agent steps it fits Q(s, a) to r + γ·max Q'(s', ·), where the target network Q' is a copy
of the network, renewed every `target_update_interval` updates. Options: Double Q-learning (van Hasselt et
al. 2016), dueling heads (Wang et al. 2016), n-step targets (Sutton 1988), layer normalisation (Ba et al.
2016), values as histograms (Farebrother et al. 2024), and an exponential average as the target network
(Lillicrap et al. 2016), which then also acts in evaluation.

Deviations from the paper: docs/algorithms/dqn.md.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import perf_counter
from typing import Annotated, ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from agents.agent import (
    STRICT,
    Agent,
    AgentState,
    Metrics,
    NumEnvs,
    Repeats,
    RunContext,
    Size,
    UnitInterval,
    episode_metrics,
    generator,
    linear_schedule,
)
from agents.parts.adam import Adam, copy_into, gradients_of
from agents.parts.compiling import LONG_TRAINING, compiled
from agents.parts.replay import MOST_ACTIONS, Batch, Replay, open_replay, storage_bytes
from envs.observations import FlatObservation
from envs.vector import Transitions
from perception.networks.encoders import (
    ImageEncoder,
    as_tensor,
    encoder,
    image_encoder_parameters,
    is_image,
    parts_of,
)
from perception.networks.precision import image_precision

IMAGES_IN_MEAN = 1_000  # sampled from the replay memory for `subtract_mean_image`


@dataclass(frozen=True, config=STRICT)
class DQNConfig:
    """Hyperparameters of DQN; the value of Mnih et al. 2015 in brackets. The defaults suit small environments."""

    num_envs: NumEnvs = 8
    """Environments stepped together [1]."""
    replay_capacity: PositiveInt = 100_000
    """Transitions that are sampled from [1,000,000]."""
    learning_starts: NonNegativeInt = 1_000
    """Agent steps before the first update [50,000]."""
    train_frequency: PositiveInt = 4
    """Agent steps, summed over the environments, between two updates [4]."""
    batch_size: Size = 32
    """Transitions in an update [32]. The replay ratio is batch_size / train_frequency."""
    learning_rate: PositiveFloat = 5e-4
    """Initial learning rate of Adam [RMSProp, 2.5e-4]."""
    anneal_lr: bool = False
    """Anneal the learning rate linearly to 0 over the run [False]."""
    adam_epsilon: NonNegativeFloat = 1.5e-4
    """ε of Adam (value of Hessel et al. 2018)."""
    discount: UnitInterval = 0.99
    """Discount factor γ of one agent step [0.99]."""
    n_step: Repeats = 3
    """Rewards in a target before it bootstraps [1]."""
    target_update_interval: PositiveInt = 250
    """Updates between two copies to the target network [10,000]."""
    tau: UnitInterval = 0.0
    """If above 0, the target network is an exponential average of the online network, moved by this share at every update, and is also the network that is evaluated [0: copies]."""
    double: bool = True
    """Double Q-learning: the online network selects the action that the target network evaluates [False]."""
    dueling: bool = False
    """Separate heads for the value of the state and the advantages of the actions [False]."""
    value_bins: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Represent values as histograms of this many bins and learn them by cross-entropy [0: scalars, learnt by the Huber loss]."""
    value_limit: PositiveFloat = 10.0
    """The histograms span ± this value; returns beyond are clipped."""
    cnn: Literal["nature", "nips"] = "nature"
    """Convolutions for images: of Mnih et al. 2015, or the smaller ones of 2013 ["nature"]."""
    layer_norm: bool = False
    """Images: layer normalisation before the activation of the dense layer [False]."""
    subtract_mean_image: bool = False
    """Images: subtract the mean image of the replay memory at the first update [False]."""
    freeze_encoder: bool = False
    """Images: learn no weights of the convolutions and the dense layer after them, which stay the initial ones [False]."""
    hidden_size: Size = 256
    """Width of the dense layers [512]."""
    epsilon_start: UnitInterval = 1.0
    """Initial probability of a random action [1.0]."""
    epsilon_end: UnitInterval = 0.01
    """Final probability of a random action [0.1]."""
    epsilon_steps: NonNegativeInt = 20_000
    """Agent steps over which ε falls linearly [1,000,000]."""
    expert_steps: NonNegativeInt = 0
    """Agent steps at the start taken by the environment's expert policy, without ε-greedy exploration [0]."""
    evaluation_epsilon: UnitInterval = 0.001
    """Probability of a random action in evaluation [0.05]."""
    reward_clip: NonNegativeFloat = 0.0
    """Clip rewards to ± this for learning, which changes the objective [1]; 0: no clipping."""
    reward_scale: PositiveFloat = 1.0
    """Multiply rewards by this for learning, after clipping [1]. The Huber loss is linear beyond an error of 1 and
    then fits medians: scale rewards so that errors are near 1."""


class QNetwork(nn.Module):
    """An encoder and one linear head, or two dueling heads (Wang et al. 2016).

    Maps a batch of observations, one tensor for each part, to Q-values (batch, actions), or to logits (batch, actions, bins) of their
    histograms.
    """

    def __init__(self, space: gym.Space, num_actions: int, config: DQNConfig) -> None:
        super().__init__()
        self.encoder = encoder(
            space,
            config.hidden_size,
            config.cnn,
            layer_norm=config.layer_norm,
            centred=config.subtract_mean_image,
        )
        self.bins = config.value_bins or 1
        self.advantage = nn.Linear(self.encoder.features, num_actions * self.bins)
        self.value = nn.Linear(self.encoder.features, self.bins) if config.dueling else None

    def forward(self, *observations: torch.Tensor) -> torch.Tensor:
        features = self.encoder(observations[0] if len(observations) == 1 else observations).float()
        q = self.advantage(features).unflatten(1, (-1, self.bins))
        if self.value is not None:
            q = self.value(features).unsqueeze(1) + q - q.mean(dim=1, keepdim=True)
        return q if self.bins > 1 else q.squeeze(2)


class Histogram:
    """Values as histograms of equal bins over ±`limit`: HL-Gauss (Imani & White 2018; Farebrother et al.
    2024, "Stop regressing", section 3.1).

    The gradients of a classifier do not shrink with the differences between values, which with sparse
    rewards are far below 1.
    """

    def __init__(self, bins: int, limit: float, device: torch.device) -> None:
        self.edges = torch.linspace(-limit, limit, bins + 1, device=device)
        self.centres = (self.edges[1:] + self.edges[:-1]) / 2
        self.deviation = 0.75 * 2 * limit / bins
        """Standard deviation of the normal distribution around a target: three quarters of a bin."""

    def mean(self, logits: torch.Tensor) -> torch.Tensor:
        """(…, bins) logits → (…) values."""
        return logits.softmax(dim=-1) @ self.centres

    def probabilities(self, values: torch.Tensor) -> torch.Tensor:
        """(b,) values → (b, bins) probabilities of a normal distribution around each, cut off at the limits."""
        values = values.clamp(self.edges[0], self.edges[-1])
        below = torch.erf((self.edges - values.unsqueeze(1)) / (self.deviation * math.sqrt(2)))
        return below.diff(dim=1) / (below[:, -1:] - below[:, :1])


def td_targets(
    rewards: torch.Tensor,
    discounts: torch.Tensor,
    next_q: torch.Tensor,
    selection_q: torch.Tensor,
    masks: torch.Tensor | None = None,
) -> torch.Tensor:
    """Targets r + discount · next_q(s', a*), where a* is the best legal action by `selection_q`.

    With the values of the target network as `selection_q` this is Q-learning, with those of the online
    network Double Q-learning (van Hasselt et al. 2016, equation 4).

    Args:
        rewards, discounts: (b,)
        next_q, selection_q: (b, actions)
        masks: (b, actions) bool, True where an action is legal.
    """
    if masks is not None:
        selection_q = selection_q.masked_fill(~masks, -torch.inf)
    best = selection_q.argmax(dim=1, keepdim=True)
    return rewards + discounts * next_q.gather(1, best).squeeze(1)


class DQN(Agent):
    """Deep Q-network."""

    Config: ClassVar[type] = DQNConfig
    score_kind: ClassVar[str] = "value"
    compiles: ClassVar[bool] = True
    """Whether long trainings and trainings on images are compiled."""

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: DQNConfig,
        context: RunContext,
    ) -> None:
        if not isinstance(action_space, gym.spaces.Discrete):
            raise ValueError(
                f"dqn needs a discrete action space, and this environment's is {action_space}"
            )
        if action_space.n > MOST_ACTIONS:
            raise ValueError(
                f"the replay memory of dqn supports {MOST_ACTIONS:,} actions at most, and there are"
                f" {action_space.n:,}"
            )
        super().__init__(observation_space, action_space, config, context)
        _check(config, context.frame_stack)
        if config.expert_steps and context.expert_action is None:
            raise ValueError(
                "expert_steps needs an environment with an expert_action, and this one has none outside of wrappers"
                " that change observations or actions"
            )
        self.num_actions = int(action_space.n)
        self.first_action = int(action_space.start)
        self.device = torch.device(context.device)
        self.histogram = (
            Histogram(config.value_bins, config.value_limit, self.device)
            if config.value_bins
            else None
        )
        self.network = QNetwork(observation_space, self.num_actions, config).to(self.device)
        self.encoder = self.network.encoder
        images = [part for part in parts_of(self.encoder) if isinstance(part, ImageEncoder)]
        for name in ("layer_norm", "subtract_mean_image", "freeze_encoder"):
            if getattr(config, name) and not images:
                raise ValueError(f"{name} needs images, and this environment has none")
        image = is_image(observation_space)
        if image:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        precision = image_precision(self.device) if image else torch.float32
        frozen = image_encoder_parameters(self.network) if config.freeze_encoder else ()
        self.adam = Adam(self.network, config.adam_epsilon, precision, frozen)
        self.target = {name: w.clone() for name, w in self.adam.compute_params.items()}
        # In float32: bfloat16 would round the small steps of an average to nothing.
        self.average = {name: w.clone() for name, w in self.adam.weights.items()}
        n, every = config.num_envs, config.train_frequency
        self.updates_at_once = (
            1 if n % every or n // every > config.target_update_interval else n // every
        )
        """Updates whose targets are computed together: those of one step of all environments, if their number
        is constant and no larger than the updates between two copies to the target network."""
        self._gradient_step: Callable[..., tuple[torch.Tensor, torch.Tensor]] = (
            self._gradient_step_of
        )
        self._values: Callable[..., torch.Tensor] = self._values_of
        self._target_values: Callable[..., torch.Tensor] = self._target_values_of
        self._compiled = False
        self.updates = 0
        self._rows = 0
        self._replay: Replay | None = None

    # -- acting ---------------------------------------------------------------------------------

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return self._act(
            self._evaluation_values_of,
            observations,
            action_masks,
            self.config.evaluation_epsilon,
            rng,
        )

    def _act(
        self,
        values: Callable[..., torch.Tensor],
        observations: FlatObservation,
        masks: np.ndarray | None,
        epsilon: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """The best legal action of each environment, or with probability ε a random legal one."""
        parts = observations if isinstance(observations, tuple) else (observations,)
        n = len(parts[0])
        legal = np.ones((n, self.num_actions), bool) if masks is None else masks
        explore = rng.random(n) < epsilon
        chance = rng.random((n, self.num_actions))
        actions = np.where(legal, chance, -1.0).argmax(axis=1)
        if not explore.all():
            q = values(*(as_tensor(part).to(self.device) for part in parts)).cpu().numpy()
            best = np.where(legal, q, -np.inf).argmax(axis=1)
            actions = np.where(explore, actions, best)
        return actions + self.first_action

    def _epsilon(self) -> float:
        """The current probability of a random action."""
        c = self.config
        return linear_schedule(c.epsilon_start, c.epsilon_end, c.epsilon_steps, self.steps)

    @torch.no_grad()
    def _values_of(self, *observations: torch.Tensor) -> torch.Tensor:
        return self._mean(functional_call(self.network, self.adam.compute_params, observations))

    @torch.no_grad()
    def _target_values_of(self, *observations: torch.Tensor) -> torch.Tensor:
        return self._mean(functional_call(self.network, self.target, observations))

    def _evaluation_values_of(self, *observations: torch.Tensor) -> torch.Tensor:
        """Q-values of the network that is evaluated."""
        average = self.config.tau > 0
        return (self._target_values_of if average else self._values_of)(*observations)

    def scores(self, observations: tuple[torch.Tensor, ...]) -> torch.Tensor:
        weights = self.average if self.config.tau else self.adam.weights
        return self._mean(functional_call(self.network, weights, observations))

    def _mean(self, output: torch.Tensor) -> torch.Tensor:
        """Q-values from the output of the network."""
        return output if self.histogram is None else self.histogram.mean(output)

    # -- learning -------------------------------------------------------------------------------

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        self.context.check(env, steps)
        self._compile()
        replay, stream = self._open_replay(), Transitions(env)
        stream.reset(seed)
        replay.begin()
        try:
            yield from self._segment(stream, replay, steps, generator(seed))
        finally:  # also where the caller stops early, or the next segment would run on from this one
            replay.end(stream.observations, stream.action_masks)
            self._rows = replay.rows

    def _segment(
        self, stream: Transitions, replay: Replay, steps: int, rng: np.random.Generator
    ) -> Iterator[Metrics]:
        config, num_envs = self.config, self.context.num_envs
        clock = {"environment": 0.0, "acting": 0.0, "sampling": 0.0, "learning": 0.0}
        losses: list[torch.Tensor] = []
        values: list[torch.Tensor] = []
        finished: list[tuple[float, int]] = []
        done = reported = 0
        while done < steps:
            t0 = perf_counter()
            observations, masks = stream.observations, stream.action_masks
            epsilon = self._epsilon()
            if self.context.expert_action is not None and self.steps < config.expert_steps:
                actions = self.context.expert_action(observations, masks)
            else:
                actions = self._act(self._values, observations, masks, epsilon, rng)
            stream.step_async(actions)
            before, self.steps = self.steps, self.steps + num_envs
            done += num_envs
            clock["acting"] += perf_counter() - t0
            # Learn while the environments take their step.
            if self.steps > config.learning_starts and replay.can_sample(config.n_step):
                due = self.steps // config.train_frequency - before // config.train_frequency
                for _ in range(due // self.updates_at_once):
                    loss, q = self._improve(replay, rng, clock)
                    losses.append(loss)
                    values.append(q)
            t1 = perf_counter()
            transition = stream.step_wait()
            t2 = perf_counter()
            # Actions are stored as numbers from 0.
            replay.append(
                replace(transition, actions=transition.actions - self.first_action), masks
            )
            finished += stream.finished.values()
            clock["environment"] += t2 - t1
            clock["sampling"] += perf_counter() - t2
            if done - reported >= 1_000 or done >= steps:
                reported = done
                metrics: Metrics = {"steps": done, "epsilon": epsilon, "updates": self.updates}
                metrics |= {f"time/{phase}": seconds for phase, seconds in clock.items()}
                if losses:
                    metrics["loss"] = float(torch.stack(losses).mean())
                    metrics["q"] = float(torch.stack(values).mean())
                metrics |= episode_metrics(finished)
                losses, values, finished = [], [], []
                yield metrics

    def _compile(self) -> None:
        # For images compiling pays at once.
        pays = is_image(self.observation_space) or self.context.total_steps >= LONG_TRAINING
        if pays and self.compiles and not self._compiled:
            self._gradient_step = compiled(self._gradient_step_of, self.device)
            self._values = compiled(self._values_of, self.device)
            self._target_values = compiled(self._target_values_of, self.device)
            self._compiled = True

    def _improve(
        self, replay: Replay, rng: np.random.Generator, clock: Metrics
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Learn from `updates_at_once` batches of the replay memory; gives what `_update` does."""
        began = perf_counter()
        if self.config.subtract_mean_image and self.updates == 0:
            pictures = self._sample(replay, IMAGES_IN_MEAN, rng).observations
            for part, images in zip(parts_of(self.network.encoder), pictures, strict=True):
                if isinstance(part, ImageEncoder):
                    part.centre(images)
        batches = self._sample(replay, self.updates_at_once * self.config.batch_size, rng)
        sampled = perf_counter()
        result = self._update(batches)
        clock["sampling"] += sampled - began
        clock["learning"] += perf_counter() - sampled
        return result

    def _sample(self, replay: Replay, size: int, rng: np.random.Generator) -> Batch:
        c = self.config
        return replay.sample(size, c.n_step, c.discount, c.reward_clip or np.inf, rng)

    def _update(self, batches: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Do one update with each batch; returns the losses and the mean Q-values of the actions taken.

        The target network evaluates all batches in one pass, which is faster than one by one. If it is
        renewed between two of them, only later calls see that.
        """
        config = self.config
        rate = config.learning_rate
        if config.anneal_lr:
            rate = linear_schedule(rate, 0, self.context.total_steps, self.steps)
        following = [part.to(self.device) for part in batches.next_observations]
        masks = batches.next_masks
        table = [
            batches.actions.to(self.device),
            (batches.rewards * config.reward_scale).to(self.device),
            batches.discounts.to(self.device),
            None if masks is None else masks.to(self.device),
            self._target_values(*following),
            *(part.to(self.device) for part in batches.observations),
            *following,
        ]
        losses, values = [], []
        for start in range(0, len(batches.actions), config.batch_size):
            self.updates += 1
            one = slice(start, start + config.batch_size)
            loss, q = self._gradient_step(
                self.adam.step_scalars(rate, self.updates),
                *(column if column is None else column[one] for column in table),
            )
            losses.append(loss.clone())
            values.append(q.clone())
            if config.tau:
                torch._foreach_lerp_(
                    list(self.average.values()), list(self.adam.weights.values()), config.tau
                )
                copy_into(self.average, self.target)
            elif self.updates % config.target_update_interval == 0:
                copy_into(self.adam.compute_params, self.target)
        return torch.stack(losses), torch.stack(values)

    def _gradient_step_of(
        self,
        step_scalars: torch.Tensor,
        actions: torch.Tensor,
        rewards: torch.Tensor,
        discounts: torch.Tensor,
        next_masks: torch.Tensor | None,
        next_q: torch.Tensor,
        *both: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One gradient step on the Huber loss of the temporal-difference error, or on the cross-entropy of
        the histograms; `both` are the parts of the observations, then those of the next ones. Returns the
        loss and the mean Q-value of the actions taken."""
        observations, next_observations = both[: len(both) // 2], both[len(both) // 2 :]

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            output = functional_call(self.network, compute_params, observations)
            taken = output[torch.arange(len(actions), device=output.device), actions]
            if self.histogram is None:
                loss = F.smooth_l1_loss(taken, targets)
            else:
                loss = F.cross_entropy(taken, self.histogram.probabilities(targets))
            return loss, self._mean(taken.detach()).mean()

        with torch.no_grad():
            selection_q = self._values_of(*next_observations) if self.config.double else next_q
            targets = td_targets(rewards, discounts, next_q, selection_q, next_masks)
        gradients, loss, q = gradients_of(loss_of, self.adam.compute_params, self.adam.frozen)
        self.adam.step(gradients, step_scalars)
        return loss, q

    # -- state ----------------------------------------------------------------------------------

    def _open_replay(self) -> Replay:
        if self._replay is None:
            self._replay = open_replay(
                self.context,
                self.observation_space,
                self.config.replay_capacity,
                self.steps,
                self.num_actions,
                self.device,
                self._rows,
            )
        return self._replay

    def _extend(self, total_steps: int) -> None:
        super()._extend(total_steps)
        if self._replay is not None:  # it is opened again with room for the additional steps
            self._replay.flush()
            self._replay = None

    def state(self) -> AgentState:
        if self._replay is not None:
            self._replay.flush()
        weights, other = self.adam.weights, {f"target.{n}": w for n, w in self.target.items()}
        if self.config.tau:
            weights, other = self.average, {f"online.{n}": w for n, w in weights.items()}
        return AgentState(
            weights | dict(self.network.named_buffers()),
            self.adam.moments() | other,
            {"steps": self.steps, "updates": self.updates, "rows": self._rows},
        )

    def load(self, state: AgentState) -> None:
        weights = dict(state.weights)
        buffers = dict(self.network.named_buffers())
        copy_into({name: weights.pop(name) for name in buffers if name in weights}, buffers)
        self.adam.load(weights, None)
        copy_into(self.adam.weights, self.average)
        copy_into(self.adam.weights, self.target)
        if not state.tensors:
            return
        saved = state.tensors
        if self.config.tau:
            weights = {name: saved[f"online.{name}"] for name in weights}
        else:
            copy_into({name: saved[f"target.{name}"] for name in self.target}, self.target)
        self.adam.load(weights, {name: saved[name] for name in self.adam.moments()})
        self.steps = int(state.numbers["steps"])
        self.updates = int(state.numbers["updates"])
        self._rows = int(state.numbers["rows"])
        if self._replay is not None:
            self._replay.go_on_from(self._rows)

    @classmethod
    def storage_bytes(
        cls,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: DQNConfig,
        context: RunContext,
    ) -> int:
        assert isinstance(action_space, gym.spaces.Discrete)
        return storage_bytes(
            observation_space,
            context.num_envs,
            config.replay_capacity,
            context.segment_steps,
            context.total_steps,
            context.frame_stack,
            int(action_space.n),
        )


def _check(config: DQNConfig, frame_stack: int) -> None:
    """Raise ValueError where hyperparameters do not go together."""
    # Of three rows at least one can be sampled: the others may be a reset and the end of a segment.
    needed = (config.n_step + frame_stack + 3) * config.num_envs
    for name in ("learning_starts", "replay_capacity"):
        if getattr(config, name) < needed:
            raise ValueError(
                f"{name} must be at least {needed}, not {getattr(config, name)}, to hold a target of"
                f" {config.n_step} rewards in each of {config.num_envs} environments"
            )
    if config.value_bins == 1:
        raise ValueError("value_bins must be 0, or 2 or more, not 1")
