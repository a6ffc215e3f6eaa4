import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sgfmill import sgf

from envs.go.core import BLACK, EMPTY, WHITE
from envs.go.sgf import MAX_BYTES, Game, SgfError, read_game, write_game

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), max_size=12
)


@st.composite
def games(draw: st.DrawFn) -> Game:
    size = draw(st.integers(1, 19))
    points = draw(st.sets(st.integers(0, size * size - 1), max_size=5))
    setup = tuple((draw(st.sampled_from([BLACK, WHITE])), point) for point in sorted(points))
    move = st.tuples(st.sampled_from([BLACK, WHITE]), st.integers(0, size * size))
    moves = tuple(draw(st.lists(move, max_size=8)))
    comments = tuple(draw(TEXT) for _ in moves) if draw(st.booleans()) else ()
    return Game(
        size,
        moves,
        setup,
        to_play=moves[0][0] if moves else draw(st.sampled_from([BLACK, WHITE])),
        komi=draw(st.integers(-200, 200)) / 2,
        handicap=draw(st.integers(0, 9)),
        result=draw(TEXT),
        rules=draw(TEXT),
        black=draw(TEXT),
        white=draw(TEXT),
        black_rank=draw(TEXT),
        white_rank=draw(TEXT),
        comments=comments if any(comments) else (),
    )


@given(games())
def test_a_game_that_is_written_is_read_back_as_it_was(game: Game) -> None:
    assert read_game(write_game(game)) == game


def test_other_programs_find_the_moves_and_the_comments() -> None:
    moves = ((BLACK, 0), (WHITE, 80), (BLACK, 81))
    written = write_game(Game(9, moves, komi=7.0, comments=("a [corner]", "", "over")))
    record = sgf.Sgf_game.from_bytes(written)
    nodes = record.get_main_sequence()[1:]
    # sgfmill counts rows from the bottom, and None is a pass.
    assert [node.get_move() for node in nodes] == [("b", (8, 0)), ("w", (0, 8)), ("b", None)]
    assert nodes[0].get("C") == "a [corner]"
    assert not nodes[1].has_property("C")
    assert record.get_komi() == 7.0


def test_comments_are_one_for_each_move() -> None:
    with pytest.raises(ValueError, match="2 moves cannot have 1 comments"):
        write_game(Game(9, ((BLACK, 0), (WHITE, 1)), comments=("only one",)))


def test_rows_count_from_the_top_and_passes_are_written_in_two_ways() -> None:
    game = read_game(b"(;SZ[9];B[aa];W[ia];B[ai];W[];B[tt])")
    assert game.moves == ((BLACK, 0), (WHITE, 8), (BLACK, 72), (WHITE, 81), (BLACK, 81))


def test_a_record_without_a_size_is_of_19x19() -> None:
    assert read_game(b"(;GM[1];B[dp])").size == 19


def test_the_main_line_takes_the_first_variation_at_every_fork() -> None:
    game = read_game(b"(;SZ[9];B[aa](;W[bb](;B[cc])(;B[dd]))(;W[ee]))")
    assert [action for _, action in game.moves] == [0, 10, 20]


def test_handicap_stones_stand_before_white_begins() -> None:
    game = read_game(b"(;SZ[9]HA[2]KM[0.5]AB[cg][gc];W[ee])")
    assert game.setup == ((BLACK, 24), (BLACK, 56))
    assert (game.handicap, game.komi, game.to_play) == (2, 0.5, WHITE)
    assert read_game(b"(;SZ[9]AB[cg][gc])").to_play == WHITE
    assert read_game(b"(;SZ[9]AB[cg][gc]PL[B])").to_play == BLACK


def test_stones_are_set_up_by_rectangles_and_taken_back() -> None:
    game = read_game(b"(;SZ[5]AB[aa:ba];AE[ba]AW[ee])")
    assert game.setup == ((BLACK, 0), (WHITE, 24))


@pytest.mark.parametrize(
    ("result", "winner", "margin"),
    [
        ("B+3.5", BLACK, 3.5),
        ("W+12", WHITE, -12.0),
        ("w+0.5", WHITE, -0.5),
        ("B+R", BLACK, None),
        ("W+Time", WHITE, None),
        ("B+", BLACK, None),
        ("Draw", EMPTY, 0.0),
        ("0", EMPTY, 0.0),
        ("Void", None, None),
        ("?", None, None),
        ("", None, None),
    ],
)
def test_results_say_who_won_and_by_how_much(
    result: str, winner: int | None, margin: float | None
) -> None:
    game = Game(result=result)
    assert (game.winner, game.margin) == (winner, margin)


def test_names_are_read_in_the_charset_that_the_record_declares() -> None:
    name = "古力"
    assert read_game(b"(;CA[gb2312]PB[" + name.encode("gb2312") + b"])").black == name
    assert read_game(b"(;CA[UTF-8]PB[" + name.encode() + b"])").black == name
    assert read_game(b"(;PB[" + name.encode() + b"])").black == name


@pytest.mark.parametrize("charset", [b"zip", b"punycode", b"\xff\xfe", b"no such", b"x" * 100_000])
def test_a_charset_nobody_has_costs_no_game(charset: bytes) -> None:
    game = read_game(b"(;CA[" + charset + b"]PB[a\xffb];B[aa])")
    assert game.black == "a\N{REPLACEMENT CHARACTER}b"


BROKEN = {
    "empty": b"",
    "noise": bytes(range(256)),
    "UTF-16": "(;SZ[9];B[aa])".encode("utf-16"),
    "unbalanced": b"(;SZ[9];B[aa];W[bb]",
    "without end of value": b"(;SZ[9];B[aa];W[bb",
    "stray value": b"(;[aa])",
    "no node": b"(;SZ[9](B[aa]))",
    "another game": b"(;GM[2]SZ[8];B[aa])",
    "size of words": b"(;SZ[nine];B[aa])",
    "size 0": b"(;SZ[0])",
    "size 26": b"(;SZ[26];B[zz])",
    "oblong": b"(;SZ[9:13];B[aa])",
    "size of many digits": b"(;SZ[" + b"9" * 100_000 + b"])",
    "komi of words": b"(;SZ[9]KM[many];B[aa])",
    "komi beyond numbers": b"(;SZ[9]KM[1e999];B[aa])",
    "off the board": b"(;SZ[9];B[aa];W[jj])",
    "one letter": b"(;SZ[9];B[a])",
    "capitals": b"(;SZ[9];B[AA])",
    "two moves": b"(;SZ[9];B[aa]W[bb])",
    "two points": b"(;SZ[9];B[aa][bb])",
    "set up off the board": b"(;SZ[9]AB[tt])",
    "a rectangle upside down": b"(;SZ[9]AB[cc:aa])",
    "two stones on a point": b"(;SZ[9]AB[aa]AW[aa])",
    "set up in the game": b"(;SZ[9];B[aa];AB[bb])",
    "opened ten thousand deep": b"(;" * 10_000,
    "opened ten thousand deep, no nodes": b"(" * 10_000 + b";",
    "closed too early": b")" * 10_000,
    "huge": b"(;C[" + b"x" * MAX_BYTES + b"])",
    "backslashes": b"(;C[" + b"\\" * 100_001 + b"])",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_record_is_one_line_with_its_name(case: str) -> None:
    with pytest.raises(SgfError, match=r"\Aplayed\.sgf: .+\Z") as error:
        read_game(BROKEN[case], "played.sgf")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 120


def test_the_line_names_the_move() -> None:
    with pytest.raises(SgfError, match=r"move 2: \[jj\] is no point of a 9×9 board"):
        read_game(BROKEN["off the board"])
    with pytest.raises(SgfError, match=r"after move 2: unexpected end"):
        read_game(BROKEN["unbalanced"])
    with pytest.raises(SgfError, match=r"move 2: stones are set up during the game"):
        read_game(BROKEN["set up in the game"])


def test_variations_nested_thirty_thousand_deep_are_read() -> None:
    deep = 30_000
    game = read_game(b"(;SZ[9]" + b"(;B[aa]" * deep + b")" * (deep + 1))
    assert len(game.moves) == deep


@pytest.mark.parametrize(
    "piece",
    [b"(;", b"(", b"()", b";", b";B", b";B[", b"\\", b"  (", b"[[", b"]", b":", b"AB[aa:ss]"],
)
def test_no_record_takes_long(piece: bytes) -> None:
    record = b"(;SZ[19]" + piece * ((MAX_BYTES - 20) // len(piece))
    began = time.process_time()
    for ending in (b"", b")"):
        with contextlib.suppress(SgfError):
            read_game(record + ending)
    assert time.process_time() - began < 10  # about one; backtracking would take hours


def read(data: bytes) -> Game | str:
    """The game, or the sentence about it."""
    try:
        return read_game(data)
    except SgfError as error:
        return str(error)


@given(st.binary(max_size=200))
def test_noise_is_an_error_and_nothing_worse(noise: bytes) -> None:
    for data in (noise, b"(;" + noise, b"(;SZ[9];B[" + noise + b"])"):
        result = read(data)
        assert isinstance(result, Game) or result.isprintable()


RECORD = b"(;GM[1]SZ[9]KM[7.5]CA[UTF-8]HA[2]AB[aa][bb]RE[B+R]PB[x];W[ee]C[hm];B[ef](;W[])(;W[dd]))"


@given(st.data())
@settings(max_examples=300)
def test_a_damaged_record_is_a_game_or_an_error(data: st.DataObject) -> None:
    damaged = bytearray(RECORD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 4))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"(", b")", b";", b"[", b"]", b"\\", b":"])
        )
    result = read(bytes(damaged))
    if isinstance(result, Game):
        assert read_game(write_game(result)).moves == result.moves
    else:
        assert result.isprintable()


def test_a_file_is_called_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "game.sgf"
    path.write_bytes(b"(;SZ[9];B[ee])")
    assert read_game(path).moves == ((BLACK, 40),)
    with pytest.raises(SgfError, match=r"absent\.sgf: No such file"):
        read_game(tmp_path / "absent.sgf")
    with pytest.raises(SgfError, match=r"Is a directory"):
        read_game(tmp_path)
