"""The rules of Go against GNU Go.

    python tests/envs/go/test_gnu_go.py --positions 10000 [--games FOLDER]

compares that many positions of random games, and of the games in a folder of SGF (and of archives
of it).
"""

import argparse
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from itertools import cycle, islice, product
from pathlib import Path

import numpy as np
import pytest

from envs.go import core
from envs.go.board import Board, Rules
from envs.go.vertices import vertex

GNUGO = shutil.which("gnugo") or shutil.which("/usr/games/gnugo")


class GnuGo:
    """GNU Go as a judge of rules."""

    _KO = {"simple": "--simple-ko", "positional": "--positional-superko",
           "situational": "--situational-superko"}  # fmt: skip

    def __init__(self, rules: Rules) -> None:
        assert GNUGO is not None
        suicide = "--allow-all-suicide" if rules.suicide else "--forbid-suicide"
        self.process = subprocess.Popen(
            [GNUGO, "--mode", "gtp", "--chinese-rules", "--level", "1", self._KO[rules.ko], suicide],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self.ask(f"boardsize {rules.size}", "clear_board", f"komi {rules.komi}")

    def ask(self, *commands: str) -> list[str]:
        """The answers to several commands, sent at once."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("".join(command + "\n" for command in commands))
        answers = []
        for command in commands:
            answer = self.process.stdout.readline()
            assert answer.startswith("="), f"{command}: {answer}"
            answers.append(answer[1:].strip())
            assert self.process.stdout.readline() == "\n"
        return answers

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


COLOURS = ("", "black", "white")


def compare(board: Board, gnugo: GnuGo) -> None:
    """Both must find the same points legal.

    But GNU Go never calls it a repetition when a stone, alone, takes its own last liberty, though
    that leaves the board as it was."""
    n = board.rules.size**2
    answer = gnugo.ask(f"all_legal {COLOURS[board.to_play]}")[0].split()
    theirs = {point for point in range(n) if vertex(point, board.rules.size) in answer}
    ours = set(np.flatnonzero(board.legal()[:-1]).tolist())
    where = (board.rules, board.moves, board.to_play)
    assert ours <= theirs, where
    for point in theirs - ours:
        assert board.rules.suicide, where
        trial = core.new_boards(1, Rules(board.rules.size, ko="simple", suicide=True))
        for other, stone in enumerate(board.stones.ravel()):
            if stone:
                core.place(trial, 0, stone, other)
        before = trial.stones.copy()
        trial.numbers[0, core.TO_PLAY] = board.to_play
        core.play(trial, 0, point)
        assert (trial.stones == before).all(), where


def follow(rules: Rules, actions: Iterable[int], every: int) -> int:
    """Plays a game here and in GNU Go as far as it is legal; returns how many positions, every so
    many moves, were compared."""
    gnugo, board, compared = GnuGo(rules), Board(rules), 0
    try:
        for number, action in enumerate(actions):
            if board.over:
                break
            if number % every == every - 1:
                compare(board, gnugo)
                compared += 1
            if not board.is_legal(action):
                break
            where = vertex(action, rules.size)
            gnugo.ask(f"play {COLOURS[board.to_play]} {where}")
            board.play(action)
    finally:
        gnugo.close()
    return compared


def random_game(rules: Rules, seed: int, moves: int) -> Iterator[int]:
    """The actions of a game of random legal moves, with hardly a pass."""
    rng, board = np.random.default_rng(seed), Board(rules)
    for _ in range(moves):
        legal = np.flatnonzero(board.legal()[:-1])
        action = int(rng.choice(legal)) if len(legal) else rules.size**2
        board.play(action)
        yield action
        if board.over:
            return


def score_of_a_finished_game(rules: Rules, seed: int) -> None:
    """Random play until only eyes are left, where nothing is dead: both must count the same."""
    boards = core.new_boards(1, rules)
    core.playout(boards, 0, np.array([seed], np.uint64))
    board, gnugo = Board(rules), GnuGo(rules)
    board.boards = boards
    try:
        gnugo.ask(*(
            f"play {COLOURS[stone]} {vertex(point, rules.size)}"
            for point, stone in enumerate(board.stones.ravel())
            if stone
        ))  # fmt: skip
        answer = gnugo.ask("final_score")[0]
    finally:
        gnugo.close()
    theirs = 0.0 if answer == "0" else float(answer[2:]) * (1 if answer[0] == "B" else -1)
    assert theirs == board.score(), (rules, seed, answer)


KO_AND_SUICIDE = tuple(product(("simple", "positional", "situational"), (False, True)))


@pytest.mark.skipif(GNUGO is None, reason="GNU Go is not installed")
@pytest.mark.parametrize("size", [5, 7, 9, 13, 19])
def test_gnu_go_finds_the_same_moves_legal(size: int) -> None:
    for seed, (ko, suicide) in enumerate(KO_AND_SUICIDE):
        rules = Rules(size, ko=ko, suicide=suicide)
        assert follow(rules, random_game(rules, seed, 3 * size * size), every=size * size // 5)


@pytest.mark.skipif(GNUGO is None, reason="GNU Go is not installed")
@pytest.mark.parametrize("size", [5, 7, 9])
def test_gnu_go_counts_finished_games_alike(size: int) -> None:
    for seed in range(3):
        score_of_a_finished_game(Rules(size, komi=5.5), seed)


def recorded_games(folder: Path) -> Iterator[tuple[int, list[int]]]:
    """Size and actions of the even games in a folder's .sgf files and .tar.gz archives."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".sgf":
            yield from recorded_game(path.read_text("latin-1"))
        elif path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.name.endswith(".sgf") and (file := archive.extractfile(member)):
                        yield from recorded_game(file.read().decode("latin-1"))


def recorded_game(text: str) -> Iterator[tuple[int, list[int]]]:
    """The game of one record, if it is even and its colours take turns."""
    sizes = re.findall(r"SZ\[(\d+)", text)
    size = int(sizes[0]) if sizes else 19
    moves = re.findall(r";\s*([BW])\[([a-s]{2})?\]", text)
    colours = "".join(colour for colour, _ in moves)
    if re.search(r"\bA[BWE]\[", text) or colours != ("BW" * len(moves))[: len(moves)]:
        return
    coordinates = [(ord(m[1]) - 97, ord(m[0]) - 97) if m else (size, 0) for _, m in moves]
    yield size, [row * size + column for row, column in coordinates]


def main() -> None:
    """Compare many positions, and say how many there were."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--positions", type=int, default=10_000)
    parser.add_argument("--games", type=Path, help="a folder of SGF")
    parser.add_argument("--finished", type=int, default=200, help="games to count")
    flags = parser.parse_args()
    done: dict[str, int] = {"random play": 0, "recorded games": 0}
    rules = cycle(product(range(5, 20), KO_AND_SUICIDE))
    for seed in range(flags.positions):
        size, (ko, suicide) = next(rules)
        if done["random play"] >= flags.positions / (2 if flags.games else 1):
            break
        played = Rules(size, ko=ko, suicide=suicide)
        done["random play"] += follow(played, random_game(played, seed, 2 * size * size), every=12)
        print(done, end="\r", flush=True)
    if flags.games:
        for size, actions in recorded_games(flags.games):
            if done["recorded games"] >= flags.positions / 2:
                break
            ko, _ = KO_AND_SUICIDE[2 * len(actions) % 6]
            done["recorded games"] += follow(Rules(size, ko=ko), actions, every=10)
            print(done, end="\r", flush=True)
    print(f"\nno legality differs in {sum(done.values()):,} positions")
    for seed, size in enumerate(islice(cycle(range(5, 14)), flags.finished)):
        score_of_a_finished_game(Rules(size, komi=5.5), seed)
    print(f"no score differs in {flags.finished:,} finished games")


if __name__ == "__main__":
    main()
