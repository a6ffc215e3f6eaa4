"""Finding data by path, name or scheme."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from perception.data import source as module
from perception.data.source import DataError, DataSource

SHIPPED, HUB = {"small": "some-package"}, {"big": "owner/big"}


def _letters(name: str, form: str, options: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    if form != "letters":
        raise ValueError(f"letters: has no {form}")
    return list(name) * options.get("times", 1), [name[0]]


SCHEMES = {"letters": _letters}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FATHOM_DATA", raising=False)


def test_a_path_comes_before_the_data_folder_and_that_before_what_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = DataSource("small")
    assert source.locate(SHIPPED)[::2] == ("shipped", "shipped with some-package")
    home = tmp_path / "home"
    (home / "small").mkdir(parents=True)
    monkeypatch.setenv("FATHOM_DATA", str(home))
    location = source.locate(SHIPPED)
    assert (location.kind, location.path) == ("path", home / "small")
    assert "FATHOM_DATA" in location.found
    (tmp_path / "small").mkdir()
    location = source.locate(SHIPPED)
    assert location.path.resolve() == tmp_path / "small"
    assert location.found == str(tmp_path / "small")


def test_the_hub_is_used_where_datasets_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed in (True, False):
        monkeypatch.setattr(
            module.importlib.util, "find_spec", lambda name, there=installed: there or None
        )
        if installed:
            assert DataSource("big").locate(SHIPPED, HUB)[:2] == ("hub", "owner/big")
        else:
            with pytest.raises(DataError, match=r"owner/big .*pip install datasets"):
                DataSource("big").locate(SHIPPED, HUB)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("nothing", r"at nothing \(FATHOM_DATA is not set\); .* installed: small"),
        ("", "no data ''"),
        ("words:x", "no scheme 'words'; known: letters:NAME"),
        ("letters:x", "cannot use letters: data"),
    ],
)
def test_data_that_are_not_there_get_one_sentence(reference: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        DataSource(reference, schemes=SCHEMES).locate(SHIPPED, HUB)
    assert "\n" not in str(error.value)


def test_a_scheme_s_provider_gets_name_form_and_options() -> None:
    source = DataSource("letters:ab", {"times": 2}, SCHEMES)
    assert source.scheme == "letters"
    assert source.provide("letters") == (["a", "b", "a", "b"], ["a"])
    with pytest.raises(DataError, match="letters: has no words"):
        source.provide("words")
    with pytest.raises(DataError, match="no scheme"):
        DataSource("ab", {}, SCHEMES).provide("letters")


def test_options_are_for_schemes_only(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"take no option \(times given\)"):
        DataSource(str(tmp_path), {"times": 2}, SCHEMES).locate()


def test_paths_are_made_absolute_and_names_are_not(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").touch()
    (tmp_path / "folder").mkdir()
    assert DataSource("folder").absolute().reference == str(tmp_path / "folder")
    assert DataSource("other").absolute().reference == "other"
    own = DataSource("letters:file.yaml", {}, SCHEMES).absolute()
    assert own.reference == f"letters:{tmp_path / 'file.yaml'}"
    assert DataSource("letters:folder", {}, SCHEMES).absolute().reference == "letters:folder"


def test_a_name_too_long_for_a_file_is_not_found() -> None:
    with pytest.raises(DataError, match="no data 'aaa"):
        DataSource("a" * 5_000).absolute().locate(SHIPPED)
