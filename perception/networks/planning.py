"""A planner as a network layer: value iteration on a grid with learnt rewards and costs.

After Tamar et al. 2016 ("Value Iteration Networks") and Nardelli et al. 2019 ("Value Propagation
Networks"): convolutions compute from the grid a reward for reaching each square and a cost for leaving it;
then the value of every square is repeatedly set to the largest of its neighbours' values minus its cost. This
is the shortest-path form of value iteration: values fall linearly with distance.
"""

from typing import Any, ClassVar

import numba
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from perception.networks.planes import channels_last

GAIN = 20.0
"""Factor of the weights for rewards and costs. The costs of wall and floor must differ by orders of
magnitude, and an update of Adam changes a weight by at most its learning rate."""

FIRST_REWARD = 3.0
"""Reward of a square where a plane is 1, before learning."""

UNIT = 0.05
"""Cost of leaving a square where every plane is 0."""

FIRST_COST = 2.0
"""Leaving a square where a plane is 1 costs exp(this) units, before learning."""

MOST = 6.0
"""Costs lie within exp(± this) units."""


class GridPlanner(nn.Module):
    """Features of a grid and of the values planned on it.

    Takes (batch, channels, height, width), or height × width × channels where `channels_last`; any
    numbers. For each channel, the features of squares are averaged over those where the channel is not 0 (for
    the plane of the agent: its own square); a dense layer gives (batch, `features`).

    Args:
        shape: of one observation, in the order that `channels_last` tells.
        hidden_size: number of features.
        filters: features of a square.
    """

    name: ClassVar[str] = "planner"

    def __init__(self, shape: tuple[int, ...], hidden_size: int, filters: int = 16) -> None:
        super().__init__()
        self.channels_last = channels_last(shape)
        channels, height, width = (shape[2], *shape[:2]) if self.channels_last else shape
        # A corridor fills at most about every second square, and a path may cross all of them.
        self.iterations = height * width // 2
        plans = channels  # value maps, spread side by side
        self.rewards = nn.Conv2d(channels, plans, 1)
        self.costs = nn.Conv2d(channels, plans, 1, bias=False)  # ratios alone matter
        self.around = nn.Conv2d(channels + plans, filters, 3, padding=1)
        self.dense = nn.Linear(channels * (filters + 4 * plans), hidden_size)
        self.features = hidden_size
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise one plan per plane: towards what the plane shows, around all obstacles.

        With random weights a plan may lead away from the goal or through walls, and stay so: small costs have
        small gradients.
        """
        nn.init.dirac_(self.rewards.weight)  # type: ignore[arg-type]
        with torch.no_grad():
            self.rewards.weight.mul_(FIRST_REWARD / GAIN)
        nn.init.zeros_(self.rewards.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.costs.weight, FIRST_COST / GAIN)

    def forward(self, grids: torch.Tensor) -> torch.Tensor:
        x = self.in_order(grids)
        lit = (x != 0).to(x.dtype).flatten(2)
        lit = lit / lit.sum(dim=2, keepdim=True).clamp(min=1)
        pooled = torch.einsum("bcs,bfs->bcf", lit, self.squares(x).flatten(2))
        return F.relu(self.dense(pooled.flatten(1)))

    def in_order(self, grids: torch.Tensor) -> torch.Tensor:
        """Grids as (batch, channels, height, width), in the precision of the weights."""
        if self.channels_last:
            grids = grids.permute(0, 3, 1, 2)
        return grids.to(self.rewards.weight.dtype)

    def squares(self, x: torch.Tensor) -> torch.Tensor:
        """Features of every square, (batch, filters + 4 · channels, height, width), from what `in_order` gives."""
        costs = UNIT * torch.exp(MOST * torch.tanh(GAIN / MOST * self.costs(x)))
        values = spread(GAIN * self.rewards(x), costs, self.iterations)
        squares = F.relu(self.around(torch.cat([x, values], dim=1)))
        # Near 1 towards the neighbour on the best path, independent of the scale of costs.
        padded = F.pad(values, (1, 1, 1, 1))
        sides = [
            padded[..., :-2, 1:-1],
            padded[..., 1:-1, 2:],
            padded[..., 2:, 1:-1],
            padded[..., 1:-1, :-2],
        ]
        return torch.cat([squares, *(torch.tanh((side - values) / costs) for side in sides)], dim=1)


def spread(rewards: torch.Tensor, costs: torch.Tensor, iterations: int) -> torch.Tensor:
    """V ← max(R, max over the four neighbours of V − C), from V = R.

    On a CPU until convergence, which the compiled kernel below reaches in few passes; on other devices
    `iterations` times.

    Args:
        rewards, costs: (batch, plans, height, width) float32; costs at least 0.
    """
    if rewards.device.type == "cpu":
        batch, plans, height, width = rewards.shape
        # Squares first: the kernel runs along all mazes and plans at once.
        flat = [x.float().permute(2, 3, 0, 1).reshape(height, width, -1) for x in (rewards, costs)]
        values, _ = _FixedPoint.apply(*flat)
        return values.view(height, width, batch, plans).permute(2, 3, 0, 1)
    values = rewards
    for _ in range(iterations):
        across = F.max_pool2d(values, (1, 3), stride=1, padding=(0, 1))
        along = F.max_pool2d(values, (3, 1), stride=1, padding=(1, 0))
        values = torch.maximum(rewards, torch.maximum(across, along) - costs)
    return values


@torch.library.custom_op("fathom::fixed_point", mutates_args=())
def _fixed_point(rewards: torch.Tensor, costs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (height, width, n) at the fixed point, and the source of each: 0 its own reward, 1 to 4 the
    neighbour above, on the right, below, on the left."""
    values = rewards.contiguous().clone()
    best = torch.zeros(values.shape, dtype=torch.int8)
    _sweep(values.numpy(), costs.contiguous().numpy(), best.numpy())
    return values, best


@_fixed_point.register_fake
def _(rewards: torch.Tensor, costs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.empty(rewards.shape, dtype=rewards.dtype, device=rewards.device)
    return values, torch.empty(rewards.shape, dtype=torch.int8, device=rewards.device)


@torch.library.custom_op("fathom::fixed_point_backward", mutates_args=())
def _fixed_point_backward(
    gradient: torch.Tensor, best: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient flows along the best path: −1 for the cost of each square on it, 1 for the reward at its end."""
    flow = gradient.contiguous().clone()
    of_rewards, of_costs = torch.zeros_like(flow), torch.zeros_like(flow)
    _flow_back(flow.numpy(), best.contiguous().numpy(), of_rewards.numpy(), of_costs.numpy())
    return of_rewards, of_costs


@_fixed_point_backward.register_fake
def _(gradient: torch.Tensor, best: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    shape, kind = gradient.shape, {"dtype": gradient.dtype, "device": gradient.device}
    return torch.empty(shape, **kind), torch.empty(shape, **kind)  # type: ignore[call-overload]


class _FixedPoint(torch.autograd.Function):
    """`_fixed_point` with its gradient."""

    @staticmethod
    def forward(  # type: ignore[override]
        rewards: torch.Tensor, costs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return _fixed_point(rewards, costs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, gradient: torch.Tensor, _: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():  # first derivatives only
            return _fixed_point_backward(gradient, ctx.saved_tensors[0])


@numba.njit(cache=True)
def _sweep(values: np.ndarray, costs: np.ndarray, best: np.ndarray) -> None:
    """Iterate `values`, initially rewards, to the fixed point, in alternating sweeps over all squares."""
    height, width, n = values.shape
    changed, forth = True, True
    # Converges by itself; the bound is for NaN.
    for _ in range(height * width):
        changed = False
        for i in range(height * width):
            square = i if forth else height * width - 1 - i
            row, column = square // width, square % width
            own, cost, source = values[row, column], costs[row, column], best[row, column]
            for side in range(4):
                y = row + (side == 2) - (side == 0)
                x = column + (side == 1) - (side == 3)
                if 0 <= y < height and 0 <= x < width:
                    other = values[y, x]
                    for k in range(n):
                        offered = other[k] - cost[k]
                        better = offered > own[k]
                        own[k] = offered if better else own[k]
                        source[k] = np.int8(side + 1) if better else source[k]
                        changed |= better
        if not changed:
            return
        forth = not forth


@numba.njit(cache=True)
def _flow_back(
    flow: np.ndarray, best: np.ndarray, of_rewards: np.ndarray, of_costs: np.ndarray
) -> None:
    height, width, n = flow.shape
    forth = True
    for _ in range(height * width):
        moved = False
        for i in range(height * width):
            square = i if forth else height * width - 1 - i
            row, column = square // width, square % width
            here, source = flow[row, column], best[row, column]
            for k in range(n):
                ends = source[k] == 0
                of_rewards[row, column, k] += here[k] if ends else np.float32(0)
                of_costs[row, column, k] -= np.float32(0) if ends else here[k]
            for side in range(4):
                y = row + (side == 2) - (side == 0)
                x = column + (side == 1) - (side == 3)
                if 0 <= y < height and 0 <= x < width:
                    other = flow[y, x]
                    for k in range(n):
                        passes = source[k] == side + 1
                        other[k] += here[k] if passes else np.float32(0)
                        moved |= passes and here[k] != 0
            for k in range(n):
                here[k] = 0
        if not moved:
            return
        forth = not forth
