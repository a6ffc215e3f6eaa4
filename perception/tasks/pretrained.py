"""Classifiers of images from other fits, as parts of a task: found, written down as JSON, and built again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.data.datasets import Tensors
from perception.data.images import Images
from perception.tasks import load_task
from perception.tasks.digits import Digits, DigitsConfig
from perception.tasks.task import DataError, DataSource, Task

PRETRAINED = ("digits", "objects", "semi-supervised")
"""Tasks whose networks can be used in others."""


def open_classifier(source: DataSource, reference: str) -> Task:
    """The trained task of another fit, by the fit's folder or name.

    Raises:
        DataError: it is none that classifies images.
    """
    task = source.open_fit(reference)
    if _name(task) is None:
        raise DataError(
            f"{reference} is a fit of another task than {', '.join(PRETRAINED[:-1])} and {PRETRAINED[-1]}, "
            "whose networks can be used"
        )
    return task


def description(task: Task) -> dict[str, Any]:
    """What `rebuilt` needs, as JSON."""
    return {
        "task": _name(task),
        "config": dataclasses.asdict(task.config),
        "metadata": dict(task.metadata),
    }


def rebuilt(description: Mapping[str, Any]) -> Any:
    """A task of the described kind with random weights, in evaluation mode."""
    kind = load_task(description["task"])
    return kind(kind.Config(**description["config"]), description["metadata"]).eval()


def _name(task: Task) -> str | None:
    return next((name for name in PRETRAINED if type(task) is load_task(name)), None)


def like_other_images(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images uint8 (n, channels, height, width) in the shape of the other fit's: grey or colour, and their size."""
    if images.shape[1:] == shape:
        return images
    numbers = images.float()
    if images.shape[1] != shape[0]:
        numbers = numbers.mean(dim=1, keepdim=True).expand(-1, shape[0], -1, -1)
    if images.shape[2:] != shape[1:]:
        numbers = F.interpolate(numbers, shape[1:], mode="bilinear", antialias=True)
    return numbers.round().clamp(0, 255).to(torch.uint8)


def small_classifier(images: Images) -> Digits:
    """A small CNN that has learned labelled images of digits, the same one each time."""
    metadata = {"shape": list(images.shape), "classes": images.classes, "images": len(images.train)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        task = Digits(DigitsConfig(epochs=6, filters=16), metadata)
        step = 0
        for _ in range(task.config.epochs):
            for batch in task.batches(Tensors(images.train, images.train_labels), training=True):
                task.train_step(batch, step)
                step += 1
    return task.eval()
