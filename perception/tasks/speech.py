"""Speech recognition: strings of spoken digits, or one's own recordings, to characters.

Nobody says where in a recording a character is. With `--network ctc` the network gives each 40 ms a distribution over
the characters and a blank, and the loss sums over all alignments (Graves et al. 2006; see `perception.networks.ctc`);
texts are found by prefix beam search. With `--network attention` a decoder writes a character at a time and looks at the
recording (Chan et al. 2016); CTC, as a second loss, teaches its encoder the order (Kim et al. 2017). Training recordings of single digits are joined anew to strings in every epoch, are made
faster or slower, and lose some bands and moments (Park et al. 2019). The score is the digit error rate: characters
deleted, inserted and substituted per true character, by jiwer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from perception.data.datasets import Rows, rows_of
from perception.data.speech import RATE, Recording, at_speed, load_speech, read_audio, strings
from perception.networks.ctc import BLANK, align, greedy, log_likelihood, prefix_beam_search
from perception.networks.speech import AttentionDecoder, LogMel, SpeechEncoder
from perception.tasks.speech_scores import (
    alignment_picture,
    error_rate,
    error_rows,
    split_at_pauses,
)
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDS = 40
"""Of the mel scale."""
_MOST_PREFIXES = 100_000
"""That the beam search may look at in a frame."""


@dataclass(frozen=True, config=STRICT)
class SpeechConfig:
    """Network, data and training."""

    network: Literal["ctc", "attention"] = "ctc"
    """What makes a text of the encoder's states."""
    hidden_size: Annotated[int, Field(ge=1, le=4096)] = 128
    """Filters of a convolution, and units of a GRU in each direction."""
    layers: Annotated[int, Field(ge=1, le=10)] = 1
    """Layers of the encoder's GRU."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout probability."""
    beam_width: Annotated[int, Field(ge=1, le=1000)] = 8
    """Prefixes that the beam search keeps (ctc)."""
    digits: Annotated[int, Field(ge=1, le=20)] = 5
    """Digits of a string, at most."""
    held_out: str = ""
    """A speaker not to learn from, and to test with."""
    speed: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Training recordings are made faster or slower by up to this share."""
    masks: bool = True
    """Whether training recordings lose bands and moments (SpecAugment)."""
    epochs: Epochs = 40
    """Passes over the training recordings."""
    learning_rate: PositiveFloat = 3e-3
    """Learning rate of Adam at the start; it falls linearly to 0."""
    batch_size: PositiveInt = 8
    """Strings per update."""
    split_seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Decides which test recordings are joined, and which of one's own are the test."""


class Batch(NamedTuple):
    """Recordings, padded."""

    samples: Tensor
    """(n, longest) int16."""
    lengths: Tensor
    """(n,)."""
    labels: Tensor
    """(n, most) int64: numbers of characters from 1, padded with 0."""
    sizes: Tensor
    """(n,) characters of each."""
    rows: list[Recording]
    recordings: int
    """Recordings that these were joined from."""


class Speech(Task):
    """Texts of recordings; a batch is a `Batch`."""

    Config = SpeechConfig
    default_data = "spoken-digits"

    def __init__(self, config: SpeechConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.characters: list[str] = metadata["characters"]
        self.numbers = {character: number for number, character in enumerate(self.characters, 1)}
        symbols, states = 1 + len(self.characters), 2 * config.hidden_size
        if config.beam_width * symbols > _MOST_PREFIXES:
            raise ValueError(
                f"a beam of {config.beam_width:,} prefixes with {symbols:,} symbols takes too long: the product"
                f" may be {_MOST_PREFIXES:,}"
            )
        self.features = LogMel(RATE, BANDS)
        self.encoder = SpeechEncoder(BANDS, config.hidden_size, config.layers, config.dropout)
        self.ctc = nn.Linear(states, symbols)
        self.decoder = (
            AttentionDecoder(symbols, states, config.hidden_size)
            if config.network == "attention"
            else None
        )
        self.optimizers = {"main": torch.optim.Adam(self.parameters(), config.learning_rate)}
        self.total = config.epochs * metadata["recordings"]
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @classmethod
    def load_data(cls, config: SpeechConfig, source: DataSource) -> TaskData:
        speech = load_speech(source, config.held_out, config.split_seed)
        for row in speech.train:
            states = (len(row.samples) // (RATE // 25)) + 1
            if states < len(row.text) + sum(map(str.__eq__, row.text, row.text[1:])):
                raise DataError(
                    f"a recording of {len(row.samples) / RATE:.2f} s is too short for its text, {row.text!r}"
                )
        test = speech.test
        if speech.joins:
            if len({row.text for row in speech.train}) < 2:
                raise DataError(
                    f"all recordings of {source.reference} to learn from are of one digit"
                )
            rng = np.random.default_rng(config.split_seed)
            unseen = [row for row in test if row.speaker == config.held_out]
            seen = [row for row in test if row.speaker != config.held_out]
            test = [one for part in (seen, unseen) for one in strings(part, config.digits, rng)]
        metadata = {
            "characters": sorted({letter for row in speech.train for letter in row.text}),
            "recordings": len(speech.train),
            "joins": speech.joins,
            "baseline": split_at_pauses(speech.train, test) if speech.joins else None,
        }
        return TaskData(Rows(speech.train), Rows(test), metadata, speech.origin)

    @staticmethod
    def batch_size_of(batch: Batch) -> int:
        return batch.recordings

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterator[Batch]:
        """Batches of strings; for training each recording is in one of them, at another speed."""
        rows: list[Recording] = rows_of(dataset)
        counts = [1] * len(rows)
        if training:
            rng = np.random.default_rng(int(torch.randint(1 << 31, ())))
            speeds = rng.uniform(1 - self.config.speed, 1 + self.config.speed, len(rows))
            rows = [at_speed(row, speed) for row, speed in zip(rows, speeds, strict=True)]
            if self.metadata["joins"]:
                rows = strings(rows, self.config.digits, rng)
                counts = [len(row.text) for row in rows]
            order = rng.permutation(len(rows)).tolist()
            rows, counts = [rows[at] for at in order], [counts[at] for at in order]
        size = self.config.batch_size
        for at in range(0, len(rows), size):
            yield self.batch(rows[at : at + size], sum(counts[at : at + size]))

    def batch(self, rows: Sequence[Recording], recordings: int) -> Batch:
        """A batch on the task's device; characters that were not learnt are left out."""
        texts = [[self.numbers[one] for one in row.text if one in self.numbers] for row in rows]
        sounds = [torch.from_numpy(row.samples) for row in rows]
        labels = [torch.tensor(text, dtype=torch.int64) for text in texts]
        samples, padded = (
            nn.utils.rnn.pad_sequence(part, batch_first=True).to(self.device)
            for part in (sounds, labels)
        )
        lengths, sizes = (
            torch.tensor([len(one) for one in part], device=self.device)
            for part in (sounds, labels)
        )
        return Batch(samples, lengths, padded, sizes, list(rows), recordings)

    def states(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """States (n, m, 2 · hidden) of the encoder, and their numbers (n,)."""
        spectrograms, frames = self.features(batch.samples, batch.lengths)
        if self.training and self.config.masks:
            spectrograms = masked(spectrograms)
        return self.encoder(spectrograms, frames)

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        optimizer = self.optimizers["main"]
        left = 1 - int(self.seen) / self.total
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * max(0.0, left)
        self.seen += batch.recordings
        states, lengths = self.states(batch)
        # PyTorch's is the same as -log_likelihood, and faster.
        log_probs = self.ctc(states).log_softmax(dim=2).transpose(0, 1)
        losses = F.ctc_loss(
            *(log_probs, batch.labels, lengths, batch.sizes),
            blank=BLANK,
            reduction="none",
            zero_infinity=True,  # texts that do not fit into the frames
        )
        parts = {"ctc_loss": losses.sum() / batch.sizes.sum().clamp(min=1)}
        if self.decoder is not None:
            parts["attention_loss"] = self.decoder.loss(states, lengths, batch.labels, batch.sizes)
        optimizer.zero_grad()
        sum(parts.values(), start=torch.zeros(())).backward()
        nn.utils.clip_grad_norm_(self.parameters(), 5.0)
        optimizer.step()
        return {name: loss.detach() for name, loss in parts.items()}

    @torch.no_grad()
    def transcribe(self, batch: Batch) -> list[dict[str, Any]]:
        """For each recording its text and probability, "weights" over the states, and texts "decoded" in other ways.

        The weights are probabilities of the blank and the characters (ctc; "path" is the alignment), or where the
        decoder looked for each character of the text (attention); (k, m).
        """
        states, lengths = self.states(batch)
        scores = self.ctc(states).log_softmax(dim=2).cpu()
        results: list[dict[str, Any]] = []
        for row, length in zip(scores, lengths.tolist(), strict=True):
            log_probs = row[:length].numpy()
            (best, _), *_ = prefix_beam_search(log_probs, self.config.beam_width)
            decoded = {
                f"ctc, beam search of width {self.config.beam_width}": self.text(best),
                "ctc, greedy": self.text(greedy(log_probs)),
            }
            results.append(
                {
                    "text": self.text(best),
                    "probability": float(log_likelihood(row[:length], best).exp()),
                    "weights": np.exp(log_probs).T,
                    "path": align(log_probs, best),
                    "decoded": decoded,
                }
            )
        if self.decoder is not None:
            written = self.decoder.write(states, lengths)
            for result, (numbers, log, looks) in zip(results, written, strict=True):
                result |= {
                    "text": self.text(numbers),
                    "probability": float(np.exp(log)),
                    "weights": looks.cpu().numpy(),
                    "path": None,
                    "decoded": {"attention": self.text(numbers)} | result["decoded"],
                }
        return results

    def text(self, numbers: Sequence[int]) -> str:
        """The characters of numbers."""
        return "".join(self.characters[number - 1] for number in numbers)

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, Metric]:
        rows, results = [], []
        for batch in batches:
            rows += batch.rows
            results += self.transcribe(batch)
        unseen = np.array(
            [bool(row.speaker) and row.speaker == self.config.held_out for row in rows]
        )
        true = [row.text for row in rows]
        name = "digit error rate" if self.metadata["joins"] else "character error rate"
        decoded = {how: [one["decoded"][how] for one in results] for how in results[0]["decoded"]}
        if self.metadata["baseline"]:
            decoded["split at pauses, logistic regression"] = self.metadata["baseline"]
        groups = {name: ~unseen}
        if unseen.any():
            groups[f"{name} of {self.config.held_out}"] = unseen
        table: list[list[Any]] = [["decoded by", *groups, "all right"]]
        for how, texts in decoded.items():
            errors = error_rows(true, texts)
            rates = [round(error_rate(errors[chosen]), 4) for chosen in groups.values()]
            table.append([how, *rates, round(float((errors[:, 0] == 0).mean()), 4)])
        errors = error_rows(true, next(iter(decoded.values())))
        scores = {group: Metric(errors[chosen], error_rate) for group, chosen in groups.items()}
        scores[name] = Metric(errors[~unseen], error_rate, table=table)
        return scores | {"all right": Metric((errors[:, 0] == 0).astype(float))}

    def pictures(self, batches: Iterable[Batch]) -> dict[str, Figure]:
        """Spectrograms of some test recordings, and where in them the characters are."""
        batch = next(iter(batches))
        longest = sorted(range(len(batch.rows)), key=lambda at: -len(batch.rows[at].text))[:3]
        chosen = self.batch([batch.rows[at] for at in longest], len(longest))
        with torch.no_grad():
            spectrograms, frames = self.features(chosen.samples, chosen.lengths)
        images = [
            image[:, :length].cpu().numpy()
            for image, length in zip(spectrograms, frames.tolist(), strict=True)
        ]
        return {
            "alignment": alignment_picture(
                chosen.rows, images, self.transcribe(chosen), ["–", *self.characters]
            )
        }

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Texts of sound files."""
        results = []
        for item in inputs:
            if not isinstance(item, str | Path):
                raise DataError(f"speech reads a sound file, not {item!r}")
            samples = read_audio(Path(item))
            (answer,) = self.transcribe(self.batch([Recording(samples, "", "")], 1))
            results.append(
                {
                    "input": str(item),
                    "text": answer["text"],
                    "probability": round(answer["probability"], 4),
                    "seconds": round(len(samples) / RATE, 2),
                }
            )
        return results


def masked(spectrograms: Tensor, bands: int = 8, frames: int = 8) -> Tensor:
    """Spectrograms (n, bands, frames) in which some bands, and some frames, are silent (Park et al. 2019).

    Args:
        bands, frames: at most so many, at a random place of each.
    """
    result = spectrograms
    for dimension, most in ((1, bands), (2, frames)):
        length = spectrograms.shape[dimension]
        size = torch.randint(most + 1, (len(spectrograms), 1))
        first = (torch.rand(len(spectrograms), 1) * (length - size).clamp(min=0)).long()
        places = torch.arange(length)
        gone = ((places >= first) & (places < first + size)).to(result.device)
        result = result.masked_fill(gone.unsqueeze(3 - dimension), 0.0)
    return result
