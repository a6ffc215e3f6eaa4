"""The policy network of an agent in ONNX, so that it acts without Fathom and PyTorch.

The graph takes observations as `envs.observations` makes them flat, and holds all that the agent does with them:
the scaling of images, the normalisation of numbers, the average over the symmetries of a Go board. It gives the
numbers that actions are chosen by, and the actions of the greedy policy.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import nn

from agents.agent import Agent
from agents.alphago import AlphaGo
from agents.dqn import DQN
from agents.gail import GAIL
from agents.parts.actions import Categorical, Gaussian
from agents.parts.policy import Policy
from agents.parts.positions import symmetries
from envs.observations import ObservationFlattener, batch_of_one
from fathom.environments import EnvironmentSpec
from fathom.errors import FathomError
from fathom.files import Folder
from fathom.runs.agent_learner import trained_agent
from fathom.runs.run import Run
from perception.networks.precision import full_precision

NETWORK, DESCRIPTION = "policy.onnx", "policy.json"
_TOLERANCE = 1e-3
"""Largest difference to the agent's own numbers, relative to the largest of them."""


def write_policy(run: Run, folder: Path, checkpoint: int | str = "latest") -> dict[str, Any]:
    """Write `policy.onnx` and `policy.json`; gives the contents of the latter.

    Raises:
        FathomError: the run has no policy network, or the packages of the extra `onnx` are missing.
    """
    _check_packages()
    with full_precision():
        agent, environment, _ = trained_agent(run, warnings.warn, "cpu", checkpoint)
        network = policy_network(agent)
        observations, masked = _first_observations(agent, environment)
        parts = _parts(agent.observation_space)
        names = (
            ["observation"] if len(parts) == 1 else [f"observation_{i}" for i in range(len(parts))]
        )
        inputs = list(observations)
        outputs = ["scores", "action"]
        if isinstance(network, _Recurrent):
            names += ["memory", "episode_start"]
            outputs.append("memory_after")
            n = len(inputs[0])
            inputs += [network.policy.initial_memory(n), torch.ones(n, dtype=torch.bool)]
        program = _exported(network.eval(), inputs, names, outputs)
        expected = network(*inputs)
    data = program.model_proto.SerializeToString()
    _compare(data, names, inputs, expected)
    Folder(folder).replace(NETWORK, data)
    description = {
        "format": 1,
        "agent": run.config.agent,
        "environment": run.config.environment,
        "inputs": [_described(name, x) for name, x in zip(names, inputs, strict=True)],
        "outputs": [_described(name, x) for name, x in zip(outputs, expected, strict=True)],
        "scores": network.about,
        "action": f"the most probable or most valuable one, in {agent.action_space}",
        "action_mask": "the environment gives masks: take the best legal entry of scores instead of action"
        if masked
        else None,
        "preprocessing": _preprocessing(run, agent),
    }
    Folder(folder).replace(DESCRIPTION, f"{json.dumps(description, indent=1)}\n".encode())
    return description


def policy_network(agent: Agent) -> _Network:
    """The network that maps flat observations to scores and greedy actions.

    Raises:
        FathomError: the agent has none.
    """
    if isinstance(agent, GAIL):
        agent = agent.ppo
    if isinstance(agent, DQN):
        return _Values(agent)
    if isinstance(agent, AlphaGo):
        return _Go(agent)
    policy = getattr(agent, "policy", None)
    if isinstance(policy, Policy):
        if not isinstance(policy.distribution, (Categorical, Gaussian)):
            raise FathomError(
                f"actions of {agent.action_space} have several parts, which the export to ONNX does not support"
            )
        return _Recurrent(policy) if policy.recurrent else _Feedforward(policy)
    raise FathomError(
        f"{type(agent).__name__} has no policy network that could be exported to ONNX: it acts by a table, by a"
        " rule, by planning, or through another library"
    )


class _Network(nn.Module):
    """Observations, each (n, …), to scores (n, …) and actions."""

    about = ""
    """What scores are."""


class _Values(_Network):
    about = "values of the actions (n, actions)"

    def __init__(self, agent: DQN) -> None:
        super().__init__()
        self.network = copy.deepcopy(agent.network)
        if agent.config.tau:
            self.network.load_state_dict(agent.average, strict=False)
        self.centres = None if agent.histogram is None else agent.histogram.centres
        self.first = agent.first_action

    def forward(self, *observations: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values = self.network(*observations)
        if self.centres is not None:
            values = values.softmax(dim=-1) @ self.centres
        return values, values.argmax(dim=1) + self.first


class _Feedforward(_Network):
    """An actor–critic without memory."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        self.network = copy.deepcopy(policy.network)
        self.actions = _GreedyActions(policy)
        self.about = self.actions.about
        self.normalizes = policy.moments is not None
        if policy.moments is not None:
            self.register_buffer("mean", torch.as_tensor(policy.moments.mean))
            self.register_buffer("scale", torch.as_tensor(policy.moments.var + 1e-8).sqrt())

    def forward(self, *observations: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n = observations[0].shape[0]
        starts = torch.ones(1, n, dtype=torch.bool)
        params, _ = self.distribution_params(observations, starts, torch.zeros(n, 0))
        return params, self.actions(params)

    def distribution_params(
        self, observations: tuple[torch.Tensor, ...], starts: torch.Tensor, memory: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        *others, last = observations
        if self.normalizes:
            last = ((last - self.mean) / self.scale).clamp(-10, 10).float()
        sequence = tuple(part.unsqueeze(0) for part in (*others, last))
        params, _, memory = self.network(sequence, starts, memory)
        return params, memory


class _Recurrent(_Feedforward):
    """An actor–critic with a memory, which the caller keeps from one step to the next."""

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *observations, memory, starts = inputs
        params, after = self.distribution_params(tuple(observations), starts.unsqueeze(0), memory)
        return params, self.actions(params), after


class _GreedyActions(nn.Module):
    """The most probable actions, as the environment takes them."""

    first: torch.Tensor
    middle: torch.Tensor
    span: torch.Tensor
    bounded: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        distribution = policy.distribution
        self.sizes: list[int] = []
        self.shape: tuple[int, ...] = tuple(distribution.space.shape or ())  # type: ignore[attr-defined]
        if isinstance(distribution, Categorical):
            self.sizes = distribution.sizes
            self.register_buffer("first", torch.as_tensor(np.asarray(distribution.first)))
            several = ", those of several numbers one after the other" * (len(self.sizes) > 1)
            self.about = f"logits of the actions (n, actions){several}"
        elif isinstance(distribution, Gaussian):
            self.about = "means, then logarithms of standard deviations, of unscaled actions (n, 2 · numbers)"
            columns = {
                "middle": distribution.middle,
                "span": distribution.half,
                "bounded": distribution.bounded,
                "low": distribution.space.low,
                "high": distribution.space.high,
            }
            for name, column in columns.items():
                self.register_buffer(name, torch.as_tensor(column).reshape(1, -1))

    def forward(self, params: torch.Tensor) -> torch.Tensor:
        if self.sizes:
            parts = [part.argmax(dim=1) for part in params.split(self.sizes, dim=1)]
            numbers = torch.stack(parts, dim=1) + self.first
            return numbers.reshape(-1, *self.shape)
        mean = params[:, : self.low.shape[1]]
        scaled = self.middle + self.span * torch.where(self.bounded, mean.clamp(-1, 1), mean)
        return torch.minimum(torch.maximum(scaled, self.low), self.high).reshape(-1, *self.shape)


class _Go(_Network):
    """The average of the log-probabilities over the eight symmetries of the board."""

    points: torch.Tensor
    back: torch.Tensor
    about = "logarithms of probabilities of the moves (n, size² + 1), row by row, then the pass"

    def __init__(self, agent: AlphaGo) -> None:
        super().__init__()
        self.network = copy.deepcopy(agent.network)
        self.network.load_state_dict(agent.average, strict=False)
        sources = torch.from_numpy(symmetries(agent.shape[1]).copy())
        self.register_buffer("points", sources[:, :-1])
        self.register_buffer("back", sources.argsort(dim=1))

    def forward(self, *observations: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (planes,) = observations
        depth, size = planes.shape[1], planes.shape[2]
        shown = planes.float().flatten(2)[:, :, self.points].transpose(1, 2)
        logits = self.network(shown.reshape(-1, depth, size, size))[0].log_softmax(dim=1)
        mean = (
            logits.unflatten(0, (-1, 8))
            .gather(2, self.back.expand(planes.shape[0], -1, -1))
            .mean(1)
        )
        return mean, mean.argmax(dim=1)


def _parts(space: Space) -> list[Space]:
    return list(space.spaces) if isinstance(space, spaces.Tuple) else [space]


def _first_observations(
    agent: Agent, environment: EnvironmentSpec
) -> tuple[list[torch.Tensor], bool]:
    """Flat observations of an episode's start, each (n, …), and whether the environment gives action masks."""
    env = environment.make_single(None)
    flatten = ObservationFlattener(env.observation_space)
    steps: list[tuple[np.ndarray, ...]] = []
    try:
        env.action_space.seed(0)
        observation, info = env.reset(seed=0)
        masked = "action_mask" in info
        for _ in range(8):
            flat = flatten(batch_of_one(env.observation_space, observation))
            steps.append(flat if isinstance(flat, tuple) else (flat,))
            action = env.action_space.sample()
            if masked:
                action = np.flatnonzero(info["action_mask"])[0] + getattr(
                    env.action_space, "start", 0
                )
            observation, _, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                break
    finally:
        env.close()
    columns = zip(*steps, strict=True)
    return [_tensor(np.concatenate(column)) for column in columns], masked


def _tensor(array: np.ndarray) -> torch.Tensor:
    if array.dtype.kind == "u" and array.itemsize > 1:
        array = array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array))


def _exported(
    network: nn.Module, inputs: list[torch.Tensor], names: list[str], outputs: list[str]
) -> Any:
    """The program of `torch.onnx`, for batches of any size."""
    from fathom.sharing.onnx_ops import TRANSLATIONS

    batch = torch.export.Dim("n", min=1)
    with _quietly(), torch.no_grad():
        return torch.onnx.export(
            network,
            tuple(inputs),
            dynamo=True,
            verbose=False,
            input_names=names,
            output_names=outputs,
            custom_translation_table=TRANSLATIONS,
            dynamic_shapes=(tuple({0: batch} for _ in inputs),),
        )


def _compare(
    data: bytes, names: list[str], inputs: list[torch.Tensor], expected: tuple[torch.Tensor, ...]
) -> None:
    """Raise FathomError where onnxruntime gives other numbers than the network."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for n in (1, len(inputs[0])):  # also where a graph is right for one size of the batch only
        given = {name: x[:n].numpy() for name, x in zip(names, inputs, strict=True)}
        scores, wanted = session.run(None, given)[0], expected[0][:n].detach().numpy()
        error = float(np.abs(scores - wanted).max()) / max(1.0, float(np.abs(wanted).max()))
        if not error < _TOLERANCE:
            raise FathomError(
                f"onnxruntime gives other numbers than the agent (relative error {error:.2g}), so the network is"
                " not exported"
            )


def _described(name: str, x: torch.Tensor) -> dict[str, Any]:
    return {
        "name": name,
        "shape": ["n", *x.shape[1:]],
        "dtype": str(x.dtype).removeprefix("torch."),
    }


def _preprocessing(run: Run, agent: Agent) -> str:
    wrappers = ", ".join(run.config.wrappers)
    text = "none: the environment's observations"
    if agent.observation_space.shape != agent.env_observation_space.shape:
        text = "observations of the environment as envs.observations.ObservationFlattener makes them flat"
    return text + (f", behind the wrappers {wrappers}" if wrappers else "")


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise FathomError(
            f"the export to ONNX needs {' and '.join(missing)}, not installed here; install with:"
            ' pip install "fathom-rl[onnx]"'
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter prints and logs about packages that are not needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
