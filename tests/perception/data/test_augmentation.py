"""Random changes of images."""

import torch

from perception.data.augmentation import distorted, shifted


def test_a_shifted_image_is_a_piece_of_its_reflected_extension() -> None:
    torch.manual_seed(0)
    images = torch.randint(256, (64, 3, 6, 5), dtype=torch.uint8)
    result = shifted(images, 2, mirror=True)
    assert result.shape == images.shape
    assert result.dtype == torch.uint8
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect").byte()
    seen = set()
    for before, after in zip(padded, result, strict=True):
        places = {
            (row, column, mirror)
            for row in range(5)
            for column in range(5)
            for mirror in (False, True)
            if torch.equal(
                after,
                (lambda piece: piece.flip(2) if mirror else piece)(
                    before[:, row : row + 6, column : column + 5]
                ),
            )
        }
        assert places
        seen |= places
    assert len(seen) > 30, "of 50 possible ones"
    assert torch.equal(shifted(images, 0), images)


def test_distorted_images_keep_their_size_and_differ() -> None:
    torch.manual_seed(0)
    images = torch.zeros(8, 1, 20, 24, dtype=torch.uint8)
    images[:, :, 5:15, 10:14] = 200
    result = distorted(images, 0.3)
    assert result.shape == images.shape
    assert result.isfinite().all()
    assert (result >= 0).all()
    assert (result < 200.1).all()
    assert len({image.numpy().tobytes() for image in result}) == 8
