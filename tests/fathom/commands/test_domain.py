"""A domain's file is checked: what it has, a dialogue about it, or its first fault."""

from pathlib import Path

import pytest

from fathom.cli import main

TOOLS = """
task: borrow a tool
slots:
  tool: {constraint: 0.9, question: 0.3}
  shop: {constraint: 0.5, question: 0.5}
  days: {column: false, values: [1, 2, 3]}
csv: tools.csv
"""


def test_a_domain_is_shown_with_a_dialogue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tools.yaml").write_text(TOOLS)
    (tmp_path / "tools.csv").write_text("tool;shop\ndrill;north\nsaw;south\nladder;south\n")
    assert main(["domain", "check", str(tmp_path / "tools.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "tools: borrow a tool; 3 rows" in shown
    assert "  days: 3 of kind count: 1, 2, 3" in shown
    assert "  tool: 3 of kind name: drill, saw, ladder" in shown
    assert "end    success" in shown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["check", "{folder}/none.yaml"], "there is no domain file"),
        (["check", "{folder}/tools.yaml"], "tools.yaml:7: there is no file"),
        (["check"], "domain needs check and a file"),
        (["paint", "x"], "domain needs check and a file"),
    ],
)
def test_a_fault_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    (tmp_path / "tools.yaml").write_text(TOOLS)
    assert main(["domain", *[word.format(folder=tmp_path) for word in words]]) == 2
    message = capsys.readouterr().err
    assert expected in message
    assert len(message.splitlines()) == 1
