"""What `export` and `push` share: the flags of an export."""

from __future__ import annotations

from pathlib import Path

from pydantic.dataclasses import dataclass

from fathom.runs.options import STRICT, Device


@dataclass(frozen=True, config=STRICT)
class ExportOptions:
    """The export."""

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
