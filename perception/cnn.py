"""Convolutional networks."""

import torch
from torch import nn
from torch.nn import functional as F


class NatureCNN(nn.Module):
    """The convolutions of Mnih et al. 2015: 32 8×8 stride 4, 64 4×4 stride 2, 64 3×3 stride 1.

    Takes (batch, channels, height, width) pixels, uint8 in 0…255 or float in 0…1, of at least
    36×36; gives (batch, features).
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 8, 4)
        self.conv2 = nn.Conv2d(32, 64, 4, 2)
        self.conv3 = nn.Conv2d(64, 64, 3, 1)
        with torch.no_grad():
            self.features = self(torch.zeros(1, channels, height, width)).shape[1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.relu(_stride_four(images, self.conv1.weight, self.conv1.bias))
        x = F.relu(self.conv2(x))
        # Channels innermost, as they lie in memory: flattening then copies nothing.
        return F.relu(self.conv3(x)).permute(0, 2, 3, 1).flatten(1)


def _stride_four(
    images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """`conv2d(images, weight, bias, stride=4)`, with four neighbouring columns seen as channels.

    With channels innermost in memory this is the same convolution under another shape, and few
    channels are what the libraries are slow at: its weight gradient takes half the time.
    """
    n, channels, height, width = images.shape
    if width % 4:
        return F.conv2d(images, weight, bias, 4)
    filters, _, rows, columns = weight.shape
    images = images.permute(0, 2, 3, 1).reshape(n, height, width // 4, 4 * channels)
    weight = weight.permute(0, 2, 3, 1).reshape(filters, rows, columns // 4, 4 * channels)
    return F.conv2d(images.permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2), bias, (4, 1))
