"""Networks in which every pixel sees only those before it: above it, and left of it in its row.

PixelCNN and the row LSTM of van den Oord et al. 2016, "Pixel Recurrent Neural Networks". Each maps images (n, 1, height,
width) to one logit per pixel, of the probability that it is white, so that images are drawn pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DILATIONS = (1, 2, 4, 8)
"""Of one residual block after the other, as far as they are smaller than the image."""


class MaskedConv2d(nn.Conv2d):
    """A convolution whose window ends before its centre (mask A) or with it (mask B)."""

    mask: Tensor

    def __init__(
        self,
        mask: Literal["A", "B"],
        before: int,
        after: int,
        size: tuple[int, int],
        dilation: int = 1,
    ) -> None:
        padding = (size[0] // 2 * dilation, size[1] // 2 * dilation)
        super().__init__(before, after, size, padding=padding, dilation=dilation)
        allowed = torch.ones(size)
        row, column = size[0] // 2, size[1] // 2
        allowed[row, column + (mask == "B") :] = 0
        allowed[row + 1 :] = 0
        self.register_buffer("mask", allowed, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, 1, self.padding, self.dilation)


class ResidualBlock(nn.Module):
    """Half as many channels, a masked convolution of 3×3, and as many channels again, added to the input.

    Args:
        dilation: distance of the pixels that the convolution sees, so that few blocks see far (Yu & Koltun 2016).
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.ReLU(), nn.Conv2d(2 * width, width, 1)),
            *(nn.ReLU(), MaskedConv2d("B", width, width, (3, 3), dilation)),
            *(nn.ReLU(), nn.Conv2d(width, 2 * width, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolutions(x)


class RowLSTM(nn.Module):
    """An LSTM that goes down the rows, all columns at once, added to the input.

    A pixel gets a masked convolution of its own row and, from the row above, a convolution of the states of the three
    pixels next to it: so it sees a triangle of pixels above it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_row = MaskedConv2d("B", 2 * width, 4 * width, (1, 3))
        self.of_state = nn.Conv1d(width, 4 * width, 3, padding=1, bias=False)
        self.up = nn.Conv2d(width, 2 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.of_row(x).unbind(dim=2)
        hidden = torch.zeros_like(rows[0][:, ::4])
        cell, states = hidden, []
        for row in rows:
            gates = row + self.of_state(hidden)
            let_in, forget, out, new = gates.chunk(4, dim=1)
            cell = (forget + 1).sigmoid() * cell + let_in.sigmoid() * new.tanh()
            hidden = out.sigmoid() * cell.tanh()
            states.append(hidden)
        return x + self.up(torch.stack(states, dim=2))


class PlaceBias(nn.Module):
    """A learnt number for every channel and place, added to (n, channels, rows, width), which may have fewer rows."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, height, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, : x.shape[2]]


def pixel_network(
    kind: Literal["pixelcnn", "row-lstm"], size: tuple[int, int], depth: int, width: int
) -> nn.Sequential:
    """A network from images (n, 1, height, width) to logits of the same shape.

    Args:
        size: height and width of the images; upper parts of them may be given too.
        depth: residual blocks, or layers of the row LSTM.
        width: inner channels; twice as many between the blocks.
    """
    inside = [dilation for dilation in DILATIONS if dilation < max(min(size), 2)]
    blocks: list[nn.Module] = [
        ResidualBlock(width, inside[i % len(inside)]) if kind == "pixelcnn" else RowLSTM(width)
        for i in range(depth)
    ]
    return nn.Sequential(
        *(MaskedConv2d("A", 1, 2 * width, (7, 7)), PlaceBias(2 * width, *size)),
        *blocks,
        *(nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 1)),
        *(nn.ReLU(), nn.Conv2d(2 * width, 1, 1)),
    )


@torch.no_grad()
def draw_pixels(
    network: Callable[[Tensor], Tensor], images: Tensor, first: int, generator: torch.Generator
) -> Tensor:
    """Draw images pixel by pixel, black or white.

    Args:
        images: (n, 1, height, width) 0 or 1; rows before the first are kept, the others are drawn.
        first: row from which is drawn.
    """
    images = images.clone()
    images[:, :, first:] = 0
    height, width = images.shape[2:]
    for row in range(first, height):
        for column in range(width):
            logits = network(images[:, :, : row + 1])[:, 0, row, column]  # rows below are not seen
            chance = torch.rand(len(images), generator=generator).to(logits.device)
            images[:, 0, row, column] = (chance < logits.sigmoid()).float()
    return images
