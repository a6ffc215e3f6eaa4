"""AlphaGo: a policy–value network for Go that learns from game records and from self-play with tree search.

From game records it predicts the move, the winner and the owner of each point (Maddison et al. 2015; Silver
et al. 2016). After that, or from the start, it plays against itself: a tree search improves on the policy at
every move, and the network learns the improved policy and the results of the games (Silver et al. 2017). At
the root the search is Gumbel's (Danihelka et al. 2022), which improves the policy even with few simulations.
Every position is shown in a random one of its eight symmetries. The network that plays is the exponential
average of the one that learns (Polyak & Juditsky 1992).

Deviations from the papers: docs/algorithms/alphago.md.
"""

import functools
import math
import os
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from time import perf_counter
from typing import Annotated, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch.func import functional_call

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
    UnsuitableEnvironmentError,
    generator,
    linear_schedule,
)
from agents.parts.adam import Adam, clip_by_global_norm, copy_into, gradients_of
from agents.parts.compiling import LONG_TRAINING, compiled
from agents.parts.positions import Position, SelfPlay, in_all_symmetries, symmetric
from agents.search.go_search import Evaluate, GoSearches, Improved, SearchConfig
from envs.go import core
from envs.go.board import Rules, random_opening
from envs.go.config import GoConfig
from envs.go.games import ExpertGames, GamesError, expert_games, has_games, strength
from envs.go.go import Go
from envs.go.rendering import Thoughts
from envs.observations import FlatObservation
from perception.networks.policy_value import PolicyValueNetwork
from perception.networks.precision import image_precision

LOSSES = ("policy_loss", "value_loss", "owner_loss")

ADAM_EPSILON = 1e-5
MAX_GRADIENT_NORM = 1.0
REPORT_EVERY = 50  # updates
REPORT_MOVES = 1_000
OPENED = 0.25
"""Share of the games of self-play that begin with a few random moves, so that the network also learns positions
that its own play would not reach."""
TEST_POSITIONS = 10_000
"""Held-out positions, always the same, for the accuracy."""


@dataclass(frozen=True, config=STRICT)
class AlphaGoConfig:
    """Hyperparameters of AlphaGo."""

    expert_games: str = ""
    """Folder or archive of game records to learn from, of which one in twenty games is held out; if empty, the agent learns by self-play."""
    min_strength: str = ""
    """Use only records in which both players are known to be this strong: a rank such as 6d or a rating such as 2400; if empty, all."""
    min_moves: NonNegativeInt = 10
    """Use only records of at least this many moves."""
    expert_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the run that learns from the records; self-play begins with the first segment after it."""
    layers: Repeats = 12
    """Convolutional layers of the network."""
    width: Size = 64
    """Filters of each convolution."""
    batch_size: Size = 128
    """Positions in an update."""
    learning_rate: PositiveFloat = 2e-3
    """Initial learning rate of Adam, annealed linearly to 0 over the run."""
    weight_decay: NonNegativeFloat = 1e-4
    """Decoupled weight decay: share of the learning rate by which an update shrinks the weights (Loshchilov & Hutter 2019)."""
    value_coefficient: NonNegativeFloat = 0.5
    """Weight of the squared error of the predicted winner."""
    owner_coefficient: NonNegativeFloat = 0.25
    """Weight of the squared error of the predicted owners of the points."""
    average_decay: UnitInterval = 0.998
    """Decay of the exponential average of the weights, which is the network that plays."""
    num_envs: NumEnvs = 64
    """Simultaneous games of self-play."""
    groups: Size = 1
    """Groups of these games that are searched apart: on a Ray cluster (--ray) at the same time."""
    simulations: Size = 32
    """Simulations of the tree search for each move of self-play."""
    replay_positions: PositiveInt = 50_000
    """Newest positions of self-play, from which batches are sampled."""
    replay_ratio: PositiveFloat = 4.0
    """Mean number of times that each position of self-play is learnt from."""

    def __post_init__(self) -> None:
        if self.expert_games:  # a run may go on in another folder
            folder = os.path.abspath(os.path.expanduser(self.expert_games))
            object.__setattr__(self, "expert_games", folder)
        if self.groups > self.num_envs:
            raise ValueError(f"groups must be at most num_envs, which is {self.num_envs}")


class AlphaGo(Agent):
    """A policy–value network for Go. It acts with its most probable move; a search can use it as well.

    An agent step is one position of a record, or one move of self-play.
    """

    Config: ClassVar[type] = AlphaGoConfig
    path_hyperparameters: ClassVar[tuple[str, ...]] = ("expert_games",)
    spreads: ClassVar[bool] = True

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: AlphaGoConfig,
        context: RunContext,
    ) -> None:
        super().__init__(observation_space, action_space, config, context)
        if config.min_strength and strength(config.min_strength) is None:
            raise ValueError(
                f"min_strength must be a rank such as 6d or a rating such as 2400, not {config.min_strength!r}"
            )
        if config.expert_share < 1 and not config.expert_games:
            raise ValueError("expert_share needs expert_games")
        if context.storage is not None and config.expert_share < 1:
            supervised = config.expert_share * context.total_steps
            last = (context.total_steps - 1) // context.segment_steps * context.segment_steps
            if last < supervised:
                raise ValueError(
                    f"expert_share gives the first {supervised:,.0f} of {context.total_steps:,} steps to the"
                    " records, and no segment begins after them, so there would be no self-play:"
                    f" segment_steps must be at most {context.total_steps - math.ceil(supervised):,}, not"
                    f" {context.segment_steps:,}"
                )
        shape = observation_space.shape
        if (
            not isinstance(action_space, gym.spaces.Discrete)
            or shape is None
            or len(shape) != 3
            or action_space.n != shape[1] * shape[2] + 1
        ):
            raise ValueError("alphago plays Go only: Fathom/Go-v0, Fathom/Go9-v0 or Fathom/Go19-v0")
        self.shape = shape
        self.device = torch.device(context.device)
        self.network = PolicyValueNetwork(shape[0], shape[1], config.layers, config.width)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adam = Adam(self.network, ADAM_EPSILON, image_precision(self.device))
        self.average = {name: w.clone() for name, w in self.adam.weights.items()}
        """Exponential average of the weights; what plays."""
        self.player = deepcopy(self.network).requires_grad_(False)
        """The network with the average, in its precision."""
        for name, weight in self.player.named_parameters():
            weight.data = self.adam.compute_params[name].detach().clone()
        self.playing: dict[str, torch.Tensor] = dict(self.player.named_parameters())
        self._gradient_step: Callable[..., torch.Tensor] = self._gradient_step_of
        self._compiled = False
        self.replay = SelfPlay.empty(shape)
        self._games: ExpertGames | None = None
        self._records: int | None = None
        """Digest of the games that the run began with."""
        self.updates = 0

    # -- playing --------------------------------------------------------------------------------

    def evaluate(self, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate (n, planes, size, size) uint8 positions: an `Evaluate` for searches.

        Returns:
            logits (n, size² + 1) float32, values (n,) float32 in −1…1 for the player to move
        """
        return _evaluate(self.player, self.device, planes)

    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
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
        """Show the five most probable moves, and the predicted win rate of black so far."""
        assert isinstance(observations, np.ndarray)
        assert action_masks is not None
        go: Go = env.unwrapped  # type: ignore[assignment]
        logits, values = in_all_symmetries(self.evaluate)(observations)
        legal = action_masks[0].astype(bool)
        probs = np.where(legal, np.exp(logits[0] - logits[0][legal].max()), 0.0)
        probs /= probs.sum()
        # Equal moves in the order of `act`'s argmax, so that the first is the one that is played.
        favourites = np.where(legal, -logits[0], np.inf).argsort(stable=True)[:5]
        candidates = [(int(a), float(probs[a])) for a in favourites if probs[a] > 0]
        moves = len(go.board.moves)
        rates = list(go.thoughts.win_rates) if go.thoughts is not None else []
        rates += [float("nan")] * (moves - 1 - len(rates))  # after moves of the opponent
        if moves:
            own = (1 + float(values[0])) / 2
            rates.append(own if go.board.to_play == core.BLACK else 1 - own)
        go.thoughts = Thoughts(candidates, rates[:moves])

    # -- learning -------------------------------------------------------------------------------

    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        self.context.check(env, steps)
        if self.context.total_steps >= LONG_TRAINING and not self._compiled:
            self._gradient_step = compiled(self._gradient_step_of, self.device)
            self._compiled = True
        supervised = self.config.expert_share * self.context.total_steps
        if self.config.expert_games and self.steps < supervised:
            return self._train_on_records(steps, seed)
        config = getattr(env.unwrapped, "config", None)
        if not isinstance(config, GoConfig):
            raise UnsuitableEnvironmentError("self-play needs Fathom/Go-v0 without a time limit")
        if config.handicap:
            raise UnsuitableEnvironmentError(
                "self-play needs an even board, without --env.handicap"
            )
        return self._train_by_self_play(config, steps, seed)

    def _train_on_records(self, steps: int, seed: int) -> Iterator[Metrics]:
        """Learn from `steps` positions of the records, sampled uniformly."""
        if self._games is None:
            if self.context.storage is None:
                raise ValueError("an agent that trains needs a storage folder in its context")
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
                    warnings.warn(line, stacklevel=2)
        games = self._games
        rng = generator(seed)
        clock = {"environment": 0.0, "acting": 0.0, "learning": 0.0}
        losses: list[torch.Tensor] = []
        done = 0
        while done < steps:
            began = perf_counter()
            n = min(self.config.batch_size, steps - done)
            planes, moves, winners, owners = games.batch(rng.integers(0, games.train, n))
            policies = np.eye(moves.max(initial=self.shape[1] ** 2) + 1, dtype=np.float32)[moves]
            prepared = perf_counter()
            losses.append(self._update(planes, policies, winners, owners, rng))
            clock["environment"] += prepared - began
            clock["learning"] += perf_counter() - prepared
            done += n
            self.steps += n
            if len(losses) == REPORT_EVERY or done == steps:
                means = torch.stack(losses).mean(dim=0).tolist()
                losses = []
                metrics: Metrics = {"steps": done, "updates": self.updates}
                metrics |= {f"time/{phase}": seconds for phase, seconds in clock.items()}
                metrics |= dict(zip(LOSSES, means, strict=True))
                if done == steps and games.test:
                    metrics |= self.accuracy(games)
                yield metrics

    def _train_by_self_play(self, world: GoConfig, steps: int, seed: int) -> Iterator[Metrics]:
        """Play `steps` moves in several games at once, and learn from every game that ends."""
        config, rules = self.config, world.rules
        if self.context.workers is not None and config.groups == 1:
            warnings.warn("groups is 1, so one worker searches at a time", stacklevel=2)
        rng = generator(seed)
        # Room for the positions of a game with its random opening and the empty board.
        boards = core.new_boards(config.num_envs, rules, world.limit + 5)
        games: list[list[Position]] = [[] for _ in range(config.num_envs)]
        for g in range(config.num_envs):
            _begin(boards, g, rules, rng)
        clock = {"environment": 0.0, "acting": 0.0, "learning": 0.0}
        losses: list[torch.Tensor] = []
        finished: list[tuple[int, bool]] = []  # moves, whether black won
        done = reported = 0
        due = 0.0  # positions to learn from
        while done < steps:
            began = perf_counter()
            result = self._search(boards, rules, (seed, done))
            searched = perf_counter()
            colours = boards.numbers[:, core.TO_PLAY].copy()
            seen = np.zeros((config.num_envs, *self.shape), np.uint8)
            for g, game in enumerate(games):
                core.planes(boards, g, seen[g])
                policy = result.policies[g].astype(np.float16)
                game.append(Position(np.packbits(seen[g]), policy, int(colours[g])))
            for g, action in enumerate(result.actions):
                core.play(boards, g, int(action))
            done += config.num_envs
            last = done >= steps
            for g, game in enumerate(games):
                ended = boards.numbers[g, core.PASSES] == 2
                ended = ended or len(game) >= world.limit
                if ended or last:
                    score = core.area(boards, g) - rules.komi
                    owners = np.zeros((rules.size, rules.size), np.int8)
                    core.owners(boards, g, owners)
                    # The winner of a game that the end of the segment cuts off is unknown.
                    self.replay = self.replay.with_game(
                        game, score if ended else 0.0, owners if ended else 0 * owners
                    )
                    due += len(game) * config.replay_ratio
                    if ended:
                        finished.append((len(game), score > 0))
                    games[g] = []
                    _begin(boards, g, rules, rng)
            self.replay = self.replay.newest(config.replay_positions)
            advanced = perf_counter()
            while due >= config.batch_size:
                due -= config.batch_size
                chosen = rng.integers(0, len(self.replay.winners), config.batch_size)
                losses.append(self._update(*self.replay.batch(chosen, self.shape), rng))
            self.steps += config.num_envs
            clock["acting"] += searched - began
            clock["environment"] += advanced - searched
            clock["learning"] += perf_counter() - advanced
            if done - reported >= REPORT_MOVES or last:
                reported = done
                metrics: Metrics = {"steps": min(done, steps), "updates": self.updates}
                metrics |= {f"time/{phase}": seconds for phase, seconds in clock.items()}
                if losses:
                    means = torch.stack(losses).mean(dim=0).tolist()
                    metrics |= dict(zip(LOSSES, means, strict=True))
                if finished:
                    metrics["game_length"] = float(np.mean([moves for moves, _ in finished]))
                    metrics["black_wins"] = float(np.mean([won for _, won in finished]))
                losses, finished = [], []
                yield metrics

    def _search(self, boards: core.Boards, rules: Rules, seed: tuple[int, int]) -> Improved:
        """Search all games with the network that plays, group by group."""
        simulations, groups = self.config.simulations, self.config.groups
        ends = [len(boards.stones) * g // groups for g in range(groups + 1)]
        pieces = [
            _Group(core.rows(boards, slice(*ends[g : g + 2])), rules, simulations, (*seed, g))
            for g in range(groups)
        ]
        if self.context.workers is None:
            found = [_search(self.evaluate, piece) for piece in pieces]
        else:
            weights = {name: weight.detach().cpu() for name, weight in self.playing.items()}
            network = _Network(self.shape, self.config.layers, self.config.width, weights)
            found = self.context.workers.map(_search_elsewhere, network, pieces)
        return Improved(*map(np.concatenate, zip(*found, strict=True)))

    def accuracy(self, games: ExpertGames) -> Metrics:
        """Top-1 and top-5 accuracy of the move and squared error of the value, on held-out positions."""
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
        """One update from a batch of positions; returns the losses.

        Args:
            planes: (n, planes, size, size) uint8.
            policies: (n, size² + 1) float32, the target of the policy.
            winners: (n,), 1 if the player to move won, −1 if they lost, 0 for a draw or if unknown; the value
                learns nothing from a 0.
            owners: (n, size, size), 1 for points of the player to move, −1 for the opponent's, 0 for nobody's
                or if unknown.
        """
        self.updates += 1
        seen = symmetric(planes, policies, owners, rng.integers(0, 8, len(planes)))
        rate = linear_schedule(self.config.learning_rate, 0, self.context.total_steps, self.steps)
        # A smaller decay at first, or the average would stay near the random initial weights.
        keep = min(self.config.average_decay, self.updates / (self.updates + 10))
        # The last batch of a segment may be smaller than what was compiled.
        full = len(planes) == self.config.batch_size
        losses = (self._gradient_step if full else self._gradient_step_of)(
            self.adam.step_scalars(rate, self.updates),
            torch.tensor([1 - rate * self.config.weight_decay, 1 - keep], device=self.device),
            *(torch.from_numpy(x).to(self.device) for x in (*seen, winners.astype(np.float32))),
        )
        return losses.clone()

    def _gradient_step_of(
        self,
        step_scalars: torch.Tensor,
        shares: torch.Tensor,
        planes: torch.Tensor,
        policies: torch.Tensor,
        owners: torch.Tensor,
        winners: torch.Tensor,
    ) -> torch.Tensor:
        """One gradient step, and one step of the average. Returns the losses.

        Args:
            shares: (2,), by what the weights are multiplied, and how far the average moves.
        """
        config = self.config
        shrink, renewal = shares
        planes = planes.to(memory_format=torch.channels_last)

        def loss_of(compute_params: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            logits, values, owned = functional_call(self.network, compute_params, (planes,))
            policy_loss = -(policies * logits.log_softmax(dim=1)).sum(dim=1).mean()
            # Unknown winners and owners have no weight.
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

    # -- state ----------------------------------------------------------------------------------

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
            self.replay = SelfPlay.of(replay, self.shape)
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


class _Group(NamedTuple):
    """Games that are searched together."""

    boards: core.Boards
    rules: Rules
    simulations: int
    seed: tuple[int, ...]


class _Network(NamedTuple):
    """The network that plays, for another process."""

    shape: tuple[int, ...]
    layers: int
    width: int
    weights: dict[str, torch.Tensor]


def _search(evaluate: Evaluate, group: _Group) -> Improved:
    """Search the present positions of a group."""
    search = SearchConfig(simulations=group.simulations)
    return GoSearches(group.boards, group.rules, evaluate, search, group.seed).run()


def _search_elsewhere(network: _Network, group: _Group) -> Improved:
    """`_search` in another process, on its CPU; arguments are read-only there."""
    with torch.device("meta"):
        player = PolicyValueNetwork(
            network.shape[0], network.shape[1], network.layers, network.width
        )
    player.load_state_dict(network.weights, assign=True)
    arrays = (array.copy() for array in group.boards[3:])
    boards = core.Boards(*group.boards[:3], *arrays)
    evaluate = functools.partial(_evaluate, player, torch.device("cpu"))
    return _search(evaluate, group._replace(boards=boards))


@torch.no_grad()
def _evaluate(
    player: PolicyValueNetwork, device: torch.device, planes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`AlphaGo.evaluate` with any network."""
    seen = torch.from_numpy(planes).to(device).contiguous(memory_format=torch.channels_last)
    logits, values, _ = player(seen)
    return logits.cpu().numpy(), values.cpu().numpy()


def _begin(boards: core.Boards, g: int, rules: core.Rules, rng: np.random.Generator) -> None:
    """Start a game of self-play; its random moves count neither as agent steps nor towards a limit."""
    core.clear(boards, g)
    if rng.random() < OPENED:
        for action in random_opening(rng, rules):
            core.play(boards, g, action)
