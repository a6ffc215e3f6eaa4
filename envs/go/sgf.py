"""Game records in SGF (Smart Game Format FF[4]), read and written through sgfmill.

A broken record raises an `SgfError` of one line that names the record and the move. Only the main line is
read: the first variation at every fork. A detail that is not a move, such as a komi in words, costs that detail only.
Records are decoded before they are parsed, because half of a two-byte letter may look like a bracket.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgfmill import sgf, sgf_grammar, sgf_properties

from envs.go.board import BLACK, EMPTY, WHITE, Board, Rules, replay
from envs.go.charsets import as_utf8
from envs.go.core import LARGEST
from envs.hooks import WorldError

MAX_BYTES = 1 << 18
"""The largest record that is read. Long games with many comments take 100 KB."""
MAX_COLLECTION = 1 << 24
"""The largest file of records that is read."""
_COLOURS = {"B": BLACK, "W": WHITE}
_LETTERS = {BLACK: "b", WHITE: "w"}
_NAMES = {
    **{"black": BLACK, "b": BLACK, "黑": BLACK, "黒": BLACK, "흑": BLACK},
    **{"white": WHITE, "w": WHITE, "白": WHITE, "백": WHITE},
}
_DRAWS = ("0", "draw", "jigo", "和", "和棋", "持碁", "ジゴ", "무승부")
_RESULT = re.compile(
    rf"({'|'.join(_NAMES)})\s*(?:\+|wins(?: by)?|番?\S{{0,4}}?[胜勝승])\s*", re.IGNORECASE
)
_POINTS = re.compile(r"(?=[\d½])(\d{0,3}(?:[.,]\d{0,3})?)(½|半)?\s*(?:目半?|집반?|points?)?")
_NUMBER = re.compile(r"([+-]?\d{0,6}(?:[.,]\d{0,6})?)(½?)")
_GAME = re.compile(rb"\(\s*;")


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
        result = self.result.strip()
        if match := _RESULT.match(result):
            return _NAMES[match[1].lower()]
        return EMPTY if result.lower() in _DRAWS else None

    @property
    def margin(self) -> float | None:
        """Black's points minus white's with komi; None unless the points are recorded."""
        if self.winner is None:
            return None
        if self.winner == EMPTY:
            return 0.0
        result = self.result.strip()
        match = _RESULT.match(result)
        points = match and _POINTS.fullmatch(result, match.end())
        if not points:
            return None
        number = _float(points[1]) + (0.5 if "半" in points[0] or "½" in points[0] else 0)
        return number if self.winner == BLACK else -number


def _float(text: str) -> float:
    text = text.replace(",", ".")
    return float(text) if any(letter.isdigit() for letter in text) else 0.0


def read_games(source: bytes | Path, name: str | None = None) -> Iterator[Game | SgfError]:
    """Yield every game of a file, and an error for each that is broken.

    Args:
        source: a file, or its content.
        name: the file's name in errors; by default its path. The second game of `a.sgf` is called `a.sgf, game 2`.
    """
    name = _name(source, name)
    try:
        data = _prepared(source, name)
    except SgfError as error:
        yield error
        return
    start, number = 0, 1
    while start >= 0:
        # The game ends where its brackets are closed; after a broken one the next begins at a line's start.
        _, end = sgf_grammar.tokenise(data, start)
        called = name if number == 1 else f"{name}, game {number}"
        try:
            yield _read_game(data[start : max(start, end)], called)
        except SgfError as error:
            yield error
            following = re.compile(rb"[\r\n]\s*\(\s*;").search(data, max(start, end))
        else:
            following = _GAME.search(data, end)
        start, number = following.start() if following else -1, number + 1


def read_game(
    source: bytes | Path, name: str | None = None, *, moves: int | None = None, whole: bool = False
) -> Game:
    """Return the first game of a record.

    Args:
        source: a file, or its content.
        name: the record's name in errors; by default the file's path.
        moves: read only so many.
        whole: where stones are set up during the game, return the position after that as the start of a game; by
            default the game ends before.

    Raises:
        SgfError: it is no proper record of Go. Whether the moves are legal is not checked.
    """
    name = _name(source, name)
    data = _prepared(source, name)
    _, end = sgf_grammar.tokenise(data)
    return _read_game(data[:end] if end else data, name, moves, whole)


def _name(source: bytes | Path, name: str | None) -> str:
    if name is not None:
        return name
    return str(source) if isinstance(source, Path) else "the record"


def _prepared(source: bytes | Path, name: str) -> bytes:
    """Return the content of a file of records in UTF-8, with the beginning that some programs leave out."""
    data = _read(source, name) if isinstance(source, Path) else source
    if len(data) > MAX_COLLECTION:
        raise SgfError(f"{name}: larger than {MAX_COLLECTION >> 20} MiB")
    data = as_utf8(data)
    if not _GAME.search(data):
        start = data.lstrip()
        if start.startswith(b"("):  # as Nihon Ki-in writes them
            return b"(;" + start[1:]
        if start.startswith(b";"):  # as Fox does
            return b"(" + start
    elif data.lstrip().startswith(b";"):
        return b"(" + data.lstrip()
    return data


def _read_game(data: bytes, name: str, most: int | None = None, whole: bool = False) -> Game:
    if len(data) > MAX_BYTES:
        raise SgfError(f"{name}: larger than {MAX_BYTES >> 10} KiB")
    try:
        tree = sgf_grammar.parse_sgf_game(data)
    except ValueError as error:
        read = sum(
            token in (b"B", b"W") for kind, token in sgf_grammar.tokenise(data)[0] if kind == "I"
        )
        raise SgfError(f"{name}: after move {read}: {error}") from None
    nodes = list(sgf_grammar.main_sequence_iter(tree))
    root = nodes[0]
    game = _first(root, "GM").strip()
    if game not in (b"", b"1"):
        raise SgfError(f"{name}: this is a record of another game than Go (GM[{_shown(game)}])")
    size = _size(next((_first(node, "SZ") for node in nodes if "SZ" in node), b""), name)

    moves: list[tuple[int, int]] = []
    comments: list[str] = []
    setup: dict[int, int] = {}
    to_play, earlier = None, 0
    for node in nodes:
        played = [(letter, raw) for letter in ("B", "W") for raw in node.get(letter, ())]
        if node.keys() & {"AB", "AW", "AE"}:
            if moves and not whole:
                break
            if moves:
                setup, earlier = _position(size, setup, moves, to_play, name), earlier + len(moves)
                moves, comments, to_play = [], [], None
            _set_up(node, size, setup, name)
        if "PL" in node and not moves:
            to_play = _NAMES.get(_text(_first(node, "PL")).strip()[:1].lower())
        if not played:
            continue
        if most is not None and earlier + len(moves) >= most:
            break
        number = earlier + len(moves) + 1
        if len(played) > 1:
            raise SgfError(f"{name}: move {number}: several moves at once")
        letter, raw = played[0]
        action = _action(raw.strip(), size)
        if action is None:
            raise SgfError(
                f"{name}: move {number}: [{_shown(raw)}] is no point of a {size}×{size} board"
            )
        moves.append((_COLOURS[letter], action))
        comments.append(_text(_first(node, "C")) if "C" in node else "")
    if moves:
        to_play = moves[0][0]
    elif to_play is None:
        to_play = WHITE if setup and WHITE not in setup.values() else BLACK

    def text(identifier: str) -> str:
        return _text(_first(root, identifier)).strip()

    return Game(
        size=size,
        moves=tuple(moves),
        setup=tuple((colour, action) for action, colour in sorted(setup.items())),
        to_play=to_play,
        komi=_komi(text("KM"), text("RU"), text("AP")),
        handicap=int(_number(text("HA"))),
        result=text("RE"),
        rules=text("RU"),
        black=text("PB"),
        white=text("PW"),
        black_rank=text("BR"),
        white_rank=text("WR"),
        comments=tuple(comments) if any(comments) else (),
    )


def _position(
    size: int, setup: dict[int, int], moves: Sequence[tuple[int, int]], first: int | None, name: str
) -> dict[int, int]:
    """Return the stones on the board after some moves, by action."""
    rules = Rules(size=size, ko="simple", suicide=True)
    try:
        stones = replay(rules, [(c, a) for a, c in setup.items()], moves, first).stones.ravel()
    except ValueError as error:
        raise SgfError(f"{name}: {error}") from None
    return {action: int(stone) for action, stone in enumerate(stones) if stone}


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
            return file.read(MAX_COLLECTION + 1)
    except OSError as error:
        raise SgfError(f"{name}: {error.strerror}") from None


def _first(node: dict[str, list[bytes]], identifier: str) -> bytes:
    return node[identifier][0] if identifier in node else b""


def _text(raw: bytes) -> str:
    """Return a text value; � for bytes that could not be decoded."""
    return sgf_grammar.text_value(raw).decode("utf-8", "replace")


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
        raise SgfError(
            f"{name}: a board must be square, of 5 to {LARGEST} lines: its size is [{_shown(raw)}]"
        )
    return int(size[1])


def _number(text: str) -> float:
    """Return a number of the header, 0 if there is none or none that can be read."""
    match = _NUMBER.fullmatch(text)
    return _float(match[1]) + 0.5 * bool(match[2]) if match else 0.0


def _komi(text: str, rules: str, program: str) -> float:
    """Return the komi in points. Fox writes hundredths, under Chinese rules of stones, which are two points."""
    komi = _number(text)
    if "foxwq" not in program.lower() or not komi.is_integer() or abs(komi) < 100:
        return komi
    chinese = rules.strip().lower() in ("chinese", "cn", "中国", "中國")
    return komi / 50 if chinese else komi / 100


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
    """Change `setup`, stones by action, as a node says."""
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
            else:  # the last stone stays
                setup[action] = colour


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
