"""Checkpoints: folders of safetensors and JSON that appear whole, with a checksum for every file."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import operator
import os
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import safetensors.torch
import torch
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from agents.agent import AgentState
from fathom.errors import FathomError
from fathom.files import Folder, Reader, UnsafeFileError
from fathom.runs.config import FORMAT
from fathom.runs.options import MOST
from fathom.schema import STRICT, read_json

WEIGHTS, STATE, DESCRIPTION = "weights.safetensors", "state.safetensors", "state.json"
_MOST_DESCRIPTION, _MOST_HEADER, _MOST_TENSORS = 1 << 20, 1 << 24, 1 << 33
"""Bytes of the description, of the header of a file of tensors, and of the whole file."""
_MOST_HOLES = 64
"""A file of tensors may be larger than what the disk holds of it by this factor: some disks compress."""


@dataclass(config=STRICT)
class Progress:
    """How far a run is."""

    segment: Annotated[int, Field(ge=0, le=MOST)] = 0
    """Segments done."""
    steps: Annotated[int, Field(ge=0, le=MOST)] = 0
    """Agent steps done, over all environments; of a fit, examples learnt from."""
    seconds: Annotated[float, Field(ge=0, le=MOST)] = 0.0
    """Wall-clock seconds spent training, without evaluations."""


@dataclass(config=STRICT)
class _Description:
    """The contents of `state.json`."""

    format: Literal[2]
    checkpoint: int
    files: dict[str, str]
    numbers: dict[str, Annotated[int | float, Field(ge=0, le=MOST)]]
    progress: dict[str, Any]


_HEADER = TypeAdapter(dict[str, dict[str, Any]])


@dataclasses.dataclass
class Checkpoint:
    """A whole checkpoint, read back."""

    state: AgentState
    progress: Progress

    @property
    def weights_bytes(self) -> int:
        """The size of the network that acts."""
        return sum(tensor.nbytes for tensor in self.state.weights.values())


class DamagedCheckpointError(Exception):
    """A checkpoint cannot be used, and why."""


def write_checkpoint(
    checkpoints: Folder, number: int, state: AgentState, progress: Progress
) -> None:
    """Write a checkpoint as a folder that is named after its number.

    Raises:
        OSError: for example when the disk is full; then there is nothing new under that name.
    """
    name = f"{number:05d}"
    temporary = f".{name}.{os.getpid()}.tmp"
    checkpoints.remove(temporary)
    try:
        folder = checkpoints / temporary
        folder.make()
        checksums = {}
        for filename, tensors in ((WEIGHTS, state.weights), (STATE, state.tensors)):
            data = safetensors.torch.save(
                {
                    key: tensor.detach().to("cpu", copy=True).contiguous()
                    for key, tensor in tensors.items()
                }
            )
            checksums[filename] = hashlib.sha256(data).hexdigest()
            folder.write(filename, data)
        description = {
            "format": FORMAT,
            "checkpoint": number,
            "files": checksums,
            "numbers": {key: _plain_number(value) for key, value in state.numbers.items()},
            "progress": dataclasses.asdict(progress),
        }
        description["sha256"] = digest(description)
        folder.write(DESCRIPTION, json.dumps(description, indent=1).encode())
        folder.sync_names()
        checkpoints.remove(name)
        checkpoints.rename(temporary, name)
        checkpoints.sync_names()
    except BaseException:
        with contextlib.suppress(OSError):
            checkpoints.remove(temporary)
        raise


def read_checkpoint(checkpoints: Folder, number: int, weights_only: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        weights_only: leave out what only training needs.

    Raises:
        DamagedCheckpointError: a file is missing or is not what was written.
        FathomError: another version of Fathom wrote it.
    """
    folder = checkpoints / f"{number:05d}"
    description, progress = _read_description(folder, number)
    checksums = description.files
    weights = _read_tensors(folder, WEIGHTS, checksums[WEIGHTS])
    tensors = {} if weights_only else _read_tensors(folder, STATE, checksums[STATE])
    state = AgentState(weights=weights, tensors=tensors, numbers=description.numbers)
    return Checkpoint(state, progress)


def read_progress(checkpoints: Folder, number: int) -> Progress:
    """How far a checkpoint is, without its tensors; errors as for `read_checkpoint`."""
    return _read_description(checkpoints / f"{number:05d}", number)[1]


def _read_description(folder: Folder, number: int) -> tuple[_Description, Progress]:
    """The contents of `state.json`, and its progress."""
    raw = _read(folder, DESCRIPTION, _MOST_DESCRIPTION)
    try:
        content = read_json(raw)
        stored = content.pop("sha256")
        if stored != digest(content):
            raise DamagedCheckpointError(f"{DESCRIPTION} does not match its checksum")
        version = content["format"]
        if type(version) is int and version > FORMAT:
            raise FathomError(
                f"{folder.path} was written by a newer Fathom: upgrade Fathom to use it"
            )
        description = _Description(**content)
        progress = Progress(**description.progress)
        if not {WEIGHTS, STATE} <= description.files.keys():
            raise ValueError("a checksum is missing")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"{DESCRIPTION} cannot be read") from error
    if not number == description.checkpoint == progress.segment:
        raise DamagedCheckpointError(f"{DESCRIPTION} is that of another checkpoint")
    return description, progress


def digest(description: dict[str, Any]) -> str:
    """Checksum of a description without its own."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _plain_number(value: Any) -> int | float:
    if isinstance(value, (bool, int, np.integer, np.bool_)):
        return int(value)
    return float(value)


def _read(folder: Folder, name: str, most: int) -> bytes:
    with _reporting_damage(name):
        return folder.read(name, most)


@contextlib.contextmanager
def _reporting_damage(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DamagedCheckpointError(f"{name} cannot be read: {error.strerror}") from error
    except UnsafeFileError as error:
        raise DamagedCheckpointError(str(error)) from error


def _read_tensors(folder: Folder, name: str, checksum: str) -> dict[str, torch.Tensor]:
    with _reporting_damage(name), folder.reading(name, _MOST_TENSORS) as file:
        if file.stored and file.size > _MOST_HOLES * max(file.stored, 1 << 20):
            raise DamagedCheckpointError(f"{name} is made of holes")
        header = _read_header(name, file)
        hashed = hashlib.sha256(header)
        for part in file.chunks():
            hashed.update(part)
    if hashed.hexdigest() != checksum:
        raise DamagedCheckpointError(f"{name} does not match its checksum")
    data = _read(folder, name, _MOST_TENSORS)
    try:
        tensors = safetensors.torch.load(data)
    except Exception as error:  # the library's own error type is not part of its public interface
        raise DamagedCheckpointError(f"{name} is no valid safetensors file") from error
    if name == WEIGHTS and not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise DamagedCheckpointError(f"{name} holds numbers that are not finite")
    return tensors


def _read_header(name: str, file: Reader) -> bytes:
    """The start of a file of safetensors, up to its tensors, whose sizes have to fit that of the file."""
    start = file.read(8)
    length = int.from_bytes(start, "little")
    header = file.read(length) if len(start) == 8 and length <= _MOST_HEADER else b""
    if not header.startswith(b"{") or len(header) < length:
        # Only now: a header of 3,456 bytes makes a sound file begin as a pickle does.
        if start[:2] == b"PK" or start[:1] == b"\x80":
            kind = "a zip archive" if start[:2] == b"PK" else "a pickle"
            raise DamagedCheckpointError(
                f"{name} is {kind}, which Fathom never opens because it could run code"
            )
        raise DamagedCheckpointError(f"{name} is truncated or no safetensors file")
    if 8 + length + _tensor_bytes(name, header) != file.size:
        raise DamagedCheckpointError(f"{name} is truncated or longer than its tensors")
    return start + header


def _tensor_bytes(name: str, header: bytes) -> int:
    """Bytes that follow a header of safetensors."""
    try:
        tensors = read_json(header, _HEADER)
        ends = [t["data_offsets"][1] for key, t in tensors.items() if key != "__metadata__"]
        return operator.index(max(ends, default=0))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedCheckpointError(f"{name} is no valid safetensors file") from error
