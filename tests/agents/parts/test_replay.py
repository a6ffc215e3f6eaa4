"""The replay against the plain truth: every observation kept whole in a list."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.parts.replay import DamagedReplayError, Replay, rows_needed, storage_bytes
from envs.vector import Transition

STACK = 3
FRAMES = spaces.Box(0, 255, (STACK, 2, 2), np.uint8)
ATARI = spaces.Box(0, 255, (4, 84, 84), np.uint8)


class Story:
    """A made-up stream of stacked pictures with episode ends, as next-step autoreset gives it."""

    def __init__(self, seed: int, num_envs: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.n = num_envs
        self.rows: list[Transition] = []
        self.start()

    def start(self) -> None:
        self.observations = np.zeros((self.n, STACK, 2, 2), np.uint8)
        self.observations[:, -1] = self.rng.integers(1, 255, (self.n, 2, 2))
        self.resetting = np.zeros(self.n, bool)

    def step(self) -> Transition:
        picture = self.rng.integers(1, 255, (self.n, 2, 2), dtype=np.uint8)
        following = np.concatenate([self.observations[:, 1:], picture[:, None]], axis=1)
        following[self.resetting, :-1] = 0
        ends = self.rng.random((2, self.n)) < 0.1
        valid = ~self.resetting
        transition = Transition(
            self.observations,
            self.rng.integers(0, 4, self.n),
            self.rng.normal(0, 2, self.n).astype(np.float32),
            following,
            ends[0] & valid,
            ends[1] & valid & ~ends[0],
            valid,
        )
        self.resetting = (ends[0] | ends[1]) & valid
        self.observations = following
        return transition


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10_000), n_step=st.integers(1, 5), num_envs=st.integers(1, 3))
def test_a_sample_is_what_happened(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_step: int, num_envs: int
) -> None:
    story = Story(seed, num_envs)
    segment, capacity = 60 * num_envs, 90 * num_envs
    replay = Replay(
        tmp_path_factory.mktemp("ring"), FRAMES, num_envs,
        capacity, segment, 4 * segment, STACK,
    )  # fmt: skip
    history: dict[tuple[bytes, int], tuple[float, float, bytes]] = {}
    for _ in range(3):
        story.start()
        replay.begin()
        rows = []
        for _ in range(60):
            rows.append(story.step())
            replay.append(rows[-1])
        replay.end(story.observations)
        for t in range(60):
            for env in range(num_envs):
                if not rows[t].valid[env]:
                    continue
                total, weight, end = 0.0, 1.0, t
                for end in range(t, min(t + n_step, 60)):
                    total += weight * float(np.clip(rows[end].rewards[env], -1, 1))
                    weight *= 0.9 * (not rows[end].terminated[env])
                    if rows[end].terminated[env] or rows[end].truncated[env]:
                        break
                history[(rows[t].observations[env].tobytes(), int(rows[t].actions[env]))] = (
                    total, weight, rows[end].next_observations[env].tobytes(),
                )  # fmt: skip
    batch = replay.sample(64, n_step, 0.9, 1.0, np.random.default_rng(seed))
    for i in range(64):
        key = (batch.observations[0][i].numpy().tobytes(), int(batch.actions[i]))
        total, weight, following = history[key]
        assert batch.rewards[i] == pytest.approx(total, abs=1e-5)
        assert batch.discounts[i] == pytest.approx(weight, abs=1e-5)
        if weight:
            assert batch.next_observations[0][i].numpy().tobytes() == following


def test_what_is_written_after_a_checkpoint_never_changes_what_it_samples(tmp_path: Path) -> None:
    def replay() -> Replay:
        return Replay(tmp_path, FRAMES, 2, 40, 30, 1_000, STACK)

    story, first = Story(0, 2), replay()
    first.begin()
    for _ in range(50):
        first.append(story.step())
    first.flush()
    rows = first.rows
    before = first.sample(32, 2, 0.9, 1.0, np.random.default_rng(1))
    for _ in range(15):  # the segment that a kill throws away
        first.append(story.step())
    again = replay()
    again.go_on_from(rows)
    after = again.sample(32, 2, 0.9, 1.0, np.random.default_rng(1))
    assert torch.equal(before.observations[0], after.observations[0])
    assert torch.equal(before.next_observations[0], after.next_observations[0])
    assert torch.equal(before.rewards, after.rewards)


def test_two_checkpoints_back_nothing_overwritten_is_sampled(tmp_path: Path) -> None:
    def replay() -> Replay:
        return Replay(tmp_path, FRAMES, 2, 40, 30, 1_000, STACK)

    story, first = Story(0, 2), replay()
    first.begin()
    seen = set()
    for row in range(35 + 30):
        transition = story.step()
        if row < 35:
            seen |= {transition.observations[env].tobytes() for env in range(2)}
        first.append(transition)
    again = replay()
    again.go_on_from(35)
    batch = again.sample(500, 1, 0.9, 1.0, np.random.default_rng(1))
    assert {picture.numpy().tobytes() for picture in batch.observations[0]} <= seen


def test_what_is_written_after_going_back_can_be_sampled(tmp_path: Path) -> None:
    def replay() -> Replay:
        return Replay(tmp_path, FRAMES, 2, 20, 40, 1_000, STACK)

    story, first = Story(0, 2), replay()
    first.begin()
    for _ in range(60):  # three segments, of which a ring of 10 + 20 + 1 rows keeps a half
        first.append(story.step())
    again = replay()
    again.go_on_from(20)
    story.start()
    again.begin()
    assert not again.can_sample(2)
    with pytest.raises(ValueError, match="nothing to sample yet"):
        again.sample(4, 2, 0.9, 1.0, np.random.default_rng(1))
    seen = set()
    for _ in range(20):
        transition = story.step()
        again.append(transition)
        seen |= {transition.observations[env].tobytes() for env in range(2)}
    batch = again.sample(200, 2, 0.9, 1.0, np.random.default_rng(1))
    assert {picture.numpy().tobytes() for picture in batch.observations[0]} <= seen


def test_a_gpu_gathers_the_same_stacks(tmp_path: Path) -> None:
    story = Story(3, 2)
    replay = Replay(tmp_path, FRAMES, 2, 100, 40, 1_000, STACK)
    replay.begin()
    for _ in range(60):
        replay.append(story.step())
    rows, envs = np.arange(STACK, 60).repeat(2), np.tile([0, 1], 60 - STACK)
    (expected,) = replay.observations_at(rows, envs)
    replay._on_gpu = [torch.from_numpy(replay._observations[0])]
    assert torch.equal(replay.observations_at(rows, envs)[0], expected)


def test_a_million_atari_frames_take_seven_gigabytes() -> None:
    size = storage_bytes(ATARI, 8, 1_000_000, 1_000, 10**9, 4, 18)
    assert 7.0e9 < size < 7.3e9


@pytest.mark.parametrize("total", [120, 800, 10_000])
@pytest.mark.parametrize("fallocate", [True, False])
def test_the_files_are_as_large_as_announced(
    tmp_path: Path, total: int, fallocate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fallocate:  # as on macOS
        monkeypatch.delattr("os.posix_fallocate", raising=False)
    Replay(tmp_path, ATARI, 8, 1_000, 160, total, 4, 6)
    on_disk = sum(file.stat().st_blocks * 512 for file in tmp_path.iterdir())
    announced = storage_bytes(ATARI, 8, 1_000, 160, total, 4, 6)
    assert announced <= on_disk < announced + 9 * 4096


def test_a_short_run_needs_room_for_its_own_steps_only() -> None:
    assert rows_needed(8, 1_000, 160, 10_000) == 125 + 20 + 1
    assert rows_needed(8, 1_000, 160, 400) == 50 + 3
    assert rows_needed(8, 1_000, 160, 80) == 10 + 1


@pytest.mark.parametrize("more", [[], [2], [100], [2, 2, 2, 2], [2, 100, 700]])
def test_an_extended_run_goes_on_with_what_it_has(tmp_path: Path, more: list[int]) -> None:
    def replay(steps: int, rows: int) -> Replay:
        return Replay(tmp_path, FRAMES, 2, 1_000, 30, steps, STACK, rows=rows)

    story, rows, before = Story(0, 2), 0, None
    for steps in (60, *more):
        memory = replay(steps, rows)
        if before is not None:  # of what the run had so far, nothing is lost
            after = memory.sample(64, 2, 0.9, 1.0, np.random.default_rng(1))
            assert torch.equal(before.observations[0], after.observations[0])
            assert torch.equal(before.next_observations[0], after.next_observations[0])
        while steps:
            segment = min(steps, 30)
            story.start()
            memory.begin()
            for _ in range(segment // 2):
                memory.append(story.step())
            memory.end(story.observations)
            steps -= segment
        memory.flush()
        rows = memory.rows
        assert memory.size == min(rows, 500 + 15 + 1), "it ends full, and nothing was overwritten"
        before = memory.sample(64, 2, 0.9, 1.0, np.random.default_rng(1))


def test_a_file_that_was_cut_short_is_damaged(tmp_path: Path) -> None:
    def replay(rows: int) -> None:
        Replay(tmp_path, FRAMES, 2, 100, 30, 60, STACK, rows=rows)

    replay(0)
    os.truncate(tmp_path / "rewards", 32 * 2 * 4 - 1)
    with pytest.raises(DamagedReplayError, match="rewards of its replay memory"):
        replay(32)
    (tmp_path / "rewards").unlink()
    with pytest.raises(DamagedReplayError, match="rewards of its replay memory"):
        replay(32)
