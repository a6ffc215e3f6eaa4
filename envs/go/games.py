"""Game records to learn from: streamed from archives, checked against the rules, stored as moves.

A game takes three bytes a move. Positions are replayed when a batch is drawn, which is much faster than
reading planes from a disk. A hash of its moves decides whether a game is held out for testing, so copies of
a game are always on the same side.

Records are `.sgf` files of one or many games, also compressed (`.sgf.gz`, `.sgf.bz2`, `.sgf.xz`), in folders or in
`.zip`, `.7z` and `.tar` archives (`.tar.gz`, `.tar.bz2`, `.tar.xz`), or lines of the Tygem collection (`id TAB ;B[pd];W[pp]…` on 19×19 between players of 9 dan, with the results in an
`.index` file beside them).
"""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numba
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from envs.go.core import (
    BLACK,
    EMPTY,
    HEAD,
    LEGAL,
    OCCUPIED,
    PASSES,
    PLANES,
    REPETITION,
    SUICIDE,
    TO_PLAY,
    WHITE,
    Boards,
    Rules,
    clear,
    copy_board,
    new_boards,
    owners,
    place,
    planes,
    play,
    playout,
    verdict,
)
from envs.go.sgf import MAX_COLLECTION, Game, SgfError, read_games
from envs.hooks import WorldError

MAX_FILE = 1 << 28
"""The largest file of lines that is read, and the largest 7z archive once unpacked."""
_FORMAT = 4
"""Version of the cache's format."""
_SIZE = re.compile(rb"SZ\[(\d{1,2})\]")
_GAME = re.compile(rb"\(\s*;")
_LINE = re.compile(rb"\d{1,20}\t;[BW]\[")
_LINE_MOVES = {
    b"%s[%s]" % (letter, point): (colour, action)
    for letter, colour in ((b"B", BLACK), (b"W", WHITE))
    for action, point in enumerate(
        [*(bytes((97 + column, 97 + row)) for row in range(19) for column in range(19)), b""]
    )
}
_CHINESE_NUMBERS = {ord(letter): str(n) for n, letter in enumerate("一二三四五六七八九", 1)} | {
    ord("初"): "1"
}
_PLAYOUTS = 64
"""Playouts that estimate which stones are dead at the end of a record. The estimate is used only if it gives
the recorded result."""
_OTHER_SIZE = "of another size"
_DISPUTES = {
    OCCUPIED: "the point is occupied",
    SUICIDE: "suicide",
    REPETITION: "repeats an earlier position",
}
_NO_LIBERTIES = "stones are set up without liberties"


class GamesError(WorldError):
    """A folder or file holds no games that can be learnt from."""


class NoRecordError(SgfError):
    """A file is of another kind."""


def stream(folder: Path, size: int | None = None) -> Iterator[tuple[str, Game | SgfError | None]]:
    """Yield every game below a folder, or in a file, with its name; an error for each broken record.

    Files are read in the order of their names, archives in the order of their entries. Nothing is unpacked
    to the disk.

    Args:
        size: games that declare another size are not read; None is yielded for each.
    """
    results: dict[bytes, str] = {}
    for _, data in _files(folder, lambda name: name.endswith(".index")):
        if isinstance(data, bytes):
            for line in data.splitlines():
                columns = line.split(b"\t")
                if len(columns) >= 9:
                    results[columns[0]] = columns[8].decode("ascii", "replace")
    for name, data in _files(folder, lambda name: not name.endswith(".index")):
        if isinstance(data, SgfError):
            yield name, data
        elif name.lower().endswith(".sgf"):
            says = _SIZE.search(data, 0, 4096)
            one = len(_GAME.findall(data)) == 1
            if one and size is not None and says is not None and int(says[1]) != size:
                yield name, None
                continue
            for number, game in enumerate(read_games(data, name), 1):
                called = name if number == 1 else f"{name}, game {number}"
                other = isinstance(game, Game) and size not in (None, game.size)
                yield called, None if other else game
        elif _LINE.match(data):
            for line in data.splitlines():
                yield (name, None) if size not in (None, 19) else _line_game(line, name, results)
        elif data:
            yield name, NoRecordError(f"{name}: neither a record nor an archive of a known kind")


def _line_game(line: bytes, name: str, results: dict[bytes, str]) -> tuple[str, Game | SgfError]:
    number, _, body = line.partition(b"\t")
    name = f"{name}:{_printable(number[:20].decode('ascii', 'replace'))}"
    try:
        moves = tuple(map(_LINE_MOVES.__getitem__, body.rstrip().split(b";")[1:]))
    except KeyError as error:
        return name, SgfError(f"{name}: {error.args[0][:12]!r} is not a move on 19×19")
    result = results.get(number, "")
    return name, Game(19, moves, result=result, black_rank="9d", white_rank="9d")


def _files(folder: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | SgfError]]:
    """Yield what may be records in a folder and in its archives, with names relative to the folder."""
    if not folder.exists():
        raise GamesError(f"{folder}: there is no such file or folder")
    paths = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
    for path in paths:
        name = _printable(path.relative_to(folder).as_posix() if folder.is_dir() else path.name)
        unpack = next((u for endings, u in _ARCHIVES if name.lower().endswith(endings)), None)
        try:
            if unpack is not None:
                for inner, data in unpack(path, wanted):
                    inner = f"{name}/{_printable(inner)}"
                    yield inner, _too_large(inner) if data is None else data
            elif wanted(name):
                with path.open("rb") as file:
                    data = _take(file, name)
                yield name, _too_large(name) if data is None else data
        except GamesError:  # not a fault of the records
            raise
        except OSError as error:
            yield name, SgfError(f"{name}: {error.strerror or error}")
        # The archive libraries raise exceptions of many types for broken archives.
        except Exception as error:
            why = _printable(" ".join(str(error).split()))
            yield name, SgfError(f"{name}: cannot be unpacked: {why}")


def _printable(name: str) -> str:
    """Return a file's name with control characters escaped, for one line on a terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in name)


def _limit(name: str) -> int:
    return MAX_COLLECTION if name.lower().endswith(".sgf") else MAX_FILE


def _too_large(name: str) -> SgfError:
    return SgfError(f"{name}: larger than {_limit(name) >> 10} KiB")


def _take(file: IO[bytes], name: str) -> bytes | None:
    """Return a file's content, of one that is no record the beginning; None if it is too large."""
    head = file.read(64)
    if not (name.lower().endswith((".sgf", ".index")) or _LINE.match(head)):
        return head
    data = head + file.read(_limit(name) + 1 - len(head))
    return data if len(data) <= _limit(name) else None


def _tar(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if member.isfile() and wanted(member.name):
                file = archive.extractfile(member)
                assert file is not None
                yield member.name, _take(file, member.name)


def _zip(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir() and wanted(member.filename):
                with archive.open(member) as file:
                    yield member.filename, _take(file, member.filename)


def _seven_zip(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    try:
        import py7zr
        from py7zr.io import BytesIOFactory
    except ImportError:
        raise GamesError(f"reading {path.name} needs py7zr: pip install py7zr") from None
    with py7zr.SevenZipFile(path) as archive:
        names = [file.filename for file in archive.list() if not file.is_directory]
        # One compressed stream: all of it must be unpacked.
        if sum(file.uncompressed for file in archive.list()) > MAX_FILE:
            raise ValueError(f"larger than {MAX_FILE >> 20} MiB unpacked")
        factory = BytesIOFactory(MAX_FILE)
        targets = [name for name in names if wanted(name)]
        if targets:
            archive.extract(targets=targets, factory=factory)
        for name, content in factory.products.items():
            content.seek(0)
            yield name, _take(cast(IO[bytes], content), name)


def _compressed(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    opened: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[path.suffix.lower()]
    if wanted(path.stem):
        with opened(path) as file:
            yield path.stem, _take(file, path.stem)


_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ARCHIVES: tuple[tuple[str | tuple[str, ...], Callable[..., Any]], ...] = (
    (".zip", _zip),
    (_TARS, _tar),
    (".7z", _seven_zip),
    ((".gz", ".bz2", ".xz"), _compressed),
)


@dataclass
class Report:
    """The games that were read, and those left out with the reasons."""

    games: int = 0
    positions: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Games left out, by reason."""
    disputes: list[str] = field(default_factory=list)
    """A line for each game with an illegal move."""
    broken: list[str] = field(default_factory=list)
    """A line for each record or archive that could not be read."""

    def lines(self) -> list[str]:
        """Return the report as lines to print."""
        summary = f"{self.games:,} games, {self.positions:,} positions"
        if self.skipped:
            reasons = (f"{number:,} {reason}" for reason, number in self.skipped.items())
            summary += f"; left out: {', '.join(reasons)}"
        return [*self.broken, *self.disputes, summary]


def strength(rank: str) -> tuple[str, float] | None:
    """Return a recorded rank as (scale, height), or None if it is not known.

    Kyu, dan and professional ranks share one scale: `3k` is ("rank", -2), `1d` 1, `9d` 9 and `9p` 18. A
    rating such as `2350?` is ("rating", 2350).
    """
    rank = rank.lower().translate(_CHINESE_NUMBERS)
    match = re.search(r"(p?)(\d+)[\s-]*(k|d|p|段|단|級|级|급)?", rank)
    if match is None:
        return None
    professional = match[1] or match[3] == "p" or any(word in rank for word in ("职业", "プロ"))
    number, unit = int(match[2]), match[3]
    if professional and number <= 9:
        return "rank", 9 + number
    if unit in ("k", "級", "级", "급"):
        return "rank", 1 - number
    if unit is not None:
        return "rank", number
    return ("rating", number) if number >= 100 else None


def expert_games(
    folder: Path,
    size: int,
    cache: Path | None = None,
    *,
    min_strength: str | None = None,
    min_moves: int = 10,
    held_out: float = 0.05,
) -> "ExpertGames":
    """Return the games of one board size below a folder, ready to draw positions from.

    Args:
        folder: searched by `stream`.
        cache: a file that stores the moves for the next call. It is rewritten if the files below the folder
            or any of the other arguments have changed.
        min_strength: the least strength of both players: a rank such as `6d` or `1p`, or a rating such as
            `2400`. Players without one are left out.
        min_moves: shorter games are left out.
        held_out: the share of games for testing.

    Raises:
        GamesError: there is no such folder, it holds no games, or the strength is not one.
    """
    if min_strength is not None and strength(min_strength) is None:
        raise GamesError(f"{min_strength!r} is neither a rank such as 6d nor a rating such as 2400")
    key = _key(folder, size, min_strength, min_moves, held_out)
    games = None if cache is None else _load(cache, key, size)
    if games is None:
        games = _collect(folder, size, min_strength, min_moves, held_out)
        if cache is not None:
            _save(cache, key, games)
    if games.report.games == 0:
        why = ", ".join(f"{number} {reason}" for reason, number in games.report.skipped.items())
        raise GamesError(f"{folder}: no games on {size}×{size} to learn from ({why or 'no games'})")
    if games.train == 0:
        raise GamesError(f"{folder}: all its games are held out for testing; more are needed")
    return games


def has_games(folder: Path, size: int) -> None:
    """Raise GamesError unless there is a readable game of this board size. Stops at the first one."""
    if not any(isinstance(game, Game) and game.size == size for _, game in stream(folder, size)):
        raise GamesError(f"{folder}: no games on {size}×{size} to learn from")


class ExpertGames:
    """Positions of games, each with the move that was played.

    Positions 0 to train - 1 are for training, train to train + test - 1 are held out. Every move of a game,
    passes included, gives a position; the positions of a game are adjacent.
    """

    def __init__(self, size: int, arrays: dict[str, np.ndarray], report: Report) -> None:
        self.size = size
        self.rules = Rules(size=size)
        """The rules that the games were checked against, and that the planes show forbidden points by."""
        self.arrays = arrays
        """`actions` int16 and `colours` int8 of all games one after the other, first the stones
        that were set up, then the moves; for each game: `starts` int64 (games + 1,), `setups`
        int16, `winners` int8 (+1 black, −1 white, 0 neither or not known), `finals` int32 (the row
        of `owners`, −1 without); `owners` int8 (rows, size²); `held_out` int64 (1,), the number of
        games for testing, the last ones."""
        self.report = report
        lengths = np.diff(arrays["starts"]) - arrays["setups"]
        self._ends = np.cumsum(lengths)
        games = len(lengths) - int(arrays["held_out"][0])
        self.train = int(self._ends[games - 1]) if games else 0
        """Number of positions for training."""
        self.test = report.positions - self.train
        """Number of positions held out."""
        self._threads = numba.get_num_threads()
        self._workers = ThreadPoolExecutor(self._threads)

    def digest(self) -> int:
        """A checksum of the positions."""
        digest = hashlib.blake2b(digest_size=6)  # exact in a float64
        for name in sorted(self.arrays):
            digest.update(self.arrays[name].tobytes())
        return int.from_bytes(digest.digest(), "big")

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return positions by their numbers, from the view of the player to move.

        Args:
            indices: (n,) integers below train + test.

        Returns:
            planes (n, 19, size, size) uint8, see `envs.go.core.planes`; actions (n,) int64, what
            was played; winners (n,) int8, +1 where the player to move won, −1 where the opponent
            did, 0 for a draw or an unknown result; ownership (n, size, size) int8, +1 for own area
            at the end and −1 for the opponent's, without dead stones; all 0 if the game was not
            played to its end or its area does not give the recorded result.

        Raises:
            IndexError: there is no such position.
        """
        indices = np.asarray(indices, np.int64)
        n, size = len(indices), self.size
        if n and not 0 <= indices.min() <= indices.max() < self.report.positions:
            raise IndexError(f"positions are numbered from 0 to {self.report.positions - 1}")
        games = np.searchsorted(self._ends, indices, side="right")
        arrays = self.arrays
        starts = arrays["starts"][games]
        # A game's moves end with its positions: count backwards from there.
        moves = arrays["starts"][games + 1] - (self._ends[games] - indices)
        seen = np.empty((n, PLANES, size, size), np.uint8)
        colours = np.ascontiguousarray(arrays["colours"][moves])

        def work(part: slice) -> None:
            _positions(
                new_boards(1, self.rules),
                arrays["actions"],
                arrays["colours"],
                starts[part],
                arrays["setups"][games[part]],
                moves[part],
                seen[part],
            )

        step = max(64, -(-n // self._threads))
        list(self._workers.map(work, (slice(i, i + step) for i in range(0, n, step))))
        view = np.where(colours == BLACK, 1, -1).astype(np.int8)
        ownership = np.zeros((n, size, size), np.int8)
        finals = arrays["finals"][games]
        known = finals >= 0
        ownership[known] = arrays["owners"][finals[known]].reshape(-1, size, size)
        ownership *= view[:, None, None]
        actions = arrays["actions"][moves].astype(np.int64)
        return seen, actions, arrays["winners"][games] * view, ownership


def _collect(
    folder: Path, size: int, min_strength: str | None, min_moves: int, held_out: float
) -> ExpertGames:
    report = Report()
    skipped: Counter[str] = Counter()
    boards, trial = new_boards(1, Rules(size=size)), new_boards(1, Rules(size=size, ko="simple"))
    final = np.zeros((size, size), np.int8)
    seen: set[bytes] = set()
    kept: tuple[list[_Kept], list[_Kept]] = [], []
    for name, game in stream(folder, size):
        if game is None:
            skipped[_OTHER_SIZE] += 1
            continue
        if isinstance(game, SgfError):
            skipped["no record" if isinstance(game, NoRecordError) else "broken"] += 1
            report.broken.append(str(game))
            continue
        reason = _unwanted(game, size, min_strength, min_moves)
        if reason is not None:
            skipped[reason] += 1
            continue
        stones = np.array(game.setup + game.moves, np.int16).reshape(-1, 2)
        colours, actions = stones[:, 0].astype(np.int8), stones[:, 1].copy()
        digest = hashlib.blake2b(colours.tobytes() + actions.tobytes(), digest_size=8).digest()
        if digest in seen:
            skipped["the same as another"] += 1
            continue
        seen.add(digest)
        wrong, why = _replay(boards, actions, colours, len(game.setup))
        if wrong >= 0:
            skipped["against the rules"] += 1
            number = wrong - len(game.setup) + 1
            move = f"move {number} of {len(game.moves)}: {_DISPUTES[why]}"
            report.disputes.append(f"{name}: {move if number > 0 else _NO_LIBERTIES}")
            continue
        owned = None
        if game.margin is not None:
            for playouts in (0, _PLAYOUTS):
                _final_owners(boards, trial, playouts, final)
                if abs(int(final.sum()) - game.komi - game.margin) <= 1:
                    owned = final.ravel().copy()
                    break
        winner = {BLACK: 1, WHITE: -1}.get(game.winner or EMPTY, 0)
        test = int.from_bytes(digest, "big") < held_out * 2**64
        kept[test].append(_Kept(actions, colours, len(game.setup), winner, owned))
    games = kept[0] + kept[1]
    finals = np.cumsum([game.owned is not None for game in games], dtype=np.int32) - np.int32(1)
    arrays = {
        "actions": np.concatenate([game.actions for game in games] or [np.zeros(0, np.int16)]),
        "colours": np.concatenate([game.colours for game in games] or [np.zeros(0, np.int8)]),
        "starts": np.cumsum([0, *(len(game.actions) for game in games)], dtype=np.int64),
        "setups": np.array([game.setup for game in games], np.int16),
        "winners": np.array([game.winner for game in games], np.int8),
        "finals": np.where([game.owned is not None for game in games], finals, np.int32(-1)),
        "owners": np.array(
            [game.owned for game in games if game.owned is not None], np.int8
        ).reshape(-1, size * size),
        "held_out": np.array([len(kept[1])], np.int64),
    }
    report.games = len(games)
    report.positions = int(len(arrays["actions"]) - arrays["setups"].sum())
    report.skipped = dict(skipped.most_common())
    return ExpertGames(size, arrays, report)


@dataclass
class _Kept:
    actions: np.ndarray
    colours: np.ndarray
    setup: int
    winner: int
    owned: np.ndarray | None


def _unwanted(game: Game, size: int, min_strength: str | None, min_moves: int) -> str | None:
    if game.size != size:
        return _OTHER_SIZE
    if len(game.moves) < max(min_moves, 1):
        return "too short"
    if len(game.moves) > 4 * size * size:  # longer than any real game, and than superko remembers
        return "too long"
    if min_strength is not None:
        least = strength(min_strength)
        assert least is not None
        for rank in (game.black_rank, game.white_rank):
            own = strength(rank)
            if own is None or own[0] != least[0] or own[1] < least[1]:
                return "too weak"
    return None


@numba.njit(cache=True)
def _replay(
    boards: Boards, actions: np.ndarray, colours: np.ndarray, setup: int
) -> tuple[int, int]:
    """Play a whole game on board 0; return the index of the first illegal move, or −1, and the reason."""
    clear(boards, 0)
    for k in range(len(actions)):
        _turn(boards, colours[k])
        ruling = verdict(boards, 0, actions[k])
        if ruling != LEGAL:
            return k, ruling
        _move(boards, colours[k], actions[k], k < setup)
        if k < setup and np.count_nonzero(boards.chains[0, HEAD]) != k + 1:
            return k, SUICIDE  # of the stones around it
    return -1, LEGAL


@numba.njit(cache=True)
def _final_owners(boards: Boards, trial: Boards, playouts: int, out: np.ndarray) -> None:
    """Fill out, (size, size) int8, with +1 for black's area on board 0 and −1 for white's: of the stones as
    they stand, or the majority of random playouts, which remove dead stones."""
    out[:] = 0
    owner = np.empty_like(out)
    sums = np.zeros(out.shape, np.int32)
    random = np.zeros(1, np.uint64)
    for n in range(max(playouts, 1)):
        copy_board(trial, 0, boards, 0)
        if playouts > 0:
            trial.numbers[0, TO_PLAY] = BLACK + n % 2
            trial.numbers[0, PASSES] = 0
            playout(trial, 0, random)
        owners(trial, 0, owner)
        for row in range(len(out)):
            for column in range(len(out)):
                sums[row, column] += (owner[row, column] == BLACK) - (owner[row, column] == WHITE)
    out[:] = np.sign(sums)


@numba.njit(cache=True, nogil=True)
def _positions(
    boards: Boards,
    actions: np.ndarray,
    colours: np.ndarray,
    starts: np.ndarray,
    setups: np.ndarray,
    moves: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill out with the planes before each of `moves`, in the games that begin at `starts`."""
    for j in range(len(moves)):
        clear(boards, 0)
        for k in range(starts[j], moves[j]):
            _turn(boards, colours[k])
            _move(boards, colours[k], actions[k], k < starts[j] + setups[j])
        _turn(boards, colours[moves[j]])
        planes(boards, 0, out[j])


@numba.njit(cache=True)
def _turn(boards: Boards, colour: int) -> None:
    """Let colour move next, also after two passes."""
    boards.numbers[0, TO_PLAY] = colour
    if boards.numbers[0, PASSES] >= 2:
        boards.numbers[0, PASSES] = 0


@numba.njit(cache=True)
def _move(boards: Boards, colour: int, action: int, setup: bool) -> None:
    if setup:
        place(boards, 0, colour, action)
    else:
        play(boards, 0, action)


def _key(folder: Path, size: int, min_strength: str | None, min_moves: int, held_out: float) -> str:
    """Return a key of these files and arguments, stored with the cache."""
    paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    files = []
    for path in paths:
        if path.is_file() and path.suffix != ".safetensors":  # the cache may be in the folder too
            status = path.stat()
            files.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    asked = [_FORMAT, size, min_strength, min_moves, held_out, files]
    return hashlib.blake2b(json.dumps(asked).encode(), digest_size=16).hexdigest()


def _save(cache: Path, key: str, games: ExpertGames) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_name(f"{cache.name}.{os.getpid()}.partial")
    save_file(games.arrays, partial, {"key": key, "report": json.dumps(asdict(games.report))})
    partial.replace(cache)


def _load(cache: Path, key: str, size: int) -> ExpertGames | None:
    """Return the cached games, or None if there are none with this key."""
    try:
        with safe_open(cache, framework="numpy") as file:
            kept = file.metadata() or {}
            if kept.get("key") != key:
                return None
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    return ExpertGames(size, arrays, Report(**json.loads(kept["report"])))
