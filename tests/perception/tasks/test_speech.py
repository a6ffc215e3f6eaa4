"""Speech recognition, with tones in place of digits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from perception.data.source import DataError, DataSource
from perception.data.speech import RATE, Recording
from perception.tasks.speech import Speech, SpeechConfig, masked
from perception.tasks.speech_scores import error_rate, error_rows, pieces

SMALL = SpeechConfig(
    hidden_size=48, digits=3, batch_size=4, learning_rate=5e-3, dropout=0.0, masks=False, speed=0.05
)


def _tone(digit: int, rng: np.random.Generator, rate: int = RATE) -> np.ndarray:
    time = np.arange(int(rng.uniform(0.2, 0.3) * rate)) / rate
    hertz = 300 * 1.6**digit * rng.uniform(0.97, 1.03)
    return 0.3 * np.sin(2 * np.pi * hertz * time)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four digits by two people."""
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    for index in range(15):
        for digit in range(4):
            for speaker in ("ann", "bob"):
                path = folder / f"{digit}_{speaker}_{index}.wav"
                soundfile.write(path, _tone(digit, rng), RATE)
    return folder


def test_ctc_learns_to_transcribe_strings(
    tones: Path, fit: Callable[..., Speech], tmp_path: Path
) -> None:
    config = SpeechConfig(**{**vars(SMALL), "epochs": 7})
    data = Speech.load_data(config, DataSource(str(tones)))
    assert data.metadata["characters"] == list("0123")
    assert "".join(row.text for row in data.test.rows).count("2") == 10  # type: ignore[attr-defined]
    task = fit(Speech, config, data, 7)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert list(metrics) == ["digit error rate", "all right"]
    rate = metrics["digit error rate"]
    assert rate.mean < 0.2
    assert rate.values[:, 1].sum() == 40
    head, beam, _, baseline = rate.table
    assert head == ["decoded by", "digit error rate", "all right"]
    assert beam[1] == pytest.approx(rate.mean, abs=1e-4)
    assert baseline[1] < 0.2
    rng = np.random.default_rng(1)
    pause = np.zeros(9600)
    sound = np.concatenate([pause, _tone(3, rng, 48_000), pause, _tone(1, rng, 48_000)])
    soundfile.write(tmp_path / "my.flac", np.column_stack([sound, 0.5 * sound]), 48_000)
    (answer,) = task.predict([str(tmp_path / "my.flac")])
    assert answer["text"] == "31"
    assert 0 < answer["probability"] <= 1
    assert answer["seconds"] == pytest.approx(len(sound) / 48_000, abs=0.01)


def test_a_decoder_with_attention_learns_too(tones: Path, fit: Callable[..., Speech]) -> None:
    """Single tones: strings take it thousands of updates."""
    config = SpeechConfig(**{**vars(SMALL), "network": "attention", "digits": 1, "epochs": 4})
    data = Speech.load_data(config, DataSource(str(tones)))
    task = fit(Speech, config, data, 4)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert metrics["digit error rate"].mean < 0.2
    names = [row[0] for row in metrics["digit error rate"].table[1:]]
    assert names[0] == "attention"
    assert len(names) == 4, "by attention, beam search, greedily, and the baseline"
    assert "alignment" in task.pictures(task.batches(data.test, training=False))


def test_a_held_out_speaker_is_scored_apart(tones: Path, fit: Callable[..., Speech]) -> None:
    config = SpeechConfig(**{**vars(SMALL), "held_out": "bob", "epochs": 1})
    data = Speech.load_data(config, DataSource(str(tones)))
    assert len(data.train) == 40  # type: ignore[arg-type]
    task = fit(Speech, config, data, 1)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert list(metrics) == ["digit error rate", "digit error rate of bob", "all right"]
    sizes = [metric.values[:, 1].sum() for metric in list(metrics.values())[:2]]
    assert sizes == [20, 60]
    head, *rows = metrics["digit error rate"].table
    assert head[2] == "digit error rate of bob"
    assert all(len(row) == len(head) for row in rows)


def test_an_epoch_uses_every_recording_once_in_new_strings(tones: Path) -> None:
    data = Speech.load_data(SMALL, DataSource(str(tones)))
    task = Speech(SMALL, data.metadata)
    epochs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        batches = list(task.batches(data.train, training=True))
        assert sum(task.batch_size_of(batch) for batch in batches) == 80
        texts = [row.text for batch in batches for row in batch.rows]
        assert sorted("".join(texts)) == sorted("0123" * 20)
        assert {len(text) for text in texts} == {1, 2, 3}
        epochs.append(texts)
    assert epochs[0] == epochs[1] != epochs[2]


def test_ones_own_recordings_are_not_joined(tmp_path: Path, fit: Callable[..., Speech]) -> None:
    rng = np.random.default_rng(0)
    for number in range(10):
        soundfile.write(tmp_path / f"{number}.wav", _tone(number % 2, rng), RATE)
    lines = ["file,text", *(f"{number}.wav,{'ab ba'[number % 2 :]}" for number in range(10))]
    (tmp_path / "transcripts.csv").write_text("\n".join(lines))
    data = Speech.load_data(SMALL, DataSource(str(tmp_path)))
    assert data.metadata["characters"] == [" ", "a", "b"]
    assert data.metadata["baseline"] is None
    task = fit(Speech, SMALL, data, 1)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert list(metrics) == ["character error rate", "all right"]
    texts = [row.text for one in task.batches(data.train, training=True) for row in one.rows]
    assert len(texts) == 8
    assert set(texts) == {"ab ba", "b ba"}
    (tmp_path / "transcripts.csv").write_text("\n".join([*lines, f"0.wav,{'x' * 40}"]))
    with pytest.raises(DataError, match="too short for its text, 'xxx"):
        Speech.load_data(SMALL, DataSource(str(tmp_path)))


def test_errors_are_counted_per_text_and_their_rate_is_a_ratio() -> None:
    rows = error_rows(["123", "55", "7"], ["123", "5", "89"])
    assert rows.tolist() == [[0, 3], [1, 2], [2, 1]]
    assert error_rate(rows) == pytest.approx(3 / 6)
    assert error_rows(["12"], [""]).tolist() == [[2, 2]]


def test_pieces_are_what_is_between_pauses() -> None:
    rng = np.random.default_rng(0)
    parts = [_tone(2, rng), np.zeros(2400), _tone(1, rng), np.zeros(2400)]
    sound = np.concatenate(parts) + 0.001 * rng.standard_normal(sum(map(len, parts)))
    found = pieces(Recording((20_000 * sound).astype(np.int16), "21", ""))
    assert len(found) == 2
    lengths = [piece.shape[1] / 100 for piece in found]
    assert lengths == pytest.approx([len(parts[0]) / RATE, len(parts[2]) / RATE], abs=0.03)


def test_masks_take_few_bands_and_frames_and_nothing_else() -> None:
    torch.manual_seed(0)
    whole = torch.ones(50, 40, 60)
    part = masked(whole)
    assert set(part.unique().tolist()) == {0.0, 1.0}
    bands, frames = (part.sum(dim=dimension) == 0 for dimension in (2, 1))
    assert bands.sum(dim=1).max() == 8
    assert frames.sum(dim=1).max() == 8
    assert torch.equal(part == 0, bands.unsqueeze(2) | frames.unsqueeze(1))
    assert (whole == 1).all()


def test_one_digit_alone_and_a_search_without_end_are_refused(tmp_path: Path) -> None:
    for index in range(6):
        tone = _tone(0, np.random.default_rng(0))
        soundfile.write(tmp_path / f"7_ann_{index}.wav", tone, RATE)
    with pytest.raises(DataError, match="are of one digit"):
        Speech.load_data(SMALL, DataSource(str(tmp_path)))
    metadata = {"characters": [chr(n) for n in range(5_000)], "recordings": 1, "joins": False}
    with pytest.raises(ValueError, match="a beam of 1,000 prefixes with 5,001 symbols"):
        Speech(SpeechConfig(beam_width=1_000), metadata)
