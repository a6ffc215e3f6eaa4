"""Response generation: sentences for dialogue acts, learnt from acts with sentences.

The network and its paper are in `perception.networks.response_generation`. The loss is the cross-entropy of each word
given the act and the words before. The score is the share of acts whose sentence has the right slots;
BLEU-4 (sacrebleu) compares with the test's sentences for the act.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset

from perception.data.datasets import Rows, rows_of
from perception.data.sentences import load_acts, origin
from perception.networks.response_generation import (
    ResponseGenerator,
    Utterance,
    placeholders,
    text_of,
    words_of,
)
from perception.networks.seq2seq import PADDING, SPECIAL, RecurrentSeq2Seq, Seq2Seq
from perception.tasks.bleu import bleu, bleu_counts
from perception.tasks.sequences import Attention, attention_picture
from perception.tasks.task import (
    STRICT,
    DataError,
    DataSource,
    Epochs,
    Metric,
    Task,
    TaskData,
    warm_average,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Width = Annotated[int, Field(ge=1, le=10_000)]
_Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class ResponseGenerationConfig:
    """Network and training."""

    epochs: Epochs = 5
    """Passes over the training sentences."""
    embedding: _Width = 64
    """Size of the vectors of symbols and words."""
    hidden_size: _Width = 128
    """Units of the encoder in each direction, and of the decoder."""
    dropout: _Share = 0.2
    """Dropout probability."""
    learning_rate: Annotated[float, Field(gt=0)] = 4e-3
    """Learning rate of Adam."""
    batch_size: PositiveInt = 64
    """Sentences per update; their acts are of one length."""
    average: _Share = 0.99
    """Decay of the exponential average of the weights, which the model uses."""


class ResponseGeneration(Task):
    """Sentences for dialogue acts.

    A training batch is a pair of tensors (acts, padded sentences); a test batch is a list of utterances.
    """

    Config = ResponseGenerationConfig
    default_data = "domain:movie"

    def __init__(self, config: ResponseGenerationConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        acts, words = metadata["acts"], metadata["words"]
        sizes = (config.embedding, config.hidden_size, config.dropout)
        self.network = RecurrentSeq2Seq(SPECIAL + len(acts), SPECIAL + len(words), *sizes)
        self.average = AveragedModel(self.network, multi_avg_fn=warm_average(config.average))
        self.model = ResponseGenerator(cast(Seq2Seq, self.average.module), acts, words)
        """The averaged network with its vocabularies: what to use."""
        self.optimizers = {
            "main": torch.optim.Adam(self.network.parameters(), config.learning_rate, fused=True)
        }
        self._encoded: tuple[Dataset[Any] | None, list[tuple[Tensor, Tensor]]] = (None, [])

    @classmethod
    def load_data(cls, config: ResponseGenerationConfig, source: DataSource) -> TaskData:
        if source.scheme is not None:
            train, test = (
                [Utterance(act, words_of(sentence)) for act, sentence in rows]
                for rows in source.provide("acts")
            )
            found = f"made from {source.reference}"
        else:
            location = source.locate()
            train, test = load_acts(location.path)
            found = location.found
        metadata = {
            "acts": sorted({symbol for utterance in train for symbol in utterance.act}),
            "words": sorted({word for utterance in train for word in utterance.words}),
        }
        about = origin(source.reference, found, train, test)
        if source.scheme is not None:
            about["licence"] = "none: generated"
        return TaskData(Rows(train), Rows(test), metadata, about)

    def batches(self, dataset: Dataset[Any], *, training: bool) -> Iterator[Any]:
        """Acts of one length make a training batch; their sentences are padded."""
        if not training:
            utterances = rows_of(dataset)
            yield from (utterances[at : at + 256] for at in range(0, len(utterances), 256))
            return
        if self._encoded[0] is not dataset:
            self._encoded = (dataset, self._encode(rows_of(dataset)))
        batches = [
            (group, chosen)
            for group in self._encoded[1]
            for chosen in torch.randperm(len(group[0])).split(self.config.batch_size)
        ]
        for number in torch.randperm(len(batches)).tolist():
            (acts, words), chosen = batches[number]
            longest = int((words[chosen] != PADDING).sum(dim=1).max())
            yield acts[chosen].to(self.device), words[chosen, :longest].to(self.device)

    def _encode(self, utterances: Sequence[Utterance]) -> list[tuple[Tensor, Tensor]]:
        """Acts and padded sentences of each length of acts."""
        by_length: dict[int, list[Utterance]] = {}
        for utterance in utterances:
            by_length.setdefault(len(utterance.act), []).append(utterance)
        model, groups = self.model, []
        for _, group in sorted(by_length.items()):
            words = [torch.tensor(model.word_numbers(utterance.words)) for utterance in group]
            acts = torch.tensor([model.act_numbers(utterance.act) for utterance in group])
            groups.append((acts, pad_sequence(words, batch_first=True, padding_value=PADDING)))
        return groups

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        acts, words = batch
        loss = self.network.loss(acts, words)
        adam = self.optimizers["main"]
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        adam.step()
        self.average.update_parameters(self.network)
        return {"loss": loss.detach()}

    def evaluate(self, batches: Iterable[list[Utterance]]) -> dict[str, Metric]:
        """Each act of the test once, decoded greedily; sampling, where slots are wrong, has a fixed seed.

        Slots are right where the sentence has the same ones as one of the test's sentences for the act.
        """
        references: dict[tuple[str, ...], list[list[str]]] = {}
        for batch in batches:
            for utterance in batch:
                references.setdefault(tuple(utterance.act), []).append(utterance.words)
        sentences = [self.model.sentence(act) for act in references]
        first = [self.model.first_try(act) for act in references]
        slots = [[placeholders(words) for words in group] for group in references.values()]
        right, at_once = (
            np.array(
                [placeholders(words) in group for words, group in zip(tried, slots, strict=True)],
                dtype=float,
            )
            for tried in (sentences, first)
        )
        kinds: dict[str, list[float]] = {}
        for act, value in zip(references, right, strict=True):
            kinds.setdefault(" ".join(act[:2]), []).append(float(value))
        table = [
            [kind, round(sum(values) / len(values), 4), len(values)]
            for kind, values in sorted(kinds.items())
        ]
        texts = [[" ".join(words) for words in group] for group in references.values()]
        counts = bleu_counts([" ".join(words) for words in sentences], texts)
        return {
            "slots right": Metric(right, table=[["act", "slots right", "acts"], *table]),
            "slots right at first try": Metric(at_once),
            "BLEU": Metric(counts, bleu),
        }

    def pictures(self, batches: Iterable[list[Utterance]]) -> dict[str, Figure]:
        """Attention of each word of two generated sentences to the symbols of their act."""
        acts = {tuple(utterance.act) for batch in batches for utterance in batch}
        rows = []
        for act in sorted(acts, key=lambda act: (-len(act), act))[:60:30]:
            words = self.model.sentence(act)[:25] or ["(nothing)"]
            numbers = [self.model.act_numbers(act)], [self.model.word_numbers(words)[:-1]]
            with torch.no_grad():
                tensors = (torch.tensor(part, device=self.device) for part in numbers)
                _, weights = self.model.network.decode(*tensors)
            assert weights is not None
            rows.append(Attention(list(act), words, weights[0].cpu().numpy()))
        return {"attention": attention_picture(rows)}

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Sentences for acts, given as texts such as "user inform inform=city" or lists of symbols."""
        results = []
        for item in inputs:
            act = item.split() if isinstance(item, str) else item
            if not isinstance(act, list | tuple) or not act:
                raise DataError(f"an act is symbols such as 'agent request city', not {item!r}")
            if unknown := self.model.unknown(act):
                some = ", ".join(self.model.acts[:12])
                raise DataError(f"{unknown[0]!r} is no symbol of the acts learnt from: {some}, …")
            words = self.model.sentence(act)
            results.append({"act": list(act), "sentence": text_of(words)})
        return results
