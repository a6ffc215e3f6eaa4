"""Do spoilt game records and hostile lines of the Go Text Protocol do anything but end in a sentence?

    python benchmarks/hostile_go.py --records 30_000 --lines 20_000 [--from FOLDER]

Records are taken from `--from`, a folder or an archive, and from a few of each known form that are written here. Each
is mutated and read as learning and playing read it: its games are streamed from a file, also compressed or in an
archive, loaded into a GTP session, written and played on. Lines go to `fathom gtp random`, as the process that other
programs start, in parts of 20; each part must be answered. A mutation or a line fails where something

- raises another exception than the one for broken records, or prints a traceback or an "internal error";
- takes more than `--seconds`.

It prints the count of each kind, the failures, and the longest time. `--seed` starts another series.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import faulthandler
import gzip
import io
import lzma
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from envs.go.board import Rules
from envs.go.games import GamesError, expert_games, stream
from envs.go.sgf import Game, SgfError, write_game
from fathom.play.gtp import Engine
from fathom.play.players import SearchBudget, player

CHARSETS = ["utf-8-sig", "utf-16", "utf-16-le", "cp932", "big5", "gb18030", "euc_kr", "latin-1"]
TOKENS = [
    *(b"(", b")", b"(;", b";", b"[", b"]", b"\\", b":", b"\0", b"\xff", b"\x81\x5d", b"\x1b$B"),
    *(
        b"B[",
        b"W[",
        b"B[tt]",
        b"W[zz]",
        b"B[aa][bb]",
        b"AB[aa:zz]",
        b"AB[ii:aa]",
        b"AE[aa:ss]",
        b"PL[]",
    ),
    *(b"SZ[1]", b"SZ[0]", b"SZ[99999999999999999999]", b"SZ[9:13]", b"SZ[-5]", b"GM[3]", b"FF[0]"),
    *(
        b"KM[nan]",
        b"KM[1e999]",
        b"HA[-1]",
        b"CA[utf-7]",
        b"CA[idna]",
        b"CA[rot13]",
        b"CA[\0]",
        b"CA[utf-16]",
    ),
]
LARGE = [
    *(b"KM[" + b"9" * 5_000 + b"]", b"HA[" + b"9" * 5_000 + b"]", b"RE[" + b"B+" * 3_000 + b"]"),
    *(b"(" * 20_000, b"(;" * 20_000, b")" * 5_000, b"A" * 50_000, b"C[" + b"\\" * 9_999, b"[" * 30_000),
]  # fmt: skip
FORMS = [
    "(SZ[19];B[pd];W[dd])",
    ";GM[1]SZ[9];B[ee];W[cc])",
    "(;GM[1]SZ[9]AP[foxwq]RU[Chinese]KM[375];B[ee];W[cc];B[])",
    "(;FF[1]GaMe[1]SiZe[9];Black[ee];White[cc])",
    "(;SZ[9]CA[Shift_JIS]PB[表ソ能]C[説明];B[ee];W[cc]C[十能])(;SZ[9];B[aa])",
    "(;SZ[9]AB[cc:ee]AE[dd]AW[gg]PL[white];W[aa];AB[ha]AE[cc];B[hh](;W[ii])(;W[if]))",
    "1\t;B[pd];W[dd];B[]\n2\t;B[pp];W[dp]\n",
]


def records(source: Path | None, most: int = 500) -> list[bytes]:
    """Records to mutate."""
    board = player("random")
    found = [text.encode("utf-8") for text in FORMS]
    found.append(FORMS[4].encode("cp932"))
    for seed in range(3):
        engine = Engine(board, Rules(size=9), SearchBudget(), lambda text: None)
        for line in [f"set_random_seed {seed}", *["genmove b", "genmove w"] * 60]:
            engine.handle(line)
        moves = tuple(engine.board.moves)
        found.append(
            write_game(Game(9, moves, komi=6.5, result="B+R", comments=("好",) * len(moves)))
        )
    for _, game in stream(source) if source is not None else ():
        if isinstance(game, Game):
            found.append(write_game(game))
        if len(found) >= most:
            break
    return found


def raw_records(source: Path) -> list[bytes]:
    """The small records of a folder as they are, for their charsets and faults."""
    return [
        path.read_bytes() for path in sorted(source.rglob("*.sgf")) if path.stat().st_size < 1 << 16
    ]


# -- mutations --------------------------------------------------------------------------------------


def _bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 30])):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            changed[at:at] = rng.choice(TOKENS if rng.random() < 0.98 else LARGE)
        elif kind == 2:
            del changed[at : at + rng.choice([1, 2, 20])]
        else:
            changed[at:at] = changed[rng.randrange(len(changed) + 1) :][: rng.choice([1, 5, 50])]
    return bytes(changed)


def _properties(data: bytes, rng: random.Random) -> bytes:
    """Drop, repeat or reorder properties."""
    parts = data.split(b"]")
    for _ in range(rng.choice([1, 2, 10])):
        a, b = rng.randrange(len(parts)), rng.randrange(len(parts))
        kind = rng.randrange(3)
        if kind == 0 and len(parts) > 1:
            del parts[a]
        elif kind == 1:
            parts.insert(a, parts[b])
        elif kind == 2:
            parts[a], parts[b] = parts[b], parts[a]
        a = min(a, len(parts) - 1)
    if rng.random() < 0.2:
        rng.shuffle(parts)
    return b"]".join(parts)


def _nesting(data: bytes, rng: random.Random) -> bytes:
    at, depth = (
        rng.randrange(len(data) + 1),
        rng.choice([1, 2, 5, 50] if rng.random() < 0.98 else [5_000, 60_000]),
    )
    opening = rng.choice([b"(", b"(;", b"(;B[aa]", b"(;W[ab](;B[ba])"])
    depth = min(depth, (1 << 18) // len(opening))
    return data[:at] + opening * depth + data[at:] + b")" * rng.choice([0, 1, depth])


def _truncation(data: bytes, rng: random.Random) -> bytes:
    return (
        data[: rng.randrange(len(data) + 1)]
        if rng.random() < 0.8
        else data[rng.randrange(len(data) + 1) :]
    )


def _encoding(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", "replace") + "(;C[日本語 韓國 ½é\u200d])"
    encoded = text.encode(rng.choice(CHARSETS), "replace")
    claim = b"CA[" + rng.choice(CHARSETS).encode() + b"]"
    return encoded.replace(b";", b";" + claim, 1) if rng.random() < 0.5 else encoded


def _collection(data: bytes, rng: random.Random) -> bytes:
    between = rng.choice([b"", b"\n", b"\r\n\r\n", b"junk ( ; ", b"\0"])
    return between.join([data] * rng.choice([2, 3] if rng.random() < 0.98 else [30]))[: 1 << 20]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes": _bytes,
    "properties": _properties,
    "nesting": _nesting,
    "truncation": _truncation,
    "encoding": _encoding,
    "collection": _collection,
}


def _tar(data: bytes, mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("some/game.sgf")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def _zip(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some/game.sgf", data)
    return file.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    ".sgf.gz": gzip.compress,
    ".sgf.bz2": bz2.compress,
    ".sgf.xz": lzma.compress,
    ".tar": lambda data: _tar(data, "w"),
    ".tgz": lambda data: _tar(data, "w:gz"),
    ".tar.bz2": lambda data: _tar(data, "w:bz2"),
    ".zip": _zip,
}


def mutated(data: bytes, rng: random.Random) -> tuple[str, str, bytes]:
    """A mutated record: the kind of its mutation, the ending of its file, and the file's content."""
    kind = rng.choice(list(MUTATIONS))
    for _ in range(rng.choice([1, 1, 2])):
        data = MUTATIONS[kind](data, rng)
    if rng.random() < 0.8:
        return kind, rng.choice([".sgf", ".sgf", ".sgf", ".txt"]), data
    ending = rng.choice(list(PACKINGS))
    data = PACKINGS[ending](data)
    return "compression", ending, _bytes(data, rng) if rng.random() < 0.5 else data


# -- records ----------------------------------------------------------------------------------------


class Failures:
    """What went wrong, and how long the slowest took."""

    def __init__(self, seconds: float) -> None:
        self.limit, self.longest, self.found = seconds, 0.0, 0

    def add(self, about: str, why: str) -> None:
        self.found += 1
        print(f"failed: {about}: {why}", flush=True)

    @contextlib.contextmanager
    def watching(self, about: str, times: float = 1) -> Iterator[None]:
        """Note an exception, and processor time over so many times the limit."""
        began = time.process_time()
        try:
            yield
        except Exception:
            self.add(about, traceback.format_exc())
        spent = time.process_time() - began
        self.longest = max(self.longest, spent / times)
        if spent > times * self.limit:
            self.add(about, f"{spent:.1f} s")


def try_records(found: list[bytes], count: int, seed: int, failures: Failures) -> Counter[str]:
    """Read mutated records in every way."""
    kinds: Counter[str] = Counter()
    said: list[str] = []
    rules = Rules(size=9)
    engine = Engine(player("random"), rules, SearchBudget(), said.append)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            rng = random.Random(f"{seed} {number}")
            kind, ending, data = mutated(rng.choice(found), rng)
            path = Path(folder, f"{number % 100}{ending}")
            path.write_bytes(data)
            kinds[kind] += 1
            about = f"record {number}, {kind}, {ending}"
            if number % 20 == 0:
                faulthandler.dump_traceback_later(100 * failures.limit, exit=True)
            with failures.watching(about):
                for _, game in stream(path):
                    assert game is None or isinstance(game, (Game, SgfError))
                    assert not isinstance(game, SgfError) or str(game).isprintable(), str(game)
                said.clear()
                with contextlib.redirect_stderr(io.StringIO()):
                    for line in (f"loadsgf {path}", "printsgf", "genmove b", "undo"):
                        engine.handle(line)
                text = "".join(said)
                assert "internal error" not in text, text
                assert text.isprintable() or not set(text) & set("\x1b\0\x9b"), text
            if number % 500 == 499:
                with (
                    failures.watching(f"records {number - 99} to {number}, for learning", 20),
                    contextlib.suppress(GamesError),
                ):
                    expert_games(Path(folder), 9, min_moves=1)
                for old in Path(folder).iterdir():
                    old.unlink()
    faulthandler.cancel_dump_traceback_later()
    return kinds


# -- lines ------------------------------------------------------------------------------------------


WORDS = (
    "b w black White B pass D4 e5 A1 J9 T19 I3 Z0 D44 D4,E5 resign 0 1 2 5 7 9 13 19 -1 7.5 -0 1e9 1e999 nan inf "
    "dead alive seki none byoyomi canadian absolute interval ownership true false avoid allow maxmoves minmoves "
    'rootInfo movesOwnership pvVisits maxVisits maxTime ko SIMPLE suicide {} [] {"ko":1} {"ko":[]} "a" chinese '
    "/dev/null /dev/zero /dev/stdin /proc/self/mem / . .. 99999999999999999999 ² ٣ \u2028 🤖 # = ? \\ %s \t \x7f \0"
)
"""Arguments, likely and unlikely."""


def hostile_line(commands: list[str], rng: random.Random) -> tuple[str, bytes]:
    """A kind and a line."""
    line = " ".join(
        [rng.choice(commands), *rng.choices(WORDS.split(" "), k=rng.randrange(6))]
    ).encode()
    kind = rng.choice(
        ["words", "words", "words", "moves", "number", "half", "spoilt", "binary", "huge number"]
    )
    if rng.random() < 0.002:
        return "1 MB", rng.choice([b"play b ", b"", b"loadsgf ", b"1 "]) + bytes(
            rng.choice([b"x", b"9", b" ", b"\xff", b"b D4 "]) * (1 << 20)
        )[: 1 << 20]
    if kind == "moves":
        point = f"{rng.choice('ABCDEFGHJ')}{rng.randrange(1, 10)}"
        moves = ["genmove b", "genmove w", "undo", *[f"play {rng.choice('bw')} {point}"] * 4]
        line = rng.choice(moves).encode()
    elif kind == "number":
        line = b"%d " % rng.randrange(10 ** rng.randrange(1, 60)) + line
    elif kind == "half":
        line = line[: rng.randrange(len(line) + 1)]
    elif kind == "spoilt":
        spoilt = bytearray(line)
        for _ in range(rng.randrange(1, 6)):
            spoilt.insert(rng.randrange(len(spoilt) + 1), rng.randrange(256))
        line = bytes(spoilt)
    elif kind == "binary":
        line = rng.randbytes(rng.randrange(200))
    elif kind == "huge number":
        digits = rng.choice(
            [b"9" * 4_000, b"-" + b"9" * 400, b"0" * 5_000, b"1e" + b"9" * 50, b"9" * 40_000]
        )
        line = line.split(b" ")[0] + b" " + digits + b" " + digits[:12]
    return kind, line.replace(b"\n", b" ")


class Session:
    """A process of `fathom gtp random`."""

    def __init__(self, folder: str) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-m", "fathom", "gtp", "random", "--env.size", "9"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        self.send([b"final_score"], 1, 300)  # compiles

    def send(self, lines: list[bytes], mark: int, seconds: float) -> str | None:
        """Send lines and a last command; returns what is wrong with the answers."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        hung = threading.Timer(seconds, self.process.kill)
        hung.start()
        text = b""
        try:
            stdin.write(b"".join(line + b"\n" for line in [*lines, b"%d name" % mark]))
            stdin.flush()
            while (line := stdout.readline()) != b"=%d Fathom random\n" % mark:
                if not line:
                    return f"no answer, exit code {self.process.wait()}"
                text += line
        except BrokenPipeError:
            return f"no more read, exit code {self.process.wait()}"
        finally:
            hung.cancel()
        if b"internal error" in text:
            return text[text.index(b"internal error") :][:200].decode("utf-8", "replace")
        return None

    def end(self) -> str | None:
        """Quit; returns what is wrong."""
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(b"quit\n", timeout=60)
        self.errors.seek(0)
        said = self.errors.read().decode("utf-8", "replace")
        self.errors.close()
        if "Traceback" in said or self.process.returncode:
            return f"exit code {self.process.returncode}: {said[-2000:]}"
        return None


def try_lines(count: int, seed: int, failures: Failures, each: int = 20) -> Counter[str]:
    """Send lines to processes, 1,000 to each."""
    kinds: Counter[str] = Counter()
    engine = Engine(player("random"), Rules(size=9), SearchBudget(), lambda text: None)
    commands = [name for name in engine._commands if name not in ("quit", "printsgf")]
    with tempfile.TemporaryDirectory() as folder:
        session, mark = Session(folder), 10**9
        for start in range(0, count, each):
            rng = random.Random(f"{seed} {start}")
            lines = []
            for _ in range(min(each, count - start)):
                kind, line = hostile_line(commands, rng)
                kinds[kind] += 1
                lines.append(line)
            began = time.monotonic()
            wrong = session.send(lines, mark + start, 20 * failures.limit)
            spent = time.monotonic() - began
            failures.longest = max(failures.longest, spent)
            wrong = wrong or (f"{spent:.1f} s" if spent > 20 * failures.limit else None)
            last = (start + each) % 1000 == 0 or start + each >= count
            if last or wrong:
                wrong = "; ".join(filter(None, [wrong, session.end()])) or None
            if wrong:
                failures.add(
                    f"lines {start} to {start + len(lines) - 1}",
                    f"{wrong}\n{[one[:120] for one in lines]}",
                )
            if (last or wrong) and start + each < count:
                session = Session(folder)
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=1000, help="mutated records")
    parser.add_argument("--lines", type=int, default=1000, help="hostile lines")
    parser.add_argument(
        "--from", dest="sources", type=Path, nargs="*", default=[], help="records to start from"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="the longest that a record, or a line, may take"
    )
    arguments = parser.parse_args()
    failures = Failures(arguments.seconds)
    found = records(None)
    for source in arguments.sources:
        found += raw_records(source) + records(source)
    kinds = try_records(found, arguments.records, arguments.seed, failures)
    print(
        f"{sum(kinds.values()):,} records: {', '.join(f'{n:,} {kind}' for kind, n in sorted(kinds.items()))}"
    )
    print(f"longest {failures.longest:.2f} s of processor time", flush=True)
    failures.longest = 0.0
    kinds = try_lines(arguments.lines, arguments.seed, failures)
    print(
        f"{sum(kinds.values()):,} lines: {', '.join(f'{n:,} {kind}' for kind, n in sorted(kinds.items()))}"
    )
    print(f"longest part of 20 lines {failures.longest:.2f} s")
    print(f"{failures.found} failed")
    sys.exit(1 if failures.found else 0)


if __name__ == "__main__":
    main()
