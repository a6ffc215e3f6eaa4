"""Checkpoints: folders of safetensors and JSON that appear whole, with a checksum for every file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from agents.agent import AgentState
from fathom.errors import FathomError
from fathom.files import remove_folder, sync_folder, write_synced
from fathom.runs.config import FORMAT

WEIGHTS, STATE, DESCRIPTION = "weights.safetensors", "state.safetensors", "state.json"
_MAX_HEADER = 100_000_000


@dataclass
class Progress:
    """How far a run is."""

    segment: int = 0
    """Segments done."""
    steps: int = 0
    """Agent steps done, over all environments; of a fit, examples learnt from."""
    seconds: float = 0.0
    """Wall-clock seconds spent training, without evaluations."""


@dataclass
class Checkpoint:
    """A whole checkpoint, read back."""

    state: AgentState
    progress: Progress


class DamagedCheckpointError(Exception):
    """A checkpoint cannot be used, and why."""


def write_checkpoint(target: Path, state: AgentState, progress: Progress) -> None:
    """Write the folder `target`, whose name is the checkpoint's number.

    Raises:
        OSError: for example when the disk is full; then there is nothing new at `target`.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        checksums = {}
        for filename, tensors in ((WEIGHTS, state.weights), (STATE, state.tensors)):
            data = safetensors.torch.save(
                {
                    key: tensor.detach().to("cpu", copy=True).contiguous()
                    for key, tensor in tensors.items()
                }
            )
            checksums[filename] = hashlib.sha256(data).hexdigest()
            write_synced(temporary / filename, data)
        description = {
            "format": FORMAT,
            "checkpoint": int(target.name),
            "files": checksums,
            "numbers": {key: _plain_number(value) for key, value in state.numbers.items()},
            "progress": dataclasses.asdict(progress),
        }
        description["sha256"] = digest(description)
        write_synced(temporary / DESCRIPTION, json.dumps(description, indent=1).encode())
        sync_folder(temporary)
        remove_folder(target)
        os.rename(temporary, target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_checkpoint(folder: Path, weights_only: bool = False) -> Checkpoint:
    """Read a checkpoint's folder.

    Args:
        weights_only: leave out what only training needs.

    Raises:
        DamagedCheckpointError: a file is missing or is not what was written.
        FathomError: another version of Fathom wrote it.
    """
    raw = _read(folder / DESCRIPTION)
    try:
        description = json.loads(raw)
        stored = description.pop("sha256")
        if stored != digest(description):
            raise DamagedCheckpointError(f"{DESCRIPTION} does not match its checksum")
        if description["format"] > FORMAT:
            raise FathomError(f"{folder} was written by a newer Fathom: upgrade Fathom to use it")
        checksums = {filename: str(description["files"][filename]) for filename in (WEIGHTS, STATE)}
        numbers = dict(description["numbers"])
        progress = Progress(**description["progress"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"{DESCRIPTION} cannot be read") from error
    weights = _read_tensors(folder / WEIGHTS, checksums[WEIGHTS])
    tensors = {} if weights_only else _read_tensors(folder / STATE, checksums[STATE])
    return Checkpoint(AgentState(weights=weights, tensors=tensors, numbers=numbers), progress)


def digest(description: dict[str, Any]) -> str:
    """Checksum of a description without its own."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _plain_number(value: Any) -> int | float:
    if isinstance(value, (bool, int, np.integer, np.bool_)):
        return int(value)
    return float(value)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedCheckpointError(f"{path.name} cannot be read: {error.strerror}") from error


def _read_tensors(path: Path, checksum: str) -> dict[str, torch.Tensor]:
    data = _read(path)
    header = int.from_bytes(data[:8], "little")
    if len(data) < 9 or header > min(_MAX_HEADER, len(data) - 8) or data[8:9] != b"{":
        # Only now: a header of 3,456 bytes makes a sound file begin as a pickle does.
        if data[:2] == b"PK" or data[:1] == b"\x80":
            kind = "a zip archive" if data[:2] == b"PK" else "a pickle"
            raise DamagedCheckpointError(
                f"{path.name} is {kind}, which Fathom never opens because it could run code"
            )
        raise DamagedCheckpointError(f"{path.name} is truncated or no safetensors file")
    if hashlib.sha256(data).hexdigest() != checksum:
        raise DamagedCheckpointError(f"{path.name} does not match its checksum")
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # the library's own error type is not part of its public interface
        raise DamagedCheckpointError(f"{path.name} is no valid safetensors file") from error
