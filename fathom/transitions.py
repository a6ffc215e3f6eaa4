"""An agent's transitions as a data set of Minari, for others to imitate."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Env

from agents.agent import Agent, attach, generator
from agents.parts.demonstrations import DATA, INSTALL, MASKS, METADATA
from envs.actions import first_of
from envs.observations import ObservationFlattener, batch_of_one
from fathom.environments import EnvironmentSpec
from fathom.errors import FathomError
from fathom.evaluation import STEP_LIMIT
from fathom.files import Folder

MOST_TRANSITIONS = 100_000_000


@dataclass(frozen=True)
class Recorded:
    """What was written."""

    folder: Path
    transitions: int
    returns: list[float]
    """Of each episode."""


def record_transitions(
    agent: Agent,
    environment: EnvironmentSpec,
    parent: Folder,
    name: str,
    transitions: int,
    seed: int,
    title: str,
) -> Recorded:
    """Play whole episodes until there are `transitions` transitions, and write them in Minari's format.

    The episodes are training ones: those of evaluations stay unseen. The data appears under its name only when
    it is complete, and replaces what was recorded there before. Images are stored without loss.

    Args:
        parent: the folder in which a folder `name` is written.
        seed: episode i is reset with seed + i.
        title: the data set's own name in its description.

    Raises:
        FathomError: `minari` is missing, it knows no way to store these observations or actions, or something
            else has the folder's name.
    """
    try:
        from minari.dataset.minari_storage import MinariStorage
    except ModuleNotFoundError as error:
        raise FathomError(INSTALL) from error
    there = parent.kind(name)
    if there is not None and (there != "folder" or METADATA not in (parent / name).names()):
        raise FathomError(
            f"{parent.path / name} exists and holds no transitions: choose another folder"
        )
    part = f".{name}.{os.getpid()}.tmp"
    env = environment.make_single(None, training=True)
    try:
        parent.remove(part)
        (parent / part).make()
        try:
            # Absolute, for minari joins a relative path to itself.
            storage = MinariStorage.new(
                (parent.path / part).absolute(),
                env.observation_space,
                env.action_space,
                jpeg_encoding=False,
            )
        except NotImplementedError as error:
            raise FathomError(
                f"{environment.reference} cannot be recorded: Minari stores no such space ({error})"
            ) from error
        storage.update_metadata(
            {
                "dataset_id": f"{title}-v0",
                "minari_version": importlib.metadata.version("minari"),
                "algorithm_name": title,
                "description": f"Episodes of {environment.reference}",
            }
        )
        lengths: list[int] = []
        returns: list[float] = []

        def episodes() -> Iterator[Any]:
            while sum(lengths) < transitions:
                episode = _episode(agent, environment, env, seed + len(returns))
                lengths.append(len(episode.rewards))
                returns.append(float(sum(episode.rewards)))
                yield episode

        storage.update_episodes(episodes())
        for file in (METADATA, DATA):
            (parent / part).sync(file)
        parent.remove(name)
        parent.rename(part, name)
        parent.sync_names()
    finally:
        env.close()
        parent.remove(part)
    return Recorded(parent.path / name, sum(lengths), returns)


def _episode(agent: Agent, environment: EnvironmentSpec, env: Env, seed: int) -> Any:
    """Play one episode; a `minari` EpisodeBuffer."""
    from minari.data_collector import EpisodeBuffer

    rng, space = generator(seed), env.observation_space
    flatten = ObservationFlattener(space)
    limit = max(STEP_LIMIT, environment.time_limit)
    attach(agent, env)
    observation, info = env.reset(seed=seed)
    observations, masks = [batch_of_one(space, observation)], [info.get(MASKS)]
    actions: list[Any] = []
    rewards: list[float] = []
    terminated = truncated = False
    while not (terminated or truncated):
        legal = None if masks[-1] is None else np.asarray(masks[-1], bool)[None]
        starts = np.array([not actions])
        batch = agent.act(flatten(observations[-1]), legal, starts, rng)
        observation, reward, terminated, truncated, info = env.step(first_of(batch))
        truncated = truncated or len(rewards) + 1 >= limit
        actions.append(batch)
        rewards.append(float(reward))
        observations.append(batch_of_one(space, observation))
        masks.append(info.get(MASKS))
    ends = np.zeros((2, len(rewards)), bool)
    ends[:, -1] = terminated, truncated
    infos = None if masks[0] is None else {MASKS: np.asarray(masks, bool)}
    return EpisodeBuffer(
        seed=seed,
        observations=_joined(observations),
        actions=_joined(actions),
        rewards=rewards,
        terminations=ends[0].tolist(),
        truncations=ends[1].tolist(),
        infos=infos,
    )


def _joined(batches: list[Any]) -> Any:
    """Batches one after the other: arrays, or dicts, tuples of arrays or texts."""
    if isinstance(batches[0], dict):
        return {key: _joined([batch[key] for batch in batches]) for key in batches[0]}
    if isinstance(batches[0], tuple):
        parts = zip(*batches, strict=True)
        texts = isinstance(batches[0][0], str)
        return (
            [x for batch in batches for x in batch]
            if texts
            else tuple(map(_joined, map(list, parts)))
        )
    return np.concatenate(batches)
