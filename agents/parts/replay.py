"""Experience replay (Lin 1992; Mnih et al. 2015) in memory-mapped files, so that a checkpoint needs only a flush.

The memory is a ring of rows; a row is one step of all environments. It has room for `capacity` and one
segment more, and only the newest `capacity` transitions are sampled, so that what is written after a
checkpoint never overwrites what the checkpoint may sample. A checkpoint is therefore a flush and one
integer. A run too short to fill the ring has room for its own steps only. A stack of frames is stored as its
newest frame; stacks and n-step returns are computed when sampling.

Rows are contiguous in time. A step that only resets an environment is a row too: it holds the last
observation of the episode, from which the transition before bootstraps, and is never sampled itself.
"""

import errno
import os
import stat
import warnings
from pathlib import Path
from typing import BinaryIO, NamedTuple

import gymnasium as gym
import numba
import numpy as np
import torch

from agents.agent import RunContext
from envs.observations import FlatObservation
from envs.vector import Transition
from perception.networks.encoders import from_numpy
from perception.networks.planes import gather

CPU = torch.device("cpu")
ACTION_DTYPE = np.uint16
MOST_ACTIONS = np.iinfo(ACTION_DTYPE).max + 1


class DamagedReplayError(ValueError):
    """A file of a replay memory is missing, too short, no plain file, or not what was written."""


class Batch(NamedTuple):
    """A sample of b n-step transitions."""

    observations: tuple[torch.Tensor, ...]
    """Each part (b, …)."""
    actions: torch.Tensor
    """(b,) int64"""
    rewards: torch.Tensor
    """(b,) float32: discounted sum of at most n rewards."""
    next_observations: tuple[torch.Tensor, ...]
    """Each part (b, …), after these rewards."""
    discounts: torch.Tensor
    """(b,) float32: factor of the value of the next observation; 0 after a termination."""
    next_masks: torch.Tensor | None
    """(b, actions) bool, if the memory holds masks."""


class Stretches(NamedTuple):
    """Consecutive rows, (b, k) each."""

    actions: np.ndarray
    """int64"""
    rewards: np.ndarray
    """float32"""
    terminated: np.ndarray
    truncated: np.ndarray
    """Both bool; what follows a true one is another episode's."""


class Replay:
    """A memory-mapped ring of the newest transitions.

    Args:
        folder: of the files; created if missing.
        space: of one flat observation; each part is stored in its own dtype.
        num_envs: environments stepped together.
        capacity: transitions that are sampled from.
        segment_steps: agent steps between two checkpoints.
        steps_left: agent steps until the end of the run; an existing memory may grow by them.
        frame_stack: planes of an observation that are a stack of frames, newest last; 0: no stack.
        num_actions: length of the action masks; 0: no masks.
        device: a GPU keeps a copy of the observations, from which it gathers batches.
        rows: rows written before, if the memory exists already.

    Raises:
        DamagedReplayError: the memory exists, and its files are not complete.
    """

    def __init__(
        self,
        folder: Path,
        space: gym.Space,
        num_envs: int,
        capacity: int,
        segment_steps: int,
        steps_left: int,
        frame_stack: int = 0,
        num_actions: int = 0,
        device: torch.device = CPU,
        rows: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.num_envs = num_envs
        self.capacity = max(1, capacity // num_envs)
        self.size = rows_needed(num_envs, capacity, segment_steps, steps_left, rows)
        self.frame_stack = frame_stack
        self.rows = rows
        """Rows written so far; row r is in slot r % size."""
        self._first = rows
        items = _items(space, frame_stack)
        layout: dict[str, tuple[tuple[int, ...], type | np.dtype]] = {
            **items,
            "actions": ((), ACTION_DTYPE),
            "rewards": ((), np.float32),
            "terminated": ((), np.bool_),
            "truncated": ((), np.bool_),
            "valid": ((), np.bool_),
            "ages": ((), np.uint8),
        }
        if num_actions:
            layout["masks"] = ((num_actions,), np.bool_)
        self._maps = {
            name: _open(folder / name, (self.size, num_envs, *inner), kind, rows)
            for name, (inner, kind) in layout.items()
        }
        # Plain arrays: numba does not support memmap, whose indexing is slow too.
        arrays = {name: np.asarray(memory) for name, memory in self._maps.items()}
        self._observations = [arrays[name] for name in items]
        self._actions, self._rewards = arrays["actions"], arrays["rewards"]
        self._terminated, self._truncated = arrays["terminated"], arrays["truncated"]
        self._valid, self._ages = arrays["valid"], arrays["ages"]
        self._masks = arrays.get("masks")
        self._age = np.zeros(num_envs, dtype=np.uint8)
        self._written = _open(folder / "written", (1,), np.int64, rows)
        """Most rows ever written; more than `rows` if an interrupted segment is repeated."""
        if rows:
            self._check(folder, space, num_actions)
        self._on_gpu: list[torch.Tensor] | None = None
        if device.type == "cuda":
            self._on_gpu = [from_numpy(part).to(device) for part in self._observations]

    def _check(self, folder: Path, space: gym.Space, num_actions: int) -> None:
        """Raise DamagedReplayError where the rows to sample from are none that this class writes.

        Of their observations only indices are looked at: the rest would be to read the whole memory.
        """
        overwritten = int(self._written[0]) - self.size
        oldest = max(0, self.rows - self.capacity)
        if overwritten > oldest:
            warnings.warn(
                "the replay memory was written on since that checkpoint, and its oldest transitions are gone, so"
                " the run will not end with the weights of an uninterrupted one",
                stacklevel=2,
            )
        # One more may be half overwritten.
        newest = np.arange(max(oldest, overwritten + 1), self.rows)
        slots = newest % self.size
        flags = (self._valid, self._terminated, self._truncated)
        sound = (
            overwritten < self.rows <= self._written[0]
            and all((flag.view(np.uint8)[slots] <= 1).all() for flag in flags)
            and np.isfinite(self._rewards[slots]).all()
            and (not num_actions or (self._actions[slots] < num_actions).all())
        )
        if sound and len(newest) > 2:
            valid, ages = self._valid[slots], self._ages[slots].astype(np.int64)
            expected = np.where(valid, np.minimum(ages, 254) + 1, 0)[:-1]
            some = valid[:-2] | valid[1:-1] | valid[2:]  # of three rows at least one is valid
            sound = bool((ages[1:] == expected).all() and some.all())
        sound = sound and self._indices_fit(space, np.arange(max(oldest, overwritten), self.rows))
        if not sound:
            raise DamagedReplayError(f"its replay memory in {folder} is damaged")

    def _indices_fit(self, space: gym.Space, rows: np.ndarray) -> bool:
        """Whether the indices in these rows are those of entries that the tables of an embedding have."""
        parts = space.spaces if isinstance(space, gym.spaces.Tuple) else (space,)
        slots = rows % self.size
        return all(
            bool(((memory[slots] >= 0) & (memory[slots] < part.nvec)).all())
            for memory, part in zip(self._observations, parts, strict=True)
            if isinstance(part, gym.spaces.MultiDiscrete)
        )

    def begin(self) -> None:
        """Start a segment, for which every environment was reset."""
        self._age[:] = 0

    def append(self, transition: Transition, masks: np.ndarray | None = None) -> None:
        """Write one row; `masks` belong to the observations before the actions."""
        slot = self._write(transition.observations, masks)
        self._actions[slot] = transition.actions
        self._rewards[slot] = transition.rewards
        self._terminated[slot] = transition.terminated
        self._truncated[slot] = transition.truncated
        self._valid[slot] = transition.valid
        self._age = np.where(transition.valid, np.minimum(self._age, 254) + 1, 0).astype(np.uint8)

    def end(self, observations: FlatObservation, masks: np.ndarray | None = None) -> None:
        """End a segment: truncate its episodes, and keep their last observations for bootstrapping."""
        last = (self.rows - 1) % self.size
        self._truncated[last] |= self._valid[last] & ~self._terminated[last]
        slot = self._write(observations, masks)
        self._actions[slot] = 0
        self._rewards[slot] = 0
        self._terminated[slot] = self._truncated[slot] = self._valid[slot] = False

    def _write(self, observations: FlatObservation, masks: np.ndarray | None) -> int:
        slot = self.rows % self.size
        parts = observations if isinstance(observations, tuple) else (observations,)
        for i, (memory, part) in enumerate(zip(self._observations, parts, strict=True)):
            memory[slot] = part[:, -1] if self.frame_stack else part
            if self._on_gpu is not None:
                self._on_gpu[i][slot] = from_numpy(memory[slot])
        self._ages[slot] = self._age
        if self._masks is not None:
            self._masks[slot] = True if masks is None else masks
        self.rows += 1
        self._written[0] = max(self._written[0], self.rows)
        return slot

    def go_on_from(self, rows: int) -> None:
        """Forget all rows after the first `rows`, to go back to a checkpoint."""
        self.rows = self._first = rows

    def window(self, n_step: int) -> tuple[int, int]:
        """The oldest row that may be sampled, and the one after the newest."""
        # Going back by two checkpoints, because the last is damaged, the oldest rows written before this
        # memory was opened are overwritten.
        intact = min(int(self._written[0]) - self.size, self._first)
        oldest = max(0, self.rows - self.capacity, intact) + max(0, self.frame_stack - 1)
        return oldest, self.rows - n_step  # the n steps must be complete

    def can_sample(self, n_step: int) -> bool:
        """Whether there is a transition of n steps to sample."""
        oldest, end = self.window(n_step)
        rows = np.arange(
            oldest, max(oldest, min(end, oldest + 3))
        )  # of three rows at least one is valid
        return bool(self._valid[rows % self.size].any())

    def sample(
        self,
        batch_size: int,
        n_step: int,
        discount: float,
        reward_clip: float,
        rng: np.random.Generator,
    ) -> Batch:
        """Sample uniformly, with replacement, from the newest `capacity` transitions.

        Args:
            batch_size: number of transitions.
            n_step: most rewards in a sum, which stops at the end of the episode.
            discount: of one step.
            reward_clip: rewards are clipped to ± this before they are summed.
            rng: for sampling.

        Raises:
            ValueError: there is nothing to sample yet; see `can_sample`.
        """
        if not self.can_sample(n_step):
            raise ValueError("there is nothing to sample yet")
        rows, envs = _draw(self._valid, *self.window(n_step), batch_size, int(rng.integers(2**31)))
        rewards, discounts, ends = _n_step(
            self._rewards,
            self._terminated,
            self._truncated,
            rows,
            envs,
            n_step,
            discount,
            reward_clip,
        )
        slots = rows % self.size
        end_slots = ends % self.size
        masks = None if self._masks is None else torch.from_numpy(self._masks[end_slots, envs])
        return Batch(
            self.observations_at(rows, envs),
            torch.from_numpy(self._actions[slots, envs].astype(np.int64)),
            torch.from_numpy(rewards),
            self.observations_at(ends, envs),
            torch.from_numpy(discounts),
            masks,
        )

    def stretches(self, rows: np.ndarray, envs: np.ndarray, steps: int) -> Stretches:
        """`steps` consecutive rows from each of these, which an episode's end may interrupt."""
        slots = (rows[:, None] + np.arange(steps)) % self.size, envs[:, None]
        return Stretches(
            self._actions[slots].astype(np.int64),
            self._rewards[slots],
            self._terminated[slots],
            self._truncated[slots],
        )

    def valid_in(self, oldest: int, end: int) -> np.ndarray:
        """(end − oldest, environments) bool: which transitions of these rows are valid."""
        return self._valid[np.arange(oldest, end) % self.size]

    def masks_at(self, rows: np.ndarray, envs: np.ndarray) -> np.ndarray | None:
        """(b, actions) bool: which actions are legal in these rows, if the memory holds masks."""
        return None if self._masks is None else self._masks[rows % self.size, envs]

    def observations_at(self, rows: np.ndarray, envs: np.ndarray) -> tuple[torch.Tensor, ...]:
        """The observations of these rows and environments, each part (b, …)."""
        if self.frame_stack:
            return (self._stacks(rows, envs),)
        slots = rows % self.size
        if self._on_gpu is not None:
            places = torch.from_numpy(slots), torch.from_numpy(envs)
            return tuple(part[places] for part in self._on_gpu)
        return tuple(from_numpy(part[slots, envs]) for part in self._observations)

    def _stacks(self, rows: np.ndarray, envs: np.ndarray) -> torch.Tensor:
        """Stacks of the last frames, zeros before the start of the episode."""
        slots = rows % self.size
        back = np.arange(self.frame_stack)[::-1]
        seen = back <= self._ages[slots, envs][:, None]  # since the episode's start
        slots = (rows[:, None] - back) % self.size
        if self._on_gpu is not None:
            return self._stacks_on_gpu(self._on_gpu[0], slots, envs, seen)
        (memory,) = self._observations
        frames = memory.reshape(self.size * self.num_envs, -1)
        stacks = gather(frames, np.where(seen, slots * self.num_envs + envs[:, None], -1))
        return from_numpy(stacks.reshape(len(rows), *memory.shape[2:], -1)).movedim(-1, 1)

    def _stacks_on_gpu(
        self, frames: torch.Tensor, slots: np.ndarray, envs: np.ndarray, seen: np.ndarray
    ) -> torch.Tensor:
        indices = torch.from_numpy(np.stack([slots, np.broadcast_to(envs[:, None], slots.shape)]))
        indices = indices.to(frames.device)
        stacks = frames[indices[0], indices[1]]
        stacks *= torch.from_numpy(seen).to(frames.device)[..., None, None]
        return stacks.contiguous(memory_format=torch.channels_last)

    def flush(self) -> None:
        """Write everything to the disk."""
        for memory in (self._written, *self._maps.values()):
            memory.flush()


def rows_needed(
    num_envs: int, capacity: int, segment_steps: int, steps_left: int, rows: int = 0
) -> int:
    """Rows of the ring: the capacity, one segment, and the row that ends it; or the `rows` written and those to
    come if these are fewer, in which case nothing is ever overwritten."""
    ring = max(1, capacity // num_envs) + -(-segment_steps // num_envs) + 1
    to_come = -(-steps_left // num_envs) + -(-steps_left // segment_steps)
    return min(ring, rows + to_come)


def storage_bytes(
    space: gym.Space,
    num_envs: int,
    capacity: int,
    segment_steps: int,
    total_steps: int,
    frame_stack: int = 0,
    num_actions: int = 0,
) -> int:
    """Size of a ring on disk, in bytes."""
    items = _items(space, frame_stack).values()
    item = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in items)
    entry = item + 10 + num_actions
    return rows_needed(num_envs, capacity, segment_steps, total_steps) * num_envs * entry + 8


def _items(space: gym.Space, frame_stack: int) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Name, shape and dtype of what is stored of each part of an observation."""
    if not isinstance(space, gym.spaces.Tuple):
        assert space.shape is not None
        assert space.dtype is not None
        return {"observations": (space.shape[1:] if frame_stack else space.shape, space.dtype)}
    items = [_items(part, 0)["observations"] for part in space.spaces]
    return {f"observations.{i}": item for i, item in enumerate(items)}


def _open(path: Path, shape: tuple[int, ...], dtype: type | np.dtype, rows: int) -> np.memmap:
    """Map a file as an array; it must hold the `rows` written before, and is extended if too short."""
    row = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
    size = shape[0] * row
    # No link that lies in the folder is followed, and no pipe is waited for.
    flags = os.O_RDWR | (0 if rows else os.O_CREAT)
    for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # Windows has the last only
        flags |= getattr(os, flag, 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError as error:
        raise DamagedReplayError(f"{path} of its replay memory is missing") from error
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise DamagedReplayError(f"{path} of its replay memory is no plain file") from error
    with open(descriptor, "r+b") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedReplayError(f"{path} of its replay memory is no plain file")
        if status.st_size < min(rows, shape[0]) * row:
            raise DamagedReplayError(f"{path} of its replay memory is too short")
        if not rows and status.st_size != size:
            file.truncate(0)
        if status.st_size < size or (status.st_size > size and not rows):
            _allocate(file, size)
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def _allocate(file: BinaryIO, size: int) -> None:
    """Extend a file to `size` bytes and reserve them on the disk.

    A full disk then raises an error here; in a sparse file it would be a bus error during training.
    """
    there = file.seek(0, os.SEEK_END)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), there, size - there)
    else:  # on macOS
        for start in range(there, size, 2**20):
            file.write(bytes(min(2**20, size - start)))
        file.flush()
    os.fsync(file.fileno())


@numba.njit(cache=True)
def _draw(valid, oldest, newest, count, seed):  # type: ignore[no-untyped-def]
    np.random.seed(seed)
    size, num_envs = valid.shape
    rows = np.empty(count, np.int64)
    envs = np.empty(count, np.int64)
    for i in range(count):
        while True:
            row = np.random.randint(oldest, newest)
            env = np.random.randint(0, num_envs)
            if valid[row % size, env]:
                break
        rows[i] = row
        envs[i] = env
    return rows, envs


@numba.njit(cache=True)
def _n_step(rewards, terminated, truncated, rows, envs, n_step, discount, clip):  # type: ignore[no-untyped-def]
    size = rewards.shape[0]
    sums = np.zeros(len(rows), np.float32)
    discounts = np.ones(len(rows), np.float32)
    ends = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        env = envs[i]
        total, weight = 0.0, 1.0
        ends[i] = rows[i] + n_step
        for k in range(n_step):
            slot = (rows[i] + k) % size
            total += weight * min(max(rewards[slot, env], -clip), clip)
            weight *= discount
            if terminated[slot, env]:
                weight = 0.0
            if terminated[slot, env] or truncated[slot, env]:
                ends[i] = rows[i] + k + 1
                break
        sums[i] = total
        discounts[i] = weight
    return sums, discounts, ends


def open_replay(
    context: RunContext,
    observation_space: gym.Space,
    capacity: int,
    steps: int,
    num_actions: int,
    device: torch.device,
    rows: int,
) -> Replay:
    """Open the replay memory of an agent that has taken some steps of its run.

    Args:
        steps: agent steps so far.
        rows: that have been written.

    Raises:
        ValueError: the context has no storage folder.
    """
    if context.storage is None:
        raise ValueError("an agent that trains needs a storage folder in its context")
    return Replay(
        context.storage,
        observation_space,
        context.num_envs,
        capacity,
        context.segment_steps,
        context.total_steps - steps,
        context.frame_stack,
        num_actions,
        device,
        rows,
    )
