"""Rollouts of policy gradients: collecting steps in several environments, and estimating advantages."""

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
    """`length` consecutive steps of n environments."""

    observations: Tensors
    """Each (length + 1, n, …): before every step, and after the last."""
    episode_starts: torch.Tensor
    """(length + 1, n) bool: the observation is the first of an episode."""
    actions: torch.Tensor
    """(length, n, …) in the form of the action distribution."""
    distribution_params: torch.Tensor
    """(length, n, num_distribution_params) of the distributions the actions were sampled from."""
    values: np.ndarray
    """(length + 1, n) of the observations, by the policy that acted."""
    masks: torch.Tensor | None
    """(length, n, actions) bool, True where an action was legal."""
    rewards: np.ndarray
    """(length, n) float32, clipped and normalised as the policy's config says."""
    terminated: np.ndarray
    """(length, n) bool: the episode terminated with this step."""
    done: np.ndarray
    """(length, n) bool: the episode terminated or was truncated with this step."""
    valid: np.ndarray
    """(length, n) bool: False where a step only reset the environment."""
    memory: torch.Tensor
    """(n, state_size) memory of the policy before the first step."""


class Collector:
    """Collects rollouts from a vector environment in one segment.

    Args:
        policy: acts.
        env: is reset with `seed`.
        rng: samples the actions.
        rewards: (length, n) rewards of a rollout, to learn from instead of the environment's.
    """

    def __init__(
        self,
        policy: Policy,
        env: VectorEnv,
        seed: int,
        rng: np.random.Generator,
        rewards: Callable[[Rollout], np.ndarray] | None = None,
    ) -> None:
        self.policy = policy
        self.stream = Transitions(env)
        self.rng = rng
        self.rewards = rewards
        self.num_envs = env.num_envs
        self.clock = {"environment": 0.0, "acting": 0.0, "learning": 0.0}
        """Seconds spent in each phase."""
        self.finished: list[tuple[float, int]] = []
        """Return and length of the episodes finished since the last report."""
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Reset every environment."""
        self.stream.reset(seed)
        self._memory = self.policy.initial_memory(self.num_envs)
        self._returns = np.zeros(self.num_envs)

    def collect(self, length: int, stop: Callable[[np.ndarray], bool] | None = None) -> Rollout:
        """Take `length` steps in each environment.

        Args:
            stop: ends the rollout early; it gets the (n,) numbers of episodes finished so far. With it only the
                first episode of each environment is reported, else short episodes would count for more.
        """
        policy, stream = self.policy, self.stream
        memory = self._memory
        observations, episode_starts = (
            [policy.tensors(stream.observations)],
            [stream.episode_starts],
        )
        masks: list[np.ndarray | None] = []
        actions: list[np.ndarray] = []
        outputs: list[PolicyOutput] = []
        steps: list[Transition] = []
        ended = np.zeros(self.num_envs, dtype=np.int64)
        while len(steps) < length and not (stop is not None and stop(ended)):
            t0 = perf_counter()
            masks.append(stream.action_masks)
            outputs.append(self._forward(observations[-1]))
            self._memory = outputs[-1].memory
            action = policy.choose(outputs[-1].distribution_params, stream.action_masks, self.rng)
            env_actions = policy.distribution.to_env_actions(action)
            t1 = perf_counter()
            step = stream.step(env_actions)
            t2 = perf_counter()
            observations.append(policy.tensors(step.next_observations))
            episode_starts.append(stream.episode_starts)
            actions.append(action)
            steps.append(step)
            self.finished += [
                episode for i, episode in stream.finished.items() if stop is None or ended[i] == 0
            ]
            ended += step.terminated | step.truncated
            self.clock["acting"] += t1 - t0 + perf_counter() - t2
            self.clock["environment"] += t2 - t1
        if policy.moments is not None:
            _update(policy.moments, _vectors(steps))
        device = policy.device
        began = perf_counter()
        values = [output.values for output in (*outputs, self._forward(observations[-1]))]
        self.clock["acting"] += perf_counter() - began
        rollout = Rollout(
            observations=tuple(torch.stack(part) for part in zip(*observations, strict=True)),
            episode_starts=torch.from_numpy(np.stack(episode_starts)).to(device),
            actions=torch.from_numpy(np.stack(actions)).to(
                device, policy.distribution.action_dtype
            ),
            distribution_params=torch.stack([x.distribution_params for x in outputs]).to(device),
            values=torch.stack(values).numpy(),
            masks=None if masks[0] is None else torch.from_numpy(np.stack(masks)).to(device),  # type: ignore[arg-type]
            rewards=np.stack([step.rewards for step in steps]),
            terminated=np.stack([step.terminated for step in steps]),
            done=np.stack([step.terminated | step.truncated for step in steps]),
            valid=np.stack([step.valid for step in steps]),
            memory=memory,
        )
        if self.rewards is not None:
            rollout.rewards = self.rewards(rollout)
        rollout.rewards = self._scaled(rollout)
        return rollout

    def _forward(self, observations: Tensors) -> PolicyOutput:
        policy = self.policy
        return policy.forward_policy(
            policy.forward, observations, self.stream.episode_starts, self._memory
        )

    def _scaled(self, rollout: Rollout) -> np.ndarray:
        """(length, n) rewards to learn from: clipped, then divided by the deviation of the return."""
        rewards = rollout.rewards
        clip = self.policy.config.reward_clip
        if clip:
            rewards = rewards.clip(-clip, clip)
        moments = self.policy.return_moments
        if moments is None:
            return rewards
        for reward, valid, done in zip(rewards, rollout.valid, rollout.done, strict=True):
            self._returns = self._returns * self.policy.discount + reward
            _update(moments, self._returns[valid, None])
            self._returns[done] = 0
        return np.clip(rewards / np.sqrt(moments.var + 1e-8), -10, 10).astype(np.float32)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Count the time spent inside as learning."""
        began = perf_counter()
        yield
        self.clock["learning"] += perf_counter() - began

    def report(self, steps: int) -> Metrics:
        """Metrics of acting: the episodes finished since the last report, and the clock."""
        metrics: Metrics = {"steps": steps}
        metrics |= {f"time/{phase}": seconds for phase, seconds in self.clock.items()}
        metrics |= episode_metrics(self.finished)
        self.finished = []
        return metrics


def averages(names: Sequence[str], losses: list[torch.Tensor]) -> Metrics:
    """Mean of each of the named losses over the updates; empty without updates."""
    if not losses:
        return {}
    return dict(zip(names, torch.stack(losses).mean(dim=0).tolist(), strict=True))


def _update(moments: RunningMeanStd, values: np.ndarray) -> None:
    """Update moments with (n, size) values; n may be 0."""
    if len(values):
        moments.update(values)


def _vectors(steps: list[Transition]) -> np.ndarray:
    """(n, size) vector parts of the valid observations."""
    parts = [
        (step.observations[-1] if isinstance(step.observations, tuple) else step.observations)[
            step.valid
        ]
        for step in steps
    ]
    return np.concatenate(parts)


@dataclass
class Estimates:
    """What is computed from a rollout before learning from it; each (length, n) float32."""

    log_probs: torch.Tensor
    """Of the actions, under the policy that acted."""
    advantages: torch.Tensor
    returns: torch.Tensor
    """Targets of the value: value plus advantage."""
    weights: torch.Tensor
    """1, or 0 for steps that only reset the environment."""


@torch.no_grad()
def estimates(policy: Policy, rollout: Rollout, discount: float, decay: float) -> Estimates:
    """Log-probabilities, advantages and returns of a rollout; see `advantages`."""
    masks = None if rollout.masks is None else rollout.masks.flatten(0, 1)
    log_probs = policy.distribution.log_prob(
        rollout.distribution_params.flatten(0, 1), rollout.actions.flatten(0, 1), masks
    )
    values = rollout.values
    gae = advantages(rollout.rewards, values, rollout.terminated, rollout.done, discount, decay)
    return Estimates(
        log_probs.view(rollout.rewards.shape),
        *(
            torch.from_numpy(x).to(policy.device)
            for x in (gae, gae + values[:-1], rollout.valid.astype(np.float32))
        ),
    )


def advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    terminated: np.ndarray,
    done: np.ndarray,
    discount: float,
    decay: float,
) -> np.ndarray:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

    With decay 1 this is the return, bootstrapped where an episode was cut, minus the value: of complete
    episodes the Monte-Carlo return of REINFORCE, of n steps the n-step return of A2C.

    Args:
        rewards, terminated, done: (length, n)
        values: (length + 1, n) of the observations; where an episode ended with step t, the value at
            t + 1 is that of its last observation.
        discount, decay: γ and λ.

    Returns:
        (length, n) float32
    """
    result = np.zeros_like(rewards)
    following = np.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        error = rewards[t] + discount * ~terminated[t] * values[t + 1] - values[t]
        following = error + discount * decay * ~done[t] * following
        result[t] = following
    return result
