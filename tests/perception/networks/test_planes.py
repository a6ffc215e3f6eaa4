import numpy as np
import pytest

from perception.networks.planes import gather, with_channels_innermost


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_channels_come_innermost(channels: int, kind: type) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, channels, 5, 7)).astype(kind)
    turned = with_channels_innermost(pictures)
    assert turned.dtype == kind
    assert turned.flags.c_contiguous
    assert np.array_equal(turned, pictures.transpose(0, 2, 3, 1))
    assert np.array_equal(with_channels_innermost(pictures[..., ::-1]), turned[:, :, ::-1])


@pytest.mark.parametrize("channels", [3, 4])
def test_planes_are_gathered_and_missing_ones_are_zero(channels: int) -> None:
    planes = np.random.default_rng(0).integers(1, 256, (9, 6)).astype(np.uint8)
    which = np.random.default_rng(1).integers(-1, 9, (20, channels))
    expected = np.where(which[:, :, None] >= 0, planes[which], 0).transpose(0, 2, 1)
    assert np.array_equal(gather(planes, which), expected)
