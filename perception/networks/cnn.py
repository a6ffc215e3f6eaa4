"""Convolutional networks."""

import torch
from torch import nn
from torch.nn import functional as F

CNNS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "nature": ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
    "nips": ((16, 8, 4), (32, 4, 2)),
}
"""Filters, kernel size and stride of each layer in Mnih et al. 2015 (Nature) and 2013 (a workshop at
NIPS). The earlier network needs a third of the arithmetic."""


class Convolution(nn.Conv2d):
    """A convolution that at stride 4 treats four neighbouring columns as channels.

    With channels innermost in memory this is the same convolution in another shape. Libraries are slow for few
    channels: in this shape the weight gradient takes half the time.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = images.shape
        if self.stride != (4, 4) or width % 4:
            return F.conv2d(images, self.weight, self.bias, self.stride)
        filters, _, rows, columns = self.weight.shape
        images = images.permute(0, 2, 3, 1).reshape(n, height, width // 4, 4 * channels)
        weight = self.weight.permute(0, 2, 3, 1).reshape(filters, rows, columns // 4, 4 * channels)
        return F.conv2d(images.permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2), self.bias, (4, 1))


class CNN(nn.Module):
    """Convolutions with rectifiers, without pooling.

    Takes (batch, channels, height, width) floats in 0…1, of at least 36×36; gives (batch, features).

    Args:
        shape: channels, height and width.
        layers: filters, kernel size and stride of each.
    """

    def __init__(
        self, shape: tuple[int, int, int], layers: tuple[tuple[int, int, int], ...]
    ) -> None:
        super().__init__()
        channels = (shape[0], *(filters for filters, _, _ in layers))
        self.convolutions = nn.ModuleList(
            Convolution(before, *layer) for before, layer in zip(channels, layers, strict=False)
        )
        with torch.no_grad():
            self.features = self(torch.zeros(1, *shape)).shape[1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        # In the order of memory, channels innermost: flattening then copies nothing.
        return x.permute(0, 2, 3, 1).flatten(1)


class MirroredCNN(nn.Module):
    """Transposed convolutions from the features of a `CNN` back to its images: its layers in reverse order.

    Takes (batch, features), channels innermost as `CNN` gives them; gives (batch, channels, height, width) numbers.

    Args:
        shape: channels, height and width of the images.
        layers: filters, kernel size and stride of each layer of the `CNN`.
    """

    def __init__(
        self, shape: tuple[int, int, int], layers: tuple[tuple[int, int, int], ...]
    ) -> None:
        super().__init__()
        channels, height, width = shape
        reverse: list[nn.ConvTranspose2d] = []
        for filters, kernel, stride in layers:
            # Rows and columns that the last window does not reach.
            left = ((height - kernel) % stride, (width - kernel) % stride)
            reverse.insert(
                0,
                nn.ConvTranspose2d(filters, channels, kernel, stride, output_padding=left),
            )
            channels = filters
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        self.convolutions = nn.ModuleList(reverse)
        self.first = (height, width, channels)
        self.features = height * width * channels

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = features.unflatten(1, self.first).permute(0, 3, 1, 2)
        for convolution in self.convolutions:
            x = convolution(F.relu(x))
        return x
