"""Chit-chat: a chat bot learns from questions with answers, and writes its answers word by word.

Sequence to sequence as a model of conversation (Vinyals & Le 2015), with attention or without (`perception.networks.seq2seq`). The loss is
the cross-entropy of each subword of the answer. The score is the share of held-out wordings whose written answer is, to
the letter, that of the right scenario; beside it is the answer of the most similar known question by TF-IDF.
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

from perception.data.conversations import load_conversations
from perception.data.datasets import Rows, Tensors
from perception.data.pairs import Pair
from perception.data.symbols import Subwords
from perception.networks.classifiers import weights_of
from perception.networks.seq2seq import RecurrentSeq2Seq
from perception.tasks.sequences import (
    LONGEST,
    attention_of,
    attention_picture,
    batches_of,
    nearest_answers,
    set_learning_rate,
    terms_of,
    text_picture,
    update,
    written,
)
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, config=STRICT)
class ChitChatConfig:
    """Data, network and training."""

    language: Literal["english", "chinese_simplified"] = "english"
    """Of the data `chitchat`."""
    personality: Literal["caring", "enthusiastic", "friendly", "professional", "witty"] = "friendly"
    """Of the data `chitchat`: who answers."""
    wordings: Annotated[int, Field(ge=5)] = 30
    """Most wordings of the questions of an answer that are used; a fifth of them is the test."""
    network: Literal["rnn", "attention"] = "rnn"
    """Whether the decoder knows the encoder's last states only, or looks at all that was read."""
    vocabulary: Annotated[int, Field(ge=10, le=100_000)] = 1500
    """Most subwords of questions, and of answers."""
    hidden_size: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Units of the encoder in each direction, and of the decoder; size of the vectors of subwords."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout probability."""
    epochs: Epochs = 15
    """Passes over the training questions."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-3
    """Learning rate of Adam at its peak; it rises in the first twentieth of training, then falls to 0."""
    batch_size: PositiveInt = 32
    """Questions per update."""


class ChitChat(Task):
    """Answers to questions; a training batch is subwords read (n, m) and written (n, k), a test batch a list of pairs."""

    Config = ChitChatConfig
    default_data = "chitchat"

    def __init__(self, config: ChitChatConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.read, self.write = Subwords(**metadata["read"]), Subwords(**metadata["write"])
        self.network = RecurrentSeq2Seq(
            *(self.read.size, self.write.size, config.hidden_size, config.hidden_size),
            config.dropout,
            attention=config.network == "attention",
        )
        adam = torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}
        self.updates = config.epochs * -(-metadata["questions"] // config.batch_size)

    @classmethod
    def load_data(cls, config: ChitChatConfig, source: DataSource) -> TaskData:
        pairs = load_conversations(source, config.language, config.personality, config.wordings)
        questions, answers = (list(part) for part in zip(*pairs.train, strict=True))
        read = Subwords.fit([text.lower() for text in questions], config.vocabulary)
        write = Subwords.fit(answers, config.vocabulary)
        data = Tensors(
            Subwords(**read)([text.lower() for text in questions], LONGEST),
            Subwords(**write)(answers, LONGEST),
        )
        nearest = nearest_answers(pairs.train, [question for question, _ in pairs.test], terms_of)
        metadata = {
            "read": read,
            "write": write,
            "questions": len(data),
            "scenarios": len({*answers}),
            "longest": data.tensors[1].shape[1],
            "nearest": [int(a == pair[1]) for a, pair in zip(nearest, pairs.test, strict=True)],
        }
        return TaskData(data, Rows(pairs.test), metadata, pairs.origin)

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterator[Any]:
        return batches_of(dataset, self.config.batch_size, self.device, training)

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        adam = self.optimizers["main"]
        set_learning_rate(adam, self.config.learning_rate, step, self.updates)
        return {"loss": update(self.network, adam, batch)}

    def answers(self, questions: Sequence[str]) -> list[tuple[list[int], float]]:
        """Numbers of the subwords of each answer, by greedy decoding, and the mean probability of one."""
        texts = [text.lower() for text in questions]
        found = written(self.network, self.read, texts, 1, self.metadata["longest"])
        return [(one.words, float(np.exp(one.score))) for one in found]

    def evaluate(self, batches: Iterable[list[Pair]]) -> dict[str, Metric]:
        right = np.concatenate([self._right(batch) for batch in batches])
        nearest = np.array(self.metadata["nearest"], float)
        weights = weights_of(self)
        table: list[Sequence[Any]] = [
            ["model", "right scenario", "95 % interval"],
            [f"sequence to sequence, {weights:,} weights", *share_with_interval(right)],
            ["most similar question, TF-IDF", *share_with_interval(nearest)],
        ]
        return {
            "right scenario": Metric(right, table=table),
            "above TF-IDF": Metric(right - nearest),
        }

    def _right(self, pairs: Sequence[Pair]) -> np.ndarray:
        found = self.answers([question for question, _ in pairs])
        texts = [self.write.join(numbers) for numbers, _ in found]
        return np.array([text == pair[1] for text, pair in zip(texts, pairs, strict=True)], float)

    def pictures(self, batches: Iterable[list[Pair]]) -> dict[str, Figure]:
        """Held-out questions with their answers, wrong ones red, and which subwords were looked at in four answers."""
        pairs = [pair for batch in batches for pair in batch]
        chosen = pairs[:: max(1, len(pairs) // 16)][:16]
        found = self.answers([question for question, _ in chosen])
        texts = [self.write.join(numbers) for numbers, _ in found]
        lines = [
            (f"{question}  →  {text}", text == wanted)
            for (question, wanted), text in zip(chosen, texts, strict=True)
        ]
        rows = [
            attention_of(self.network, self.read, self.write, question.lower(), numbers)
            for (question, _), (numbers, _) in zip(chosen[:4], found, strict=False)
        ]
        pictures = {"answers": text_picture(lines)}
        if shown := [row for row in rows if row is not None]:
            pictures["attention"] = attention_picture(shown)
        return pictures

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Answers to questions."""
        for text in inputs:
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"chit-chat answers a question, not {text!r}")
        return [
            {"question": text, "answer": self.write.join(numbers), "probability": round(value, 4)}
            for text, (numbers, value) in zip(inputs, self.answers(inputs), strict=True)
        ]


def share_with_interval(right: np.ndarray) -> tuple[float, str]:
    """The share of ones and its interval (Wilson 1927, by SciPy)."""
    from scipy.stats import binomtest

    ends = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return round(float(right.mean()), 4), f"{ends.low:.4f} to {ends.high:.4f}"
