import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.go.board import Board
from envs.go.core import BLACK, WHITE, Rules
from envs.go.games import ExpertGames, GamesError, expert_games, stream, strength
from envs.go.sgf import Game, SgfError, write_game

SIZE = 5
PASS = SIZE * SIZE


def random_game(seed: int, **about: object) -> Game:
    """Legal moves on 5×5, some with handicap, some with moves out of turn or after two passes."""
    random = np.random.default_rng(seed)
    board = Board(Rules(size=SIZE))
    setup = ((BLACK, 6), (BLACK, 18)) if seed % 3 == 0 else ()
    for colour, point in setup:
        board.place(colour, point)
    if setup:
        board.to_play = WHITE
    for _ in range(int(random.integers(12, 40))):
        if board.over:
            board.resume()
        colour = board.to_play if random.random() < 0.9 else 3 - board.to_play
        board.play(int(random.choice(np.flatnonzero(board.legal(colour)))), colour)
    return Game(SIZE, tuple(board.moves), setup, to_play=board.moves[0][0], **about)  # type: ignore[arg-type]


def fill(folder: Path, games: dict[str, Game]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, game in games.items():
        (folder / name).write_bytes(write_game(game))
    return folder


def everything(games: ExpertGames) -> list[np.ndarray]:
    return list(games.batch(np.arange(games.train + games.test)))


@pytest.fixture
def played() -> dict[str, Game]:
    return {f"{seed}.sgf": random_game(seed) for seed in range(20)}


def test_a_batch_is_what_the_board_shows_before_each_move(
    tmp_path: Path, played: dict[str, Game]
) -> None:
    games = expert_games(fill(tmp_path, played), SIZE, held_out=0.0)
    seen = {}
    for game in played.values():
        board = Board(games.rules)
        for colour, point in game.setup:
            board.place(colour, point)
        for colour, action in game.moves:
            if board.over:
                board.resume()
            board.to_play = colour
            seen[board.planes().tobytes(), action] = board.planes()
            board.play(action)
    planes, actions, _, _ = everything(games)
    assert len(actions) == sum(len(game.moves) for game in played.values())
    assert (planes.dtype, actions.dtype) == (np.uint8, np.int64)
    assert {(p.tobytes(), int(a)) for p, a in zip(planes, actions, strict=True)} == seen.keys()


def test_positions_can_be_asked_for_in_any_order_and_again(
    tmp_path: Path, played: dict[str, Game]
) -> None:
    games = expert_games(fill(tmp_path, played), SIZE)
    whole = everything(games)
    indices = np.random.default_rng(0).integers(games.train + games.test, size=700)
    for part, all_of_it in zip(games.batch(indices), whole, strict=True):
        np.testing.assert_array_equal(part, all_of_it[indices])
    assert [len(part) for part in games.batch(np.zeros(0, int))] == [0, 0, 0, 0]
    for outside in (-1, games.train + games.test):
        with pytest.raises(IndexError, match="numbered from 0"):
            games.batch(np.array([outside]))


SPLIT = tuple(
    (1 + k % 2, 5 * row + 1 + k % 2) for k, row in enumerate((0, 0, 1, 1, 2, 2, 3, 3, 4, 4))
)
"""Black walls off the left of the board, white the right: 10 points against 15."""


def test_the_winner_and_the_area_are_told_from_the_view_of_the_player_to_move(
    tmp_path: Path,
) -> None:
    game = Game(SIZE, (*SPLIT, (BLACK, PASS), (WHITE, PASS)), komi=0.5, result="W+5.5")
    games = expert_games(fill(tmp_path, {"a.sgf": game}), SIZE, held_out=0.0)
    _, _, winners, ownership = everything(games)
    np.testing.assert_array_equal(winners, [-1, 1] * 6)
    mine = np.array([[1, 1, -1, -1, -1]] * 5)  # black's view
    np.testing.assert_array_equal(ownership[0], mine)
    np.testing.assert_array_equal(ownership[1], -mine)


@pytest.mark.parametrize("result", ["W+R", "W+12.5", "", "Void"])
def test_the_area_is_not_told_when_the_stones_left_do_not_agree_with_the_result(
    tmp_path: Path, result: str
) -> None:
    game = Game(SIZE, SPLIT, komi=0.5, result=result)
    games = expert_games(fill(tmp_path, {"a.sgf": game}), SIZE, held_out=0.0)
    _, _, winners, ownership = everything(games)
    assert not ownership.any()
    assert winners.any() == result.startswith("W")


def test_dead_stones_that_were_left_standing_are_taken_off(tmp_path: Path) -> None:
    dead = (BLACK, 9), (WHITE, PASS)  # one black stone in white's corner, where it cannot live
    game = Game(SIZE, (*SPLIT, *dead, (BLACK, PASS)), komi=0.5, result="W+5.5")
    games = expert_games(fill(tmp_path, {"a.sgf": game}), SIZE, held_out=0.0)
    np.testing.assert_array_equal(everything(games)[3][0], [[1, 1, -1, -1, -1]] * 5)


def test_counting_territory_differs_by_a_point_and_is_still_the_end(tmp_path: Path) -> None:
    game = Game(SIZE, SPLIT, komi=0.5, result="W+4.5")
    games = expert_games(fill(tmp_path, {"a.sgf": game}), SIZE)
    assert everything(games)[3].all()


def test_every_archive_holds_the_same_games(tmp_path: Path, played: dict[str, Game]) -> None:
    folder = fill(tmp_path / "plain" / "deeper", played)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in played:
            archive.write(folder / name, f"inside/{name}")
    for ending, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz")):
        with tarfile.open(tmp_path / f"a{ending}", mode) as tar:  # type: ignore[call-overload]
            tar.add(folder, "inside")
    expected = sorted(map(write_game, played.values()))
    for path in (tmp_path / "plain", *tmp_path.glob("a.*")):
        result = [game for _, game in stream(path) if isinstance(game, Game)]
        assert sorted(map(write_game, result)) == expected, path
    assert expert_games(tmp_path, SIZE).report.skipped == {"the same as another": 80}


def test_7z_archives_are_read_where_py7zr_is(tmp_path: Path, played: dict[str, Game]) -> None:
    py7zr = pytest.importorskip("py7zr")
    folder = fill(tmp_path / "plain", played)
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.writeall(folder, "inside")
    result = dict(stream(tmp_path / "a.7z"))
    assert result == {f"a.7z/inside/{name}": game for name, game in played.items()}


def test_a_7z_archive_without_py7zr_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "py7zr", None)
    (tmp_path / "a.7z").write_bytes(b"7z")
    with pytest.raises(GamesError, match=r"reading a\.7z needs py7zr: pip install py7zr"):
        list(stream(tmp_path))


def test_lines_of_the_tygem_collection_have_their_results_beside_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "2011-01.zip", "w") as archive:
        archive.writestr("2011-01", "7\t;B[pd];W[dp];B[]\n8\t;B[aa];W[zz]\n9\t;B[ss]\n")
    index = "7\tC2011.01.01 00:01\ta\ta\t0\tb\tb\t2\tW+2.5\t3\t20/3 0m\n"
    with zipfile.ZipFile(tmp_path / "index.zip", "w") as archive:
        archive.writestr("Kifu2011.index", index)
    seven, eight, nine = stream(tmp_path)
    moves = ((BLACK, 3 * 19 + 15), (WHITE, 15 * 19 + 3), (BLACK, 361))
    name = "2011-01.zip/2011-01"
    assert seven == (
        f"{name}:7",
        Game(moves=moves, result="W+2.5", black_rank="9d", white_rank="9d"),
    )
    assert str(eight[1]) == f"{name}:8: b'W[zz]' is not a move on 19×19"
    assert isinstance(nine[1], Game)
    assert nine[1].result == ""


def test_a_game_is_held_out_whatever_it_is_called_and_wherever_it_lies(
    tmp_path: Path, played: dict[str, Game]
) -> None:
    one = expert_games(fill(tmp_path / "one", played), SIZE, held_out=0.3)
    renamed = {f"z{100 - number}.sgf": game for number, game in enumerate(played.values())}
    two = expert_games(fill(tmp_path / "two", renamed), SIZE, held_out=0.3)
    assert one.train > 0
    assert one.test > 0
    assert (one.train, one.test) == (two.train, two.test)
    held_out = [
        {p.tobytes() for p in g.batch(np.arange(g.train, g.train + g.test))[0]} for g in (one, two)
    ]
    assert held_out[0] == held_out[1]


def test_about_the_share_that_was_asked_for_is_held_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(400):
            moves = ((BLACK, number % 25), (WHITE, (number // 25 + number + 1) % 25), (BLACK, 25))
            archive.writestr(f"{number}.sgf", write_game(Game(SIZE, moves)))
    games = expert_games(tmp_path, SIZE, min_moves=3, held_out=0.25)
    assert games.report.games == 400
    assert 0.15 < games.test / games.report.positions < 0.35


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path, played: dict[str, Game]) -> None:
    folder = fill(tmp_path, played)
    fill(
        folder,
        {
            "same.sgf": played["3.sgf"],
            "large.sgf": Game(9, ((BLACK, 0),) * 30),
            "short.sgf": Game(SIZE, SPLIT[:9]),
            "long.sgf": Game(SIZE, ((BLACK, PASS), (WHITE, PASS)) * 99),
        },
    )
    (folder / "broken.sgf").write_bytes(b"(;SZ[5];B[aa];W[ff])")
    (folder / "broken.tar.gz").write_bytes(b"not one")
    (folder / "broken.zip").write_bytes(b"PK not one")
    (folder / "readme.txt").write_text("Nothing to see here.")
    report = expert_games(folder, SIZE).report
    assert report.games == 20
    assert report.skipped == {
        "broken": 3,
        "no record": 1,
        "of another size": 1,
        "too short": 1,
        "too long": 1,
        "the same as another": 1,
    }
    assert report.broken[0] == "broken.sgf: move 2: [ff] is no point of a 5×5 board"
    assert report.broken[1].startswith("broken.tar.gz: cannot be unpacked: ")
    assert report.broken[2].startswith("broken.zip: cannot be unpacked: ")


def test_an_archive_that_breaks_off_gives_the_games_before(
    tmp_path: Path, played: dict[str, Game]
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(fill(tmp_path / "plain", played), "inside")
    (tmp_path / "half.tar").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    result = [game for _, game in stream(tmp_path / "half.tar")]
    assert sum(isinstance(game, Game) for game in result) > 3
    assert sum(isinstance(game, SgfError) for game in result) <= 1


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_collections_and_archives_may_be_compressed(
    tmp_path: Path, played: dict[str, Game], ending: str
) -> None:
    packed: Any = {"gz": gzip, "bz2": bz2, "xz": lzma}[ending]
    records = list(map(write_game, played.values()))
    (tmp_path / f"all.sgf.{ending}").write_bytes(packed.compress(b"\n".join(records)))
    names = [name for name, game in stream(tmp_path) if isinstance(game, Game)]
    called = f"all.sgf.{ending}/all.sgf"
    assert names == [called, *(f"{called}, game {n}" for n in range(2, len(played) + 1))]
    with tarfile.open(tmp_path / f"all.tar.{ending}", f"w:{ending}") as tar:  # type: ignore[call-overload]
        tar.add(fill(tmp_path / "plain", played), "inside")
    assert len(list(stream(tmp_path / f"all.tar.{ending}"))) == len(played)


def test_names_from_an_archive_stay_on_their_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a\n\x1b[2J.sgf", "(;SZ[99])")
    ((name, error),) = stream(tmp_path)
    assert name.isprintable()
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ((BLACK, 0), "the point is occupied"),
        ((WHITE, 20), "suicide"),
        ((WHITE, 12), "repeats an earlier position"),
    ],
)
def test_a_move_against_the_rules_is_listed_and_costs_its_game(
    tmp_path: Path, last: tuple[int, int], why: str
) -> None:
    black, white = (7, 11, 17), (8, 14, 18, 12)
    corner = ((BLACK, 0), (BLACK, 15), (BLACK, 21))
    ko = tuple((BLACK, p) for p in black) + tuple((WHITE, p) for p in white)
    # White's stone on 12 has one liberty, 13: black takes it there, and white may not take back.
    game = Game(SIZE, (*corner, *ko, (BLACK, 13), last, (BLACK, PASS)))
    fill(tmp_path, {"ko.sgf": game, "fine.sgf": random_game(1)})
    report = expert_games(tmp_path, SIZE).report
    assert report.skipped == {"against the rules": 1}
    assert report.disputes == [f"ko.sgf: move 12 of 13: {why}"]


@pytest.mark.parametrize("surrounded", [0, 24])  # set up before those around it, or after
def test_stones_set_up_without_liberties_are_listed(tmp_path: Path, surrounded: int) -> None:
    around = (1, 5) if surrounded == 0 else (19, 23)
    setup = tuple(sorted([(BLACK, surrounded), *((WHITE, p) for p in around)], key=lambda s: s[1]))
    fill(tmp_path, {"a.sgf": Game(SIZE, SPLIT[2:] * 2, setup), "fine.sgf": random_game(1)})
    assert expert_games(tmp_path, SIZE).report.disputes == [
        "a.sgf: stones are set up without liberties"
    ]


@pytest.mark.parametrize(
    ("rank", "height"),
    [
        ("9d", ("rank", 9)),
        ("10k", ("rank", -9)),
        ("1 kyu", ("rank", 0)),
        ("6 Dan", ("rank", 6)),
        ("9p, Honinbo", ("rank", 18)),
        ("9段", ("rank", 9)),
        ("P7段", ("rank", 16)),
        ("2350", ("rating", 2350)),
        ("2350?", ("rating", 2350)),
        ("25th Honinbo", None),
        ("-", None),
        ("", None),
    ],
)
def test_ranks_are_on_one_scale_and_ratings_on_another(
    rank: str, height: tuple[str, float] | None
) -> None:
    assert strength(rank) == height


def test_both_players_must_be_strong_enough(tmp_path: Path) -> None:
    ranks = [("6d", "7d"), ("9p", "6d"), ("5d", "9p"), ("", "9d"), ("2900", "2900")]
    games = {
        f"{n}.sgf": random_game(n, black_rank=black, white_rank=white)
        for n, (black, white) in enumerate(ranks)
    }
    fill(tmp_path, games)
    assert expert_games(tmp_path, SIZE).report.games == 5
    assert expert_games(tmp_path, SIZE, min_strength="6d").report.games == 2
    assert expert_games(tmp_path, SIZE, min_strength="2400").report.skipped == {"too weak": 4}
    with pytest.raises(GamesError, match="'very' is neither a rank such as 6d nor a rating"):
        expert_games(tmp_path, SIZE, min_strength="very")


def test_a_folder_without_games_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(GamesError, match="there is no such file or folder"):
        expert_games(tmp_path / "absent", SIZE)
    with pytest.raises(GamesError, match=r"no games on 5×5 to learn from \(no games\)"):
        expert_games(tmp_path, SIZE)
    fill(tmp_path, {"a.sgf": Game(9, ((BLACK, 0),) * 30)})
    with pytest.raises(GamesError, match=r"\(1 of another size\)"):
        expert_games(tmp_path, SIZE)


def test_a_cache_spares_the_reading_until_files_or_choices_change(
    tmp_path: Path, played: dict[str, Game], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = fill(tmp_path, played), tmp_path / "kept" / "games.safetensors"
    fresh = expert_games(folder, SIZE, cache)
    with monkeypatch.context() as patch:
        patch.setattr("envs.go.games.stream", lambda *_: pytest.fail("the games were read again"))
        again = expert_games(folder, SIZE, cache)
    assert again.report == fresh.report
    for part, other in zip(everything(again), everything(fresh), strict=True):
        np.testing.assert_array_equal(part, other)
    assert expert_games(folder, SIZE, cache, held_out=0.5).test > fresh.test
    fill(folder, {"new.sgf": random_game(77)})
    assert expert_games(folder, SIZE, cache).report.games == fresh.report.games + 1
    assert [path.name for path in cache.parent.iterdir()] == ["games.safetensors"]


@pytest.mark.parametrize("damage", [b"", b"noise", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_broken_cache_is_written_anew(
    tmp_path: Path, played: dict[str, Game], damage: bytes
) -> None:
    folder, cache = fill(tmp_path / "games", played), tmp_path / "games.safetensors"
    cache.write_bytes(damage)
    assert expert_games(folder, SIZE, cache).report.games == 20
    assert cache.stat().st_size > 1000


@given(st.binary(max_size=300), st.sampled_from([".sgf", ".zip", ".tar.gz", ".tar", "", ".index"]))
def test_noise_in_files_is_counted_and_nothing_worse(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, ending: str
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    (folder / f"noise{ending}").write_bytes(noise)
    for _, result in stream(folder):
        assert isinstance(result, Game) or str(result).isprintable()
