"""Places that cannot be written."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fathom import surroundings
from fathom.surroundings import prepare_caches, prepare_pygame, private_folder

VARIABLES = "HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, a temporary folder and a checkout without a cache; only what is beneath can be written."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(surroundings, "_KERNELS", tmp_path / "checkout" / "__pycache__")
    return tmp_path


def deny(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setattr(
        surroundings,
        "_writable",
        lambda path: not any(Path(path).is_relative_to(folder) for folder in folders),
    )


def test_nothing_is_set_where_all_can_be_written(places: Path) -> None:
    prepare_caches()
    assert os.environ["HOME"] == str(places / "home")
    assert not {"NUMBA_CACHE_DIR", "MPLCONFIGDIR"} & os.environ.keys()
    assert not list((places / "tmp").iterdir())


def test_a_home_that_cannot_be_written(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deny(monkeypatch, places / "home")
    prepare_caches()
    assert os.environ["HOME"] == str(places / "home"), "what lies there can still be read"
    assert os.environ["MPLCONFIGDIR"].startswith(str(places / "tmp"))
    assert "NUMBA_CACHE_DIR" not in os.environ, "it lies beside the sources"
    deny(monkeypatch, places / "home", places / "checkout")
    prepare_caches()
    assert os.environ["NUMBA_CACHE_DIR"].startswith(str(places / "tmp"))


@pytest.mark.parametrize("home", ["/nonexistent", "relative", "~"])
def test_a_home_that_is_not_there(places: Path, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    prepare_caches()
    assert os.environ["HOME"] == private_folder()
    assert os.stat(private_folder()).st_mode & 0o077 == 0


def test_a_folder_that_others_can_write_to_is_not_used(places: Path) -> None:
    folder = Path(private_folder())
    assert private_folder() == str(folder)
    folder.chmod(0o777)
    other = private_folder()
    assert other != str(folder)
    assert os.stat(other).st_mode & 0o077 == 0


def test_a_folder_is_writable_if_it_or_what_is_to_hold_it_is(tmp_path: Path) -> None:
    assert surroundings._writable(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    assert not surroundings._writable(tmp_path / "file" / "b")


def test_pygame_looks_for_no_display_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDL_VIDEODRIVER", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("DISPLAY", ":0")
    prepare_pygame()
    assert "SDL_VIDEODRIVER" not in os.environ
    monkeypatch.delenv("DISPLAY")
    prepare_pygame()
    assert os.environ["SDL_VIDEODRIVER"] == "dummy"


@pytest.mark.skipif(
    not shutil.which("setpriv") or os.getuid() != 0, reason="only root can be somebody else"
)
def test_a_user_without_a_home_trains(tmp_path: Path) -> None:
    """One that the machine does not know, who may read everything and write only here."""
    tmp_path.chmod(0o777)
    for parent in (tmp_path.parent, tmp_path.parent.parent, tmp_path.parent.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o011)
    root = Path(__file__).parents[2]
    words = [
        "ppo",
        "CartPole-v1",
        "--steps",
        "16",
        "--num-envs",
        "2",
        "--rollout-steps",
        "8",
        "--threads",
        "1",
    ]
    user = ["--reuid=23456", "--regid=23456", "--clear-groups"]
    reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    variables = {k: v for k, v in os.environ.items() if k not in (*VARIABLES, "USER", "LOGNAME")}
    try:
        done = subprocess.run(
            ["setpriv", *user, *reads, sys.executable, "-m", "fathom", "train", *words,
             "--evaluation-episodes", "0", "--name", "a"],
            cwd=tmp_path,
            env={**variables, "PYTHONPATH": str(root), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
        )  # fmt: skip
        if "Operation not permitted" in done.stderr:
            pytest.skip("this container allows no other user")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "runs" / "a" / "run.toml").exists()
        assert "~" not in os.listdir(tmp_path)
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)
