"""What policy gradients learn from: steps in several environments side by side, and their advantages."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from gymnasium.wrappers.utils import RunningMeanStd

from agents.agent import Metrics, episode_metrics
from agents.parts.policy import Policy, PolicyOutput, Tensors
from envs.vector import Transition, Transitions

REPORT_EVERY = 2_000
"""Agent steps between two reports."""


@dataclass
class Rollout:
    """`length` steps of n environments, in order."""

    observations: Tensors
    """Each (length + 1, n, …): the last is what the last step led to."""
    starts: torch.Tensor
    """(length + 1, n) bool: an episode starts with this observation."""
    choices: torch.Tensor
    """(length, n, …) as the action distribution has them."""
    outputs: torch.Tensor
    """(length, n, outputs) parameters of the distributions that they were drawn from."""
    values: np.ndarray
    """(length + 1, n) of the observations, as the policy that acted had them."""
    masks: torch.Tensor | None
    """(length, n, actions) bool, True where an action was legal."""
    rewards: np.ndarray
    """(length, n) float32, normalised where the policy asks for it."""
    terminated: np.ndarray
    """(length, n) bool: nothing is worth anything after this step."""
    over: np.ndarray
    """(length, n) bool: the episode was terminated or truncated with this step."""
    valid: np.ndarray
    """(length, n) bool: False where a step only reset its environment."""
    memory: torch.Tensor
    """(n, state_size) the policy's memory before the first step."""


class Collector:
    """Acts in a vector environment through one segment.

    Args:
        policy: acts, as it is at each moment.
        env: is reset with `seed`.
        rng: draws the actions.
    """

    def __init__(self, policy: Policy, env: VectorEnv, seed: int, rng: np.random.Generator) -> None:
        self.policy = policy
        self.stream = Transitions(env)
        self.rng = rng
        self.num_envs = env.num_envs
        self.clock = {"environment": 0.0, "acting": 0.0, "learning": 0.0}
        """Seconds spent."""
        self.finished: list[tuple[float, int]] = []
        """Return and length of the episodes that ended since the last report."""
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Begin new episodes everywhere."""
        self.stream.reset(seed)
        self._memory = self.policy.memory_at_start(self.num_envs)
        self._returns = np.zeros(self.num_envs)

    def collect(self, length: int, stop: Callable[[np.ndarray], bool] | None = None) -> Rollout:
        """Take `length` steps, or fewer when `stop` is true of the (n,) episodes that ended so far.

        With `stop` only the first episode of each environment is reported: the quick ones go on, and
        short episodes would count for more.
        """
        policy, stream = self.policy, self.stream
        memory = self._memory
        observations, starts = [policy.tensors(stream.observations)], [stream.starts]
        masks: list[np.ndarray | None] = []
        choices: list[np.ndarray] = []
        looks: list[PolicyOutput] = []
        steps: list[Transition] = []
        ended = np.zeros(self.num_envs, dtype=np.int64)
        while len(steps) < length and not (stop is not None and stop(ended)):
            t0 = perf_counter()
            masks.append(stream.action_masks)
            looks.append(self._look(observations[-1]))
            self._memory = looks[-1].memory
            choice = policy.choose(looks[-1].outputs, stream.action_masks, self.rng)
            actions = policy.actions.to_environment(choice)
            t1 = perf_counter()
            step = stream.step(actions)
            t2 = perf_counter()
            observations.append(policy.tensors(step.next_observations))
            starts.append(stream.starts)
            choices.append(choice)
            steps.append(step)
            self.finished += [
                game for i, game in stream.finished.items() if stop is None or ended[i] == 0
            ]
            ended += step.terminated | step.truncated
            self.clock["acting"] += t1 - t0 + perf_counter() - t2
            self.clock["environment"] += t2 - t1
        if policy.moments is not None:
            _update(policy.moments, _vectors(steps))
        device = policy.device
        began = perf_counter()
        values = [look.values for look in (*looks, self._look(observations[-1]))]
        self.clock["acting"] += perf_counter() - began
        return Rollout(
            observations=tuple(torch.stack(part) for part in zip(*observations, strict=True)),
            starts=torch.from_numpy(np.stack(starts)).to(device),
            choices=torch.from_numpy(np.stack(choices)).to(device, policy.actions.choice_dtype),
            outputs=torch.stack([look.outputs for look in looks]).to(device),
            values=torch.stack(values).numpy(),
            masks=None if masks[0] is None else torch.from_numpy(np.stack(masks)).to(device),  # type: ignore[arg-type]
            rewards=self._normalized(steps),
            terminated=np.stack([step.terminated for step in steps]),
            over=np.stack([step.terminated | step.truncated for step in steps]),
            valid=np.stack([step.valid for step in steps]),
            memory=memory,
        )

    def _look(self, observations: Tensors) -> PolicyOutput:
        return self.policy.look(self.policy.forward, observations, self.stream.starts, self._memory)

    def _normalized(self, steps: list[Transition]) -> np.ndarray:
        """(length, n) rewards, divided by the deviation of the discounted return where asked."""
        rewards = np.stack([step.rewards for step in steps])
        moments = self.policy.return_moments
        if moments is None:
            return rewards
        for step in steps:
            self._returns = self._returns * self.policy.discount + step.rewards
            _update(moments, self._returns[step.valid, None])
            self._returns[step.terminated | step.truncated] = 0
        return np.clip(rewards / np.sqrt(moments.var + 1e-8), -10, 10).astype(np.float32)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Times what happens within."""
        began = perf_counter()
        yield
        self.clock["learning"] += perf_counter() - began

    def report(self, steps: int) -> Metrics:
        """What a report tells of acting: the episodes that ended since the one before, the clock."""
        metrics: Metrics = {"steps": steps}
        metrics |= {f"time/{phase}": seconds for phase, seconds in self.clock.items()}
        metrics |= episode_metrics(self.finished)
        self.finished = []
        return metrics


def averages(names: Sequence[str], learnt: list[torch.Tensor]) -> Metrics:
    """The mean of each of the named losses; nothing where nothing was learnt."""
    if not learnt:
        return {}
    return dict(zip(names, torch.stack(learnt).mean(dim=0).tolist(), strict=True))


def _update(moments: RunningMeanStd, values: np.ndarray) -> None:
    """Take in (n, size) values, of which there may be none."""
    if len(values):
        moments.update(values)


def _vectors(steps: list[Transition]) -> np.ndarray:
    """The vector part of every valid observation."""
    parts = [
        (step.observations[-1] if isinstance(step.observations, tuple) else step.observations)[
            step.valid
        ]
        for step in steps
    ]
    return np.concatenate(parts)


@dataclass
class Estimates:
    """What is worked out of a rollout before learning from it; each (length, n) float32."""

    log_probabilities: torch.Tensor
    """Of the choices, under the policy that made them."""
    advantages: torch.Tensor
    returns: torch.Tensor
    """What the value should have been: value plus advantage."""
    weights: torch.Tensor
    """1, or 0 for steps that only reset."""


@torch.no_grad()
def estimates(policy: Policy, rollout: Rollout, discount: float, decay: float) -> Estimates:
    """What the choices of a rollout were worth; see `advantages`."""
    masks = None if rollout.masks is None else rollout.masks.flatten(0, 1)
    log_probabilities = policy.actions.log_probability(
        rollout.outputs.flatten(0, 1), rollout.choices.flatten(0, 1), masks
    )
    values = rollout.values
    gained = advantages(rollout.rewards, values, rollout.terminated, rollout.over, discount, decay)
    return Estimates(
        log_probabilities.view(rollout.rewards.shape),
        *(
            torch.from_numpy(x).to(policy.device)
            for x in (gained, gained + values[:-1], rollout.valid.astype(np.float32))
        ),
    )


def advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    terminated: np.ndarray,
    over: np.ndarray,
    discount: float,
    decay: float,
) -> np.ndarray:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

    With decay 1 it is the return that follows, bootstrapped where the episode was cut, less the value:
    of complete episodes the Monte-Carlo return of REINFORCE, of n steps the n-step return of A2C.

    Args:
        rewards, terminated, over: (length, n)
        values: (length + 1, n), of the observations; where an episode was over with step t, the
            value at t + 1 is that of its own last observation.
        discount, decay: γ and λ.

    Returns:
        (length, n) float32
    """
    result = np.zeros_like(rewards)
    following = np.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        error = rewards[t] + discount * ~terminated[t] * values[t + 1] - values[t]
        following = error + discount * decay * ~over[t] * following
        result[t] = following
    return result
