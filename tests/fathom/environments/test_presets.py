"""Presets of one's own."""

from pathlib import Path

import pytest

from fathom.environments.presets import read_preset
from fathom.errors import FathomError
from fathom.runs.launcher import defaults_for, fit_defaults


def _file(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_a_preset_of_ones_own_is_taken_in_place_of_fathoms(tmp_path: Path) -> None:
    path = _file(
        tmp_path, 'algorithm = "ppo"\n[run]\nsteps = 777\nwrap = ["a:B"]\n[agent]\ndiscount = 0.5\n'
    )
    request = defaults_for("ppo", "CartPole-v1", preset_file=path)
    assert request.preset == str(path)
    assert (request.options.steps, request.options.wrap) == (777, ("a:B",))
    assert request.config.discount == 0.5
    assert request.config.gae_lambda == 0.95  # not that of ppo-cartpole


def test_a_preset_may_be_for_a_task(tmp_path: Path) -> None:
    path = _file(tmp_path, 'task = "digits"\n[run]\nseed = 3\n[hyperparameters]\nepochs = 2\n')
    options, config = fit_defaults("digits", preset_file=path)
    assert (options.seed, config.epochs) == (3, 2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "for no agent or task"),
        ('algorithm = "dqn"', "for 'dqn', not for 'ppo'"),
        ('algorithm = "ppo', "cannot be read"),
        ('algorithm = "ppo"\nagnet = 1', "has 'agnet'"),
        ('algorithm = "ppo"\nagent = 1', "has to be a table"),
        ('algorithm = "ppo"\n[agent]\ndiscuont = 1', "did you mean discount"),
        ('algorithm = "ppo"\n[agent]\ndiscount = 3', "cannot be right: discount must be at most 1"),
        ('algorithm = "ppo"\n[run]\nstep = 3', "sets step, which no run has"),
        ('algorithm = "ppo"\n[run]\nsteps = "many"', "steps must be a whole number"),
    ],
)
def test_a_preset_that_cannot_be_right_is_refused(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(FathomError, match=complaint):
        defaults_for("ppo", "CartPole-v1", preset_file=path)


def test_a_preset_is_a_file_or_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "link.toml").symlink_to(_file(tmp_path, 'algorithm = "ppo"'))
    assert read_preset(tmp_path / "link.toml", "ppo", is_fit=False)["agent"] == {}
    for path in (tmp_path, tmp_path / "missing.toml"):
        with pytest.raises(FathomError):
            read_preset(path, "ppo", is_fit=False)
