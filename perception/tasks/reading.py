"""Questions about stories: the end-to-end memory network (Sukhbaatar et al. 2015).

Every statement of a story is a place in a memory. Each hop attends to the places by what it has read before, and adds
what it reads. The loss is the cross-entropy of the answer, the score the share of wrong answers, beside a linear model
on the words of story and question and the most frequent answer. The data are the 20 tasks of bAbI (Weston et al.
2015), learnt together with 1,000 questions each. Unlike in the paper the updates are Adam's, with a learning
rate that falls linearly to 0, and the softmax is left out for a fixed number of epochs at first (linear start).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from perception.data.datasets import Tensors
from perception.data.stories import (
    Question,
    encode,
    load_stories,
    question_of,
    word_numbers,
)
from perception.data.texts import WordNumbers, words_of
from perception.networks.classifiers import weights_of
from perception.networks.memory import MemoryNetwork
from perception.tasks.task import STRICT, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN_QUESTIONS, _SHOWN_STATEMENTS = 7, 10
_LARGEST_BASELINE = 1 << 27
"""Numbers that the linear model may learn from."""


@dataclass(frozen=True, config=STRICT)
class ReadingConfig:
    """Network and training."""

    hops: Annotated[int, Field(ge=1, le=20)] = 3
    """Readings of the memory."""
    tying: Literal["adjacent", "layer-wise"] = "adjacent"
    """Each hop finds by what the hop before it read, or all hops have the same weights."""
    width: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Size of the vectors of words, statements and states."""
    memory: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Statements of a story that are kept, the last ones."""
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Empty places that the memory gets in training, as a share of its statements."""
    linear_start: Annotated[int, Field(ge=0)] = 2
    """Epochs at first in which attention has no softmax."""
    epochs: Epochs = 10
    """Passes over the training questions."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-3
    """Learning rate of Adam at the start; it falls linearly to 0."""
    batch_size: PositiveInt = 64
    """Questions per update."""


class Reading(Task):
    """Answers to questions; a batch is stories and questions as `encode` gives them, answers (n,), supports and
    kinds (n,)."""

    Config = ReadingConfig
    default_data = "babi"

    def __init__(self, config: ReadingConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.answers: list[str] = metadata["answers"]
        self.words = WordNumbers(**metadata["words"])
        self.network = MemoryNetwork(
            *(self.words.size, len(self.answers), config.width, config.hops, config.memory),
            config.tying,
        )
        adam = torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}
        self.updates = -(-metadata["questions"] // config.batch_size)
        """In an epoch."""

    @classmethod
    def load_data(cls, config: ReadingConfig, source: DataSource) -> TaskData:
        stories = load_stories(source)
        fitted = word_numbers(stories.train)
        words = WordNumbers(**fitted)
        answers = sorted({one.answer for one in stories.train})
        kinds = sorted({one.kind for one in stories.train}, key=lambda kind: _natural(kind))
        parts = []
        for questions in (stories.train, stories.test):
            told, asked, supports = encode(questions, words, config.memory)
            numbers = _numbers(answers, [one.answer for one in questions])
            kind = _numbers(kinds, [one.kind for one in questions])
            parts.append(Tensors(told, asked, numbers, supports, kind))
        train, test = parts
        metadata = {
            "answers": answers,
            "words": fitted,
            "kinds": kinds,
            "questions": len(stories.train),
            "baselines": baselines(train, test, words.size, len(answers), kinds),
        }
        return TaskData(train, test, metadata, stories.origin)

    def train_step(self, batch: Any, step: int) -> dict[str, Tensor]:
        stories, questions, answers, *_ = batch
        optimizer, epochs = self.optimizers["main"], step / self.updates
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * max(0.0, 1 - epochs / self.config.epochs)
        # Empty places make statements look older than they are.
        empty = torch.rand(stories.shape[:2], device=stories.device) < self.config.noise
        times = torch.arange(stories.shape[1], device=stories.device) + empty.cumsum(dim=1)
        times = times.clamp(max=stories.shape[1] - 1)
        linear = epochs < self.config.linear_start
        scores, _ = self.network(stories, questions, times, linear)
        loss = F.cross_entropy(scores, answers)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 40)
        optimizer.step()
        error = (scores.argmax(dim=1) != answers).float().mean()
        return {"loss": loss.detach(), "training_error": error}

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Any]) -> dict[str, Metric]:
        wrong, looked, kinds = [], [], []
        for stories, questions, answers, supports, kind in batches:
            scores, attention = self.network(stories, questions)
            wrong.append((scores.argmax(dim=1) != answers).cpu())
            seen = supports.gather(1, attention.argmax(dim=2)).any(dim=1)
            looked.append(torch.stack([seen, supports.any(dim=1)], dim=1).cpu())
            kinds.append(kind.cpu())
        errors = torch.cat(wrong).double().numpy()
        rows, numbers = torch.cat(looked).double().numpy(), torch.cat(kinds).numpy()
        hops = f"{self.config.hops} hop{'s' * (self.config.hops > 1)}"
        name = f"{hops}, {weights_of(self.network):,} weights"
        table: list[list[Any]] = [["task", name, "linear, words", "most frequent answer"]]
        for kind, there in _groups(self.metadata["kinds"], numbers):
            others = self.metadata["baselines"].get(kind, ["", ""])
            table.append([kind, _percent(errors[there]), *others])
        result = {"error": Metric(errors, table=table)}
        if rows[:, 1].any():
            result["finds a supporting statement"] = Metric(rows, _share)
        return result

    @torch.no_grad()
    def pictures(self, batches: Iterable[Any]) -> dict[str, Figure]:
        """What each hop looks at, for a question of each of several kinds."""
        shown: dict[int, list[Tensor]] = {}
        for batch in batches:
            if len(shown) >= _SHOWN_QUESTIONS:
                break
            long = (batch[0] > 0).any(dim=2).sum(dim=1)
            short = (long > 1) & (long <= _SHOWN_STATEMENTS) & (batch[3].sum(dim=1) != 1)
            for i in short.nonzero()[:, 0].tolist():
                kind = int(batch[4][i]) if len(self.metadata["kinds"]) > 1 else len(shown)
                shown.setdefault(kind, [tensor[i].cpu() for tensor in batch])
        rows = list(shown.values())[:_SHOWN_QUESTIONS]
        if not rows:
            return {}
        stories, questions, answers, supports, _ = (torch.stack(one) for one in zip(*rows, strict=True))  # fmt: skip
        scores, attention = self.network(stories.to(self.device), questions.to(self.device))
        names = ["", "?", *self.metadata["words"]["words"]]

        def text(numbers: Tensor) -> str:
            return " ".join(names[number] for number in numbers.tolist() if number)

        return {
            "hops": hops_picture(
                [
                    (
                        [text(one) for one in story if bool(one.any())],
                        f"{text(question)}?  {self.answers[int(score.argmax())]}",
                        int(score.argmax()) == int(answer),
                        support.numpy(),
                        weights.cpu().numpy(),
                    )
                    for story, question, answer, support, weights, score in zip(
                        *(stories, questions, answers, supports, attention, scores), strict=True
                    )
                ]
            )
        }

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Answers to texts, whose last sentence is the question."""
        asked = [question_of(text, "reading") for text in inputs]
        if not asked:
            return []
        stories, questions, _ = encode(asked, self.words, self.config.memory)
        scores, attention = self.network(stories.to(self.device), questions.to(self.device))
        results = []
        for one, row, weights in zip(asked, scores.softmax(dim=1), attention, strict=True):
            best = int(row.argmax())
            seen = [one.story[-1 - int(weight.argmax())] for weight in weights]
            answer = {
                "question": one.question,
                "answer": self.answers[best],
                "probability": round(float(row[best]), 4),
                "hops": seen,
            }
            unknown = sorted({word for word in _words(one) if word not in self.words.numbers})
            results.append(answer | ({"unknown words": unknown} if unknown else {}))
        return results


def _words(question: Question) -> list[str]:
    return words_of(" ".join((*question.story, question.question)))


def _numbers(names: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """Places of names, int64; -1 for one that is not there."""
    places = {name: place for place, name in enumerate(names)}
    return torch.tensor([places.get(name, -1) for name in wanted])


def _natural(kind: str) -> tuple[int, str]:
    """Sorts "2 …" before "10 …"."""
    digits = kind.partition(" ")[0].rstrip(",")
    return int(digits) if digits.isdecimal() else 0, kind


def _percent(errors: np.ndarray) -> float:
    return round(100 * float(errors.mean()), 1)


def _share(rows: np.ndarray) -> float:
    """Share of the questions with known supports (second column) that have the first."""
    known = rows[:, 1].sum()
    return float((rows[:, 0] * rows[:, 1]).sum() / known) if known else 0.0


def _groups(kinds: Sequence[str], numbers: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """All questions, and where there are several kinds those of each, as names with bool (n,)."""
    groups = [("all", np.ones(len(numbers), bool))]
    if len(kinds) > 1:
        groups += [(kind, numbers == number) for number, kind in enumerate(kinds)]
    return [(kind, there) for kind, there in groups if there.any()]


def baselines(
    train: Tensors, test: Tensors, words: int, answers: int, kinds: Sequence[str]
) -> dict[str, list[Any]]:
    """Errors in per cent of a linear model and of the most frequent answer, by kind of question.

    The linear model is scikit-learn's ridge classifier; its inputs are which words are in the question, the last
    statement, and the story. It is left out ("–") where these would be too many.
    """
    from sklearn.linear_model import RidgeClassifier

    targets, truth = train.tensors[2].numpy(), test.tensors[2].numpy()
    frequent = np.bincount(targets, minlength=answers).argmax()
    predicted = np.full(len(truth), frequent)
    too_large = max(len(targets), len(truth)) * max(3 * words, answers) > _LARGEST_BASELINE
    if answers > 1 and not too_large:
        model = RidgeClassifier(solver="cholesky").fit(_bags(train, words), targets)
        predicted = model.predict(_bags(test, words))
    return {
        kind: [
            "–" if too_large else _percent((predicted != truth)[there]),
            _percent((frequent != truth)[there]),
        ]
        for kind, there in _groups(kinds, test.tensors[4].numpy())
    }


def _bags(data: Tensors, words: int) -> np.ndarray:
    """(n, 3 words) 1 where a word is in the question, the last statement, or the story."""
    stories, questions, *_ = data.tensors
    parts = []
    for numbers in (questions, stories[:, 0], stories.flatten(1)):
        bag = torch.zeros(len(numbers), words)
        bag.scatter_(1, numbers.long(), 1.0)
        bag[:, 0] = 0
        parts.append(bag)
    return torch.cat(parts, dim=1).numpy()


def hops_picture(
    questions: Sequence[tuple[list[str], str, bool, np.ndarray, np.ndarray]],
) -> Figure:
    """Statements with the attention of each hop beside them.

    Args:
        questions: statements, the last first; question and answer; whether that is right; whether a statement supports it
            (memory,); attention (hops, memory).
    """
    from matplotlib.figure import Figure

    lines = sum(len(statements) + 2 for statements, *_ in questions)
    hops = len(questions[0][4])
    figure = Figure((7.2, 0.2 * lines + 0.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 100), ylim=(lines + 0.5, -0.5))
    axes.axis("off")
    line, left = 0, 62
    for statements, question, right, supports, attention in questions:
        for hop in range(hops):
            axes.text(left + 9 * hop + 4, line, f"hop {hop + 1}", ha="center", va="center", size=7)
        for place in range(len(statements) - 1, -1, -1):
            line += 1
            weight = "bold" if supports[place] else "normal"
            axes.text(
                2, line, statements[place], va="center", size=8, weight=weight, parse_math=False
            )
            for hop in range(hops):
                value = float(attention[hop, place])
                axes.fill_between(
                    (left + 9 * hop, left + 9 * hop + 8), line - 0.45, line + 0.45,
                    color="tab:blue", alpha=min(1.0, max(0.0, value)), linewidth=0,
                )  # fmt: skip
                axes.text(
                    left + 9 * hop + 4, line, f"{value:.2f}", ha="center", va="center", size=7,
                    color="white" if value > 0.5 else "black",
                )  # fmt: skip
        axes.text(
            2, line - len(statements), question, va="center", size=8,
            color="tab:blue" if right else "crimson", weight="bold", parse_math=False,
        )  # fmt: skip
        line += 2
    return figure
