"""The precision, and the order in memory, that a processor computes images fastest in."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_full: ContextVar[bool] = ContextVar("full precision", default=False)


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Inside, `image_precision` is float32: bfloat16 is too coarse for gradients with respect to images."""
    before = _full.set(True)
    try:
        yield
    finally:
        _full.reset(before)


def image_precision(device: torch.device) -> torch.dtype:
    """bfloat16 if the device has instructions for it, else float32."""
    if _full.get():
        return torch.float32
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def channels_innermost(network: nn.Sequential) -> nn.Sequential:
    """The network, with its convolutions' weights in the order of memory that is fastest."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def image_scores(network: nn.Module, images: Tensor) -> Tensor:
    """`network(images)` as float32, computed with channels innermost and in `image_precision`."""
    precision = image_precision(images.device)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, precision, enabled=precision != torch.float32):
        return network(images).float()
