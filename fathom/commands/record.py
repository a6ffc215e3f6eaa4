"""Episodes of a run as mp4, also beside what its model imagines, or as transitions to imitate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.arguments import print_json, run_argument
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT, Device, SomeEpisodes
from fathom.streams import quiet

USAGE = "record RUN"


@dataclass(frozen=True, config=STRICT)
class RecordFlags:
    """Record episodes of a run's checkpoint as mp4, also beside what its model imagines, or as transitions to imitate."""

    episodes: SomeEpisodes = 1
    """Episodes."""
    transitions: int | None = None
    """Instead of videos, write so many transitions or a few more, in whole episodes, in Minari's format."""
    imagine: int | None = None
    """Runs of muzero: show the episode beside what the model imagines, so many steps ahead, and draw its errors."""
    folder: Path | None = None
    """Where the videos, or the transitions, go; the run's own folder of them if not given."""
    checkpoint: str = "latest"
    """Which checkpoint: latest, best (by the run's own evaluations; see --keep of train) or its step."""
    max_seconds: Annotated[float, Field(gt=0)] = 600.0
    """Seconds after which a video is cut, so that an endless episode does not fill the disk."""
    seed: Annotated[int, Field(ge=0, lt=10_000)] = 0
    """Which set of evaluation episodes."""
    device: Device = "auto"
    """Where the network runs; auto takes what the run was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import, start and read what its run.toml names."""
    json: bool = False
    """Print one JSON object on standard output."""


def run(words: list[str]) -> int:
    """Record, and print the files."""
    reference, flags = run_argument(words, "record", RecordFlags())
    with quiet(flags.json) as out:
        from fathom.runs.run import Run

        loaded = Run.find(reference, flags.runs_dir, flags.trust)
        if flags.transitions is not None and flags.imagine is not None:
            raise FathomError("--imagine records videos and --transitions none: give one of them")
        if flags.imagine is not None:
            imagined = loaded.imagine(
                flags.imagine,
                flags.episodes,
                folder=flags.folder,
                seed=flags.seed,
                device=flags.device,
                checkpoint=flags.checkpoint,
                max_seconds=flags.max_seconds,
            )
            if flags.json:
                content = {
                    "run": str(loaded.folder),
                    "videos": [str(path) for path in imagined.videos],
                    "picture": str(imagined.picture),
                    "errors": imagined.errors,
                    "unchanged": imagined.unchanged,
                }
                print_json(out, content)
                return 0
            for path in (*imagined.videos, imagined.picture):
                print(printable(str(path)), file=out)
            last = len(imagined.errors) - 1
            print(
                f"mean squared error after 1 step {imagined.errors[min(1, last)]:.4g}, after {last} steps"
                f" {imagined.errors[last]:.4g}; if nothing changed {imagined.unchanged[last]:.4g}",
                file=out,
            )
            return 0
        if flags.transitions is not None:
            recorded = loaded.record_transitions(
                flags.transitions,
                folder=flags.folder,
                seed=flags.seed,
                device=flags.device,
                checkpoint=flags.checkpoint,
            )
            mean = sum(recorded.returns) / len(recorded.returns)
            report = {"folder": str(recorded.folder), "transitions": recorded.transitions}
            if flags.json:
                report |= {"episodes": len(recorded.returns), "mean_return": mean}
                print_json(out, {"run": str(loaded.folder), **report})
                return 0
            print(
                f"{printable(str(recorded.folder))}: {recorded.transitions:,} transitions of"
                f" {len(recorded.returns):,} episodes, mean return {mean:.6g}",
                file=out,
            )
            return 0
        paths = loaded.record(
            flags.episodes,
            folder=flags.folder,
            seed=flags.seed,
            device=flags.device,
            checkpoint=flags.checkpoint,
            max_seconds=flags.max_seconds,
        )
        if flags.json:
            print_json(out, {"run": str(loaded.folder), "videos": [str(path) for path in paths]})
            return 0
        for path in paths:
            print(printable(str(path)), file=out)
            transcript = path.with_suffix(".txt")
            if transcript.is_file():
                print(printable(str(transcript)), file=out)
    return 0
