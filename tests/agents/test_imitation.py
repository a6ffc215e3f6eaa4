"""Behaviour cloning and GAIL learn from an expert's data alone, and that data is only data."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from agents.agent import Agent, RunContext
from agents.bc import BC, BCConfig
from agents.gail import GAIL, GAILConfig
from agents.parts.actions import action_distribution
from agents.parts.demonstrations import DemonstrationsError, read_demonstrations
from agents.parts.rollout import Collector

minari = pytest.importorskip("minari")
h5py = pytest.importorskip("h5py")

ROOM = spaces.Box(-1, 1, (2,))
STEPS = 20


class Room(gym.Env):
    """A point in a square that a push moves. Every step costs 1, so its reward says to stay away from nothing;
    only the expert knows that the place to be is the middle."""

    observation_space = ROOM
    action_space: gym.Space = spaces.Box(-0.5, 0.5, (2,))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        self.left = STEPS
        return self.place, {}

    def step(self, action: np.ndarray) -> Any:
        self.place = np.clip(self.place + action, -1, 1).astype(np.float32)
        self.left -= 1
        distance = float(np.abs(self.place).sum())
        return self.place, -distance, False, self.left == 0, {}


def _rooms(n: int = 8) -> VectorEnv:
    return SyncVectorEnv([Room] * n, autoreset_mode=AutoresetMode.NEXT_STEP)


def _to_the_middle(observation: np.ndarray) -> np.ndarray:
    return np.clip(-observation, -0.5, 0.5)


def write(
    folder: Path,
    observation_space: gym.Space,
    action_space: gym.Space,
    episodes: list[tuple[Any, Any]],
    infos: dict[str, Any] | None = None,
) -> Path:
    """Write (observations, actions) of episodes in Minari's format."""
    data = minari.dataset.minari_storage.MinariStorage.new(
        folder, observation_space, action_space, jpeg_encoding=False
    )
    data.update_metadata({"dataset_id": "test-v0", "minari_version": "0.5.3"})
    for observations, actions in episodes:
        first = actions[0] if isinstance(actions, tuple) else actions
        none = [False] * len(first)
        data.update_episodes(
            [minari.data_collector.EpisodeBuffer(observations=observations, actions=actions, rewards=[0.0] * len(first),
                           terminations=none, truncations=none, infos=infos)]
        )  # fmt: skip
    return folder


@pytest.fixture
def expert(tmp_path: Path) -> Path:
    """Five episodes of an expert that goes to the middle."""
    env = Room()
    episodes = []
    for seed in range(5):
        observations, actions = [env.reset(seed=seed)[0]], []
        for _ in range(STEPS):
            actions.append(_to_the_middle(observations[-1]))
            observations.append(env.step(actions[-1])[0])
        episodes.append((np.stack(observations), np.stack(actions)))
    return write(tmp_path / "expert", ROOM, Room.action_space, episodes)


def _distance(agent: Agent) -> float:
    """Mean distance from the middle after half an episode."""
    env = Room()
    distances = []
    for seed in range(100, 120):
        place, _ = env.reset(seed=seed)
        for _ in range(STEPS // 2):
            place = env.step(agent.predict(place))[0]
        distances.append(np.abs(place).sum())
    return float(np.mean(distances))


def test_behaviour_cloning_does_what_the_expert_did(expert: Path) -> None:
    torch.manual_seed(0)
    envs = _rooms()
    agent = BC.for_env(envs, BCConfig(expert=str(expert), learning_rate=3e-3))
    reports = list(agent.learn(envs, steps=16_000))
    assert reports[-1]["loss"] < reports[0]["loss"]
    assert agent.steps == 16_000
    assert _distance(agent) < 0.15


def test_gail_goes_where_the_expert_went(expert: Path) -> None:
    torch.manual_seed(0)
    envs = _rooms()
    config = GAILConfig(
        expert=str(expert), rollout_steps=64, learning_rate=3e-3, discount=0.9,
        discriminator_learning_rate=1e-3, entropy_coefficient=0.0,
    )  # fmt: skip
    agent = GAIL.for_env(envs, config)
    before = _distance(agent)
    reports = list(agent.learn(envs, steps=12_000))
    assert 0 < reports[-1]["discriminator_accuracy"] < 1
    assert _distance(agent) < 0.5 * before


@pytest.mark.parametrize(("kind", "config"), [(BC, BCConfig), (GAIL, GAILConfig)])
def test_an_agent_without_an_expert_says_so(kind: type[Agent], config: type) -> None:
    with pytest.raises(ValueError, match="needs an expert to imitate"):
        kind.for_env(_rooms(), config())


@pytest.mark.parametrize(
    ("reward", "expected"), [("positive", math.log(2)), ("logit", 0.0), ("negative", -math.log(2))]
)
def test_the_reward_is_the_discriminator_s_and_not_the_environment_s(
    expert: Path, reward: Any, expected: float
) -> None:
    """A discriminator that cannot tell says 1/2 of every pair."""
    envs = _rooms()
    agent = GAIL.for_env(envs, GAILConfig(expert=str(expert), reward=reward))
    for weight in agent.adam.weights.values():
        weight.zero_()
    rng = np.random.default_rng(0)
    rollout = Collector(agent.ppo.policy, envs, 0, rng, agent._rewards).collect(4)
    np.testing.assert_allclose(rollout.rewards, np.full((4, 8), expected), rtol=1e-6)


def test_data_that_changed_since_the_run_began_is_refused(expert: Path) -> None:
    envs = _rooms()
    agent = BC.for_env(envs, BCConfig(expert=str(expert)))
    list(agent.learn(envs, steps=64))
    other = BC.for_env(envs, BCConfig(expert=str(expert), expert_episodes=4))
    other.load(agent.state())
    with pytest.raises(DemonstrationsError, match="not the data that the run began with"):
        list(other.learn(envs, steps=64))


def test_the_first_episodes_with_their_masks_are_read(tmp_path: Path) -> None:
    space = spaces.Dict(place=spaces.Discrete(3), speed=spaces.Box(-1, 1, (2,)))
    actions = spaces.Tuple([spaces.Discrete(2, start=5), spaces.Box(0, 10, (1,))])
    masks = np.array([[True, False], [True, True], [True, True]])
    episode = (
        {"place": np.array([0, 1, 2]), "speed": np.zeros((3, 2), np.float32)},
        (np.array([5, 6]), np.array([[0], [10]], np.float32)),
    )
    folder = write(tmp_path / "data", space, actions, [episode] * 3, {"action_mask": masks})
    data = read_demonstrations(folder, space, action_distribution(actions), most_episodes=2)
    assert data.episodes == 2
    assert len(data) == 4
    assert data.masks is not None
    assert data.masks.tolist() == [[True, False], [True, True]] * 2
    assert data.actions.tolist() == [[0, -1], [1, 1]] * 2
    assert data.observations[0].ravel().tolist() == [0, 1] * 2
    drawn, taken, legal = data.sample(100, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn[0].ravel(), taken[:, 0])
    assert legal is not None
    np.testing.assert_array_equal(legal[:, 1], taken[:, 0] == 1)


def _read(folder: Path) -> None:
    read_demonstrations(folder, ROOM, action_distribution(Room.action_space))


@pytest.mark.parametrize(
    ("space", "action_space", "complaint"),
    [
        (spaces.Box(-1, 1, (3,)), Room.action_space, "its observations are"),
        (spaces.MultiDiscrete([2, 2]), Room.action_space, "its observations are"),
        (ROOM, spaces.Discrete(2), "not of Discrete"),
    ],
)
def test_data_of_another_environment_is_refused(
    expert: Path, space: gym.Space, action_space: gym.Space, complaint: str
) -> None:
    with pytest.raises(DemonstrationsError, match=complaint):
        read_demonstrations(expert, space, action_distribution(action_space))


def _describe(change: dict[str, Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "metadata.json"
        table = json.loads(path.read_text()) | change
        path.write_text(json.dumps({k: v for k, v in table.items() if v is not None}))

    return damage


def _in_file(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with h5py.File(folder / "main_data.hdf5", "a") as file:
            change(file)

    return damage


def _replace(name: str, value: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[name]
        file[name] = value

    return change


def _outside(file: Any) -> None:
    del file["episode_0/actions"]
    file.create_dataset("episode_0/actions", (STEPS, 2), "f4", external="/etc/hostname")


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((STEPS, 2), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (STEPS, 2))
    file.create_virtual_dataset("episode_0/infos/x", layout)


def _linked(folder: Path) -> None:
    path = folder / "main_data.hdf5"
    path.rename(folder / "elsewhere")
    path.symlink_to("elsewhere")


TRAP = '{"id": "Trap-v0", "entry_point": "antigravity:Trap", "additional_wrappers": []}'
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no spaces, but an environment": (
        _describe({"observation_space": None, "env_spec": TRAP}), "does not say what its spaces are",
    ),
    "spaces that are none": (_describe({"observation_space": '{"type": "Sphere"}'}), "cannot be used"),
    "spaces without an end": (
        _describe({"observation_space": '{"type": "Tuple", "subspaces": [' * 10_000}), "cannot be used",
    ),
    "another format": (_describe({"data_format": "arrow"}), "not in the format hdf5"),
    "a billion episodes": (_describe({"total_episodes": 10**12}), "1000000000000 episodes"),
    "more episodes than there are": (_describe({"total_episodes": 9}), "cannot be used"),
    "a description that is no object": (lambda f: f.joinpath("metadata.json").write_text("[]"), "no JSON object") ,
    "no description": (lambda f: f.joinpath("metadata.json").unlink(), "no metadata.json"),
    "a file of something else": (lambda f: f.joinpath("main_data.hdf5").write_text("PK"), "cannot be used"),
    "a link in place of the file": (_linked, "no plain file"),
    "a link to another file": (
        _in_file(lambda f: f.update({"episode_0/infos": h5py.ExternalLink("/etc/hostname", "/")})),
        "a link to somewhere else",
    ),
    "numbers in another file": (_in_file(_outside), "refers to other files"),
    "numbers of another file's": (_in_file(_virtual), "refers to other files"),
    "more numbers than memory": (
        _in_file(lambda f: f.create_dataset("x", (1 << 40,), "f8", chunks=(1 << 10,))), "4 GiB",
    ),
    "a group in itself": (_in_file(lambda f: f["episode_0"].update({"x": f["episode_0"]})), "too many parts"),
    "not a number": (
        _in_file(_replace("episode_0/observations", np.full((STEPS + 1, 2), np.nan, "f4"))), "not finite",
    ),
    "an action too few": (
        _in_file(_replace("episode_0/actions", np.zeros((STEPS - 1, 2), "f4"))), "another number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_hostile_data_is_refused_in_a_sentence(
    expert: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: object, **__: object) -> None:
        raise AssertionError("an environment was made from the description of the data")

    monkeypatch.setattr(gym, "make", make)
    change, complaint = DAMAGES[damage]
    change(expert)
    with pytest.raises(DemonstrationsError, match=complaint) as refused:
        _read(expert)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_a_trained_clone_acts_without_its_expert(tmp_path: Path, expert: Path) -> None:
    """Evaluation reads no expert data: that of a run from elsewhere is not there."""
    envs = _rooms()
    agent = BC.for_env(envs, BCConfig(expert=str(expert)))
    list(agent.learn(envs, steps=64))
    context = RunContext(8, 100, 100)
    other = BC(
        ROOM, Room.action_space, BCConfig(expert=str(tmp_path / "gone"), num_envs=8), context
    )
    other.load(agent.state())
    place = np.zeros(2, np.float32)
    np.testing.assert_array_equal(other.predict(place), agent.predict(place))
