"""Convolutional networks."""

import torch
from torch import nn
from torch.nn import functional as F

CNNS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "nature": ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
    "nips": ((16, 8, 4), (32, 4, 2)),
}
"""Filters, kernel size and stride of each layer in Mnih et al. 2015 (Nature) and 2013 (a workshop at
NIPS). The earlier network asks for a third of the arithmetic."""


class CNN(nn.Module):
    """Convolutions and rectifiers, without pooling.

    Takes (batch, channels, height, width) floats in 0…1, of at least 36×36; gives (batch, features).

    Args:
        shape: channels, height and width.
        layers: filters, kernel size and stride of each.
        centred: take every filter's mean off it (Huang et al. 2017, "Centered weight normalization"),
            and start biases at zero. An even background then excites no filter, however bright it is.
            Else it decides for half of the filters whether they are on everywhere or nowhere, and as
            a step of learning moves all weights of a filter together, more of them end so.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        layers: tuple[tuple[int, int, int], ...],
        centred: bool = False,
    ) -> None:
        super().__init__()
        channels = (shape[0], *(filters for filters, _, _ in layers))
        convolutions = [
            nn.Conv2d(before, *layer) for before, layer in zip(channels, layers, strict=False)
        ]
        self.centred = centred
        if centred:
            for convolution in convolutions:
                assert convolution.bias is not None
                nn.init.zeros_(convolution.bias)
        self.convolutions = nn.ModuleList(convolutions)
        with torch.no_grad():
            self.features = self(torch.zeros(1, *shape)).shape[1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images
        for layer in self.convolutions:
            assert isinstance(layer, nn.Conv2d)
            weight = layer.weight
            if self.centred:
                weight = weight - weight.mean(dim=(1, 2, 3), keepdim=True)
            x = F.relu(_convolve(x, weight, layer.bias, layer.stride[0]))
        # Channels innermost, as they lie in memory: flattening then copies nothing.
        return x.permute(0, 2, 3, 1).flatten(1)


def _convolve(
    images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: int
) -> torch.Tensor:
    """`F.conv2d`; at stride 4 with four neighbouring columns seen as channels.

    With channels innermost in memory this is the same convolution under another shape, and few
    channels are what the libraries are slow at: its weight gradient takes half the time.
    """
    n, channels, height, width = images.shape
    if stride != 4 or width % 4:
        return F.conv2d(images, weight, bias, stride)
    filters, _, rows, columns = weight.shape
    images = images.permute(0, 2, 3, 1).reshape(n, height, width // 4, 4 * channels)
    weight = weight.permute(0, 2, 3, 1).reshape(filters, rows, columns // 4, 4 * channels)
    return F.conv2d(images.permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2), bias, (4, 1))
