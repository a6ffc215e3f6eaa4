"""Arithmetic: a network reads a sum such as "535+61", character by character, and writes "596".

It is the smallest task of sequence to sequence (Sutskever et al. 2014; the sums are those of Zaremba & Sutskever 2014).
A GRU reads, a GRU writes, with attention or without (`perception.networks.seq2seq`). The loss is the cross-entropy of each
character, the score the share of answers that are right to the last character.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.utils.data import Dataset

from perception.data.datasets import Rows, Tensors
from perception.data.pairs import Pair, Pairs, load_pairs
from perception.data.symbols import Characters
from perception.networks.classifiers import weights_of
from perception.networks.seq2seq import RecurrentSeq2Seq
from perception.tasks.sequences import (
    LONGEST,
    attention_of,
    attention_picture,
    batches_of,
    nearest_answers,
    set_learning_rate,
    shares_picture,
    update,
    written,
)
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TESTS = 2000
_BASELINE_EXAMPLES = 2000
"""The baseline looks for the nearest among so many training examples."""


@dataclass(frozen=True, config=STRICT)
class ArithmeticConfig:
    """Data, network and training."""

    digits: Annotated[int, Field(ge=1, le=9)] = 2
    """Most digits of a number; shorter ones are as frequent."""
    examples: Annotated[int, Field(ge=10, le=1_000_000)] = 4000
    """Different sums to learn from; fewer where there are not so many."""
    reverse: bool = False
    """Read backwards."""
    network: Literal["rnn", "attention"] = "rnn"
    """Whether the decoder knows the encoder's last states only, or looks at all that was read."""
    hidden_size: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Units of the encoder in each direction, and of the decoder; size of the vectors of characters."""
    epochs: Epochs = 30
    """Passes over the training examples."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-3
    """Learning rate of Adam at its peak; it rises in the first twentieth of training, then falls to 0."""
    batch_size: PositiveInt = 64
    """Examples per update."""


class Arithmetic(Task):
    """Answers to sums; a training batch is characters read (n, m) and written (n, k), a test batch a list of pairs."""

    Config = ArithmeticConfig
    default_data = "addition"

    def __init__(self, config: ArithmeticConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.read, self.write = (Characters(metadata[part]) for part in ("read", "write"))
        self.network = RecurrentSeq2Seq(
            *(self.read.size, self.write.size, config.hidden_size, config.hidden_size),
            dropout=0.0,
            attention=config.network == "attention",
        )
        adam = torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}
        self.updates = config.epochs * -(-metadata["examples"] // config.batch_size)

    @classmethod
    def load_data(cls, config: ArithmeticConfig, source: DataSource) -> TaskData:
        if source.reference == cls.default_data:
            source.locate({cls.default_data: "Fathom"})  # refuses options
            pairs = sums(config.digits, config.examples)
        else:
            pairs = load_pairs(source)
        questions, answers = zip(*pairs.train, strict=True)
        read, write = Characters.fit(questions)["symbols"], Characters.fit(answers)["symbols"]
        turn = -1 if config.reverse else 1
        data = Tensors(
            Characters(read)([text[::turn] for text in questions], LONGEST),
            Characters(write)(answers, LONGEST),
        )
        metadata = {
            "read": read,
            "write": write,
            "examples": len(data),
            "longest": data.tensors[1].shape[1],
            "baseline": _baseline(pairs),
        }
        return TaskData(data, Rows(pairs.test), metadata, pairs.origin)

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterator[Any]:
        return batches_of(dataset, self.config.batch_size, self.device, training)

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        adam = self.optimizers["main"]
        set_learning_rate(adam, self.config.learning_rate, step, self.updates)
        return {"loss": update(self.network, adam, batch)}

    def answers(self, texts: Sequence[str]) -> list[list[int]]:
        """Numbers of the characters of the answers, by greedy decoding."""
        turned = [text[::-1] if self.config.reverse else text for text in texts]
        return [
            one.words
            for one in written(self.network, self.read, turned, 1, self.metadata["longest"])
        ]

    def evaluate(self, batches: Iterable[list[Pair]]) -> dict[str, Metric]:
        right = np.concatenate([self._right(batch) for batch in batches])
        weights = weights_of(self)
        table = [
            ["model", "exact"],
            [f"{self.config.network}, {weights:,} weights", round(float(right.mean()), 4)],
            self.metadata["baseline"],
        ]
        return {"exact": Metric(right, table=table)}

    def _right(self, pairs: Sequence[Pair]) -> np.ndarray:
        answers = self.answers([question for question, _ in pairs])
        joined = map(self.write.join, answers)
        return np.array([a == pair[1] for a, pair in zip(joined, pairs, strict=True)], float)

    def pictures(self, batches: Iterable[list[Pair]]) -> dict[str, Figure]:
        """Which characters were looked at, in four examples, and how often answers are right by the length read."""
        pairs = [pair for batch in batches for pair in batch][:_TESTS]
        longest = sorted(pairs, key=lambda pair: -len(pair[0]))[:4]
        texts = [question[::-1] if self.config.reverse else question for question, _ in longest]
        rows = [
            attention_of(self.network, self.read, self.write, text, numbers)
            for text, numbers in zip(texts, self.answers([q for q, _ in longest]), strict=True)
        ]
        lengths, right = np.array([len(question) for question, _ in pairs]), self._right(pairs)
        groups = sorted(set(lengths.tolist()))
        shares = [float(right[lengths == length].mean()) for length in groups]
        pictures = {
            "by-length": shares_picture(list(map(str, groups)), shares, "exact", "characters read")
        }
        if shown := [row for row in rows if row is not None]:
            pictures["attention"] = attention_picture(shown)
        return pictures

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Answers to texts such as "535+61"."""
        known = set(self.read.symbols)
        for text in inputs:
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"arithmetic reads a text such as 535+61, not {text!r}")
            if unknown := sorted(set(text) - known):
                raise DataError(
                    f"{text!r} has the character {unknown[0]!r}, which was never learnt from"
                )
        return [
            {"question": text, "answer": self.write.join(numbers)}
            for text, numbers in zip(inputs, self.answers(inputs), strict=True)
        ]


def sums(digits: int, examples: int) -> Pairs:
    """Different random sums of two numbers, always the same; at most 2,000 and a fifth of them are the test."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, digits + 1, (4 * (examples + _TESTS), 2))
    first, second = rng.integers(0, 10**lengths).T
    different = rng.permutation(np.unique(first * 10**digits + second))
    tests = min(_TESTS, len(different) // 5)
    numbers = zip(*(part.tolist() for part in np.divmod(different, 10**digits)), strict=True)
    pairs = [(f"{a}+{b}", str(a + b)) for a, b in numbers][: tests + examples]
    origin = {"name": "addition", "found": f"made: sums of numbers of 1 to {digits} digits"}
    return Pairs(pairs[tests:], pairs[:tests], {**origin, "licence": "none: generated"})


def _baseline(pairs: Pairs) -> list[Any]:
    """The answer of the training example that has most characters at the same places."""
    known = pairs.train[:_BASELINE_EXAMPLES]
    questions = [question for question, _ in pairs.test]
    answers = nearest_answers(
        known, questions, lambda text: [f"{n}{c}" for n, c in enumerate(text)]
    )
    right = [answer == pair[1] for answer, pair in zip(answers, pairs.test, strict=True)]
    return [f"nearest of {len(known):,} training examples", round(float(np.mean(right)), 4)]
