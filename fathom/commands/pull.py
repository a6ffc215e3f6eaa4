"""Fetch a run from a hub into the folder of runs, e.g. fathom pull someone/pong-dqn."""

from __future__ import annotations

from pathlib import Path

from pydantic.dataclasses import dataclass

from fathom.arguments import asks_for_help, parse, print_json, split_positional
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT
from fathom.streams import quiet

USAGE = "pull REPOSITORY"


@dataclass(frozen=True, config=STRICT)
class PullFlags:
    """Fetch a run that was pushed to the Hugging Face Hub. It is data: nothing in it can run code.

    HF_ENDPOINT names another hub; HF_TOKEN or `hf auth login` opens private repositories.
    """

    name: str | None = None
    """Name of the run's folder; the repository's own name if not given."""
    revision: str | None = None
    """Branch, tag or commit; the newest of the main branch if not given."""
    runs_dir: Path = Path("runs")
    """Folder in which the run is written."""
    json: bool = False
    """Print one JSON object on standard output."""


def run(words: list[str]) -> int:
    """Fetch, and print the folder and the score that it claims."""
    if asks_for_help(words):
        parse(PullFlags(), ["--help"], "fathom pull REPOSITORY")
    given, rest = split_positional(words, [PullFlags])
    if not given:
        raise FathomError("pull needs a repository, as in `fathom pull someone/pong-dqn`")
    flags: PullFlags = parse(PullFlags(), [*given[1:], *rest], f"fathom pull {given[0]}")
    with quiet(flags.json) as out:
        from fathom.display import Display, score
        from fathom.sharing.hub import pull

        loaded = pull(
            given[0], flags.runs_dir, flags.name, flags.revision, Display(stderr=True).message
        )
        last = loaded.last_evaluation()
        if flags.json:
            print_json(out, {"run": str(loaded.folder), "evaluation": last})
            return 0
        claimed = f"; its makers measured {score(last)}" if last else ""
        print(printable(f"{loaded.folder}{claimed}; measure it with:"), file=out)
        print(printable(f"fathom evaluate {loaded.folder}"), file=out)
    return 0
