"""Recorded transitions: whole episodes of training, in Minari's format, and what imitates them by a run's name."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from agents.agent import Agent, RunContext
from agents.parts.actions import action_distribution
from agents.parts.demonstrations import read_demonstrations
from agents.scripted import Scripted, ScriptedConfig
from fathom.cli import main
from fathom.environments import EnvironmentSpec, resolve
from fathom.errors import FathomError
from fathom.evaluation import EVALUATION_SEED
from fathom.files import Folder
from fathom.transitions import record_transitions

minari = pytest.importorskip("minari")

ASKING = f"{Path(__file__).parents[1] / 'agents' / 'asking.py'}:Asking"

PARTS = """
import gymnasium
from gymnasium import spaces

class Parts(gymnasium.Env):
    observation_space = spaces.Dict(
        words=spaces.Text(5), place=spaces.Discrete(4), both=spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.Discrete(2)])
    )
    action_space = spaces.Dict(go=spaces.Discrete(3), hard=spaces.Box(0, 1, (1,)))
    def __init__(self, split="test"):
        self.split = split
    def _seen(self):
        self.observation_space.seed(int(self.np_random.integers(1000)))
        return self.observation_space.sample()
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        assert self.split == "train" and seed < 2**30
        self.left = 3
        return self._seen(), {}
    def step(self, action):
        assert self.action_space.contains(action)
        self.left -= 1
        return self._seen(), 1.0, False, self.left == 0, {}
"""


class Anything:
    """An agent that takes random actions."""

    def __init__(self, space: spaces.Space) -> None:
        self.space = space

    def act(self, observations: Any, masks: Any, starts: Any, rng: np.random.Generator) -> Any:
        family = action_distribution(self.space)
        params = np.zeros((1, family.num_distribution_params), np.float32)
        return family.to_env_actions(family.sample(params, None, rng))


def _asking() -> tuple[Agent, EnvironmentSpec]:
    world = resolve(ASKING)
    context = RunContext(8, 100, 100, expert_action=world.expert())
    return Scripted(*world.spaces(), ScriptedConfig(), context), world


def test_whole_episodes_with_their_masks_are_written_for_minari(tmp_path: Path) -> None:
    recorded = record_transitions(*_asking(), Folder(tmp_path), "data", 9, 0, "scripted")
    assert recorded.transitions == 10
    assert recorded.returns == [pytest.approx(0.9)] * 5
    data = minari.MinariDataset(recorded.folder)
    assert (data.total_episodes, data.total_steps) == (5, 10)
    episode = next(data.iterate_episodes())
    assert episode.actions.tolist()[0] == 0
    assert episode.terminations.tolist() == [False, True]
    assert not episode.truncations.any()
    assert episode.infos["action_mask"].tolist()[0] == [True, False, False]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_was_recorded_before_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    files = Folder(tmp_path)
    for transitions in (9, 2):
        record_transitions(*_asking(), files, "data", transitions, 0, "scripted")
    assert minari.MinariDataset(tmp_path / "data").total_steps == 2
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "link").symlink_to(mine)
    for name in ("mine", "link"):
        with pytest.raises(FathomError, match="exists and holds no transitions"):
            record_transitions(*_asking(), files, name, 2, 0, "scripted")
    assert not list(mine.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "link", "mine"]


def test_episodes_of_any_spaces_are_those_of_training_and_come_back(tmp_path: Path) -> None:
    file = tmp_path / "parts.py"
    file.write_text(PARTS)
    world = resolve(f"{file}:Parts")
    space, actions = world.observation_space, world.spaces()[1]
    agent: Any = Anything(actions)
    seed = EVALUATION_SEED - 10
    folder = record_transitions(agent, world, Folder(tmp_path), "data", 5, seed, "any").folder
    data = read_demonstrations(folder, space, action_distribution(actions))
    assert (data.episodes, len(data)) == (2, 6)
    again = record_transitions(agent, world, Folder(tmp_path), "again", 5, seed, "any").folder
    assert read_demonstrations(again, space, action_distribution(actions)).digest() == data.digest()


def test_a_space_that_minari_does_not_store_is_named(tmp_path: Path) -> None:
    file = tmp_path / "parts.py"
    file.write_text(PARTS.replace("spaces.Text(5)", "spaces.Sequence(spaces.Discrete(2))"))
    world = resolve(f"{file}:Parts")
    with pytest.raises(FathomError, match="Minari stores no such space"):
        record_transitions(
            Anything(world.spaces()[1]), world, Folder(tmp_path), "data", 5, 0, "any"
        )  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"parts.py"}


def _fathom(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main([*words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


TINY = ["--steps", "640", "--segment-steps", "320", "--evaluation-episodes", "8", "--threads", "1"]


@pytest.mark.parametrize("agent", ["bc", "gail"])
def test_a_run_s_transitions_are_imitated_by_the_name_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    limit = ["--env.max_episode_steps", "10"]  # one may ask for ever
    train = ["train", agent, ASKING, *TINY, *limit, "--num-envs", "8", "--expert"]
    assert main(["train", "scripted", ASKING, "--name", "expert", "--steps", "8"]) == 0
    code, _, complaint = _fathom(capsys, *train, "expert", "--name", "none")
    assert code == 2
    assert "fathom record runs/expert --transitions 10000" in complaint
    assert not Path("runs/none").exists()

    code, out, _ = _fathom(capsys, "record", "expert", "--transitions", "40", "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["transitions"], report["episodes"]) == (40, 20)
    assert report["mean_return"] == pytest.approx(0.9)
    assert not Path("runs/expert/videos").exists()

    words = ["--learning-rate", "1e-2"] + (["--rollout-steps", "16"] if agent == "gail" else [])
    code, out, _ = _fathom(capsys, *train, "expert", "--name", "copy", "--json", *words)
    assert code == 0
    if agent == "bc":
        assert json.loads(out)["evaluation"]["mean"] == pytest.approx(0.9)
    # From another folder, for the run holds the whole path.
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    assert main(["resume", "../runs/copy", "--steps", "960"]) == 0
    assert main(["evaluate", "../runs/copy", "--episodes", "2"]) == 0


def test_a_run_from_elsewhere_reads_no_expert_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = resolve("CartPole-v1")
    agent: Any = Anything(world.spaces()[1])
    folder = record_transitions(agent, world, Folder(tmp_path), "data", 40, 0, "any").folder
    words = ["train", "bc", "CartPole-v1", *TINY, "--expert", str(folder), "--name", "copy"]
    assert main(words) == 0
    run = tmp_path / "runs" / "copy"
    (run / "signature").unlink()
    code, _, complaint = _fathom(capsys, "resume", str(run), "--steps", "960")
    assert code == 2
    assert "was not written on this machine" in complaint


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train", "bc", ASKING], "bc needs an expert to imitate"),
        (["train", "bc", ASKING, "--expert", "nobody"], "there is no expert 'nobody'"),
        (["train", "bc", ASKING, "--expert", "empty"], "holds no data of Minari"),
        (["train", "gail", "CartPole-v1", "--expert", "data"], "its observations are"),
        (["train", "bc", ASKING, "--expert", "data", "--expert-episodes", "21", *TINY], "20 episodes, not 21"),
        (["record", "none", "--transitions", "0"], "there is no run 'none'"),
    ],
)  # fmt: skip
def test_what_cannot_be_imitated_is_said_in_a_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "store"))
    record_transitions(*_asking(), Folder(tmp_path), "data", 40, 0, "scripted")
    Path("empty").mkdir()
    code, _, said = _fathom(capsys, *words)
    assert code == 2
    assert complaint in said
    assert len(said.splitlines()) == 1
    assert not Path("runs").exists()


def test_data_sets_of_minari_s_own_store_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fathom.runs.expert import expert_folder

    store = tmp_path / "store"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(store))
    (store / "asking" / "expert-v0").mkdir(parents=True)
    record_transitions(*_asking(), Folder(store / "asking" / "expert-v0"), "data", 4, 0, "scripted")
    found = expert_folder("asking/expert-v0", tmp_path / "runs")
    assert found == store / "asking" / "expert-v0" / "data"
    assert expert_folder(str(found.parent), tmp_path / "runs") == found


def test_without_minari_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "minari"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(FathomError, match=r'pip install "fathom-rl\[imitation\]"'):
        record_transitions(*_asking(), Folder(tmp_path), "data", 4, 0, "scripted")
    code, _, complaint = _fathom(capsys, "train", "bc", ASKING, "--expert", str(tmp_path))
    assert code == 2
    assert "pip install" in complaint
