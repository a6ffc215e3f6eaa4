"""Whatever the program at the other end does, we get a move or one sentence."""

import re
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envs.go.program import Program, ProgramError, ProgramRefusedError
from envs.go.vertices import action_at, vertex

GNUGO = shutil.which("gnugo") or "/usr/games/gnugo"
RULES: Any = SimpleNamespace(size=9, komi=7.0)


def _program(body: str, timeout: float = 20.0) -> Program:
    """A program whose `answer(line)` gives what it writes for a command."""
    loop = "import sys, time, os\n" + body + "\nfor line in sys.stdin:\n    answer(line.strip())\n"
    return Program([sys.executable, "-c", loop], timeout, "opponent")


def _answering(text: str) -> Program:
    return _program(f"def answer(line):\n    sys.stdout.write({text!r}); sys.stdout.flush()")


@pytest.mark.parametrize(
    ("action", "name"), [(0, "A9"), (8, "J9"), (7, "H9"), (72, "A1"), (80, "J1"), (81, "pass")]
)
def test_a1_is_at_the_bottom_left_and_there_is_no_i(action: int, name: str) -> None:
    assert vertex(action, 9) == name
    assert action_at(name, 9) == action_at(name.lower(), 9) == action


@pytest.mark.parametrize(
    "name", ["", "I5", "K1", "A0", "A10", "A", "5", "A1 B2", "A²", "Å1", "A-1"]
)
def test_what_is_no_point_is_said(name: str) -> None:
    with pytest.raises(ValueError, match="is no point of a 9×9 board"):
        action_at(name, 9)


def test_a_program_plays() -> None:
    program = _answering("= J1\n\n")
    program.new_game(RULES)
    program.play(1, 0)
    assert program.genmove(2) == 80
    program.close()


@pytest.mark.parametrize("answer", ["=12 C3\n\n", "\n\n= c3 \r\n\r\n", "=\tC3\n\n"])
def test_spaces_numbers_and_carriage_returns_do_not_matter(answer: str) -> None:
    assert vertex(_answering(answer).genmove(1) or 0, 19) == "C3"


def test_to_resign_is_no_move() -> None:
    assert _answering("= resign\n\n").genmove(1) is None


def test_a_refusal_is_said_and_the_program_goes_on() -> None:
    program = _program(
        "def answer(line):\n    print('? illegal move\\n' if 'play' in line else '= A1\\n')"
        "\n    sys.stdout.flush()"
    )
    program._size = 9
    with pytest.raises(ProgramRefusedError, match="opponent refused 'play b A9': 'illegal move'"):
        program.play(1, 0)
    assert program.genmove(2) == 72


@pytest.mark.parametrize("command", ["no-such-program --gtp", "/no/such/program"])
def test_a_program_that_is_not_installed_is_said(command: str) -> None:
    with pytest.raises(ProgramError, match=f"^the program {command.split()[0]} is not installed$"):
        Program(command)


def test_what_is_no_command_line_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="no command line: No closing quotation"):
        Program("gnugo 'x")
    with pytest.raises(ProgramError, match="an empty command names no program"):
        Program(" ")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ProgramError, match="cannot be started: Permission denied"):
        Program([str(tmp_path / "text")])


def test_a_crash_is_said_with_the_programs_last_words() -> None:
    program = _program("def answer(line):\n    sys.exit('out of memory\\n')")
    says = "opponent ended (exit code 1) at 'genmove b': 'out of memory'"
    with pytest.raises(ProgramError, match=re.escape(says)):
        program.genmove(1)
    with pytest.raises(ProgramError, match="opponent is not running any more"):
        program.genmove(1)


def test_a_killed_program_is_said() -> None:
    program = _program("def answer(line):\n    os.kill(os.getpid(), 9)")
    with pytest.raises(ProgramError, match=re.escape("ended (killed by signal 9) at 'name'")):
        program.command("name")


def test_a_hung_program_is_said_and_ended_with_what_it_started(tmp_path: Path) -> None:
    left = tmp_path / "left"
    program = Program(["sh", "-c", f"(sleep 1; touch {left}) & wait"], timeout=0.2, name="opponent")
    with pytest.raises(ProgramError, match=r"has not answered 'genmove b' within 0.2 seconds"):
        program.genmove(1)
    time.sleep(1.2)
    assert not left.exists()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("hello\n", "answered 'genmove b' with nonsense: 'hello'"),
        ("= Z99\n\n", "with nonsense: 'Z99' is no point of a 19×19 board"),
        ("= \n\n", "with nonsense: '' is no point"),
        ("\xff\x00" * 2000, "with nonsense"),
        ("= A1 and\nmore\n\n", "with nonsense: 'A1 and more'"),
    ],
)
def test_nonsense_is_said_in_one_line(answer: str, says: str) -> None:
    with pytest.raises(ProgramError) as error:
        _answering(answer).genmove(1)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_an_answer_without_end_is_nonsense() -> None:
    program = _program("def answer(line):\n    while True: print('= 9' * 10_000, end='')")
    with pytest.raises(ProgramError, match="answered 'genmove b' with nonsense: '= 9="):
        program.genmove(1)


def test_a_program_that_fills_its_error_pipe_does_not_hang() -> None:
    program = _program(
        "def answer(line):\n    sys.stderr.write('x' * 300_000); print('= A1\\n', flush=True)"
    )
    assert vertex(program.genmove(1) or 0, 19) == "A1"


@pytest.mark.skipif(not Path(GNUGO).exists(), reason="GNU Go is not installed")
def test_gnu_go_plays_and_refuses() -> None:
    program = Program([GNUGO, "--mode", "gtp", "--level", "1", "--chinese-rules"])
    program.new_game(RULES)
    move = program.genmove(1)
    assert move is not None
    with pytest.raises(ProgramRefusedError, match="gnugo refused"):
        program.play(2, move)
    program.close()
