"""Game records in SGF (Smart Game Format FF[4]), read and written through sgfmill.

A broken record raises an `SgfError` of one line that names the record and the move. Only the main line is
read: the first variation at every fork.
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sgfmill import sgf, sgf_grammar, sgf_properties

from envs.go.board import BLACK, EMPTY, WHITE, Board
from envs.go.core import LARGEST
from envs.hooks import WorldError

MAX_BYTES = 1 << 18
"""The largest record that is read. Long games with many comments take 100 KB."""
_COLOURS = {"B": BLACK, "W": WHITE}
_LETTERS = {BLACK: "b", WHITE: "w"}
_CHARSETS = (
    *("utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1250", "cp1251", "cp1252", "koi8-r"),
    *("gb18030", "gb2312", "gbk", "big5", "cp932", "shift_jis", "euc_jp", "iso2022_jp"),
    *("cp949", "euc_kr"),
)
"""Charsets that records use, by Python's names. Other codecs of Python's may be slow or not for text."""


class SgfError(WorldError):
    """A record cannot be read. The message has the record, the move and the fault."""


@dataclass(frozen=True)
class Game:
    """One game. A move is (colour, action); see `envs.go.core` for actions."""

    size: int = 19
    moves: tuple[tuple[int, int], ...] = ()
    setup: tuple[tuple[int, int], ...] = ()
    """Stones that stand before the first move (handicap, problems), as (colour, action)."""
    to_play: int = BLACK
    """Who plays the first move."""
    komi: float = 0.0
    handicap: int = 0
    result: str = ""
    """As recorded: `B+3.5`, `W+R`, `Draw`, `Void`; empty if unknown."""
    rules: str = ""
    black: str = ""
    """The player's name."""
    white: str = ""
    black_rank: str = ""
    """As recorded: `6d`, `9p`, `2350?`."""
    white_rank: str = ""
    comments: tuple[str, ...] = ()
    """One for each move, or none."""

    @property
    def winner(self) -> int | None:
        """BLACK, WHITE, EMPTY for a draw, None if the result is not known."""
        result = self.result.strip().lower()
        if result[:2] in ("b+", "w+"):
            return _COLOURS[result[0].upper()]
        return EMPTY if result in ("0", "draw", "jigo") else None

    @property
    def margin(self) -> float | None:
        """Black's points minus white's with komi; None unless the points are recorded."""
        if self.winner is None:
            return None
        if self.winner == EMPTY:
            return 0.0
        points = re.fullmatch(r"\d{1,3}(\.\d{0,3})?", self.result.strip()[2:].strip())
        if points is None:
            return None
        return float(points[0]) if self.winner == BLACK else -float(points[0])


def read_game(source: bytes | Path, name: str | None = None) -> Game:
    """Return the first game of a record.

    Args:
        source: a file, or its content.
        name: the record's name in errors; by default the file's path.

    Raises:
        SgfError: it is no proper record of Go. Whether the moves are legal is not checked.
    """
    if name is None:
        name = str(source) if isinstance(source, Path) else "the record"
    data = _read(source, name) if isinstance(source, Path) else source
    if len(data) > MAX_BYTES:
        raise SgfError(f"{name}: larger than {MAX_BYTES >> 10} KiB")
    try:
        tree = sgf_grammar.parse_sgf_game(data)
    except ValueError as error:
        read = sum(
            token in (b"B", b"W") for kind, token in sgf_grammar.tokenise(data)[0] if kind == "I"
        )
        raise SgfError(f"{name}: after move {read}: {error}") from None
    root = tree.sequence[0]
    charset = _charset(_first(root, "CA"))
    game = _first(root, "GM").strip()
    if game not in (b"", b"1"):
        raise SgfError(f"{name}: this is a record of another game than Go (GM[{_shown(game)}])")
    size = _size(_first(root, "SZ"), name)

    moves: list[tuple[int, int]] = []
    comments: list[str] = []
    setup: dict[int, int] = {}
    to_play = None
    for node in sgf_grammar.main_sequence_iter(tree):
        played = [(letter, raw) for letter in ("B", "W") for raw in node.get(letter, ())]
        if node.keys() & {"AB", "AW", "AE"}:
            if moves or played:
                raise SgfError(f"{name}: move {len(moves) + 1}: stones are set up during the game")
            _set_up(node, size, setup, name)
        if "PL" in node and not moves:
            to_play = _COLOURS.get(_first(node, "PL").strip().upper().decode("latin-1"))
        if not played:
            continue
        if len(played) > 1:
            raise SgfError(f"{name}: move {len(moves) + 1}: several moves at once")
        letter, raw = played[0]
        action = _action(raw.strip(), size)
        if action is None:
            raise SgfError(
                f"{name}: move {len(moves) + 1}: [{_shown(raw)}] is no point of a {size}×{size} board"
            )
        moves.append((_COLOURS[letter], action))
        comments.append(_text(_first(node, "C"), charset) if "C" in node else "")
    if moves:
        to_play = moves[0][0]
    elif to_play is None:
        to_play = WHITE if setup and WHITE not in setup.values() else BLACK

    def text(identifier: str) -> str:
        return _text(_first(root, identifier), charset).strip()

    return Game(
        size=size,
        moves=tuple(moves),
        setup=tuple((colour, action) for action, colour in sorted(setup.items())),
        to_play=to_play,
        komi=_number(text("KM"), "komi", name),
        handicap=int(_number(text("HA"), "handicap", name)),
        result=text("RE"),
        rules=text("RU"),
        black=text("PB"),
        white=text("PW"),
        black_rank=text("BR"),
        white_rank=text("WR"),
        comments=tuple(comments) if any(comments) else (),
    )


def write_game(game: Game) -> bytes:
    """Return the record of a game in UTF-8; `read_game` returns the same game again.

    Raises:
        ValueError: the number of comments is neither 0 nor the number of moves.
    """
    if game.comments and len(game.comments) != len(game.moves):
        raise ValueError(f"{len(game.moves)} moves cannot have {len(game.comments)} comments")
    record = sgf.Sgf_game(game.size)
    root = record.get_root()
    root.set("KM", game.komi)
    if game.handicap:
        root.set_raw("HA", str(game.handicap).encode())
    for identifier, text in (
        ("RE", game.result),
        ("RU", game.rules),
        ("PB", game.black),
        ("PW", game.white),
        ("BR", game.black_rank),
        ("WR", game.white_rank),
    ):
        if text:
            root.set_raw(identifier, _escaped(text))
    if game.setup:
        by_colour: dict[int, list[tuple[int, int]]] = {BLACK: [], WHITE: []}
        for colour, action in game.setup:
            by_colour[colour].append(_place(action, game.size))
        root.set_setup_stones(by_colour[BLACK], by_colour[WHITE])
    root.set("PL", _LETTERS[game.to_play])
    node = root
    for number, (colour, action) in enumerate(game.moves):
        node = node.new_child()
        passed = action == game.size * game.size
        node.set_move(_LETTERS[colour], None if passed else _place(action, game.size))
        if game.comments and game.comments[number]:
            node.set_raw("C", _escaped(game.comments[number]))
    return record.serialise()


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SgfError(f"{name}: {error.strerror}") from None


def _first(node: dict[str, list[bytes]], identifier: str) -> bytes:
    return node[identifier][0] if identifier in node else b""


def _charset(declared: bytes) -> str:
    try:
        charset = codecs.lookup(declared[:20].decode("ascii").strip()).name
    except (LookupError, ValueError):
        return "utf-8"
    return charset if charset in _CHARSETS else "utf-8"


def _text(raw: bytes, charset: str) -> str:
    """Decode a text, with � for bytes that are not of the charset."""
    return sgf_grammar.text_value(raw).decode(charset, "replace")


def _shown(raw: bytes) -> str:
    """Return a wrong value, shortened to fit one line."""
    return ascii(raw[:12].decode("latin-1"))[1:-1] + ("…" if len(raw) > 12 else "")


def _escaped(text: str) -> bytes:
    return sgf_grammar.escape_text(text.encode("utf-8", "replace"))


def _size(raw: bytes, name: str) -> int:
    if not raw.strip():
        return 19  # FF[4]'s default for Go
    size = re.fullmatch(rb"\s*(\d{1,2})\s*(?::\s*\1\s*)?", raw)
    if size is None or not 1 <= int(size[1]) <= LARGEST:
        raise SgfError(f"{name}: size [{_shown(raw)}] is not from 1 to {LARGEST}")
    return int(size[1])


def _number(text: str, what: str, name: str) -> float:
    """Return a number of the header, 0 if it is missing."""
    if not text:
        return 0.0
    if not re.fullmatch(r"[+-]?\d{0,6}(\.\d{0,6})?", text) or not re.search(r"\d", text):
        raise SgfError(f"{name}: {what} [{_shown(text.encode())}] is not a number")
    return float(text)


def _action(raw: bytes, size: int) -> int | None:
    """Return the action of a move's value, or None if it is not a point."""
    try:
        point = sgf_properties.interpret_go_point(raw, size)
    except ValueError:
        return None
    if point is None:
        return size * size
    # sgfmill counts rows from the bottom.
    return (size - 1 - point[0]) * size + point[1]


def _place(action: int, size: int) -> tuple[int, int]:
    """Return an action as sgfmill's (row, column)."""
    return size - 1 - action // size, action % size


def _set_up(node: dict[str, list[bytes]], size: int, setup: dict[int, int], name: str) -> None:
    """Add a node's setup stones to `setup`, by action."""
    context = sgf_properties.Presenter(size, "UTF-8")
    for identifier, colour in (("AE", EMPTY), ("AB", BLACK), ("AW", WHITE)):
        values = [value for value in node.get(identifier, ()) if value.strip()]
        try:
            points = context.interpret(identifier, values) if values else ()
        except ValueError:
            raise SgfError(f"{name}: stones are set up off the {size}×{size} board") from None
        for row, column in points:
            action = (size - 1 - row) * size + column
            if colour == EMPTY:
                setup.pop(action, None)
            elif setup.setdefault(action, colour) != colour:
                raise SgfError(f"{name}: two stones are set up on one point")


def record(
    board: Board,
    names: tuple[str, str],
    result: str,
    setup: Sequence[tuple[int, int]] = (),
    comments: Sequence[str] = (),
) -> Game:
    """Return a board's game as a record.

    Args:
        names: black's and white's.
        comments: one for each move, or none.
    """
    first = board.moves[0][0] if board.moves else board.to_play
    return Game(
        size=board.rules.size,
        moves=tuple(board.moves),
        setup=tuple(setup),
        to_play=first,
        komi=board.rules.komi,
        handicap=len(setup) if len(setup) > 1 else 0,
        result=result,
        rules="Chinese",
        black=names[0],
        white=names[1],
        comments=tuple(comments),
    )
