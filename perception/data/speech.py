"""Recordings of speech with transcripts: spoken digits, or one's own.

Spoken digits are the Free Spoken Digit Dataset (Jackson et al. 2016): six people say each digit fifty times. 300 of its
3,000 recordings, of two people, ship as `spoken-digits`; all are a folder with `recordings.tar` or the WAV files
`DIGIT_SPEAKER_INDEX.wav`. Recordings 0 to 4 of a digit and speaker are the test. They are joined to strings of digits
with pauses between them.

One's own are a folder with sound files and `transcripts.csv`, with the columns `file` and `text`, and perhaps `speaker`.
A fifth of them is the test. Sound files are what libsndfile reads, such as WAV, FLAC and OGG, of any sample rate; the
mean of their channels is taken.
"""

from __future__ import annotations

import io
import math
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perception.data.source import DataError, DataSource, Location
from perception.data.tables import file_in, read_table

RATE = 8000
"""Samples a second, of what ships and of what networks read."""
LONGEST = 60
"""Seconds of a recording, at most."""

_SHIPPED = {"spoken-digits": "Fathom"}
_LICENCE = "CC BY-SA 4.0 (Jackson et al. 2016)"
_ELSEWHERE = (
    "it is the folder recordings of https://github.com/Jakobovski/free-spoken-digit-dataset"
    " (CC BY-SA 4.0), and 300 of its recordings ship as spoken-digits"
)
_DIGIT = re.compile(r"(\d)_(\w+)_(\d{1,6})\.wav")
_TEST_INDICES = 5
_MOST_BYTES = 100_000_000
"""Of a sound file."""
_MOST_DIGIT_BYTES = 1_000_000
_MOST_FILES = 100_000
_MOST_HOURS = 10
_MOST_TEXT = 500
_BLOCK = 1 << 18
"""Samples of a channel that are read at once."""
_SILENCE = 1e-3
"""Largest amplitude, of 1, of what counts as silent."""


class Recording(NamedTuple):
    """Somebody says something."""

    samples: np.ndarray
    """(n,) int16 at `RATE`."""
    text: str
    speaker: str


@dataclass
class Speech:
    """Recordings to learn from and to test with."""

    train: list[Recording]
    test: list[Recording]
    joins: bool
    """Whether the recordings are words of their own, which make sense in any order: then they may be joined."""
    origin: dict[str, Any]


def load_speech(source: DataSource, held_out: str = "", split_seed: int = 0) -> Speech:
    """Find and read recordings.

    Args:
        held_out: a speaker whose recordings are all test, and the last ones of it.
        split_seed: decides which fifth of one's own recordings is the test.

    Raises:
        DataError: there are none, or they cannot be used.
    """
    try:
        location = source.locate(_SHIPPED)
    except DataError as error:
        if source.reference == "free-spoken-digits":
            raise DataError(f"{error}; {_ELSEWHERE}") from None
        raise
    own = location.kind == "path" and (location.path / "transcripts.csv").is_file()
    if own:
        rows = _own(location.path)
        train, test = _split(rows, split_seed, source.reference)
    else:
        train, test = _digits(location)
    speakers = sorted({row.speaker for row in train})
    if held_out:
        if held_out not in speakers or len(speakers) < 2:
            known = ", ".join(speakers) if len(speakers) > 1 else "no two speakers"
            raise DataError(f"no speaker {held_out!r} can be held out: there are {known}")
        every = [row for row in [*train, *test] if row.speaker == held_out]
        train, test = ([row for row in part if row.speaker != held_out] for part in (train, test))
        if not test:
            raise DataError(
                f"without {held_out} {source.reference} has no recordings to test with: all others are to"
                " learn from"
            )
        test += every
    licence = "not stated" if own else _LICENCE
    origin = {"name": source.reference, "found": location.found, "licence": licence}
    return Speech(train, test, not own, {**origin, "train": len(train), "test": len(test)})


# -- spoken digits ---------------------------------------------------------------------------------------


def _digits(location: Location) -> tuple[list[Recording], list[Recording]]:
    """Training and test recordings of single digits."""
    path = location.path
    if location.kind == "shipped":
        files = _shipped(Path(__file__).with_name("free-spoken-digits"))
    elif (path / "recordings.tar").is_file():
        files = _tar(path / "recordings.tar")
    else:
        files = _folder(path / "recordings" if (path / "recordings").is_dir() else path)
    parts: tuple[list[Recording], list[Recording]] = ([], [])
    seconds = 0.0
    for digit, speaker, index, samples in files:
        seconds += len(samples) / RATE
        _check_hours(seconds, location.found)
        parts[index < _TEST_INDICES].append(Recording(samples, digit, speaker))
    for part, what in zip(parts, ("learn from", "test with"), strict=True):
        if not part:
            raise DataError(f"{location.found} has no recordings to {what}")
    return parts


_Digit = tuple[str, str, int, np.ndarray]
"""Digit, speaker, index, samples."""


def _shipped(folder: Path) -> Iterator[_Digit]:
    """One sound file of all recordings, and a table that has the length of each."""
    samples, at = read_audio(folder / "recordings.flac", longest=600), 0
    for _, (digit, speaker, index, length) in read_table(folder / "recordings.csv")[1:]:
        yield digit, speaker, int(index), samples[at : at + int(length)]
        at += int(length)


def _tar(path: Path) -> Iterator[_Digit]:
    try:
        with tarfile.open(path, "r:") as archive:
            for number, member in enumerate(archive):
                match = _DIGIT.fullmatch(Path(member.name).name)
                if match is None or not member.isfile():
                    continue
                name = f"{path}, {member.name}"
                _check_digit(name, number, member.size)
                data: Any = archive.extractfile(member)
                yield match[1], match[2], int(match[3]), decode_audio(data.read(), name)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _folder(folder: Path) -> Iterator[_Digit]:
    files = sorted(folder.glob("?_*_*.wav")) if folder.is_dir() else []
    if not files:
        raise DataError(
            f"{folder} holds no recordings in a known form: neither transcripts.csv with sound files,"
            " nor recordings.tar, nor files such as 7_jackson_32.wav"
        )
    for number, path in enumerate(files):
        if match := _DIGIT.fullmatch(path.name):
            _check_digit(str(path), number, path.stat().st_size)
            yield match[1], match[2], int(match[3]), read_audio(path)


def _check_digit(name: str, number: int, size: int) -> None:
    if size > _MOST_DIGIT_BYTES:
        raise DataError(f"{name} has {size:,} bytes, too many for a spoken digit")
    if number >= _MOST_FILES:
        raise DataError(f"{name}: more than {_MOST_FILES:,} recordings")


# -- one's own -------------------------------------------------------------------------------------------


def _own(folder: Path) -> list[Recording]:
    """The recordings that `transcripts.csv` names."""
    table = folder / "transcripts.csv"
    (line, head), *lines = read_table(table)
    head = [name.strip().lower() for name in head]
    for name in ("file", "text"):
        if name not in head:
            raise DataError(f"{table}, line {line}: there must be columns named file and text")
    result, seconds = [], 0.0
    for line, cells in lines:
        where = f"{table}, line {line}"
        if len(cells) != len(head):
            raise DataError(f"{where}: {len(cells)} cells for {len(head)} columns")
        row = dict(zip(head, (cell.strip() for cell in cells), strict=True))
        text = " ".join(row["text"].lower().split())
        if not 0 < len(text) <= _MOST_TEXT:
            raise DataError(f"{where}: a text has 1 to {_MOST_TEXT} characters, not {len(text)}")
        path = file_in(folder, row["file"], where)
        try:
            samples = read_audio(path)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        seconds += len(samples) / RATE
        _check_hours(seconds, where)
        result.append(Recording(samples, text, row.get("speaker", "")))
    return result


def _split(
    rows: list[Recording], seed: int, reference: str
) -> tuple[list[Recording], list[Recording]]:
    if len(rows) < 5:
        raise DataError(f"{reference} has {len(rows)} recordings; at least 5 are needed")
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    test = set(order[: len(rows) // 5])
    train = [row for number, row in enumerate(rows) if number not in test]
    return train, [rows[number] for number in sorted(test)]


def _check_hours(seconds: float, where: str) -> None:
    if seconds > 3600 * _MOST_HOURS:
        raise DataError(f"{where}: more than {_MOST_HOURS} hours of recordings")


# -- sound files -----------------------------------------------------------------------------------------


def read_audio(path: Path, longest: float = LONGEST) -> np.ndarray:
    """The samples (n,) int16 of a sound file, at `RATE`.

    Args:
        longest: seconds.

    Raises:
        DataError: it cannot be read, is no sound file, or is empty, silent or too long.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise DataError(f"{path} is not a file")
        if size > _MOST_BYTES:
            raise DataError(f"{path} has more than {_MOST_BYTES:,} bytes")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}") from error
    return decode_audio(data, str(path), longest)


def decode_audio(data: bytes, name: str, longest: float = LONGEST) -> np.ndarray:
    """The samples (n,) int16 of the bytes of a sound file, at `RATE`.

    Raises:
        DataError: they are no sound file, or it is empty, silent or too long; the sentence begins with `name`.
    """
    import soundfile

    if not data:
        raise DataError(f"{name} is empty")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            if not 1000 <= rate <= 384_000 or not 1 <= channels <= 16:
                raise DataError(f"{name} has {channels} channels of {rate:,} samples a second")
            if frames > longest * rate:
                seconds = frames / rate
                raise DataError(f"{name} has {seconds:.0f} seconds; {longest} are read at most")
            blocks = file.blocks(_BLOCK, dtype="float32", always_2d=True)
            samples = np.concatenate(
                [np.zeros(0, np.float32), *(one.mean(axis=1) for one in blocks)]
            )
    except (soundfile.SoundFileError, TypeError) as error:
        raise DataError(
            f"{name} is not a sound file, such as WAV, FLAC or OGG, or is broken"
        ) from error
    if not len(samples):
        raise DataError(f"{name} has no sound in it")
    if not np.isfinite(samples).all():
        raise DataError(f"{name} has samples that are no numbers")
    samples = samples.clip(-1, 1)
    if np.abs(samples).max() < _SILENCE:
        raise DataError(f"{name} is silent")
    if rate != RATE:
        from scipy.signal import resample_poly

        common = math.gcd(rate, RATE)
        samples = resample_poly(samples, RATE // common, rate // common)
    return (samples * 32768).round().clip(-32768, 32767).astype(np.int16)


# -- strings ---------------------------------------------------------------------------------------------


def at_speed(recording: Recording, speed: float) -> Recording:
    """A recording that is played faster, and thus higher, or slower and lower (Ko et al. 2015)."""
    count = max(1, round(len(recording.samples) / speed))
    at = np.linspace(0, len(recording.samples) - 1, count)
    samples = np.interp(at, np.arange(len(recording.samples)), recording.samples)
    return recording._replace(samples=samples.astype(np.int16))


def join(recordings: Sequence[Recording], rng: np.random.Generator) -> Recording:
    """Recordings of one speaker one after the other, with pauses of up to 0.4 s, in faint noise.

    All get the same loudness; the noise is 30 to 60 dB below it.
    """
    loudness = 2000.0
    pieces = []
    for recording in recordings:
        samples = recording.samples.astype(np.float32)
        power = float(np.sqrt(np.square(samples).mean()))
        pieces += [np.zeros(rng.integers(0, int(0.4 * RATE))), samples * (loudness / max(power, 1))]
    pieces.append(np.zeros(rng.integers(0, int(0.4 * RATE))))
    samples = np.concatenate(pieces)
    samples += loudness * 10 ** rng.uniform(-3, -1.5) * rng.standard_normal(len(samples))
    text = "".join(recording.text for recording in recordings)
    return Recording(samples.clip(-32767, 32767).astype(np.int16), text, recordings[0].speaker)


def strings(
    recordings: Sequence[Recording], longest: int, rng: np.random.Generator
) -> list[Recording]:
    """Strings of 1 to `longest` recordings of one speaker each; every recording is in one of them."""
    by_speaker: dict[str, list[Recording]] = {}
    for recording in recordings:
        by_speaker.setdefault(recording.speaker, []).append(recording)
    result = []
    for _, rows in sorted(by_speaker.items()):
        order, at = rng.permutation(len(rows)), 0
        while at < len(rows):
            count = int(rng.integers(1, longest + 1))
            result.append(join([rows[number] for number in order[at : at + count]], rng))
            at += count
    return result
