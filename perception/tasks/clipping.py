"""Why the gradients of recurrent networks are clipped: the error surface of a network with one unit (Pascanu et al. 2013).

The state h becomes w·σ(h) + b fifty times, and σ of the last state is to be 0.7. Where the last state jumps from one
fixed point to another, the surface has a cliff, and a gradient thousands of times larger than elsewhere: one step of
gradient descent there goes anywhere. With the norm of the gradient bounded, the descent turns at the cliff and goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEPS, _BEGIN, _TARGET = 50, 0.5, 0.7
_START, _RATE, _CLIP, _UPDATES = (5.2, -2.2), 0.2, 1.0, 300
_WINDOW = (4.0, 6.0, -3.2, -1.8)


def recurrent_error(points: Tensor) -> Tensor:
    """The squared error (…) after fifty steps, for weights w and biases b (…, 2)."""
    w, b = points.unbind(-1)
    state = torch.full_like(w, _BEGIN)
    for _ in range(_STEPS):
        state = w * state.sigmoid() + b
    return (state.sigmoid() - _TARGET).square()


@torch.enable_grad()
def descent_path(clip: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Points (updates + 1, 2) of gradient descent on `recurrent_error`, and the norms of the gradients (updates,).

    Args:
        clip: bound of the norm; None for none.
    """
    point = torch.tensor(_START, dtype=torch.float64)
    points, norms = [point], []
    for _ in range(_UPDATES):
        here = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(recurrent_error(here), here)
        norm = float(gradient.norm())
        if clip is not None and norm > clip:
            gradient = gradient * (clip / norm)
        point = point - _RATE * gradient
        points.append(point)
        norms.append(norm)
    return torch.stack(points).numpy(), np.array(norms)


def clipping_picture() -> Figure:
    """The surface, and gradient descent on it with and without clipping."""
    from matplotlib.figure import Figure

    left, right, bottom, top = _WINDOW
    w, b = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
    errors = recurrent_error(torch.from_numpy(np.stack([w, b], axis=-1))).numpy()
    figure = Figure((9, 4), layout="constrained", dpi=80)
    surface = figure.add_subplot(1, 2, 1, projection="3d")
    surface.plot_surface(w, b, errors, cmap="viridis", rcount=100, ccount=100)
    surface.view_init(elev=35, azim=55)
    surface.set(xlabel="w", ylabel="b", zlabel="error", title="a recurrent unit after 50 steps")
    axes = figure.add_subplot(1, 2, 2)
    axes.contourf(w, b, np.sqrt(errors), 20, cmap="Greys_r", alpha=0.5)
    for clip, colour, name in ((_CLIP, "C0", f"clipped to {_CLIP:g}"), (None, "C3", "not clipped")):
        path, norms = descent_path(clip)
        out = np.flatnonzero((path < (left, bottom)).any(1) | (path > (right, top)).any(1))
        shown = path[: out[0] + 1] if len(out) else path
        end = f"thrown to ({path[-1][0]:.0f}, {path[-1][1]:.0f})" if len(out) else "at the minimum"
        label = f"{name}: {end}, largest gradient {norms.max():.0f}"
        axes.plot(*shown.T, "-o", color=colour, markersize=2, linewidth=1, label=label)
    axes.plot(*_START, "s", color="white", markeredgecolor="black")
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="w", ylabel="b")
    figure.legend(loc="outside lower right", frameon=False, fontsize=8)
    return figure
