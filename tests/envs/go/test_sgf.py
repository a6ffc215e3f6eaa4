import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sgfmill import sgf

from envs.go.core import BLACK, EMPTY, WHITE
from envs.go.sgf import MAX_BYTES, Game, SgfError, read_game, read_games, write_game

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
        ("B +3.5", BLACK, 3.5),
        ("Black+3,5", BLACK, 3.5),
        ("white + 12½", WHITE, -12.5),
        ("白中盘胜", WHITE, None),
        ("黑胜3.5目", BLACK, 3.5),
        ("黒番中押し勝ち", BLACK, None),
        ("持碁", EMPTY, 0.0),
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
    assert game.moves == ((BLACK, 0),)
    assert len(game.black) == 3


MOVES = ((BLACK, 40), (WHITE, 20))
SENTENCE = {
    "cp932": "名人戦第一局、能登の表示。予定より申し込みが少ないソフトの構え",
    "euc_jp": "この手は良い手ですが、次の一手がむずかしい",
    "big5": "許功蓋這一手是好棋，白棋應該如何應對呢",
    "gbk": "古力李世石第一盘中盘胜，白棋应该如何应对",
    "cp949": "이세돌 구리 제일국 흑의 이수는 좋은 수입니다",
    "cp1252": "Müller gegen François, één mooie partij",
}


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("charset", SENTENCE)
def test_texts_are_decoded_before_brackets_are_looked_for(charset: str, declared: bool) -> None:
    sentence = SENTENCE[charset]
    names = {"cp932": "x-sjis", "big5": "Big5-HKSCS", "gbk": "GB2312", "cp1252": "ISO-8859-1"}
    about = f"CA[{names.get(charset, charset)}]" if declared else ""
    record = f"(;{about}SZ[9]PB[{sentence[-5:]}];B[ee]C[{sentence}];W[cc]C[{sentence[::-1]}])"
    game = read_game(record.encode(charset))
    assert game.moves == MOVES
    if declared or charset != "euc_jp":  # which may be taken for GB 18030
        assert game.comments == (sentence, sentence[::-1])


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_a_charset_may_be_marked(charset: str) -> None:
    game = read_game("(;CA[gb2312]SZ[9]PB[古力];B[ee];W[cc])".encode(charset))
    assert (game.black, game.moves) == ("古力", MOVES)


@pytest.mark.parametrize(
    "record",
    [
        "(GM[1]SZ[9];B[ee];W[cc])",
        ";GM[1]SZ[9];B[ee];W[cc])",
        "(;GM[1];SZ[9];B[ee];W[cc])",
        "(;GaMe[1]SiZe[9];Black[ee];White[dd])",
        "(;SZ[9]AddBlack[cc]KM[6,5];B[ee])",
        "(;SZ[9]KM[6½]HA[none];B[ee])",
        "(;SZ[9]KM[many]HA[-];B[ee];W[cc])",
    ],
)
def test_what_other_programs_write_is_read(record: str) -> None:
    game = read_game(record.encode())
    assert (game.size, game.moves[0]) == (9, (BLACK, 40))
    expected = 6.5 if "KM[6" in record else 0.0
    assert (game.komi, game.handicap) == (expected, 0)


@pytest.mark.parametrize(
    ("rules", "written", "komi"),
    [("Chinese", 375, 7.5), ("Japanese", 650, 6.5), ("korean", 650, 6.5), ("Chinese", 0, 0.0)],
)
def test_fox_writes_komi_in_hundredths(rules: str, written: int, komi: float) -> None:
    record = f"(;SZ[19]KM[{written}]RU[{rules}]AP[foxwq];B[pd])"
    assert read_game(record.encode()).komi == komi
    assert read_game(record.replace("foxwq", "other").encode()).komi == written


def test_later_stones_replace_earlier_ones() -> None:
    game = read_game(b"(;SZ[9]AB[cc][dd];AW[cc];W[gg])")
    assert game.setup == ((WHITE, 20), (BLACK, 30))
    assert game.moves == ((WHITE, 60),)
    assert read_game(b"(;SZ[9]AB[cc]AW[gg]PL[white])").to_play == WHITE


def test_stones_that_are_set_up_in_a_game_end_it_or_begin_another() -> None:
    record = b"(;SZ[9];B[ee];W[cc];AE[cc]AB[aa];W[gg];B[hh])"
    assert read_game(record).moves == MOVES
    game = read_game(record, whole=True)
    assert game.setup == ((BLACK, 0), (BLACK, 40))
    assert game.moves == ((WHITE, 60), (BLACK, 70))
    for most, expected in ((0, ()), (1, MOVES[:1]), (2, ()), (3, ((WHITE, 60),))):
        assert read_game(record, whole=True, moves=most).moves == expected
    with pytest.raises(SgfError, match="the record: "):
        read_game(b"(;SZ[9];B[ee];W[ee];AB[aa])", whole=True)


def test_every_game_of_a_file_is_read_and_a_broken_one_named() -> None:
    whole = b"(;SZ[9];B[ee])(;SZ[9];B[dd];W[cc])"
    assert [len(game.moves) for game in read_games(whole) if isinstance(game, Game)] == [1, 2]
    mixed = b"(;SZ[9];B[ee])\n(;SZ[9];B[dd](;W[cc]\n%(;W[aa]))\n(;SZ[9];B[aa];W[bb];B[cc])"
    first, broken, last = read_games(mixed, "a.sgf")
    assert isinstance(first, Game)
    assert isinstance(last, Game)
    assert len(last.moves) == 3
    assert str(broken).startswith("a.sgf, game 2: after move 2: ")


BROKEN = {
    "empty": b"",
    "noise": bytes(range(256)),
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
    "off the board": b"(;SZ[9];B[aa];W[jj])",
    "one letter": b"(;SZ[9];B[a])",
    "capitals": b"(;SZ[9];B[AA])",
    "two moves": b"(;SZ[9];B[aa]W[bb])",
    "two points": b"(;SZ[9];B[aa][bb])",
    "set up off the board": b"(;SZ[9]AB[tt])",
    "a rectangle upside down": b"(;SZ[9]AB[cc:aa])",
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
