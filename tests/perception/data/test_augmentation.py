"""Random changes of images."""

import torch

from perception.data.augmentation import distorted, rotated, shifted


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


def test_each_image_is_rotated_by_its_own_angle() -> None:
    torch.manual_seed(0)
    images = torch.rand(5, 2, 7, 7)
    result = rotated(images, torch.tensor([0.0, 90.0, 180.0, -90.0, 45.0]))
    for times, (before, after) in enumerate(zip(images[:3], result[:3], strict=True)):
        assert torch.allclose(after, before.rot90(times, (-2, -1)), atol=1e-5)
    assert torch.allclose(result[3], images[3].rot90(-1, (-2, -1)), atol=1e-5)
    assert torch.allclose(result[4, :, 3, 3], images[4, :, 3, 3]), "the centre stays"
    assert (result[4, :, 0, 0] == 0).all(), "the corners come from outside"


def test_a_rotation_does_not_stretch_images_that_are_not_square() -> None:
    images = torch.zeros(1, 1, 9, 21, dtype=torch.uint8)
    images[0, 0, 4, 7:14] = 100  # a line of seven pixels
    upright = rotated(images, torch.tensor([90.0]))
    assert torch.allclose(upright[0, 0, 1:8, 10], torch.full((7,), 100.0), atol=1e-2)
    assert abs(float(upright.sum()) - 700) < 0.1
