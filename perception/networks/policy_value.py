"""The policy-value network of AlphaGo and its successors, with a head for the owner of each point.

Convolutions over the whole board without pooling (Maddison et al. 2015: 12 layers; Silver et al. 2016),
in pairs with a residual connection each (He et al. 2016), and three heads (Silver et al. 2017; the owner of each
point as in Wu 2019). No normalisation: the second convolution of a pair starts at zero, so that the
network starts shallow and deepens as it learns (Zhang et al. 2019).
"""

import torch
from torch import nn
from torch.nn import functional as F


class PolicyValueNetwork(nn.Module):
    """From feature planes of a square board to policy, value and owners.

    Args:
        planes: feature planes.
        size: rows and columns of the board.
        layers: convolutions, an even number of at least 2.
        width: filters of each.

    Raises:
        ValueError: the number of layers is odd or too small, or the width is below 1.
    """

    def __init__(self, planes: int, size: int, layers: int = 12, width: int = 64) -> None:
        super().__init__()
        if layers < 2 or layers % 2:
            raise ValueError(f"layers must be an even number of at least 2, not {layers}")
        if width < 1:
            raise ValueError(f"width must be above 0, not {width}")
        # Layers named `encoder…` may compute in bfloat16.
        self.encoder_first = nn.Conv2d(planes, width, 5, padding=2)
        self.encoder = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1) for _ in range(layers - 1)
        )
        self.points = nn.Conv2d(width, 2, 1)
        """A plane of moves and a plane of owners."""
        self.summary = nn.Conv2d(width, 2, 1)
        self.hidden = nn.Linear(2 * size * size, 64)
        self.outcome = nn.Linear(64, 2)
        """The logit of passing and the value."""
        for layer in (self.encoder_first, *self.encoder, self.summary, self.hidden):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for layer in self.encoder[1::2]:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
        for head in (self.points, self.outcome):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Evaluate positions.

        Args:
            planes: (n, planes, size, size), any number type

        Returns:
            logits (n, size² + 1) of the points row by row and the pass, values (n,) in −1…1 for the
            player to move, owners (n, size²) in −1…1, above 0 for the player to move; float32
        """
        x = F.relu(self.encoder_first(planes.to(self.encoder_first.weight.dtype)))
        for first, second in zip(self.encoder[:-1:2], self.encoder[1::2], strict=True):
            x = F.relu(x + second(F.relu(first(x))))
        x = F.relu(self.encoder[-1](x)).float()
        moves, owners = self.points(x).flatten(2).unbind(1)
        whole = F.relu(self.hidden(F.relu(self.summary(x)).flatten(1)))
        passing, value = self.outcome(whole).unbind(1)
        logits = torch.cat([moves, passing.unsqueeze(1)], dim=1)
        return logits, value.tanh(), owners.tanh()
