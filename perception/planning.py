"""Planning inside a network: values spread over a grid as in value iteration, along learnt costs.

After Tamar et al. 2016 ("Value Iteration Networks") and Nardelli et al. 2019 ("Value Propagation
Networks"): convolutions read from the grid what reaching each square is worth and what leaving it
costs; then, again and again, every square takes the best of its neighbours' values less its cost. It
is the shortest-path form of value iteration, so that the values fall evenly with the distance.
"""

import torch
from torch import nn
from torch.nn import functional as F


class GridPlanner(nn.Module):
    """From a grid to features of the grid and of the values planned on it.

    Takes (batch, channels, height, width), or height × width × channels where `channels_last`; any
    numbers. Gives (batch, `features`): for each channel the features, averaged over the squares
    where it is not 0 — around the agent for a plane that shows the agent alone — through a dense
    layer.

    Args:
        shape: of one observation; the shortest side counts as channels.
        hidden: features that come out.
        plans: value maps that spread side by side.
        filters: features of a square.
    """

    def __init__(
        self, shape: tuple[int, ...], hidden: int, plans: int = 4, filters: int = 32
    ) -> None:
        super().__init__()
        self.channels_last = shape[-1] < shape[0]
        channels, height, width = (shape[2], *shape[:2]) if self.channels_last else shape
        # A corridor fills at most about every second square, and a path crosses most of them.
        self.iterations = height * width // 3
        self.plans = plans
        self.reward_and_cost = nn.Conv2d(channels, 2 * plans, 3, padding=1)
        self.around = nn.Conv2d(channels + plans, filters, 3, padding=1)
        self.dense = nn.Linear(channels * filters, hidden)
        self.features = hidden

    def forward(self, grids: torch.Tensor) -> torch.Tensor:
        if self.channels_last:
            grids = grids.permute(0, 3, 1, 2)
        x = grids.to(self.dense.weight.dtype)
        rewards, costs = self.reward_and_cost(x).chunk(2, dim=1)
        values = spread(rewards, F.softplus(costs), self.iterations)
        squares = F.relu(self.around(torch.cat([x, values], dim=1)))
        lit = (x != 0).to(x.dtype).flatten(2)
        lit = lit / lit.sum(dim=2, keepdim=True).clamp(min=1)
        pooled = torch.einsum("bcs,bfs->bcf", lit, squares.flatten(2))
        return F.relu(self.dense(pooled.flatten(1)))


def spread(rewards: torch.Tensor, costs: torch.Tensor, iterations: int) -> torch.Tensor:
    """V ← max(R, max over the four neighbours of V − C), from V = R.

    Args:
        rewards, costs: (batch, plans, height, width); costs at least 0.
    """
    values = rewards
    for _ in range(iterations):
        across = F.max_pool2d(values, (1, 3), stride=1, padding=(0, 1))
        along = F.max_pool2d(values, (3, 1), stride=1, padding=(1, 0))
        values = torch.maximum(rewards, torch.maximum(across, along) - costs)
    return values
