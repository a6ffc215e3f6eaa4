"""A run as a folder for others: what evaluating and playing need, the results, a video and a card.

The folder is a run of its own: `fathom evaluate`, `record`, `predict` and `fathom.load` open it. It holds one
checkpoint without what only learning needs, so that it cannot be resumed. No text in it names a folder of the
machine that it was made on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fathom.errors import FathomError
from fathom.files import Folder, reporting_disk_errors
from fathom.runs.checkpoint import DESCRIPTION, WEIGHTS
from fathom.runs.config import CONFIG, RunConfig, to_toml
from fathom.runs.folder import EVALUATIONS
from fathom.runs.run import Run
from fathom.runs.task_learner import METADATA
from fathom.sharing.card import CARD, card
from fathom.sharing.names import without_folders

VIDEO = "replay.mp4"
"""An episode, by the name under which a hub shows it."""
VIDEO_SECONDS = 180.0
"""A video that is recorded for an export is cut after so many seconds."""
MOST_BYTES: dict[str, int] = {
    re.escape(CARD): 1 << 20,
    re.escape(CONFIG): 1 << 17,
    "latest": 100,
    re.escape(METADATA): 1 << 25,
    re.escape(EVALUATIONS): 1 << 28,
    re.escape(VIDEO): 1 << 28,
    rf"checkpoints/[0-9]{{5,12}}/{re.escape(WEIGHTS)}": 1 << 32,
    rf"checkpoints/[0-9]{{5,12}}/{re.escape(DESCRIPTION)}": 1 << 20,
    r"pictures/[A-Za-z0-9_-]{1,100}\.(png|gif|mp4)": 1 << 26,
}
"""Patterns of the names of an export's files that belong to the run, and most bytes of each."""


def allowed_bytes(name: str) -> int | None:
    """Most bytes of a file of an export by its name in it; None for a file that is none of the run's."""
    for pattern, most in MOST_BYTES.items():
        if re.fullmatch(pattern, name):
            return most
    return None


def export_run(
    run: Run,
    folder: Path,
    *,
    checkpoint: int | str = "latest",
    device: str = "auto",
    licence: str = "",
    with_onnx: bool = False,
    message: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write a run as a folder for others; gives the folder.

    The checkpoint is evaluated if the run has no evaluation of it, and the best one always, for the evaluation
    that chose it is too high. An episode is recorded if there is no video of the checkpoint.

    Args:
        folder: is made, and must not be there.
        checkpoint: "latest", "best" (of a training's own evaluations) or the step of one that is there.
        licence: of the weights, by its name on the hub, such as "mit"; the card names none if not given.
        with_onnx: add the policy network in ONNX, `policy.onnx`, with its description, `policy.json`.
        message: told what takes long, and what is left out.

    Raises:
        FathomError: the run has no checkpoint, needs another run, or the folder cannot be written.
    """
    if os.path.lexists(folder):
        raise FathomError(f"{folder} exists already: choose another --folder, or remove it")
    if prior := run.config.hyperparameters.get("prior"):
        raise FathomError(
            f"{run.folder} plans with the run {prior}, which would not be in its folder: export that run"
        )
    number = run.trained_checkpoint(checkpoint, warnings.warn).progress.segment
    with reporting_disk_errors(folder, "make room and export again"), _new_folder(folder) as made:
        config = _config(run)
        out = Folder(made)
        out.write(CONFIG, to_toml(config))
        _copy_checkpoint(run, number, made)
        evaluations = _evaluations(run, number, checkpoint, device, message)
        lines = "".join(f"{json.dumps(line)}\n" for line in evaluations)
        out.write(EVALUATIONS, lines.encode())
        pictures: list[str] = []
        if config.is_fit:
            _copy(run.files, METADATA, made, METADATA)
            pictures = _copy_pictures(run, made)
        else:
            _copy_or_record(run, checkpoint, device, made, message)
        policy = None
        if with_onnx:
            from fathom.sharing.onnx_policy import write_policy

            policy = write_policy(run, made, checkpoint)
        video = (made / VIDEO).is_file()
        text = card(run.name, config, evaluations, pictures, video, policy, licence)
        out.write(CARD, text.encode())
    return folder


def _config(run: Run) -> RunConfig:
    """What was asked for, without folders of this machine."""
    config = RunConfig(**without_folders(dataclasses.asdict(run.config)))
    if config.weights:
        config.weights["run"] = Path(config.weights["run"]).name or "another run"
    return config


def _copy_checkpoint(run: Run, number: int, made: Path) -> None:
    name = f"{number:05d}"
    source = run.files / "checkpoints" / name
    for file in (WEIGHTS, DESCRIPTION):
        _copy(source, file, made, f"checkpoints/{name}/{file}")
    Folder(made).write("latest", f"{name}\n".encode())


def _copy(source: Folder, name: str, made: Path, place: str) -> None:
    """Copy a file to its place in an export, of at most the bytes that it may have there."""
    *folders, new = place.split("/")
    for depth in range(len(folders)):
        Folder(made, *folders[: depth + 1]).make()
    with source.reading(name, allowed_bytes(place) or 0) as file:
        Folder(made, *folders).replace(new, file.chunks())


def _evaluations(
    run: Run,
    number: int,
    checkpoint: int | str,
    device: str,
    message: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The evaluations up to a checkpoint, the last of which is its own."""
    lines = [line for line in run.evaluations() if line["segment"] < number]
    own = bool(lines) and lines[-1]["segment"] == number - 1
    if checkpoint == "best" or not own:
        message("evaluating the checkpoint")
        result, progress = run.evaluate_at(None, None, device, checkpoint)
        if own:
            lines.pop()
        head = {"segment": max(number - 1, 0), "steps": progress.steps, "seconds": progress.seconds}
        lines.append({**head, **result.to_json()})
    return without_folders(lines)


def _copy_pictures(run: Run, made: Path) -> list[str]:
    """Copy a task's pictures; gives their names."""
    source, copied = run.files / "pictures", []
    for name in sorted(source.names()):
        if allowed_bytes(f"pictures/{name}") and source.kind(name) == "file":
            _copy(source, name, made, f"pictures/{name}")
            copied.append(name)
    return copied


def _copy_or_record(
    run: Run, checkpoint: int | str, device: str, made: Path, message: Callable[[str], None]
) -> None:
    """Copy the video of the checkpoint, or record one where there is none and its environment can be drawn."""
    steps = run.trained_checkpoint(checkpoint).progress.steps
    name = f"step-{steps}.mp4"
    # An export has its video beside its only checkpoint.
    for source, video in ((run.files / "videos", name), (run.files, VIDEO)):
        if source.kind(video) == "file":
            _copy(source, video, made, VIDEO)
            return
    message("recording an episode")
    with tempfile.TemporaryDirectory(prefix="fathom-") as temporary:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".* was cut after ")
                (path,) = run.record(
                    folder=Path(temporary),
                    device=device,
                    checkpoint=checkpoint,
                    max_seconds=VIDEO_SECONDS,
                )
        except FathomError as error:
            message(f"warning: there is no video: {error}")
            return
        _copy(Folder(path.parent), path.name, made, VIDEO)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that takes its name when it is complete."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    except FileNotFoundError as error:  # as under /proc
        raise FathomError(f"{folder} cannot be made there: {error.strerror}") from error
    try:
        temporary.chmod(0o755)
        yield temporary
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
