"""The rules of Go: stated one by one, against a slow board, and against counts."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.go import core
from envs.go.board import (
    BLACK,
    EMPTY,
    WHITE,
    Board,
    IllegalMoveError,
    Rules,
    handicap_points,
    random_opening,
)
from envs.go.vertices import vertex


def _owners(board: Board) -> np.ndarray:
    """Who owns every point, stones included; 0 for neutral points."""
    owners = np.zeros((board.rules.size, board.rules.size), np.int8)
    core.owners(board.boards, 0, owners)
    return owners


def drawn(picture: str, to_play: int = BLACK, **rules: Any) -> Board:
    """A board as drawn: X black, O white, any other letter an empty point."""
    rows = picture.split()
    board = Board(Rules(size=len(rows), **rules))
    for point, stone in enumerate("".join(rows)):
        if stone in "XO":
            board.place(BLACK if stone == "X" else WHITE, point)
    board.to_play = to_play
    return board


def at(picture: str, letter: str) -> int:
    """The point of a letter in a picture."""
    return "".join(picture.split()).index(letter)


# What a move does.


def test_a_stone_without_liberties_is_captured() -> None:
    picture = "..X.. .XOX. ..a.. ..... ....."
    board = drawn(picture)
    board.play(at(picture, "a"))
    assert board.stones.tolist()[1] == [0, BLACK, 0, BLACK, 0]


def test_a_chain_is_captured_as_a_whole_and_several_at_once() -> None:
    picture = "XOOaO XXXX. ..... ..... ....."
    board = drawn("XOOaO XXXXX ..... ..... .....")
    board.play(at(picture, "a"))
    assert board.stones.tolist()[0] == [BLACK, EMPTY, EMPTY, BLACK, EMPTY]


def test_a_capture_comes_before_the_captors_own_liberties() -> None:
    picture = "aO.OX OXXX. XX... ..... ....."
    board = drawn("aOX.. OXX.. XX... ..... .....")
    board.play(at(picture, "a"))
    assert board.stones.tolist()[0] == [BLACK, EMPTY, BLACK, EMPTY, EMPTY]
    assert board.stones.tolist()[1][0] == EMPTY


@pytest.mark.parametrize("ko", ["simple", "positional", "situational"])
def test_a_ko_may_not_be_retaken_at_once(ko: str) -> None:
    picture = ".XO.. XOaO. .XO.. ..... ....."
    board = drawn(picture, ko=ko)
    retake = at(".XO.. XaXO. .XO.. ..... .....", "a")
    board.play(at(picture, "a"))
    assert not board.is_legal(retake)
    with pytest.raises(IllegalMoveError, match="white B4 is illegal"):
        board.play(retake)
    board.play(at("..... ..... ..... ..... ....a", "a"))
    board.play(at("..... ..... ..... ..... ..a..", "a"))
    board.play(retake)
    assert board.stones.tolist()[1] == [BLACK, WHITE, EMPTY, WHITE, EMPTY]


def test_its_owner_may_fill_a_ko() -> None:
    picture = ".XO.. XOaO. .XO.. ..... ....."
    board = drawn(picture, ko="simple")
    board.play(at(picture, "a"))
    assert board.is_legal(at(".XO.. XaXO. .XO.. ..... .....", "a"), BLACK)


def test_the_suicide_of_a_stone_and_of_a_chain_is_forbidden_unless_the_rules_allow_it() -> None:
    single, chain = "aO... O.... ..... ..... .....", "XaO.. OO... ..... ..... ....."
    for picture in (single, chain):
        assert not drawn(picture).is_legal(at(picture, "a"))
        with pytest.raises(IllegalMoveError, match="would have no liberty"):
            drawn(picture).play(at(picture, "a"))
        board = drawn(picture, suicide=True, ko="simple")
        board.play(at(picture, "a"))
        assert (board.stones == BLACK).sum() == 0
    # Alone, it changes nothing, which positional superko forbids and situational does not.
    assert not drawn(single, suicide=True).is_legal(at(single, "a"))
    assert drawn(single, suicide=True, ko="situational").is_legal(at(single, "a"))
    assert drawn(chain, suicide=True).is_legal(at(chain, "a"))


@pytest.mark.parametrize(
    ("ko", "once", "twice"),
    [("simple", True, True), ("positional", False, False), ("situational", True, False)],
)
def test_the_rules_of_ko_differ_on_sending_two_and_returning_one(
    ko: str, once: bool, twice: bool
) -> None:
    # Black adds a second stone, white takes both, and black retakes one: the same stones again, but
    # with white to play. When white passes, it is the same situation, too.
    picture = "abcX. OOX.. ..... ..... ....."
    second, retaken, taking = (at(picture, letter) for letter in "abc")
    board = drawn(".X.X. OOX.. ..... ..... .....", ko=ko)
    board.play(second)
    board.play(taking)
    assert board.is_legal(retaken) is once
    if once:
        board.play(retaken)
        board.play(25)
        assert board.is_legal(second) is twice


def test_two_passes_end_the_game_and_people_may_resume_it() -> None:
    board = Board(Rules(5))
    board.play(12)
    board.play(25)
    assert not board.over
    board.play(25)
    assert board.over
    assert not board.legal().any()
    with pytest.raises(IllegalMoveError, match="the game is over"):
        board.play(0)
    board.resume()
    board.play(0)
    assert board.moves == [(BLACK, 12), (WHITE, 25), (BLACK, 25), (WHITE, 0)]


def test_passing_is_always_legal_while_the_game_goes_on() -> None:
    assert Board(Rules(1)).legal().tolist() == [False, True]


def test_a_colour_may_play_out_of_turn() -> None:
    board = Board(Rules(5))
    board.play(3, WHITE)
    assert board.to_play == BLACK
    board.play(4, BLACK)
    board.play(5, BLACK)
    assert board.moves == [(WHITE, 3), (BLACK, 4), (BLACK, 5)]
    assert board.to_play == WHITE


def test_an_illegal_move_says_why_and_changes_nothing() -> None:
    board = Board(Rules(5))
    board.play(12)
    for action, why in ((12, "there is a stone already"), (26, "no action 26"), (-1, "no action")):
        with pytest.raises(IllegalMoveError, match=why):
            board.play(action)
    assert board.moves == [(BLACK, 12)]
    assert board.to_play == WHITE


def test_stones_are_set_up_before_the_game_only_and_must_live() -> None:
    board = Board(Rules(5))
    board.place(BLACK, 1)
    board.place(BLACK, 5)
    for colour, point, why in (
        (BLACK, 1, "a stone already"),
        (WHITE, 0, "without liberties"),
        (WHITE, 25, "no point 25"),
    ):
        with pytest.raises(IllegalMoveError, match=why):
            board.place(colour, point)
    assert board.stones.sum() == 2 * BLACK
    assert board.moves == []
    board.play(7)
    with pytest.raises(IllegalMoveError, match="before the first move"):
        board.place(BLACK, 9)


def test_copies_go_their_own_ways() -> None:
    board = Board(Rules(5))
    board.play(12)
    other = board.copy()
    other.play(13)
    assert board.moves == [(BLACK, 12)]
    assert (board.stones != 0).sum() == 1


def test_the_area_counts_stones_and_what_only_one_colour_touches() -> None:
    board = drawn(".X.O. .X.O. XX.OO ..... .....", komi=7.5)
    assert _owners(board).tolist() == [
        [1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [0] * 5, [0] * 5,
    ]  # fmt: skip
    assert board.score() == -7.5
    assert Board(Rules(5, komi=0.0)).score() == 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", 0), ("size", 20), ("size", 9.0), ("komi", float("nan")), ("ko", "super"),
     ("suicide", 1)],
)  # fmt: skip
def test_rules_that_cannot_be_are_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{field}\n  Input should be"):
        Rules(**{field: value})  # type: ignore[arg-type]


def test_handicap_stones_stand_where_gtp_has_them() -> None:
    def names(size: int, n: int) -> str:
        return " ".join(vertex(point, size) for point in handicap_points(size, n))

    assert names(19, 4) == "D4 Q16 D16 Q4"
    assert names(19, 5) == "D4 Q16 D16 Q4 K10"
    assert names(19, 6) == "D4 Q16 D16 Q4 D10 Q10"
    assert names(19, 9) == "D4 Q16 D16 Q4 D10 Q10 K4 K16 K10"
    assert names(9, 7) == "C3 G7 C7 G3 C5 G5 E5"
    assert names(8, 4) == "C3 F6 C6 F3"
    for size, n in ((19, 1), (19, 10), (8, 5), (7, 5), (6, 2)):
        with pytest.raises(ValueError, match="handicap"):
            handicap_points(size, n)


# Against a board that is slow and obviously right.


class SlowBoard:
    """The rules as they are worded, with dictionaries and sets."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.size = rules, rules.size
        self.stones: dict[int, int] = {}
        self.to_play, self.passes, self.last = BLACK, 0, []  # type: ignore[var-annotated]
        self.past = [self.situation(self.stones, BLACK)]

    @staticmethod
    def situation(stones: dict[int, int], to_play: int) -> tuple[frozenset, int]:
        return frozenset(stones.items()), to_play

    def around(self, point: int) -> list[int]:
        row, column = divmod(point, self.size)
        return [
            r * self.size + c
            for r, c in ((row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column))
            if 0 <= r < self.size and 0 <= c < self.size
        ]

    def region(self, stones: dict[int, int], point: int) -> tuple[set[int], set[int]]:
        """The points of one colour connected with a point, and those that border on them."""
        inside, border, queue = {point}, set(), [point]
        while queue:
            for other in self.around(queue.pop()):
                if stones.get(other) == stones.get(point):
                    if other not in inside:
                        inside.add(other)
                        queue.append(other)
                else:
                    border.add(other)
        return inside, border

    def liberties(self, stones: dict[int, int], point: int) -> int:
        return len([p for p in self.region(stones, point)[1] if p not in stones])

    def after(self, point: int) -> dict[int, int]:
        stones = {**self.stones, point: self.to_play}
        for other in (*self.around(point), point):  # the opponent's chains first
            if (other == point or stones.get(other) == 3 - self.to_play) and not self.liberties(
                stones, other
            ):
                for dead in self.region(stones, other)[0]:
                    del stones[dead]
        return stones

    def why_not(self, action: int) -> str | None:
        if self.passes == 2:
            return "over"
        if action == self.size**2:
            return None
        if action in self.stones:
            return "occupied"
        stones = self.after(action)
        if action not in stones and not self.rules.suicide:
            return "suicide"
        if self.rules.ko == "simple":
            # The same board again after two moves, of which the first took the stone of a ko.
            taken = set(self.stones) - set(stones)
            before = self.past[-2:-1]
            back = bool(before) and stones == dict(before[0][0]) and len(taken) == 1
        elif self.rules.ko == "positional":
            back = frozenset(stones.items()) in {position for position, _ in self.past}
        else:
            back = self.situation(stones, 3 - self.to_play) in self.past
        return "repetition" if back else None

    def play(self, action: int) -> None:
        if action == self.size**2:
            self.passes += 1
        else:
            self.stones, self.passes = self.after(action), 0
        self.to_play = 3 - self.to_play
        self.last = [action, *self.last[:4]]
        self.past.append(self.situation(self.stones, self.to_play))

    def owners(self) -> dict[int, int]:
        owner = dict(self.stones)
        for point in range(self.size**2):
            if point not in self.stones:
                touched = {self.stones[p] for p in self.region(self.stones, point)[1]}
                owner[point] = touched.pop() if len(touched) == 1 else EMPTY
        return owner

    def planes(self) -> np.ndarray:
        planes = np.zeros((19, self.size**2), np.uint8)
        for point in range(self.size**2):
            if point in self.stones:
                theirs = int(self.stones[point] != self.to_play)
                planes[theirs, point] = 1
                if (liberties := self.liberties(self.stones, point)) <= 3:
                    planes[(2, 5)[theirs] + liberties - 1, point] = 1
            elif self.why_not(point) == "repetition":
                planes[13, point] = 1
            elif self.why_not(point) is None:
                taken = [
                    p for p in self.stones
                    if self.stones[p] != self.to_play and p not in self.after(point)
                ]  # fmt: skip
                if taken:
                    planes[13 + min(len(taken), 3), point] = 1
        for k, action in enumerate(self.last):
            if action != self.size**2:
                planes[8 + k, action] = 1
        planes[17], planes[18] = self.to_play == BLACK, 1
        return planes.reshape(19, self.size, self.size)


RULES = st.builds(
    Rules,
    size=st.integers(1, 6),
    ko=st.sampled_from(["simple", "positional", "situational"]),
    suicide=st.booleans(),
)
RULINGS = {core.LEGAL: None, core.OCCUPIED: "occupied", core.SUICIDE: "suicide",
           core.REPETITION: "repetition", core.OVER: "over"}  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(RULES, st.integers(0, 2**32), st.integers(1, 70))
def test_it_is_the_game_of_a_board_that_is_slow_and_obviously_right(
    rules: Rules, seed: int, moves: int
) -> None:
    rng, board, slow = np.random.default_rng(seed), Board(rules), SlowBoard(rules)
    n = rules.size**2
    # The board lives in a batch beside another, and remembers few positions at first.
    board.boards = core.new_boards(1, rules, history=2)
    for _ in range(moves):
        legal = board.legal()
        rulings = [core.verdict(board.boards, 0, action) for action in range(n + 1)]
        assert [RULINGS[ruling] for ruling in rulings] == [slow.why_not(a) for a in range(n + 1)]
        assert legal.tolist() == [ruling == core.LEGAL for ruling in rulings]
        assert board.stones.ravel().tolist() == [slow.stones.get(p, EMPTY) for p in range(n)]
        owners = slow.owners()
        assert _owners(board).ravel().tolist() == [owners[p] for p in range(n)]
        colours = list(owners.values())
        assert board.score() == colours.count(BLACK) - colours.count(WHITE) - rules.komi
        assert (board.planes() == slow.planes()).all()
        if board.over:
            break
        # Few passes, so that the game goes on; captures where there are some, so that kos appear.
        weights = np.where(board.planes()[14:17].any(0).ravel(), 5.0, 1.0)
        weights = np.append(weights, 0.1) * legal
        action = int(rng.choice(n + 1, p=weights / weights.sum()))
        board.play(action)
        slow.play(action)
        board = board.copy()


@pytest.mark.parametrize("size", [5, 6, 9, 19])
def test_openings_are_two_to_four_moves_away_from_the_edge(size: int) -> None:
    seen = [random_opening(np.random.default_rng([0, k]), Rules(size=size)) for k in range(30)]
    assert {len(moves) for moves in seen} == {2, 3, 4}
    assert len({tuple(moves) for moves in seen}) > 25
    for moves in seen:
        for row, column in (divmod(action, size) for action in moves):
            assert 0 < row < size - 1
            assert 0 < column < size - 1


@settings(max_examples=40, deadline=None)
@given(RULES, st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 30))
def test_a_copied_board_is_the_same_game(rules: Rules, seed: int, moves: int, room: int) -> None:
    state = np.array([seed], np.uint64)
    source, target = core.new_boards(2, rules), core.new_boards(2, rules, history=room)
    for _ in range(moves):
        if source.numbers[1, core.PASSES] < 2:
            core.play(source, 1, core.random_action(source, 1, state))
    core.copy_board(target, 0, source, 1)
    masks = np.zeros((2, rules.size**2 + 1), bool)
    core.legal_actions(source, 1, masks[0])
    core.legal_actions(target, 0, masks[1])
    # A short history forbids less; what the newest positions forbid, it forbids as well.
    assert (masks[1] | ~masks[0]).all()
    if source.numbers[1, core.HISTORY] <= room or rules.ko == "simple":
        assert (masks[0] == masks[1]).all()
    core.copy_board(source, 0, target, 0)
    for one, other in zip(source[3:6], source[3:6], strict=True):
        assert (one[0] == other[1]).all()


def test_the_newest_positions_stay_forbidden_when_the_history_is_full() -> None:
    picture = ".XO.. XOaO. .XO.. ..... ....."
    board = drawn(picture)
    short = core.new_boards(1, board.rules, history=2)
    core.copy_board(short, 0, board.boards, 0)
    core.play(short, 0, 7)
    assert not core.is_legal(short, 0, 6)
    core.play(short, 0, 20)
    core.play(short, 0, 24)
    assert core.is_legal(short, 0, 6)


def test_a_board_under_simple_ko_takes_a_copy_without_its_history() -> None:
    board, plain = Board(Rules(5)), core.new_boards(2, Rules(5, ko="simple"))
    board.play(12)
    core.copy_board(plain, 0, board.boards, 0)
    assert (plain.stones[0] == board.boards.stones[0]).all()
    assert plain.hashes[:, 0].tolist() == [board.boards.hashes[0, 0], 0]


@settings(max_examples=60, deadline=None)
@given(RULES, st.integers(0, 2**32))
def test_a_playout_ends_where_only_eyes_are_left(rules: Rules, seed: int) -> None:
    boards, state = core.new_boards(1, rules), np.array([seed], np.uint64)
    difference = core.playout(boards, 0, state)
    board = Board(rules)
    board.boards = boards
    slow = SlowBoard(rules)
    slow.stones = {p: int(s) for p, s in enumerate(board.stones.ravel()) if s != EMPTY}
    owners = list(slow.owners().values())
    assert difference == owners.count(BLACK) - owners.count(WHITE)
    for point in range(rules.size**2):
        # The smallest boards are too small for two eyes: there play goes round until it is stopped.
        if point not in slow.stones and rules.size > 3:
            assert all(other in slow.stones for other in slow.around(point))


def test_every_legal_action_is_as_likely_in_random_play() -> None:
    picture = "X.... .O.X. .X.O. ..... ...OX"
    board, state = drawn(picture), np.array([1], np.uint64)
    legal = board.legal()
    counts = np.bincount(
        [core.random_action(board.boards, 0, state) for _ in range(20_000)], minlength=26
    )
    assert (counts[~legal] == 0).all()
    expected = 20_000 / legal.sum()
    assert abs(counts[legal] - expected).max() < 5 * expected**0.5


# Against numbers that are known.


@pytest.mark.parametrize(("size", "legal_positions"), [(1, 1), (2, 57), (3, 12_675)])
def test_play_reaches_all_legal_positions_and_no_other(size: int, legal_positions: int) -> None:
    """The counts of Tromp and Farnebäck (2007)."""
    rules = Rules(size, ko="simple", suicide=False)
    boards = core.new_boards(legal_positions + 1, rules)
    seen, reached = {boards.stones[0].tobytes()}, 0
    legal = np.zeros(size**2 + 1, bool)
    while reached < len(seen):
        for colour in (BLACK, WHITE):
            boards.numbers[reached, core.TO_PLAY] = colour
            boards.numbers[reached, core.KO] = 0
            core.legal_actions(boards, reached, legal)
            for action in np.flatnonzero(legal[:-1]):
                core.copy_board(boards, len(seen), boards, reached)
                core.play(boards, len(seen), action)
                seen.add(boards.stones[len(seen)].tobytes())
        reached += 1
    assert len(seen) == legal_positions


def test_setting_up_stones_allows_exactly_the_legal_positions() -> None:
    count = 0
    for position in product((EMPTY, BLACK, WHITE), repeat=4):
        try:
            drawn("".join(".XO"[s] for s in position[:2]) + " "
                  + "".join(".XO"[s] for s in position[2:]))  # fmt: skip
            count += 1
        except IllegalMoveError:
            pass
    assert count == 57
