"""Captions from places."""

import torch

from perception.networks.captioner import Captioner, Places, VideoCaptioner


def test_a_made_caption_is_the_most_probable_word_by_word() -> None:
    torch.manual_seed(0)
    for attention in (True, False):
        captioner = Captioner(7, 5, 8, attention).eval()
        places = torch.randn(3, 4, 5)
        made, logs, weights = captioner.generate(places, 6)
        scores, seen = captioner(places, made)
        for row, best, score, log in zip(made, scores.argmax(dim=2), scores, logs, strict=True):
            ends = (row == captioner.END).nonzero()
            length = int(ends[0]) + 1 if len(ends) else len(row)
            assert row[:length].tolist() == best[:length].tolist()
            assert not row[length:].any()
            each = score.log_softmax(dim=1)[range(length), row[:length]]
            assert torch.allclose(each.sum(), log, atol=1e-5)
        assert (weights is None) == (seen is None) == (not attention)


def test_places_are_a_grid_of_any_image() -> None:
    for height, width, grid in (
        (32, 32, (8, 8)),
        (21, 21, (6, 6)),
        (96, 60, (12, 8)),
        (1, 3, (1, 1)),
    ):
        places = Places(height, width, 10, flat=False)
        images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
        assert places.grid == grid
        assert places(images).shape == (2, grid[0] * grid[1], 10)
    assert Places(8, 8, 10, flat=True)(images[..., :1].expand(-1, -1, 8, 8)).shape == (2, 1, 10)


def test_a_video_is_read_in_order() -> None:
    torch.manual_seed(0)
    network = VideoCaptioner(7, 8, 8, 10, 6).eval()
    videos = torch.randint(0, 256, (2, 3, 3, 8, 8), dtype=torch.uint8)
    states = network.states(videos)
    assert states.shape == (2, 3, 10)
    assert torch.allclose(states[:, :2], network.states(videos[:, :2]), atol=1e-5)
    assert not torch.allclose(states[:, -1], network.states(videos.flip(1))[:, -1])
