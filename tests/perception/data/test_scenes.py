"""Images with captions: scenes, and a folder of one's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perception.data.scenes import (
    COLOURS,
    PLACES,
    caption_numbers,
    caption_text,
    held_out,
    load_captioned,
    object_masks,
    pixels,
    scenes,
    vocabulary,
)
from perception.data.source import DataError, DataSource


def _objects(caption: str) -> set[tuple[str, str, int]]:
    """Colour, object and place of everything that a caption names."""
    parts = [part.split() for part in caption.split(" and ")]
    return {(part[1], part[2], PLACES.index(" ".join(part[3:]))) for part in parts}


def test_test_scenes_have_combinations_that_training_never_has() -> None:
    train, test = scenes(800, 1, test=False), scenes(60, 2, test=True)
    seen = {one for row in train for one in _objects(row.caption)}
    assert not any(held_out(*one) for one in seen)
    new = set()
    for row in test:
        unseen = {one for one in _objects(row.caption) if held_out(*one)}
        assert unseen
        new |= unseen
    # Each pair of a combination is known.
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert {(one[i], one[j]) for one in new} <= {(one[i], one[j]) for one in seen}


def test_words_name_what_is_at_their_masks_in_their_colour() -> None:
    for row in scenes(30, 3, test=True):
        words = row.caption.split()
        assert len(row.objects) == words.count("a")
        for place, mask in row.objects:
            brightest = np.percentile(row.image[mask], 90, axis=0)
            away = {name: np.abs(brightest - colour).sum() for name, colour in COLOURS.items()}
            assert min(away, key=away.__getitem__) == words[place - 1]
            rows, columns = np.nonzero(mask)
            where = f"{'top' if rows.max() < 16 else 'bottom'} {'left' if columns.max() < 16 else 'right'}"
            assert " ".join(words[place + 1 : place + 3]) == where


def test_captions_and_masks_as_numbers() -> None:
    words, longest = vocabulary(["A dog runs", "a cat"])
    assert (words, longest) == (["a", "cat", "dog", "runs"], 3)
    numbers = caption_numbers(["a cat", "a big dog runs far"], words, longest)
    assert numbers.tolist() == [[3, 4, 2, 0], [3, 1, 5, 2]]
    assert [caption_text(row, words) for row in numbers] == ["a cat", "a dog"]
    (row,) = scenes(1, 0, test=False)
    masks = object_masks([row], 20, (8, 8))[0]
    assert masks.any(dim=(1, 2)).nonzero()[:, 0].tolist() == [place for place, _ in row.objects]
    place, mask = row.objects[0]
    assert masks[place].sum() == mask.reshape(8, 4, 8, 4).any(axis=(1, 3)).sum()
    assert pixels([row.image]).shape == (1, 3, 32, 32)


def _folder(folder: Path, table: str, side: int = 8) -> Path:
    for number in range(6):
        Image.new("RGB", (side, 8), (40 * number, 0, 0)).save(folder / f"{number}.png")
    (folder / "captions.csv").write_text(table)
    return folder


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    rows = "".join(f"{n}.png,number {n}\n" for n in range(6))
    data = load_captioned(DataSource(str(_folder(tmp_path, f"image,caption\n{rows}"))), 1)
    assert [row.caption for row in data.train] == [f"number {n}" for n in (0, 1, 2, 3, 5)]
    assert (data.test[0].caption, data.test[0].image[0, 0, 0]) == ("number 4", 160)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("file,caption\n", "columns named image and caption"),
        ("image,caption\n", "1 to 100,000 rows"),
        ("image,caption\n0.png,a\n", "5 are needed"),
        ("image,caption\n" + "0.png,a\n" * 4 + "0.png, \n", "line 6: there is no caption"),
        ("image,caption\n" + "0.png,a\n" * 4 + "../0.png,a\n", "line 6: .* is outside the folder"),
        (
            "image,caption\n" + "0.png,a\n" * 4 + "none.png,a\n",
            "line 6: there is no file 'none.png'",
        ),
        ("image,caption\n" + "0.png,a\n" * 4 + "a" * 300 + ",a\n", "line 6: there is no file"),
        ("image,caption\n" + "0.png,a\n" * 4 + "loop.png,a\n", "line 6: there is no file"),
        ("image,caption\n" + "0.png,a\n" * 4 + "big.png,a\n", "line 6: the image is 9×9"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_sentence(
    tmp_path: Path, table: str, expected: str
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "big.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError, match=expected):
        load_captioned(DataSource(str(_folder(tmp_path, table))), 1)
