"""From a run to a network that can be looked into: its scores for images, its layers, images to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from agents.agent import Agent
from envs.observations import FlatObservation
from fathom.environments import EnvironmentSpec
from fathom.environments.action_names import action_names
from fathom.errors import FathomError
from fathom.runs.agent_learner import trained_agent
from fathom.runs.checkpoint import Progress
from fathom.runs.run import Run
from fathom.runs.task_learner import data_of, trained_task
from perception.data.images import like_training_images
from perception.inspection.network import Network
from perception.networks.encoders import LARGEST_BOUND, ImageEncoder, as_tensor, parts_of
from perception.networks.planes import channels_last
from perception.networks.precision import full_precision
from perception.tasks.task import Task


@dataclass(frozen=True)
class FitSubject:
    """A fitted task that maps images to numbers."""

    run: Run
    task: Task
    network: Network
    classified: bool
    """Whether the numbers are scores of classes."""

    def test_images(self, most: int) -> tuple[Tensor, Tensor]:
        """Images in 0…1 and labels, evenly chosen from the test examples; FathomError without the data."""
        test: Any = data_of(self.run).test
        chosen = torch.linspace(0, len(test) - 1, min(most, len(test))).round().long().tolist()
        rows = [test[index] for index in chosen]
        images = torch.stack([row[0] for row in rows]).float() / 255
        labels = torch.tensor([int(row[1]) for row in rows])
        return images.to(self.network.device), labels.to(self.network.device)

    def own_images(self, paths: Sequence[Path]) -> Tensor:
        """A user's images, in 0…1, in the form of the training images."""
        box, shape = self.task.metadata.get("ink_box"), self.network.shape
        images = [like_training_images(path, shape, box) for path in paths]
        return torch.stack(images).to(self.network.device).float() / 255


@dataclass(frozen=True)
class Camera:
    """The image among an agent's observations, to floats in 0…1 with channels first, and back."""

    space: gym.spaces.Box
    part: int
    """Its number among the parts of the flat observation."""
    low: float
    span: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        a, b, c = self.space.shape
        return (c, a, b) if channels_last(self.space.shape) else (a, b, c)

    def images(self, observations: FlatObservation) -> Tensor:
        """(n, *shape) in 0…1."""
        array = torch.from_numpy(np.asarray(_parts(observations)[self.part], np.float32))
        images = array.permute(0, 3, 1, 2) if channels_last(self.space.shape) else array
        return (images - self.low) / self.span

    def numbers(self, images: Tensor) -> Tensor:
        """Images as the space has them, but floats."""
        numbers = images * self.span + self.low
        return numbers.permute(0, 2, 3, 1) if channels_last(self.space.shape) else numbers

    def replaced(self, observations: FlatObservation, images: Tensor) -> FlatObservation:
        """Observations with other images; where pixels are whole numbers they are rounded."""
        array = self.numbers(images).cpu().numpy()
        if self.space.dtype is not None and self.space.dtype.kind in "iu":
            array = np.rint(array)
        parts = list(_parts(observations))
        parts[self.part] = array.astype(self.space.dtype)
        return tuple(parts) if isinstance(observations, tuple) else parts[0]


@dataclass(frozen=True)
class AgentSubject:
    """A trained agent that sees images and chooses among numbered actions."""

    run: Run
    agent: Agent
    environment: EnvironmentSpec
    progress: Progress
    camera: Camera
    network: Network
    """With zeros for all that the agent observes besides the image."""

    def scores(self, observations: FlatObservation) -> Callable[[Tensor], Tensor]:
        """Scores of images, with the rest of these observations, of one environment or as many as there are images."""
        device = self.network.device
        others = [as_tensor(part).to(device) for part in _parts(observations)]

        def scores(images: Tensor) -> Tensor:
            parts = [part.expand(len(images), *part.shape[1:]) for part in others]
            parts[self.camera.part] = self.camera.numbers(images)
            return self.agent.scores(tuple(parts)).float()

        return scores


Subject = FitSubject | AgentSubject


def subject_of(
    run: Run, warn: Callable[[str], None], device: str, checkpoint: int | str
) -> Subject:
    """What can be inspected of a run.

    Raises:
        FathomError: it sees no images, or there is nothing to inspect for another reason.
    """
    if run.config.is_fit:
        return _fit(run, warn, device, checkpoint)
    return _agent(run, warn, device, checkpoint)


def _fit(run: Run, warn: Callable[[str], None], device: str, checkpoint: int | str) -> FitSubject:
    task, _ = trained_task(run, warn, device, checkpoint)
    if task.image_shape is None:
        raise FathomError(
            f"{run.folder} is a fit of {run.config.task}; inspect looks into fits that classify or encode images, "
            "such as those of digits, objects and autoencoder, and into agents that see images"
        )
    task.requires_grad_(False)

    def scores(images: Tensor) -> Tensor:
        with full_precision():
            return task(images * 255).float()

    classes: list[str] | None = getattr(task, "classes", None)
    if classes is None:
        with torch.no_grad():
            count = scores(torch.zeros(1, *task.image_shape, device=task.device)).shape[1]
    names = classes or [str(number) for number in range(count)]
    stacked = _stacked(task.image_shape[0])
    network = Network(scores, task.image_shape, names, task, scores, stacked)
    return FitSubject(run, task, network, classes is not None)


def _agent(
    run: Run, warn: Callable[[str], None], device: str, checkpoint: int | str
) -> AgentSubject:
    agent, environment, progress = trained_agent(run, warn, device, checkpoint)
    parts = [] if agent.encoder is None else parts_of(agent.encoder)
    seen = [number for number, part in enumerate(parts) if isinstance(part, ImageEncoder)]
    if not seen:
        raise FathomError(
            f"{run.folder} is a run of {run.config.agent} in {run.config.environment}, which sees no images of"
            " 36×36 pixels or more by a network of Fathom's, so there is nothing to inspect"
        )
    space = agent.action_space
    if not agent.score_kind or not isinstance(space, gym.spaces.Discrete):
        raise FathomError(
            f"{run.folder} cannot be inspected: that needs values or probabilities of numbered actions, and "
            f"{run.config.agent} in {run.config.environment} has none"
        )
    camera = _camera(run, agent.observation_space, seen[0])
    flat = agent.observation_space
    spaces = flat.spaces if isinstance(flat, gym.spaces.Tuple) else (flat,)
    rest = [torch.zeros(1, *(part.shape or ()), device=agent.context.device) for part in spaces]
    encoder: Any = parts[seen[0]]
    encoder.requires_grad_(False)

    def scores(images: Tensor) -> Tensor:
        inputs = [part.expand(len(images), *part.shape[1:]) for part in rest]
        inputs[camera.part] = camera.numbers(images)
        return agent.scores(tuple(inputs)).float()

    # Its mean image has the size of the observations.
    level = float(encoder.mean_picture.mean()) if encoder.centred else 0.0

    def convolve(images: Tensor) -> Tensor:
        return encoder.cnn(images - level)

    stacked = agent.context.frame_stack == camera.shape[0] or _stacked(camera.shape[0])
    env = environment.make_single(None)
    try:
        names = action_names(env, int(space.n), int(space.start))
    finally:
        env.close()
    network = Network(scores, camera.shape, names, encoder, convolve, stacked)
    return AgentSubject(run, agent, environment, progress, camera, network)


def _camera(run: Run, flat: gym.Space, part: int) -> Camera:
    space: Any = flat.spaces[part] if isinstance(flat, gym.spaces.Tuple) else flat
    low, high = float(space.low.min()), float(space.high.max())
    if not -LARGEST_BOUND <= low < high <= LARGEST_BOUND:
        raise FathomError(
            f"{run.folder} cannot be inspected: the observation space of {run.config.environment} does not say"
            " between which numbers its pixels lie"
        )
    return Camera(space, part, low, high - low)


def _parts(observations: FlatObservation) -> tuple[np.ndarray, ...]:
    return observations if isinstance(observations, tuple) else (observations,)


def _stacked(channels: int) -> bool:
    """Whether channels that nothing else is known of are grey frames."""
    return channels > 1 and channels % 3 != 0
