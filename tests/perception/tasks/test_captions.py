"""Captions of images."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from perception.data.scenes import scenes
from perception.tasks.captions import (
    Captions,
    CaptionsConfig,
    agreement,
    attention_picture,
    looked_at,
)
from perception.tasks.task import DataSource
from perception.tasks.video_captions import VideoCaptions, VideoCaptionsConfig


def test_captions_agree_in_their_words() -> None:
    truth = torch.tensor([[3, 4, 2, 0], [3, 4, 2, 0], [3, 1, 2, 0]])
    made = torch.tensor([[3, 4, 2, 0], [4, 5, 5, 2], [3, 1, 2, 0]])
    exact, overlap = agreement(made, truth).T.tolist()
    assert exact == [1, 0, 0], "a word that is not known is never right"
    assert overlap == pytest.approx([1, 2 / 5, 1 / 2])


def test_attention_is_compared_with_the_cells_of_the_named_object() -> None:
    weights = torch.tensor([[[0.6, 0.4, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0, 0, 0, 1.0]]])
    masks = torch.zeros(1, 3, 4, dtype=torch.bool)
    masks[0, 0, [1, 2]] = True
    masks[0, 2, 3] = True
    objects, inside, uniform, overlap = looked_at(weights, masks)[0].tolist()
    assert (objects, inside) == (2, pytest.approx(0.4 + 1))
    assert uniform == pytest.approx(0.5 + 0.25)
    assert overlap == pytest.approx(1 / 3 + 1)


def test_it_learns_what_words_come_first_and_predicts_for_images(fit: Callable[..., Any]) -> None:
    config = CaptionsConfig(
        scenes=200, epochs=3, width=32, features=16, batch_size=20, learning_rate=1e-2
    )
    data = Captions.load_data(config, DataSource("scenes"))
    task = fit(Captions, config, data, config.epochs)
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert metrics["word F1"].mean > 0.3
    assert 0 < metrics["attention on the object"].mean < 1
    row = scenes(1, 9, test=True)[0]
    (answer,) = task.predict([row.image])
    assert answer["caption"].split()[0] == "a"
    assert answer["input"] is None


def test_without_attention_there_is_none_to_report() -> None:
    config = CaptionsConfig(network="plain", scenes=10)
    data = Captions.load_data(config, DataSource("scenes"))
    task = Captions(config, data.metadata).eval()
    metrics = task.evaluate(task.batches(data.test, training=False))
    assert set(metrics) == {"exact match", "word F1"}


@pytest.mark.parametrize("longest", [0, 41, 10**12, "3", 2.0, None])
def test_metadata_of_no_length_of_a_caption_are_refused(longest: object) -> None:
    metadata = {"words": ["a"], "shape": [3, 8, 8], "longest": longest, "images": 1, "videos": 1}
    with pytest.raises(ValueError, match="a caption has 1 to 40 words"):
        Captions(CaptionsConfig(), metadata)
    with pytest.raises(ValueError, match="a caption has 1 to 40 words"):
        VideoCaptions(VideoCaptionsConfig(), metadata)


@pytest.mark.parametrize("shape", [(900, 1), (1, 900)])
def test_long_images_are_drawn(shape: tuple[int, int]) -> None:
    images = np.zeros((2, 3, *shape), np.uint8)
    attention_picture(images, ["a", "b c"], None).savefig(io.BytesIO(), bbox_inches="tight")
