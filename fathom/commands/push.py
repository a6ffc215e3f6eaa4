"""Export a run and upload it to a hub, e.g. fathom push RUN me/pong-dqn."""

from __future__ import annotations

from pathlib import Path

from pydantic.dataclasses import dataclass

from fathom.arguments import asks_for_help, parse, print_json, split_positional
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT, Device
from fathom.streams import quiet

USAGE = "push RUN REPOSITORY"


@dataclass(frozen=True, config=STRICT)
class PushFlags:
    """Export a run and upload it to a repository on the Hugging Face Hub, which is made where there is none.

    HF_TOKEN or `hf auth login` says who you are, HF_ENDPOINT names another hub.
    """

    private: bool = False
    """Make a new repository one that only its owner sees."""
    onnx: bool = False
    """Add the policy network as policy.onnx, and policy.json, which says what it takes and gives."""
    license: str = ""
    """Licence of the weights, for the card, by its name on the hub, such as mit or cc-by-4.0."""
    checkpoint: str = "latest"
    """Which checkpoint: latest, best (by a training's own evaluations; see --keep of train) or its step."""
    device: Device = "auto"
    """Where the network runs; auto takes what the run was trained on."""
    runs_dir: Path = Path("runs")
    """Folder in which a run's name is looked up."""
    trust: bool = False
    """Let a run from elsewhere import, start and read what its run.toml names."""
    json: bool = False
    """Print one JSON object on standard output."""


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
