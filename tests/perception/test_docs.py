"""The example of `docs/perception.md` is a task."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perception.tasks.task import DataSource

DOCS = Path(__file__).parents[2] / "docs"


def test_the_documented_task_of_one_s_own_learns(fit: Callable[..., Any], tmp_path: Path) -> None:
    match = re.search(r"```python\n(.*?)```", (DOCS / "perception.md").read_text(), re.S)
    assert match is not None
    code = match[1]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 40
    path = tmp_path / "wine.py"
    path.write_text(code)
    wine = runpy.run_path(str(path))["Wine"]
    config = wine.Config()
    data = wine.load_data(config, DataSource("wine"))
    task = fit(wine, config, data, config.epochs)
    accuracy = task.evaluate(task.batches(data.test, training=False))["accuracy"]
    assert accuracy.mean > 0.9
    features, kinds = data.test[0]
    assert task.predict([features.tolist()]) == [{"kind": int(kinds)}]


def test_every_picture_of_the_docs_is_there_and_small() -> None:
    names = re.findall(r"\]\((perception-[\w-]+\.png)\)", (DOCS / "perception.md").read_text())
    assert len(names) >= 4
    for name in names:
        assert (DOCS / name).stat().st_size < 60_000, name
