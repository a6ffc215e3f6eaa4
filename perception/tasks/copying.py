"""Copying sequences of random bits: a neural Turing machine (Graves et al. 2014) or an LSTM.

The network sees a sequence and a delimiter, and then has to write the sequence down from memory; with `--repeats`
several times, followed by an end mark. It learns from sequences up to a length and is tested on ones as
long, twice and four times as long. The loss is the cross-entropy of the bits, the score the share of wrong bits. The data
are drawn anew for every update.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from perception.data.datasets import Tensors
from perception.networks.classifiers import weights_of
from perception.networks.turing import TuringMachine
from perception.tasks.task import STRICT, DataError, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TESTED = 64
"""Test sequences of each length."""
_MOST_STATES = 1 << 18
"""Units, or places of the memory, times steps that a training sequence has to be written in."""


@dataclass(frozen=True, config=STRICT)
class CopyConfig:
    """Network, sequences and training."""

    network: Literal["ntm", "lstm"] = "ntm"
    """Neural Turing machine, or LSTM."""
    longest: Annotated[int, Field(ge=1, le=1_000)] = 6
    """Longest training sequence, in steps."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """A sequence is to be repeated up to so often."""
    bits: Annotated[int, Field(ge=1, le=100)] = 4
    """Bits of a step."""
    hidden_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Units of the controller (ntm), or of the LSTM."""
    places: Annotated[int, Field(ge=3, le=10_000)] = 32
    """Places of the memory (ntm)."""
    width: Annotated[int, Field(ge=1, le=1_000)] = 20
    """Numbers in a place (ntm)."""
    sequences: Annotated[int, Field(ge=1, le=1_000_000)] = 3_000
    """Training sequences of an epoch."""
    epochs: Epochs = 5
    """Rounds of so many sequences, with an evaluation after each."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of Adam; in the second half it falls linearly to 0."""
    batch_size: PositiveInt = 8
    """Sequences per update, all of one length."""


class Copy(Task):
    """Bits from memory; a batch is bits (n, steps, bits) uint8 and how often they are to be repeated (n,)."""

    Config = CopyConfig
    default_data = "random-bits"

    def __init__(self, config: CopyConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        most = _MOST_STATES // max(config.hidden_size, config.places)
        if config.longest * config.repeats > most:
            raise ValueError(
                f"{config.longest} steps, repeated {config.repeats} times, are too long for a network of this"
                f" size: at most {most:,} steps"
            )
        marks = 1 if config.repeats == 1 else 2
        inputs, outputs = config.bits + marks, config.bits + marks - 1
        self.network: TuringMachine | Recurrent = (
            TuringMachine(inputs, outputs, config.hidden_size, config.places, config.width)
            if config.network == "ntm"
            else Recurrent(inputs, outputs, config.hidden_size)
        )
        adam = torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}
        self.updates = config.epochs * metadata["updates"]

    @classmethod
    def load_data(cls, config: CopyConfig, source: DataSource) -> TaskData:
        location = source.locate({cls.default_data: "Fathom"})
        if location.kind != "shipped":
            raise DataError(f"copy draws its own bits: there is no --data but {cls.default_data}")
        generator = torch.Generator().manual_seed(0)

        def draw(low: int, high: int, shape: tuple[int, ...]) -> Tensor:
            return torch.randint(low, high, shape, generator=generator, dtype=torch.int16)

        count, longest = config.sequences, config.longest
        train = [draw(1, most + 1, (count,)) for most in (longest, config.repeats)]
        tested = tests_of(config)
        lengths, repeats = torch.tensor(tested).repeat_interleave(_TESTED, dim=0).T
        bits = draw(0, 2, (len(lengths), max(lengths.tolist()), config.bits)).byte()
        origin = {
            "name": source.reference,
            "found": "drawn by Fathom",
            "licence": "none: random",
            "train": count,
            "test": len(lengths),
        }
        counts = (train[0].long() * 1000 + train[1]).unique(return_counts=True)[1]
        metadata = {"updates": int(-(-counts // config.batch_size).sum())}
        return TaskData(Tensors(*train), Tensors(lengths, repeats, bits), metadata, origin)

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterator[Any]:
        """Batches of one length and number of repeats; the bits of training sequences are drawn here."""
        assert isinstance(dataset, Tensors)
        lengths, repeats, *bits = dataset.tensors
        keys = lengths.long() * 1000 + repeats
        order = torch.randperm(len(keys)) if training else torch.arange(len(keys))
        order = order[keys[order].argsort(stable=True)]
        groups = order.split(keys.unique(return_counts=True)[1].tolist())
        size = self.config.batch_size if training else _TESTED
        chunks = [chunk for group in groups for chunk in group.split(size)]
        for i in torch.randperm(len(chunks)) if training else range(len(chunks)):
            rows = chunks[i]
            length, count = int(lengths[rows[0]]), repeats[rows].long()
            shape = (len(rows), length, self.config.bits)
            drawn = bits[0][rows, :length] if bits else torch.randint(2, shape, dtype=torch.uint8)
            yield drawn.to(self.device), count.to(self.device)

    def _run(self, bits: Tensor, repeats: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores and targets (time, n, outputs) of the time after the delimiter, and the heads' places at all times."""
        inputs, targets = problem(bits, int(repeats[0]), self.config.repeats)
        outputs, heads = self.network(inputs)
        return outputs[-len(targets) :], targets, heads

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        rate = self.config.learning_rate * min(1.0, 2 * max(0.0, 1 - step / self.updates))
        for group in self.optimizers["main"].param_groups:
            group["lr"] = rate
        scores, targets, _ = self._run(*batch)
        loss = F.binary_cross_entropy_with_logits(scores, targets)
        self.optimizers["main"].zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1)
        self.optimizers["main"].step()
        wrong = ((scores > 0) != (targets > 0)).float().mean()
        return {"loss": loss.detach(), "training_wrong_bits": wrong}

    @torch.no_grad()
    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        wrong: dict[tuple[int, int], list[Tensor]] = {}
        for bits, repeats in batches:
            scores, targets, _ = self._run(bits, repeats)
            share = ((scores > 0) != (targets > 0)).double().mean(dim=(0, 2))
            wrong.setdefault((bits.shape[1], int(repeats[0])), []).append(share.cpu())
        rows = {key: torch.cat(parts).numpy() for key, parts in sorted(wrong.items())}
        first = self.config.longest, self.config.repeats
        name = f"{self.config.network}, {weights_of(self.network):,} weights"
        table: list[list[Any]] = [["wrong bits, %", name, "chance"]]
        for key, values in rows.items():
            table.append([self._title(key), round(100 * float(values.mean()), 2), 50.0])
        others = {f"at {self._title(key)}": Metric(rows[key]) for key in rows if key != first}
        return {f"wrong bits at {self._title(first)}": Metric(rows[first], table=table)} | others

    def _title(self, key: tuple[int, int]) -> str:
        return f"length {key[0]}" + (f", {key[1]} times" if self.config.repeats > 1 else "")

    @torch.no_grad()
    def pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
        """What goes in and comes out over time, and where the heads are; for sequences of training length and longer."""
        shown: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        for bits, repeats in batches:
            shown.setdefault((bits.shape[1], int(repeats[0])), (bits[:1], repeats[:1]))
        first = self.config.longest, self.config.repeats
        result = {}
        for name, key in (("memory", first), ("longer", max(shown))):
            bits, repeats = shown[key]
            scores, targets, heads = self._run(bits, repeats)
            inputs, _ = problem(bits, int(repeats[0]), self.config.repeats)
            result[name] = memory_picture(
                *(one[:, 0].cpu().numpy() for one in (inputs, targets, scores.sigmoid(), heads))
            )
        return result

    @torch.no_grad()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Copies of bit strings, such as "10110100 01100101", or "10110100 x3" to repeat."""
        results = []
        for item in inputs:
            bits, repeats = bits_of(item, self.config)
            scores, targets, _ = self._run(bits.to(self.device), torch.tensor([repeats]))
            copy = (scores[:, 0, : self.config.bits] > 0).byte().tolist()[: bits.shape[1] * repeats]
            wrong = int(((scores > 0) != (targets > 0)).sum())
            text = " ".join("".join(map(str, step)) for step in copy)
            results.append({"copy": text, "wrong bits": wrong})
        return results


class Recurrent(nn.Module):
    """An LSTM (Hochreiter & Schmidhuber 1997) with a linear layer; called like a `TuringMachine`."""

    def __init__(self, inputs: int, outputs: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden_size)
        self.output = nn.Linear(hidden_size, outputs)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (time, batch, outputs), and no places of heads (time, batch, 0, 0)."""
        states, _ = self.lstm(inputs)
        return self.output(states), inputs.new_zeros(*inputs.shape[:2], 0, 0)


def tests_of(config: CopyConfig) -> list[tuple[int, int]]:
    """Lengths and repeats that are tested."""
    longest, repeats = config.longest, config.repeats
    more = [(longest, 2 * repeats)] if repeats > 1 else []
    return [(longest, repeats), (2 * longest, repeats), (4 * longest, repeats), *more]


def problem(bits: Tensor, repeats: int, most: int) -> tuple[Tensor, Tensor]:
    """Inputs (time, n, inputs) and targets (end of the time, n, outputs).

    After the bits comes a step with the delimiter and, where there may be several repeats, their number as a part of `most`.
    The targets are the repeats of the bits, then an end mark in an output of its own.
    """
    steps = bits.float().transpose(0, 1)
    length, count, width = steps.shape
    marks = 1 if most == 1 else 2
    targets = steps.repeat(repeats, 1, 1)
    if most > 1:
        targets = F.pad(F.pad(targets, (0, 1)), (0, 0, 0, 0, 0, 1))
        targets[-1, :, width] = 1
    inputs = steps.new_zeros(length + 1 + len(targets), count, width + marks)
    inputs[:length, :, :width] = steps
    inputs[length, :, width] = 1
    if most > 1:
        inputs[length, :, width + 1] = repeats / most
    return inputs, targets


def bits_of(item: Any, config: CopyConfig) -> tuple[Tensor, int]:
    """Bits (1, steps, bits) of a text of zeros and ones, and how often they are to be repeated.

    Raises:
        DataError: it is none, or too long.
    """
    words = item.split() if isinstance(item, str) else []
    repeats = 1
    if words and words[-1][:1] == "x" and words[-1][1:].isdecimal() and len(words[-1]) < 5:
        repeats = int(words.pop()[1:])
    text = "".join(words)
    if not text or set(text) - {"0", "1"} or len(text) % config.bits:
        raise DataError(
            f"copy reads zeros and ones, {config.bits} for each step, such as"
            f" {'10' * (config.bits // 2) + '1' * (config.bits % 2)}, not {item!r}"
        )
    if config.repeats == 1 and repeats != 1:
        raise DataError("this fit copies once; one with --repeats repeats")
    steps = len(text) // config.bits
    if not 1 <= repeats <= 1_000 or steps * repeats > 10_000:
        raise DataError("copy writes 1 to 10,000 steps")
    return torch.tensor([int(bit) for bit in text], dtype=torch.uint8).view(1, steps, -1), repeats


def memory_picture(
    inputs: np.ndarray, targets: np.ndarray, outputs: np.ndarray, heads: np.ndarray
) -> Figure:
    """Inputs and outputs over time, and below them the places of the writing and the reading head.

    Args:
        inputs: (time, inputs).
        targets, outputs: (end of the time, outputs).
        heads: (time, 2, places), or (time, 0, 0) without a memory.
    """
    from matplotlib.figure import Figure

    time = len(inputs)
    shifted = np.zeros((2, time, outputs.shape[1]))
    shifted[:, -len(outputs) :] = targets, outputs
    rows = [("input", inputs), ("target", shifted[0]), ("output", shifted[1])]
    if heads.size:
        used = heads.max(axis=(0, 1)) > 0.1
        order = np.roll(np.arange(heads.shape[2]), -_start(used))[: max(8, int(used.sum()) + 2)]
        rows += [("writes", heads[:, 0, order]), ("reads", heads[:, 1, order])]
    sizes = [max(8, min(40, row.shape[1])) for _, row in rows]
    figure = Figure((6.5, 0.06 * sum(sizes) + 0.4), layout="constrained")
    every = figure.subplots(len(rows), 1, sharex=True, height_ratios=sizes, squeeze=False)[:, 0]
    for axes, (name, row) in zip(every, rows, strict=True):
        axes.imshow(row.T, aspect="auto", cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set(xticks=[], yticks=[])
    every[-1].set_xlabel("time")
    return figure


def _start(used: np.ndarray) -> int:
    """The place after the longest run of unused ones, on a circle."""
    if used.all() or not used.any():
        return 0
    best, start, run = 0, 0, 0
    for i in range(2 * len(used)):
        run = 0 if used[i % len(used)] else run + 1
        if run > best:
            best, start = run, (i + 1) % len(used)
    return start
