"""Reading recordings, and joining them to strings."""

import io
import os
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from perception.data import speech
from perception.data.source import DataError, DataSource
from perception.data.speech import (
    RATE,
    Recording,
    at_speed,
    join,
    load_speech,
    read_audio,
    strings,
)

ALL = Path(os.environ.get("FATHOM_DATA", "nowhere")) / "free-spoken-digits"


def _tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(
        np.float32
    )


def _wav(samples: np.ndarray, rate: int = RATE, form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype="PCM_16")
    return file.getvalue()


def test_what_ships_is_found_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FATHOM_DATA", raising=False)
    data = load_speech(DataSource("spoken-digits"))
    assert (len(data.train), len(data.test), data.joins) == (200, 100, True)
    assert {row.speaker for row in data.test} == {"nicolas", "theo"}
    assert sorted({row.text for row in data.train}) == list("0123456789")
    assert data.origin["licence"].startswith("CC BY-SA 4.0")
    notice = Path(speech.__file__).with_name("free-spoken-digits") / "NOTICE"
    assert "CC BY-SA 4.0" in notice.read_text()
    with pytest.raises(DataError, match=r"github\.com/Jakobovski/free-spoken-digit-dataset"):
        load_speech(DataSource("free-spoken-digits"))


@pytest.mark.skipif(not ALL.is_dir(), reason="the spoken digits are not in FATHOM_DATA")
def test_the_recordings_that_ship_are_those_of_the_whole_set() -> None:
    whole, part = load_speech(DataSource(str(ALL))), load_speech(DataSource("spoken-digits"))
    assert (len(whole.train), len(whole.test)) == (2700, 300)
    known = {(row.text, row.speaker, row.samples.tobytes()) for row in whole.train}
    assert {(row.text, row.speaker, row.samples.tobytes()) for row in part.train} <= known


def test_a_held_out_speaker_is_all_test_and_last() -> None:
    data = load_speech(DataSource("spoken-digits"), held_out="theo")
    assert {row.speaker for row in data.train} == {"nicolas"}
    assert [row.speaker for row in data.test] == ["nicolas"] * 50 + ["theo"] * 150
    with pytest.raises(DataError, match="'bob' can be held out: there are nicolas, theo"):
        load_speech(DataSource("spoken-digits"), held_out="bob")


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 11025])
def test_sound_of_any_rate_and_any_number_of_channels_is_brought_to_one(
    rate: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    for form in ("WAV", "FLAC"):
        stereo = np.column_stack([_tone(rate=rate), 0.5 * _tone(rate=rate)])
        path.write_bytes(_wav(stereo, rate, form))
        samples = read_audio(path)
        assert samples.dtype == np.int16
        assert len(samples) == pytest.approx(RATE / 2, abs=2)
        inner = slice(200, -200)
        wanted = 32768 * 0.75 * _tone()[: len(samples)]
        assert np.abs(samples[inner] - wanted[: len(samples)][inner]).max() < 500


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"RIFF but no sound" * 10, "is not a sound file"),
        (b"\x89PNG\r\n" + bytes(500), "is not a sound file"),
        (_wav(_tone())[:30], "is not a sound file|has no sound"),
        (_wav(np.zeros(0, np.float32)), "has no sound in it"),
        (_wav(np.zeros(4000, np.float32)), "is silent"),
        (_wav(np.zeros(61 * RATE, np.float32)), "has 61 seconds; 60 are read at most"),
        (_wav(_tone(), 500), "1 channels of 500 samples a second"),
    ],
)
def test_what_cannot_be_heard_gets_one_sentence(
    content: bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=expected) as error:
        read_audio(path)
    assert str(error.value).startswith(f"{path} ")
    assert "\n" not in str(error.value)


def test_samples_that_are_no_numbers_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = _tone()
    samples[7] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    with pytest.raises(DataError, match="no numbers"):
        read_audio(path)
    with pytest.raises(DataError, match="is not a file"):
        read_audio(tmp_path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_audio(tmp_path / "b.wav")
    with pytest.raises(DataError, match="cannot be read"):
        read_audio(Path("a\0b"))


def _own(folder: Path, lines: list[str]) -> DataSource:
    for number in range(5):
        (folder / f"{number}.wav").write_bytes(_wav(_tone(0.2 + 0.1 * number)))
    (folder / "transcripts.csv").write_text("\n".join(lines) + "\n")
    return DataSource(str(folder))


def test_ones_own_recordings_have_transcripts_and_a_fifth_is_the_test(tmp_path: Path) -> None:
    lines = [f'{number}.wav,"Hello,  World {number}",{"ab"[number % 2]}' for number in range(5)]
    source = _own(tmp_path, ["file,text,speaker", *lines])
    data = load_speech(source)
    assert (len(data.train), len(data.test), data.joins) == (4, 1, False)
    assert {row.text for row in data.train + data.test} == {f"hello, world {n}" for n in range(5)}
    assert load_speech(source).test[0].text == data.test[0].text
    held_out = load_speech(source, held_out="b")
    assert {row.speaker for row in held_out.train} == {"a"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["name,text", "0.wav,a"], "line 1: there must be columns named file and text"),
        (["file,text", "0.wav,a,b"], "line 2: 3 cells for 2 columns"),
        (["file,text", "0.wav,a", "9.wav,b"], "line 3: there is no file '9.wav'"),
        (["file,text", "../0.wav,a"], "line 2: '../0.wav' is outside the folder"),
        (["file,text", "/etc/passwd,a"], "line 2: '/etc/passwd' is outside the folder"),
        (["file,text", "0.wav, "], "line 2: a text has 1 to 500 characters, not 0"),
        (["file,text", f"0.wav,{'a' * 501}"], "line 2: a text has 1 to 500 characters, not 501"),
        (["file,text", "transcripts.csv,a"], "line 2: .* is not a sound file"),
        (["file,text", "0.wav,a"], "1 recordings; at least 5"),
    ],
)
def test_broken_transcripts_are_refused_by_line(
    lines: list[str], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=expected):
        load_speech(_own(tmp_path, lines))


def test_an_archive_gives_only_its_recordings_and_none_that_is_too_large(tmp_path: Path) -> None:
    def write(name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))

    path = tmp_path / "recordings.tar"
    with tarfile.open(path, "w") as archive:
        write("recordings/7_ann_0.wav", _wav(_tone()))
        write("../8_ann_9.wav", _wav(_tone()))
        write("readme.md", b"x")
        link = tarfile.TarInfo("5_ann_1.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    data = load_speech(DataSource(str(tmp_path)))
    assert [row.text for row in data.test] == ["7"]
    assert [row.text for row in data.train] == ["8"]
    with tarfile.open(path, "w") as archive:
        write("7_ann_0.wav", bytes(1_000_001))
    with pytest.raises(DataError, match="1,000,001 bytes, too many for a spoken digit"):
        load_speech(DataSource(str(tmp_path)))
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(DataError, match=r"recordings.tar cannot be read"):
        load_speech(DataSource(str(tmp_path)))
    path.unlink()
    with pytest.raises(DataError, match="no recordings in a known form"):
        load_speech(DataSource(str(tmp_path)))
    for name in ("7_ann_0.wav", "8_ann_9.wav"):
        (tmp_path / name).write_bytes(_wav(_tone()))
    assert [row.text for row in load_speech(DataSource(str(tmp_path))).train] == ["8"]


def test_strings_use_every_recording_once_and_join_those_of_one_speaker() -> None:
    rng = np.random.default_rng(0)
    rows = [
        Recording((9000 * _tone(0.2)).astype(np.int16), str(number), "ab"[number % 2])
        for number in range(10)
    ]
    result = strings(rows, 3, rng)
    assert sorted("".join(row.text for row in result)) == list("0123456789")
    for row in result:
        assert 1 <= len(row.text) <= 3
        assert {int(digit) % 2 for digit in row.text} == {"ab".index(row.speaker)}
        least = 0.2 * len(row.text)
        assert least <= len(row.samples) / RATE <= least + 0.4 * (len(row.text) + 1)
    again = strings(rows, 3, np.random.default_rng(0))
    assert all((a.samples == b.samples).all() for a, b in zip(result, again, strict=True))
    quiet = join([rows[0]._replace(samples=rows[0].samples // 100)], np.random.default_rng(1))
    loud = join([rows[0]], np.random.default_rng(1))
    ratio = np.abs(loud.samples).max() / np.abs(quiet.samples).max()
    assert ratio == pytest.approx(1, abs=0.1), "all have the same loudness"


def test_a_recording_at_another_speed_is_shorter_and_higher() -> None:
    row = Recording((9000 * _tone(1.0, hertz=400)).astype(np.int16), "1", "a")
    fast = at_speed(row, 1.25)
    assert len(fast.samples) == pytest.approx(RATE / 1.25, abs=1)
    peak = np.abs(np.fft.rfft(fast.samples)).argmax() / len(fast.samples) * RATE
    assert peak == pytest.approx(500, abs=3)
    assert (at_speed(row, 1.0).samples == row.samples).all()


def test_loud_samples_are_cut_and_many_channels_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, _tone(rate=16_000) * 1e38, 16_000, subtype="FLOAT")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.abs(read_audio(path)).max() == 32_767
    sound = _tone(40)  # longer than a part
    soundfile.write(path, np.stack([sound, sound, -sound, sound], axis=1), RATE, subtype="FLOAT")
    assert np.array_equal(read_audio(path), (sound / 2 * 32768).round().astype(np.int16))


def test_somebody_without_whom_there_is_no_test_is_not_held_out(tmp_path: Path) -> None:
    for name in ("7_ann_0.wav", "8_ann_9.wav", "7_bob_9.wav"):
        (tmp_path / name).write_bytes(_wav(_tone()))
    with pytest.raises(DataError, match=r"without ann .* has no recordings to test with"):
        load_speech(DataSource(str(tmp_path)), held_out="ann")
