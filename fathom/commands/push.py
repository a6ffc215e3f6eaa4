"""Export a run and upload it to a hub, e.g. fathom push RUN me/pong-dqn."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from fathom.arguments import asks_for_help, parse, print_json, split_positional
from fathom.commands._exporting import ExportOptions
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT
from fathom.streams import quiet

USAGE = "push RUN REPOSITORY"


@dataclass(frozen=True, config=STRICT)
class PushFlags(ExportOptions):
    """Export a run and upload it to a repository on the Hugging Face Hub, which is made where there is none.

    HF_TOKEN or `hf auth login` says who you are, HF_ENDPOINT names another hub.
    """

    private: bool = False
    """Make a new repository one that only its owner sees."""


def run(words: list[str]) -> int:
    """Upload, and print the address."""
    if asks_for_help(words):
        parse(PushFlags(), ["--help"], "fathom push RUN REPOSITORY")
    given, rest = split_positional(words, [PushFlags])
    if len(given) < 2:
        raise FathomError(
            "push needs a run and a repository, as in `fathom push runs/p me/pong-dqn`"
        )
    flags: PushFlags = parse(PushFlags(), [*given[2:], *rest], f"fathom push {given[0]} {given[1]}")
    with quiet(flags.json) as out:
        from fathom.display import Display
        from fathom.runs.run import Run
        from fathom.sharing.hub import push

        loaded = Run.find(given[0], flags.runs_dir, flags.trust)
        address = push(
            loaded,
            given[1],
            private=flags.private,
            checkpoint=flags.checkpoint,
            device=flags.device,
            licence=flags.license,
            with_onnx=flags.onnx,
            message=Display(stderr=True).message,
        )
        if flags.json:
            print_json(out, {"run": str(loaded.folder), "repository": given[1], "url": address})
            return 0
        print(printable(address), file=out)
    return 0
