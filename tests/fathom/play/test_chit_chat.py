"""Small talk with a fit of chit-chat in the terminal."""

import io
from pathlib import Path

import pytest

from fathom.cli import main
from fathom.errors import FathomError
from fathom.play.chit_chat import ChitChatTerminal


def test_a_fit_of_chit_chat_is_talked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"hello {n}\tGood day.\nbye {n}\tFarewell!\n" for n in range(10))
    (tmp_path / "talk.tsv").write_text(rows)
    fit = f"fit chit-chat --data {tmp_path}/talk.tsv --name bot --hidden-size 16 --batch-size 4"
    words = f"{fit} --epochs 12 --learning-rate 0.01 --threads 1 --runs-dir {tmp_path}"
    assert main(words.split()) == 0
    capsys.readouterr()
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("hello 3\n\nBye [red]7\x07[/red]\nQuit\nhello 1\n")
    )
    assert main(["play", "bot", "--runs-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.index("Good day.") < shown.index("Farewell!")
    assert shown.count("Good day.") == 1, "nothing is answered after quit"
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["play", str(tmp_path / "bot")]) == 0
    assert main(["play", str(tmp_path / "bot"), "--checkpoint", "7"]) == 2
    assert "7" in capsys.readouterr().err


def test_a_fit_that_cannot_answer_says_so() -> None:
    class Broken:
        def predict(self, inputs: list[str]) -> list[dict[str, str]]:
            raise TypeError("no number")

    with pytest.raises(FathomError, match="cannot answer: TypeError: no number"):
        ChitChatTerminal(Broken(), ask=lambda: "hello").run()
