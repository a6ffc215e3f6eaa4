"""MuZero (Schrittwieser et al. 2020): planning with a model that is learnt.

Three networks make up the model: a representation of the observation as a latent state, the dynamics that say
which state and reward follow an action, and the prediction of a policy and a value from a state. Before every
step a tree search in latent states improves on the policy (Gumbel: Danihelka et al. 2022), and the networks,
unrolled over stored actions, learn the improved policies, the n-step returns and the rewards. A predicted state
must also resemble that of what was observed (EfficientZero: Ye et al. 2021).

With every step some stored positions are searched again by the present network ("reanalyse", Schrittwieser et
al. 2021), in the same batch. Positions are sampled by the error of their value (Schaul et al. 2016). The network
that searches is the exponential average of the one that learns.

Deviations from the papers: docs/algorithms/muzero.md.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from time import perf_counter
from typing import ClassVar, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
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
from agents.parts.adam import Adam, Tensors, clip_by_global_norm, copy_into
from agents.parts.replay import MOST_ACTIONS, Replay, Stretches, open_replay, storage_bytes
from agents.parts.search_results import SearchResults
from agents.search.latent_search import Searched, search
from envs.observations import FlatObservation
from envs.vector import Transitions
from perception.networks.encoders import from_numpy
from perception.networks.latent_model import LatentModel, StateDecoder, Support

BINS = 51
"""Of a value and of a reward (Schrittwieser et al. 2020: 601, of Atari's scores)."""
ADAM_EPSILON = 1e-5
MAX_GRADIENT_NORM = 5.0
LEAST_SPAN = 0.05
"""Differences of values that count fully in a search, as a share of `value_limit`; smaller ones may be errors."""
AVERAGE_DECAY = 0.99
"""Of the average of the weights, in each update."""
DECODER_RATE = 3e-3
LEAST_PRIORITY = 1e-3
IMPORTANCE = 0.4
"""Exponent β of the weights that correct for priorities (Schaul et al. 2016)."""
OBSERVATIONS_IN_MEAN = 1_000
"""Stored observations that vectors are normalised by, at the first update."""
REPORT_STEPS = 1_000
LOSSES = ("policy_loss", "value_loss", "reward_loss", "consistency_loss", "decoder_loss")


@dataclass(frozen=True, config=STRICT)
class MuZeroConfig:
    """Hyperparameters of MuZero; the value of Schrittwieser et al. 2020 for Atari in brackets."""

    players: Literal[1, 2] = 1
    """Players of the world, who alternate; 2: it learns from games against itself, where each player sees the position as their own, and the reward is that of the player who acted."""
    num_envs: NumEnvs = 8
    """Environments stepped together."""
    simulations: Size = 16
    """Simulations of the search for each step [50]."""
    reanalyse: NonNegativeInt = 4
    """Stored positions that are searched again for each agent step [4]."""
    replay_capacity: PositiveInt = 50_000
    """Agent steps that are sampled from [125,000 sequences of 200 steps]."""
    priority_exponent: UnitInterval = 0.6
    """Exponent α of the priorities [1]; 0: positions are sampled uniformly."""
    learning_starts: NonNegativeInt = 500
    """Agent steps before the first update."""
    replay_ratio: PositiveFloat = 16.0
    """Mean number of times that each position is learnt from."""
    batch_size: Size = 128
    """Positions in an update, each unrolled [1024]."""
    unroll_steps: Repeats = 5
    """Steps that the model is unrolled in learning [5]."""
    n_step: Repeats = 10
    """Rewards in a target of the value before it bootstraps [10]."""
    discount: UnitInterval = 0.997
    """Discount factor γ of one agent step [0.997]."""
    learning_rate: PositiveFloat = 2e-3
    """Initial learning rate of Adam, annealed linearly to 0 over the run."""
    value_coefficient: NonNegativeFloat = 0.25
    """Weight of the loss of values [0.25]."""
    consistency_coefficient: NonNegativeFloat = 2.0
    """Weight of the negative cosine similarity of predicted and observed states (Ye et al. 2021: 2)."""
    value_limit: PositiveFloat = 300.0
    """Values and rewards are represented between ± this, small ones more finely; those beyond are clipped."""
    epsilon: UnitInterval = 0.0
    """Share of the actions in training that are drawn at random among the legal ones; targets of values end before them."""
    hidden_size: Size = 128
    """Width of the dense layers, and size of a latent state where observations are no images or grids."""
    width: Size = 32
    """Images and grids: planes of a latent state, and filters of the convolutions [256]."""


class Targets(NamedTuple):
    """What b positions, unrolled k steps, are to predict; a weight is 0 where nothing is known."""

    returns: np.ndarray
    """(b, k + 1) float32: discounted sums of at most n rewards; 0 after the end of the episode."""
    factors: np.ndarray
    """(b, k + 1) float32, of the value that a return bootstraps from; 0 where it does not."""
    places: np.ndarray
    """(b, k + 1) int64: steps from the first position to that where this value is."""
    value_weights: np.ndarray
    """(b, k + 1) float32: 0 after a truncation."""
    rewards: np.ndarray
    """(b, k) float32: of the k steps; 0 after the end."""
    reward_weights: np.ndarray
    """(b, k) float32: 0 after a truncation."""
    policy_weights: np.ndarray
    """(b, k + 1) float32: 1 for positions in which the agent acted."""
    state_weights: np.ndarray
    """(b, k + 1) float32: 1 for positions that were observed: these, and the last of an episode."""


def targets_of(stretch: Stretches, explored: np.ndarray, k: int, discount: float) -> Targets:
    """Targets of positions from the k + n steps that follow each.

    Args:
        stretch: (b, k + n) each; an episode's last observation is in the row after its last step.
        explored: (b, k + n) bool, actions drawn at random: returns end before them.
        k: steps that the model is unrolled.
        discount: negative in a game of two players who alternate.
    """
    b, steps = stretch.rewards.shape
    n = steps - k
    ended = stretch.terminated | stretch.truncated
    # Row i is inside if the agent acted in it, in this episode.
    inside = np.ones((b, steps + 1), bool)
    inside[:, 1:] = ~np.logical_or.accumulate(ended, axis=1)
    rewards = np.where(inside[:, :-1], stretch.rewards, 0.0)
    terminated = stretch.terminated & inside[:, :-1]
    last, over = np.zeros((2, b, steps + 1), bool)
    last[:, 1:] = ended & inside[:, :-1]
    over[:, 1:] = np.logical_or.accumulate(terminated, axis=1)
    powers = discount ** np.arange(n + 1)
    explored = explored & inside[:, :-1]
    returns, lengths = np.zeros((b, k + 1)), np.zeros((b, k + 1), np.int64)
    for i in range(k + 1):
        followed = inside[:, i : i + n] & ~np.logical_or.accumulate(explored[:, i : i + n], axis=1)
        returns[:, i] = (rewards[:, i : i + n] * followed) @ powers[:-1]
        lengths[:, i] = followed.sum(axis=1)
    places = lengths + np.arange(k + 1)
    bootstraps = inside[:, : k + 1] & ~np.take_along_axis(over, places, axis=1)
    first = slice(0, k + 1)
    explored_at = np.pad(explored, ((0, 0), (0, 1)))
    return Targets(
        returns.astype(np.float32),
        np.where(bootstraps, powers[lengths], 0.0).astype(np.float32),
        places,
        (inside & ~explored_at | over)[:, first].astype(np.float32),
        rewards[:, :k].astype(np.float32),
        (inside | over)[:, :k].astype(np.float32),
        inside[:, first].astype(np.float32),
        (inside | last)[:, first].astype(np.float32),
    )


class MuZero(Agent):
    """Planning with a learnt model."""

    Config: ClassVar[type] = MuZeroConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: MuZeroConfig,
        context: RunContext,
    ) -> None:
        if not isinstance(action_space, gym.spaces.Discrete):
            raise ValueError(
                f"muzero needs a discrete action space, and this environment's is {action_space}; ppo takes"
                " continuous actions"
            )
        if action_space.n > MOST_ACTIONS:
            raise ValueError(
                f"the replay memory of muzero supports {MOST_ACTIONS:,} actions at most, and there are"
                f" {action_space.n:,}"
            )
        super().__init__(observation_space, action_space, config, context)
        self.self_play = config.players == 2
        needed = (config.n_step + config.unroll_steps + context.frame_stack + 3) * config.num_envs
        for name in ("learning_starts", "replay_capacity"):
            if getattr(config, name) < needed:
                raise ValueError(
                    f"{name} must be at least {needed}, not {getattr(config, name)}, to hold"
                    f" {config.unroll_steps} unrolled steps and {config.n_step} rewards in each of"
                    f" {config.num_envs} environments"
                )
        self.num_actions = int(action_space.n)
        self.first_action = int(action_space.start)
        self.discount = config.discount if config.players == 1 else -config.discount
        """Of a value one step later, which in a game of two is the opponent's."""
        self.device = torch.device(context.device)
        self.support = Support(config.value_limit, BINS, self.device)
        self.model = LatentModel(
            observation_space, self.num_actions, config.hidden_size, config.width, BINS
        ).to(self.device)
        self.adam = Adam(self.model, ADAM_EPSILON, torch.float32)
        self.average = deepcopy(self.model).requires_grad_(False)
        """The exponential average of the model, which searches."""
        self.decoder: StateDecoder | None = None
        """Shows latent states as observations; None where these cannot be decoded."""
        if self.model.scaler is not None:
            self.decoder = StateDecoder(
                self.model.shape, self.model.scaler.shape, config.hidden_size
            ).to(self.device)
            self.decoder_adam = Adam(self.decoder, ADAM_EPSILON, torch.float32)
        self.results = SearchResults(
            max(1, config.replay_capacity // config.num_envs), config.num_envs, self.num_actions
        )
        self.updates = 0
        self._rows = 0
        self._replay: Replay | None = None

    # -- searching ------------------------------------------------------------------------------

    @torch.no_grad()
    def search(
        self, observations: tuple[torch.Tensor, ...], masks: np.ndarray | None, noise: np.ndarray
    ) -> Searched:
        """Search from observations, each part (n, …), with Gumbel noise (n, actions)."""
        states = self.average.represent([part.to(self.device) for part in observations])
        logits, values = self.average.predict(states)
        return search(
            self._step,
            states,
            logits.cpu().numpy(),
            self.support.mean(values).cpu().numpy(),
            masks,
            self.config.simulations,
            self.discount,
            noise,
            LEAST_SPAN * self.config.value_limit,
        )

    def _step(
        self, states: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray, np.ndarray]:
        following, reward = self.average.dynamics(states, actions)
        logits, value = self.average.predict(following)
        rewards, values = self.support.mean(torch.stack([reward, value])).cpu().numpy()
        return following, rewards, logits.cpu().numpy(), values

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        parts = _tensors(observations)
        noise = np.zeros((len(parts[0]), self.num_actions))
        return self.search(parts, action_masks, noise).actions + self.first_action

    # -- learning -------------------------------------------------------------------------------

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        self.context.check(env, steps)
        replay, stream = self._open_replay(), Transitions(env)
        rng = generator(seed)
        stream.reset(seed)
        replay.begin()
        try:
            yield from self._segment(stream, replay, steps, rng)
        finally:  # also where the caller stops early, or the next segment would run on from this one
            replay.end(stream.observations, stream.action_masks)
            self.results.skip(replay.rows - 1)
            self._rows = replay.rows

    def _segment(
        self, stream: Transitions, replay: Replay, steps: int, rng: np.random.Generator
    ) -> Iterator[Metrics]:
        config, num_envs = self.config, self.context.num_envs
        clock = {"environment": 0.0, "acting": 0.0, "learning": 0.0}
        losses: list[torch.Tensor] = []
        finished: list[tuple[float, int]] = []
        values: list[float] = []
        due = 0.0
        done = reported = 0
        while done < steps:
            t0 = perf_counter()
            searched = self._search_with_stored(stream, replay, rng)
            masks = stream.action_masks
            explored = np.zeros(num_envs, bool)
            if config.epsilon:
                explored = rng.random(num_envs) < config.epsilon
                drawn = rng.random((num_envs, self.num_actions))
                drawn = (drawn if masks is None else np.where(masks, drawn, -1.0)).argmax(axis=1)
                searched = searched._replace(actions=np.where(explored, drawn, searched.actions))
            stream.step_async(searched.actions + self.first_action)
            self.steps += num_envs
            done += num_envs
            t1 = perf_counter()
            # Learn while the environments take their step.
            if self.steps > config.learning_starts:
                due += num_envs * config.replay_ratio
                while due >= config.batch_size:
                    due -= config.batch_size
                    if replay.can_sample(config.unroll_steps + config.n_step):
                        losses.append(self._update(replay, rng))
            t2 = perf_counter()
            transition = stream.step_wait()
            replay.append(
                replace(transition, actions=transition.actions - self.first_action), masks
            )
            self.results.write(replay.rows - 1, searched.policies, explored)
            values.append(float(searched.values.mean()))
            finished += stream.finished.values()
            clock["acting"] += t1 - t0
            clock["learning"] += t2 - t1
            clock["environment"] += perf_counter() - t2
            if done - reported >= REPORT_STEPS or done >= steps:
                reported = done
                metrics: Metrics = {"steps": done, "updates": self.updates}
                metrics |= {f"time/{phase}": seconds for phase, seconds in clock.items()}
                metrics["value"] = float(np.mean(values))
                if losses:
                    metrics |= dict(zip(LOSSES, torch.stack(losses).mean(0).tolist(), strict=True))
                metrics |= episode_metrics(finished)
                losses, values, finished = [], [], []
                yield metrics

    def _search_with_stored(
        self, stream: Transitions, replay: Replay, rng: np.random.Generator
    ) -> Searched:
        """Search the present positions, and in the same batch some stored ones, whose results are renewed."""
        now, masks = _tensors(stream.observations), stream.action_masks
        n = self.context.num_envs
        oldest, end = replay.window(0)
        stored = self.config.reanalyse * n if self.steps > self.config.learning_starts else 0
        if oldest >= end:
            stored = 0
        noise = rng.gumbel(size=(n + stored, self.num_actions))
        if not stored:
            return self.search(now, masks, noise)
        rows, envs = rng.integers(oldest, end, stored), rng.integers(0, n, stored)
        parts = tuple(
            torch.cat([part, old.to(part.device, part.dtype)])
            for part, old in zip(now, replay.observations_at(rows, envs), strict=True)
        )
        old_masks = replay.masks_at(rows, envs)
        assert old_masks is not None
        legal = np.ones((n, self.num_actions), bool) if masks is None else masks
        searched = self.search(parts, np.concatenate([legal, old_masks]), noise)
        self.results.renew(rows, envs, searched.policies[n:])
        return Searched(*(part[:n] for part in searched))

    def _update(self, replay: Replay, rng: np.random.Generator) -> torch.Tensor:
        """One gradient step on positions of the replay memory; gives the losses."""
        config, k = self.config, self.config.unroll_steps
        if self.updates == 0 and self.model.scaler is not None and self.model.scaler.fits:
            self._fit_scaler(replay, rng)
        oldest, end = replay.window(k + config.n_step)
        rows, envs, weights = self.results.sample(
            oldest,
            replay.valid_in(oldest, end),
            config.batch_size,
            config.priority_exponent,
            IMPORTANCE,
            rng,
        )
        steps = k + config.n_step
        stretch = replay.stretches(rows, envs, steps)
        targets = targets_of(stretch, self.results.explored_at(rows, envs, steps), k, self.discount)
        values = targets.returns + targets.factors * self._values_at(
            replay, rows[:, None] + targets.places, envs
        )
        policies = self.results.policies_at(rows, envs, k + 1)
        # What lies beyond the end of an episode is never compared with, so any row will do.
        places = np.minimum(rows[:, None] + np.arange(k + 1), replay.rows - 1).ravel()
        observations = tuple(
            part.to(self.device).unflatten(0, (-1, k + 1))
            for part in replay.observations_at(places, envs.repeat(k + 1))
        )
        losses, errors = self._gradient_step(
            observations,
            torch.from_numpy(stretch.actions[:, :k]).to(self.device),
            torch.from_numpy(policies).to(self.device),
            torch.from_numpy(values).to(self.device),
            Targets(*(torch.from_numpy(x).to(self.device) for x in targets)),  # type: ignore[arg-type]
            torch.from_numpy(weights).to(self.device),
        )
        self.results.set_priorities(rows, envs, errors.cpu().numpy() + LEAST_PRIORITY)
        return losses

    @torch.no_grad()
    def _values_at(self, replay: Replay, rows: np.ndarray, envs: np.ndarray) -> np.ndarray:
        """The average network's values of stored positions (b, k) of b environments, (b, k) float32."""
        flat = np.minimum(rows, replay.rows - 1).ravel()
        parts = replay.observations_at(flat, envs.repeat(rows.shape[1]))
        states = self.average.represent([part.to(self.device) for part in parts])
        _, logits = self.average.predict(states)
        return self.support.mean(logits).view(rows.shape).cpu().numpy()

    def _gradient_step(
        self,
        observations: tuple[torch.Tensor, ...],
        actions: torch.Tensor,
        policies: torch.Tensor,
        values: torch.Tensor,
        targets: Targets,
        weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Unroll the model from b observations, and learn all that it predicts on the way.

        Args:
            observations: each part (b, k + 1, …).
            actions: (b, k)
            policies: (b, k + 1, actions)
            values: (b, k + 1), n-step returns.
            targets: tensors, as `targets_of` has them.
            weights: (b,), of the positions.

        Returns:
            the losses, and the errors of the values of the b positions.
        """
        config, model, k = self.config, self.model, self.config.unroll_steps
        state = model.represent([part[:, 0] for part in observations])
        states = [state]
        reward_logits = []
        for i in range(k):
            state, logits = model.dynamics(_halved_gradient(state), actions[:, i])
            states.append(state)
            reward_logits.append(logits)
        b = len(actions)
        unrolled = torch.stack(states, dim=1)  # (b, k + 1, …)
        policy_logits, value_logits = (
            x.unflatten(0, (b, k + 1)) for x in model.predict(unrolled.flatten(0, 1))
        )
        # Of the position itself, and the mean of those that it leads to (appendix G of the paper).
        share = torch.full((k + 1,), 1 / k, device=self.device)
        share[0] = 1
        share = share * weights.unsqueeze(1)

        def mean(losses: torch.Tensor, known: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
            return (share * known * losses).sum() / b

        value_targets = self.support.probabilities(values)
        reward_targets = self.support.probabilities(targets.rewards)  # type: ignore[arg-type]
        policy_loss = mean(_cross_entropy(policy_logits, policies), targets.policy_weights, share)  # type: ignore[arg-type]
        value_loss = mean(_cross_entropy(value_logits, value_targets), targets.value_weights, share)  # type: ignore[arg-type]
        reward_loss = mean(
            _cross_entropy(torch.stack(reward_logits, dim=1), reward_targets),
            targets.reward_weights,  # type: ignore[arg-type]
            share[:, 1:],
        )
        consistency = torch.zeros((), device=self.device)
        if config.consistency_coefficient:
            with torch.no_grad():
                seen = model.represent([part[:, 1:].flatten(0, 1) for part in observations])
                seen = model.project(seen)
            foreseen = model.predictor(model.project(unrolled[:, 1:].flatten(0, 1)))
            similarity = F.cosine_similarity(foreseen, seen, dim=1).view(b, k)
            consistency = mean(-similarity, targets.state_weights[:, 1:], share[:, 1:])  # type: ignore[arg-type]
        loss = (
            policy_loss
            + config.value_coefficient * value_loss
            + reward_loss
            + config.consistency_coefficient * consistency
        )
        self.updates += 1
        rate = linear_schedule(config.learning_rate, 0, self.context.total_steps, self.steps)
        _descend(self.adam, model, loss, rate, self.updates)
        # A smaller decay at first, or the average would stay near the random initial weights.
        keep = min(AVERAGE_DECAY, self.updates / (self.updates + 10))
        averages: list[torch.Tensor] = list(self.average.parameters())
        torch._foreach_lerp_(averages, list(self.adam.weights.values()), 1 - keep)
        decoder_loss = self._learn_decoder(unrolled.detach(), observations, targets)
        with torch.no_grad():
            predicted = self.support.mean(value_logits[:, 0])
            errors = (predicted - values[:, 0]).abs()
        parts = (policy_loss, value_loss, reward_loss, consistency, decoder_loss)
        return torch.stack([part.detach() for part in parts]), errors

    def _learn_decoder(
        self, states: torch.Tensor, observations: tuple[torch.Tensor, ...], targets: Targets
    ) -> torch.Tensor:
        """One gradient step of the decoder on states (b, k + 1, …), which have no gradient."""
        if self.decoder is None:
            return torch.zeros((), device=self.device)
        assert self.model.scaler is not None
        wanted = self.model.scaler(observations[0].flatten(0, 1)).flatten(1)
        errors = (self.decoder(states.flatten(0, 1)).flatten(1) - wanted).square().mean(dim=1)
        known: torch.Tensor = targets.state_weights.flatten()  # type: ignore[assignment]
        loss = (errors * known).sum() / known.sum()
        _descend(self.decoder_adam, self.decoder, loss, DECODER_RATE, self.updates)
        return loss.detach()

    def _fit_scaler(self, replay: Replay, rng: np.random.Generator) -> None:
        """Set by which numbers vectors are normalised, in the model and its average."""
        oldest, end = replay.window(0)
        rows = rng.integers(oldest, end, OBSERVATIONS_IN_MEAN)
        envs = rng.integers(0, self.context.num_envs, OBSERVATIONS_IN_MEAN)
        (observations,) = replay.observations_at(rows, envs)
        for model in (self.model, self.average):
            assert model.scaler is not None
            model.scaler.fit(observations.to(self.device))

    # -- imagination ----------------------------------------------------------------------------

    @torch.no_grad()
    def imagine(self, observations: FlatObservation, actions: np.ndarray) -> np.ndarray:
        """What the model expects to observe after each of k actions, of b observations (b, …).

        Args:
            actions: (b, k), as the environment numbers them.

        Returns:
            (b, k + 1, …) float32, scaled as `scaled` does; first what each observation's own state shows.

        Raises:
            ValueError: the observations cannot be decoded.
        """
        if self.decoder is None:
            raise ValueError(
                "only a single image, grid, vector or list of indices can be decoded, and the observations of"
                f" this environment are {self.observation_space}"
            )
        parts = [part.to(self.device) for part in _tensors(observations)]
        states = [self.average.represent(parts)]
        for column in torch.from_numpy(np.asarray(actions, np.int64) - self.first_action).T:
            states.append(self.average.dynamics(states[-1], column.to(self.device))[0])
        unrolled = torch.stack(states, dim=1)
        return self.decoder(unrolled.flatten(0, 1)).unflatten(0, unrolled.shape[:2]).cpu().numpy()

    @torch.no_grad()
    def scaled(self, observations: FlatObservation) -> np.ndarray:
        """Observations (b, …) in the numbers that are decoded: images and grids as planes in 0…1, vectors
        normalised, indices one-hot; (b, …) float32."""
        assert self.average.scaler is not None, "`imagine` says that they cannot be decoded"
        return self.average.scaler(_tensors(observations)[0].to(self.device)).cpu().numpy()

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

    def _trained(self) -> Tensors:
        """All that training changes, but the average and the decoder, by name."""
        tensors = {f"model.{name}": w for name, w in self.adam.weights.items()}
        tensors |= {f"model.{name}": w for name, w in self.adam.moments().items()}
        if self.decoder is not None:
            tensors |= {f"decoder.{name}": m for name, m in self.decoder_adam.moments().items()}
        return tensors | self.results.tensors()

    def _acting(self) -> Tensors:
        """The average and the decoder, which need no more to search and imagine."""
        tensors = {name: w.detach() for name, w in self.average.state_dict().items()}
        if self.decoder is not None:
            tensors |= {f"decoder.{name}": w for name, w in self.decoder_adam.weights.items()}
        return tensors

    def state(self) -> AgentState:
        if self._replay is not None:
            self._replay.flush()
        numbers: dict[str, int | float] = {
            "steps": self.steps,
            "updates": self.updates,
            "rows": self._rows,
        }
        return AgentState(self._acting(), self._trained(), numbers)

    def load(self, state: AgentState) -> None:
        copy_into(state.weights, self._acting())
        own = dict(self.average.state_dict())
        self.model.load_state_dict(own)
        if not state.tensors:
            return
        copy_into(state.tensors, self._trained())
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
        config: MuZeroConfig,
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


def _tensors(observations: FlatObservation) -> tuple[torch.Tensor, ...]:
    parts = observations if isinstance(observations, tuple) else (observations,)
    return tuple(from_numpy(part) for part in parts)


def _cross_entropy(logits: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    return -(probabilities * logits.log_softmax(dim=-1)).sum(dim=-1)


def _halved_gradient(states: torch.Tensor) -> torch.Tensor:
    """States that pass on half of their gradient, so that its sum over many steps does not grow (appendix G)."""
    return (states + states.detach()) / 2


def _descend(
    adam: Adam, network: torch.nn.Module, loss: torch.Tensor, rate: float, update: int
) -> None:
    """One step of Adam."""
    names, weights = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, weights, materialize_grads=True, allow_unused=True)
    clipped = clip_by_global_norm(dict(zip(names, gradients, strict=True)), MAX_GRADIENT_NORM)
    adam.step(clipped, adam.step_scalars(rate, update))
