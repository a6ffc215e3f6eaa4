"""Deep Q-network (Mnih et al. 2015), with what later papers made standard as options.

The agent acts ε-greedily in several environments at once, stores every step in a replay memory, and
every `train_frequency` agent steps moves Q(s, a) towards r + γ·max Q'(s', ·), where Q' is a frozen copy
of the network that is renewed every `target_update_interval` updates. Options: Double Q-learning (van Hasselt
et al. 2016), dueling heads (Wang et al. 2016), n-step targets (Sutton 1988; Hessel et al. 2018),
layer normalisation (Ba et al. 2016), pictures less their mean (LeCun et al. 1998), values as
histograms, learnt by classification (Farebrother et al. 2024), and for Q' a running average of the
network (Lillicrap et al. 2016), which then also acts in evaluation.

Different from the paper: Adam takes the place of RMSProp, and on processors that have it the network
computes in bfloat16 on a copy of the float32 weights that Adam moves.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from agents.agent import (
    Agent,
    AgentState,
    Metrics,
    RunContext,
    check_numbers,
    episode_metrics,
    generator,
    linear_schedule,
)
from agents.parts.adam import Adam, copy_into, gradients_of, image_precision
from agents.parts.compiling import LONG_TRAINING, compiled
from agents.parts.replay import MOST_ACTIONS, Batch, Replay, storage_bytes
from envs.observations import FlatObservation
from envs.vector import Transitions
from perception.networks.encoders import ImageEncoder, as_tensor, encoder, is_image

PICTURES_IN_MEAN = 1_000  # drawn from the memory, where pictures are centred


@dataclass(frozen=True)
class DQNConfig:
    """Hyperparameters; the paper's value in brackets. The defaults are for small worlds of one's own."""

    num_envs: int = 8
    """Environments stepped together [1]."""
    replay_capacity: int = 100_000
    """Transitions that may be sampled [1,000,000]."""
    learning_starts: int = 1_000
    """Agent steps before the first update [50,000]."""
    train_frequency: int = 4
    """Agent steps, over all environments, between two updates [4]."""
    batch_size: int = 32
    """Transitions an update [32]. The replay ratio is batch_size / train_every."""
    learning_rate: float = 5e-4
    """Of Adam (Kingma & Ba 2015) [RMSProp, 2.5e-4]."""
    anneal_lr: bool = False
    """Let the learning rate fall linearly to zero over the run [False]."""
    adam_epsilon: float = 1.5e-4
    """Of Adam (Hessel et al. 2018)."""
    discount: float = 0.99
    """γ of one agent step [0.99]."""
    n_step: int = 3
    """Rewards in a target before it bootstraps [1]."""
    target_update_interval: int = 250
    """Updates between two copies to the target network [10,000]."""
    tau: float = 0.0
    """Instead of copies: the share of the way that the target network goes towards the online one at
    every update [0, copies]. This average of the last 1 / target_rate networks then is what acts in
    evaluation, and what ships (Polyak & Juditsky 1992)."""
    double: bool = True
    """Double Q-learning: the online network chooses the action the target network values [False]."""
    dueling: bool = False
    """Separate heads for the state's value and the actions' advantages [False]."""
    value_bins: int = 0
    """Learn a value as a histogram of so many bins, by its cross-entropy with the target's, and act by
    its mean [0: learn a number, by the Huber loss]."""
    value_limit: float = 10.0
    """The histogram spans ± this."""
    cnn: Literal["nature", "nips"] = "nature"
    """Convolutions for images: of Mnih et al. 2015, or the smaller ones of 2013 ["nature"]."""
    layer_norm: bool = False
    """For images: normalise what goes into the dense layer's rectifiers, as Gallici et al. 2024
    do throughout [False]."""
    subtract_mean_image: bool = False
    """For images: take off each the mean of those in the memory at the first update [False]."""
    hidden_size: int = 256
    """Width of the dense layers [512]."""
    epsilon_start: float = 1.0
    """First probability of a random action [1.0]."""
    epsilon_end: float = 0.01
    """Last probability of a random action [0.1]."""
    epsilon_steps: int = 20_000
    """Agent steps over which ε falls linearly [1,000,000]."""
    expert_steps: int = 0
    """First agent steps, in which the world's own rules act and no ε [0]."""
    evaluation_epsilon: float = 0.001
    """Probability of a random action in evaluation [0.05]."""
    reward_clip: float = 1.0
    """The learner clips each reward to ± this [1]; 0 leaves rewards as they are."""
    reward_scale: float = 1.0
    """And multiplies it by this [1]: errors far above 1 move Q towards a median, not the mean."""


class QNetwork(nn.Module):
    """Encoder and one linear head, or two joined as Wang et al. 2016 have it.

    Takes a batch of observations, gives (batch, actions) float values, or (batch, actions, bins) logits
    of their histograms.
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

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        features = self.encoder(observations).float()
        q = self.advantage(features).unflatten(1, (-1, self.bins))
        if self.value is not None:
            q = self.value(features).unsqueeze(1) + q - q.mean(dim=1, keepdim=True)
        return q if self.bins > 1 else q.squeeze(2)


class Histogram:
    """Values as histograms of equal bins over ±`limit`: HL-Gauss (Imani & White 2018; Farebrother et al.
    2024, "Stop regressing", section 3.1).

    A classifier's gradients do not shrink with the differences between values, which in a game of few
    rewards are far below 1.
    """

    def __init__(self, bins: int, limit: float, device: torch.device) -> None:
        self.edges = torch.linspace(-limit, limit, bins + 1, device=device)
        self.centres = (self.edges[1:] + self.edges[:-1]) / 2
        self.deviation = 0.75 * 2 * limit / bins
        """Of the normal distribution that a target is spread by: three quarters of a bin."""

    def mean(self, logits: torch.Tensor) -> torch.Tensor:
        """(…, bins) logits → (…) values."""
        return logits.softmax(dim=-1) @ self.centres

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """(b,) values → (b, bins) shares of a normal distribution round each, cut off at the limits."""
        values = values.clamp(self.edges[0], self.edges[-1])
        below = torch.erf((self.edges - values.unsqueeze(1)) / (self.deviation * math.sqrt(2)))
        return below.diff(dim=1) / (below[:, -1:] - below[:, :1])


def td_targets(
    rewards: torch.Tensor,
    discounts: torch.Tensor,
    next_q: torch.Tensor,
    choice_q: torch.Tensor,
    masks: torch.Tensor | None = None,
) -> torch.Tensor:
    """r + discount · next_q(s', a*), where a* is the best legal action by `choice_q`.

    With `choice_q` the target network's own values this is Q-learning, with the online network's
    it is Double Q-learning (van Hasselt et al. 2016, equation 4).

    Args:
        rewards, discounts: (b,)
        next_q, choice_q: (b, actions)
        masks: (b, actions) bool, True where an action is legal.
    """
    if masks is not None:
        choice_q = choice_q.masked_fill(~masks, -torch.inf)
    best = choice_q.argmax(dim=1, keepdim=True)
    return rewards + discounts * next_q.gather(1, best).squeeze(1)


class DQN(Agent):
    """Deep Q-network."""

    Config: ClassVar[type] = DQNConfig
    compiles: ClassVar[bool] = True
    """Whether long trainings are compiled."""

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
                f"dqn's replay memory holds numbers of {MOST_ACTIONS:,} actions at most, and there are"
                f" {action_space.n:,}"
            )
        if not isinstance(observation_space, gym.spaces.Box):
            raise ValueError(
                "dqn's replay memory holds one array a step, and this environment shows several: "
                f"{observation_space}; a policy gradient such as ppo takes them"
            )
        _check(config, context.frame_stack)
        if config.expert_steps and context.expert_action is None:
            raise ValueError(
                "expert_steps needs an environment with an expert_action, and this one has none"
            )
        assert observation_space.shape is not None
        self.config = config
        self.context = context
        self.num_actions = int(action_space.n)
        self.first_action = int(action_space.start)
        self.observation_space = observation_space
        self.device = torch.device(context.device)
        self.histogram = (
            Histogram(config.value_bins, config.value_limit, self.device)
            if config.value_bins
            else None
        )
        image = is_image(observation_space)
        for name in ("layer_norm", "subtract_mean_image"):
            if getattr(config, name) and not image:
                raise ValueError(f"{name} is for pictures, and this environment shows none")
        self.network = QNetwork(observation_space, self.num_actions, config).to(self.device)
        if image:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        precision = image_precision(self.device) if image else torch.float32
        self.adam = Adam(self.network, config.adam_epsilon, precision)
        self.target = {name: w.clone() for name, w in self.adam.compute_params.items()}
        # bfloat16 would round the small steps of an average away.
        self.average = {name: w.clone() for name, w in self.adam.weights.items()}
        n, every = config.num_envs, config.train_frequency
        self.together = 1 if n % every or n // every > config.target_update_interval else n // every
        """Updates whose targets are worked out at once: those of one step of all environments, where it
        always has as many, and no more than fall between two copies to the target network."""
        # Pictures are so much work that compiling pays at once.
        pays = image or context.total_steps >= LONG_TRAINING
        compiling = pays and self.compiles and context.storage is not None
        self._learn: Callable[..., tuple[torch.Tensor, torch.Tensor]] = self._learn_from
        self._values: Callable[[torch.Tensor], torch.Tensor] = self._values_of
        self._target_values: Callable[[torch.Tensor], torch.Tensor] = self._target_values_of
        if compiling:
            self._learn = compiled(self._learn_from, self.device)
            self._values = compiled(self._values_of, self.device)
            self._target_values = compiled(self._target_values_of, self.device)
        self.steps = 0
        self.updates = 0
        self._rows = 0
        self._replay: Replay | None = None

    # -- acting ---------------------------------------------------------------------------------

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return self._act(
            self._settled_values_of,
            observations,
            action_masks,
            self.config.evaluation_epsilon,
            rng,
        )

    def _act(
        self,
        values: Callable[[torch.Tensor], torch.Tensor],
        observations: FlatObservation,
        masks: np.ndarray | None,
        epsilon: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Each environment's best legal action, or with probability ε any legal one."""
        assert isinstance(observations, np.ndarray)
        n = len(observations)
        legal = np.ones((n, self.num_actions), bool) if masks is None else masks
        explore = rng.random(n) < epsilon
        chance = rng.random((n, self.num_actions))
        actions = np.where(legal, chance, -1.0).argmax(axis=1)
        if not explore.all():
            q = values(as_tensor(observations).to(self.device)).cpu().numpy()
            best = np.where(legal, q, -np.inf).argmax(axis=1)
            actions = np.where(explore, actions, best)
        return actions + self.first_action

    def _epsilon(self) -> float:
        """The probability of a random action now."""
        c = self.config
        return linear_schedule(c.epsilon_start, c.epsilon_end, c.epsilon_steps, self.steps)

    @torch.no_grad()
    def _values_of(self, observations: torch.Tensor) -> torch.Tensor:
        return self._mean(functional_call(self.network, self.adam.compute_params, (observations,)))

    @torch.no_grad()
    def _target_values_of(self, observations: torch.Tensor) -> torch.Tensor:
        return self._mean(functional_call(self.network, self.target, (observations,)))

    def _settled_values_of(self, observations: torch.Tensor) -> torch.Tensor:
        """Of the network that is evaluated."""
        average = self.config.tau > 0
        return (self._target_values_of if average else self._values_of)(observations)

    def _mean(self, output: torch.Tensor) -> torch.Tensor:
        """The values, (batch, actions), that the network's output stands for."""
        return output if self.histogram is None else self.histogram.mean(output)

    # -- learning -------------------------------------------------------------------------------

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        config, replay = self.config, self._open_replay()
        rng = generator(seed)
        stream = Transitions(env)
        observations = stream.reset(seed)
        replay.begin()
        clock = {"environment": 0.0, "acting": 0.0, "sampling": 0.0, "learning": 0.0}
        losses: list[torch.Tensor] = []
        values: list[torch.Tensor] = []
        finished: list[tuple[float, int]] = []
        done = reported = 0
        while done < steps:
            t0 = perf_counter()
            masks = stream.action_masks
            epsilon = self._epsilon()
            if self.context.expert_action is not None and self.steps < config.expert_steps:
                actions = self.context.expert_action(observations, masks)
            else:
                actions = self._act(self._values, observations, masks, epsilon, rng)
            stream.step_async(actions)
            before, self.steps = self.steps, self.steps + env.num_envs
            done += env.num_envs
            clock["acting"] += perf_counter() - t0
            # While the environments take their step.
            if self.steps > config.learning_starts and replay.can_sample(config.n_step):
                due = self.steps // config.train_frequency - before // config.train_frequency
                for _ in range(due // self.together):
                    loss, q = self._improve(replay, rng, clock)
                    losses.append(loss)
                    values.append(q)
            t1 = perf_counter()
            transition = stream.step_wait()
            t2 = perf_counter()
            # The memory counts actions from zero, wherever the space starts.
            replay.append(
                replace(transition, actions=transition.actions - self.first_action), masks
            )
            observations = transition.next_observations
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
        replay.end(observations, stream.action_masks)
        self._rows = replay.rows

    def _improve(
        self, replay: Replay, rng: np.random.Generator, clock: Metrics
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Learn from `together` batches of the memory; gives what `_update` does."""
        began = perf_counter()
        if self.config.subtract_mean_image and self.updates == 0:
            assert isinstance(self.network.encoder, ImageEncoder)
            self.network.encoder.centre(self._sample(replay, PICTURES_IN_MEAN, rng).observations)
        batches = self._sample(replay, self.together * self.config.batch_size, rng)
        sampled = perf_counter()
        result = self._update(batches)
        clock["sampling"] += sampled - began
        clock["learning"] += perf_counter() - sampled
        return result

    def _sample(self, replay: Replay, size: int, rng: np.random.Generator) -> Batch:
        c = self.config
        return replay.sample(size, c.n_step, c.discount, c.reward_clip or np.inf, rng)

    def _update(self, batches: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Learn from one batch after the other; gives the loss and the mean Q of the actions taken of each.

        The target network values what follows in all of them at once, which takes less time than one by
        one; where it is renewed between two of them, the batches after these are the first to see it.
        """
        config = self.config
        rate = config.learning_rate
        if config.anneal_lr:
            rate = linear_schedule(rate, 0, self.context.total_steps, self.steps)
        following = batches.next_observations.to(self.device)
        batches = batches._replace(
            rewards=batches.rewards * config.reward_scale, next_observations=following
        )
        parts = [part if part is None else part.to(self.device) for part in batches]
        parts.append(self._target_values(following))
        losses, values = [], []
        for start in range(0, len(following), config.batch_size):
            self.updates += 1
            one = slice(start, start + config.batch_size)
            loss, q = self._learn(
                *(part if part is None else part[one] for part in parts),
                self.adam.step_scalars(rate, self.updates),
            )
            losses.append(loss.clone())
            values.append(q.clone())
            if config.tau:
                compute_params, average = self.adam.weights.values(), self.average.values()
                torch._foreach_lerp_(list(average), list(compute_params), config.tau)
                copy_into(self.average, self.target)
            elif self.updates % config.target_update_interval == 0:
                copy_into(self.adam.compute_params, self.target)
        return torch.stack(losses), torch.stack(values)

    def _learn_from(
        self,
        observations: torch.Tensor,
        actions: torch.Tensor,
        rewards: torch.Tensor,
        next_observations: torch.Tensor,
        discounts: torch.Tensor,
        next_masks: torch.Tensor | None,
        next_q: torch.Tensor,
        step_scalars: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step down the Huber loss of the temporal-difference error, or the cross-entropy of the
        values' histograms."""

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            output = functional_call(self.network, compute_params, (observations,))
            taken = output[torch.arange(len(actions), device=output.device), actions]
            if self.histogram is None:
                loss = F.smooth_l1_loss(taken, targets)
            else:
                loss = F.cross_entropy(taken, self.histogram.of(targets))
            return loss, self._mean(taken.detach()).mean()

        with torch.no_grad():
            choice_q = self._values_of(next_observations) if self.config.double else next_q
            targets = td_targets(rewards, discounts, next_q, choice_q, next_masks)
        gradients, loss, q = gradients_of(loss_of, self.adam.compute_params)
        self.adam.step(gradients, step_scalars)
        return loss, q

    # -- the life of a run ----------------------------------------------------------------------

    def _open_replay(self) -> Replay:
        if self._replay is None:
            assert self.context.storage is not None, "an agent that trains needs a storage folder"
            space = self.observation_space
            assert space.shape is not None
            assert space.dtype is not None
            self._replay = Replay(
                self.context.storage,
                space.shape,
                space.dtype,
                self.context.num_envs,
                self.config.replay_capacity,
                self.context.segment_steps,
                self.context.total_steps - self.steps,
                self.context.frame_stack,
                self.num_actions,
                self.device,
                self._rows,
            )
        return self._replay

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
        shape, dtype = observation_space.shape, observation_space.dtype
        assert shape is not None
        assert dtype is not None
        assert isinstance(action_space, gym.spaces.Discrete)
        return storage_bytes(
            shape,
            dtype,
            context.num_envs,
            config.replay_capacity,
            context.segment_steps,
            context.total_steps,
            context.frame_stack,
            int(action_space.n),
        )


def _check(config: DQNConfig, frame_stack: int) -> None:
    check_numbers(
        config,
        positive=(
            *(
                "num_envs",
                "replay_capacity",
                "train_frequency",
                "batch_size",
                "n_step",
                "target_update_interval",
            ),
            *("hidden_size", "learning_rate", "reward_scale"),
        ),
        not_negative=(
            *("learning_starts", "adam_epsilon", "epsilon_steps", "expert_steps", "reward_clip"),
        ),
        shares=("discount", "tau", "epsilon_start", "epsilon_end", "evaluation_epsilon"),
    )
    # Three rows to draw from: of a one-step episode's end, a reset and a segment's end, one counts.
    needed = (config.n_step + frame_stack + 3) * config.num_envs
    for name in ("learning_starts", "replay_capacity"):
        if getattr(config, name) < needed:
            raise ValueError(
                f"{name} must be at least {needed}, not {getattr(config, name)}: a target of"
                f" {config.n_step} rewards in each of {config.num_envs} environments has to fit"
            )
    if config.value_bins == 1 or config.value_bins < 0 or not config.value_limit > 0:
        raise ValueError(
            "value_bins must be 0, or 2 or more with a value_limit above 0, not "
            f"{config.value_bins} and {config.value_limit}"
        )
