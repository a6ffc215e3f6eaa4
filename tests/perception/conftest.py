"""A small runner, as the contract of tasks describes it."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from perception.tasks.task import Task, TaskData


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks are fastest, and tests most alike, with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _train(task: Task, data: TaskData, epochs: int, first: int = 0) -> int:
    examples = 0
    for epoch in range(first, first + epochs):
        _seed(epoch)
        task.train()
        batches = list(task.batches(data.train, training=True))
        for step, batch in enumerate(batches, start=epoch * len(batches)):
            losses = task.train_step(batch, step)
            assert all(not loss.requires_grad and loss.isfinite() for loss in losses.values())
            examples += task.batch_size_of(batch)
    task.eval()
    return examples


@pytest.fixture
def train() -> Callable[..., int]:
    """Trains for some epochs, seeded by their numbers; gives the examples seen."""
    return _train


@pytest.fixture
def fit() -> Callable[..., Any]:
    """Makes a task for data and trains it."""

    def make(kind: type[Task], config: Any, data: TaskData, epochs: int) -> Task:
        _seed(1_000_000)
        task = kind(config, data.metadata)
        task.load_state_dict(data.weights, strict=False)
        _train(task, data, epochs)
        return task

    return make
