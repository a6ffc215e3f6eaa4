"""AlphaGo's shape: a policy–value network that learns from experts, then from itself through search.

From game records it predicts the expert's move, the winner and the owner of each point (Maddison et al.
2015; Silver et al. 2016). After that, or from nothing, it plays against itself: a tree search improves on the
network's policy at every move, and the network learns the improved policy and how the games ended (Silver et
al. 2017), with the search at the root by Gumbel (Danihelka et al. 2022), which improves the policy even with
few simulations. Every position is shown in one of its eight symmetries, drawn afresh.

The network that plays, in self-play and everywhere else, is the running average of the one that learns
(Polyak & Juditsky 1992), which is steadier than any single one.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch.func import functional_call

from agents.agent import (
    Agent,
    AgentState,
    Metrics,
    RunContext,
    UnsuitableEnvironmentError,
    check_numbers,
    generator,
    linear_schedule,
)
from agents.parts.adam import Adam, clip_by_global_norm, copy_into, gradients_of, image_precision
from agents.parts.compiling import LONG_TRAINING, compiled
from agents.parts.positions import Position, SelfPlay, in_all_symmetries, symmetric
from agents.search.go_search import GoSearches, SearchConfig
from envs.go import core
from envs.go.board import random_opening
from envs.go.config import GoConfig
from envs.go.games import ExpertGames, GamesError, expert_games, has_games, strength
from envs.go.go import Go
from envs.go.rendering import Thoughts
from envs.observations import FlatObservation
from perception.networks.policy_value import PolicyValueNetwork

LOSSES = ("policy_loss", "value_loss", "owner_loss")

ADAM_EPSILON = 1e-5
MAX_GRADIENT_NORM = 1.0
REPORT_EVERY = 50  # updates
REPORT_MOVES = 1_000
OPENED = 0.25
"""Share of the games of self-play that begin with a few random moves: what the network sees on the empty
board alone does not prepare it for what others play."""
TEST_POSITIONS = 10_000
"""Held-out positions, always the same, on which the accuracy is measured."""


@dataclass(frozen=True)
class AlphaGoConfig:
    """Hyperparameters."""

    expert_games: str = ""
    """Folder or archive of game records to learn from, of which one in twenty games is held out; without it the agent learns from playing itself."""
    min_strength: str = ""
    """Of the records only games in which both players are known to be this strong, a rank such as 6d or a rating such as 2400; empty for all."""
    min_moves: int = 10
    """Of the records only games of at least so many moves."""
    expert_share: float = 1.0
    """Share of the run that learns from the records; from the next segment on it plays itself, so a segment has to begin after it."""
    layers: int = 12
    """Convolutions of the network."""
    width: int = 64
    """Filters of each convolution."""
    batch_size: int = 128
    """Positions in one update."""
    learning_rate: float = 2e-3
    """Of Adam, at the start; it falls linearly to 0 over the run."""
    weight_decay: float = 1e-4
    """Each update shrinks the weights by this share of the learning rate (Loshchilov & Hutter 2019)."""
    value_coefficient: float = 0.5
    """Weight of the squared error of the predicted winner."""
    owner_coefficient: float = 0.25
    """Weight of the squared error of the predicted owners of the points."""
    average_decay: float = 0.998
    """The playing network keeps this share of itself in an update."""
    num_envs: int = 64
    """Games that the agent plays against itself at once."""
    simulations: int = 32
    """Of the search for a move in self-play."""
    replay_positions: int = 50_000
    """The newest positions of self-play, from which batches are drawn."""
    replay_ratio: float = 4.0
    """How often each position of self-play is learnt from, on average."""

    def __post_init__(self) -> None:
        if self.expert_games:  # a run goes on in whatever folder
            folder = os.path.abspath(os.path.expanduser(self.expert_games))
            object.__setattr__(self, "expert_games", folder)


class AlphaGo(Agent):
    """A policy–value network for Go; alone it answers with its likeliest move, and a search can use it.

    One step is one position: of a record learnt from, or one move of self-play.
    """

    Config: ClassVar[type] = AlphaGoConfig

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: AlphaGoConfig,
        context: RunContext,
    ) -> None:
        check_numbers(
            config,
            positive=(
                *("layers", "width", "batch_size", "learning_rate", "num_envs", "simulations"),
                *("replay_positions", "replay_ratio"),
            ),
            not_negative=("min_moves", "weight_decay", "value_coefficient", "owner_coefficient"),
            shares=("average_decay",),
        )
        if not 0 < config.expert_share <= 1:
            raise ValueError(f"expert_share must lie above 0, up to 1, not {config.expert_share}")
        if config.min_strength and strength(config.min_strength) is None:
            raise ValueError(
                f"min_strength must be a rank such as 6d or a rating such as 2400, not {config.min_strength!r}"
            )
        if config.expert_share < 1 and not config.expert_games:
            raise ValueError("expert_share says nothing without expert_games, and none are given")
        if context.storage is not None and config.expert_share < 1:
            taught = config.expert_share * context.total_steps
            last = (context.total_steps - 1) // context.segment_steps * context.segment_steps
            if last < taught:
                raise ValueError(
                    f"no segment begins after the first {taught:,.0f} of {context.total_steps:,} steps,"
                    " which expert_share leaves to the records, so that it would never play itself:"
                    f" segment_steps must be at most {context.total_steps - math.ceil(taught):,}, not"
                    f" {context.segment_steps:,}"
                )
        shape = observation_space.shape
        if (
            not isinstance(action_space, gym.spaces.Discrete)
            or shape is None
            or len(shape) != 3
            or action_space.n != shape[1] * shape[2] + 1
        ):
            raise ValueError(
                "alphago plays Go alone: Fathom/Go-v0, Fathom/Go9-v0 or Fathom/Go19-v0"
            )
        self.config = config
        self.context = context
        self.shape = shape
        self.device = torch.device(context.device)
        self.network = PolicyValueNetwork(shape[0], shape[1], config.layers, config.width)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adam = Adam(self.network, ADAM_EPSILON, image_precision(self.device))
        self.average = {name: w.clone() for name, w in self.adam.weights.items()}
        """Of the weights; what plays."""
        self.player = deepcopy(self.network).requires_grad_(False)
        """Computes with the average, in the precision of the network."""
        for name, weight in self.player.named_parameters():
            weight.data = self.adam.compute_params[name].detach().clone()
        self.playing: dict[str, torch.Tensor] = dict(self.player.named_parameters())
        self._learn: Callable[..., torch.Tensor] = self._learn_from
        if context.storage is not None and context.total_steps >= LONG_TRAINING:
            self._learn = compiled(self._learn_from, self.device)
        self.replay = SelfPlay.empty(shape)
        self._games: ExpertGames | None = None
        self._records: int | None = None
        """The digest of those games that the run began with."""
        self.steps = 0
        self.updates = 0

    # -- playing --------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the network says of (n, planes, size, size) uint8 positions: an `Evaluate` of searches.

        Returns:
            logits (n, size² + 1) float32, values (n,) float32 in −1…1 for the player to move
        """
        logits, values, _ = self._predict(torch.from_numpy(planes))
        return logits.cpu().numpy(), values.cpu().numpy()

    def _predict(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        planes = planes.to(self.device).contiguous(memory_format=torch.channels_last)
        return self.player(planes)

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        starts: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        assert isinstance(observations, np.ndarray)
        logits, _ = in_all_symmetries(self.evaluate)(observations)
        if action_masks is not None:
            logits = np.where(action_masks, logits, -np.inf)
        return logits.argmax(axis=1)

    def annotate(
        self, env: gym.Env, observations: FlatObservation, action_masks: np.ndarray | None
    ) -> None:
        """The five likeliest moves, and black's chance to win so far."""
        assert isinstance(observations, np.ndarray)
        assert action_masks is not None
        go: Go = env.unwrapped  # type: ignore[assignment]
        logits, values = in_all_symmetries(self.evaluate)(observations)
        legal = action_masks[0].astype(bool)
        likely = np.where(legal, np.exp(logits[0] - logits[0][legal].max()), 0.0)
        likely /= likely.sum()
        favourites = [(int(a), float(likely[a])) for a in likely.argsort()[:-6:-1] if likely[a] > 0]
        moves = len(go.board.moves)
        rates = list(go.thoughts.win_rates) if go.thoughts is not None else []
        rates += [float("nan")] * (moves - 1 - len(rates))  # after the opponent's answers
        if moves:
            own = (1 + float(values[0])) / 2
            rates.append(own if go.board.to_play == core.BLACK else 1 - own)
        go.thoughts = Thoughts(favourites, rates[:moves])

    # -- learning -------------------------------------------------------------------------------

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        taught = self.config.expert_share * self.context.total_steps
        if self.config.expert_games and self.steps < taught:
            return self._from_experts(steps, seed)
        config = getattr(env.unwrapped, "config", None)
        if not isinstance(config, GoConfig):
            raise UnsuitableEnvironmentError(
                "it plays itself only on the boards of Fathom/Go-v0, without a time limit"
            )
        if config.handicap:
            raise UnsuitableEnvironmentError(
                "it plays itself on even boards only, without --env.handicap"
            )
        return self._from_itself(config, steps, seed)

    def _from_experts(self, steps: int, seed: int) -> Iterator[Metrics]:
        """Learn from `steps` positions of the records, drawn uniformly."""
        if self._games is None:
            assert self.context.storage is not None, "an agent that trains needs a storage folder"
            try:
                self._games = expert_games(
                    Path(self.config.expert_games),
                    self.shape[1],
                    cache=self.context.storage / "games.safetensors",
                    min_strength=self.config.min_strength or None,
                    min_moves=self.config.min_moves,
                )
            except GamesError as error:
                raise UnsuitableEnvironmentError(str(error)) from error
            digest = self._games.digest()
            if self._records not in (None, digest):
                raise UnsuitableEnvironmentError(
                    f"the games in {self.config.expert_games} are not those that the run began with"
                )
            self._records = digest
            if self.steps == 0:
                for line in self._games.report.lines():
                    print(line, file=sys.stderr)
        games = self._games
        rng = generator(seed)
        clock = {"environment": 0.0, "acting": 0.0, "learning": 0.0}
        learnt: list[torch.Tensor] = []
        done = 0
        while done < steps:
            began = perf_counter()
            n = min(self.config.batch_size, steps - done)
            planes, moves, winners, owners = games.batch(rng.integers(0, games.train, n))
            policies = np.eye(moves.max(initial=self.shape[1] ** 2) + 1, dtype=np.float32)[moves]
            prepared = perf_counter()
            learnt.append(self._update(planes, policies, winners, owners, rng))
            clock["environment"] += prepared - began
            clock["learning"] += perf_counter() - prepared
            done += n
            self.steps += n
            if len(learnt) == REPORT_EVERY or done == steps:
                means = torch.stack(learnt).mean(dim=0).tolist()
                learnt = []
                metrics: Metrics = {"steps": done, "updates": self.updates}
                metrics |= {f"time/{phase}": seconds for phase, seconds in clock.items()}
                metrics |= dict(zip(LOSSES, means, strict=True))
                if done == steps and games.test:
                    metrics |= self.accuracy(games)
                yield metrics

    def _from_itself(self, world: GoConfig, steps: int, seed: int) -> Iterator[Metrics]:
        """Play `steps` moves, several games at once, and learn from every game that ends."""
        config, rules = self.config, world.rules
        rng = generator(seed)
        search = SearchConfig(simulations=config.simulations)
        # As many positions as a game has, with its random opening and the empty board.
        history = world.limit + 5
        searches = GoSearches(config.num_envs, rules, self.evaluate, search, seed, history)
        games: list[list[Position]] = [[] for _ in range(config.num_envs)]
        for g in range(config.num_envs):
            _begin(searches.boards, g, rules, rng)
        clock = {"environment": 0.0, "acting": 0.0, "learning": 0.0}
        learnt: list[torch.Tensor] = []
        finished: list[tuple[int, bool]] = []  # moves, and whether black won
        done = reported = 0
        owed = 0.0
        while done < steps:
            began = perf_counter()
            result = searches.run()
            searched = perf_counter()
            colours = searches.boards.numbers[:, core.TO_PLAY].copy()
            seen = np.zeros((config.num_envs, *self.shape), np.uint8)
            for g, game in enumerate(games):
                core.planes(searches.boards, g, seen[g])
                policy = result.policies[g].astype(np.float16)
                game.append(Position(np.packbits(seen[g]), policy, int(colours[g])))
            searches.advance(result.actions)
            done += config.num_envs
            last = done >= steps
            for g, game in enumerate(games):
                over = searches.boards.numbers[g, core.PASSES] == 2
                over = over or len(game) >= world.limit
                if over or last:
                    score = core.area(searches.boards, g) - rules.komi
                    owners = np.zeros((rules.size, rules.size), np.int8)
                    core.owners(searches.boards, g, owners)
                    # Of a game that the segment's end cuts short nobody knows the winner.
                    self.replay = self.replay.with_game(
                        game, score if over else 0.0, owners if over else 0 * owners
                    )
                    owed += len(game) * config.replay_ratio
                    if over:
                        finished.append((len(game), score > 0))
                    games[g] = []
                    _begin(searches.boards, g, rules, rng)
            self.replay = self.replay.newest(config.replay_positions)
            advanced = perf_counter()
            while owed >= config.batch_size:
                owed -= config.batch_size
                chosen = rng.integers(0, len(self.replay.winners), config.batch_size)
                learnt.append(self._update(*self.replay.batch(chosen, self.shape), rng))
            self.steps += config.num_envs
            clock["acting"] += searched - began
            clock["environment"] += advanced - searched
            clock["learning"] += perf_counter() - advanced
            if done - reported >= REPORT_MOVES or last:
                reported = done
                metrics: Metrics = {"steps": min(done, steps), "updates": self.updates}
                metrics |= {f"time/{phase}": seconds for phase, seconds in clock.items()}
                if learnt:
                    means = torch.stack(learnt).mean(dim=0).tolist()
                    metrics |= dict(zip(LOSSES, means, strict=True))
                if finished:
                    metrics["game_length"] = float(np.mean([moves for moves, _ in finished]))
                    metrics["black_wins"] = float(np.mean([won for _, won in finished]))
                learnt, finished = [], []
                yield metrics

    def accuracy(self, games: ExpertGames) -> Metrics:
        """Shares of held-out positions whose move is the network's first choice, or among five."""
        rng = np.random.default_rng(0)
        n = min(games.test, TEST_POSITIONS)
        chosen = games.train + rng.choice(games.test, n, replace=False)
        first = five = error = 0.0
        for part in np.array_split(chosen, max(1, n // 500)):
            planes, moves, winners, _ = games.batch(part)
            logits, values = self.evaluate(planes)
            better = (logits > logits[np.arange(len(part)), moves][:, None]).sum(axis=1)
            first += (better < 1).sum() / n
            five += (better < 5).sum() / n
            error += ((values - winners) ** 2).sum() / n
        return {"test_top_1": first, "test_top_5": five, "test_value_error": error}

    def _update(
        self,
        planes: np.ndarray,
        policies: np.ndarray,
        winners: np.ndarray,
        owners: np.ndarray,
        rng: np.random.Generator,
    ) -> torch.Tensor:
        """Learn from a batch of positions; gives the losses.

        Args:
            planes: (n, planes, size, size) uint8.
            policies: (n, size² + 1) float32, what the policy should be.
            winners: (n,), 1 where the player to move won, −1 where he lost, 0 where nobody knows. A draw
                is a 0 too: the value learns nothing of it.
            owners: (n, size, size), 1 his points, −1 the opponent's, 0 nobody's or unknown.
        """
        self.updates += 1
        seen = symmetric(planes, policies, owners, rng.integers(0, 8, len(planes)))
        rate = linear_schedule(self.config.learning_rate, 0, self.context.total_steps, self.steps)
        # At first the average leans on what it has seen, or it would stay near the random start.
        keep = min(self.config.average_decay, self.updates / (self.updates + 10))
        # The last batch of a segment may have another shape than the compiled one.
        learn = self._learn if len(planes) == self.config.batch_size else self._learn_from
        losses = learn(
            self.adam.step_scalars(rate, self.updates),
            torch.tensor([1 - rate * self.config.weight_decay, 1 - keep], device=self.device),
            *(torch.from_numpy(x).to(self.device) for x in (*seen, winners.astype(np.float32))),
        )
        return losses.clone()

    def _learn_from(
        self,
        step_scalars: torch.Tensor,
        shares: torch.Tensor,
        planes: torch.Tensor,
        policies: torch.Tensor,
        owners: torch.Tensor,
        winners: torch.Tensor,
    ) -> torch.Tensor:
        """One step down the loss, and the average after it.

        Args:
            shares: what the weights keep of themselves, and what the average takes of them.
        """
        config = self.config
        shrink, renewal = shares
        planes = planes.to(memory_format=torch.channels_last)

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            logits, values, owned = functional_call(self.network, compute_params, (planes,))
            policy_loss = -(policies * logits.log_softmax(dim=1)).sum(dim=1).mean()
            # What nobody knows teaches nothing.
            value_loss = (winners.abs() * (values - winners).square()).mean()
            owner_loss = (owners.abs() * (owned - owners).square()).mean()
            loss = (
                policy_loss
                + config.value_coefficient * value_loss
                + config.owner_coefficient * owner_loss
            )
            return loss, torch.stack(
                [policy_loss.detach(), value_loss.detach(), owner_loss.detach()]
            )

        gradients, _, losses = gradients_of(loss_of, self.adam.compute_params)
        for weight in self.adam.weights.values():
            weight.mul_(shrink)
        self.adam.step(clip_by_global_norm(gradients, MAX_GRADIENT_NORM), step_scalars)
        for name, average in self.average.items():
            average.lerp_(self.adam.weights[name], renewal)
            self.playing[name].copy_(average)
        return losses

    # -- the life of a run ----------------------------------------------------------------------

    def state(self) -> AgentState:
        compute_params = {f"online.{name}": w for name, w in self.adam.weights.items()}
        numbers: dict[str, int | float] = {"steps": self.steps, "updates": self.updates}
        if self._records is not None:
            numbers["records"] = self._records
        return AgentState(
            dict(self.average),
            self.adam.moments() | compute_params | self.replay.tensors(),
            numbers,
        )

    def load(self, state: AgentState) -> None:
        copy_into(state.weights, self.average)
        copy_into(self.average, self.playing)
        tensors = dict(state.tensors)
        compute_params = {
            name: tensors.pop(f"online.{name}", weight) for name, weight in state.weights.items()
        }
        replay = {name: tensors.pop(name) for name in SelfPlay.NAMES if name in tensors}
        self.adam.load(compute_params, tensors or None)
        if tensors:
            self.replay = SelfPlay(*(part.cpu().numpy() for part in replay.values()))
            self.steps = int(state.numbers["steps"])
            self.updates = int(state.numbers["updates"])
            if "records" in state.numbers:
                self._records = int(state.numbers["records"])

    @classmethod
    def storage_bytes(
        cls,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: AlphaGoConfig,
        context: RunContext,
    ) -> int:
        assert observation_space.shape is not None
        if config.expert_games:
            has_games(Path(config.expert_games), observation_space.shape[1])
        return 0


def _begin(boards: core.Boards, g: int, rules: core.Rules, rng: np.random.Generator) -> None:
    """A new game of self-play; its random moves do not count as moves of the run or towards a limit."""
    core.clear(boards, g)
    if rng.random() < OPENED:
        for action in random_opening(rng, rules):
            core.play(boards, g, action)
