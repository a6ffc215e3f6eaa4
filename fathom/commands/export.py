"""A run as a folder for others: weights, results, a replay video and a card; perhaps ONNX."""

from __future__ import annotations

from pathlib import Path

from pydantic.dataclasses import dataclass

from fathom.arguments import print_json, run_argument
from fathom.commands._exporting import ExportOptions
from fathom.errors import printable
from fathom.runs.options import STRICT
from fathom.streams import quiet

USAGE = "export RUN"


@dataclass(frozen=True, config=STRICT)
class ExportFlags(ExportOptions):
    """Write a run as a folder for others, with a card: a run that can be evaluated, recorded and asked."""

    folder: Path | None = None
    """Where; exports/NAME of the run if not given."""


def run(words: list[str]) -> int:
    """Write the folder, and print what is in it."""
    reference, flags = run_argument(words, "export", ExportFlags())
    with quiet(flags.json) as out:
        from fathom.display import Display
        from fathom.runs.run import Run
        from fathom.sharing.exporting import export_run

        loaded = Run.find(reference, flags.runs_dir, flags.trust)
        folder = export_run(
            loaded,
            flags.folder or Path("exports") / loaded.name,
            checkpoint=flags.checkpoint,
            device=flags.device,
            licence=flags.license,
            with_onnx=flags.onnx,
            message=Display(stderr=True).message,
        )
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if flags.json:
            names = [str(path.relative_to(folder)) for path in files]
            print_json(out, {"run": str(loaded.folder), "folder": str(folder), "files": names})
            return 0
        size = sum(path.stat().st_size for path in files)
        shown = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
        print(printable(f"{folder}: {len(files)} files, {shown}"), file=out)
    return 0
