"""Sequence to sequence: a network reads a sequence of symbols and writes another, and beam search.

The recurrent one reads by a bidirectional GRU and writes by a GRU (Cho et al. 2014), which looks at what was read
with attention before each word (Bahdanau, Cho & Bengio 2015) or knows the encoder's last states only. The Transformer is
in `perception.networks.transformer`. Words are numbers; every sequence ends with `END`, shorter ones of a batch are
padded with `PADDING`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from perception.networks.attention import Attention

PADDING, BEGIN, END, UNKNOWN = range(4)
SPECIAL = 4
"""Words are numbered from here."""
NEVER_WRITTEN = [PADDING, BEGIN, UNKNOWN]

Tensors = tuple[Tensor, ...]
"""Tensors whose first dimension is the batch."""


class Seq2Seq(nn.Module, ABC):
    """What reads and writes sequences; the vectors of written words are also the weights of their scores.

    Args:
        sources: size of the vocabulary that is read.
        words: size of the vocabulary that is written.
        size: of the vectors of symbols and words.
    """

    def __init__(self, sources: int, words: int, size: int) -> None:
        super().__init__()
        self.scale = size**0.5
        self.source_embedding = nn.Embedding(sources, size)
        self.word_embedding = nn.Embedding(words, size)
        self.word_bias = nn.Parameter(torch.zeros(words))
        for embedding in (self.source_embedding, self.word_embedding):
            nn.init.normal_(embedding.weight, std=1 / self.scale)

    @abstractmethod
    def encode(self, sources: Tensor) -> tuple[Tensors, Tensors]:
        """Read sources (batch, m) int64; gives what stays as it is while words are written, and the first state."""

    @abstractmethod
    def step(self, words: Tensor, memory: Tensors, state: Tensors) -> tuple[Tensor, Tensors]:
        """Scores (batch, vocabulary) of the next word, and the next state.

        Args:
            words: (batch,) the words before, `BEGIN` at first.
        """

    @abstractmethod
    def decode(self, sources: Tensor, words: Tensor) -> tuple[Tensor, Tensor | None]:
        """Outputs (batch, n, size) for given words (batch, n), and how much each looks at the sources (batch, n, m).

        Output i depends on the words before word i; it is what `scores` takes. The weights are None without attention.
        """

    def forward(self, sources: Tensor, words: Tensor) -> Tensor:
        """Outputs for given words, as `decode` has them."""
        return self.decode(sources, words)[0]

    def scores(self, outputs: Tensor) -> Tensor:
        """Scores (…, vocabulary) of outputs (…, size)."""
        return F.linear(outputs, self.word_embedding.weight, self.word_bias)

    def loss(self, sources: Tensor, words: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of the words, padding left out before the scores are computed."""
        there = words != PADDING
        scores = self.scores(self(sources, words)[there])
        return F.cross_entropy(scores, words[there], label_smoothing=label_smoothing)


def words_before(words: Tensor) -> Tensor:
    """The word before each word (batch, n); `BEGIN` before the first."""
    return torch.cat([torch.full_like(words[:, :1], BEGIN), words[:, :-1]], dim=1)


class RecurrentSeq2Seq(Seq2Seq):
    """GRUs that read and write, with attention or without.

    Without attention what is looked at before each word is always the same: the last states of the encoder in both
    directions.

    Args:
        embedding: size of the vectors of symbols and words.
        hidden_size: units of the encoder in each direction, and of the decoder.
        dropout: dropout probability.
    """

    def __init__(
        self,
        sources: int,
        words: int,
        embedding: int,
        hidden_size: int,
        dropout: float,
        attention: bool = True,
    ) -> None:
        super().__init__(sources, words, embedding)
        self.encoder = nn.GRU(embedding, hidden_size, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * hidden_size, hidden_size)
        self.attention = Attention(hidden_size, 2 * hidden_size, hidden_size) if attention else None
        self.decoder = nn.GRU(embedding + 2 * hidden_size, hidden_size, batch_first=True)
        self.output = nn.Linear(embedding + 3 * hidden_size, embedding)
        self.dropout = nn.Dropout(dropout)

    def encode(self, sources: Tensor) -> tuple[Tensors, Tensors]:
        there = sources != PADDING
        vectors = self.dropout(self.scale * self.source_embedding(sources))
        packed = pack_padded_sequence(
            vectors, there.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False
        )
        packed_states, last = self.encoder(packed)
        summary = torch.cat([last[0], last[1]], dim=1)
        state = self.bridge(summary).tanh()
        if self.attention is None:
            return (summary,), (state,)
        states, _ = pad_packed_sequence(
            packed_states, batch_first=True, total_length=sources.shape[1]
        )
        return (states, self.attention.key(states), there), (state,)

    def step(self, words: Tensor, memory: Tensors, state: Tensors) -> tuple[Tensor, Tensors]:
        before = self.scale * self.word_embedding(words).unsqueeze(1)
        output, hidden, _ = self._step(before, memory, state[0])
        return self.scores(self._outputs(output)).squeeze(1), (hidden,)

    def decode(self, sources: Tensor, words: Tensor) -> tuple[Tensor, Tensor | None]:
        memory, (state,) = self.encode(sources)
        before = self.dropout(self.scale * self.word_embedding(words_before(words)))
        if self.attention is None:  # all steps in one call
            output, _, _ = self._step(before, memory, state)
            return self._outputs(output), None
        outputs, looks = [], []
        for one in before.split(1, dim=1):
            output, state, weights = self._step(one, memory, state)
            outputs.append(output)
            looks.append(weights)
        return self._outputs(torch.cat(outputs, dim=1)), torch.cat(looks, dim=1)

    def _step(
        self, before: Tensor, memory: Tensors, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step with attention, or any number without: before the output layer, next state, weights."""
        if self.attention is None:
            context, weights = memory[0].unsqueeze(1).expand(-1, before.shape[1], -1), state
        else:
            context, weights = self.attention.look(state.unsqueeze(1), *memory)
        inputs = torch.cat([before, context], dim=2)
        states, last = self.decoder(inputs, state.unsqueeze(0))
        return torch.cat([states, inputs], dim=2), last[0], weights

    def _outputs(self, values: Tensor) -> Tensor:
        return self.dropout(self.output(values).tanh())


# -- beam search -----------------------------------------------------------------------------------------


class Hypothesis(NamedTuple):
    """A written sequence."""

    words: list[int]
    """Without the end."""
    score: float
    """Mean log-probability of its words, the end included."""


@torch.no_grad()
def beam_search(network: Seq2Seq, sources: Tensor, beam: int, longest: int) -> list[Hypothesis]:
    """The sequence with the best score that is found for each source.

    Of each source the `beam` likeliest beginnings are kept (1: greedy), until as many sequences have ended
    among the likeliest.

    Args:
        sources: (batch, m) int64, each with one symbol at least.
        longest: words after which a sequence is cut.
    """
    memory, state = network.encode(sources)
    memory, state = (
        tuple(tensor.repeat_interleave(beam, dim=0) for tensor in part) for part in (memory, state)
    )
    best = [Hypothesis([], -torch.inf) for _ in sources]
    ended = torch.zeros(len(sources), dtype=torch.long)
    open_ = torch.arange(len(sources))  # the rows below are of these sources
    totals = torch.full((len(sources), beam), -torch.inf)
    totals[:, 0] = 0.0
    words = torch.full((len(sources) * beam,), BEGIN, device=sources.device)
    paths = torch.zeros(len(sources), beam, 0, dtype=torch.long)
    for length in range(1, longest + 1):
        scores, state = network.step(words, memory, state)
        scores[:, NEVER_WRITTEN] = -torch.inf
        size = scores.shape[1]
        logs = totals.unsqueeze(2) + scores.float().log_softmax(1).cpu().unflatten(0, (-1, beam))
        totals, chosen = logs.flatten(1).topk(min(2 * beam, beam * size))
        parents, chosen = chosen // size, chosen % size
        is_end = (chosen == END) & totals.isfinite()
        last = length == longest
        finished = is_end if not last else totals.isfinite()
        finished[:, beam:] = False
        for row, rank in finished.nonzero().tolist():
            number = int(open_[row])
            score = float(totals[row, rank]) / length
            if score > best[number].score:
                words_there = paths[row, parents[row, rank]].tolist()
                word = int(chosen[row, rank])
                best[number] = Hypothesis(words_there + [word] * (word != END), score)
        ended[open_] += finished.sum(dim=1)
        # Sequences that go on: the first `beam` that have not ended, in the order of their scores.
        ranks = (is_end.long()).argsort(dim=1, stable=True)[:, :beam]
        totals = totals.masked_fill(is_end, -torch.inf).gather(1, ranks)
        parents, chosen = parents.gather(1, ranks), chosen.gather(1, ranks)
        paths = torch.cat(
            [paths.gather(1, parents.unsqueeze(2).expand(-1, -1, length - 1)), chosen.unsqueeze(2)],
            dim=2,
        )
        on = (ended[open_] < beam) & totals.isfinite().any(dim=1)
        if last or not on.any():
            break
        rows = on.nonzero().squeeze(1)
        open_, totals, paths = open_[rows], totals[rows], paths[rows]
        kept = (rows.unsqueeze(1) * beam + torch.arange(beam)).flatten()
        origins = (rows.unsqueeze(1) * beam + parents[rows]).flatten()
        kept, origins = kept.to(sources.device), origins.to(sources.device)
        memory = tuple(tensor[kept] for tensor in memory) if len(rows) < len(on) else memory
        state = tuple(tensor[origins] for tensor in state)
        words = chosen[rows].flatten().to(sources.device)
    return best
