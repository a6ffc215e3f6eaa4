"""The pictures of the pages on perception tasks."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_picture_of_the_docs_is_there_and_small() -> None:
    text = (DOCS / "perception.md").read_text() + (DOCS / "sequences.md").read_text()
    names = re.findall(r"\]\(((?:perception|sequence)-[\w-]+\.\w+)\)", text)
    assert len(names) >= 20
    for name in names:
        assert (DOCS / name).stat().st_size < (150_000 if name.endswith(".gif") else 60_000), name
