"""The planner's own operator (`perception.networks.planning`) as an ONNX function, for the exporter's table."""

# ruff: noqa: F821, UP037 - the names of dimensions
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import FLOAT, script
from onnxscript import opset18 as op

import perception.networks.planning  # noqa: F401 - registers the operator


@script()
def fixed_point(
    rewards: FLOAT["height", "width", "n"],
    costs: FLOAT["height", "width", "n"],
) -> FLOAT["height", "width", "n"]:
    """V ← max(R, max over the four neighbours of V − C), from V = R, as often as there are squares."""
    squares = op.ReduceProd(op.Shape(rewards, start=0, end=2), keepdims=0)
    lowest = op.Constant(value_float=-1e30)
    border = op.Constant(value_ints=[1, 1, 0, 1, 1, 0])
    axes = op.Constant(value_ints=[0, 1])
    values = rewards
    for _ in range(squares):
        padded = op.Pad(values, border, lowest)
        end = op.Shape(padded, start=0, end=2)
        up = op.Slice(padded, op.Constant(value_ints=[0, 1]), end - op.Constant(value_ints=[2, 1]), axes)  # fmt: skip
        down = op.Slice(padded, op.Constant(value_ints=[2, 1]), end - op.Constant(value_ints=[0, 1]), axes)  # fmt: skip
        left = op.Slice(padded, op.Constant(value_ints=[1, 0]), end - op.Constant(value_ints=[1, 2]), axes)  # fmt: skip
        right = op.Slice(padded, op.Constant(value_ints=[1, 2]), end - op.Constant(value_ints=[1, 0]), axes)  # fmt: skip
        values = op.Max(values, op.Max(up, down, left, right) - costs)
    return values


def _translated(rewards: Any, costs: Any) -> tuple[Any, Any]:
    values = fixed_point(rewards, costs)
    return values, op.Cast(values, to=3)  # int8 sources, which only gradients need


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.fathom.fixed_point.default: _translated
}
"""PyTorch operators and what they are in ONNX."""
