"""Captions from features of an image or a video: a GRU over words, with or without attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.networks.attention import Attention


class Captioner(nn.Module):
    """A GRU (Cho et al. 2014) over the words so far, that attends to places before each next word.

    The state begins with the mean of all places. What is attended to and the state give the scores of the next word, as in
    Luong et al. 2015; the scoring of places is Bahdanau et al.'s. Without attention the mean of all places stands in its stead.

    Args:
        words: known words; 0 pads, 1 is a word not known, 2 ends a caption and begins the next.
        features: numbers of each place.
        width: of word vectors, state and attention.
        attention: whether there is attention.
    """

    UNKNOWN, END = 1, 2
    HIDDEN = 0.3
    """Share of the words before that are hidden in training, so that words are chosen by what is seen."""

    def __init__(self, words: int, features: int, width: int, attention: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.begin = nn.Linear(features, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.attention = Attention(width, features, width) if attention else None
        # Linear, so that a colour never seen with an object does not speak against it.
        self.word = nn.Linear(width + features, words)

    def forward(self, places: Tensor, captions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores of every word of captions, given the words before it.

        Args:
            places: (n, places, features).
            captions: int (n, length), with their ends.

        Returns:
            Scores (n, length, words), and where the attention was, (n, length, places).
        """
        before = torch.cat([torch.full_like(captions[:, :1], self.END), captions[:, :-1]], dim=1)
        if self.training:
            hidden = torch.rand(before.shape, device=before.device) < self.HIDDEN
            before = before.masked_fill(hidden & (before > 0), self.UNKNOWN)
        mean = places.mean(dim=1)
        states, _ = self.gru(self.embedding(before), torch.tanh(self.begin(mean)).unsqueeze(0))
        return self._words(states, places, mean)

    def _words(self, states: Tensor, places: Tensor, mean: Tensor) -> tuple[Tensor, Tensor | None]:
        context, weights = mean.unsqueeze(1).expand(-1, states.shape[1], -1), None
        if self.attention is not None:
            context, weights = self.attention(states, places)
        return self.word(torch.cat([states, context], dim=2)), weights

    @torch.no_grad()
    def generate(self, places: Tensor, longest: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """The most probable word at each step, until the end.

        Returns:
            Captions (n, longest + 1) with their ends, 0 behind; the logarithm of their probability (n,); and where the
            attention was, (n, longest + 1, places).
        """
        count, mean = len(places), places.mean(dim=1)
        state = torch.tanh(self.begin(mean)).unsqueeze(0)
        word = torch.full((count, 1), self.END, device=places.device)
        ended = torch.zeros(count, dtype=torch.bool, device=places.device)
        logs = places.new_zeros(count)
        words, weights = [], []
        for _ in range(longest + 1):
            states, state = self.gru(self.embedding(word), state)
            scores, seen = self._words(states, places, mean)
            best, word = scores[:, 0].log_softmax(dim=1).max(dim=1, keepdim=True)
            word = word.masked_fill(ended.unsqueeze(1), 0)
            logs += best[:, 0].masked_fill(ended, 0)
            ended = ended | (word[:, 0] == self.END)
            words.append(word)
            weights += [] if seen is None else [seen]
        return torch.cat(words, dim=1), logs, torch.cat(weights, dim=1) if weights else None


class Places(nn.Module):
    """A CNN from images to vectors of their places, cells of a grid, each with its row and column.

    Args:
        height, width: of the images; there are blocks with stride 2 until the grid has at most 12×12 cells.
        features: numbers of each place.
        flat: one vector for the whole image instead, a linear map of the whole grid.
    """

    LARGEST = 12

    def __init__(self, height: int, width: int, features: int, flat: bool) -> None:
        super().__init__()
        blocks, before, self.grid = [], 3, (height, width)
        while max(self.grid) > self.LARGEST or before < 48:
            after = 32 if before == 3 else 48
            blocks += _block(before, after, 2)
            self.grid, before = (-(-self.grid[0] // 2), -(-self.grid[1] // 2)), after
        self.blocks = nn.Sequential(*blocks, *_block(before, features - 2, 1))
        places = self.grid[0] * self.grid[1]
        self.flat = nn.Linear(places * features, features) if flat else None

    def forward(self, images: Tensor) -> Tensor:
        """Vectors (n, places, features) of images uint8 (n, 3, height, width); row by row."""
        x = self.blocks(images.float() / 255 - 0.5)
        rows, columns = (torch.linspace(-1, 1, size, device=x.device) for size in self.grid)
        where = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(x), -1, -1, -1)
        places = torch.cat([x, where], dim=1).flatten(2).transpose(1, 2)
        if self.flat is None:
            return places
        return torch.relu(self.flat(places.flatten(1))).unsqueeze(1)


def _block(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]


class VideoCaptioner(nn.Module):
    """A CNN on each frame, a GRU over the frames, and a captioner that attends to the states of the GRU.

    Args:
        words: known words, as of a `Captioner`.
        height, width: of the frames.
        features, size: numbers of a frame; of word vectors, captioner's state and attention.
    """

    def __init__(self, words: int, height: int, width: int, features: int, size: int) -> None:
        super().__init__()
        self.places = Places(height, width, features, flat=True)
        self.gru = nn.GRU(features, features, batch_first=True)
        self.captioner = Captioner(words, features, size, attention=True)

    def states(self, videos: Tensor) -> Tensor:
        """States (n, frames, features) of videos uint8 (n, frames, 3, height, width)."""
        features = self.places(videos.flatten(0, 1)).view(*videos.shape[:2], -1)
        return self.gru(features)[0]

    def forward(self, videos: Tensor, captions: Tensor) -> Tensor:
        """Scores (n, length, words) of captions (n, length), given the words before."""
        return self.captioner(self.states(videos), captions)[0]
