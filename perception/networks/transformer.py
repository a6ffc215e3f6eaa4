"""The Transformer that reads a sequence and writes another (Vaswani et al. 2017).

The layers normalise their inputs, not their outputs (Xiong et al. 2020), so that training needs no care; positions are
sinusoids. While words are written, keys and values of those before are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.networks.seq2seq import PADDING, Seq2Seq, Tensors, words_before


def sinusoids(first: int, length: int, size: int) -> Tensor:
    """Positions first, first + 1, … as sines and cosines of `size` / 2 wavelengths each; (length, size)."""
    places = torch.arange(first, first + length, dtype=torch.float32).unsqueeze(1)
    frequencies = torch.exp(torch.arange(0, size, 2) * (-math.log(10_000) / size))
    angles = places * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention of several heads.

    Args:
        size: of queries, keys and outputs; a multiple of `heads`.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.output = nn.Linear(size, size)

    def remember(self, values: Tensor) -> Tensor:
        """Keys and values (batch, 2, heads, m, size / heads) of vectors (batch, m, size)."""
        return self.key_value(values).unflatten(2, (2, self.heads, -1)).permute(0, 2, 3, 1, 4)

    def forward(
        self, queries: Tensor, memory: Tensor, there: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Look once for each query.

        Args:
            queries: (batch, n, size).
            memory: as `remember` gives it.
            there: (batch, 1, 1, m) bool, False for what is not looked at.
            causal: query i looks at no more than the first i + 1.

        Returns:
            (batch, n, size).
        """
        heads = self._queries(queries)
        result = F.scaled_dot_product_attention(
            heads, memory[:, 0], memory[:, 1], attn_mask=there, is_causal=causal
        )
        return self.output(result.transpose(1, 2).flatten(2))

    def weights(self, queries: Tensor, memory: Tensor, there: Tensor) -> Tensor:
        """How much each query looks at what, (batch, n, m), the mean over the heads."""
        heads = self._queries(queries)
        scores = heads @ memory[:, 0].transpose(2, 3) / math.sqrt(heads.shape[3])
        return scores.masked_fill(~there, -torch.inf).softmax(dim=3).mean(dim=1)

    def _queries(self, queries: Tensor) -> Tensor:
        return self.query(queries).unflatten(2, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Attention within a sequence, to another one if `reads`, and two linear layers; each added to its input."""

    def __init__(self, size: int, heads: int, dropout: float, reads: bool) -> None:
        super().__init__()
        self.within, self.norm_within = MultiHeadAttention(size, heads), nn.LayerNorm(size)
        if reads:
            self.across, self.norm_across = MultiHeadAttention(size, heads), nn.LayerNorm(size)
        self.linear, self.norm_linear = (
            nn.Sequential(
                nn.Linear(size, 2 * size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * size, size)
            ),
            nn.LayerNorm(size),
        )
        self.dropout = nn.Dropout(dropout)


def _layers(layers: Iterable[Layer]) -> Sequence[Layer]:
    """A list of PyTorch's, whose type does not say what is in it."""
    return cast(Sequence[Layer], nn.ModuleList(layers))


class Transformer(Seq2Seq):
    """Encoder and decoder of as many layers each.

    Args:
        size: of all vectors; the two linear layers of a layer are twice as wide between them.
        layers: of the encoder, and of the decoder.
        heads: of each attention.
        dropout: dropout probability.
    """

    def __init__(
        self, sources: int, words: int, size: int, layers: int, heads: int, dropout: float
    ) -> None:
        if size % (2 * heads):
            raise ValueError(f"the size of a Transformer must be a multiple of {2 * heads}")
        super().__init__(sources, words, size)
        self.encoder, self.decoder = (
            _layers(Layer(size, heads, dropout, reads) for _ in range(layers))
            for reads in (False, True)
        )
        self.norm_encoder, self.norm_decoder = nn.LayerNorm(size), nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def encode(self, sources: Tensor) -> tuple[Tensors, Tensors]:
        there = (sources != PADDING)[:, None, None]
        x = self._vectors(self.source_embedding(sources), 0)
        for layer in self.encoder:
            y = layer.norm_within(x)
            x = x + layer.dropout(layer.within(y, layer.within.remember(y), there))
            x = x + layer.dropout(layer.linear(layer.norm_linear(x)))
        states = self.norm_encoder(x)
        memory = torch.stack([layer.across.remember(states) for layer in self.decoder], dim=1)
        return (memory, there), (memory[:, :, :, :, :0],)

    def step(self, words: Tensor, memory: Tensors, state: Tensors) -> tuple[Tensor, Tensors]:
        outputs, past, _ = self._decode(words.unsqueeze(1), memory, state[0], look=False)
        return self.scores(outputs.squeeze(1)), (past,)

    def forward(self, sources: Tensor, words: Tensor) -> Tensor:
        memory, (past,) = self.encode(sources)
        return self._decode(words_before(words), memory, past, look=False)[0]

    def decode(self, sources: Tensor, words: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `Seq2Seq.decode`; the weights are the mean over all heads of all layers."""
        memory, (past,) = self.encode(sources)
        outputs, _, weights = self._decode(words_before(words), memory, past, look=True)
        return outputs, weights

    def _decode(
        self, words: Tensor, memory: Tensors, past: Tensor, look: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Outputs for words (batch, n) after those of `past` (batch, layers, 2, heads, t, size / heads).

        n is 1, or t is 0. Returns outputs, the new past, and the weights if `look`.
        """
        x = self._vectors(self.word_embedding(words), past.shape[4])
        kept, looks = [], []
        for number, layer in enumerate(self.decoder):
            y = layer.norm_within(x)
            new = torch.cat([past[:, number], layer.within.remember(y)], dim=3)
            kept.append(new)
            x = x + layer.dropout(layer.within(y, new, causal=words.shape[1] > 1))
            y = layer.norm_across(x)
            if look:
                looks.append(layer.across.weights(y, memory[0][:, number], memory[1]))
            x = x + layer.dropout(layer.across(y, memory[0][:, number], memory[1]))
            x = x + layer.dropout(layer.linear(layer.norm_linear(x)))
        weights = torch.stack(looks).mean(dim=0) if look else None
        return self.norm_decoder(x), torch.stack(kept, dim=1), weights

    def _vectors(self, embedded: Tensor, first: int) -> Tensor:
        places = sinusoids(first, embedded.shape[1], embedded.shape[2]).to(embedded)
        return self.dropout(self.scale * embedded + places)
