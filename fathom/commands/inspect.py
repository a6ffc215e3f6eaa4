"""Look inside a network that sees images: what it looks for, looks at, and is fooled by."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.arguments import asks_for_help, parse, print_json, split_positional, warn
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT, Device, SomeEpisodes
from fathom.streams import quiet

USAGE = "inspect RUN [WHAT]"

What = Literal["layers", "filters", "saliency", "fool", "dream", "style"]
_TAKES: dict[str, set[str]] = {
    "layers": set(),
    "filters": {"layer", "seed"},
    "saliency": {"images", "max_seconds", "seed"},
    "fool": {"epsilon", "episodes", "seed"},
    "dream": {"images", "layer", "seed"},
    "style": {"style", "content", "vgg"},
}
"""The flags that each look takes, besides those that say which run."""
_COMMON = {"checkpoint", "device", "runs_dir", "trust", "json"}


@dataclass(frozen=True, config=STRICT)
class InspectFlags:
    """Look inside a fit with images, or an agent that sees images.

    WHAT is layers (the default), filters, saliency, fool, dream or style.
    """

    images: tuple[Path, ...] = ()
    """saliency of a fit: your images, instead of test images. dream: the image to start from."""
    layer: str = ""
    """filters, dream: one layer; without WHAT they are listed."""
    epsilon: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    """fool: largest changes of a pixel, 1 from black to white."""
    episodes: SomeEpisodes | None = None
    """fool, agents: episodes for each epsilon; 2 if not given."""
    max_seconds: Annotated[float, Field(gt=0)] = 20.0
    """saliency, agents: seconds after which the video is cut."""
    style: Path | None = None
    """style: the image whose style is taken."""
    content: Path | None = None
    """style: the image that is painted in that style."""
    vgg: Path | None = None
    """style: weights of a VGG as safetensors with torchvision's names, instead of the run's own network."""
    checkpoint: str = "latest"
    """Which checkpoint: latest, best (of a training's own evaluations) or its step."""
    seed: Annotated[int, Field(ge=0, lt=10_000)] = 0
    """Seed of what is random, such as the images that ascent starts from, or which set of evaluation episodes."""
    device: Device = "auto"
    """Where the network runs; auto takes what the run was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import, start and read what its run.toml names."""
    json: bool = False
    """Print one JSON object on standard output."""


def run(words: list[str]) -> int:
    """Print a table and where the pictures are."""
    if asks_for_help(words):
        parse(InspectFlags(), ["--help"], "fathom inspect RUN [WHAT]")
    given, rest = split_positional(words, [InspectFlags])
    if not given:
        raise FathomError(
            "inspect needs a run first, as in `fathom inspect runs/reference/pong-dqn saliency`"
        )
    flags: InspectFlags = parse(InspectFlags(), [*given[2:], *rest], f"fathom inspect {given[0]}")
    what = given[1] if len(given) > 1 else _meant(flags)
    options = options_of(what, flags)
    with quiet(flags.json) as out:
        from fathom.display import table
        from fathom.inspection.look import look
        from fathom.runs.run import Run

        loaded = Run.find(given[0], flags.runs_dir, flags.trust)
        rows, paths = look(loaded, what, flags.device, flags.checkpoint, warn, options)
        if flags.json:
            content = {"run": str(loaded.folder), "what": what, "table": rows}
            print_json(out, {**content, "pictures": [str(path) for path in paths]})
            return 0
        for line in table(rows):
            print(line, file=out)
        for path in paths:
            print(printable(str(path)), file=out)
    return 0


def _meant(flags: InspectFlags) -> str:
    """What is meant where nothing is said: style, if its images are given."""
    return "style" if flags.style or flags.content else "layers"


def options_of(what: str, flags: InspectFlags) -> dict[str, Any]:
    """The flags that this look takes; FathomError for a WHAT that there is not, or a flag that it does not take."""
    if what not in _TAKES:
        raise FathomError(f"inspect shows {', '.join(_TAKES)}, not {what!r}")
    default = InspectFlags()
    for name in [item.name for item in dataclasses.fields(default)]:
        allowed = name in _TAKES[what] | _COMMON
        if not allowed and getattr(flags, name) != getattr(default, name):
            takers = " and ".join(one for one, names in _TAKES.items() if name in names)
            raise FathomError(f"{what} takes no --{name.replace('_', '-')}; {takers} would")
    return {name: getattr(flags, name) for name in _TAKES[what]}
