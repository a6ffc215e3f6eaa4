"""Learning to say acts in words from acts and sentences that say them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from perception.networks.seq2seq import PADDING, ResponseGenerator, Utterance, placeholders
from perception.tasks.task import Learner, Task


@dataclass(frozen=True)
class UtterancesConfig:
    """What the network is like and how it learns."""

    embedding: int = 64
    """Numbers of a word's vector."""
    hidden_size: int = 128
    """Units of the encoder in each direction, and of the decoder."""
    dropout: float = 0.2
    """Share of numbers left out between layers while learning."""
    learning_rate: float = 4e-3
    """Adam's."""
    batch_size: int = 64
    """Sentences an update."""
    average: float = 0.99
    """Decay an update of the averaged weights, which are the ones that are used."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate:g}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be from 0 to below 1, not {self.average:g}")
        ResponseGenerator([], [], self.embedding, self.hidden_size, self.dropout)


class Utterances(Task):
    """Sentences from acts: maximum likelihood of each word, given the act and the words before."""

    Config = UtterancesConfig
    epochs = 5
    data = "domain:movie"

    def __init__(
        self, config: UtterancesConfig, model: ResponseGenerator, examples: Sequence[Utterance]
    ) -> None:
        self.config, self.model = config, model
        self.learner = Learner(model.network, config.learning_rate, config.average)
        self.device = model.network.word.weight.device
        by_length: dict[int, list[Utterance]] = {}
        for utterance in examples:
            by_length.setdefault(len(utterance.act), []).append(utterance)
        self._groups = [self._numbers(by_length[length]) for length in sorted(by_length)]

    def _numbers(self, utterances: list[Utterance]) -> tuple[torch.Tensor, torch.Tensor]:
        """Acts of one length and their sentences, padded."""
        acts = [self.model.act_numbers(utterance.act) for utterance in utterances]
        words = [torch.tensor(self.model.word_numbers(utterance.words)) for utterance in utterances]
        padded = pad_sequence(words, batch_first=True, padding_value=PADDING)
        return torch.tensor(acts, device=self.device), padded.to(self.device)

    @staticmethod
    def new_model(config: UtterancesConfig, examples: Sequence[Utterance]) -> ResponseGenerator:
        acts = sorted({word for utterance in examples for word in utterance.act})
        words = sorted({word for utterance in examples for word in utterance.words})
        return ResponseGenerator(acts, words, config.embedding, config.hidden_size, config.dropout)

    @staticmethod
    def described(description: Any) -> ResponseGenerator:
        return ResponseGenerator.described(description)

    def epoch(self) -> Iterator[dict[str, float]]:
        network, done, loss_sum = self.learner.network, 0, 0.0
        batches = [
            (group, chosen)
            for group in self._groups
            for chosen in torch.randperm(len(group[0])).split(self.config.batch_size)
        ]
        for count, number in enumerate(torch.randperm(len(batches)).tolist(), 1):
            (acts, words), chosen = batches[number]
            chosen = chosen.to(self.device)
            longest = int((words[chosen] != PADDING).sum(dim=1).max())
            targets = words[chosen, :longest]
            scores = network(acts[chosen], targets)
            loss = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=PADDING)
            self.learner.update(loss)
            done += len(chosen)
            loss_sum += loss.item()
            if count % 50 == 0 or count == len(batches):
                yield {"steps": done, "loss": loss_sum / ((count - 1) % 50 + 1)}
                loss_sum = 0.0

    @staticmethod
    def test(model: ResponseGenerator, examples: Sequence[Utterance]) -> dict[str, Any]:
        """Each act is said once; without randomness, but for what did not succeed at once.

        Slots are right where the sentence leaves the same ones open as one of the test's for the act.
        """
        wanted: dict[tuple[str, ...], list[list[str]]] = {}
        for utterance in examples:
            wanted.setdefault(tuple(utterance.act), []).append(utterance.words)
        acts = list(wanted)
        message = [model.sentence(act) for act in acts]
        slots = [[placeholders(words) for words in wanted[act]] for act in acts]
        right, at_once = (
            np.array(
                [placeholders(words) in those for words, those in zip(tried, slots, strict=True)]
            )
            for tried in (message, [model.first_try(act) for act in acts])
        )
        draws = np.random.default_rng(0).integers(0, len(acts), (1000, len(acts)))
        low, high = np.percentile(right[draws].mean(axis=1), [2.5, 97.5])
        kinds: dict[str, list[float]] = {}
        for act, value in zip(acts, right, strict=True):
            kinds.setdefault(" ".join(act[:2]), []).append(float(value))
        rows = [
            [kind, round(sum(values) / len(values), 4), len(values)]
            for kind, values in sorted(kinds.items())
        ]
        return {
            "score": "slots right",
            "mean": float(right.mean()),
            "interval": [float(low), float(high)],
            "sentences": len(acts),
            "measures": {
                "at_once": float(at_once.mean()),
                "bleu": bleu(message, [wanted[act] for act in acts]),
            },
            "table": [["act", "slots right", "acts"], *rows],
        }


def bleu(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """BLEU-4 of a corpus, 0…1, with several references a sentence (Papineni et al. 2002)."""
    right, result, length, reference_length = [0] * 4, [0] * 4, 0, 0
    for words, others in zip(said, references, strict=True):
        length += len(words)
        reference_length += min(
            (len(other) for other in others), key=lambda n: (abs(n - len(words)), n)
        )
        for size in range(1, 5):
            counts = _runs(words, size)
            most: Counter[tuple[str, ...]] = Counter()
            for other in others:
                most |= _runs(other, size)
            right[size - 1] += (counts & most).total()
            result[size - 1] += counts.total()
    if not all(right):
        return 0.0
    precision = sum(math.log(a / b) for a, b in zip(right, result, strict=True)) / 4
    return math.exp(precision + min(0.0, 1 - reference_length / length))


def _runs(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))
