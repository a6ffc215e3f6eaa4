"""Captions of videos: a CNN per frame, a GRU over the frames, and a GRU over words that attends to its states.

Beside it learns the same network that only gets the last frame: what it cannot say must be seen over time. The loss
is the cross-entropy of each word, of both networks, and the score the share of captions without any mistake. Without
`--data` the videos are episodes of a maze with a key and a door; `--data episodes:pong` are clips of Pong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from perception.data.datasets import Tensors
from perception.data.images import shape_of
from perception.data.scenes import caption_numbers, caption_text, longest_of, pixels, vocabulary
from perception.data.videos import load_videos, read_video, scaled
from perception.networks.captioner import VideoCaptioner
from perception.networks.classifiers import weights_of
from perception.tasks.captions import agreement
from perception.tasks.task import STRICT, DataSource, Epochs, Metric, Task, TaskData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 5


@dataclass(frozen=True, config=STRICT)
class VideoCaptionsConfig:
    """Network and training."""

    frames: Annotated[int, Field(ge=2, le=64)] = 6
    """Frames of each video, evenly over its time."""
    features: Annotated[int, Field(ge=8, le=10_000)] = 64
    """Numbers of a frame, and units of the GRU over frames."""
    width: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Size of word vectors, and units of the GRU over words."""
    epochs: Epochs = 15
    """Passes over the training videos."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Learning rate of Adam at the start; it falls linearly to 0."""
    batch_size: PositiveInt = 32
    """Videos per update."""


class VideoCaptions(Task):
    """Captions of videos; a batch is videos uint8 (n, frames, 3, height, width) and captions (n, longest + 1)."""

    Config = VideoCaptionsConfig
    default_data = "episodes:maze"

    def __init__(self, config: VideoCaptionsConfig, metadata: Mapping[str, Any]) -> None:
        super().__init__(config, metadata)
        self.words: list[str] = metadata["words"]
        self.longest = longest_of(metadata)
        _, height, width = shape_of(metadata)
        self.video, self.last_frame = (
            VideoCaptioner(3 + len(self.words), height, width, config.features, config.width)
            for _ in range(2)
        )
        adam = torch.optim.Adam(self.parameters(), config.learning_rate, fused=True)
        self.optimizers = {"main": adam}
        self.updates = config.epochs * -(-metadata["videos"] // config.batch_size)

    @classmethod
    def load_data(cls, config: VideoCaptionsConfig, source: DataSource) -> TaskData:
        data = load_videos(source, config.frames)
        words, longest = vocabulary([caption for _, caption in data.train])
        train, test = (
            Tensors(
                pixels([video for video, _ in rows]),
                caption_numbers([caption for _, caption in rows], words, longest),
            )
            for rows in (data.train, data.test)
        )
        captions = [caption for _, caption in data.train]
        frequent = max(sorted(set(captions)), key=captions.count)
        always = caption_numbers([frequent], words, longest).expand(len(test), -1)
        metadata = {
            "shape": list(train.tensors[0].shape[2:]),
            "words": words,
            "longest": longest,
            "videos": len(train),
            "baseline": ["most frequent caption", *_rounded(agreement(always, test.tensors[1]))],
        }
        return TaskData(train, test, metadata, data.origin)

    def train_step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        videos, captions = batch
        optimizer = self.optimizers["main"]
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * max(0.0, 1 - step / self.updates)
        losses = [
            F.cross_entropy(scores.flatten(0, 1), captions.flatten(), ignore_index=0)
            for scores in (self.video(videos, captions), self.last_frame(videos[:, -1:], captions))
        ]
        optimizer.zero_grad()
        sum(losses, torch.zeros((), device=self.device)).backward()
        for network in (self.video, self.last_frame):
            nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()
        return {"loss": losses[0].detach(), "loss_last_frame": losses[1].detach()}

    @torch.no_grad()
    def _captions(self, videos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Captions by both networks (n, longest + 1), and log-probabilities of the first (n,)."""
        made, logs, _ = self.video.captioner.generate(self.video.states(videos), self.longest)
        states = self.last_frame.states(videos[:, -1:])
        return made, self.last_frame.captioner.generate(states, self.longest)[0], logs

    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Metric]:
        parts = []
        for videos, captions in batches:
            made = self._captions(videos)[:2]
            parts.append([agreement(one.cpu(), captions.cpu()) for one in made])
        video, still = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        weights = f"{weights_of(self.video):,} weights"
        better = video[:, 0] - still[:, 0]
        half = 1.96 * float(better.std()) / len(better) ** 0.5
        span = f"{better.mean():.3f} ({better.mean() - half:.3f} to {better.mean() + half:.3f})"
        table: list[list[Any]] = [
            ["model", "exact match", "word F1"],
            [f"{self.config.frames} frames, {weights}", *_rounded(video)],
            [f"last frame only, {weights}", *_rounded(still)],
            self.metadata["baseline"],
            ["video over last frame (95 % interval)", span, ""],
        ]
        return {
            "exact match": Metric(video[:, 0], table=table),
            "last frame only": Metric(still[:, 0]),
            "video over last frame": Metric(better),
            "word F1": Metric(video[:, 1]),
        }

    def pictures(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Figure]:
        """Test videos with the captions of both networks, red where they are wrong."""
        from matplotlib.figure import Figure

        videos, captions = (tensor[:_SHOWN] for tensor in next(iter(batches)))
        made, still, _ = self._captions(videos)
        count, frames, _, height, width = videos.shape
        figure = Figure((1.0 * frames, (1.0 * height / width + 0.5) * count))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, frames), ylim=(count, 0))
        axes.axis("off")
        share = 1 / (1 + 0.5 * width / height)  # of the height, for frames
        for i, video in enumerate(videos.cpu().permute(0, 1, 3, 4, 2).numpy()):
            for number, frame in enumerate(video):
                extent = (number + 0.02, number + 0.98, i + share, i + 0.02)
                axes.imshow(frame, extent=extent, aspect="auto", interpolation="nearest")
            lines = (("video", made[i], 0.3), ("last frame", still[i], 0.7))
            for name, row, below in lines:
                text = f"{name}: {caption_text(row, self.words)}"
                colour = "black" if torch.equal(row, captions[i]) else "crimson"
                axes.text(
                    0.03, i + share + below * (1 - share), text, fontsize=7.5, va="center",
                    color=colour, parse_math=False,
                )  # fmt: skip
        return {"videos": figure}

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Captions of videos: GIF files, files that ffmpeg reads, or arrays uint8 (frames, height, width, 3)."""
        _, height, width = shape_of(self.metadata)
        videos = [scaled(read_video(item, self.config.frames), (width, height)) for item in inputs]
        if not videos:
            return []
        made, _, logs = self._captions(pixels(videos).to(self.device))
        return [
            {
                "input": None if isinstance(item, np.ndarray) else str(item),
                "caption": caption_text(row, self.words),
                "probability": round(probability, 4),
            }
            for item, row, probability in zip(inputs, made, logs.exp().tolist(), strict=True)
        ]


def _rounded(rows: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in rows.mean(axis=0)]
