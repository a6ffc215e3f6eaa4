"""Networks that classify texts: a bag of terms, a CNN, an RNN."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.networks.rnn import PaddedRNN


class BagOfTerms(nn.Module):
    """A linear model on sparse vectors such as TF-IDF, or with a hidden layer.

    Args:
        terms: length of the vectors.
        outputs: scores of a text.
        hidden_size: units of the hidden layer; 0 for none.
        dropout: probability of dropping a hidden unit.
    """

    def __init__(self, terms: int, outputs: int, hidden_size: int = 0, dropout: float = 0) -> None:
        super().__init__()
        first = hidden_size or outputs
        self.weights = nn.EmbeddingBag(terms, first, mode="sum")
        nn.init.normal_(self.weights.weight, std=0.1 if hidden_size else 0.0)
        self.bias = nn.Parameter(torch.zeros(first))
        self.rest = (
            nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_size, outputs))
            if hidden_size
            else nn.Identity()
        )

    def forward(self, terms: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        """Scores (n, outputs).

        Args:
            terms: (all,) numbers of the terms of all texts, one text after the other.
            places: (n,) where each text begins.
            weights: (all,) their weights.
        """
        return self.rest(self.weights(terms, places, per_sample_weights=weights) + self.bias)


class TextCNN(nn.Module):
    """Convolutions over words of several widths, each filter's maximum over the text (Kim 2014, "CNN-rand").

    Args:
        words: known words, with padding (0).
        filters: for each of the widths 3, 4 and 5.
    """

    WIDTHS = (3, 4, 5)

    def __init__(self, words: int, outputs: int, embedding: int, filters: int, dropout: float):
        super().__init__()
        self.embedding = nn.Embedding(words, embedding, padding_idx=0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding, filters, width, padding=width - 1) for width in self.WIDTHS
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(filters * len(self.WIDTHS), outputs)

    def forward(self, words: Tensor) -> Tensor:
        """Scores (n, outputs) of word numbers (n, length)."""
        x = self.embedding(words).transpose(1, 2)
        # As many zeros before and after as a filter is wide: a text of one word has a maximum, too.
        maxima = [F.relu(convolution(x)).amax(dim=2) for convolution in self.convolutions]
        return self.linear(self.dropout(torch.cat(maxima, dim=1)))


class TextRNN(nn.Module):
    """A recurrent network over the words; each unit's maximum over the text is what is used.

    Args:
        words: known words, with padding (0).
        hidden_size: units in each direction.
        kind, layers, bidirectional: as in `PaddedRNN`.
    """

    def __init__(
        self,
        words: int,
        outputs: int,
        embedding: int,
        hidden_size: int,
        dropout: float,
        kind: Literal["rnn", "lstm", "gru"] = "gru",
        layers: int = 1,
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding, padding_idx=0)
        with torch.no_grad():
            self.embedding.weight *= 0.1  # large random vectors take long to be forgotten
        self.rnn = PaddedRNN(kind, embedding, hidden_size, layers, bidirectional, dropout)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(self.rnn.features, outputs)

    def forward(self, words: Tensor) -> Tensor:
        """Scores (n, outputs) of word numbers (n, length)."""
        there = words > 0
        lengths = there.sum(dim=1).clamp(min=1)
        states = self.rnn(self.dropout(self.embedding(words)), lengths)
        after = torch.arange(words.shape[1], device=words.device) >= lengths.unsqueeze(1)
        states = states.masked_fill(after.unsqueeze(2), -1e4)
        return self.linear(self.dropout(states.amax(dim=1)))
