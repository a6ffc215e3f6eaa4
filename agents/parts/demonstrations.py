"""Expert transitions to imitate, read from a data set of Minari.

A data set is a folder with `metadata.json` and `main_data.hdf5`, as the library `minari` and `fathom record
RUN --transitions N` write it. It may come from anyone, so it is checked before `minari` reads it: its spaces are
given, so that no environment is made from it; the HDF5 file refers to no other file; and what is in it fits
into memory.
"""

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from agents.agent import UnsuitableEnvironmentError
from agents.parts.actions import ActionDistribution
from envs.observations import FlatObservation, ObservationFlattener

METADATA, DATA = "metadata.json", "main_data.hdf5"
INSTALL = 'expert data needs minari, which is not installed; install it with: pip install "fathom-rl[imitation]"'
MASKS = "action_mask"
"""Name of the action masks among the `infos` of an episode."""

_MOST_METADATA = 1 << 24
_MOST_BYTES = 1 << 32
_MOST_OBJECTS = 1_000_000
_MOST_DEPTH = 16


class DemonstrationsError(UnsuitableEnvironmentError):
    """Expert data cannot be used, or not in this environment. The message is one sentence for the user."""


@dataclass(frozen=True)
class Demonstrations:
    """What an expert saw and did, episode after episode."""

    observations: FlatObservation
    """(n, …) before every action, flat."""
    actions: np.ndarray
    """(n, …) in the form of the action distribution."""
    masks: np.ndarray | None
    """(n, actions) bool, True where an action was legal; None without masks."""
    episodes: int

    def __len__(self) -> int:
        return len(self.actions)

    def sample(
        self, n: int, rng: np.random.Generator
    ) -> tuple[FlatObservation, np.ndarray, np.ndarray | None]:
        """Observations, actions and masks of `n` transitions, drawn uniformly with replacement."""
        rows = rng.integers(0, len(self), n)
        observations = self.observations
        drawn: FlatObservation = (
            tuple(part[rows] for part in observations)
            if isinstance(observations, tuple)
            else observations[rows]
        )
        return drawn, self.actions[rows], None if self.masks is None else self.masks[rows]

    def digest(self) -> int:
        """A checksum of all of it."""
        digest = hashlib.blake2b(digest_size=6)  # exact in a float64
        parts = self.observations
        for array in (*(parts if isinstance(parts, tuple) else (parts,)), self.actions, self.masks):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        return int.from_bytes(digest.digest(), "big")


class Expert:
    """The demonstrations of an agent's expert, read when they are first needed and the same after a resume."""

    def __init__(self, folder: str, most_episodes: int) -> None:
        self._folder, self._most_episodes = Path(folder), most_episodes
        self._demonstrations: Demonstrations | None = None
        self._digest: int | None = None
        """Of the data that the run began with."""

    def read(
        self, observation_space: gym.Space, distribution: ActionDistribution
    ) -> Demonstrations:
        """The demonstrations; arguments and errors are those of `read_demonstrations`."""
        if self._demonstrations is None:
            self._demonstrations = read_demonstrations(
                self._folder, observation_space, distribution, self._most_episodes, self._digest
            )
            self._digest = self._demonstrations.digest()
        return self._demonstrations

    def numbers(self) -> dict[str, int | float]:
        """What a checkpoint holds of it."""
        return {} if self._digest is None else {"expert": self._digest}

    def load(self, numbers: Mapping[str, int | float]) -> None:
        """Take what `numbers` gave."""
        if "expert" in numbers:
            self._digest = int(numbers["expert"])


def read_demonstrations(
    folder: Path,
    observation_space: gym.Space,
    distribution: ActionDistribution,
    most_episodes: int = 0,
    digest: int | None = None,
) -> Demonstrations:
    """Read the first episodes of a data set of Minari.

    Args:
        observation_space: of the environment to learn in, as it is.
        distribution: of its actions.
        most_episodes: how many; 0 for all.
        digest: of the demonstrations that these have to be; None for any.

    Raises:
        DemonstrationsError: `minari` is missing, the data cannot be read, or it is of other observations or
            actions.
    """
    check_demonstrations(folder, observation_space)
    import minari

    flatten = ObservationFlattener(observation_space)

    try:
        _check_data(folder / DATA)
        data = minari.MinariDataset(folder)
        there = len(data)
        count = min(most_episodes or there, there)
        episodes = list(data.iterate_episodes(range(count)))
        observations = [
            flatten(_before_actions(observation_space, episode.observations))
            for episode in episodes
        ]
        actions = [distribution.from_env_actions(episode.actions) for episode in episodes]
        masks = [_masks(episode, distribution.mask_size) for episode in episodes]
    except DemonstrationsError:
        raise
    except Exception as error:  # whatever h5py, minari and NumPy say of a file that is none
        raise _unusable(folder, _one_line(error)) from error
    lengths = [len(part) for part in actions]
    if most_episodes > there:
        raise _unusable(folder, f"it has {there:,} episodes, not {most_episodes:,}")
    if not sum(lengths):
        raise _unusable(folder, "it has no transitions")
    if any(a != len(_parts(o)[0]) for a, o in zip(lengths, observations, strict=True)):
        raise _unusable(folder, "an episode has another number of observations than of actions")
    if len({mask is None for mask in masks}) > 1:
        raise _unusable(folder, f"some episodes have infos[{MASKS!r}], and others have none")
    parts = [np.concatenate(part) for part in zip(*map(_parts, observations), strict=True)]
    if any(part.dtype.kind == "f" and not np.isfinite(part).all() for part in parts):
        raise _unusable(folder, "an observation has a number that is not finite")
    result = Demonstrations(
        parts[0] if len(parts) == 1 else tuple(parts),
        np.concatenate(actions),
        None if masks[0] is None else np.concatenate([x for x in masks if x is not None]),
        len(episodes),
    )
    if digest not in (None, result.digest()):
        raise _unusable(folder, "it is not the data that the run began with")
    return result


def check_demonstrations(
    folder: Path, observation_space: gym.Space, most_episodes: int = 0
) -> None:
    """Raise DemonstrationsError where the description of a data set says that it cannot be used.

    Args:
        observation_space: as for `read_demonstrations`.
        most_episodes: as for `read_demonstrations`.
    """
    try:
        from minari.serialization import deserialize_space
    except ModuleNotFoundError as error:
        raise DemonstrationsError(INSTALL) from error
    try:
        metadata = json.loads(_plain_file(folder / METADATA, _MOST_METADATA).read_bytes())
        if not isinstance(metadata, dict):
            raise _unusable(folder, f"{METADATA} is no JSON object")
        if metadata.get("data_format", "hdf5") != "hdf5":
            raise _unusable(folder, "it is not in the format hdf5")
        episodes = metadata.get("total_episodes")
        if type(episodes) is not int or not 0 < episodes <= _MOST_OBJECTS:
            raise _unusable(folder, f"{METADATA} says that it has {episodes!r:.40} episodes")
        if most_episodes > episodes:
            raise _unusable(folder, f"it has {episodes:,} episodes, not {most_episodes:,}")
        texts = [metadata.get(f"{what}_space") for what in ("observation", "action")]
        if not all(isinstance(text, str) for text in texts):  # minari would make an environment
            raise _unusable(folder, f"{METADATA} does not say what its spaces are")
        theirs = deserialize_space(texts[0])  # type: ignore[arg-type]
    except DemonstrationsError:
        raise
    except FileNotFoundError as error:
        raise _unusable(folder, f"there is no {METADATA} in it") from error
    except (Exception, RecursionError) as error:
        raise _unusable(folder, _one_line(error)) from error
    if not _alike(theirs, observation_space):
        raise _unusable(
            folder,
            f"its observations are {theirs}, and those of this environment are {observation_space}",
        )


def _check_data(path: Path) -> None:
    """Raise DemonstrationsError where an HDF5 file refers to other files or would not fit into memory."""
    import h5py

    _plain_file(path)
    size = count = 0
    with h5py.File(path, "r") as file:
        groups: list[tuple[Any, int]] = [(file, 0)]
        while groups:
            group, depth = groups.pop()
            for name in group:
                count += 1
                if count > _MOST_OBJECTS or depth > _MOST_DEPTH:
                    raise _unusable(path.parent, f"{DATA} has too many parts")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise _unusable(path.parent, f"{DATA} has a link to somewhere else")
                part = group[name]
                if isinstance(part, h5py.Group):
                    groups.append((part, depth + 1))
                elif not isinstance(part, h5py.Dataset) or part.external or part.is_virtual:
                    raise _unusable(path.parent, f"{DATA} refers to other files")
                else:
                    size += part.nbytes
                if size > _MOST_BYTES:
                    raise _unusable(
                        path.parent, f"{DATA} holds more than {_MOST_BYTES >> 30} GiB of numbers"
                    )


def _plain_file(path: Path, most: int | None = None) -> Path:
    """The path, if it is that of a plain file of at most `most` bytes."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(path.parent, f"{path.name} is no plain file")
    if most is not None and status.st_size > most:
        raise _unusable(path.parent, f"{path.name} has {status.st_size:,} bytes")
    return path


def _before_actions(space: gym.Space, values: Any) -> Any:
    """All but the last of a batch of observations."""
    if isinstance(space, spaces.Dict):
        return {key: _before_actions(part, values[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(map(_before_actions, space.spaces, values))
    return values[:-1]


def _masks(episode: Any, size: int) -> np.ndarray | None:
    """(steps, size) bool; None where the episode has no masks."""
    infos = episode.infos
    if not size or not isinstance(infos, dict) or MASKS not in infos:
        return None
    masks = np.asarray(infos[MASKS])[:-1]
    if masks.shape != (len(episode.rewards), size):
        raise ValueError(f"infos[{MASKS!r}] of an episode has the shape {masks.shape}")
    return masks.astype(bool)


def _alike(theirs: gym.Space, ours: gym.Space) -> bool:
    """Whether observations of one space can be taken for those of the other; the bounds of a Box may differ."""
    if type(theirs) is not type(ours):
        return False
    if isinstance(theirs, spaces.Dict) and isinstance(ours, spaces.Dict):
        return theirs.spaces.keys() == ours.spaces.keys() and all(
            _alike(theirs.spaces[key], part) for key, part in ours.spaces.items()
        )
    if isinstance(theirs, spaces.Tuple) and isinstance(ours, spaces.Tuple):
        return len(theirs.spaces) == len(ours.spaces) and all(
            map(_alike, theirs.spaces, ours.spaces)
        )
    if isinstance(ours, spaces.Box):
        kinds = {np.dtype(space.dtype).kind for space in (theirs, ours)}  # type: ignore[arg-type]
        return theirs.shape == ours.shape and len(kinds) == 1
    return theirs == ours


def _parts(observations: FlatObservation) -> tuple[np.ndarray, ...]:
    return observations if isinstance(observations, tuple) else (observations,)


def _unusable(folder: Path, why: str) -> DemonstrationsError:
    return DemonstrationsError(f"the expert data in {folder} cannot be used: {why}")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]
