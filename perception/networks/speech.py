"""Networks that read speech: log-mel features, a recurrent encoder, and a decoder with attention.

The ear resolves pitch roughly logarithmically: the mel scale has bands that become wider with the frequency. The
encoder makes every fourth of their frames a state: two convolutions over time halve the frames each, and a
bidirectional GRU lets every state see the whole. CTC reads the states in order (`perception.networks.ctc`); the decoder
with attention writes a symbol at a time and chooses where to look (Chan et al. 2016, "Listen, Attend and Spell").
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.networks.attention import Attention
from perception.networks.rnn import PaddedRNN

END = 0
"""Begins and ends a text, for the decoder."""


def mel_filters(bands: int, bins: int, rate: int) -> Tensor:
    """Triangular filters (bands, bins), equally spaced on the mel scale from 0 to half the sample rate.

    Args:
        bins: frequencies of a spectrum, equally spaced over the same range.
    """
    highest = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700))
    corners = 700 * (10 ** (torch.linspace(0, float(highest), bands + 2) / 2595) - 1)
    left, middle, right = (corners[at : at + bands, None] for at in range(3))
    hertz = torch.linspace(0, rate / 2, bins)
    return torch.minimum(
        (hertz - left) / (middle - left), (right - hertz) / (right - middle)
    ).relu()


class LogMel(nn.Module):
    """Log-mel spectrograms of recordings, every 10 ms, whatever their loudness.

    Args:
        rate: samples a second.
        bands: of the mel scale.
    """

    filters: Tensor
    window: Tensor
    RANGE = 9.0
    """What has less than e^-RANGE of the power of the loudest is silence."""

    def __init__(self, rate: int, bands: int) -> None:
        super().__init__()
        self.hop, self.size = rate // 100, 2 ** (rate // 40).bit_length()
        window = torch.hann_window(rate // 40)  # 25 ms
        self.register_buffer("window", window, persistent=False)
        filters = mel_filters(bands, self.size // 2 + 1, rate)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Spectrograms (n, bands, frames) in 0…2, where 0 is silence, and the numbers of frames (n,).

        Args:
            samples: (n, longest) of any real type.
            lengths: (n,) samples of each.
        """
        spectra = torch.stft(
            samples.float(),
            self.size,
            self.hop,
            len(self.window),
            self.window,
            pad_mode="constant",
            return_complex=True,
        )
        logs = (self.filters @ (spectra.real.square() + spectra.imag.square())).clamp(1e-5).log()
        loudest = logs.amax(dim=(1, 2), keepdim=True)
        frames = 1 + lengths // self.hop
        there = mask(frames, logs.shape[2]).unsqueeze(1)
        return (logs - loudest + self.RANGE).relu() * (2 / self.RANGE) * there, frames


def mask(lengths: Tensor, longest: int) -> Tensor:
    """Which places of padded sequences are there; (n, longest) bool."""
    return torch.arange(longest, device=lengths.device) < lengths.unsqueeze(1)


class SpeechEncoder(nn.Module):
    """States of a spectrogram, one for every four frames.

    Args:
        bands: of the spectrograms.
        hidden_size: filters of the convolutions, and units of the GRU in each direction.
        layers: of the GRU.
        dropout: probability.
    """

    def __init__(self, bands: int, hidden_size: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, hidden_size, 5, stride=2, padding=2)
            for inputs in (bands, hidden_size)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden_size) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.rnn = PaddedRNN("gru", hidden_size, hidden_size, layers, dropout=dropout)

    def forward(self, spectrograms: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """States (n, longest, 2 · hidden), 0 after the end, and their numbers (n,).

        Args:
            spectrograms: (n, bands, longest).
            frames: (n,) of each, at least 1.
        """
        x, lengths = spectrograms, frames
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            lengths = (lengths + 1) // 2
            x = norm(convolution(x)).relu()
            # Zeros after the end: a recording gives the same states alone and in a batch.
            x = x * mask(lengths, x.shape[2]).unsqueeze(1)
        states = self.rnn(self.dropout(x.transpose(1, 2)), lengths)
        return self.dropout(states) * mask(lengths, states.shape[1]).unsqueeze(2), lengths


class AttentionDecoder(nn.Module):
    """Writes symbols one after the other and attends to the states of an encoder.

    With each state the attention sees where it looked before (location-aware: Chorowski et al. 2015), so that it can
    go on from there, also past two moments that sound the same.

    Args:
        symbols: numbers of them, with `END`.
        states: size of the encoder's states.
        hidden_size: of the GRU.
    """

    LOCATIONS = 8

    def __init__(self, symbols: int, states: int, hidden_size: int) -> None:
        super().__init__()
        keys = states + self.LOCATIONS
        self.embedding = nn.Embedding(symbols, hidden_size)
        self.locations = nn.Conv1d(2, self.LOCATIONS, 11, padding=5)
        self.attention = Attention(hidden_size, keys, hidden_size)
        self.cell = nn.GRUCell(hidden_size + keys, hidden_size)
        self.symbol = nn.Linear(hidden_size + keys, symbols)

    def _step(
        self, before: Tensor, state: Tensor, looks: Tensor, keys: Tensor, there: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (n, symbols), next state, and the weights (n, 2, m): of this step, and of all steps so far."""
        located = torch.cat([keys, self.locations(looks).transpose(1, 2)], dim=2)
        result, weights = self.attention(state.unsqueeze(1), located, there)
        result = result.squeeze(1)
        state = self.cell(torch.cat([self.embedding(before), result], dim=1), state)
        looks = torch.cat([weights, looks[:, 1:] + weights], dim=1)
        return self.symbol(torch.cat([state, result], dim=1)), state, looks

    def _begin(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """State and weights before the first step."""
        state = keys.new_zeros(len(keys), self.cell.hidden_size)
        return state, keys.new_zeros(len(keys), 2, keys.shape[1])

    def loss(self, keys: Tensor, lengths: Tensor, labels: Tensor, sizes: Tensor) -> Tensor:
        """Cross-entropy of each symbol of the texts and their ends, given those before it.

        Args:
            keys: (n, m, states) and `lengths` (n,), of the encoder.
            labels: (n, k) and `sizes` (n,), the symbols of the texts, padded with `END`.
        """
        there = mask(lengths, keys.shape[1])
        state, looks = self._begin(keys)
        end = torch.full_like(sizes.unsqueeze(1), END)
        scores = []
        for before in torch.cat([end, labels], dim=1).unbind(1):
            score, state, looks = self._step(before, state, looks, keys, there)
            scores.append(score)
        wanted = torch.cat([labels, end], dim=1)
        losses = F.cross_entropy(torch.stack(scores, dim=2), wanted, reduction="none")
        return losses[mask(sizes + 1, losses.shape[1])].mean()

    def write(self, keys: Tensor, lengths: Tensor) -> list[tuple[list[int], float, Tensor]]:
        """For each recording the most probable symbol after the other (greedy).

        Returns:
            Symbols, the log-probability of all of them and the end, and attention weights (symbols, m).
        """
        there = mask(lengths, keys.shape[1])
        state, looks = self._begin(keys)
        symbol = torch.full((len(keys),), END, device=keys.device)
        steps: list[tuple[Tensor, Tensor, Tensor]] = []
        ended = torch.zeros_like(symbol, dtype=torch.bool)
        while not ended.all() and len(steps) <= keys.shape[1]:  # no more symbols than states
            score, state, looks = self._step(symbol, state, looks, keys, there)
            best, symbol = score.log_softmax(dim=1).max(dim=1)
            steps.append((symbol, best, looks[:, 0]))
            ended |= symbol == END
        symbols, best, weights = (torch.stack(one, dim=1) for one in zip(*steps, strict=True))
        result = []
        for row, (numbers, logs) in enumerate(zip(symbols.tolist(), best.tolist(), strict=True)):
            text = list(itertools.takewhile(lambda number: number != END, numbers))
            there_it_looked = weights[row, : len(text), : lengths[row]]
            result.append((text, sum(logs[: len(text) + 1]), there_it_looked))
        return result
