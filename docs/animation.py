"""Makes docs/worlds.gif, the picture at the top of the README, from the videos of the reference runs.

python docs/animation.py
"""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
RUNS = ("pong-dqn", "maze-ppo", "go9-alphago", "movie-dqn")
SIDE, FRAMES, MILLISECONDS = 200, 60, 100
STRIDES = {"pong-dqn": 3}
"""Every so many frames of a video; 1 where nothing is said. Slow videos are shown frame by frame."""


def frames(run: str) -> list[Image.Image]:
    """`FRAMES` square pictures of a run's newest video; a short one begins again."""
    video = sorted((ROOT / "runs" / "reference" / run / "videos").glob("*.mp4"))[-1]
    reader = imageio_ffmpeg.read_frames(str(video))
    width, height = next(reader)["size"]
    pictures = []
    for number, data in enumerate(reader):
        if number % STRIDES.get(run, 1):
            continue
        image = Image.fromarray(np.frombuffer(data, np.uint8).reshape(height, width, 3))
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        square = Image.new("RGB", (SIDE, SIDE), (24, 24, 27))
        square.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
        pictures.append(square)
        if len(pictures) == FRAMES:
            break
    return [pictures[i % len(pictures)] for i in range(FRAMES)]


def main() -> None:
    """Put the four worlds side by side."""
    rows = zip(*(frames(run) for run in RUNS), strict=True)
    strips = []
    for row in rows:
        strip = Image.new("RGB", (len(RUNS) * (SIDE + 4) - 4, SIDE), (255, 255, 255))
        for k, picture in enumerate(row):
            strip.paste(picture, (k * (SIDE + 4), 0))
        strips.append(strip.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))
    path = ROOT / "docs" / "worlds.gif"
    strips[0].save(
        path, save_all=True, append_images=strips[1:], duration=MILLISECONDS, loop=0, optimize=True
    )
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
