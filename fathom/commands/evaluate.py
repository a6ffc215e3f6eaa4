"""The score of a run, with its protocol and 95 % interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.arguments import print_json, quiet, run_argument, warn
from fathom.errors import printable
from fathom.runs.options import STRICT, Device, SomeEpisodes

USAGE = "evaluate RUN"


@dataclass(frozen=True, config=STRICT)
class EvaluateFlags:
    """Score a run's latest checkpoint on episodes or examples that training never saw."""

    episodes: SomeEpisodes | None = None
    """Episodes; as many as the run's own evaluations if not given."""
    seed: Annotated[int, Field(ge=0, lt=10_000)] = 0
    """Which set of evaluation episodes; 0 is the one that the run itself uses."""
    device: Device = "auto"
    """Where the network runs; auto takes what the run was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import, start and read what its run.toml names."""
    json: bool = False
    """Print one JSON object on standard output."""


def run(words: list[str]) -> int:
    """Print a run's score."""
    reference, flags = run_argument(words, "evaluate", EvaluateFlags())
    with quiet(flags.json) as out:
        from fathom.display import score, table
        from fathom.runs.run import Run

        loaded = Run.find(reference, flags.runs_dir, flags.trust)
        result, progress = loaded.evaluate_at(flags.episodes, flags.seed, flags.device)
        if result.warning:
            warn(result.warning)
        if flags.json:
            content = {"run": str(loaded.folder), "steps": progress.steps, **result.to_json()}
            print_json(out, content)
            return 0
        print(
            f"{printable(loaded.name)} after {progress.steps:,} steps: {score(result.to_json())}",
            file=out,
        )
        for line in table(result.table) if result.table else []:
            print(line, file=out)
        protocol = ", ".join(f"{key} {value}" for key, value in result.protocol.items())
        seed = "" if result.seed is None else f"; evaluation seed {result.seed}"
        print(printable(f"protocol: {protocol}{seed}"), file=out)
    return 0
