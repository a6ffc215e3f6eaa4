"""The score of a run, with its protocol and 95 % interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fathom.arguments import print_json, run_argument, warn
from fathom.errors import printable
from fathom.runs.options import STRICT, Device, SomeEpisodes
from fathom.streams import quiet

USAGE = "evaluate RUN"


@dataclass(frozen=True, config=STRICT)
class EvaluateFlags:
    """Score a run's checkpoint on episodes or examples that training never saw."""

    episodes: SomeEpisodes | None = None
    """Episodes; as many as the run's own evaluations if not given."""
    checkpoint: str = "latest"
    """Which checkpoint: latest, best (by the run's own evaluations; see --keep of train) or its step."""
    seed: Annotated[int, Field(ge=0, lt=10_000)] | None = None
    """Which set of evaluation episodes; None means 0, that of the run itself, or 1 for the best checkpoint, which set 0 chose."""
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
        from fathom.display import evaluation_progress, score, table
        from fathom.runs.config import provenance
        from fathom.runs.run import Run

        loaded = Run.find(reference, flags.runs_dir, flags.trust)
        with evaluation_progress() as report:
            result, progress = loaded.evaluate_at(
                flags.episodes, flags.seed, flags.device, flags.checkpoint, report
            )
        if result.warning:
            warn(result.warning)
        if flags.json:
            content = {"run": str(loaded.folder), "steps": progress.steps, **result.to_json()}
            if loaded.config.changes:
                content["changes"] = loaded.config.changes
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
        for line in provenance(loaded.config):
            print(printable(line), file=out)
    return 0
