"""Apply a fitted task to your own inputs, e.g. fathom predict RUN image.png."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic.dataclasses import dataclass

from fathom.arguments import asks_for_help, parse, print_json, split_positional
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT, Device
from fathom.streams import quiet

USAGE = "predict RUN INPUT ..."


@dataclass(frozen=True, config=STRICT)
class PredictFlags:
    """Predict for files or texts; `-` reads lines from standard input."""

    device: Device = "auto"
    """Where the network runs; auto takes what the run was fitted on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import what its run.toml names."""
    json: bool = False
    """Print one JSON object on standard output."""


def run(words: list[str]) -> int:
    """Print an answer to each input."""
    if asks_for_help(words):
        parse(PredictFlags(), ["--help"], "fathom predict RUN INPUT ...")
    given, rest = split_positional(words, [PredictFlags])
    if len(given) < 2:
        raise FathomError(
            "predict needs a run and something to ask it about, as in `fathom predict runs/digits"
            " image.png`"
        )
    flags: PredictFlags = parse(PredictFlags(), rest, f"fathom predict {given[0]}")
    with quiet(flags.json) as out:
        from fathom.display import number
        from fathom.runs.run import Run

        loaded = Run.find(given[0], flags.runs_dir, flags.trust)
        inputs = [
            item
            for word in given[1:]
            for item in (sys.stdin.read().splitlines() if word == "-" else [word])
        ]
        answers = loaded.predict(inputs, device=flags.device)
        if flags.json:
            print_json(out, {"run": str(loaded.folder), "predictions": answers})
            return 0
        for item, answer in zip(inputs, answers, strict=True):
            text = ", ".join(
                f"{name} {number(value) if isinstance(value, float) else value}"
                for name, value in answer.items()
                if value != item
            )
            print(printable(f"{item}: {text}"), file=out)
    return 0
