"""Whatever is wrong with an environment comes out as one sentence, and loses nothing."""

import sys
from pathlib import Path

import pytest

from fathom import cli
from fathom.environments import resolve
from fathom.environments.check import check
from fathom.errors import FathomError

FILE = Path(__file__).with_name("broken_environments.py")

SHORT = (
    "--steps 64 --segment-steps 32 --rollout-steps 8 --num-envs 2 --hidden-size 8"
    " --evaluation-episodes 2 --threads 1"
)


def _train(tmp_path: Path, environment: str, *words: str) -> int:
    flags = ["--name", "run", "--runs-dir", str(tmp_path / "runs")]
    return cli.main(["train", "ppo", environment, *SHORT.split(), *flags, *words])


def _sentence(said: str) -> str:
    assert said.startswith("fathom: ")
    assert len(said.strip().splitlines()) == 1
    return said.removeprefix("fathom: ").strip()


@pytest.mark.parametrize("name", ["Works", "Masked"])
def test_what_the_broken_ones_are_made_from_works(tmp_path: Path, name: str) -> None:
    assert _train(tmp_path, f"{FILE}:{name}") == 0


CONTRACT = "does not keep Gymnasium's contract: "

REFUSED = {
    "NoActionSpace": CONTRACT + "AttributeError: The environment must specify an action space",
    "NoObservationSpace": CONTRACT + "AttributeError: The environment must specify an observation",
    "ActionSpaceIsANumber": CONTRACT + "TypeError: action space does not inherit from",
    "ObservationSpaceIsAShape": CONTRACT + "TypeError: observation space does not inherit from",
    "EmptyDict": CONTRACT + "AssertionError: An empty Dict observation space is not allowed",
    "NoActions": "cannot be made: ValueError: n (counts) have to be positive",
    "BoundsAreReversed": "cannot be made: ValueError: Box all low values must be less than",
    "OtherSpacesEachTime": "cannot be made 2 times: RuntimeError: Sub-environment action space",
    "ObservesAGraph": ": no encoder fits the observation space Graph",
    "ObservesSequencesOfText": ": no encoder fits a sequence of Text",
    "ActsWithText": "need an action space of Discrete, MultiDiscrete, MultiBinary, Box, or a Dict or",
    "NeedsAnArgument": "missing 1 required positional argument: 'size'",
    "RaisesWhenMade": "cannot be made: RuntimeError: no licence",
    "RaisesInReset": "failed at line {line}, in Gymnasium's check: RuntimeError: no such level",
    "ResetGivesNoInfo": "was not a tuple of the form `(obs, info)`",
    "ResetGivesThree": "did not return a 2-tuple, actual length: 3",
    "ResetGivesNoneAsInfo": "second element returned by `env.reset()` was not a dictionary",
    "ResetIsOutOfBounds": "first element returned by `env.reset()` is not within the observation",
    "ResetGivesNaN": "first element returned by `env.reset()` is not within the observation space",
    "ResetHasAnotherShape": "first element returned by `env.reset()` is not within the observation",
    "ResetTakesNoSeed": "The `reset` method does not provide a `seed`",
    "ResetTakesNoOptions": "The `reset` method does not provide an `options`",
    "ResetIgnoresTheSeed": "does not call `super().reset(seed=seed)`",
    "ResetIsNotRepeatable": "Using `env.reset(seed=123)` is non-deterministic",
    "RaisesInProtocol": "failed at line {line}, in protocol: RuntimeError: no rules",
    "RaisesInStep": "failed at line {line}, in Gymnasium's check: RuntimeError: no such move",
    "StepGivesNoTuple": "Expects step result to be a tuple",
    "StepGivesThree": "four or five element tuple, actual number of elements returned: 3",
    "StepGivesFour": "written in old step API which returns one bool instead of two",
    "StepGivesNoneAsInfo": "The `info` returned by `step()` must be a python dictionary",
    "StepHasAnotherShape": "the observation of step() does not fit its space Box(-1.0, 1.0, (2,)",
    "StepLacksAKey": "observation keys is not same as the observation space keys",
    "StepIsNotRepeatable": "Deterministic step observations are not equivalent",
    "RewardIsNotRepeatable": "Deterministic step rewards are not equivalent",
    "RewardIsText": "The reward returned by `step()` must be a float",
    "RewardIsNone": "The reward returned by `step()` must be a float",
    "RewardIsAnArray": "The reward returned by `step()` must be a float",
    "RewardIsNaN": "The reward is a NaN value",
    "RewardIsInfinite": "The reward is an inf value",
    "TerminatedIsNone": "Expects `terminated` signal to be a boolean",
    "TruncatedIsText": "Expects `truncated` signal to be a boolean",
    "TruncatesAtOnce": "Environment truncates after 1 step",
    "RaisesInClose": "failed at line {line}, in close: RuntimeError: cannot close",
    "MaskHasAnotherShape": "info['action_mask'] must have the shape (2,), not (3,)",
    "MaskIsForgottenInStep": "info['action_mask'] must come with every reset() and step(), or never",
    "MaskIsForgottenInReset": "info['action_mask'] must come with every reset() and step(), or never",
    "MeasuresAreANumber": CONTRACT + "metadata['measures'] must be a list of names, not 3",
    "FramesASecondAreText": CONTRACT + "metadata['render_fps'] must be a number of frames a second",
    "ProtocolIsANumber": ": protocol() must give a dictionary of numbers and texts, not 3",
    "LeavesPython": "failed at line {line}, in Gymnasium's check: SystemExit: 3",
    "MaskHasNoNumberedActions": "info['action_mask'] is for numbered actions, and these are Box",
}
"""What Fathom says before it makes a run; `{line}` is where the class raises."""


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_environment_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert _train(tmp_path, f"{FILE}:{name}") == 2
    message = _sentence(capsys.readouterr().err)
    assert REFUSED[name].format(line=_line_that_raises(name)) in message
    if name not in ("OtherSpacesEachTime", "ActsWithText"):
        assert message.startswith(f"{FILE}:{name}")
    # That its copies differ is found only when there are several.
    assert (tmp_path / "runs").exists() == (name == "OtherSpacesEachTime")


def _line_that_raises(name: str) -> int:
    """Number of the first `raise` from the class's head on, or 0."""
    lines = FILE.read_text().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith(f"class {name}("))
    return next((i + 1 for i in range(head, len(lines)) if "raise " in lines[i]), 0)


LATER = {
    "GivesNaNLater": "is broken: environment 0 gave nan as observation['place'] at its step 5",
    "PaysNaNLater": "is broken: environment 0 gave nan as reward at its step 5",
    "RaisesLater": "failed at line {line}, in step 5 of environment 0: KeyError: 'door'",
    "HasAnotherShapeLater": "failed in step 5: ValueError: Output array is the wrong shape",
    "LeavesPythonLater": "failed at line {line}, in step 5 of environment 0: SystemExit: 3",
    "MaskIsForgottenLater": "or never, and it is missing at step 5 of this segment",
    "MaskChangesLater": "info['action_mask'] has another shape at step 5 of this segment",
    "LeavesItsSpaceLater": "the observation of step 5 of this segment is not in Discrete(3)",
    "HasNoLives": "metadata['life_loss'] requires info['lives'], which is missing",
}


IN_EVALUATIONS = {
    "PaysInfinityInTests": "is broken, in an evaluation: environment 0 gave inf as reward at its step 5",
    "MeasureIsADict": "as info['grade'], and a measure must be a finite number",
    "MeasureIsInfinite": "as info['grade'], and a measure must be a finite number",
    "MeasureIsText": "gives 'A' as info['grade'], and a measure must be a finite number",
}


@pytest.mark.parametrize("name", IN_EVALUATIONS)
def test_one_that_breaks_in_evaluations_is_trained_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert _train(tmp_path, f"{FILE}:{name}") == 0
    message = " ".join(capsys.readouterr().out.split())
    assert "warning: the evaluation at step" in message
    assert IN_EVALUATIONS[name] in message


@pytest.mark.parametrize("name", LATER)
def test_one_that_breaks_in_training_leaves_the_last_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It is mended then, and the run goes on."""
    source = tmp_path / "mine.py"
    source.write_text(FILE.read_text())
    assert _train(tmp_path, f"{source}:{name}") == 2
    message = _sentence(capsys.readouterr().err)
    run = tmp_path / "runs" / "run"
    assert message.startswith(f"{source}:{name} ")
    assert LATER[name].format(line=_line_that_raises(name)) in message
    assert message.endswith(f"; the last checkpoint of {run}, of step 0, is intact")
    mended = FILE.read_text().replace(f"class {name}(Works)", "class Other(Works)")
    mended += f"\nclass {name}(Works):\n    pass\n"
    if name == "GivesNaNLater":
        mended = FILE.read_text().replace("np.nan if self.time == 5 else 0", "0")
    if name == "LeavesItsSpaceLater":
        mended = FILE.read_text().replace("7 if self.time == 5 else 1", "1")
    source.write_text(mended)
    assert cli.main(["resume", str(run)]) == 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--env.width 100", "made: width must be at most 63, not 100"),
        ("--env.height 3", "height must be at least 5, not 3"),
        ("--env.width 8", "width must be odd, because walls and rooms alternate: 7 or 9"),
        ("--env.width wide", "--env.width must be of the type int, not 'wide'"),
        ("--env.goal 2,2", "no path leads to goal 2,2, which is no room"),
        ("--env.goal 9,1", "no path leads to goal 9,1, which is no room"),
        ("--env.goal middle", 'goal must be "random" or a room such as 1,7'),
        ("--env.start 3,3 --env.goal 3,3", "start and goal are the same square"),
        ("--env.algorithm eller", "'depth_first', 'prim', 'kruskal' or 'wilson', not 'eller'"),
        ("--env.view bird", "view must be 'full', 'local', 'position' or 'square', not 'bird'"),
        ("--env.braid 2", "braid must be at most 1, not 2"),
        ("--env.braid much", "--env.braid must be of the type float, not 'much'"),
        ("--env.braid nan", "--env.braid must be of the type float, not 'nan'"),
        ("--env.doors 9", "doors must be at most 3, not 9"),
        ("--env.colour red", "has no argument 'colour'; it has width, height"),
    ],
)
def test_a_maze_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, expected: str
) -> None:
    assert _train(tmp_path, "Fathom/Maze-v0", *flags.split()) == 2
    assert expected in _sentence(capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


def test_a_missing_package_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Box2D", None)
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(FathomError, match=r'pip install "gymnasium\[box2d\]"'):
        resolve("LunarLander-v3", {})


def test_what_is_only_unusual_is_a_warning(tmp_path: Path) -> None:
    source = FILE.read_text().replace("Box(-1, 1, (2,), np.float32)", "Box(-1, 500, (2,))", 1)
    (tmp_path / "mine.py").write_text(source)
    (warning,) = check(resolve(f"{tmp_path / 'mine.py'}:Works", {}))
    assert warning.startswith("the observation has numbers up to 500")


def test_a_box_without_bounds_is_nothing_unusual(tmp_path: Path) -> None:
    source = FILE.read_text().replace("Box(-1, 1, (2,), np.float32)", "Box(-1, np.inf, (2,))", 1)
    (tmp_path / "mine.py").write_text(source)
    assert check(resolve(f"{tmp_path / 'mine.py'}:Works", {})) == []
