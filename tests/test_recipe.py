"""The studies of the learning recipe, on few of scikit-learn's digits, and the page they make."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def load_script() -> ModuleType:
    folder = ROOT / "examples" / "studies"
    sys.path.append(str(folder))  # as for a script
    spec = importlib.util.spec_from_file_location("recipe", folder / "recipe.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["recipe"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


recipe = load_script()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `--quick` writes, beside a page with a table to fill."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "recipe.md").write_text("Before.\n<!-- capacity -->\nold\n<!-- end -->\nAfter.\n")
    assert recipe.main(["--quick", "--data", "digits", "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Study → row → column → mean."""
    return {
        study: {
            row: {column: float(np.mean(values)) for column, values in columns.items()}
            for row, columns in content["result"]["rows"].items()
        }
        for study, content in json.loads((folder / "recipe.json").read_text()).items()
    }


def test_every_study_leaves_values_and_a_figure(folder: Path, found: dict[str, Any]) -> None:
    assert set(found) == set(recipe.STUDIES)
    for name in recipe.STUDIES:
        assert (folder / f"recipe-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_of_a_page_is_rewritten_and_its_text_is_kept(folder: Path) -> None:
    text = (folder / "recipe.md").read_text()
    assert text.startswith("Before.\n<!-- capacity -->\n| hidden units |")
    assert text.endswith("|\n<!-- end -->\nAfter.\n")
    assert "old" not in text


def test_a_larger_model_has_a_smaller_training_error(found: dict[str, Any]) -> None:
    small, large = found["capacity"].values()
    assert large["training error"] < small["training error"] - 20


def test_gradients_vanish_in_a_deep_sigmoid_network_only(found: dict[str, Any]) -> None:
    sigmoid, relu = (found["activations"][f"{name}, 8"] for name in ("sigmoid", "ReLU"))
    assert sigmoid["gradient, first layer"] < 1e-3 * sigmoid["gradient, last hidden layer"]
    assert relu["gradient, first layer"] > 0.1 * relu["gradient, last hidden layer"]
    assert relu["training error"] < sigmoid["training error"] - 20


def test_a_deep_sigmoid_network_needs_layers_that_were_learned_one_by_one(
    found: dict[str, Any],
) -> None:
    errors = {row: columns["test error"] for row, columns in found["pretraining"].items()}
    assert errors["sigmoid, layer by layer"] < errors["sigmoid, random"] - 20
    assert errors["ReLU, random"] < errors["sigmoid, random"] - 20


def test_nothing_is_learned_from_zeros(found: dict[str, Any]) -> None:
    assert found["starts"]["5 × 64, scale 0"]["training error"] > 80
    assert found["starts"]["5 × 64, scale 1"]["training error"] < 40


def test_few_images_are_learned_by_heart_and_more_help(found: dict[str, Any]) -> None:
    none, more = (found["cures"][cure] for cure in ("none", "ten times the data"))
    assert none["training error"] < 1
    assert none["test error"] > 5
    assert more["better than none"] == pytest.approx(none["test error"] - more["test error"])
    assert more["better than none"] > 0


def test_only_the_p4_network_does_not_mind_quarter_turns(found: dict[str, Any]) -> None:
    plain, p4 = (found["rotation"][f"{kind}, trained upright"] for kind in ("CNN", "p4"))
    assert plain["90°"] < plain["0°"] - 30
    assert p4["90°"] == pytest.approx(p4["0°"], abs=0.5)
    assert p4["multiples of 90°"] == pytest.approx(p4["0°"], abs=0.5)
    assert p4["0°"] > 50


def test_scores_of_the_p4_network_are_the_same_for_turned_images() -> None:
    torch.manual_seed(0)
    network = recipe.P4CNN((1, 28, 28), 3, 10).eval().double()
    images = torch.rand(4, 1, 28, 28, dtype=torch.double)
    for times in range(4):
        assert torch.allclose(network(images.rot90(times, (-2, -1))), network(images), atol=1e-12)


def test_a_study_that_there_is_not_and_missing_data_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        recipe.main(["capacities"])
    assert stop.value.code == 2
    assert "known: capacity, activations" in capsys.readouterr().err
    assert recipe.main(["--data", str(tmp_path / "none"), "--output", str(tmp_path)]) == 2
    assert re.fullmatch(r"recipe: no data .*\n", capsys.readouterr().err)


def test_the_tables_of_the_page_are_those_of_the_values_beside_it() -> None:
    page = (DOCS / "recipe.md").read_text()
    values = json.loads((DOCS / "recipe.json").read_text())
    assert set(values) == set(recipe.STUDIES)
    for name, content in values.items():
        assert not content["quick"]
        table = recipe.table(recipe.Result(**content["result"]))
        assert f"<!-- {name} -->\n{table}<!-- end -->" in page
        assert 5_000 < (DOCS / f"recipe-{name}.png").stat().st_size < 120_000
