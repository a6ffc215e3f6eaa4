"""The contract of a learning algorithm.

A run is a chain of segments. Each is a pure function of the checkpoint it starts from, the seed and the
segment's number, so an agent keeps nothing random between two calls of `train`, and all else that it
needs is in its `AgentState`. Without a run, an agent is used like this:

    envs = gymnasium.make_vec("CartPole-v1", 8)
    agent = PPO.for_env(envs)
    for metrics in agent.learn(envs, steps=50_000):
        print(metrics)
    action = agent.predict(observation)
"""

import dataclasses
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, Self

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from pydantic import ConfigDict, Field

from envs.actions import first_of, mask_size
from envs.observations import FlatObservation, ObservationFlattener, batch_of_one
from perception.networks.encoders import Encoder

Metrics = dict[str, float]

ExpertAction = Callable[[FlatObservation, np.ndarray | None], np.ndarray]
"""An environment's scripted policy: flat observations of n environments and their (n, actions) bool masks,
or None, to (n,) actions."""

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
"""For the dataclass of every agent's hyperparameters: types are checked, and numbers are finite."""

UnitInterval = Annotated[float, Field(ge=0, le=1)]
NumEnvs = Annotated[int, Field(ge=1, le=1 << 16)]
Repeats = Annotated[int, Field(ge=1, le=1_000)]
"""How often something is done over again, such as epochs over a rollout."""
Size = Annotated[int, Field(ge=1, le=1_000_000)]
"""How much is held or computed at once, such as a minibatch."""

SEGMENT_STEPS = 100_000
"""`Agent.learn` splits longer trainings into segments of this many steps."""


class UnsuitableEnvironmentError(ValueError):
    """An environment turned out during training to be one the agent cannot learn in."""


@dataclass
class AgentState:
    """What a checkpoint holds: tensors and numbers only, so that loading it executes no code."""

    weights: dict[str, torch.Tensor]
    """The network that acts: all that evaluation needs."""
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    """What else training needs, such as the target network and the moments of the optimizer."""
    numbers: dict[str, int | float] = field(default_factory=dict)
    """Counters and flags."""


class Workers(Protocol):
    """Other processes that compute pieces of a training."""

    def map(
        self, function: Callable[[Any, Any], Any], common: Any, pieces: Sequence[Any]
    ) -> list[Any]:
        """`function(common, piece)` for every piece, in their order.

        Args:
            function: at the top of a module. It may be called again where a process dies, so its result has to
                follow from its arguments, which it does not change.
        """


@dataclass(frozen=True)
class RunContext:
    """The environments an agent learns in, and the sizes of the run."""

    num_envs: int
    """Environments stepped together."""
    segment_steps: int
    """Most agent steps of one call of `train`, summed over the environments."""
    total_steps: int
    """Agent steps of the whole run, over which schedules are annealed."""
    frame_stack: int = 0
    """Number of planes of an image observation that are a stack of frames, newest last; 0: no stack."""
    storage: Path | None = None
    """Folder for memory-mapped data; None for an agent that only acts."""
    device: str = "cpu"
    expert_action: ExpertAction | None = None
    """The environment's scripted policy, if it has one."""
    prior: "Agent | None" = None
    """The trained agent that the hyperparameter `prior` names."""
    workers: Workers | None = None
    """Processes for an agent that `spreads`; None computes all in this one, to the same result on a CPU."""

    def __post_init__(self) -> None:
        for name in ("num_envs", "segment_steps", "total_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def check(self, env: VectorEnv, steps: int) -> None:
        """Raise ValueError unless a training of `steps` in `env` is what the agent was built for."""
        if env.num_envs != self.num_envs:
            raise ValueError(
                f"the agent was built for {self.num_envs} environments, and this vector environment has"
                f" {env.num_envs}"
            )
        if steps > self.segment_steps:
            raise ValueError(
                f"the agent was built for segments of at most {self.segment_steps:,} steps, not {steps:,}"
            )


def attach(agent: "Agent", env: VectorEnv | gym.Env) -> None:
    """Show an agent that needs copies of its environments those that it is about to act in."""
    if getattr(agent, "needs_copies", False):
        agent.attach(env)


class Agent(ABC):
    """A learning algorithm in one environment.

    Args:
        observation_space: flat, as `envs.observations` makes it.
        action_space: of one environment.
        config: an instance of `Config`.
        context: of the run.

    Raises:
        ValueError: the agent does not support these spaces or this combination of hyperparameters.
    """

    Config: ClassVar[type]
    """Frozen dataclass of the hyperparameters: fields are command-line flags, their docstrings the help."""

    notice: ClassVar[str] = ""
    """What the user should know before training, such as a promise that this agent cannot keep."""

    needs_copies: ClassVar[bool] = False
    """Whether it acts by trying actions in copies of the environments, which are then made one by one."""

    path_hyperparameters: ClassVar[tuple[str, ...]] = ()
    """Hyperparameters that name files which training reads."""

    spreads: ClassVar[bool] = False
    """Whether its training has pieces for `RunContext.workers`."""

    steps: int
    """Agent steps trained so far."""

    score_kind: ClassVar[str] = ""
    """What `scores` gives: "value" or "probability" (as logits); empty where it gives nothing."""

    self_play: bool = False
    """Whether it trains in environments whose argument `opponent` is "self", so that it plays both sides."""

    encoder: Encoder | None = None
    """The network that reads the observations, where it is one of `perception.networks.encoders`."""

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Any,
        context: RunContext,
    ) -> None:
        if config.num_envs != context.num_envs:
            raise ValueError(
                f"the config has num_envs {config.num_envs}, and the context {context.num_envs}"
            )
        self.observation_space = observation_space
        self.action_space = action_space
        self.config = config
        self.context = context
        self.steps = 0
        self.env_observation_space = observation_space
        """Of the environment itself, which `predict` takes observations of."""
        self._open_ended = False
        self._predict_rng = np.random.default_rng(0)

    @classmethod
    def for_env(
        cls,
        envs: VectorEnv,
        config: Any = None,
        *,
        total_steps: int | None = None,
        device: str = "cpu",
        storage: Path | None = None,
    ) -> Self:
        """Build an agent for a vector environment, without a run.

        Args:
            envs: in `AutoresetMode.NEXT_STEP`, which is the default of `gymnasium.make_vec`.
            config: hyperparameters, `cls.Config()` if None; its `num_envs` is replaced by that of `envs`.
            total_steps: over which schedules are annealed; if None, the steps of the first call of
                `learn`. Later calls extend it where they need more.
            device: a torch device.
            storage: folder for replay memory; if None, a temporary one that is deleted with the agent.

        Raises:
            ValueError: `envs` is no vector environment or resets differently, or the agent does not
                support its spaces.
        """
        _check_vector(envs)
        if config is None:
            config = cls.Config()
        elif type(config) is not cls.Config:
            raise ValueError(f"{cls.__name__} takes a {cls.Config.__name__}, not {config!r}")
        config = dataclasses.replace(config, num_envs=envs.num_envs)
        temporary = Path(tempfile.mkdtemp(prefix="fathom-")) if storage is None else None
        try:
            context = RunContext(
                num_envs=envs.num_envs,
                segment_steps=SEGMENT_STEPS,
                total_steps=total_steps or SEGMENT_STEPS,
                frame_stack=int(envs.metadata.get("frame_stack", 0)),
                storage=storage or temporary,
                device=device,
                expert_action=_expert_action(envs),
            )
            flat_space = ObservationFlattener(envs.single_observation_space).space
            agent = cls(flat_space, envs.single_action_space, config, context)
        except BaseException:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            raise
        agent.env_observation_space = envs.single_observation_space
        agent._open_ended = total_steps is None
        if temporary is not None:
            weakref.finalize(agent, shutil.rmtree, temporary, ignore_errors=True)
        return agent

    def learn(self, envs: VectorEnv, steps: int, seed: int = 0) -> Iterator[Metrics]:
        """Train for `steps` more agent steps, and yield metrics on the way.

        Training happens while the metrics are iterated over. Repeated calls go on from where the agent
        is; each resets the environments. More than `SEGMENT_STEPS` steps are trained in segments, at the
        start of which the environments are reset too.

        Args:
            envs: as many environments of the same kind as the agent was built for.
            steps: at least 1, summed over the environments.
            seed: all randomness derives from it and from the number of steps trained before.

        Yields:
            metrics as `train` does; `steps` counts all steps trained so far.

        Raises:
            ValueError: `envs` are not the kind or the number of environments the agent was built for, or
                `steps` is not positive.
        """
        if steps <= 0:
            raise ValueError(f"steps must be at least 1, not {steps}")
        _check_vector(envs)
        if envs.single_observation_space != self.env_observation_space:
            raise ValueError(
                f"the agent was built for observations of {self.env_observation_space}, not of"
                f" {envs.single_observation_space}"
            )
        if envs.single_action_space != self.action_space:
            raise ValueError(
                f"the agent was built for actions of {self.action_space}, not of"
                f" {envs.single_action_space}"
            )
        end = self.steps + steps
        if self._open_ended or end > self.context.total_steps:
            self._open_ended = False
            self._extend(end)
        while self.steps < end:
            first = self.steps
            segment = min(self.context.segment_steps, end - first)
            segment_seed = int(np.random.SeedSequence([seed, first]).generate_state(1)[0]) >> 3
            for metrics in self.train(envs, segment, segment_seed):
                yield metrics | {"steps": first + metrics["steps"]}

    def _extend(self, total_steps: int) -> None:
        """Change the length of the run between two segments."""
        self.context = dataclasses.replace(self.context, total_steps=total_steps)

    def predict(
        self,
        observation: Any,
        action_mask: np.ndarray | None = None,
        episode_start: bool | np.ndarray = True,
    ) -> Any:
        """The action of the evaluation policy for one observation, or actions for a batch.

        Args:
            observation: an element of the environment's own observation space, dictionaries included, or
                a batch of n as a vector environment returns it.
            action_mask: (actions,), or (n, actions) for a batch, True where an action is legal; of several
                numbered parts the masks one after the other.
            episode_start: matters only to recurrent policies: True starts with an empty memory, False goes
                on from the call before. One value, or (n,) bool for a batch.

        Returns:
            What the action space has: an int, an array, or a dict or tuple of arrays; for a batch arrays
            (n, …).

        Raises:
            ValueError: the observation, the mask or `episode_start` has another shape.
        """
        space = self.env_observation_space
        single = _is_single(space, observation)
        if single:
            observation = batch_of_one(space, observation)
        if space is not self.observation_space:
            flat = ObservationFlattener(space)(observation)
        else:
            flat = observation if isinstance(observation, tuple) else np.asarray(observation)
        n = len(flat[0] if isinstance(flat, tuple) else flat)
        masks = None if action_mask is None else self._checked_masks(action_mask, n, single)
        starts = np.asarray(episode_start, bool)
        if starts.shape not in ((), (n,)):
            raise ValueError(f"episode_start has the shape {starts.shape}, not () or ({n},)")
        starts = np.broadcast_to(starts, (n,)).copy()
        actions = self.act(flat, masks, starts, self._predict_rng)
        if not single:
            return actions
        action = first_of(actions)
        return int(action) if isinstance(self.action_space, spaces.Discrete) else action

    def _checked_masks(self, action_mask: np.ndarray, n: int, single: bool) -> np.ndarray:
        """(n, actions) bool; ValueError where the mask has another shape than `predict` says."""
        mask, actions = np.asarray(action_mask, bool), mask_size(self.action_space)
        if not actions:
            raise ValueError(f"action_mask needs numbered actions, not {self.action_space}")
        wanted = (actions,) if single else (n, actions)
        if mask.shape != wanted:
            raise ValueError(f"action_mask has the shape {mask.shape}, not {wanted}")
        return mask.reshape(n, actions)

    @abstractmethod
    def train(self, env: VectorEnv, steps: int, seed: int) -> Iterator[Metrics]:
        """Train for one segment of `steps` agent steps, and yield metrics on the way.

        The environments are reset with `seed`, from which all other randomness derives too. Every report
        has `steps`, done in this segment, and the seconds spent so far in `time/environment`,
        `time/acting` and `time/learning`.

        Raises:
            ValueError: another number of environments, or more steps, than the context says.
            UnsuitableEnvironmentError: the environment has something the agent does not support.
        """

    @abstractmethod
    def act(
        self,
        observations: FlatObservation,
        action_masks: np.ndarray | None,
        episode_starts: np.ndarray,
        rng: np.random.Generator,
    ) -> Any:
        """Actions of the evaluation policy: what is scored, recorded and played against.

        Args:
            observations: flat, of n environments.
            action_masks: (n, actions) bool, or None where all actions are legal.
            episode_starts: (n,) bool; a recurrent policy clears its memory there.
            rng: for what is random.

        Returns:
            A batch of n actions: an array (n, …), or a dict or tuple of such, as the action space has it.
        """

    def attach(self, env: VectorEnv | gym.Env) -> None:
        """Called with the environments, or the one, that `act` is about to get observations of.

        Only for an agent with `needs_copies`: they are where the observations are from whenever it acts.
        """
        return

    def scores(self, observations: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The numbers that discrete actions are chosen by, (n, actions), differentiable; see `score_kind`.

        Computed in float32 and without an action mask. A recurrent policy has the memory of its last `act`.

        Args:
            observations: each (n, …), numbers of any dtype.
        """
        raise NotImplementedError

    def annotate(
        self, env: gym.Env, observations: FlatObservation, action_masks: np.ndarray | None
    ) -> None:
        """Make the next rendered picture of an environment show what the agent thinks, if it can.

        Args:
            env: a single environment, made for recording.
            observations, action_masks: as for `act`, of this environment.
        """
        return

    def snapshot(self) -> np.ndarray | None:
        """A picture of what is learnt so far, uint8 (height, width, 3), if there is one; of one size in a run.

        Asked for at every report of `train`. A run makes a video of them.
        """
        return None

    @abstractmethod
    def state(self) -> AgentState:
        """All that the next segment needs; flushes what lies in the storage folder."""

    @abstractmethod
    def load(self, state: AgentState) -> None:
        """Restore a state.

        Raises:
            ValueError: the state is of another network or another environment.
        """

    @classmethod
    def storage_bytes(
        cls,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Any,
        context: RunContext,
    ) -> int:
        """Size that the storage folder will have, in bytes; 0 unless an agent overrides it.

        Raises:
            ValueError: main memory has no room for what the agent keeps there.
        """
        return 0


def _check_vector(envs: VectorEnv) -> None:
    """Raise ValueError unless agents can learn in `envs`."""
    if not isinstance(envs, VectorEnv):
        raise ValueError(
            "agents learn in a vector environment, and this is none; make one with"
            ' gymnasium.make_vec("CartPole-v1", num_envs=8)'
        )
    mode = envs.metadata.get("autoreset_mode")
    if mode != AutoresetMode.NEXT_STEP:
        raise ValueError(
            "agents learn in a vector environment with autoreset_mode=AutoresetMode.NEXT_STEP, and this"
            f" one has {mode}"
        )


def _expert_action(envs: VectorEnv) -> ExpertAction | None:
    """The `expert_action` of a vector environment or of its first environment, if there is one."""
    for env in (envs.unwrapped, *getattr(envs.unwrapped, "envs", ())[:1]):
        expert_action = getattr(getattr(env, "unwrapped", env), "expert_action", None)
        if expert_action is not None:
            return expert_action
    return None


def _is_single(space: gym.Space, observation: Any) -> bool:
    """Whether this is one observation of a space, not a batch.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        # What a sequence or a text is can only be told by its neighbours.
        clear = sorted(parts, key=lambda part: not isinstance(part[1], spaces.Box))
        try:
            return _is_single(clear[0][1], observation[clear[0][0]])
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"the observation is not one of {space}") from error
    if isinstance(space, spaces.Text):
        return isinstance(observation, str)
    if space.shape is None:
        return space.contains(observation)
    shape = np.shape(observation)
    if shape == space.shape:
        return True
    if shape[1:] == space.shape and len(shape) == len(space.shape) + 1:
        return False
    raise ValueError(
        f"an observation of {space} has the shape {space.shape}, and a batch of n the shape"
        f" {('n', *space.shape)}, not {shape}".replace("'n'", "n")
    )


def linear_schedule(start: float, end: float, duration: int, step: int) -> float:
    """Linear from `start` at step 0 to `end` at step `duration`, constant afterwards."""
    return start + (end - start) * min(1.0, step / max(1, duration))


def episode_metrics(finished: Sequence[tuple[float, int]]) -> Metrics:
    """Mean return and length of finished episodes; empty without any."""
    if not finished:
        return {}
    returns, lengths = np.array(finished).T
    return {"episode_return": float(returns.mean()), "episode_length": float(lengths.mean())}


def generator(seed: int) -> np.random.Generator:
    """The generator of an agent whose environments were reset with `seed`.

    Not `default_rng(seed)`, which environment 0 has: actions must not depend on what it draws.
    """
    return np.random.default_rng([seed, 1])
