"""What a release says of itself agrees: version, licence, citation."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

import fathom

ROOT = Path(__file__).parents[1]


def test_the_citation_is_valid_and_of_this_version() -> None:
    """The keys that version 1.2.0 of the Citation File Format requires, and those used here, with their types."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    kinds = {
        "cff-version": str,
        "message": str,
        "title": str,
        "authors": list,
        "type": str,
        "version": str,
        "license": str,
        "keywords": list,
    }
    assert {key: type(value) for key, value in citation.items()} == kinds
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] in ("software", "dataset")
    assert citation["version"] == fathom.__version__
    for author in citation["authors"]:
        assert author.keys() <= {"name"} or {"given-names", "family-names"} <= author.keys()


def test_the_package_says_who_made_it_and_under_which_licences() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == fathom.__version__
    assert project["authors"] == [{"name": "Fathom contributors"}]
    assert project["license"].split(" AND ")[0] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    for pattern in project["license-files"]:
        assert list(ROOT.glob(pattern)), pattern


def test_every_licence_of_data_is_in_the_licence_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {one.removeprefix("LicenseRef-") for one in project["license"].split(" AND ")}
    table = (ROOT / "perception" / "data" / "NOTICE.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| [")]
    used = {row[3].strip().removesuffix(" 1.0").replace(" ", "-") for row in rows}
    used = {"CC0-1.0" if one == "CC0" else one for one in used}
    assert used | {"MIT"} == named


def test_the_notice_names_every_run_that_ships() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for run in (ROOT / "runs" / "reference").iterdir():
        assert f"  {run.name} " in notice, run.name
