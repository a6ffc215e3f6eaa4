"""Experience replay (Lin 1992; Mnih et al. 2015) that survives a kill.

The memory is a ring of rows in memory-mapped files; a row is one step of all environments. There is
room for `capacity` and one segment more, and only the newest `capacity` transitions are sampled: what
is written after a checkpoint never overwrites what that checkpoint may still sample. A checkpoint is
therefore a flush and one integer. A run too short to fill the ring has room for its own steps only. An
image that is a stack of frames is stored as its newest frame; stacks and n-step returns are gathered
when sampled.

Rows are contiguous in time. A step that only resets an environment is a row as well: it holds the
episode's last observation, from which the transition before bootstraps, and is never sampled itself.
"""

import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numba
import numpy as np
import torch

from envs.observations import FlatObservation
from envs.vector import Transition
from perception.networks.planes import gather

CPU = torch.device("cpu")
ACTION_DTYPE = np.uint16
MOST_ACTIONS = np.iinfo(ACTION_DTYPE).max + 1


class DamagedReplayError(ValueError):
    """A file that a memory was written to is gone or cut short."""


class Batch(NamedTuple):
    """A sample of b transitions, n-step targets folded in."""

    observations: torch.Tensor
    """(b, …)"""
    actions: torch.Tensor
    """(b,) int64"""
    rewards: torch.Tensor
    """(b,) float32: the discounted sum of at most n rewards."""
    next_observations: torch.Tensor
    """(b, …) where the sum ends."""
    discounts: torch.Tensor
    """(b,) float32: what the value of the next observation is worth; 0 after a termination."""
    next_masks: torch.Tensor | None
    """(b, actions) bool, where the environment gives masks."""


class Replay:
    """A memory-mapped ring of the newest transitions.

    Args:
        folder: where the files lie; made if missing.
        shape, dtype: of one observation.
        num_envs: environments that are stepped together.
        capacity: transitions that may be sampled.
        segment_steps: agent steps between two checkpoints: the slack.
        steps_left: agent steps that the run still has to do; a memory that goes on may grow by them.
        frame_stack: planes of an observation that are a stack of frames, newest last; 0 for none.
        num_actions: width of the action masks; 0 for none.
        device: a GPU holds a copy of the observations, from which it gathers the batches itself.
        rows: how many were written before, where the memory is one that goes on.

    Raises:
        DamagedReplay: it goes on, and its files are not all there.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, ...],
        dtype: np.dtype,
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
        self.shape = shape
        self.rows = rows
        """Rows ever written; the row `r` lies in the slot `r % size`."""
        self._first = rows
        item = shape[1:] if frame_stack else shape
        layout: dict[str, tuple[tuple[int, ...], type | np.dtype]] = {
            "observations": (item, dtype),
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
        # Plain views: numba knows no memmap, and every access through one costs a Python object.
        arrays = {name: np.asarray(memory) for name, memory in self._maps.items()}
        self._observations = arrays["observations"]
        self._actions, self._rewards = arrays["actions"], arrays["rewards"]
        self._terminated, self._truncated = arrays["terminated"], arrays["truncated"]
        self._valid, self._ages = arrays["valid"], arrays["ages"]
        self._masks = arrays.get("masks")
        self._age = np.zeros(num_envs, dtype=np.uint8)
        self._written = _open(folder / "written", (1,), np.int64, rows)
        """Most rows ever written. Above `rows` where a segment was interrupted and is done again."""
        self._frames_on_gpu: torch.Tensor | None = None
        if device.type == "cuda":
            self._frames_on_gpu = torch.from_numpy(self._observations).to(device)

    def begin(self) -> None:
        """Start a segment: every environment was reset."""
        self._age[:] = 0

    def append(self, transition: Transition, masks: np.ndarray | None = None) -> None:
        """Write one row. `masks` are those of the transition's observations."""
        slot = self._write(transition.observations, masks)
        self._actions[slot] = transition.actions
        self._rewards[slot] = transition.rewards
        self._terminated[slot] = transition.terminated
        self._truncated[slot] = transition.truncated
        self._valid[slot] = transition.valid
        self._age = np.where(transition.valid, np.minimum(self._age, 254) + 1, 0).astype(np.uint8)

    def end(self, observations: FlatObservation, masks: np.ndarray | None = None) -> None:
        """Close a segment: its episodes are cut, and their last observations kept to bootstrap."""
        last = (self.rows - 1) % self.size
        self._truncated[last] |= self._valid[last] & ~self._terminated[last]
        slot = self._write(observations, masks)
        self._actions[slot] = 0
        self._rewards[slot] = 0
        self._terminated[slot] = self._truncated[slot] = self._valid[slot] = False

    def _write(self, observations: FlatObservation, masks: np.ndarray | None) -> int:
        assert isinstance(observations, np.ndarray)
        slot = self.rows % self.size
        self._observations[slot] = observations[:, -1] if self.frame_stack else observations
        if self._frames_on_gpu is not None:
            self._frames_on_gpu[slot] = torch.from_numpy(self._observations[slot])
        self._ages[slot] = self._age
        if self._masks is not None:
            self._masks[slot] = True if masks is None else masks
        self.rows += 1
        self._written[0] = max(self._written[0], self.rows)
        return slot

    def go_on_from(self, rows: int) -> None:
        """Forget all rows but the first `rows`: an older checkpoint's."""
        self.rows = self._first = rows

    def _window(self, n_step: int) -> tuple[int, int]:
        """The oldest row that may be drawn, and the one after the newest."""
        # Rows written since this memory was opened are whole. Of those before, going back by two
        # checkpoints, because the last is damaged, finds the oldest overwritten.
        whole = min(int(self._written[0]) - self.size, self._first)
        oldest = max(0, self.rows - self.capacity, whole) + max(0, self.frame_stack - 1)
        return oldest, self.rows - n_step  # a row's sum must not run off the end

    def can_sample(self, n_step: int) -> bool:
        """Whether there is a transition of n steps to draw."""
        oldest, end = self._window(n_step)
        rows = np.arange(oldest, max(oldest, min(end, oldest + 3)))  # of three rows one is valid
        return bool(self._valid[rows % self.size].any())

    def sample(
        self,
        batch_size: int,
        n_step: int,
        discount: float,
        reward_clip: float,
        rng: np.random.Generator,
    ) -> Batch:
        """Draw uniformly, with replacement, among the newest `capacity` transitions.

        Args:
            batch_size: how many.
            n_step: most rewards in a sum; it ends at an episode's end.
            discount: of one step.
            reward_clip: rewards are clipped to ± this before they are summed.
            rng: what to draw with.

        Raises:
            ValueError: there is nothing to sample yet; see `can_sample`.
        """
        if not self.can_sample(n_step):
            raise ValueError("there is nothing to sample yet")
        rows, envs = _draw(self._valid, *self._window(n_step), batch_size, int(rng.integers(2**31)))
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
            self._gather(rows, envs),
            torch.from_numpy(self._actions[slots, envs].astype(np.int64)),
            torch.from_numpy(rewards),
            self._gather(ends, envs),
            torch.from_numpy(discounts),
            masks,
        )

    def _gather(self, rows: np.ndarray, envs: np.ndarray) -> torch.Tensor:
        slots = rows % self.size
        if not self.frame_stack:
            if self._frames_on_gpu is not None:
                return self._frames_on_gpu[torch.from_numpy(slots), torch.from_numpy(envs)]
            return torch.from_numpy(self._observations[slots, envs])
        back = np.arange(self.frame_stack)[::-1]
        seen = back <= self._ages[slots, envs][:, None]  # since the episode's start
        slots = (rows[:, None] - back) % self.size
        if self._frames_on_gpu is not None:
            return self._stacks_on_gpu(self._frames_on_gpu, slots, envs, seen)
        depth, *picture = self.shape
        frames = self._observations.reshape(self.size * self.num_envs, -1)
        stacks = gather(frames, np.where(seen, slots * self.num_envs + envs[:, None], -1))
        return torch.from_numpy(stacks.reshape(len(rows), *picture, depth)).movedim(-1, 1)

    def _stacks_on_gpu(
        self, frames: torch.Tensor, slots: np.ndarray, envs: np.ndarray, seen: np.ndarray
    ) -> torch.Tensor:
        indices = torch.from_numpy(np.stack([slots, np.broadcast_to(envs[:, None], slots.shape)]))
        indices = indices.to(frames.device)
        stacks = frames[indices[0], indices[1]]
        stacks *= torch.from_numpy(seen).to(frames.device)[..., None, None]
        return stacks.contiguous(memory_format=torch.channels_last)

    def flush(self) -> None:
        """Bring everything written to the disk."""
        for memory in (self._written, *self._maps.values()):
            memory.flush()


def rows_needed(
    num_envs: int, capacity: int, segment_steps: int, steps_left: int, rows: int = 0
) -> int:
    """Rows of the ring: the capacity, one segment, and the row that closes it. Or the `rows` written and
    those to come, where they are fewer: then nothing is ever overwritten."""
    ring = max(1, capacity // num_envs) + -(-segment_steps // num_envs) + 1
    to_come = -(-steps_left // num_envs) + -(-steps_left // segment_steps)
    return min(ring, rows + to_come)


def storage_bytes(
    shape: tuple[int, ...],
    dtype: np.dtype,
    num_envs: int,
    capacity: int,
    segment_steps: int,
    total_steps: int,
    frame_stack: int = 0,
    num_actions: int = 0,
) -> int:
    """Disk that a ring needs, in bytes."""
    item = int(np.prod(shape[1:] if frame_stack else shape)) * np.dtype(dtype).itemsize
    entry = item + 10 + num_actions
    return rows_needed(num_envs, capacity, segment_steps, total_steps) * num_envs * entry + 8


def _open(path: Path, shape: tuple[int, ...], dtype: type | np.dtype, rows: int) -> np.memmap:
    """A file as an array; where `rows` were written before, it must have them, and may become longer."""
    row = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
    size, there = shape[0] * row, path.stat().st_size if path.is_file() else 0
    if there < min(rows, shape[0]) * row:
        raise DamagedReplayError(f"{path} of its replay memory is missing or too short")
    if there < size or (there > size and not rows):
        with path.open("r+b" if rows else "wb") as file:
            _allocate(file, size)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def _allocate(file: BinaryIO, size: int) -> None:
    """Make a file `size` bytes long, with room for all of them.

    A full disk is an error here, where it can be said; in a hole of a sparse file it would be a bus
    error in the middle of training.
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
