"""Surfaces in two dimensions to descend on, starts on them, and what is at a point of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from perception.data.source import DataError
from perception.data.tables import read_table


class Surface(NamedTuple):
    """A function of two numbers."""

    value: Callable[[Tensor], Tensor]
    """From points (…, 2) to heights (…)."""
    lowest: tuple[float, float]
    """A point where it is smallest."""
    starts: tuple[tuple[float, float], ...]
    window: tuple[float, float, float, float]
    """What pictures show: left, right, bottom, top."""


def _two_wells(p: Tensor) -> Tensor:
    """Styblinski & Tang 1990, a tenth as high: one global and three local minima."""
    return (p**4 - 16 * p**2 + 5 * p).sum(-1) / 20


def _saddle(p: Tensor) -> Tensor:
    x, y = p.unbind(-1)
    return x**2 + y**4 / 4 - y**2 / 2


def _pit(p: Tensor) -> Tensor:
    return 1 - torch.exp(-p.square().sum(-1) / 2)


def _banana(p: Tensor) -> Tensor:
    """Rosenbrock 1960, a hundredth as high."""
    x, y = p.unbind(-1)
    return (1 - x) ** 2 / 100 + (y - x**2) ** 2


SURFACES: dict[str, Surface] = {
    "local-minimum": Surface(
        _two_wells,
        (-2.903534, -2.903534),
        ((4.0, 3.0), (0.6, -4.0), (-1.0, 1.5), (-4.0, -0.5)),
        (-5, 5, -5, 5),
    ),
    "saddle": Surface(
        _saddle, (0, 1), ((1.8, 0.0), (-1.8, 0.001), (1.5, -0.1), (-1.2, 1.9)), (-2, 2, -2, 2)
    ),
    "plateau": Surface(
        _pit, (0, 0), ((4.5, -3.0), (-3.2, 1.2), (2.6, 2.0), (-1.0, -1.5)), (-5, 5, -5, 5)
    ),
    "ravine": Surface(
        _banana, (1, 1), ((-1.6, 1.8), (-0.5, -0.8), (1.7, 0.0), (0.5, 2.2)), (-2, 2, -1.2, 2.8)
    ),
}
"""Small enough that one learning rate suits all. Near the saddle's ridge y = 0, and far out on the plateau, there
is hardly any gradient; the ravine falls a hundred times less along its bottom than across."""


@cache
def lowest_of(name: str) -> float:
    """The smallest height of a surface."""
    surface = SURFACES[name]
    return float(surface.value(torch.tensor(surface.lowest, dtype=torch.float64)))


def ending(name: str, point: Tensor) -> str:
    """What is at a point, and where it is, such as "saddle (0.00, 0.00)"."""
    x, y = (round(number, 2) + 0.0 for number in point.tolist())  # not -0
    return f"{place(name, point)} ({x:.2f}, {y:.2f})"


@torch.enable_grad()
def place(name: str, point: Tensor) -> str:
    """What is at a point (2,): a minimum, a local minimum, a saddle, a plateau, a slope, or nothing ("diverged").

    A point counts as a minimum where the surface is less than 1e-5 above its lowest. Elsewhere a gradient
    of less than 1e-4 is flat, and the curvatures (the eigenvalues of the Hessian) tell the rest.
    """
    if not point.isfinite().all():
        return "diverged"
    value, x = SURFACES[name].value, point.double()
    if float(value(x)) - lowest_of(name) < 1e-5:
        return "minimum"
    if float(torch.autograd.functional.jacobian(value, x).norm()) > 1e-4:
        return "slope"
    hessian: Any = torch.autograd.functional.hessian(value, x)
    low, high = torch.linalg.eigvalsh(hessian).tolist()
    if max(abs(low), abs(high)) < 0.05:
        return "plateau"
    return "saddle" if low < 0 else "local minimum"


def bfgs(name: str, start: tuple[float, float]) -> Tensor:
    """Where BFGS (SciPy), a second-order method, ends; (2,)."""
    from scipy.optimize import minimize

    def value_and_gradient(xy: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            point = torch.tensor(xy, requires_grad=True)
            height = SURFACES[name].value(point)
            (gradient,) = torch.autograd.grad(height, point)
        return float(height.detach()), gradient.numpy()

    return torch.from_numpy(minimize(value_and_gradient, start, jac=True, method="BFGS").x)


def read_starts(path: Path) -> list[tuple[str, float, float]]:
    """Starts, each a surface with a point, from a CSV file with the columns surface, x and y.

    Raises:
        DataError: it has none, or cannot be used.
    """
    if not path.is_file() or path.suffix.lower() != ".csv":
        raise DataError(f"{path} is no .csv file of starts with the columns surface, x and y")
    (_, head), *rows = read_table(path)
    if [cell.strip() for cell in head] != ["surface", "x", "y"]:
        raise DataError(f"{path}, line 1: the columns must be surface,x,y, not {','.join(head)}")
    if not rows:
        raise DataError(f"{path} has column names and no rows")
    return [start_of([cell.strip() for cell in row], f"{path}, line {line}") for line, row in rows]


def start_of(words: Sequence[str], where: str) -> tuple[str, float, float]:
    """A start from its three words, such as "ravine", "-1.5" and "2".

    Raises:
        DataError: it is none; the sentence begins with `where`.
    """
    try:
        name, x, y = words
        point = float(x), float(y)
    except ValueError:
        name, point = "", (np.nan, np.nan)
    if name not in SURFACES or not np.isfinite(point).all() or max(map(abs, point)) > 1e3:
        raise DataError(
            f"{where}: a start is a surface ({', '.join(SURFACES)}) and two numbers, such as"
            " ravine -1.5 2"
        )
    return name, *point
