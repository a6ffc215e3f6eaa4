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
        x = F.relu(self.conv1(images))
        x = F.relu(self.conv2(x))
        return F.relu(self.conv3(x)).flatten(1)
