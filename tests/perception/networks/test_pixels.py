"""Networks that see only the pixels before each pixel."""

import pytest
import torch

from perception.networks.pixels import draw_pixels, pixel_network

KINDS = ("pixelcnn", "row-lstm")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [(0, 0), (2, 3), (4, 5)])
def test_a_pixel_changes_only_what_comes_after_it(kind: str, place: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = pixel_network(kind, (6, 6), 2, 4)
    images = torch.rand(1, 1, 6, 6)
    other = images.clone()
    other[0, 0, *place] += 1
    changed = (network(images) != network(other))[0, 0].flatten()
    number = place[0] * 6 + place[1]
    assert not changed[: number + 1].any()
    if number + 1 < 36:
        assert changed[number + 1 :].any()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_below_do_not_matter_so_that_drawing_may_leave_them_out(kind: str) -> None:
    torch.manual_seed(0)
    network = pixel_network(kind, (6, 6), 2, 4)
    torch.nn.init.normal_(network[1].bias)  # type: ignore[arg-type]
    images = torch.rand(2, 1, 6, 6)
    assert torch.allclose(network(images)[:, :, :3], network(images[:, :, :3]), atol=1e-6)


def test_drawing_keeps_the_rows_above_and_follows_the_probabilities() -> None:
    def network(images: torch.Tensor) -> torch.Tensor:
        """White under black, black under white, as surely as can be."""
        above = torch.cat([torch.ones_like(images[:, :, :1]), images[:, :, :-1]], dim=2)
        return 100 * (0.5 - above)

    given = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]])
    drawn = draw_pixels(network, given, 2, torch.Generator().manual_seed(0))
    assert drawn[0, 0].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
